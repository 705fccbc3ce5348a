"""``a2f convert``."""

from pathlib import Path

import click


@click.command(epilog="Example:  a2f convert AAF_SD_x4.pt aaf_sd_x4.safetensors")
@click.argument("checkpoint", type=Path, metavar="CHECKPOINT.pt")
@click.argument("output", type=Path, metavar="OUT.safetensors")
@click.option("--overwrite", is_flag=True, help="Replace an existing output.")
def convert(checkpoint: Path, output: Path, overwrite: bool) -> None:
    """Read a checkpoint of the paper's authors and write it as a weights file.

    Variant and scale are told from the shapes. Nothing in the file is executed. Needs the extra `train`.
    """
    from a2f.cli.output import check_output
    from a2f.imageio import write_bytes_atomic
    from a2f.model.convert import convert_official
    from a2f.weights import write_weights

    check_output(output, ".safetensors", overwrite=overwrite)
    weights = convert_official(checkpoint)
    write_bytes_atomic(output, write_weights(weights), replace=overwrite)
    click.echo(f"{output}: {weights.config.variant} x{weights.config.scale}", err=True)
