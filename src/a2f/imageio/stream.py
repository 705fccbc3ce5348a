"""Stream pixels band by band to libvips, which encodes them at the same time."""

import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from a2f.imageio.forked import begin_vips

if TYPE_CHECKING:
    from pyvips import Image as VipsImage

PNG_COLOUR = {1: 0, 2: 4, 3: 2, 4: 6}  # channels -> colour type


@dataclass
class Feed:
    """An image that libvips reads once from the top, and the errors of its bands.

    Attributes:
        image: the libvips image.
        errors: errors raised by the bands; libvips only sees the end of the data.
    """

    image: "VipsImage"
    errors: list[BaseException] = field(default_factory=list)


def feed(bands: Iterator[NDArray[Any]], *, width: int, height: int, channels: int, deep: bool) -> Feed:
    """Make a libvips image from bands.

    The bands are sent as an uncompressed PNG, which libvips reads as a stream, with any bit depth and transparency.

    Args:
        bands: [rows, width, channels] each, uint8, or uint16 if `deep`; `height` rows in total.
        width: width, pixels.
        height: height, pixels.
        channels: 1 to 4.
        deep: whether the bands have 16 bits.
    """
    import pyvips

    begin_vips()
    errors: list[BaseException] = []
    read = _reader(_png(bands, width, height, channels, deep), errors)
    source = pyvips.SourceCustom()
    source.on_read(read)
    try:
        image = pyvips.Image.new_from_source(source, "", access="sequential", fail_on="truncated", unlimited=True)
    except pyvips.Error:
        if errors:
            raise errors[0] from None
        raise
    return Feed(image, errors)


def _reader(parts: Iterator[bytes], errors: list[BaseException]) -> Callable[[int], bytes | None]:
    rest = memoryview(b"")

    def read(size: int) -> bytes | None:
        nonlocal rest
        try:
            while not rest:
                rest = memoryview(next(parts))
        except StopIteration:
            return None
        except BaseException as error:
            errors.append(error)
            return None
        part, rest = bytes(rest[:size]), rest[size:]
        return part

    return read


def _png(bands: Iterator[NDArray[Any]], width: int, height: int, channels: int, deep: bool) -> Iterator[bytes]:
    yield b"\x89PNG\r\n\x1a\n"
    header = struct.pack(">IIBBBBB", width, height, 16 if deep else 8, PNG_COLOUR[channels], 0, 0, 0)
    yield from _chunk(b"IHDR", header)
    stored = zlib.compressobj(0)
    for band in bands:
        values = band.astype(">u2") if deep else band
        lines = np.zeros(
            (len(band), 1 + width * channels * (2 if deep else 1)), np.uint8
        )  # each line begins with 0: no filter
        lines[:, 1:] = np.ascontiguousarray(values).view(np.uint8).reshape(len(band), -1)
        yield from _chunk(b"IDAT", stored.compress(lines.data))
    yield from _chunk(b"IDAT", stored.flush())
    yield from _chunk(b"IEND", b"")


def _chunk(kind: bytes, body: bytes) -> Iterator[bytes]:
    if body or kind == b"IEND":
        yield struct.pack(">I", len(body)) + kind
        yield body
        yield struct.pack(">I", zlib.crc32(body, zlib.crc32(kind)))
