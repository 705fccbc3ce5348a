"""Read and write JPEG XL files with libjxl.

Two bindings are used: pylibjxl reads the header and keeps profile, EXIF and XMP, but supports only 8 bits; imagecodecs
reads samples of other bit depths and single frames. The rest is read from the codestream (jxl_codestream.py).
"""

import struct
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from a2f.errors import ImageReadError, ImageWriteError, TruncatedImageError
from a2f.imageio.colour import (
    LINEAR,
    PRIMARIES,
    SRGB,
    TRANSFERS,
    fitting,
    profile_of,
    signal_of_cicp,
    tags_of_profile,
    to_srgb,
    widened,
    without_padding,
    without_premultiplied,
)
from a2f.imageio.described import metadata_of_blocks
from a2f.imageio.extras import library
from a2f.imageio.heif_boxes import boxes_of, ends_early
from a2f.imageio.jxl_codestream import ALPHA, BLACK, CONTAINER, ENUM, SPOT, Codestream, codestream_header
from a2f.imageio.light import srgb_to_light
from a2f.imageio.limits import check_size
from a2f.imageio.picture import Metadata, Picture, Pixels

BOXES = {b"JXL ", b"ftyp", b"jxll", b"jxlc", b"jxlp", b"Exif", b"xml ", b"brob", b"jbrd", b"jxli"}  # ISO/IEC 18181-2
FAILURES = (ValueError, OSError, RuntimeError, MemoryError)
# Limit of all Brotli boxes together, unpacked; Brotli can compress by a factor of a million.
MAX_UNPACKED_BYTES = 16 * 2**20
MAX_PACKED_BOXES = 64
CALLED = {1: "depth", 3: "a selection", 5: "a mosaic", 6: "thermal"}  # others are not known here


def read_jxl(data: bytes, name: str, *, max_pixels: int | None = None, allow_truncated: bool = False) -> Picture:
    """Decode a JPEG XL file, upright. Raises the errors of `read_image`."""
    told = _told(data, name)
    check_size(told["width"], told["height"], name, max_pixels)
    if told["exponent_bits_per_sample"]:
        raise ImageReadError(f"{name} is JPEG XL in floating point, which is not read: convert it to EXR or TIFF first")
    header = codestream_header(data, name)
    if BLACK in header.channels:
        raise ImageReadError(f"{name} is JPEG XL in CMYK, which is not read: convert it to RGB first")
    data, too_long = with_boxes_unpacked(data)
    samples, blocks = _decoded(data, told, name)
    pixels = _plain(samples, name)
    if header.premultiplied and pixels.shape[2] in (2, 4):
        pixels = without_premultiplied(pixels)
    metadata, lost = _metadata(blocks, size=(pixels.shape[1], pixels.shape[0]))
    notes = [f"{name} has several frames; only the first is read"] if told["have_animation"] else []
    others = dict.fromkeys(CALLED.get(kind, "unknown") for kind in header.channels if kind not in (ALPHA, SPOT))
    lost += [f"further channels ({', '.join(others)})"] if others else []
    notes += [f"{name}: left out {what}" for what in (*lost, *too_long, *_unknown_boxes(data))]
    pixels, metadata, more = _with_colours(pixels, metadata, header, name)
    return Picture(pixels=pixels, metadata=metadata, format="jxl", notes=(*notes, *more))


def _decoded(data: bytes, told: dict[str, Any], name: str) -> tuple[NDArray[Any], dict[str, bytes]]:
    """The samples of the first frame, and the metadata."""
    pylibjxl, codecs = library("pylibjxl", "reading JPEG XL"), library("imagecodecs", "reading JPEG XL")
    bits, moves = told["bits_per_sample"], told["have_animation"]
    try:
        samples, blocks = pylibjxl.decode(data, metadata=True)
        if bits != 8 or told["channels"] == 2 or moves:  # pylibjxl returns the last frame
            samples = codecs.jpegxl_decode(data, index=0 if moves else None)
            samples = widened(samples, bits) if bits < 16 else samples  # in imagecodecs white is 2**bits - 1
    except (*FAILURES, codecs.JpegxlError) as error:
        raise _failed(data, name, error) from error
    return samples, blocks


def _with_colours(
    pixels: Pixels, metadata: Metadata, header: Codestream, name: str
) -> tuple[Pixels, Metadata, list[str]]:
    """The pixels and metadata with the colours of the file, and notes."""
    grey = pixels.shape[2] < 3
    if header.has_profile and header.converted:
        # libjxl does not apply a profile to XYB: it returns linear light with the primaries of sRGB.
        linear = profile_of(PRIMARIES[1], TRANSFERS[LINEAR], grey=grey)
        pixels, metadata = to_srgb(pixels, Metadata(icc=linear)), replace(metadata, icc=None)
        told = f"{name} is lossy JPEG XL with a colour profile, which its decoder does not apply"
        return pixels, metadata, [f"{told}: converted to sRGB, colours outside sRGB are clipped"]
    icc, notes = metadata.icc or header.profile, list[str]()
    cicp = cicp_of_profile(icc) if icc else header.cicp
    if cicp is not None:
        signal, note = signal_of_cicp(*cicp, grey=grey)
        if signal and (signal.is_hdr or icc is None):
            icc, metadata = None, replace(metadata, signal=signal)
        notes += [f"{name} tells its {note}"] if note else []
    if icc is not None:
        pixels, icc, notes_of_profile = fitting(pixels, icc, name)
        notes += notes_of_profile
    return pixels, replace(metadata, icc=icc), notes


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
            deep = pixels.dtype == np.uint16
            given = samples if lossless or not deep else _linear(samples)
            blob = bytes(codecs.jpegxl_encode(given, usecontainer=True, **how))
            blob = _with_curve_of_srgb(blob) if deep else blob
    except (*FAILURES, codecs.JpegxlError) as error:
        raise ImageWriteError(f"cannot encode {pixels.shape[1]} x {pixels.shape[0]} as jxl: {error}") from error
    blocks = ((b"Exif", exif and bytes(4) + exif), (b"xml ", metadata.xmp))
    if any(body for _, body in blocks) and not blob.startswith(CONTAINER):
        blob = CONTAINER + _box(b"ftyp", b"jxl \0\0\0\0jxl ") + _box(b"jxlc", blob)
    return blob + b"".join(_box(kind, body) for kind, body in blocks if body)


def _linear(samples: NDArray[Any]) -> NDArray[Any]:
    """Linear light of sRGB values [H, W] or [H, W, C] uint16; alpha is unchanged."""
    colours = samples.shape[2] - (samples.shape[2] in (2, 4)) if samples.ndim == 3 else None
    whole = samples if samples.ndim == 3 else samples[..., None]
    light = np.rint(srgb_to_light(whole[..., :colours]) * 65535).astype(np.uint16)
    made = np.concatenate([light, whole[..., light.shape[2] :]], axis=2)
    return np.ascontiguousarray(made.reshape(samples.shape))


def _with_curve_of_srgb(blob: bytes) -> bytes:
    """Set the curve of sRGB in a file of 16 bits, which imagecodecs always marks as linear light.

    A lossy file stores XYB, which the encoder made of linear light; the curve is that of the decoded pixels.
    """
    header = codestream_header(blob, "the result")
    start = next((a for kind, a, _ in boxes_of(blob) if kind == b"jxlc"), 0) if blob.startswith(CONTAINER) else 0
    if header.cicp != (1, LINEAR) or header.curve_at is None:
        raise ImageWriteError(f"cannot encode as jxl: this imagecodecs marks colours as {header.cicp}, not as linear")
    out, value = bytearray(blob), SRGB - ENUM[2][1]
    for place in range(ENUM[2][0]):  # after the prefix of two bits, which stays
        at = 8 * start + header.curve_at + 2 + place
        out[at >> 3] = out[at >> 3] & ~(1 << (at & 7)) | (value >> place & 1) << (at & 7)
    return bytes(out)


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
