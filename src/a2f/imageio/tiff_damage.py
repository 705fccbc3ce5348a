"""Find damage in TIFF files that libvips does not report: wrong checksums, and tiles that cannot be decoded."""

import struct
import zlib
from dataclasses import replace
from functools import partial

from a2f.imageio.tiff import (
    BITS,
    BYTES_OF_STRIPS,
    BYTES_OF_TILES,
    COMPRESSION,
    HEIGHT,
    ROWS_OF_STRIP,
    SAMPLES,
    STRIPS,
    TILES,
    WIDTH,
)
from a2f.imageio.tiff_directory import directory_bytes, first_fields, layout_of, number_field, number_of, numbers_of

FILL_ORDER, TURNED_BITS = 266, 2
DEFLATE = (8, 32946)
TILE_WIDTH, TILE_HEIGHT = 322, 323
MAX_ROWS = 10_000_000  # limit of libvips
TILED_BOUND = 2**26  # additional pixels, because tiles may extend beyond the edges of the picture
INFLATED_AT_A_TIME = 2**20  # bytes
DEFLATE_BOUND = 2**28  # additional bytes, because tiles may extend beyond the edges of the picture


def has_broken_deflate(data: bytes) -> bool:
    """Whether a strip or tile with Deflate compression has a wrong checksum.

    libtiff ignores the checksum when it has all samples, and libvips reads a damaged tile as black.
    """
    layout, first = layout_of(data), first_fields(data)
    if layout is None or number_of(first, COMPRESSION, layout.order) not in DEFLATE:
        return False
    if number_of(first, FILL_ORDER, layout.order) == TURNED_BITS:  # rare, and not supported here
        return False
    numbers = partial(numbers_of, first, order=layout.order)
    width, height, samples = (number_of(first, tag, layout.order) or 1 for tag in (WIDTH, HEIGHT, SAMPLES))
    left = DEFLATE_BOUND + 4 * width * height * samples * -(-max(numbers(BITS) or (1,)) // 8)
    for starts, counts in ((STRIPS, BYTES_OF_STRIPS), (TILES, BYTES_OF_TILES)):
        for at, count in zip(numbers(starts), numbers(counts), strict=False):
            length = _inflated(data[at : at + count], left) if count else 0
            if length is None:
                return True
            left -= length
            if left <= 0:  # more data than the picture has: overlapping strips, or a decompression bomb
                return True
    return False


def _inflated(chunk: bytes, most: int) -> int | None:
    """The uncompressed length, up to a limit; None if it is damaged."""
    stream, length = zlib.decompressobj(), 0
    try:
        while not stream.eof and length < most:
            part = len(stream.decompress(chunk, INFLATED_AT_A_TIME))
            length, chunk = length + part, stream.unconsumed_tail
            if not part and not chunk and not stream.eof:
                return None  # the end is missing
    except zlib.error:
        return None
    return length


def tiles_as_strips(data: bytes) -> bytes | None:
    """Convert a TIFF file with compressed tiles to one with strips: the tiles one below the other.

    libvips reads an undecodable tile as black without an error, but it reports undecodable strips.

    Returns:
        The file; None if it has no tiles, if damage would be reported anyway, if tiles are missing, or if the tiles are
        a decompression bomb.
    """
    layout, first = layout_of(data), first_fields(data)
    if layout is None or number_of(first, COMPRESSION, layout.order) in (None, 1, *DEFLATE):
        return None
    width, rows = (number_of(first, tag, layout.order) or 1 for tag in (TILE_WIDTH, TILE_HEIGHT))
    across, down = (number_of(first, tag, layout.order) or 1 for tag in (WIDTH, HEIGHT))
    fields = {field.tag: field for field in first}
    counts = numbers_of(first, BYTES_OF_TILES, layout.order)
    height = rows * len(counts)
    whole = TILES in fields and len(counts) == -(-across // width) * -(-down // rows) and all(counts)
    if not whole or height > MAX_ROWS or width * height > 4 * across * down + TILED_BOUND:
        return None
    sizes = {WIDTH: width, HEIGHT: height, ROWS_OF_STRIP: rows}
    fields |= {tag: number_field(tag, value, layout.order) for tag, value in sizes.items()}
    for tiled, stripped in ((TILES, STRIPS), (BYTES_OF_TILES, BYTES_OF_STRIPS)):
        fields[stripped] = replace(fields.pop(tiled), tag=stripped)
    out = bytearray(data)
    kept = [field for field in fields.values() if field.tag not in (TILE_WIDTH, TILE_HEIGHT)]
    out += bytes(len(out) % 2)
    struct.pack_into(f"{layout.order}{'Q' if layout.big else 'I'}", out, 8 if layout.big else 4, len(out))
    return bytes(out + directory_bytes(kept, len(out), layout))
