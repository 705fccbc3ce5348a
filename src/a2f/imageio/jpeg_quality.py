"""Estimate the quality of a JPEG from its quantisation table, without decoding pixels.

libjpeg's quality 1 to 100 scales one standard table (ITU-T T.81, Table K.1). Other encoders have tables that are no
multiple of it. For these, the estimate is the quality whose table is as fine on average: the mean over the frequencies
of the standard step divided by the step. This mean is closest to the libjpeg quality with equal PSNR: within 6 for the
eight other tables of mozjpeg at qualities from 40 to 90. The mean of the inverse ratio is within 13.

Only the last compression is visible: a JPEG that was saved again at a higher quality has that quality.

Lossy WebP and AVIF give their quantisation only roughly per frame, so their quality is not estimated.
"""

import io
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Protocol

from a2f.errors import ImageReadError

# luma table, in rows
STANDARD = (
    16, 11, 10, 16, 24, 40, 51, 61,
    12, 12, 14, 19, 26, 58, 60, 55,
    14, 13, 16, 24, 40, 57, 69, 56,
    14, 17, 22, 29, 51, 87, 80, 62,
    18, 22, 37, 56, 68, 109, 103, 77,
    24, 35, 55, 64, 81, 104, 113, 92,
    49, 64, 78, 87, 103, 121, 120, 101,
    72, 92, 95, 98, 112, 100, 103, 99,
)  # fmt: skip
_DIAGONALS = [(k // 8 + k % 8, k) for k in range(64)]
# position in the file -> position in rows (zigzag order)
ZIGZAG = [k for d, k in sorted(_DIAGONALS, key=lambda p: (p[0], p[1] // 8 if p[0] % 2 else p[1] % 8))]
DQT, SOS, EOI, DHT, JPG, DAC = 0xDB, 0xDA, 0xD9, 0xC4, 0xC8, 0xCC
FRAMES = set(range(0xC0, 0xD0)) - {DHT, JPG, DAC}
LOSSLESS = {0xC3, 0xC7, 0xCB, 0xCF}
WITHOUT_LENGTH = {0x01, *range(0xD0, 0xD9)}
MAX_BETWEEN = 65536  # limit of bytes outside segments before the file is rejected


class Readable(Protocol):
    """A stream of bytes."""

    def read(self, size: int, /) -> bytes:
        """Read at most that many bytes; fewer at the end."""
        ...


def estimate_jpeg_quality(source: Path | str | bytes | Readable) -> int | None:
    """Estimate the quality at which a JPEG was saved.

    Args:
        source: a path, the bytes of a file or of its start, or a binary stream, which is read up to the pixels.

    Returns:
        libjpeg's quality, 1 to 100: exact for tables of libjpeg, approximate for others. None for other formats, for
        lossless JPEG, and for a file that ends before its table.

    Raises:
        ImageReadError: if a path cannot be read.
    """
    if isinstance(source, (str, Path)):
        try:
            with Path(source).open("rb") as file:
                return _estimate(file)
        except OSError as error:
            raise ImageReadError(f"cannot read {source}: {error.strerror or error}") from error
    return _estimate(io.BytesIO(source) if isinstance(source, bytes) else source)


def quality_of_table(table: Sequence[int]) -> int:
    """The quality from 1 to 100 whose luma table is as fine as this table, on average over the 64 frequencies.

    Args:
        table: 64 steps in rows, not in zigzag order.
    """
    most = 255 if max(table) <= 255 else 65535  # libjpeg limits baseline files to 8 bits
    fine = _fineness(table)
    return min(range(1, 101), key=lambda quality: abs(_fineness(_scaled(quality, most)) - fine))


def _fineness(table: Sequence[int]) -> float:
    return sum(standard / max(step, 1) for step, standard in zip(table, STANDARD, strict=True)) / 64


@cache
def _scaled(quality: int, most: int) -> tuple[int, ...]:
    """The standard table, scaled like in libjpeg."""
    percent = 5000 // quality if quality < 50 else 200 - 2 * quality
    return tuple(min(max((step * percent + 50) // 100, 1), most) for step in STANDARD)


def _estimate(file: Readable) -> int | None:
    if file.read(2) != b"\xff\xd8":
        return None
    tables: dict[int, list[int]] = {}
    first = 0  # table of the first component: luma, grey, or the shared table
    while (marker := _next_marker(file)) not in (None, SOS, EOI):
        if marker in WITHOUT_LENGTH:
            continue
        length = int.from_bytes(file.read(2), "big") - 2
        body = file.read(max(0, length))
        if marker in LOSSLESS:
            return None
        if len(body) < length:
            break
        if marker == DQT:
            tables |= _tables_of(body)
        elif marker in FRAMES and len(body) > 8:
            first = body[8]
    return quality_of_table(tables[first]) if first in tables else None


def _next_marker(file: Readable) -> int | None:
    """The second byte of the next marker; bytes outside segments are skipped, as in libjpeg."""
    before = b""
    for _ in range(MAX_BETWEEN):
        byte = file.read(1)
        if not byte:
            return None
        if before == b"\xff" and byte not in (b"\0", b"\xff"):
            return byte[0]
        before = byte
    return None


def _tables_of(body: bytes) -> dict[int, list[int]]:
    """The complete tables of a DQT segment: number -> 64 steps in rows."""
    tables, at = {}, 0
    while at < len(body):
        width, number = (2 if body[at] >> 4 else 1), body[at] & 15
        steps = body[at + 1 : at + 1 + 64 * width]
        if len(steps) < 64 * width:
            break
        table = [0] * 64
        for place, row_place in enumerate(ZIGZAG):
            table[row_place] = int.from_bytes(steps[place * width : (place + 1) * width], "big")
        tables[number] = table
        at += 1 + 64 * width
    return tables
