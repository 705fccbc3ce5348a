"""Read and write JPEG XL files with libjxl.

Two bindings are used: pylibjxl reads the header and keeps profile, EXIF and XMP, but supports only 8 bits; imagecodecs
reads samples of other bit depths.
"""

import struct
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from a2f.errors import ImageReadError, ImageWriteError, TruncatedImageError
from a2f.imageio.colour import fitting, signal_of_cicp, tags_of_profile, widened, without_padding
from a2f.imageio.described import metadata_of_blocks
from a2f.imageio.extras import library
from a2f.imageio.heif_boxes import boxes_of, ends_early
from a2f.imageio.limits import check_size
from a2f.imageio.picture import Metadata, Picture, Pixels

CONTAINER = b"\0\0\0\x0cJXL \r\n\x87\n"
BOXES = {b"JXL ", b"ftyp", b"jxll", b"jxlc", b"jxlp", b"Exif", b"xml ", b"brob", b"jbrd", b"jxli"}  # ISO/IEC 18181-2
FAILURES = (ValueError, OSError, RuntimeError, MemoryError)
# Limit of all Brotli boxes together, unpacked; Brotli can compress by a factor of a million.
MAX_UNPACKED_BYTES = 16 * 2**20
MAX_PACKED_BOXES = 64


def read_jxl(data: bytes, name: str, *, max_pixels: int | None = None, allow_truncated: bool = False) -> Picture:
    """Decode a JPEG XL file, upright. Raises the errors of `read_image`."""
    told = _told(data, name)
    check_size(told["width"], told["height"], name, max_pixels)
    if told["exponent_bits_per_sample"]:
        raise ImageReadError(f"{name} is JPEG XL in floating point, which is not read: convert it to EXR or TIFF first")
    pylibjxl, codecs = library("pylibjxl", "reading JPEG XL"), library("imagecodecs", "reading JPEG XL")
    bits = told["bits_per_sample"]
    data, too_long = with_boxes_unpacked(data)
    try:
        samples, blocks = pylibjxl.decode(data, metadata=True)
        if bits != 8 or told["channels"] == 2:
            samples = codecs.jpegxl_decode(data, index=0 if told["have_animation"] else None)
            samples = widened(samples, bits) if bits < 16 else samples  # in imagecodecs white is 2**bits - 1
    except (*FAILURES, codecs.JpegxlError) as error:
        raise _failed(data, name, error) from error
    pixels = _plain(samples, name)
    metadata, lost = _metadata(blocks, size=(pixels.shape[1], pixels.shape[0]))
    notes = [f"{name} has several frames; only the first is read"] if told["have_animation"] else []
    notes += [f"{name}: left out {what}" for what in (*lost, *too_long, *_unknown_boxes(data))]
    if metadata.icc is not None and (cicp := cicp_of_profile(metadata.icc)):
        signal, note = signal_of_cicp(*cicp, grey=pixels.shape[2] < 3)
        if signal and signal.is_hdr:
            metadata = replace(metadata, icc=None, signal=signal)
        notes += [f"{name} tells its {note}"] if note else []
    if metadata.icc is not None:
        pixels, icc, more = fitting(pixels, metadata.icc, name)
        metadata, notes = replace(metadata, icc=icc), notes + more
    return Picture(pixels=pixels, metadata=metadata, format="jxl", notes=tuple(notes))


def jxl_size(data: bytes, name: str) -> tuple[int, int]:
    """Width and height, upright, without decoding. Raises the errors of `read_image`."""
    told = _told(data, name)
    return told["width"], told["height"]


def jxl_samples(data: bytes, name: str) -> tuple[int, int]:
    """Number of channels and bytes per sample, from the header. Raises the errors of `read_image`."""
    told = _told(data, name)
    return told["channels"], 1 if told["bits_per_sample"] <= 8 else 2


def encode_jxl(pixels: NDArray[Any], metadata: Metadata, *, exif: bytes | None, quality: int) -> bytes:
    """Encode a JPEG XL file.

    Args:
        pixels: [H, W, 1 to 4] uint8 or uint16; with a profile uint8 of 1, 3 or 4 channels.
        metadata: its ICC and XMP are written unchanged.
        exif: the EXIF block without its prefix.
        quality: from 1 to 100; 100 is lossless.

    Raises:
        MissingExtraError: if the libraries are not installed.
        ImageWriteError: if the encoder fails.
    """
    pylibjxl, codecs = library("pylibjxl", "writing JPEG XL"), library("imagecodecs", "writing JPEG XL")
    lossless, distance = quality == 100, distance_of(quality)
    samples = np.ascontiguousarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    try:
        if metadata.icc:
            how: dict[str, Any] = {"lossless": lossless, "distance": distance, "icc": without_padding(metadata.icc)}
            blob = bytes(pylibjxl.encode(samples, **how))
        else:
            how = {"lossless": True} if lossless else {"distance": distance}
            blob = bytes(codecs.jpegxl_encode(samples, usecontainer=True, **how))
    except (*FAILURES, codecs.JpegxlError) as error:
        raise ImageWriteError(f"cannot encode {pixels.shape[1]} x {pixels.shape[0]} as jxl: {error}") from error
    blocks = ((b"Exif", exif and bytes(4) + exif), (b"xml ", metadata.xmp))
    if any(body for _, body in blocks) and not blob.startswith(CONTAINER):
        blob = CONTAINER + _box(b"ftyp", b"jxl \0\0\0\0jxl ") + _box(b"jxlc", blob)
    return blob + b"".join(_box(kind, body) for kind, body in blocks if body)


def distance_of(quality: int) -> float:
    """The distance of libjxl's tools for a quality (`JxlEncoderDistanceFromQuality`)."""
    if quality >= 100:
        return 0.0
    if quality >= 30:
        return 0.1 + (100 - quality) * 0.09
    return 53 / 3000 * quality**2 - 23 / 20 * quality + 25


def cicp_of_profile(icc: bytes) -> tuple[int, int] | None:
    """The code points in a profile of version 4.4 (ICC.1:2022, 10.3)."""
    body = tags_of_profile(icc).get(b"cicp", b"")
    return (body[8], body[9]) if len(body) >= 12 else None


def _told(data: bytes, name: str) -> dict[str, Any]:
    pylibjxl = library("pylibjxl", f"reading {name} (JPEG XL)")
    try:
        told: dict[str, Any] = pylibjxl.probe(data)
    except FAILURES as error:
        raise _failed(data, name, error) from error
    return told


def _failed(data: bytes, name: str, error: Exception) -> ImageReadError:
    said = " ".join(str(error).split()) or "it is damaged"
    if data.startswith(CONTAINER) and ends_early(data):
        return TruncatedImageError(f"{name} is truncated or damaged ({said}); too much of it is missing")
    return ImageReadError(f"cannot decode {name}: {said}")


def _plain(samples: NDArray[Any], name: str) -> Pixels:
    pixels: NDArray[Any] = np.array(samples if samples.ndim == 3 else samples[..., None])
    if pixels.ndim != 3 or pixels.dtype not in (np.uint8, np.uint16) or pixels.shape[2] > 4:
        raise ImageReadError(
            f"{name} has {pixels.shape[-1]} channels of {pixels.dtype}: grey or RGB, with or without alpha, is read"
        )
    return pixels


def _metadata(blocks: dict[str, bytes], *, size: tuple[int, int]) -> tuple[Metadata, list[str]]:
    metadata, lost = metadata_of_blocks(
        icc=blocks.get("icc"), exif=blocks.get("exif"), xmp=blocks.get("xmp"), size=size
    )
    lost += ["JUMBF boxes"] if blocks.get("jumbf") else []
    return metadata, lost


def _unknown_boxes(data: bytes) -> list[str]:
    if not data.startswith(CONTAINER):
        return []
    unknown = {kind.decode("ascii", "replace"): None for kind, _, _ in boxes_of(data) if kind not in BOXES}
    unknown.pop("jumb", None)
    return [f"boxes of kinds that are not known here ({', '.join(unknown)})"] if unknown else []


def with_boxes_unpacked(data: bytes) -> tuple[bytes, list[str]]:
    """Unpack the compressed boxes of a file, because libjxl unpacks boxes of any length (ISO/IEC 18181-2, 9.3: `brob`).

    Args:
        data: the whole file.

    Returns:
        The file with unpacked boxes, and notes about boxes that were left out: damaged boxes, those beyond
        `MAX_UNPACKED_BYTES` or `MAX_PACKED_BOXES`, and all compressed boxes after the first of these.
    """
    found = list(boxes_of(data)) if data.startswith(CONTAINER) else []
    if not any(kind == b"brob" for kind, _, _ in found):
        return data, []
    codecs = library("imagecodecs", "reading JPEG XL")
    parts, at, left, lost, count = list[bytes](), 0, MAX_UNPACKED_BYTES, 0, 0
    for kind, start, end in found:
        if kind == b"brob":
            count += 1
            body = b""
            if not lost and count <= MAX_PACKED_BOXES:
                with suppress(codecs.BrotliError):
                    body = codecs.brotli_decode(data[start + 4 : end], out=left)
            left -= len(body)
            lost += not body
            parts += [_box(data[start : start + 4], body)] if body else []
        else:
            parts.append(data[at:end])
        at = end
    told = f"{lost} box(es) that are damaged or hold more than {MAX_UNPACKED_BYTES // 2**20} MiB once unpacked"
    return b"".join((*parts, data[at:])), [told] if lost else []


def _box(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body) + 8) + kind + body
