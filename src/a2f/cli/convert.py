"""``a2f convert``."""

from pathlib import Path

import click

EPILOG = """\b
Examples:
  a2f convert AAF_SD_x4.pt aaf_sd_x4.safetensors
  a2f convert --as carn-m CARN-M_x2x3x4.pth carn_m_x4.safetensors -s 4
  a2f convert --as idn IDN_x2.caffemodel idn_x2.safetensors -s 2
"""


@click.command(epilog=EPILOG)
@click.argument("checkpoint", type=Path, metavar="CHECKPOINT")
@click.argument("output", type=Path, metavar="OUT.safetensors")
@click.option("--as", "network", metavar="NETWORK", help="Of another paper: carn-m, imdn, idn, vdsr, falsr-a, ...")
@click.option("-s", "--scale", type=int, metavar="N", help="With --as: 2, 3 or 4; A²F checkpoints tell their own.")
@click.option("--overwrite", is_flag=True, help="Replace an existing output.")
def convert(checkpoint: Path, output: Path, network: str | None, scale: int | None, overwrite: bool) -> None:
    """Read a checkpoint of the paper's authors, or of another network, and write it as a weights file.

    Variant and scale of an A²F are told from the shapes. Another network is named by --as and -s; its file is read as
    it was published: PyTorch, Caffe or TensorFlow. Nothing in a file is executed. Needs the extra `train`.
    """
    from a2f.cli.output import check_output
    from a2f.files import write_bytes_atomic

    check_output(output, ".safetensors", overwrite=overwrite)
    if network is not None:
        from a2f.peers.convert import convert_network
        from a2f.peers.files import write_network

        if scale is None:
            raise click.UsageError("--as needs the scale: -s 2, -s 3 or -s 4")
        found = convert_network(checkpoint, name=network, scale=scale)
        write_bytes_atomic(output, write_network(found), replace=overwrite)
        click.echo(f"{output}: {found.name} x{found.scale}", err=True)
        return
    from a2f.model.convert import convert_official
    from a2f.weights import write_weights

    weights = convert_official(checkpoint)
    if scale is not None and scale != weights.config.scale:
        raise click.UsageError(f"{checkpoint} is of x{weights.config.scale}, not of x{scale}: leave out -s")
    write_bytes_atomic(output, write_weights(weights), replace=overwrite)
    click.echo(f"{output}: {weights.config.variant} x{weights.config.scale}", err=True)
