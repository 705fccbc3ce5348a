"""Enlarge one picture file; used by the Python interface and by the command line.

`decide` reads the picture and makes all decisions before a network runs; `write` makes the file.
"""

import os
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np

from a2f.errors import Hint, ImageReadError, LossyFormatError, UsageError, WriteError
from a2f.files import Parts, Times, make_folder, output_exists, set_times, write_bytes_atomic
from a2f.imageio import (
    DEFAULT_MAX_PIXELS,
    FORMATS,
    Picture,
    check_conversion,
    format_of_suffix,
    left_out_note,
    read_image,
)
from a2f.imageio.animation import is_transparent_anywhere
from a2f.imageio.formats import ACCEPT_LOSS_HINT, is_image_name
from a2f.imageio.header import format_of_file
from a2f.imageio.picture import ONLY_ONE, Pages
from a2f.imageio.tiff_pages import joined_pages, page_marks, page_of, page_values
from a2f.imageio.write import BIGTIFF_FROM
from a2f.pixels import encode_enlarged
from a2f.sizes import Size, Target
from a2f.upscaler import NO_CONTROL, Control
from a2f.upscalers import Models, Pass

Source = Path | bytes  # the path of a file, or its content
BOOK = ".cbz"  # a comic book: an archive of pages


@dataclass(frozen=True, kw_only=True)
class Encoding:
    """How the result is encoded.

    Attributes:
        format: name of the format; None: the format of the output's suffix, or the format of the picture if there is no
            output.
        quality: from 1 to 100, for JPEG, WebP and AVIF; None: the default of `encode_image`.
        strip: leave out all metadata.
        force: accept that the format loses transparency, bit depth or long metadata.
    """

    format: str | None = None
    quality: int | None = None
    strip: bool = False
    force: bool = False

    def __post_init__(self) -> None:
        if self.format is not None and self.format not in FORMATS:
            raise UsageError(f"unknown image format {self.format!r}: choose one of {', '.join(FORMATS)}")
        if self.quality is not None and not 1 <= self.quality <= 100:
            raise UsageError(f"quality {self.quality}: choose from 1 to 100")


@dataclass(frozen=True, kw_only=True)
class Request:
    """Options that apply to all pictures of a run.

    Attributes:
        target: the size of the result.
        encoding: how the result is encoded.
        allow_truncated: read the intact part of a damaged file.
        max_pixels: reject a larger picture before it is decoded; None for no limit.
        max_memory: limit of the whole process, bytes; None: not given.
        jobs: number of pictures at a time; they share `max_memory`.
        independent_alpha: treat alpha as data that is independent of the colours.
        tileable: the picture continues at its opposite side, like a seamless texture.
        never_shrink: skip a picture that is larger than its result would be.
        overwrite: replace an existing output; the input is never replaced.
        make_folders: make the folder of the output if it is missing.
    """

    target: Target = field(default_factory=Target)
    encoding: Encoding = field(default_factory=Encoding)
    allow_truncated: bool = False
    max_pixels: int | None = DEFAULT_MAX_PIXELS
    max_memory: int | None = None
    jobs: int = 1
    independent_alpha: bool = False
    tileable: bool = False
    never_shrink: bool = False
    overwrite: bool = False
    make_folders: bool = False


@dataclass(frozen=True, kw_only=True)
class Enlargement:
    """A picture, and all decisions about its enlargement that are made before a network runs.

    Attributes:
        picture: the input.
        request: the options.
        output: the file to write; None: return the bytes of the file.
        format: format of the result.
        passes: passes through networks, in order; empty if the picture is only resized.
        size: exact width and height; None if the factor of the single pass gives it.
        final: width and height of the result.
        notes: messages for the user.
        skip_reason: why the picture is not enlarged; empty if it is.
        times: file times to set on the output; None to set none.
        later: read and decide the second and all further pages of a TIFF file, if they are enlarged too.
    """

    picture: Picture
    request: Request
    output: Path | None
    format: str
    passes: tuple[Pass, ...] = ()
    size: Size | None = None
    final: Size
    notes: tuple[str, ...] = ()
    skip_reason: str = ""
    times: Times | None = None
    later: tuple[Callable[[], "Enlargement"], ...] = ()


def output_name(path: Path, *, mark: str, format: str | None = None) -> str:
    """The file name of a result, for example ``photo_x4.jpg`` for ``photo.jpg``.

    Args:
        path: the path of the picture.
        mark: text to add to the name.
        format: format of the result; None for the format of the picture's content. A suffix that does not match the
            format is replaced; a matching suffix is kept as it is.
    """
    if path.suffix.lower() == BOOK:
        return path.stem + mark + path.suffix
    if format is not None:
        return path.stem + mark + FORMATS[format].suffixes[0]
    found = format_of_file(path) or (format_of_suffix(path.suffix) if is_image_name(path) else "png")
    fits = path.suffix.lower() in FORMATS[found].suffixes
    return path.stem + mark + (path.suffix if fits else FORMATS[found].suffixes[0])


def decide(
    source: Source,
    models: Models,
    request: Request,
    *,
    output: Path | None = None,
    name: str | None = None,
    times: Times | None = None,
) -> Enlargement:
    """Read a picture and decide how to enlarge it; nothing is written.

    Args:
        source: the path of a file, or its content.
        models: the networks to choose from.
        request: the options.
        output: the file to write; None to get the bytes.
        name: name of the picture in notes and errors; the path by default.
        times: file times to set on the output.

    Raises:
        WriteError, OutputExistsError: if the output cannot be written.
        ImageReadError: if the picture cannot be read.
        MemoryLimitError: if decoding it takes more memory than is allowed.
        LossyFormatError, UsageError: if the format cannot hold the result, or the size cannot be reached.
        UnknownModelError, WeightsError, EngineError, MissingExtraError: if a network cannot be opened.
    """
    called = name or ("the image" if isinstance(source, bytes) else str(source))
    if output is not None:
        check_output(source, output, request)
    picture = _read(source, request, called)
    encoding, given = request.encoding, picture.size
    format = encoding.format or (picture.format if output is None else format_of_suffix(output.suffix))
    final = request.target.final(given)
    if told := skip_reason_of(given, request, called):
        return Enlargement(
            picture=picture, request=request, output=output, format=format, final=final, skip_reason=told
        )
    check_conversion(picture, format, force=encoding.force, strip=encoding.strip, factor=max(final) / max(given))
    if picture.animation is not None and FORMATS[format].moves:
        picture = _moving(picture, format, called, force=encoding.force)
    picture, later = _with_later_pages(picture, format, models, request, called)
    passes = models.passes(given, request.target, jpeg_quality=picture.jpeg_quality)
    left_out = left_out_note(picture, format, strip=encoding.strip)
    return Enlargement(
        picture=picture,
        request=request,
        output=output,
        format=format,
        passes=passes,
        size=request.target.exact(given),
        final=final,
        notes=(*picture.notes, *(f"{called}: {note}" for note in left_out)),
        times=times,
        later=later,
    )


def write(
    enlargement: Enlargement,
    *,
    control: Control = NO_CONTROL,
    recorded: Callable[[Parts, Enlargement], Parts] = lambda parts, enlargement: parts,
) -> tuple[bytes, list[str]]:
    """Enlarge a picture and write the file, whole or not at all.

    Args:
        enlargement: the result of `decide`.
        control: progress and cancellation.
        recorded: wraps the parts of the file; it sees the last part before the file gets its final name.

    Returns:
        The bytes of the file if there is no output, otherwise empty bytes; and notes.

    Raises:
        WriteError: if the file cannot be written; OutputExistsError also for a file that has appeared since `decide`.
        ImageWriteError: if the result cannot be encoded.
        MemoryLimitError: if there is too little memory.
        Cancelled: if the work is cancelled.
    """
    output, request, late = enlargement.output, enlargement.request, list[str]()
    encoded = _every_page(enlargement, control, late) if enlargement.later else _encoded(enlargement, control)
    with closing(encoded) as made:
        if output is None:
            return b"".join(made), late
        parts = chain([next(made)], made)  # make no folder before there is something to write
        control.check()
        if request.make_folders:
            make_folder(output.parent)
        write_bytes_atomic(output, recorded(parts, enlargement), replace=request.overwrite)
    return b"", late + (set_times(output, enlargement.times) if enlargement.times else [])


def _encoded(enlargement: Enlargement, control: Control) -> Generator[bytes | memoryview, None, None]:
    """The parts of the file of one picture."""
    request = enlargement.request
    encoding = request.encoding
    return encode_enlarged(
        enlargement.picture,
        [one.upscaler for one in enlargement.passes],
        size=enlargement.size,
        format=enlargement.format,
        quality=encoding.quality,
        strip=encoding.strip,
        force=encoding.force,
        independent=request.independent_alpha,
        tileable=request.tileable,
        control=control,
    )


def _every_page(
    enlargement: Enlargement, control: Control, late: list[str]
) -> Generator[bytes | memoryview, None, None]:
    """The parts of a TIFF file with several pages, one after the other; adds the notes of later pages to `late`."""
    pages = enlargement.picture.pages
    assert pages is not None
    count = len(pages.places)

    def files() -> Iterator[bytes]:
        for number in range(count):
            own = enlargement if number == 0 else enlargement.later[number - 1]()
            late.extend(own.notes if number else ())
            yield b"".join(_encoded(own, control.part(number / count, (number + 1) / count)))

    sizes = [page_values(pages.data, place) for place in pages.places]
    large = [(enlargement.request.target.final((w, h)), depth) for w, h, depth in sizes if w and h]
    raw_bytes = sum(w * h * depth for (w, h), depth in large)
    marks = [page_marks(pages.data, place) for place in pages.places]
    yield from joined_pages(files(), marks, big=raw_bytes >= BIGTIFF_FROM)


def _with_later_pages(
    picture: Picture, format: str, models: Models, request: Request, name: str
) -> tuple[Picture, tuple[Callable[[], Enlargement], ...]]:
    """The picture without the note that only its first page is read, and its later pages, if all are enlarged."""
    if picture.pages is None or format != "tiff":
        return picture, ()
    _check_later_pages(picture.pages, models, request, name)
    later = _later_pages(picture.pages, models, request, name)
    return replace(picture, notes=_without_only_one(picture.notes)), later


def _later_pages(pages: Pages, models: Models, request: Request, name: str) -> tuple[Callable[[], Enlargement], ...]:
    """A function for each page but the first that reads it and decides how to enlarge it, as a file of its own."""
    each = replace(request, never_shrink=False, encoding=replace(request.encoding, format="tiff"))

    def page(number: int) -> Enlargement:
        called = f"{name}, page {number} of {len(pages.places)}"
        try:
            return decide(page_of(pages.data, pages.places[number - 1]), models, each, name=called)
        except ImageReadError as error:
            still = Hint(text="{option} takes only the first page", option="format", value="png")
            raise type(error)(error.message, *error.hints, still) from error

    return tuple(partial(page, number) for number in range(2, len(pages.places) + 1))


def _check_later_pages(pages: Pages, models: Models, request: Request, name: str) -> None:
    """Raise an error for a page that cannot reach the requested size, before the first page is enlarged."""
    for number, place in enumerate(pages.places[1:], start=2):
        width, height, _ = page_values(pages.data, place)
        if not width or not height:
            continue
        try:
            models.passes((width, height), request.target, jpeg_quality=None)
        except UsageError as error:
            raise UsageError(f"{name}, page {number} of {len(pages.places)}: {error.message}", *error.hints) from error


def _without_only_one(notes: Sequence[str]) -> tuple[str, ...]:
    """Notes without those that only the first frame or page is read."""
    return tuple(note for note in notes if not note.endswith(ONLY_ONE))


def skip_reason_of(given: Size, request: Request, name: str) -> str:
    """Why a picture of this width and height is not enlarged; empty if it is."""
    final = request.target.final(given)
    if not request.never_shrink or (final[0] >= given[0] and final[1] >= given[1]):
        return ""
    return f"{name}: {given[0]} x {given[1]} is larger than {final[0]} x {final[1]}: skipped"


def check_output(source: Source, output: Path, request: Request) -> None:
    """Raise an error for an output that cannot be written, before anything is computed.

    Raises:
        WriteError: if it is a folder or the input itself, or its folder is missing and `make_folders` is False.
        OutputExistsError: if the output exists and `overwrite` is False.
    """
    if output.is_dir():
        raise WriteError(f"{output} is a folder: give the name of a file")
    if os.path.lexists(output):
        if isinstance(source, Path) and source.exists() and output.exists() and output.samefile(source):
            raise WriteError(f"{output} is the input itself, which is never replaced: choose another output")
        if not request.overwrite:
            raise output_exists(output)
    elif not request.make_folders and not output.parent.is_dir():
        raise WriteError(f"cannot write {output}: there is no folder {output.parent}")


def _moving(picture: Picture, format: str, name: str, *, force: bool) -> Picture:
    """Prepare an animation whose frames are all enlarged, and add notes about them.

    Raises:
        LossyFormatError: if the format cannot store all properties of a frame.
    """
    assert picture.animation is not None
    if picture.is_deep and not force:
        raise LossyFormatError(
            f"{name} is animated and has more than 8 bits per channel; frames are enlarged with 8 bits",
            ACCEPT_LOSS_HINT,
            loses=("bit-depth",),
        )
    transparent, degrees = is_transparent_anywhere(picture.animation)
    if degrees and not FORMATS[format].soft and not force:
        raise LossyFormatError(
            f"{format} cannot store partial transparency, which frames of {name} have",
            Hint(text="choose png or webp"),
            ACCEPT_LOSS_HINT,
            loses=("partial-transparency",),
        )
    if transparent and picture.pixels.shape[2] == 3:
        picture = replace(picture, pixels=np.pad(picture.pixels, ((0, 0), (0, 0), (0, 1)), constant_values=255))
    return replace(picture, notes=_without_only_one(picture.notes))


def _read(source: Source, request: Request, name: str) -> Picture:
    share = request.max_memory // request.jobs if request.max_memory else None
    return read_image(
        source, max_pixels=request.max_pixels, max_memory=share, allow_truncated=request.allow_truncated, name=name
    )
