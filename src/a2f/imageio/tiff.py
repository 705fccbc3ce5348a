"""What libvips leaves out of TIFF or gets wrong: EXIF both ways, writing IPTC, reading 8-bit or ICC coded Lab."""

import contextlib
import struct
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from itertools import zip_longest
from typing import Any

import numpy as np
from numpy.typing import NDArray

from a2f.imageio.exif import (
    EXIF_IFD,
    GPS_IFD,
    INTEROP_IFD,
    RESOLUTION_UNIT,
    first_directory,
    number_of,
    numbers_of,
    set_number,
)

WIDTH, HEIGHT, BITS, COMPRESSION, SAMPLES, PLANES = 256, 257, 258, 259, 277, 284
STRIPS, ROWS_OF_STRIP, BYTES_OF_STRIPS, TILES, BYTES_OF_TILES = 273, 278, 279, 324, 325
PHOTOMETRIC, RGB = 262, 2
IPTC, UNDEFINED = 33723, 7
CIELAB, ICCLAB = 8, 9
# Of a TIFF's first directory, what tells about the picture, not about how its pixels are stored:
# description, maker, model, software, date, artist, computer, copyright, rating, and the Windows titles.
DESCRIPTIVE = (270, 271, 272, 305, 306, 315, 316, 33432, 18246, 18249, *range(40091, 40096))


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
    if INTEROP_IFD in kept.get_ifd(EXIF_IFD):
        kept.get_ifd(EXIF_IFD)[INTEROP_IFD] = dict(whole.get_ifd(INTEROP_IFD))
    filled = len(kept) or kept.get_ifd(EXIF_IFD) or kept.get_ifd(GPS_IFD)
    return kept.tobytes() if filled else None


def tiff_with_blocks(data: bytes, *, exif: bytes | None, iptc: bytes | None) -> bytes:
    """Add an EXIF block and IPTC records to a TIFF file.

    The first directory is written anew at the end of the file with the descriptive tags and the pointers to the EXIF
    and GPS directories; all that was there keeps its place. A damaged EXIF block is left out.

    Args:
        data: a classic little-endian TIFF of one page.
        exif: the block.
        iptc: the bare records.
    """
    first = first_directory(data)
    if first is None or first.order != "<" or not (exif or iptc):
        return data
    entries = {tag: data[place : place + 12] for tag, place in first.entries.items()}
    out = bytearray(data)
    tags = _parse(exif) if exif else None
    if tags is not None:
        with contextlib.suppress(Exception):  # as in `_parse`: Pillow reads some values that it cannot write
            entries |= _appended_tags(out, tags)
    if iptc:
        offset = _append(out, lambda _: iptc.ljust(5, b"\0"))  # up to 4 bytes would belong into the entry itself
        entries[IPTC] = struct.pack("<HHII", IPTC, UNDEFINED, max(len(iptc), 5), offset)
    body = b"".join(entries[tag] for tag in sorted(entries))
    offset = _append(out, lambda at: struct.pack("<H", len(entries)) + body + b"\0\0\0\0")
    out[4:8] = struct.pack("<I", offset)
    return bytes(out)


def _appended_tags(out: bytearray, tags: Any) -> dict[int, bytes]:
    """Append what the entries of an EXIF block point to; the entries, for the first directory."""
    entries = {}
    for pointer in (EXIF_IFD, GPS_IFD):
        inner = dict(tags.get_ifd(pointer))
        if INTEROP_IFD in inner:
            inner[INTEROP_IFD] = dict(tags.get_ifd(INTEROP_IFD))
        if inner:
            offset = _append(out, partial(_directory_bytes, inner))
            entries[pointer] = struct.pack("<HHII", pointer, 4, 1, offset)
    plain = {tag: tags[tag] for tag in DESCRIPTIVE if tag in tags}
    if plain:
        offset = _append(out, partial(_directory_bytes, plain))
        (number,) = struct.unpack_from("<H", out, offset)
        for at in range(offset + 2, offset + 2 + 12 * number, 12):
            entries[struct.unpack_from("<H", out, at)[0]] = bytes(out[at : at + 12])
    return entries


def without_resolution(data: bytes) -> bytes:
    """A TIFF file whose resolution, which libvips sets to 1 pixel a millimetre, has no unit (TIFF 6.0, Section 8)."""
    first = first_directory(data)
    if first is None:
        return data
    out = bytearray(data)
    set_number(out, first, RESOLUTION_UNIT, 1)
    return bytes(out)


def is_cut_off(data: bytes) -> bool:
    """Whether samples lie beyond the end of a classic TIFF file; libvips takes them for black."""
    first = first_directory(data)
    if first is None:
        return False
    tiles = numbers_of(data, first, TILES), numbers_of(data, first, BYTES_OF_TILES)
    if any(at + count > len(data) for at, count in zip(*tiles, strict=False)):
        return True
    strips, counts = numbers_of(data, first, STRIPS), numbers_of(data, first, BYTES_OF_STRIPS)
    if number_of(data, first, COMPRESSION) not in (None, 1):
        return any(at + count > len(data) for at, count in zip(strips, counts, strict=False))
    width, height = number_of(data, first, WIDTH), number_of(data, first, HEIGHT)
    if not width or not height:
        return False
    samples = 1 if number_of(data, first, PLANES) == 2 else number_of(data, first, SAMPLES) or 1
    bits = (numbers_of(data, first, BITS) or (1,))[0]
    rows = max(1, min(height, number_of(data, first, ROWS_OF_STRIP) or height))
    for number, (at, count) in enumerate(zip_longest(strips, counts[: len(strips)], fillvalue=0)):
        top = number % -(-height // rows) * rows  # of planes each begins anew
        used = -(-width * samples * bits // 8) * min(rows, height - top)
        if at + min(count or used, used) > len(data):  # some name more bytes than they use, or none
            return True
    return False


def has_unit(data: bytes) -> bool:
    """Whether the resolution of a TIFF file has a unit, so that it says more than the shape of the pixels."""
    first = first_directory(data)
    return first is None or number_of(data, first, RESOLUTION_UNIT) != 1


def _append(out: bytearray, make: Callable[[int], bytes]) -> int:
    """Append what `make` gives for an even offset, and return that offset."""
    if len(out) % 2:
        out.append(0)
    offset = len(out)
    out += make(offset)
    return offset


def _directory_bytes(tags: Mapping[int, Any], offset: int) -> bytes:
    """A little-endian directory with its values, for a place in the file."""
    from PIL.TiffImagePlugin import ImageFileDirectory_v2

    directory = ImageFileDirectory_v2(b"II*\0\x08\0\0\0")
    with warnings.catch_warnings(action="ignore"):  # Pillow's word on odd tags
        for tag, value in tags.items():
            directory[tag] = value
        return directory.tobytes(offset)


def _parse(block: bytes) -> Any:
    from PIL import Image

    tags = Image.Exif()
    try:
        with warnings.catch_warnings(action="ignore"):  # Pillow's word on damaged tags; what it can read is kept
            tags.load(block)
            tags.get_ifd(GPS_IFD)
            if INTEROP_IFD in tags.get_ifd(EXIF_IFD):  # Pillow before 13 fails where there is none
                tags.get_ifd(INTEROP_IFD)
            tags.tobytes()
    except Exception:  # damaged blocks raise a dozen types in Pillow; the picture matters more than they do
        return None
    return tags


def lab_as_rgb(data: bytes) -> tuple[bytes, int | None]:
    """A Lab TIFF under the name of RGB, so that libvips hands out its samples as they are.

    libvips takes 8-bit CIELab for its own packed coding and ICC Lab for RGB.

    Args:
        data: a TIFF file.

    Returns:
        The file, and the coding its samples really have: 8 CIELab, 9 ICC Lab; for all other files the file itself
        and None.
    """
    first = first_directory(data)
    coding = None if first is None else number_of(data, first, PHOTOMETRIC)
    if first is None or coding not in (CIELAB, ICCLAB):
        return data, None
    changed = bytearray(data)
    set_number(changed, first, PHOTOMETRIC, RGB)
    return bytes(changed), coding


def lab_of_samples(samples: NDArray[Any], coding: int) -> NDArray[np.float32]:
    """L* in 0..100, a* and b* of samples as they are in the file.

    Args:
        samples: [H, W, 3] uint8 or uint16.
        coding: 8 CIELab, a* and b* signed; 9 ICC Lab, a* and b* from 128 (TIFF 6.0, Section 23, and its supplement).
    """
    deep = samples.dtype == np.uint16
    unit = 256.0 if deep else 1.0
    lightness, ab = samples[..., :1].astype(np.float32), samples[..., 1:3]
    if coding == CIELAB:
        lightness *= 100 / (65535 if deep else 255)
        signed = ab.astype(np.int16 if deep else np.int8).astype(np.float32) / np.float32(unit)
    else:
        lightness *= 100 / (65280 if deep else 255)
        signed = ab.astype(np.float32) / np.float32(unit) - np.float32(128)
    return np.concatenate([lightness, signed], axis=2)
