"""Read and write TGA and DDS, texture formats of games, with Pillow."""

import io
import struct
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from a2f.errors import ImageReadError, TruncatedImageError, count_of
from a2f.imageio.limits import check_size
from a2f.imageio.picture import Picture, Pixels

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

FOOTER = b"TRUEVISION-XFILE.\0"
MIPMAPS, CUBE_MAP, VOLUME = 0x20000, 0x200, 0x200000  # flags of a DDS header: dwFlags, dwCaps2
BC6H = (95, 96)  # DXGI formats of half floats, which Pillow converts to 8 bits
FAILURES = (OSError, ValueError, SyntaxError, IndexError, KeyError, struct.error, EOFError, MemoryError, OverflowError)


def is_tga(data: bytes) -> bool:
    """Whether a file begins like a TGA. The format has no signature, so all header fields are checked."""
    if len(data) < 18:
        return False
    has_map, kind, bits, flags = data[1], data[2], data[16], data[17]
    first, length, depth = struct.unpack_from("<HHB", data, 3)
    width, height = struct.unpack_from("<HH", data, 12)
    if kind & 7 == 1:
        map_fits = has_map == 1 and length > 0 and depth in (15, 16, 24, 32) and bits in (8, 16)
    else:
        map_fits = has_map == 0 and first == length == depth == 0
    fits = {1: (8, 16), 2: (15, 16, 24, 32), 3: (8, 16)}.get(kind & 7, ())
    return map_fits and kind in (1, 2, 3, 9, 10, 11) and bits in fits and min(width, height) > 0 and flags & 0xC0 == 0


def texture_size(data: bytes, name: str) -> tuple[int, int]:
    """Width and height from the header. Raises the errors of `read_image`."""
    return _opened(data, name).size


def read_texture(data: bytes, name: str, *, max_pixels: int | None = None, allow_truncated: bool = False) -> Picture:
    """Decode a TGA or DDS file. Raises the errors of `read_image`."""
    image = _opened(data, name)
    check_size(image.width, image.height, name, max_pixels)
    is_dds = data.startswith(b"DDS ")
    try:
        image.load()
    except FAILURES as error:
        if _lacks_pixels(error):
            raise TruncatedImageError(f"{name} is truncated or damaged; too much of it is missing") from error
        raise ImageReadError(f"cannot decode {name}: {error}") from error
    notes, pixels = _dds_notes(data, name) if is_dds else _tga_notes(data, name), _pixels(image)
    if pixels.shape[2] == 4 and not pixels[..., 3].any():
        pixels = pixels[..., :3]  # many programs write an alpha of 0 for opaque pictures
        notes.append(f"{name} has an alpha of 0 throughout: left out, the picture is taken for opaque")
    elif pixels.shape[2] == 4 and not is_dds and not data[17] & 15:
        notes.append(f"{name} does not say that its fourth channel is alpha; it is taken for alpha")
    return Picture(pixels=pixels, format="dds" if is_dds else "tga", notes=tuple(notes))


def encode_texture(pixels: NDArray[Any], format: str) -> bytes:
    """Encode [H, W, 1 to 4] uint8 as a run-length coded TGA file or an uncompressed DDS file."""
    from PIL import Image

    out = io.BytesIO()
    image = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    if format == "tga":
        image.save(out, "TGA", compression="tga_rle")
    else:
        image.save(out, "DDS")
    return out.getvalue()


def _opened(data: bytes, name: str) -> "ImageFile":
    from PIL.DdsImagePlugin import DdsImageFile
    from PIL.TgaImagePlugin import TgaImageFile

    kind = DdsImageFile if data.startswith(b"DDS ") else TgaImageFile
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image: ImageFile = kind(io.BytesIO(data))
    except NotImplementedError as error:
        raise ImageReadError(f"{name} is of a kind that is not read ({error}): convert it to PNG first") from error
    except FAILURES as error:
        raise ImageReadError(f"cannot decode {name}: {error or 'its header is damaged'}") from error
    return image


def _lacks_pixels(error: Exception) -> bool:
    said = str(error)
    return "truncated" in said or "not enough image data" in said or isinstance(error, EOFError)


def _pixels(image: "ImageFile") -> Pixels:
    if image.mode == "P":
        kept = "RGBA" if image.palette is not None and image.palette.mode == "RGBA" else "RGB"
    else:
        kept = {"1": "L", "L": "L", "LA": "LA", "RGBA": "RGBA"}.get(image.mode, "RGB")
    pixels = np.asarray(image.convert(kept))
    return pixels[:, :, None] if pixels.ndim == 2 else pixels


def _tga_notes(data: bytes, name: str) -> list[str]:
    if not data.endswith(FOOTER):
        return []
    extension, developer = struct.unpack_from("<II", data[-26:])
    areas = [what for what, at in (("extension", extension), ("developer", developer)) if 18 <= at < len(data)]
    return [f"{name} holds an area of texts and dates ({' and '.join(areas)}): left out"] if areas else []


def _dds_notes(data: bytes, name: str) -> list[str]:
    if len(data) < 128:
        return []
    flags, caps = struct.unpack_from("<I", data, 8)[0], struct.unpack_from("<I", data, 112)[0]
    maps, notes = struct.unpack_from("<I", data, 28)[0], []
    if flags & MIPMAPS and maps > 1:
        notes.append(f"{name} holds {count_of(maps - 1, 'smaller picture(s) of itself (mipmaps)')}: left out")
    if caps & (CUBE_MAP | VOLUME):
        notes.append(f"{name} is a cube map or volume; only its first picture is read")
    if data[84:88] == b"DX10" and len(data) >= 148:
        if struct.unpack_from("<I", data, 128)[0] in BC6H:
            notes.append(f"{name} is HDR (BC6H): read in 8 bits, what is brighter than white is clipped")
        if struct.unpack_from("<I", data, 140)[0] > 1:
            notes.append(f"{name} is an array of pictures; only its first is read")
    if data[84:88] in (b"DXT2", b"DXT4"):
        notes.append(f"{name} has alpha multiplied into its colours (DXT2, DXT4), which stays so")
    return notes
