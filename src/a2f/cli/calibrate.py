"""``a2f calibrate``."""

from pathlib import Path

import click

from a2f.cli.parameters import check_output, complete_model

EPILOG = """\b
Example:
  a2f calibrate runs/sd_x4/best.safetensors --data photos/ -o mine.safetensors
  a2f upscale photo.jpg -m mine.safetensors --dtype fast
"""


@click.command(epilog=EPILOG)
@click.argument("weights", metavar="WEIGHTS", shell_complete=complete_model)
@click.option("--data", type=Path, required=True, metavar="DIR", help="Folder of photographs, searched recursively.")
@click.option("-o", "--output", type=Path, required=True, metavar="OUT.safetensors", help="The file to write.")
@click.option("--overwrite", is_flag=True, help="Replace an existing output.")
def calibrate(weights: str, data: Path, output: Path, overwrite: bool) -> None:
    """Make the 8-bit integers (upscale --dtype fast) for photographs, and write them to a weights file.

    These are the ranges of the features and the rounding of the kernels. The weights do not change. If OpenVINO is
    installed, the loss is measured on other photographs of the folder, printed, and written to the file too.
    """
    from a2f.evaluation.int8_loss import calibrated
    from a2f.files import write_bytes_atomic
    from a2f.weights import find_weights, write_weights

    check_output(output, ".safetensors", overwrite=overwrite)
    result = calibrated(find_weights(weights, scale=4), data, tell=lambda line: click.echo(line, err=True))
    write_bytes_atomic(output, write_weights(result), replace=overwrite)
    click.echo(f"{output}: {result.config.variant} x{result.config.scale}, with ranges for int8", err=True)
