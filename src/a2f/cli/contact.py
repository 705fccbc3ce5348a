"""``a2f compare`` of two folders, and of one pair as an HTML page."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from a2f.cli.console import Messages, printable
from a2f.errors import A2FError, UsageError

if TYPE_CHECKING:
    from a2f.contact import Pair, Scene

SHOWN = 10  # names of files without a partner


def compare_folders(folders: tuple[Path, Path], output: Path, *, recursive: bool, overwrite: bool) -> None:
    """Write contact sheets of two folders in pairs.

    Args:
        folders: before and after.
        output: a PDF, an HTML page, or a picture, which gets a number if there are several pages.
        recursive: look into their folders too.
        overwrite: replace what is there.

    Raises:
        UsageError: if the output exists or is of another kind, or no file has a partner.
        A2FError: if no pair could be shown, or the output cannot be written.
    """
    from a2f.contact import pair_up, read_scenes
    from a2f.imageio import format_of_suffix
    from a2f.imageio.rgb import read_rgb8

    kind = output.suffix.lower()
    if kind not in (".pdf", ".html"):
        format_of_suffix(output.suffix)
    if output.exists() and not overwrite:
        raise UsageError(f"{output} exists: --overwrite replaces it")
    before, after = (_images(folder, output, recursive=recursive) for folder in folders)
    pairing = pair_up(before, after, folders=folders)
    for folder, alone in zip(folders, (pairing.alone_before, pairing.alone_after), strict=True):
        if alone:
            names = ", ".join(path.name for path in alone[:SHOWN]) + (", ..." if len(alone) > SHOWN else "")
            click.echo(printable(f"{folder}: {len(alone)} file(s) without a partner: {names}"), err=True)
    if not pairing.pairs:
        raise UsageError(f"no file of {folders[1]} is named like one of {folders[0]}, as photo_x4.jpg like photo.jpg")
    failures: list[str] = []

    def failed(pair: "Pair", error: Exception) -> None:
        failures.append(pair.name)
        Messages().error(error)

    scenes = read_scenes(pairing.pairs, read_rgb8, failed)
    first = next(scenes, None)
    if first is None:
        raise A2FError("no pair could be shown")
    made = _write(_with(first, scenes), output, folders, count=len(pairing.pairs), overwrite=overwrite)
    click.echo(printable(f"{made} ({len(pairing.pairs) - len(failures)} pairs)"), err=True)
    if failures:
        raise A2FError(f"{len(failures)} of {len(pairing.pairs)} pairs could not be shown")


def compare_pair(pictures: tuple[Path, Path], output: Path, *, overwrite: bool) -> None:
    """Write an HTML page of one pair.

    Args:
        pictures: before and after.
        output: the page.
        overwrite: replace what is there.

    Raises:
        InputError: if the second picture is smaller, or the proportions differ.
        A2FError: if a picture cannot be read, or the page cannot be written.
    """
    from a2f.compare import names_apart
    from a2f.contact import Scene, page_of_html
    from a2f.files import write_bytes_atomic
    from a2f.imageio.rgb import read_rgb8

    before, after = pictures
    scene = Scene(name=before.name, before=read_rgb8(before), after=read_rgb8(after))
    title = " and ".join(names_apart(pictures))
    write_bytes_atomic(output, page_of_html([scene], title=title), replace=overwrite)
    click.echo(printable(f"{output} (1 pair)"), err=True)


def _images(folder: Path, output: Path, *, recursive: bool) -> list[Path]:
    """The pictures of a folder, sorted; what else lies there is told."""
    from a2f.cli.inputs import passed_over
    from a2f.imageio.formats import is_image_name

    everything = sorted(folder.rglob("*") if recursive else folder.iterdir())
    images = [p for p in everything if is_image_name(p) and p.is_file() and not p.name.startswith(".")]
    for note in passed_over(folder, [p for p in everything if p != output], set(images), recursive=recursive):
        click.echo(printable(note), err=True)
    return images


def _with(first: "Scene", rest: Iterator["Scene"]) -> Iterator["Scene"]:
    yield first
    yield from rest


def _write(scenes: Iterator["Scene"], output: Path, folders: tuple[Path, Path], *, count: int, overwrite: bool) -> str:
    """Write the sheets, and tell their names."""
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
