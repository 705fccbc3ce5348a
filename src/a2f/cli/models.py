"""``a2f models``."""

import json
from dataclasses import asdict

import click

from a2f.cli.console import print_table

SETS = ("Set5", "Set14", "B100")
QUALITIES = ("75", "50")  # qualities of JPEG input


@click.command(epilog="Example:  a2f models --json")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with SSIM and checksums.")
def models(as_json: bool) -> None:
    """List the models in this package: size, quality (PSNR-Y in dB on benchmark sets) and licence.

    Models whose names end in -robust are for JPEG input.
    """
    from a2f.variants import VARIANTS
    from a2f.weights import shipped_models

    shipped = shipped_models()
    if as_json:
        click.echo(json.dumps([asdict(model) | {"path": str(model.path)} for model in shipped], indent=2))
        return
    head = ("model", "scale", "parameters", "file", *SETS, *(f"JPEG {q}" for q in QUALITIES), "licence", "network")
    rows = [
        (
            model.name,
            f"x{model.scale}",
            f"{model.parameters:,}",
            f"{model.path.stat().st_size / 1e6:.1f} MB",
            *(f"{model.psnr_y[name]:.2f}" if name in model.psnr_y else "-" for name in SETS),
            *(f"{model.jpeg_psnr_y[q]:.2f}" if q in model.jpeg_psnr_y else "-" for q in QUALITIES),
            model.licence,
            VARIANTS[model.variant].title + (", for JPEG input" if model.kind == "robust" else ""),
        )
        for model in shipped
    ]
    print_table(head, rows)
    click.echo(
        "\nSet5, Set14, B100: PSNR-Y in dB. JPEG 75, JPEG 50: PSNR-Y on Kodak24 if LR is a JPEG of this quality."
    )
    click.echo("Example: a2f upscale photo.jpg -m sd -s 4")
