"""Read and write JPEG XL files with libjxl.

Two bindings are used: pylibjxl reads the header and keeps profile, EXIF and XMP, but supports only 8 bits; imagecodecs
reads samples of other bit depths and single frames. Neither tells the colours of a file without a profile, whether
colours are premultiplied, and the kinds of further channels, so these are read from the codestream here.
"""

import struct
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from a2f.errors import ImageReadError, ImageWriteError, TruncatedImageError
from a2f.imageio.colour import (
    D65_XY,
    DCI_XY,
    HLG,
    LINEAR,
    PQ,
    PRIMARIES,
    SRGB,
    TRANSFERS,
    Curve,
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
from a2f.imageio.light import srgb_to_light
from a2f.imageio.limits import check_size
from a2f.imageio.picture import Metadata, Picture, Pixels

CONTAINER = b"\0\0\0\x0cJXL \r\n\x87\n"
BOXES = {b"JXL ", b"ftyp", b"jxll", b"jxlc", b"jxlp", b"Exif", b"xml ", b"brob", b"jbrd", b"jxli"}  # ISO/IEC 18181-2
FAILURES = (ValueError, OSError, RuntimeError, MemoryError)
# Limit of all Brotli boxes together, unpacked; Brotli can compress by a factor of a million.
MAX_UNPACKED_BYTES = 16 * 2**20
MAX_PACKED_BOXES = 64
# Numbers of variable length: for each of four prefixes the number of bits, and the number to add.
Choices = tuple[tuple[int, int], tuple[int, int], tuple[int, int], tuple[int, int]]
ENUM: Choices = ((0, 0), (0, 1), (4, 2), (6, 18))
SIDE: Choices = ((9, 1), (13, 1), (18, 1), (30, 1))
PREVIEW_EIGHTHS: Choices = ((0, 16), (0, 32), (5, 1), (9, 33))
PREVIEW_SIDE: Choices = ((6, 1), (8, 65), (10, 321), (12, 1345))
TICKS: tuple[Choices, ...] = (
    ((0, 100), (0, 1000), (10, 1), (30, 1)), ((0, 1), (0, 1001), (8, 1), (10, 1)), ((0, 0), (3, 0), (16, 0), (32, 0))
)  # fmt: skip
DEPTH: Choices = ((0, 8), (0, 10), (0, 12), (6, 1))
CHANNELS: Choices = ((0, 0), (0, 1), (4, 2), (12, 1))
SHIFT: Choices = ((0, 0), (0, 3), (0, 4), (3, 1))
NAME: Choices = ((0, 0), (4, 0), (5, 16), (10, 48))
MOSAIC: Choices = ((0, 1), (2, 0), (4, 3), (8, 19))
COORDINATE: Choices = ((19, 0), (19, 524288), (20, 1048576), (21, 2097152))
ALPHA, SPOT, BLACK, CFA = 0, 2, 4, 5
CALLED = {1: "depth", 3: "a selection", 5: "a mosaic", 6: "thermal"}  # others are not known here
GREY, XYB, CUSTOM = 1, 2, 2
WHITES = {1: D65_XY, 10: (1 / 3, 1 / 3), 11: DCI_XY}
CODE_POINTS = {(1, 1): 1, (1, 9): 9, (1, 11): 12, (11, 11): 11}  # white and primaries -> primaries of ITU-T H.273


@dataclass(frozen=True, kw_only=True)
class Codestream:
    """What the header of a codestream tells.

    Attributes:
        converted: whether the pixels are stored in XYB, so that the decoder converts them.
        has_profile: whether it has an ICC profile.
        cicp: code points of primaries and transfer (ITU-T H.273), if the colours have them.
        profile: a profile of the colours without code points.
        premultiplied: whether the colours are multiplied by alpha.
        channels: the types of the channels after the colours.
        curve_at: position of the code point of the transfer in the codestream, in bits; None if it has none.
    """

    converted: bool = True
    has_profile: bool = False
    cicp: tuple[int, int] | None = None
    profile: bytes | None = None
    premultiplied: bool = False
    channels: tuple[int, ...] = ()
    curve_at: int | None = None


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


@dataclass(kw_only=True)
class _Bits:
    """Reads bits, the lowest of a byte first; IndexError at the end."""

    data: bytes = field(repr=False)
    at: int = 0

    def take(self, count: int) -> int:
        """Read the next bits as a number."""
        value = 0
        for place in range(count):
            value |= (self.data[self.at >> 3] >> (self.at & 7) & 1) << place
            self.at += 1
        return value

    def choose(self, choices: Choices) -> int:
        """Read a number of variable length."""
        count, start = choices[self.take(2)]
        return self.take(count) + start


def codestream_header(data: bytes, name: str) -> Codestream:
    """Read the header of a codestream (ISO/IEC 18181-1, Annex D). Raises the errors of `read_image`."""
    bits = _Bits(data=_codestream_start(data)[2:])
    try:
        _skip_size(bits, SIDE, eighths=None)
        return Codestream(cicp=(1, 13)) if bits.take(1) else _header(bits, name)
    except IndexError as error:
        raise TruncatedImageError(f"{name} is truncated or damaged; too much of it is missing") from error


def _codestream_start(data: bytes) -> bytes:
    """The codestream, which may be in several boxes of a container."""
    if not data.startswith(CONTAINER):
        return data
    parts = ((kind, data[start:end]) for kind, start, end in boxes_of(data) if kind in (b"jxlc", b"jxlp"))
    return b"".join(body if kind == b"jxlc" else body[4:] for kind, body in parts)


def _header(bits: _Bits, name: str) -> Codestream:
    if bits.take(1):  # extra_fields
        bits.take(3)
        if bits.take(1):
            _skip_size(bits, SIDE, eighths=None)
        if bits.take(1):
            _skip_size(bits, PREVIEW_SIDE, eighths=PREVIEW_EIGHTHS)
        if bits.take(1):
            for choices in TICKS:
                bits.choose(choices)
            bits.take(1)
    _skip_depth(bits)
    bits.take(1)  # modular_16bit_buffers
    extra = [_extra_channel(bits) for _ in range(bits.choose(CHANNELS))]
    colours = Codestream(
        converted=bool(bits.take(1)),
        channels=tuple(kind for kind, _ in extra),
        premultiplied=any(associated for _, associated in extra),
    )
    if bits.take(1):  # all_default
        return replace(colours, cicp=(1, 13))
    if bits.take(1):  # want_icc
        return replace(colours, has_profile=True)
    return _with_told_colours(colours, bits, name)


def _skip_size(bits: _Bits, side: Choices, *, eighths: Choices | None) -> None:
    """Skip a size: the height, then the ratio or the width, in pixels or in units of 8 pixels."""
    small = bits.take(1)
    for is_width in (False, True):
        if is_width and bits.take(3):  # a ratio
            return
        if small and eighths is None:
            bits.take(5)
        else:
            bits.choose(eighths if small and eighths else side)


def _skip_depth(bits: _Bits) -> None:
    if bits.take(1):  # floating point
        bits.choose(((0, 32), (0, 16), (0, 24), (6, 1)))
        bits.take(4)
    else:
        bits.choose(DEPTH)


def _extra_channel(bits: _Bits) -> tuple[int, bool]:
    """The type of a channel after the colours, and whether it is an alpha that is multiplied into them."""
    if bits.take(1):
        return ALPHA, False
    kind, associated = bits.choose(ENUM), False
    _skip_depth(bits)
    bits.choose(SHIFT)
    bits.take(8 * bits.choose(NAME))
    if kind == ALPHA:
        associated = bool(bits.take(1))
    if kind == SPOT:
        bits.take(64)
    if kind == CFA:
        bits.choose(MOSAIC)
    return kind, associated


def _with_told_colours(header: Codestream, bits: _Bits, name: str) -> Codestream:
    """Add the colours of a file without a profile: their code points, or a profile that is made of them."""
    space = bits.choose(ENUM)
    if space == XYB:
        return header
    white_code = bits.choose(ENUM)
    white = _point(bits) if white_code == CUSTOM else WHITES.get(white_code, D65_XY)
    primaries, corners = 1, PRIMARIES[1][2:]
    if space != GREY:
        primaries = bits.choose(ENUM)
        named = PRIMARIES[CODE_POINTS.get((1, primaries), 1)][2:]
        corners = (*_point(bits), *_point(bits), *_point(bits)) if primaries == CUSTOM else named
    gamma = bits.take(24) if bits.take(1) else 0
    header = header if gamma else replace(header, curve_at=bits.at + 16)  # after the signature
    transfer = 0 if gamma else bits.choose(ENUM)
    code = CODE_POINTS.get((white_code, primaries)) if space != GREY else 1
    if code is not None and not gamma:
        return replace(header, cicp=(code, transfer))
    if transfer in (PQ, HLG):
        raise ImageReadError(f"{name} has HDR colours (PQ or HLG) with primaries of its own, which are not read")
    curve: Curve = (0, (10_000_000 / gamma,)) if gamma else TRANSFERS.get(transfer, TRANSFERS[13])
    return replace(header, profile=profile_of((*white, *corners), curve, grey=space == GREY))


def _point(bits: _Bits) -> tuple[float, float]:
    """The coordinates x and y of a colour, which are stored as millionths with the sign in the lowest bit."""
    x, y = (bits.choose(COORDINATE) for _ in range(2))
    return tuple((-(n + 1) // 2 if n & 1 else n // 2) / 1e6 for n in (x, y))  # type: ignore[return-value]


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
