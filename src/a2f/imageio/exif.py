"""EXIF blocks, changed in place: what nobody asked to change keeps its bytes and its offset.

Maker notes point into the block by offsets that only their maker knows, so a block that is parsed and written anew
comes out damaged.
"""

import struct
from dataclasses import dataclass

ORIENTATION, EXIF_IFD, GPS_IFD, INTEROP_IFD = 0x0112, 0x8769, 0x8825, 0xA005
WIDTH, HEIGHT, PIXEL_WIDTH, PIXEL_HEIGHT = 0x0100, 0x0101, 0xA002, 0xA003
X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT = 0x011A, 0x011B, 0x0128
THUMBNAILS = ((0x0201, 0x0202), (0x0111, 0x0117))  # start and length: JPEG, one strip of pixels
SHORT, LONG, RATIONAL = 3, 4, 5
MARK = b"Exif\0\0"


@dataclass(frozen=True, kw_only=True)
class Directory:
    """One directory of a TIFF structure.

    Attributes:
        order: "<" or ">", as `struct` has it.
        entries: tag to the place of its 12 bytes (tag, type, count, value or offset).
        link: the place of the 4 bytes that point to the next directory.
    """

    order: str
    entries: dict[int, int]
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
    return Directory(order=order, entries={struct.unpack_from(f"{order}H", block, p)[0]: p for p in places}, link=link)


def number_of(block: bytes | bytearray, directory: Directory, tag: int) -> int | None:
    """The value of a tag that holds one whole number."""
    values = numbers_of(block, directory, tag)
    return values[0] if len(values) == 1 else None


def numbers_of(block: bytes | bytearray, directory: Directory, tag: int) -> tuple[int, ...]:
    """The values of a tag that holds whole numbers; none if there is no such tag or they lie beyond the end."""
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
    """Overwrite the value of a tag that is there."""
    if (place := directory.entries.get(tag)) is not None:
        short = value < 65536
        struct.pack_into(f"{directory.order}HI", block, place + 2, SHORT if short else LONG, 1)
        struct.pack_into(f"{directory.order}{'HH' if short else 'I'}", block, place + 8, *(value, 0)[: 1 + short])


def plain_exif(exif: bytes) -> bytes:
    """The block without its leading mark."""
    return exif.removeprefix(MARK)


def updated_exif(exif: bytes, *, width: int, height: int) -> bytes | None:
    """EXIF of an image that was turned upright and enlarged.

    Args:
        exif: the block as it was read.
        width: new width, pixels.
        height: new height, pixels.

    Returns:
        The block, with its leading mark, with orientation 1, the new pixel dimensions and no thumbnail; None if it
        cannot be read.
    """
    block = bytearray(plain_exif(exif))
    main = first_directory(block)
    if main is None:
        return None
    if (number_of(block, main, ORIENTATION) or 1) >= 5:
        _swap_resolutions(block, main)
    for tag, value in ((ORIENTATION, 1), (WIDTH, width), (HEIGHT, height)):
        set_number(block, main, tag, value)
    inner = _directory(block, number_of(block, main, EXIF_IFD) or 0, main.order)
    if inner is not None:
        set_number(block, inner, PIXEL_WIDTH, width)
        set_number(block, inner, PIXEL_HEIGHT, height)
    _drop_thumbnail(block, main)
    return MARK + bytes(block)


def _swap_resolutions(block: bytearray, main: Directory) -> None:
    """A picture turned on its side has its horizontal resolution where the vertical one was."""
    x, y = main.entries.get(X_RESOLUTION), main.entries.get(Y_RESOLUTION)
    if x is not None and y is not None:
        block[x + 8 : x + 12], block[y + 8 : y + 12] = block[y + 8 : y + 12], block[x + 8 : x + 12]


def _drop_thumbnail(block: bytearray, main: Directory) -> None:
    """Unlink the second directory and blank the small picture, which shows what was before."""
    (at,) = struct.unpack_from(f"{main.order}I", block, main.link)
    struct.pack_into(f"{main.order}I", block, main.link, 0)
    second = _directory(block, at, main.order)
    if second is None:
        return
    # All of them before anything is blanked: in a damaged block they may cover the directory itself.
    spans = [tuple(number_of(block, second, tag) for tag in tags) for tags in THUMBNAILS]
    for start, length in spans:
        if start is None or length is None or not 8 <= start < len(block):
            continue
        end = min(start + length, len(block))
        block[start:end] = bytes(end - start)
        if end == len(block):
            del block[start:]


def with_resolution(exif: bytes | None, dpi: tuple[float, float]) -> bytes:
    """Add the resolution to a block that does not tell it.

    The first directory moves to the end of the block with three more entries; all else keeps its place.

    Args:
        exif: a readable block without its mark, or None to make one.
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


def dpi_of_exif(exif: bytes) -> tuple[float, float] | None:
    """Horizontal and vertical resolution, pixels per inch, if the block tells."""
    block = plain_exif(exif)
    main = first_directory(block)
    if main is None:
        return None
    x, y = (_rational(block, main, tag) for tag in (X_RESOLUTION, Y_RESOLUTION))
    inch = {2: 1.0, 3: 2.54}.get(number_of(block, main, RESOLUTION_UNIT) or 2)
    return (x * inch, y * inch) if x and y and inch else None


def _rational(block: bytes, directory: Directory, tag: int) -> float | None:
    place = directory.entries.get(tag)
    if place is None:
        return None
    _, kind, count, at = struct.unpack_from(f"{directory.order}HHII", block, place)
    if kind != RATIONAL or count != 1 or at + 8 > len(block):
        return None
    above, below = struct.unpack_from(f"{directory.order}II", block, at)
    return above / below if below else None
