"""Read and write BMP, PBM, PGM and PPM with Pillow, because this libvips does not support them."""

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

BITFIELDS = 3  # the compression of a BMP whose header has masks
ROWS_AT_A_TIME = 64  # rows of 16-bit samples whose bytes are swapped at a time

_NUMBER = re.compile(rb"(?:\s|#[^\n]*\n)*+(\d{1,10})(?!\d)")  # possessive, so a run of blanks is scanned once


@dataclass(frozen=True, kw_only=True)
class _PnmHeader:
    """The header of a file: the digit after P, the size, the value of white, the start of the samples."""

    kind: int
    width: int
    height: int
    maximum: int
    start: int


def read_pnm(data: bytes, name: str, *, max_pixels: int | None = None, allow_truncated: bool = False) -> Picture:
    """Decode a PBM, PGM or PPM file, plain or raw, with 1 to 16 bits. Raises the errors of `read_image`."""
    from PIL.PpmImagePlugin import PpmImageFile

    header = _pnm_header(data, name)
    check_size(header.width, header.height, name, max_pixels)
    channels = 3 if header.kind in (3, 6) else 1
    count, top = header.width * header.height * channels, 255 if header.maximum < 256 else 65535
    if header.kind in (1, 4):
        start, black = b"P%d %d %d\n" % (header.kind, header.width, header.height), (b"1", b"\xff")
    else:
        # Pillow reduces 16-bit colour to 8 bits, and needs minutes for a white other than 255 or 65535. So the samples
        # are passed as a grey image of three times the width with the usual white, which Pillow reads unchanged.
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
    """Width and height from the header of a PBM, PGM or PPM file. Raises the errors of `read_image`."""
    header = _pnm_header(data, name)
    return header.width, header.height


def bmp_size(data: bytes, name: str) -> tuple[int, int]:
    """Width and height from the header of a BMP file. Raises the errors of `read_image`."""
    from PIL.BmpImagePlugin import BmpImageFile

    try:
        width, height = BmpImageFile(io.BytesIO(data)).size
    except (SyntaxError, OSError, ValueError, OverflowError) as error:
        raise ImageReadError(f"cannot decode {name}: {error}") from error
    return width, height


def pnm_samples(data: bytes, name: str) -> tuple[int, int]:
    """Number of channels and bytes per sample, from the header. Raises the errors of `read_image`."""
    header = _pnm_header(data, name)
    return 3 if header.kind in (3, 6) else 1, 1 if header.maximum < 256 else 2


def read_bmp(data: bytes, name: str, *, max_pixels: int | None = None, allow_truncated: bool = False) -> Picture:
    """Decode a BMP file. Raises the errors of `read_image`."""
    from PIL.BmpImagePlugin import BmpImageFile

    width, height = bmp_size(data, name)
    check_size(width, height, name, max_pixels)
    if _has_alpha_of_16_bits(data):
        raise ImageReadError(
            f"{name} has transparency in a BMP of 16 bits per pixel, which is not read: save it with 32"
        )
    fill = (lambda: bytes(2048 + 4 * height * (width + 1))) if allow_truncated else None  # at most, with a palette
    image = _loaded(BmpImageFile, data, name, fill=fill)
    kept = image.mode if image.mode in ("L", "RGB", "RGBA") else "L" if image.mode == "1" else "RGB"
    pixels = np.asarray(image.convert(kept))
    pixels = pixels[:, :, None] if pixels.ndim == 2 else pixels
    if pixels.shape[2] == 4 and not pixels[..., 3].any():
        pixels = pixels[..., :3]  # many programs write an alpha of 0 for opaque pictures
    x, y = image.info.get("dpi") or (0, 0)
    dpi = (float(x), float(y)) if 0 < x < MAX_DPI and 0 < y < MAX_DPI else None
    icc, notes = bmp_profile(data, name)
    if icc is not None:
        pixels, icc, more = fitting(pixels, icc, name)
        notes += more
    return Picture(pixels=pixels, metadata=Metadata(icc=icc, dpi=dpi), format="bmp", notes=tuple(notes))


def _has_alpha_of_16_bits(data: bytes) -> bool:
    """Whether a file has a mask for alpha and 16 bits per pixel, where Pillow takes the picture for opaque."""
    if len(data) < 70 or int.from_bytes(data[14:18], "little") < 56:  # version 3 of the header, which has the mask
        return False
    bits, compression = struct.unpack_from("<HI", data, 28)
    return bits == 16 and compression == BITFIELDS and data[66:70] != bytes(4)


def _loaded(
    opened: Callable[[Any], "ImageFile"], data: bytes, name: str, *, fill: Callable[[], bytes] | None
) -> "ImageFile":
    """Decode an image with the class of its format, because `Image.open` has its own pixel limit.

    If data is missing, `fill` is appended for a second attempt, because Pillow's option for this is global.
    """
    try:
        image = opened(io.BytesIO(data))
        image.load()
    except (OSError, ValueError, IndexError, SyntaxError, OverflowError) as error:
        # Too few samples give an OSError in Pillow's C decoders, and this ValueError in its Python decoders.
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
    """Encode [H, W, 1 or 3] pixels as a raw PGM or PPM file; Pillow would reduce 16-bit colour to 8 bits."""
    height, width, _ = pixels.shape
    return b"".join(encode_pnm_bands(iter([pixels]), width=width, height=height))


def encode_pnm_bands(bands: Iterator[Pixels], *, width: int, height: int) -> Iterator[bytes | memoryview]:
    """Encode bands [rows, width, 1 or 3] as a raw PGM or PPM file in parts."""
    for number, band in enumerate(bands):
        if number == 0:
            kind = 6 if band.shape[2] == 3 else 5
            yield f"P{kind}\n{width} {height}\n{np.iinfo(band.dtype).max}\n".encode()
        for top in range(0, len(band), ROWS_AT_A_TIME):
            rows = band[top : top + ROWS_AT_A_TIME]
            yield np.ascontiguousarray(rows, dtype=rows.dtype.newbyteorder(">")).view(np.uint8).reshape(-1).data


def encode_bmp(pixels: Pixels, dpi: tuple[float, float] | None) -> bytes:
    """Encode [H, W, 1 to 4] uint8 pixels as a BMP file with 24 bits, or 32 bits if there is transparency."""
    from PIL import Image

    if pixels.shape[2] in (2, 4):
        if not (pixels[..., -1] == 255).all():
            return _bmp_with_alpha(pixels, dpi)
        pixels = pixels[..., :-1]
    out = io.BytesIO()
    image = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    image.save(out, "BMP", dpi=dpi or (0, 0))  # Pillow would write 96
    return out.getvalue()


def _bmp_with_alpha(pixels: Pixels, dpi: tuple[float, float] | None) -> bytes:
    """Write a header of version 4, which defines alpha; Pillow's header marks these bits as unused."""
    height, width, channels = pixels.shape
    rgb = pixels[..., 2::-1] if channels == 4 else pixels[..., :1].repeat(3, axis=2)
    body = np.concatenate([rgb, pixels[..., -1:]], axis=2)[::-1].tobytes()  # BGRA, bottom up
    per_metre = [round(d / 0.0254) for d in dpi or (0, 0)]
    info = struct.pack("<IiiHHIIiiII", 108, width, height, 1, 32, 3, len(body), *per_metre, 0, 0)
    masks = struct.pack("<4I", 0xFF0000, 0xFF00, 0xFF, 0xFF000000) + b"BGRs" + bytes(48)
    return b"BM" + struct.pack("<IHHI", 14 + 108 + len(body), 0, 0, 14 + 108) + info + masks + body
