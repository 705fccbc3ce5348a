"""``a2f export``."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from a2f.cli.parameters import SizeType, check_output, complete_model, complete_scale, own_network_option

if TYPE_CHECKING:
    from collections.abc import Callable

    from a2f.export.check import Difference

EPILOG = """\b
Examples:
  a2f export sd -s 4 -o a2f.onnx
  a2f export mine.safetensors -o mine.onnx
  a2f export sd -s 4 --size 320x240 -o fixed.onnx
  a2f export carn_m_x4.safetensors -o carn_m_x4.onnx
  a2f export own.safetensors --network my.py:Net -o own.onnx
"""


@click.command(epilog=EPILOG)
@click.argument("model", metavar="MODEL", shell_complete=complete_model)
@click.option(
    "-s",
    "--scale",
    type=int,
    default=4,
    show_default=True,
    shell_complete=complete_scale,
    help="2, 3 or 4; a weights file has its own.",
)
@click.option("-o", "--output", type=Path, required=True, metavar="OUT.onnx", help="The file to write.")
@own_network_option
@click.option(
    "--size",
    "lr_size",
    type=SizeType(),
    metavar="WxH",
    help="Width and height of the LR image, for programs that require a fixed size.",
)
@click.option("--overwrite", is_flag=True, help="Replace an existing output.")
def export(
    model: str, scale: int, output: Path, network: str | None, lr_size: tuple[int, int] | None, overwrite: bool
) -> None:
    """Write a model (one of `a2f models`, or a weights file) as a checked ONNX file.

    The input is "lr" [N, 3, H, W], the output "sr" [N, 3, s*H, s*W], float32 RGB in [0, 1]. N, H and W are free; with
    --size, N is 1, and W and H are fixed. Before the file is written, the graph runs in onnxruntime on images of
    unusual sizes and is compared with a float64 reference. A file with a fixed size is also compared with the graph for
    any size. A weights file of another network is exported by PyTorch and compared with PyTorch.
    """
    from a2f.export.check import check_fixed
    from a2f.files import write_bytes_atomic
    from a2f.peers.files import network_in

    check_output(output, ".onnx", overwrite=overwrite)
    other = network_in(model) is not None
    made = _network_as_onnx(model, network) if other else _model_as_onnx(model, scale)
    _refuse_differences(made.differences, reference=made.reference)
    blob, differences = made.write(None), made.differences
    if lr_size is not None:
        free, blob = blob, made.write(lr_size)
        differences = [*differences, check_fixed(blob, free, lr_size=lr_size)]
        _refuse_differences(differences[-1:], reference="the graph for any size")
    write_bytes_atomic(output, blob, replace=overwrite)
    sides = f" for {lr_size[0]}x{lr_size[1]}" if lr_size else ""
    most = max(d.largest for d in differences)
    click.echo(
        f"{output}: {made.name}{sides}, {len(blob) / 1e6:.2f} MB; differs from {made.reference} by at most {most:.1e} "
        "on [0, 1]",
        err=True,
    )


@dataclass(frozen=True, kw_only=True)
class _Made:
    """An exported network.

    Attributes:
        name: name and scale of the network.
        write: returns the file for the width and height of an LR image, or for any size.
        differences: differences between the file for any size and the reference.
        reference: name of the reference.
    """

    name: str
    write: "Callable[[tuple[int, int] | None], bytes]"
    differences: "list[Difference]"
    reference: str


def _model_as_onnx(model: str, scale: int) -> _Made:
    from a2f.cli.entrants import check_name
    from a2f.export.check import check_onnx
    from a2f.export.graph import export_onnx
    from a2f.weights import find_weights, shipped_names

    check_name(model, ask=f"give one of {', '.join(shipped_names())}, or a weights file")
    weights = find_weights(model, scale=scale)
    return _Made(
        name=f"{weights.config.variant} x{weights.config.scale}",
        write=lambda lr_size: export_onnx(weights, lr_size=lr_size),
        differences=check_onnx(export_onnx(weights), weights),
        reference="the reference",
    )


def _network_as_onnx(model: str, own: str | None) -> _Made:
    """Export a network that is not A²F, with PyTorch."""
    from a2f.external import check_network
    from a2f.peers.files import read_network

    network = read_network(model, own=own)
    from a2f.peers.onnx_file import export_network

    return _Made(
        name=f"{network.name} x{network.scale}",
        write=lambda lr_size: export_network(network, lr_size=lr_size),
        differences=check_network(export_network(network), network),
        reference="PyTorch",
    )


def _refuse_differences(differences: "list[Difference]", *, reference: str) -> None:
    """Raise an A2FError if the graph differs from its reference by more than float32 rounding."""
    from a2f.errors import A2FError

    for worst in (d for d in differences if not d.largest <= d.allowed):  # also true for NaN
        raise A2FError(
            f"the graph differs from {reference} by {worst.largest:.1e} at {worst.width} x {worst.height}, "
            f"more than the {worst.allowed:.1e} of float32 rounding: nothing was written"
        )
