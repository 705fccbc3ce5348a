"""Functions for TIFF that libvips lacks: EXIF, writing IPTC, truncated files, extra samples, Lab."""

import re
import struct
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import zip_longest
from typing import Any

import numpy as np
from numpy.typing import NDArray

from a2f.imageio.exif import (
    EXIF_IFD,
    GPS_IFD,
    INTEROP_IFD,
    MARK,
    RESOLUTION_UNIT,
    X_RESOLUTION,
    Y_RESOLUTION,
    plain_exif,
)
from a2f.imageio.tiff_directory import (
    IFD8,
    LONG,
    UNDEFINED,
    Field,
    Layout,
    directories_of,
    directory_bytes,
    fields_of,
    first_fields,
    for_classic,
    in_order,
    layout_of,
    number_of,
    numbers_of,
    rational_of,
    with_first,
    with_number,
)

WIDTH, HEIGHT, BITS, COMPRESSION, SAMPLES, PLANES = 256, 257, 258, 259, 277, 284
STRIPS, ROWS_OF_STRIP, BYTES_OF_STRIPS, TILES, BYTES_OF_TILES = 273, 278, 279, 324, 325
PHOTOMETRIC, RGB = 262, 2
SUBFILE, SUB_DIRECTORIES, DNG_VERSION, CFA, LINEAR_RAW = 254, 330, 50706, 32803, 34892
OLD_SUBFILE, REDUCED_OR_MASK, OLD_REDUCED = 255, 1 | 4, 2
EXTRA_SAMPLES, UNSPECIFIED, ASSOCIATED, UNASSOCIATED = 338, 0, 1, 2
# Tags that libvips needs for the pixels, with the smallest and the largest value of those that may be left out: fill
# order and orientation. The last four are XMP, IPTC, Photoshop resources and the profile.
DECODED = {
    *range(256, 260), PHOTOMETRIC, STRIPS, *range(277, 280), PLANES, 317, 320, *range(322, 326), 332, *range(338, 340),
    347, *range(512, 522), *range(529, 533), 700, 33723, 34377, 34675,
}  # fmt: skip
DECODED_WITHIN = {266: (1, 2), 274: (1, 8)}
# Number of colour channels of an interpretation; others are not read.
COLOURS = {0: 1, 1: 1, 2: 3, 3: 1, 4: 1, 5: 4, 6: 3, 8: 3, 9: 3, 51177: 1}
CALLED = {
    **dict.fromkeys((0, 1, 4, 51177), "grey"), 2: "RGB", 3: "a palette", 5: "inks (CMYK)", 6: "YCbCr",
    **dict.fromkeys((8, 9), "Lab"),
}  # fmt: skip
MIN_IS_WHITE, SEPARATED, YCBCR = 0, 5, 6
INK_SET, NUMBER_OF_INKS, SAMPLE_FORMAT, WHOLE, FLOATING = 332, 334, 339, 1, 3
IPTC, DESCRIPTION = 33723, 270
CIELAB, ICCLAB = 8, 9
# None, CCITT, LZW, JPEG old and new, two of Deflate, PackBits: supported by every libtiff.
COMMON_COMPRESSIONS = {1, 2, 3, 4, 5, 6, 7, 8, 32771, 32773, 32946}
JPEGS = (6, 7)
COMPRESSIONS = {
    33003: "JPEG 2000", 33004: "JPEG 2000", 33005: "JPEG 2000", 34661: "JBIG", 34676: "SGI LogLuv", 34677: "SGI LogLuv",
    34712: "JPEG 2000", 34887: "LERC", 34892: "lossy JPEG", 34925: "LZMA", 34926: "Zstandard", 34927: "WebP",
    34933: "PNG", 34934: "JPEG XR", 50000: "Zstandard", 50001: "WebP", 50002: "JPEG XL", 52546: "JPEG XL",
}  # fmt: skip
# Tags of the first directory that describe the picture, not the storage of its pixels:
# description, maker, model, software, date, artist, computer, copyright, rating, and the Windows titles.
DESCRIPTIVE = {
    DESCRIPTION: "ImageDescription", 271: "Make", 272: "Model", 305: "Software", 306: "DateTime", 315: "Artist",
    316: "HostComputer", 33432: "Copyright", 18246: "Rating", 18249: "RatingPercent", 40091: "XPTitle",
    40092: "XPComment", 40093: "XPAuthor", 40094: "XPKeywords", 40095: "XPSubject",
}  # fmt: skip
SHAPE = re.compile(rb'\s*(?:\{"shape": \[([\d, ]+)\]\}|shape=\(([\d, ]+)\))[\s\0]*')


Tags = dict[int, list[Field]]  # key: the tag that points to the directory; 0 for the first


def exif_of_tiff(data: bytes) -> bytes | None:
    """The EXIF block of a TIFF file or block: the descriptive tags and their subdirectories."""
    data = plain_exif(data)
    layout, tags = layout_of(data), _tags_of(data)
    if layout is None or tags is None or not any(tags.values()):
        return None
    classic = replace(layout, big=False)
    out = bytearray((b"II*\0" if classic.order == "<" else b"MM\0*") + bytes(4))
    first = _appended(out, _with_directories(out, tags, classic), classic)
    out[4:8] = _pointer(0, first, classic).value
    return MARK + bytes(out)


def tiff_with_blocks(data: bytes, *, exif: bytes | None, iptc: bytes | None, tags: Sequence[Field] = ()) -> bytes:
    """Add an EXIF block, IPTC records and other tags to a TIFF file.

    A new first directory at the end of the file has the descriptive tags and pointers to the EXIF and GPS directories;
    all other data keep their positions. A damaged EXIF block is left out.

    Args:
        data: a TIFF with one page, written by libvips.
        exif: the EXIF block.
        iptc: the plain records.
        tags: tags to add, little-endian.
    """
    layout = layout_of(data)
    if layout is None or not (exif or iptc or tags):
        return data
    out = bytearray(data)
    entries = {field.tag: field for field in first_fields(data)}
    block = plain_exif(exif) if exif else b""
    told, given = _tags_of(block), layout_of(block)
    entries |= {field.tag: field for field in in_order(tags, "<", layout.order)}
    if told is not None and given is not None:
        turned = {pointer: in_order(fields, given.order, layout.order) for pointer, fields in told.items()}
        entries |= {field.tag: field for field in _with_directories(out, turned, layout)}
    if iptc:
        entries[IPTC] = Field(tag=IPTC, kind=UNDEFINED, count=len(iptc), value=iptc)
    at = _appended(out, list(entries.values()), layout)
    return with_first(out, at, layout)


def _tags_of(block: bytes) -> Tags | None:
    """The descriptive tags of a file or block, in types of EXIF; None if it cannot be read."""
    layout = layout_of(block)
    main = fields_of(block, layout, layout.first) if layout else None
    if layout is None or main is None:
        return None

    def below(fields: Sequence[Field], pointer: int) -> list[Field]:
        at = number_of(fields, pointer, layout.order)
        return (fields_of(block, layout, at) if at else None) or []

    exif = below(main, EXIF_IFD)
    tags = {
        0: [f for f in main if f.tag in DESCRIPTIVE and not (f.tag == DESCRIPTION and tells_layout(f.value))],
        EXIF_IFD: [field for field in exif if field.tag != INTEROP_IFD],
        GPS_IFD: below(main, GPS_IFD),
        INTEROP_IFD: below(exif, INTEROP_IFD),
    }
    return {pointer: for_classic(fields, layout.order) for pointer, fields in tags.items()}


def _with_directories(out: bytearray, tags: Tags, layout: Layout) -> list[Field]:
    """Append the subdirectories; return the fields of the first directory with pointers to them."""
    fields, exif = list(tags[0]), list(tags[EXIF_IFD])
    if tags[INTEROP_IFD]:
        exif.append(_pointer(INTEROP_IFD, _appended(out, tags[INTEROP_IFD], layout), layout))
    for pointer, inner in ((EXIF_IFD, exif), (GPS_IFD, tags[GPS_IFD])):
        if inner:
            fields.append(_pointer(pointer, _appended(out, inner, layout), layout))
    return fields


def _pointer(tag: int, at: int, layout: Layout) -> Field:
    kind, code = (IFD8, "Q") if layout.big else (LONG, "I")
    return Field(tag=tag, kind=kind, count=1, value=struct.pack(f"{layout.order}{code}", at))


def _appended(out: bytearray, fields: Sequence[Field], layout: Layout) -> int:
    """Append a directory, and return its offset, which is even."""
    out += bytes(len(out) % 2)
    at = len(out)
    out += directory_bytes(fields, at, layout)
    return at


def without_unit(data: bytes) -> bytes:
    """Remove the unit of the resolution of a TIFF file, so that it is only a pixel aspect (TIFF 6.0, Section 8)."""
    return with_number(data, RESOLUTION_UNIT, 1)


def is_cut_off(data: bytes) -> bool:
    """Whether samples are beyond the end of a TIFF file; libvips reads them as black."""
    layout, first = layout_of(data), first_fields(data)
    if layout is None:
        return False
    numbers = partial(numbers_of, first, order=layout.order)
    number = partial(number_of, first, order=layout.order)
    tiles = zip(numbers(TILES), numbers(BYTES_OF_TILES), strict=False)
    if any(at + count > len(data) for at, count in tiles):
        return True
    strips, counts = numbers(STRIPS), numbers(BYTES_OF_STRIPS)
    if number(COMPRESSION) not in (None, 1):
        return any(at + count > len(data) for at, count in zip(strips, counts, strict=False))
    width, height = number(WIDTH), number(HEIGHT)
    if not width or not height:
        return False
    samples = 1 if number(PLANES) == 2 else number(SAMPLES) or 1
    bits = (numbers(BITS) or (1,))[0]
    rows = max(1, min(height, number(ROWS_OF_STRIP) or height))
    for index, (at, count) in enumerate(zip_longest(strips, counts[: len(strips)], fillvalue=0)):
        top = index % -(-height // rows) * rows  # each plane begins at row 0
        used = -(-width * samples * bits // 8) * min(rows, height - top)
        if at + min(count or used, used) > len(data):  # some files give more bytes than they use, or none
            return True
    return False


def tiff_resolution(data: bytes) -> tuple[tuple[float, float] | None, tuple[float, float] | None]:
    """The resolution of a TIFF file in pixels per inch, or the pixel aspect if it has no unit."""
    layout, first = layout_of(data), first_fields(data)
    x, y = (rational_of(first, tag, layout.order) if layout else None for tag in (X_RESOLUTION, Y_RESOLUTION))
    if layout is None or not x or not y:
        return None, None
    unit = number_of(first, RESOLUTION_UNIT, layout.order) or 2
    inch = {2: 1.0, 3: 2.54}.get(unit)
    return ((x * inch, y * inch), None) if inch else (None, (x, y) if x != y else None)


def tells_layout(text: bytes) -> bool:
    """Whether an ImageDescription has pages, a shape or sizes: ImageJ, OME, tifffile, MetaMorph, Aperio."""
    start = text.lstrip()[:2000]
    if start.startswith((b"ImageJ=", b"SCANIMAGE", b"SI.", b"Aperio Image", b"shape=(", b"<MetaData>")):
        return True
    return b"<OME" in start or (start.startswith(b"{") and b'"shape"' in start)


def layout_is_lost(data: bytes) -> bool:
    """Whether the ImageDescription has pages or a shape, and more than the size of the first page."""
    layout, fields = layout_of(data), first_fields(data)
    text = next((f.value for f in fields if f.tag == DESCRIPTION and tells_layout(f.value)), None)
    if layout is None or text is None:
        return False
    shape = SHAPE.fullmatch(text)
    if shape is None:
        return True
    sides = [int(n) for n in (shape[1] or shape[2]).replace(b" ", b"").split(b",") if n not in (b"", b"1")]
    wide, high, samples = (number_of(fields, tag, layout.order) or 1 for tag in (WIDTH, HEIGHT, SAMPLES))
    own = ([high, wide, samples], [samples, high, wide])
    return sides not in [[n for n in order if n != 1] for order in own]


def names_of_descriptive(block: bytes) -> list[str]:
    """The names of the descriptive tags of an EXIF block; empty if it also has EXIF or GPS directories."""
    tags = [field.tag for field in first_fields(plain_exif(block))]
    return [DESCRIPTIVE[tag] for tag in tags] if all(tag in DESCRIPTIVE for tag in tags) else []


def is_camera_raw(data: bytes) -> bool:
    """Whether a TIFF file is a camera raw file, whose first picture is a small preview."""
    layout, first = layout_of(data), first_fields(data)
    if layout is None:
        return False
    reduced = (number_of(first, SUBFILE, layout.order) or 0) & 1
    tags = {field.tag for field in first}
    mosaic = number_of(first, PHOTOMETRIC, layout.order) in (CFA, LINEAR_RAW)
    return data[8:10] == b"CR" or DNG_VERSION in tags or mosaic or bool(reduced and SUB_DIRECTORIES in tags)


def main_picture_first(data: bytes) -> bytes:
    """The file from its first picture that is neither a smaller copy (a preview) nor a mask, if it begins with one."""
    layout = layout_of(data)
    if layout is None or not _is_beside(fields_of(data, layout, layout.first) or [], layout.order):
        return data
    for at in directories_of(data, layout)[0][1:]:
        fields = fields_of(data, layout, at)
        if fields and not _is_beside(fields, layout.order):
            return with_first(data, at, layout)
    return data


def _is_beside(fields: Sequence[Field], order: str) -> bool:
    kind = number_of(fields, SUBFILE, order)
    if kind is None:
        return number_of(fields, OLD_SUBFILE, order) == OLD_REDUCED
    return bool(kind & REDUCED_OR_MASK)


def for_decoding_only(data: bytes) -> bytes | None:
    """A TIFF file with only the first directory, and in it only the tags that libvips needs.

    libtiff takes a value outside its range for an error in all tags, for example an orientation or a unit of 0.

    Returns:
        The file; None if a tag or a further directory cannot be read, because then the end may be missing.
    """
    layout, first = layout_of(data), first_fields(data)
    if layout is None or not first:
        return None
    (number,) = struct.unpack_from(f"{layout.order}{'Q' if layout.big else 'H'}", data, layout.first)
    if number != len(first) or not directories_of(data, layout)[1]:
        return None
    kept = [field for field in first if field.tag in DECODED]
    for tag, (low, high) in DECODED_WITHIN.items():
        value = number_of(first, tag, layout.order)
        kept += [field for field in first if field.tag == tag] if value and low <= value <= high else []
    out = bytearray(data)
    at = _appended(out, kept, layout)
    return with_first(out, at, layout)


def has_premultiplied_floats(data: bytes) -> bool:
    """Whether a TIFF file has floating-point colours that are multiplied by the alpha after them."""
    layout, first = layout_of(data), first_fields(data)
    if layout is None or FLOATING not in numbers_of(first, SAMPLE_FORMAT, layout.order):
        return False
    return numbers_of(first, EXTRA_SAMPLES, layout.order)[:1] == (ASSOCIATED,)


def uncommon_compression(data: bytes) -> str | None:
    """The compression of a TIFF file, if not every libtiff supports it; otherwise None."""
    layout = layout_of(data)
    method = number_of(first_fields(data), COMPRESSION, layout.order) if layout else None
    if method is None or method in COMMON_COMPRESSIONS:
        return None
    return COMPRESSIONS.get(method, f"a method that is not known here ({method})")


def unread_colours(data: bytes) -> str | None:
    """Why libvips would misread the colours of a TIFF file, and what to do; None if it reads them correctly.

    libvips decides by the number of channels: three or four unknown channels become RGB.
    """
    layout, first = layout_of(data), first_fields(data)
    kind = number_of(first, PHOTOMETRIC, layout.order) if layout else None
    if layout is None or kind is None:  # without the tag, the interpretation of libvips is accepted
        return None
    if kind not in COLOURS:
        return f"is in colours that are not read (PhotometricInterpretation {kind}): save it in grey or RGB"
    channels = number_of(first, SAMPLES, layout.order) or 1
    if channels < COLOURS[kind]:
        return f"is damaged: {CALLED[kind]} takes {COLOURS[kind]} channels, and it has {channels} channels"
    if channels > COLOURS[kind] + 1:
        colours = f"{COLOURS[kind]} {'is' if COLOURS[kind] == 1 else 'are'} {CALLED[kind]}"
        return f"has {channels} channels, of which {colours}: at most one more is read; save each band as its own file"
    return _unread_coding(first, layout.order, kind)


def _unread_coding(first: Sequence[Field], order: str, kind: int) -> str | None:
    """Why the coding of a supported colour space is not supported; None if it is."""
    formats = set(numbers_of(first, SAMPLE_FORMAT, order)) or {WHOLE}
    if kind == MIN_IS_WHITE and FLOATING in formats:
        return "is in floating point with white at 0 (MinIsWhite), so that black is not told: save it with 0 as black"
    if kind == YCBCR and number_of(first, COMPRESSION, order) not in JPEGS:
        return "is in YCbCr and not compressed with JPEG, which is not read: save it in RGB"
    if kind == SEPARATED and (
        number_of(first, INK_SET, order) not in (None, 1) or number_of(first, NUMBER_OF_INKS, order) not in (None, 4)
    ):
        return "is in inks other than cyan, magenta, yellow and black, which are not read: save it in RGB"
    bits = set(numbers_of(first, BITS, order)) or {1}
    few = (1, 2, 4) if CALLED.get(kind) in ("grey", "a palette") else ()
    if formats == {WHOLE} and not bits <= {*few, 8, 16, 32, 64}:
        had = ", ".join(map(str, sorted(bits)))
        return f"has {had} bits per channel, which are not read: save it with 8 or 16"
    if kind in (SEPARATED, CIELAB, ICCLAB) and (formats != {WHOLE} or bits not in ({8}, {16})):
        return (
            f"has {CALLED[kind]} in other numbers than unsigned integers of 8 or 16 bits: save it in those, or in RGB"
        )
    return None


def has_data_band(data: bytes) -> bool:
    """Whether the channel after the colours is data: an extra sample that is not marked as alpha.

    ExtraSamples describes the channels after the colours: 0 unspecified, 1 or 2 alpha (TIFF 6.0, Section 18); without
    that tag they are unknown.
    """
    layout, first = layout_of(data), first_fields(data)
    if layout is None:
        return False
    coding = number_of(first, PHOTOMETRIC, layout.order)
    samples = number_of(first, SAMPLES, layout.order) or 1
    kinds = numbers_of(first, EXTRA_SAMPLES, layout.order)
    return (
        samples > COLOURS.get(-1 if coding is None else coding, samples) and (kinds or (UNSPECIFIED,))[0] == UNSPECIFIED
    )


def with_data_band(data: bytes) -> bytes:
    """Mark the channel after the colours of a TIFF file, which libvips writes as alpha, as unspecified data."""
    return with_number(data, EXTRA_SAMPLES, UNSPECIFIED)


def lab_as_rgb(data: bytes) -> tuple[bytes, int | None]:
    """Relabel a Lab TIFF as RGB, so that libvips returns its samples unchanged.

    libvips misreads 8-bit CIELab as its own packed coding, and ICC Lab as RGB.

    Args:
        data: a TIFF file.

    Returns:
        The file, and the coding of its samples: 8 CIELab, 9 ICC Lab; for other files the file itself and None.
    """
    layout = layout_of(data)
    coding = number_of(first_fields(data), PHOTOMETRIC, layout.order) if layout else None
    return (with_number(data, PHOTOMETRIC, RGB), coding) if coding in (CIELAB, ICCLAB) else (data, None)


def lab_of_samples(samples: NDArray[Any], coding: int) -> NDArray[np.float32]:
    """Convert stored samples to L* in 0..100, a* and b*.

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
