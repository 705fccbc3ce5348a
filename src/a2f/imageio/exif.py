"""EXIF: bringing it up to date, and carrying it through TIFF, where libvips leaves it behind."""

import struct
import warnings
from collections.abc import Mapping
from typing import Any

ORIENTATION, EXIF_IFD, GPS_IFD, INTEROP_IFD = 0x0112, 0x8769, 0x8825, 0xA005
PIXEL_WIDTH, PIXEL_HEIGHT = 0xA002, 0xA003
X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT = 0x011A, 0x011B, 0x0128
# Of a TIFF's first directory, what tells about the picture, not about how its pixels are stored:
# description, maker, model, software, date, artist, computer, copyright, rating, and the Windows titles.
DESCRIPTIVE = (270, 271, 272, 305, 306, 315, 316, 33432, 18246, 18249, *range(40091, 40096))


def updated_exif(exif: bytes, *, width: int, height: int) -> bytes | None:
    """EXIF of an image that was turned upright and enlarged.

    Args:
        exif: the block as it was read.
        width: new width, pixels.
        height: new height, pixels.

    Returns:
        The block with orientation 1, the new pixel dimensions and no thumbnail; None if it cannot be parsed.
    """
    tags = _parse(exif)
    if tags is None:
        return None
    if ORIENTATION in tags:
        tags[ORIENTATION] = 1
    for tag, side in ((256, width), (257, height)):
        if tag in tags:
            tags[tag] = side
    inner = tags.get_ifd(EXIF_IFD)
    if inner:
        inner[PIXEL_WIDTH], inner[PIXEL_HEIGHT] = width, height
    block: bytes = tags.tobytes()
    return block


def dpi_of_exif(exif: bytes) -> tuple[float, float] | None:
    """Horizontal and vertical resolution, pixels per inch, if the block tells."""
    tags = _parse(exif)
    if tags is None or not {X_RESOLUTION, Y_RESOLUTION} <= set(tags):
        return None
    inch = {2: 1.0, 3: 2.54}.get(tags.get(RESOLUTION_UNIT, 2))
    dpi = tuple(float(tags[tag]) for tag in (X_RESOLUTION, Y_RESOLUTION))
    return (dpi[0] * inch, dpi[1] * inch) if inch and all(0 < d < 1e6 for d in dpi) else None


def exif_of_tiff(data: bytes) -> bytes | None:
    """The EXIF block of a TIFF file: the descriptive tags of its first directory, and what lies under it."""
    from PIL import Image

    whole = _parse(data)
    if whole is None:
        return None
    kept = Image.Exif()
    for tag in DESCRIPTIVE:
        if tag in whole:
            kept[tag] = whole[tag]
    for pointer in (EXIF_IFD, GPS_IFD):
        kept.get_ifd(pointer).update(whole.get_ifd(pointer))
    filled = len(kept) or kept.get_ifd(EXIF_IFD) or kept.get_ifd(GPS_IFD)
    return kept.tobytes() if filled else None


def tiff_with_exif(data: bytes, exif: bytes) -> bytes:
    """Add an EXIF block to a TIFF file.

    The first directory is written anew at the end of the file with the descriptive tags and the pointers to the EXIF
    and GPS directories; all that was there keeps its place.

    Args:
        data: a classic little-endian TIFF of one page.
        exif: the block.
    """
    tags = _parse(exif)
    if tags is None or data[:4] != b"II*\0":
        return data
    (start,) = struct.unpack("<I", data[4:8])
    (count,) = struct.unpack("<H", data[start : start + 2])
    entries = {}
    for i in range(count):
        raw = data[start + 2 + 12 * i : start + 14 + 12 * i]
        entries[struct.unpack("<H", raw[:2])[0]] = raw
    out = bytearray(data)
    for pointer in (EXIF_IFD, GPS_IFD):
        inner = tags.get_ifd(pointer)
        if inner:
            offset = _append(out, lambda at, inner=inner: _directory(inner, at))
            entries[pointer] = struct.pack("<HHII", pointer, 4, 1, offset)
    plain = {tag: tags[tag] for tag in DESCRIPTIVE if tag in tags}
    if plain:
        offset = _append(out, lambda at: _directory(plain, at))
        (number,) = struct.unpack("<H", out[offset : offset + 2])
        for i in range(number):
            raw = bytes(out[offset + 2 + 12 * i : offset + 14 + 12 * i])
            entries[struct.unpack("<H", raw[:2])[0]] = raw
    body = b"".join(entries[tag] for tag in sorted(entries))
    offset = _append(out, lambda at: struct.pack("<H", len(entries)) + body + b"\0\0\0\0")
    out[4:8] = struct.pack("<I", offset)
    return bytes(out)


def _append(out: bytearray, make: Any) -> int:
    """Append what `make` gives for an even offset, and return that offset."""
    if len(out) % 2:
        out.append(0)
    offset = len(out)
    out += make(offset)
    return offset


def _directory(tags: Mapping[int, Any], offset: int) -> bytes:
    """A little-endian directory with its values, for a place in the file."""
    from PIL.TiffImagePlugin import ImageFileDirectory_v2

    directory = ImageFileDirectory_v2(b"II*\0\x08\0\0\0")
    for tag, value in tags.items():
        if not isinstance(value, dict):
            directory[tag] = value
    return directory.tobytes(offset)


def _parse(block: bytes) -> Any:
    from PIL import Image

    tags = Image.Exif()
    try:
        with warnings.catch_warnings(action="ignore"):  # Pillow's word on damaged tags; what it can read is kept
            tags.load(block if block.startswith((b"Exif\0\0", b"II", b"MM")) else b"Exif\0\0" + block)
            for pointer in (EXIF_IFD, GPS_IFD, INTEROP_IFD):
                tags.get_ifd(pointer)
            tags.tobytes()
    except Exception:  # damaged blocks raise a dozen types in Pillow; the picture matters more than they do
        return None
    return tags
