"""Read and write HEIC and HEIF files with HEVC pictures with libheif; libvips handles AVIF."""

import io
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from a2f.errors import ImageReadError, ImageWriteError, TruncatedImageError, count_of
from a2f.imageio.colour import fitting, signal_of_cicp, widened, without_padding, without_premultiplied
from a2f.imageio.described import metadata_of_blocks
from a2f.imageio.exif import MARK
from a2f.imageio.extras import library
from a2f.imageio.heif_boxes import aspect_of, ends_early, is_sequence, nclx_of, parts_left_out
from a2f.imageio.limits import check_size
from a2f.imageio.picture import Metadata, Picture, Pixels

BITS = 10  # bit depth of deep pictures; all phones and screens decode it
FULL_COLOUR_FROM = 90  # from this quality on there is no chroma subsampling, as in our JPEG and AVIF
MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
KNOWN_AUX = (
    "hdrgainmap",
    "depth",
    "alpha",
    "auxid:1",
    "auxid:2",
)  # reported by `parts_left_out`, or part of the picture


def read_heic(data: bytes, name: str, *, max_pixels: int | None = None, allow_truncated: bool = False) -> Picture:
    """Decode the main picture of a HEIC file, upright. Raises the errors of `read_image`."""
    file, image = _opened(data, name)
    width, height = image.size
    check_size(width, height, name, max_pixels)
    try:
        samples = np.asarray(image)
    except (ValueError, OSError, RuntimeError, EOFError) as error:
        raise _failed(data, name, error) from error
    pixels = _plain(samples, image.mode, image.info["bit_depth"])
    metadata, notes = _metadata(image.info, size=(pixels.shape[1], pixels.shape[0]))
    metadata = replace(metadata, aspect=aspect_of(data))
    notes = [f"{name}: left out {what}" for what in notes]
    if metadata.icc is not None:
        pixels, icc, more = fitting(pixels, metadata.icc, name)
        metadata, notes = replace(metadata, icc=icc), notes + more
    if metadata.icc is None and (cicp := nclx_of(data)):
        signal, told = signal_of_cicp(*cicp, grey=pixels.shape[2] < 3)
        metadata = replace(metadata, signal=signal)
        notes += [f"{name} tells its {told}"] if told else []
    return Picture(pixels=pixels, metadata=metadata, format="heic", notes=(*_parts_notes(data, file, name), *notes))


def heic_size(data: bytes, name: str) -> tuple[int, int]:
    """Width and height, upright, without decoding. Raises the errors of `read_image`."""
    width, height = _opened(data, name)[1].size
    return width, height


def heic_samples(data: bytes, name: str) -> tuple[int, int]:
    """Number of channels and bytes per sample, from the header. Raises the errors of `read_image`."""
    image = _opened(data, name)[1]
    return len(image.mode.partition(";")[0]), 1 if image.info["bit_depth"] <= 8 else 2


def encode_heic(
    pixels: NDArray[Any], metadata: Metadata, *, exif: bytes | None, quality: int, cicp: tuple[int, int] | None
) -> bytes:
    """Encode a HEIC file.

    Args:
        pixels: [H, W, 1 to 4] uint8 or uint16; 10 bits are kept.
        metadata: its ICC and XMP are written unchanged.
        exif: the EXIF block without its prefix.
        quality: from 1 to 100; 100 loses only the rounding to YCbCr.
        cicp: code points of primaries and transfer, instead of a profile.

    Raises:
        MissingExtraError: if the library is not installed.
        ImageWriteError: if the encoder fails.
    """
    heif = library("pillow_heif", "writing HEIC")
    deep, height, width = pixels.dtype == np.uint16, *pixels.shape[:2]
    mode = MODES[pixels.shape[2]] + (";16" if deep else "")
    primaries, transfer = cicp or (1, 13)
    options: dict[str, Any] = {"quality": -1 if quality == 100 else quality, "bit_depth": BITS if deep else 8}
    options |= {"color_primaries": primaries, "transfer_characteristics": transfer, "matrix_coefficients": 6}
    options |= {"full_range_flag": 1, "chroma": 444 if quality >= FULL_COLOUR_FROM else 420}
    if metadata.icc and not cicp:
        options |= {"icc_profile": without_padding(metadata.icc), "icc_profile_type": "prof"}
    options |= {"exif": MARK + exif} if exif else {}
    options |= {"xmp": metadata.xmp} if metadata.xmp else {}
    out = io.BytesIO()
    try:
        heif.encode(mode, (width, height), np.ascontiguousarray(pixels).tobytes(), out, **options)
    except (ValueError, OSError, RuntimeError) as error:
        raise ImageWriteError(f"cannot encode {width} x {height} as heic: {error}") from error
    return out.getvalue()


def _opened(data: bytes, name: str) -> tuple[Any, Any]:
    """Open a file; return it and its main picture."""
    heif = library("pillow_heif", f"reading {name} (HEIC)")
    try:
        file = heif.open_heif(data, convert_hdr_to_8bit=False)
        return file, file[file.primary_index]
    except (ValueError, OSError, RuntimeError, EOFError, IndexError, SyntaxError, MemoryError) as error:
        raise _failed(data, name, error) from error


def _failed(data: bytes, name: str, error: Exception) -> ImageReadError:
    said = " ".join(str(error).split()) or "no picture in it"
    if ends_early(data):
        return TruncatedImageError(f"{name} is truncated or damaged ({said}); too much of it is missing")
    if is_sequence(data):
        return ImageReadError(f"{name} is a film of HEVC pictures without a still one, which is not read")
    return ImageReadError(f"cannot decode {name}: {said}")


def _plain(samples: NDArray[Any], mode: str, bits: int) -> Pixels:
    """The pixels [H, W, C] in full range, without premultiplied alpha."""
    pixels = np.array(samples if samples.ndim == 3 else samples[..., None])
    if pixels.dtype != np.uint8:
        pixels = widened(pixels >> (16 - bits), bits)
    return without_premultiplied(pixels) if "a" in mode else pixels


def _metadata(info: dict[str, Any], *, size: tuple[int, int]) -> tuple[Metadata, list[str]]:
    metadata, lost = metadata_of_blocks(
        icc=info.get("icc_profile"), exif=info.get("exif"), xmp=info.get("xmp"), size=size
    )
    others = sorted({str(block.get("type", "?")) for block in info.get("metadata", [])})
    lost += [f"metadata of kinds that are not known here ({', '.join(others)})"] if others else []
    aux = [kind for kind in info.get("aux", {}) if not any(known in kind.lower() for known in KNOWN_AUX)]
    lost += [f"pictures that tell more about it ({', '.join(sorted(aux))})"] if aux else []
    return metadata, lost


def _parts_notes(data: bytes, file: Any, name: str) -> list[str]:
    others = len(file) - 1
    notes = [f"{name} holds {count_of(others, 'more picture')}; only the main one is read"] if others > 0 else []
    notes += [f"{name} is a sequence of pictures; only its still picture is read"] if is_sequence(data) else []
    return notes + [f"{name} holds {part}: left out" for part in parts_left_out(data)]
