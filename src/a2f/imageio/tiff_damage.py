"""Damage within TIFF files of which libvips says nothing: checksums that are wrong, and tiles that do not decode."""

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
MOST_ROWS = 10_000_000  # of libvips
TILED_BOUND = 2**26  # pixels beside those of the picture, since tiles reach beyond its edges
INFLATED_AT_A_TIME = 2**20  # bytes
DEFLATE_BOUND = 2**28  # bytes beside those of the picture, since tiles reach beyond its edges


def has_broken_deflate(data: bytes) -> bool:
    """Whether a strip or tile that is compressed with Deflate is damaged, by its checksum.

    libtiff does not look at the checksum once it has all samples, and libvips takes a broken tile for black.
    """
    layout, first = layout_of(data), first_fields(data)
    if layout is None or number_of(first, COMPRESSION, layout.order) not in DEFLATE:
        return False
    if number_of(first, FILL_ORDER, layout.order) == TURNED_BITS:  # rare, and not undone here
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
            if left <= 0:  # more than the picture has: many strips in one place, or one that is a bomb
                return True
    return False


def _inflated(chunk: bytes, most: int) -> int | None:
    """The length of what was compressed, as far as an upper bound; None if it is damaged."""
    stream, length = zlib.decompressobj(), 0
    try:
        while not stream.eof and length < most:
            part = len(stream.decompress(chunk, INFLATED_AT_A_TIME))
            length, chunk = length + part, stream.unconsumed_tail
            if not part and not chunk and not stream.eof:
                return None  # its end is missing
    except zlib.error:
        return None
    return length


def tiles_as_strips(data: bytes) -> bytes | None:
    """A TIFF file of compressed tiles as one of strips, a tile high, one below the other.

    libvips takes a tile that cannot be decoded for black, and says nothing; of strips, it does.

    Returns:
        The file; None if it has no tiles, none that can be damaged unseen, holes in place of tiles, or tiles so many
        or so large that they would be a bomb.
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
    if not whole or height > MOST_ROWS or width * height > 4 * across * down + TILED_BOUND:
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
