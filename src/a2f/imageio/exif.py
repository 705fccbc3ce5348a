"""Change EXIF blocks in place: all other data keep their bytes and their offsets.

Maker notes have offsets into the block in formats that only the maker knows, so a block that is parsed and rewritten is
damaged.
"""

import struct
from dataclasses import dataclass

ORIENTATION, EXIF_IFD, GPS_IFD, INTEROP_IFD = 0x0112, 0x8769, 0x8825, 0xA005
INTEROP_INDEX = 1
WIDTH, HEIGHT, PIXEL_WIDTH, PIXEL_HEIGHT = 0x0100, 0x0101, 0xA002, 0xA003
FOCAL_X_RESOLUTION, FOCAL_Y_RESOLUTION, SUBJECT_PLACES = 0xA20E, 0xA20F, (0x9214, 0xA214)
RELATED_WIDTH, RELATED_HEIGHT = 0x1001, 0x1002
X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT = 0x011A, 0x011B, 0x0128
THUMBNAILS = ((0x0201, 0x0202), (0x0111, 0x0117))  # start and length: JPEG, one strip of pixels
MAX_DIRECTORIES = 8  # limit for a chain; a damaged directory may point to itself
SHORT, LONG, RATIONAL = 3, 4, 5
MARK = b"Exif\0\0"


@dataclass(frozen=True, kw_only=True)
class Directory:
    """One directory of a TIFF structure.

    Attributes:
        order: byte order for `struct`, "<" or ">".
        entries: tag -> position of its 12 bytes (tag, type, count, value or offset); the first of several.
        places: all of these positions.
        link: position of the 4 bytes that point to the next directory.
    """

    order: str
    entries: dict[int, int]
    places: list[int]
    link: int


def first_directory(block: bytes | bytearray) -> Directory | None:
    """The first directory of a TIFF structure; None if it cannot be read."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(bytes(block[:4]))
    if order is None or len(block) < 8:
        return None
    return _directory(block, struct.unpack_from(f"{order}I", block, 4)[0], order)


def _directory(block: bytes | bytearray, at: int, order: str) -> Directory | None:
    if not 8 <= at <= len(block) - 6:
        return None
    (count,) = struct.unpack_from(f"{order}H", block, at)
    link = at + 2 + 12 * count
    if link + 4 > len(block):
        return None
    places = [at + 2 + 12 * i for i in range(count)]
    entries = {struct.unpack_from(f"{order}H", block, place)[0]: place for place in reversed(places)}
    return Directory(order=order, entries=entries, places=places, link=link)


def number_of(block: bytes | bytearray, directory: Directory, tag: int) -> int | None:
    """The value of a tag with one integer."""
    values = numbers_of(block, directory, tag)
    return values[0] if len(values) == 1 else None


def numbers_of(block: bytes | bytearray, directory: Directory, tag: int) -> tuple[int, ...]:
    """The values of a tag with integers; empty if there is no such tag or the values are beyond the end."""
    place = directory.entries.get(tag)
    if place is None:
        return ()
    _, kind, count = struct.unpack_from(f"{directory.order}HHI", block, place)
    if kind not in (SHORT, LONG):
        return ()
    size = count * (2 if kind == SHORT else 4)
    at = place + 8 if size <= 4 else struct.unpack_from(f"{directory.order}I", block, place + 8)[0]
    if at + size > len(block):
        return ()
    return struct.unpack_from(f"{directory.order}{count}{'H' if kind == SHORT else 'I'}", block, at)


def set_number(block: bytearray, directory: Directory, tag: int, value: int) -> None:
    """Overwrite the value of an existing tag, in all its entries, because readers use the first or the last."""
    for place in directory.places:
        if struct.unpack_from(f"{directory.order}H", block, place)[0] != tag:
            continue
        short = value < 65536
        struct.pack_into(f"{directory.order}HI", block, place + 2, SHORT if short else LONG, 1)
        struct.pack_into(f"{directory.order}{'HH' if short else 'I'}", block, place + 8, *(value, 0)[: 1 + short])


def plain_exif(exif: bytes) -> bytes:
    """The block without its prefix."""
    return exif.removeprefix(MARK)


def updated_exif(
    exif: bytes, *, width: int, height: int, given: tuple[int, int] | None = None, upright: bool = True
) -> bytes | None:
    """Update the EXIF block of an image that was turned upright and enlarged.

    Args:
        exif: the original block.
        width: new width, pixels.
        height: new height, pixels.
        given: original width and height, upright; if known, positions and resolutions in sensor pixels are updated.
        upright: whether the pixels were turned; otherwise the orientation is kept.

    Returns:
        The block with its prefix, orientation 1, the new pixel dimensions and no thumbnail; None if it cannot be read.
    """
    block = bytearray(plain_exif(exif))
    main = first_directory(block)
    if main is None:
        return None
    turn = (number_of(block, main, ORIENTATION) or 1) if upright else 1
    if turn >= 5:
        _swap(block, main, X_RESOLUTION, Y_RESOLUTION)
    for tag, value in ((WIDTH, width), (HEIGHT, height), *([(ORIENTATION, 1)] if upright else [])):
        set_number(block, main, tag, value)
    inner = _directory(block, number_of(block, main, EXIF_IFD) or 0, main.order)
    if inner is not None:
        set_number(block, inner, PIXEL_WIDTH, width)
        set_number(block, inner, PIXEL_HEIGHT, height)
        if turn >= 5:
            _swap(block, inner, FOCAL_X_RESOLUTION, FOCAL_Y_RESOLUTION)
        if given is not None:
            _scale(block, inner, FOCAL_X_RESOLUTION, width / given[0])
            _scale(block, inner, FOCAL_Y_RESOLUTION, height / given[1])
            _move_subject(block, inner, turn, given, (width, height))
        beside = _directory(block, number_of(block, inner, INTEROP_IFD) or 0, main.order)
        if beside is not None:
            set_number(block, beside, RELATED_WIDTH, width)
            set_number(block, beside, RELATED_HEIGHT, height)
    _drop_thumbnail(block, main)
    return MARK + bytes(block)


def _scale(block: bytearray, directory: Directory, tag: int, factor: float) -> None:
    """Multiply a rational value."""
    value, place = _rational(block, directory, tag), directory.entries.get(tag)
    if value is None or place is None or not 0 < value * factor < 2**31:
        return
    below = min(2**31, int(2**31 / (value * factor)), 1000)
    (at,) = struct.unpack_from(f"{directory.order}I", block, place + 8)
    struct.pack_into(f"{directory.order}II", block, at, round(value * factor * below), below)


def _move_subject(
    block: bytearray, directory: Directory, turn: int, given: tuple[int, int], size: tuple[int, int]
) -> None:
    """Update the subject area: a point, a circle or a box by its centre, before any rotation."""
    for tag in SUBJECT_PLACES:
        values, place = numbers_of(block, directory, tag), directory.entries.get(tag)
        if place is None or not 2 <= len(values) <= 4:
            continue
        (kind,) = struct.unpack_from(f"{directory.order}H", block, place + 2)
        wide, high = given if turn < 5 else given[::-1]
        x, y = values[0] + 0.5, values[1] + 0.5
        x = wide - x if turn in (2, 3, 7, 8) else x  # see EXIF 3.0, Orientation: which side is row 0, column 0
        y = high - y if turn in (3, 4, 6, 7) else y
        extent = list(values[2:])
        if turn >= 5:
            x, y, extent = y, x, extent[::-1]
        factors = size[0] / given[0], size[1] / given[1]
        moved = [x * factors[0] - 0.5, y * factors[1] - 0.5, *(e * f for e, f in zip(extent, factors, strict=False))]
        code, most = ("H", 65535) if kind == SHORT else ("I", 2**32 - 1)
        numbers = [min(max(0, round(value)), most) for value in moved]
        bytes_of_values = struct.pack(f"{directory.order}{len(numbers)}{code}", *numbers)
        at = place + 8 if len(bytes_of_values) <= 4 else struct.unpack_from(f"{directory.order}I", block, place + 8)[0]
        block[at : at + len(bytes_of_values)] = bytes_of_values


def _swap(block: bytearray, main: Directory, x_tag: int, y_tag: int) -> None:
    """Swap the horizontal and vertical resolution of a picture rotated by a quarter turn."""
    x, y = main.entries.get(x_tag), main.entries.get(y_tag)
    if x is not None and y is not None:
        block[x + 8 : x + 12], block[y + 8 : y + 12] = block[y + 8 : y + 12], block[x + 8 : x + 12]


def _drop_thumbnail(block: bytearray, main: Directory) -> None:
    """Unlink the directories after the first and blank the thumbnails, which are outdated."""
    (at,) = struct.unpack_from(f"{main.order}I", block, main.link)
    struct.pack_into(f"{main.order}I", block, main.link, 0)
    spans: list[tuple[int | None, ...]] = []
    # Collect all before blanking: in a damaged block they may overlap the directory itself.
    for _ in range(MAX_DIRECTORIES):
        behind = _directory(block, at, main.order)
        if behind is None:
            break
        spans += [tuple(number_of(block, behind, tag) for tag in tags) for tags in THUMBNAILS]
        (at,) = struct.unpack_from(f"{main.order}I", block, behind.link)
    for start, length in spans:
        if start is None or length is None or not 8 <= start < len(block):
            continue
        end = min(start + length, len(block))
        block[start:end] = bytes(end - start)
        if end == len(block):
            del block[start:]


def with_resolution(exif: bytes | None, dpi: tuple[float, float]) -> bytes:
    """Add the resolution to a block without one.

    The first directory moves to the end of the block with three more entries; all other data keep their positions.

    Args:
        exif: a readable block without its prefix, or None to make one.
        dpi: horizontal and vertical, pixels per inch.
    """
    block = bytearray(exif or b"II*\0\x08\0\0\0" + bytes(6))
    main = first_directory(block)
    if main is None or X_RESOLUTION in main.entries:
        return bytes(block)
    order = main.order
    block += bytes(len(block) % 2)
    entries = {tag: bytes(block[place : place + 12]) for tag, place in main.entries.items()}
    for tag, value in zip((X_RESOLUTION, Y_RESOLUTION), dpi, strict=True):
        entries[tag] = struct.pack(f"{order}HHII", tag, RATIONAL, 1, len(block))
        block += struct.pack(f"{order}II", round(value * 1000), 1000)
    entries[RESOLUTION_UNIT] = struct.pack(f"{order}HHIHH", RESOLUTION_UNIT, SHORT, 1, 2, 0)
    struct.pack_into(f"{order}I", block, 4, len(block))
    block += struct.pack(f"{order}H", len(entries)) + b"".join(entries[tag] for tag in sorted(entries)) + bytes(4)
    return bytes(block)


def orientation_of(exif: bytes) -> int:
    """The orientation, from 1 (upright) to 8; 1 if the block has none."""
    block = plain_exif(exif)
    main = first_directory(block)
    return (main and number_of(block, main, ORIENTATION)) or 1


def is_adobe_rgb(exif: bytes) -> bool:
    """Whether the colours are Adobe RGB by the interoperability index R03 (CIPA DC-008, 4.6.8)."""
    block = plain_exif(exif)
    directory = first_directory(block)
    for pointer in (EXIF_IFD, INTEROP_IFD):
        at = directory and number_of(block, directory, pointer)
        directory = _directory(block, at, directory.order) if directory and at else None
    place = directory.entries.get(INTEROP_INDEX) if directory else None
    return place is not None and block[place + 8 : place + 12] == b"R03\0"


def dpi_of_exif(exif: bytes) -> tuple[float, float] | None:
    """Horizontal and vertical resolution, pixels per inch; None if the block has none."""
    block = plain_exif(exif)
    main = first_directory(block)
    if main is None:
        return None
    x, y = (_rational(block, main, tag) for tag in (X_RESOLUTION, Y_RESOLUTION))
    inch = {2: 1.0, 3: 2.54}.get(number_of(block, main, RESOLUTION_UNIT) or 2)
    return (x * inch, y * inch) if x and y and inch else None


def _rational(block: bytes | bytearray, directory: Directory, tag: int) -> float | None:
    place = directory.entries.get(tag)
    if place is None:
        return None
    _, kind, count, at = struct.unpack_from(f"{directory.order}HHII", block, place)
    if kind != RATIONAL or count != 1 or at + 8 > len(block):
        return None
    above, below = struct.unpack_from(f"{directory.order}II", block, at)
    return above / below if below else None
