"""``a2f convert``."""

from pathlib import Path

import click

from a2f.cli.parameters import OwnNetworkType, among, check_output, complete_scale

EPILOG = """\b
Examples:
  A checkpoint of the paper's authors; its shapes give variant and scale:
    a2f convert AAF_SD_x4.pt aaf_sd_x4.safetensors
  Checkpoints of other networks: PyTorch, Caffe, TensorFlow:
    a2f convert --as carn-m -s 4 CARN-M_x2x3x4.pth carn_m_x4.safetensors
    a2f convert --as idn -s 2 IDN_x2.caffemodel idn_x2.safetensors
    a2f convert --as falsr-a -s 2 FALSR-A_x2.pb falsr_a_x2.safetensors
  A checkpoint of your own network, a state_dict of PyTorch:
    a2f convert --network my.py:Net -s 4 trained.pth mine.safetensors
  Then:
    a2f eval aaf_sd_x4.safetensors carn_m_x4.safetensors --data sets/Set5 --published
"""


NETWORKS = ("carn-m", "imdn", "idn", "vdsr", "fsrcnn-shuffle", "falsr-a", "falsr-b", "falsr-c")


@click.command(epilog=EPILOG)
@click.argument("checkpoint", type=Path, metavar="CHECKPOINT")
@click.argument("output", type=Path, metavar="OUT.safetensors")
@click.option(
    "--as",
    "network",
    metavar="NETWORK",
    shell_complete=among(*NETWORKS),
    help=f"The network of another paper: {', '.join(NETWORKS[:-1])} or {NETWORKS[-1]}.",
)
@click.option(
    "--network",
    "own",
    type=OwnNetworkType(),
    metavar=OwnNetworkType.name,
    help="The class of your own network, for a PyTorch checkpoint with its state_dict.",
)
@click.option(
    "-s",
    "--scale",
    type=int,
    metavar="N",
    shell_complete=complete_scale,
    help="2, 3 or 4; required with --as and --network.",
)
@click.option("--overwrite", is_flag=True, help="Replace an existing output.")
def convert(
    checkpoint: Path, output: Path, network: str | None, own: str | None, scale: int | None, overwrite: bool
) -> None:
    """Convert a checkpoint to a weights file (.safetensors).

    CHECKPOINT is a file of the A²F paper's authors, a file of another network given by --as and -s, in its published
    format (PyTorch, Caffe or TensorFlow), or a PyTorch file of your own network (--network). Nothing in it is executed.
    The result works with a2f eval, export and train --init; results of A²F also with a2f upscale -m. Needs the extra
    `train`.
    """
    from a2f.files import write_bytes_atomic

    if network is not None and own is not None:
        raise click.UsageError("--as and --network are both given: choose one")
    check_output(output, ".safetensors", overwrite=overwrite)
    if network is not None or own is not None:
        from a2f.peers.checkpoints import convert_network, convert_own
        from a2f.peers.files import write_network

        if scale is None:
            raise click.UsageError(f"{'--as' if network else '--network'} needs the scale: -s 2, -s 3 or -s 4")
        if network is not None:
            found = convert_network(checkpoint, name=network, scale=scale)
        else:
            found = convert_own(checkpoint, own=str(own), scale=scale)
        write_bytes_atomic(output, write_network(found), replace=overwrite)
        click.echo(f"{output}: {found.name} x{found.scale}", err=True)
        return
    from a2f.model.official import convert_official
    from a2f.weights import write_weights

    weights = convert_official(checkpoint)
    if scale is not None and scale != weights.config.scale:
        raise click.UsageError(f"{checkpoint} enlarges {weights.config.scale} times, not {scale}. Leave out -s.")
    write_bytes_atomic(output, write_weights(weights), replace=overwrite)
    click.echo(f"{output}: {weights.config.variant} x{weights.config.scale}", err=True)
