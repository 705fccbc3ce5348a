"""``a2f compare``."""

from pathlib import Path
from typing import Any

import click

EPILOG = """\b
Examples:
  a2f compare photo.jpg photo_x4.jpg -o sheet.png
  a2f compare bicubic.png a2f.png --hr original.png -o sheet.png
  a2f compare a.png b.png --crop 100,80,64,48 -o sheet.png
"""


class CropType(click.ParamType):  # type: ignore[type-arg,unused-ignore]
    """X,Y,W,H in pixels of the largest picture."""

    name = "X,Y,W,H"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        """Read 10,20,64,48."""
        parts = str(value).split(",")
        if len(parts) != 4 or not all(part.strip().isdecimal() for part in parts):
            self.fail(f"{value!r} is not a crop: write it as 100,80,64,48 (x, y, width, height)", param, ctx)
        return tuple(int(part) for part in parts)


@click.command(epilog=EPILOG)
@click.argument("pictures", nargs=-1, required=True, type=Path, metavar="PICTURE...")
@click.option("--hr", type=Path, help="The original: shown too, and PSNR-Y is measured against it.")
@click.option("--crop", "crops", type=CropType(), multiple=True, help="A part to enlarge; chosen by detail by default.")
@click.option("--label", "labels", multiple=True, metavar="TEXT", help="One a picture; the file name by default.")
@click.option("-o", "--output", type=Path, required=True, metavar="SHEET.png", help="The sheet to write.")
@click.option("--overwrite", is_flag=True, help="Replace an existing sheet.")
def compare(
    pictures: tuple[Path, ...],
    hr: Path | None,
    crops: tuple[tuple[int, int, int, int], ...],
    labels: tuple[str, ...],
    output: Path,
    overwrite: bool,
) -> None:
    """Lay pictures of one scene side by side: the whole, and crops enlarged to the pixel.

    Smaller pictures, such as the photo before enlarging, are shown enlarged by bicubic, and say so.
    """
    import numpy as np

    from a2f.compare import compare_sheet, names_apart
    from a2f.errors import UsageError
    from a2f.imageio import Picture, format_of_suffix, write_image
    from a2f.imageio.rgb import read_rgb8

    format_of_suffix(output.suffix)
    if labels and len(labels) != len(pictures):
        raise UsageError(f"{len(labels)} labels for {len(pictures)} pictures: give one each, or none")
    if output.exists() and not overwrite:
        raise UsageError(f"{output} exists: --overwrite replaces it")
    if output.exists() and any(p.exists() and output.samefile(p) for p in (*pictures, *([hr] if hr else []))):
        raise UsageError(f"{output} is one of the pictures: choose another name for the sheet")
    named = list(zip(labels or names_apart(pictures), [read_rgb8(p) for p in pictures], strict=True))
    sheet = compare_sheet(named, hr=read_rgb8(hr) if hr else None, crops=crops)
    write_image(Picture(pixels=np.asarray(sheet)), output, replace_existing=overwrite)
    click.echo(f"{output} ({sheet.width} x {sheet.height})", err=True)
