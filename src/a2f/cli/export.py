"""``a2f export``."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from a2f.export.check import Difference

EPILOG = """\b
Examples:
  a2f export sd -s 4 -o a2f.onnx
  a2f export mine.safetensors -o mine.onnx
  a2f export carn_m_x4.safetensors -o carn_m_x4.onnx
  a2f export own.safetensors --network my.py:Net -o own.onnx
"""


@click.command(epilog=EPILOG)
@click.argument("model", metavar="MODEL")
@click.option("-s", "--scale", type=int, default=4, show_default=True, help="2, 3 or 4; a weights file has its own.")
@click.option("-o", "--output", type=Path, required=True, metavar="OUT.onnx", help="The file to write.")
@click.option("--network", metavar="FILE.py:CLASS", help="Of a weights file of your own network: its class.")
@click.option("--overwrite", is_flag=True, help="Replace an existing output.")
def export(model: str, scale: int, output: Path, network: str | None, overwrite: bool) -> None:
    """Write a model (one of `a2f models`, or a weights file) as a checked ONNX file.

    Input "lr" [N, 3, H, W], output "sr" [N, 3, s*H, s*W], float32 RGB in [0, 1]; N, H and W are free. Before it is
    written, the graph is run in onnxruntime on images of awkward sizes and held to a plain float64 reference. A weights
    file of another network is written by PyTorch and held to it.
    """
    import time

    from a2f.cli.entrants import check_name
    from a2f.cli.output import check_output
    from a2f.export.check import check_onnx
    from a2f.export.graph import export_onnx
    from a2f.files import write_bytes_atomic
    from a2f.peers.files import network_in
    from a2f.weights import find_weights, shipped_names

    check_output(output, ".onnx", overwrite=overwrite)
    if network_in(model) is not None:
        _export_network(model, network, output, overwrite=overwrite)
        return
    check_name(model, ask=f"name one of {', '.join(shipped_names())}, or a weights file")
    weights = find_weights(model, scale=scale)
    began = time.perf_counter()
    blob = export_onnx(weights)
    built_ms = (time.perf_counter() - began) * 1000
    differences = check_onnx(blob, weights)
    _refuse_differences(differences, reference="the reference")
    write_bytes_atomic(output, blob, replace=overwrite)
    config = weights.config
    most, sizes = max(d.largest for d in differences), ", ".join(f"{d.width}x{d.height}" for d in differences)
    click.echo(
        f"{output}: {config.variant} x{config.scale}, {len(blob) / 1e6:.2f} MB, built in {built_ms:.0f} ms", err=True
    )
    click.echo(f"largest difference from the reference: {most:.1e} on [0, 1] (sizes {sizes})", err=True)


def _refuse_differences(differences: "list[Difference]", *, reference: str) -> None:
    """Raise an A2FError if the graph is further from its reference than float32 rounds."""
    from a2f.errors import A2FError

    for worst in (d for d in differences if not d.largest <= d.allowed):  # NaN is neither below nor above
        raise A2FError(
            f"the graph differs from {reference} by {worst.largest:.1e} at {worst.width} x {worst.height}, "
            f"more than the {worst.allowed:.1e} that float32 rounds: nothing was written"
        )


def _export_network(model: str, own: str | None, output: Path, *, overwrite: bool) -> None:
    """Write a network that is not A²F as ONNX; PyTorch makes the file, and the graph is held to it."""
    from a2f.files import write_bytes_atomic
    from a2f.peers.files import read_network
    from a2f.runtime.network_engine import check_network

    network = read_network(model, own=own)
    from a2f.peers.onnx_file import export_network

    blob = export_network(network)
    differences = check_network(blob, network)
    _refuse_differences(differences, reference="PyTorch")
    write_bytes_atomic(output, blob, replace=overwrite)
    most = max(d.largest for d in differences)
    click.echo(f"{output}: {network.name} x{network.scale}, {len(blob) / 1e6:.2f} MB", err=True)
    click.echo(f"largest difference from PyTorch: {most:.1e}", err=True)
