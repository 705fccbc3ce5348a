"""BMP, PBM, PGM and PPM, which this libvips leaves out, through Pillow."""

import io
import re
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from a2f.errors import ALLOW_TRUNCATED_HINT, ImageReadError, TruncatedImageError
from a2f.imageio.bmp_colour import bmp_profile
from a2f.imageio.colour import fitting
from a2f.imageio.limits import check_size
from a2f.imageio.picture import MAX_DPI, Metadata, Picture, Pixels

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

ROWS_AT_A_TIME = 64  # of 16 bits, whose bytes are turned on the way

_NUMBER = re.compile(rb"(?:\s|#[^\n]*\n)*+(\d{1,10})(?!\d)")  # possessive: a run of blanks is walked once


@dataclass(frozen=True, kw_only=True)
class _PnmHeader:
    """The first lines of a file: the digit after P, the size, the value of white, where the samples begin."""

    kind: int
    width: int
    height: int
    maximum: int
    start: int


def read_pnm(data: bytes, name: str, *, max_pixels: int | None = None, allow_truncated: bool = False) -> Picture:
    """Decode a PBM, PGM or PPM file, plain or raw, of 1 to 16 bits; errors as `read_image`."""
    from PIL.PpmImagePlugin import PpmImageFile

    header = _pnm_header(data, name)
    check_size(header.width, header.height, name, max_pixels)
    channels = 3 if header.kind in (3, 6) else 1
    count, top = header.width * header.height * channels, 255 if header.maximum < 256 else 65535
    if header.kind in (1, 4):
        start, black = b"P%d %d %d\n" % (header.kind, header.width, header.height), (b"1", b"\xff")
    else:
        # Pillow reduces colour of 16 bits to 8, and takes minutes for a white other than 255 or 65535; the same samples
        # as grey of three times the width, under the usual white, it hands out as they are.
        grey = 2 if header.kind in (2, 3) else 5
        start, black = b"P%d %d %d %d\n" % (grey, header.width * channels, header.height, top), (b" 0", b"\0\0")
    fill = (lambda: count * black[header.kind > 3]) if allow_truncated else None
    image = _loaded(PpmImageFile, start + data[header.start :], name, fill=fill)
    if header.kind in (1, 4):
        return Picture(pixels=np.asarray(image.convert("L"))[:, :, None], format="ppm")
    samples = np.asarray(image).reshape(header.height, header.width, channels)
    return Picture(pixels=_stretched(samples, header.maximum, top), format="ppm")


def _pnm_header(data: bytes, name: str) -> _PnmHeader:
    kind, at, numbers = int(data[1:2]), 2, []
    for what in ("width", "height") if kind in (1, 4) else ("width", "height", "maximum"):
        match = _NUMBER.match(data, at)
        if match is None:
            raise ImageReadError(f"cannot decode {name}: it begins like a P{kind} file, but names no {what}")
        numbers.append(int(match[1]))
        at = match.end()
    maximum = 1 if kind in (1, 4) else numbers[2]
    if not 1 <= maximum <= 65535:
        raise ImageReadError(f"cannot decode {name}: its largest sample is {maximum}, and only 1 to 65535 is allowed")
    return _PnmHeader(kind=kind, width=numbers[0], height=numbers[1], maximum=maximum, start=at + (kind > 3))


def _stretched(samples: NDArray[Any], maximum: int, top: int) -> Pixels:
    dtype: Any = np.uint8 if top == 255 else np.uint16
    if maximum == top:
        return samples.astype(dtype)
    values = np.arange(top + 1, dtype=np.int64).clip(0, maximum)
    stretched: Pixels = ((values * (2 * top) + maximum) // (2 * maximum)).astype(dtype)[samples]
    return stretched


def pnm_size(data: bytes, name: str) -> tuple[int, int]:
    """Width and height by the header of a PBM, PGM or PPM file; errors as `read_image`."""
    header = _pnm_header(data, name)
    return header.width, header.height


def bmp_size(data: bytes, name: str) -> tuple[int, int]:
    """Width and height by the header of a BMP file; errors as `read_image`."""
    from PIL.BmpImagePlugin import BmpImageFile

    try:
        width, height = BmpImageFile(io.BytesIO(data)).size
    except (SyntaxError, OSError, ValueError, OverflowError) as error:
        raise ImageReadError(f"cannot decode {name}: {error}") from error
    return width, height


def pnm_samples(data: bytes, name: str) -> tuple[int, int]:
    """Channels and bytes of a sample by the header; errors as `read_image`."""
    header = _pnm_header(data, name)
    return 3 if header.kind in (3, 6) else 1, 1 if header.maximum < 256 else 2


def read_bmp(data: bytes, name: str, *, max_pixels: int | None = None, allow_truncated: bool = False) -> Picture:
    """Decode a BMP file; errors as `read_image`."""
    from PIL.BmpImagePlugin import BmpImageFile

    width, height = bmp_size(data, name)
    check_size(width, height, name, max_pixels)
    fill = (lambda: bytes(2048 + 4 * height * (width + 1))) if allow_truncated else None  # at most, with a palette
    image = _loaded(BmpImageFile, data, name, fill=fill)
    kept = image.mode if image.mode in ("L", "RGB", "RGBA") else "L" if image.mode == "1" else "RGB"
    pixels = np.asarray(image.convert(kept))
    pixels = pixels[:, :, None] if pixels.ndim == 2 else pixels
    if pixels.shape[2] == 4 and not pixels[..., 3].any():
        pixels = pixels[..., :3]  # many programs leave alpha zero and mean opaque
    x, y = image.info.get("dpi") or (0, 0)
    dpi = (float(x), float(y)) if 0 < x < MAX_DPI and 0 < y < MAX_DPI else None
    icc, notes = bmp_profile(data, name)
    if icc is not None:
        pixels, icc, more = fitting(pixels, icc, name)
        notes += more
    return Picture(pixels=pixels, metadata=Metadata(icc=icc, dpi=dpi), format="bmp", notes=tuple(notes))


def _loaded(
    opened: Callable[[Any], "ImageFile"], data: bytes, name: str, *, fill: Callable[[], bytes] | None
) -> "ImageFile":
    """The decoded image, by the format's own class: `Image.open` has a limit of pixels of its own.

    Where there is too little, it is tried once more with what `fill` makes behind: Pillow's switch for that is global.
    """
    try:
        image = opened(io.BytesIO(data))
        image.load()
    except (OSError, ValueError, IndexError, SyntaxError, OverflowError) as error:
        # Too few samples are an OSError of Pillow's decoders in C, and this ValueError of those in Python.
        if not isinstance(error, OSError) and "not enough image data" not in str(error):
            raise ImageReadError(f"cannot decode {name}: {error}") from error
        if fill is not None and (more := fill()):
            return _loaded(opened, data + more, name, fill=bytes)
        damaged = f"{name} is truncated or damaged ({error})"
        if fill is not None:
            raise TruncatedImageError(f"{damaged}; too much of it is missing") from error
        raise TruncatedImageError(damaged, ALLOW_TRUNCATED_HINT) from error
    return image


def encode_pnm(pixels: Pixels) -> bytes:
    """A raw PGM or PPM file of [H, W, 1 or 3] pixels; Pillow would reduce colour of 16 bits to 8."""
    height, width, _ = pixels.shape
    return b"".join(encode_pnm_bands(iter([pixels]), width=width, height=height))


def encode_pnm_bands(bands: Iterator[Pixels], *, width: int, height: int) -> Iterator[bytes | memoryview]:
    """The same file in parts, of bands [rows, width, 1 or 3]."""
    for number, band in enumerate(bands):
        if number == 0:
            kind = 6 if band.shape[2] == 3 else 5
            yield f"P{kind}\n{width} {height}\n{np.iinfo(band.dtype).max}\n".encode()
        for top in range(0, len(band), ROWS_AT_A_TIME):
            rows = band[top : top + ROWS_AT_A_TIME]
            yield np.ascontiguousarray(rows, dtype=rows.dtype.newbyteorder(">")).view(np.uint8).reshape(-1).data


def encode_bmp(pixels: Pixels, dpi: tuple[float, float] | None) -> bytes:
    """A BMP file of [H, W, 1 to 4] uint8 pixels; of 24 bits, or 32 where something shows through."""
    from PIL import Image

    if pixels.shape[2] in (2, 4):
        if not (pixels[..., -1] == 255).all():
            return _bmp_with_alpha(pixels, dpi)
        pixels = pixels[..., :-1]
    out = io.BytesIO()
    image = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    image.save(out, "BMP", dpi=dpi or (0, 0))  # Pillow would invent 96
    return out.getvalue()


def _bmp_with_alpha(pixels: Pixels, dpi: tuple[float, float] | None) -> bytes:
    """With a header of version 4, which says where alpha is; Pillow writes one that calls these bits unused."""
    height, width, channels = pixels.shape
    rgb = pixels[..., 2::-1] if channels == 4 else pixels[..., :1].repeat(3, axis=2)
    body = np.concatenate([rgb, pixels[..., -1:]], axis=2)[::-1].tobytes()  # BGRA, bottom up
    per_metre = [round(d / 0.0254) for d in dpi or (0, 0)]
    info = struct.pack("<IiiHHIIiiII", 108, width, height, 1, 32, 3, len(body), *per_metre, 0, 0)
    masks = struct.pack("<4I", 0xFF0000, 0xFF00, 0xFF, 0xFF000000) + b"BGRs" + bytes(48)
    return b"BM" + struct.pack("<IHHI", 14 + 108 + len(body), 0, 0, 14 + 108) + info + masks + body
