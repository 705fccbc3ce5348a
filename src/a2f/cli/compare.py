"""``a2f compare``."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from a2f.cli.console import printable
from a2f.cli.contact import compare_folders, compare_pair
from a2f.errors import UsageError

if TYPE_CHECKING:
    from PIL.Image import Image

EPILOG = """\b
Examples:
  a2f compare photo.jpg photo_x4.jpg -o sheet.png
  a2f compare bicubic.png a2f.png --hr original.png -o sheet.png
  a2f compare a.png b.png --crop 100,80,64,48 -o sheet.png
  a2f compare photo.jpg photo_x4.jpg -o slider.html
  a2f compare holiday/ large/ -o sheets.pdf
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
@click.option("-r", "--recursive", is_flag=True, help="Of two folders: look into their folders too.")
@click.option(
    "-o",
    "--output",
    type=Path,
    required=True,
    metavar="SHEET.png",
    help="The sheet: a picture, or .pdf; for two pictures or two folders .html too.",
)
@click.option("--overwrite", is_flag=True, help="Replace an existing sheet.")
def compare(
    pictures: tuple[Path, ...],
    hr: Path | None,
    crops: tuple[tuple[int, int, int, int], ...],
    labels: tuple[str, ...],
    recursive: bool,
    output: Path,
    overwrite: bool,
) -> None:
    """Lay pictures of one scene side by side: the whole, and crops enlarged to the pixel.

    Smaller pictures, such as the photo before enlarging, are shown as large as the others (bicubic), and say so.

    Two folders are shown in pairs: photo.jpg of the first beside photo.jpg or photo_x4.jpg of the second. The output is
    a .pdf of several pages, one .html page that holds all pictures, or a picture for each page (sheet-1.png).
    """
    folders = [path for path in pictures if path.is_dir()]
    if folders:
        _check_folders(pictures, folders, alone={"--hr": hr, "--crop": crops, "--label": labels})
        compare_folders((folders[0], folders[1]), output, recursive=recursive, overwrite=overwrite)
        return
    _check_pictures(pictures, hr, labels, output, overwrite=overwrite)
    if output.suffix.lower() == ".html":
        if len(pictures) != 2 or hr or crops or labels:
            raise UsageError(".html shows two pictures alone, without --hr, --crop and --label: give a .pdf or .png")
        compare_pair((pictures[0], pictures[1]), output, overwrite=overwrite)
        return
    from a2f.compare import compare_sheet, names_apart
    from a2f.imageio.rgb import read_rgb8

    named = list(zip(labels or names_apart(pictures), [read_rgb8(p) for p in pictures], strict=True))
    sheet = compare_sheet(named, hr=read_rgb8(hr) if hr else None, crops=crops)
    _write(sheet, output, overwrite=overwrite)
    click.echo(printable(f"{output} ({sheet.width} x {sheet.height})"), err=True)


def _write(sheet: "Image", output: Path, *, overwrite: bool) -> None:
    import numpy as np

    from a2f.contact import pdf
    from a2f.files import write_bytes_atomic
    from a2f.imageio import Picture, write_image

    if output.suffix.lower() == ".pdf":
        write_bytes_atomic(output, pdf([sheet]), replace=overwrite)
    else:
        write_image(Picture(pixels=np.asarray(sheet)), output, replace_existing=overwrite)


def _check_pictures(
    pictures: tuple[Path, ...], hr: Path | None, labels: tuple[str, ...], output: Path, *, overwrite: bool
) -> None:
    from a2f.imageio import format_of_suffix

    if output.suffix.lower() not in (".pdf", ".html"):
        format_of_suffix(output.suffix)
    if labels and len(labels) != len(pictures):
        raise UsageError(f"{len(labels)} labels for {len(pictures)} pictures: give one each, or none")
    if output.exists() and not overwrite:
        raise UsageError(f"{output} exists: --overwrite replaces it")
    if output.exists() and any(p.exists() and output.samefile(p) for p in (*pictures, *([hr] if hr else []))):
        raise UsageError(f"{output} is one of the pictures: choose another name for the sheet")


def _check_folders(pictures: tuple[Path, ...], folders: list[Path], *, alone: dict[str, Any]) -> None:
    others = [path for path in pictures if path not in folders]
    if others or len(folders) != 2:
        what = f"{others[0]} is not a folder" if others else f"{len(folders)} folder(s) were given"
        raise UsageError(f"{what}. Give two folders, or only pictures.")
    if given := [name for name, value in alone.items() if value]:
        raise UsageError(f"{' and '.join(given)} is for pictures, not for folders: leave it out")
