"""``a2f compare``: pictures on one sheet, pairs of two folders, or one pair as an HTML page."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from a2f.cli.console import Messages, printable
from a2f.errors import A2FError, UsageError, count_of
from a2f.files import output_exists

if TYPE_CHECKING:
    from collections.abc import Iterator

    from PIL.Image import Image

    from a2f.contact import Pair, Scene

EPILOG = """\b
Examples:
  a2f compare photo.jpg photo_x4.jpg -o sheet.png
  a2f compare bicubic.png a2f.png --hr original.png -o sheet.png
  a2f compare a.png b.png --crop 100,80,64,48 -o sheet.png
  a2f compare photo.jpg photo_x4.jpg -o slider.html
  a2f compare holiday/ large/ -o sheets.pdf
"""


SHOWN = 10  # printed names of files without a partner


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
@click.option("--hr", type=Path, help="The original; it is shown, and PSNR-Y is measured against it.")
@click.option(
    "--crop", "crops", type=CropType(), multiple=True, help="A part to enlarge.  [default: parts with much detail]"
)
@click.option(
    "--label",
    "labels",
    multiple=True,
    metavar="TEXT",
    help="Label of a picture; give one per picture.  [default: file names]",
)
@click.option("-r", "--recursive", is_flag=True, help="For two folders: include their subfolders.")
@click.option(
    "-o",
    "--output",
    type=Path,
    required=True,
    metavar="SHEET.png",
    help="The sheet: an image or .pdf; .html is possible for two pictures or two folders.",
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
    """Show pictures of one scene side by side: the whole pictures and enlarged crops.

    Smaller pictures, for example the original photo, are enlarged by bicubic to the common size; their labels say so.

    Two folders are shown in pairs: photo.jpg of the first and photo.jpg or photo_x4.jpg of the second. The output is a
    .pdf file, one .html page with all pictures, or one image per page (sheet-1.png).
    """
    folders = [path for path in pictures if path.is_dir()]
    if folders:
        _check_folders(pictures, folders, alone={"--hr": hr, "--crop": crops, "--label": labels})
        _compare_folders((folders[0], folders[1]), output, recursive=recursive, overwrite=overwrite)
        return
    _check_pictures(pictures, hr, labels, output, overwrite=overwrite)
    if output.suffix.lower() == ".html":
        if len(pictures) != 2 or hr or crops or labels:
            raise UsageError(".html shows exactly two pictures, without --hr, --crop and --label: give a .pdf or .png")
        _compare_pair((pictures[0], pictures[1]), output, overwrite=overwrite)
        return
    from a2f.imageio.rgb import read_rgb8
    from a2f.sheets import compare_sheet, distinct_labels

    named = list(zip(labels or distinct_labels(pictures), [read_rgb8(p) for p in pictures], strict=True))
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
        raise UsageError(f"{len(labels)} labels for {len(pictures)} pictures: give one per picture, or none")
    if output.exists() and any(p.exists() and output.samefile(p) for p in (*pictures, *([hr] if hr else []))):
        raise UsageError(f"{output} is one of the pictures: choose another name for the sheet")
    if output.exists() and not overwrite:
        raise output_exists(output)


def _check_folders(pictures: tuple[Path, ...], folders: list[Path], *, alone: dict[str, Any]) -> None:
    others = [path for path in pictures if path not in folders]
    if others or len(folders) != 2:
        what = f"{others[0]} is not a folder" if others else f"{count_of(len(folders), 'folder')} given"
        raise UsageError(f"{what}. Give two folders, or only pictures.")
    if given := [name for name, value in alone.items() if value]:
        raise UsageError(f"{' and '.join(given)} is for pictures, not for folders: leave it out")


def _compare_folders(folders: tuple[Path, Path], output: Path, *, recursive: bool, overwrite: bool) -> None:
    """Write contact sheets of two folders in pairs.

    Args:
        folders: before and after.
        output: a PDF, an HTML page, or an image; image names get a number if there are several pages.
        recursive: include subfolders.
        overwrite: replace an existing output.

    Raises:
        UsageError: if the output is of another kind, or no file has a partner.
        OutputExistsError: if the output exists and `overwrite` is False.
        A2FError: if no pair could be shown, or the output cannot be written.
    """
    from a2f.contact import pair_up, read_scenes
    from a2f.imageio import format_of_suffix
    from a2f.imageio.rgb import read_rgb8

    kind = output.suffix.lower()
    if kind not in (".pdf", ".html"):
        format_of_suffix(output.suffix)
    if output.exists() and not overwrite:
        raise output_exists(output)
    before, after = (_images(folder, output, recursive=recursive) for folder in folders)
    pairing = pair_up(before, after, folders=folders)
    for folder, alone in zip(folders, (pairing.alone_before, pairing.alone_after), strict=True):
        if alone:
            names = ", ".join(path.name for path in alone[:SHOWN]) + (", ..." if len(alone) > SHOWN else "")
            click.echo(printable(f"{folder}: {count_of(len(alone), 'file(s) without a partner')}: {names}"), err=True)
    if not pairing.pairs:
        raise UsageError(f"no file of {folders[1]} matches a name of {folders[0]}, like photo_x4.jpg and photo.jpg")
    failures: list[str] = []

    def failed(pair: "Pair", error: Exception) -> None:
        failures.append(pair.name)
        Messages().error(error)

    scenes = read_scenes(pairing.pairs, read_rgb8, failed)
    first = next(scenes, None)
    if first is None:
        raise A2FError("no pair could be shown")
    made = _write_sheets(_with(first, scenes), output, folders, count=len(pairing.pairs), overwrite=overwrite)
    click.echo(printable(f"{made} ({len(pairing.pairs) - len(failures)} pairs)"), err=True)
    if failures:
        raise A2FError(f"{len(failures)} of {len(pairing.pairs)} pairs could not be shown")


def _compare_pair(pictures: tuple[Path, Path], output: Path, *, overwrite: bool) -> None:
    """Write an HTML page of one pair.

    Args:
        pictures: before and after.
        output: the page.
        overwrite: replace an existing output.

    Raises:
        InputError: if the second picture is smaller, or the proportions differ.
        A2FError: if a picture cannot be read, or the page cannot be written.
    """
    from a2f.contact import Scene, page_of_html
    from a2f.files import write_bytes_atomic
    from a2f.imageio.rgb import read_rgb8
    from a2f.sheets import distinct_labels

    before, after = pictures
    scene = Scene(name=before.name, before=read_rgb8(before), after=read_rgb8(after))
    title = " and ".join(distinct_labels(pictures))
    write_bytes_atomic(output, page_of_html([scene], title=title), replace=overwrite)
    click.echo(printable(f"{output} (1 pair)"), err=True)


def _images(folder: Path, output: Path, *, recursive: bool) -> list[Path]:
    """The pictures of a folder, sorted; other files are reported."""
    from a2f.cli.inputs import skipped_note
    from a2f.imageio.formats import is_image_name

    everything = sorted(folder.rglob("*") if recursive else folder.iterdir())
    images = [p for p in everything if is_image_name(p) and p.is_file() and not p.name.startswith(".")]
    for note in skipped_note(folder, [p for p in everything if p != output], set(images), recursive=recursive):
        click.echo(printable(note), err=True)
    return images


def _with(first: "Scene", rest: "Iterator[Scene]") -> "Iterator[Scene]":
    yield first
    yield from rest


def _write_sheets(
    scenes: "Iterator[Scene]", output: Path, folders: tuple[Path, Path], *, count: int, overwrite: bool
) -> str:
    """Write the sheets and return their names."""
    import numpy as np

    from a2f.contact import ROWS, page_of_html, pages, pdf
    from a2f.files import write_bytes_atomic
    from a2f.imageio import Picture, write_image

    title = f"{folders[0].resolve().name} and {folders[1].resolve().name}"
    if output.suffix.lower() == ".html":
        write_bytes_atomic(output, page_of_html(scenes, title=title), replace=overwrite)
        return str(output)
    sheets = pages(scenes, title=title, count=count)
    if output.suffix.lower() == ".pdf":
        write_bytes_atomic(output, pdf(sheets), replace=overwrite)
        return str(output)
    names = []
    for number, sheet in enumerate(sheets, start=1):
        name = output if count <= ROWS else output.with_name(f"{output.stem}-{number}{output.suffix}")
        write_image(Picture(pixels=np.asarray(sheet)), name, replace_existing=overwrite)
        names.append(str(name))
    return names[0] if len(names) == 1 else f"{names[0]} to {names[-1]}"
