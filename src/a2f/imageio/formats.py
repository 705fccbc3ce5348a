"""The file formats and the properties that each can store."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from a2f.errors import Hint, LossyFormatError, UsageError, did_you_mean
from a2f.imageio.colour import is_matrix_profile, without_padding
from a2f.imageio.extras import check_extra
from a2f.imageio.picture import Metadata, Picture, Pixels
from a2f.imageio.tiff import names_of_descriptive
from a2f.imageio.tiff_tags import names_of


@dataclass(frozen=True, kw_only=True)
class Format:
    """One file format.

    Attributes:
        name: canonical name.
        suffixes: suffixes of its files, the usual one first.
        alpha: whether it can store transparency.
        soft: whether it can store partial transparency.
        data_band: whether it can store a data channel after the colours that is not alpha.
        bits: largest number of bits per channel.
        floats: whether it can store floating-point values, including values brighter than white.
        icc: whether it can store a colour profile.
        deep_icc: whether it can store one with more than 8 bits per channel, or with grey and alpha.
        cicp: whether it can store code points (ITU-T H.273), which mark HDR pictures.
        grey: whether it can store grey without converting it to RGB.
        metadata: which of "exif", "xmp" and "iptc" it can store.
        dpi: whether it can store a resolution.
        also: other properties that it can store: pixel "aspect", "comments", "gain map", "tags" of TIFF, "texts" of
            PNG.
        encoding: memory for encoding, including the file, in bytes per byte of pixels; measured.
        quality: default quality from 1 to 100 of a lossy format; None for a lossless one.
        lossless: whether a lossy format is lossless at quality 100.
        vips: suffix for libvips; None if another library or code here writes it.
        extra: whether it needs a library of the extra `formats`.
        moves: whether it can store animations.
        colours: largest number of different colours in a file; None for no limit.
        max_side: largest width or height, pixels.
    """

    name: str
    suffixes: tuple[str, ...]
    alpha: bool
    bits: int = 8
    floats: bool = False
    soft: bool = True
    data_band: bool = False
    icc: bool = True
    deep_icc: bool = True
    cicp: bool = False
    grey: bool = True
    metadata: tuple[str, ...] = ("exif", "xmp")
    dpi: bool = True
    also: tuple[str, ...] = ()
    encoding: float = 2.5
    quality: int | None = None
    lossless: bool = False
    vips: str | None = None
    extra: bool = False
    moves: bool = False
    colours: int | None = None
    max_side: int = 2**31 - 1

    @property
    def deep(self) -> bool:
        """Whether it can store more than 8 bits per channel."""
        return self.bits > 8


_ALL = (
    Format(name="jpeg", suffixes=(".jpg", ".jpeg", ".jpe", ".jfif"), alpha=False, quality=92, vips=".jpg",
           max_side=65535, metadata=("exif", "xmp", "iptc"), also=("aspect", "comments", "gain map"), encoding=5),
    Format(name="png", suffixes=(".png",), alpha=True, bits=16, cicp=True, also=("aspect", "texts"), vips=".png",
           moves=True),
    Format(name="webp", suffixes=(".webp",), alpha=True, grey=False, quality=90, lossless=True, vips=".webp",
           max_side=16383, moves=True, encoding=4.5),
    Format(name="tiff", suffixes=(".tif", ".tiff"), alpha=True, bits=16, floats=True, data_band=True, vips=".tif",
           metadata=("exif", "xmp", "iptc"), also=("aspect", "tags")),
    Format(name="bmp", suffixes=(".bmp",), alpha=True, icc=False, max_side=32767, metadata=(), encoding=3.7),
    Format(name="gif", suffixes=(".gif",), alpha=True, soft=False, icc=False, grey=False, vips=".gif", moves=True,
           colours=256, max_side=65535, metadata=(), dpi=False, encoding=5.2),
    Format(name="ppm", suffixes=(".ppm", ".pgm", ".pnm"), alpha=False, bits=16, icc=False, metadata=(), dpi=False,
           encoding=3.2),
    Format(name="avif", suffixes=(".avif",), alpha=True, bits=12, grey=False, cicp=True, quality=80, vips=".avif",
           max_side=16384, moves=True, encoding=14),
    Format(name="heic", suffixes=(".heic", ".heif", ".hif"), alpha=True, bits=10, cicp=True, quality=80, extra=True,
           max_side=16384, encoding=14),
    Format(name="jxl", suffixes=(".jxl",), alpha=True, bits=16, deep_icc=False, quality=90, lossless=True, extra=True,
           encoding=14),
    Format(name="exr", suffixes=(".exr",), alpha=True, bits=16, floats=True, icc=False, extra=True, metadata=(),
           dpi=False, encoding=12),
    Format(name="tga", suffixes=(".tga",), alpha=True, icc=False, max_side=65535, metadata=(), dpi=False, encoding=3.5),
    Format(name="dds", suffixes=(".dds",), alpha=True, icc=False, max_side=65535, metadata=(), dpi=False, encoding=4.5),
)  # fmt: skip
FORMATS = {entry.name: entry for entry in _ALL}
_BY_SUFFIX = {suffix: entry.name for entry in _ALL for suffix in entry.suffixes}
MAX_JPEG_PROFILE = 255 * (65535 - 2 - 14)  # in 255 segments, each with a length, a name, a number and their count
MAX_SAMPLE = 10_000  # pixels
ACCEPT_LOSS_HINT = Hint(text="accept the loss with {option}", option="force", value=True)


def format_of_suffix(suffix: str) -> str:
    """The format for a file suffix or a format name, e.g. ".JPG", "jpg" or "jpeg".

    Raises:
        UsageError: for an unknown suffix.
    """
    key = suffix.lower()
    if key in FORMATS:
        return key
    name = _BY_SUFFIX.get(key if key.startswith(".") else f".{key}")
    if name is None:
        known = ", ".join("jpg" if name == "jpeg" else name for name in FORMATS)
        hint = did_you_mean(key.removeprefix("."), [suffix[1:] for suffix in _BY_SUFFIX])
        raise UsageError(f"unknown image format {suffix!r}{hint}: choose one of {known}")
    return name


def image_suffixes() -> tuple[str, ...]:
    """The suffixes of all known formats, e.g. ".png"."""
    return tuple(_BY_SUFFIX)


def is_image_name(path: Path) -> bool:
    """Whether a file's suffix is that of a known format."""
    return path.suffix.lower() in _BY_SUFFIX


def check_format(picture: Picture, format: str, *, force: bool = False, strip: bool = False, factor: float = 1) -> None:
    """Check that a format can store a picture.

    Args:
        picture: the picture to write.
        format: name of the format.
        force: accept the loss of transparency, bit depth and metadata.
        strip: whether metadata is left out.
        factor: factor by which the picture will be enlarged.

    Raises:
        LossyFormatError: if it would lose (partial) transparency, a data channel or bit depth, or if EXIF, XMP or IPTC
            is too long for JPEG. Even with `force`, if floating-point values have a profile with tables and the format
            cannot store it.
        UsageError: if the sides are too long for the format.
        MissingExtraError: if a library for the format is not installed.
    """
    _check_possible(picture, format, factor=factor)
    if not force:
        _refuse(_losses(picture, format, strip=strip))


def _losses(picture: Picture, format: str, *, strip: bool) -> Iterator[LossyFormatError]:
    """An error for each property of a picture that a format cannot store."""
    holds = FORMATS[format]
    if not holds.alpha and picture.is_transparent:
        hint = Hint(text="choose png, webp or tiff")
        yield LossyFormatError(f"{format} cannot hold transparency", hint, ACCEPT_LOSS_HINT, loses=("transparency",))
    if holds.alpha and not holds.soft and picture.has_degrees:
        yield LossyFormatError(
            f"{format} cannot store partial transparency",
            Hint(text="choose png, webp or tiff"),
            ACCEPT_LOSS_HINT,
            loses=("partial-transparency",),
        )
    if picture.data_band and not holds.data_band:
        yield LossyFormatError(
            f"{format} has no place for the channel of data behind the colours (an extra sample that is not alpha)",
            Hint(text="choose tiff"),
            Hint(text="leave it out with {option}", option="force", value=True),
            loses=("data-channel",),
        )
    yield from _lost_values(picture, holds, strip=strip)
    if format == "jpeg" and not strip:
        yield from _too_long_for_jpeg(picture.metadata)


def _lost_values(picture: Picture, holds: Format, *, strip: bool) -> Iterator[LossyFormatError]:
    """Errors for HDR colours, bit depth and floating-point values that would be lost."""
    if picture.metadata.signal and picture.metadata.signal.is_hdr and (strip or not holds.cicp):
        without = "a file without metadata" if strip and holds.cicp else holds.name
        yield LossyFormatError(
            f"{without} cannot say that the colours are HDR (PQ or HLG)",
            Hint(text="choose png, avif or heic with their metadata"),
            Hint(text="accept sRGB and clipped highlights with {option}", option="force", value=True),
            loses=("hdr",),
        )
    light = picture.light
    if not holds.deep and picture.is_deep and light is None:
        hint = Hint(text="choose png or tiff")
        yield LossyFormatError(
            f"{holds.name} cannot hold 16 bits a channel", hint, ACCEPT_LOSS_HINT, loses=("bit-depth",)
        )
    if light is not None and not holds.floats:
        yield LossyFormatError(
            f"{holds.name} cannot hold floating-point values (here from {light.low:g} to {light.high:g}, white is 1)",
            Hint(text="choose tiff or exr"),
            Hint(text="accept integers, clipped to black and white, with {option}", option="force", value=True),
            loses=("floating-point",),
        )


def check_conversion(
    picture: Picture, format: str, *, force: bool = False, strip: bool = False, factor: float = 1
) -> None:
    """Check that a format can store a picture as it was read, with all frames and all colours.

    The error lists these losses together with those of `check_format`.

    Args:
        picture: the picture to convert, as it was read.
        format: name of the format of the result.
        force: accept the loss of transparency, bit depth, metadata, frames and colours.
        strip: whether metadata is left out.
        factor: factor by which the picture will be enlarged.

    Raises:
        LossyFormatError: all reasons of `check_format`; also if another format than that of the picture cannot store
            animations, or not the colours of the picture.
        UsageError: if the sides are too long for the format.
        MissingExtraError: if a library for the format is not installed.
    """
    _check_possible(picture, format, factor=factor)
    if not force:
        _refuse(chain(_losses(picture, format, strip=strip), _lost_by_conversion(picture, format)))


def _check_possible(picture: Picture, format: str, *, factor: float) -> None:
    """Raise an error for what no option makes possible: a missing library, a profile with tables, sides too long."""
    holds = FORMATS[format]
    check_extra(format)
    if picture.light and holds.floats and not holds.icc and picture.metadata.icc:
        _check_matrix(picture.metadata.icc, format)
    if max(picture.size) * factor > holds.max_side:
        raise UsageError(f"{format} allows at most {holds.max_side} pixels per side: choose another format")


def _refuse(losses: Iterable[LossyFormatError]) -> None:
    """Raise the first of these errors, if there are any, with what all of them would lose."""
    if told := list(losses):
        loses = tuple(dict.fromkeys(loss for error in told for loss in error.loses))
        raise LossyFormatError(told[0].message, *told[0].hints, loses=loses)


def _lost_by_conversion(picture: Picture, format: str) -> Iterator[LossyFormatError]:
    """Errors for frames and colours that would be lost in another format than that of the picture."""
    holds = FORMATS[format]
    if picture.format == format:
        return
    if picture.animation is not None and not holds.moves:
        yield LossyFormatError(
            f"{format} cannot store animations",
            Hint(text="choose gif, png, webp or avif"),
            Hint(text="enlarge only the first frame with {option}", option="force", value=True),
            loses=("animation",),
        )
    if holds.colours is not None and _has_more_colours(picture.pixels, holds.colours):
        yield LossyFormatError(
            f"{format} can store only {holds.colours} colours",
            Hint(text="choose png or webp"),
            ACCEPT_LOSS_HINT,
            loses=("colours",),
        )


def _has_more_colours(pixels: Pixels, most: int) -> bool:
    """Whether pixels [H, W, C] have more than `most` different colours, alpha aside."""
    colours = pixels.shape[2] - (pixels.shape[2] in (2, 4))
    flat = pixels[..., :colours].reshape(-1, colours)
    sample = flat[:: max(1, len(flat) // MAX_SAMPLE)]  # enough for nearly all photos
    return any(len(np.unique(part, axis=0)) > most for part in (sample, flat))


def _too_long_for_jpeg(metadata: Metadata) -> Iterator[LossyFormatError]:
    """Errors for metadata and a colour profile that do not fit into a JPEG."""
    for what, block in (("EXIF", metadata.exif), ("XMP", metadata.xmp), ("IPTC", metadata.iptc)):
        if not fits_jpeg(block):
            yield LossyFormatError(
                f"jpeg cannot hold {len(block or b''):,} bytes of {what}",
                Hint(text="choose another format"),
                Hint(text="leave them out with {option}", option="force", value=True),
                Hint(text="leave out all metadata with {option}", option="strip", value=True),
                loses=("metadata",),
            )
    if metadata.icc and is_long_profile(metadata.icc, FORMATS["jpeg"]):
        yield LossyFormatError(
            f"jpeg cannot hold a colour profile of {len(metadata.icc):,} bytes",
            Hint(text="choose another format"),
            Hint(text="convert the colours to sRGB with {option}", option="force", value=True),
            loses=("colour-profile",),
        )


def _check_matrix(icc: bytes, format: str) -> None:
    """Raise an error, even with `force`, for a profile whose values cannot be converted to linear light by curves."""
    if not is_matrix_profile(icc):
        raise LossyFormatError(
            f"{format} cannot hold a colour profile, and this one, which has tables, is not converted for "
            "floating-point values: choose tiff",
            loses=("colour-profile",),
        )


def left_out_note(picture: Picture, format: str, *, strip: bool = False) -> list[str]:
    """Notes about metadata that a format cannot store, and about a gain map.

    Args:
        picture: the picture to write.
        format: name of the format.
        strip: whether metadata is left out.
    """
    if picture.gain_map and "gain map" in FORMATS[format].also and not strip:
        return ["the HDR gain map is kept, and enlarged like the picture"]
    gain_map = ["the HDR gain map (the result is the SDR picture)"] if picture.gain_map else []
    notes, holds = list[str](), FORMATS[format]
    if picture.is_deep and picture.light is None and holds.bits in (10, 12) and picture.format not in ("avif", "heic"):
        notes.append(f"{format} holds {holds.bits} bits a channel: the picture is rounded to them")
    notes += _clipped(picture, holds, strip=strip)
    if picture.light and holds.floats and not holds.icc and picture.metadata.icc:
        kept = "" if picture.pixels.shape[2] < 3 else ", and the primaries of the profile are kept"
        notes.append(f"{format} holds no colour profile: the values become linear light{kept}")
    if strip:
        return notes + [f"{what} goes with the metadata: left out" for what in gain_map]
    if picture.metadata.profile and holds.icc and not holds.deep_icc and profile_is_lost(picture.pixels, holds):
        notes.append(f"{format} holds a colour profile with 8 bits a channel only: the colours are converted to sRGB")
    if picture.metadata.profile and is_long_profile(picture.metadata.profile, holds):
        notes.append(f"{format} cannot hold a colour profile of this length: the colours are converted to sRGB")
    lost = [*_metadata_left_out(picture.metadata, format, given=picture.format), *gain_map]
    if picture.light and picture.light.attributes and format != "exr":
        usual = {"pixelAspectRatio", "screenWindowCenter", "screenWindowWidth"}
        named = [name for name, _ in picture.light.attributes if name not in usual]
        lost += [f"EXR attributes ({', '.join(named)})"] if named else []
    return notes + ([f"{format} has no place for {' and '.join(lost)}: left out"] if lost else [])


def _clipped(picture: Picture, holds: Format, *, strip: bool) -> list[str]:
    """Notes about clipped light, which `check_format` allows only with `force`."""
    light, signal = picture.light, picture.metadata.signal
    if light is not None and not holds.floats and (light.low < 0 or light.high > 1):
        return [f"{holds.name} holds values from 0 to 1: those here, from {light.low:g} to {light.high:g}, are clipped"]
    if signal and signal.is_hdr and (strip or not holds.cicp):
        return ["the HDR colours (PQ or HLG) are converted to sRGB: the highlights are clipped"]
    return []


def profile_is_lost(pixels: NDArray[Any], holds: Format) -> bool:
    """Whether a format cannot store a colour profile with pixels [H, W, C] of this kind."""
    return not holds.icc or (not holds.deep_icc and (pixels.dtype != np.uint8 or pixels.shape[2] == 2))


def is_long_profile(icc: bytes, holds: Format) -> bool:
    """Whether a format cannot store a colour profile of this length."""
    return holds.name == "jpeg" and len(without_padding(icc)) > MAX_JPEG_PROFILE


def _metadata_left_out(metadata: Metadata, format: str, *, given: str) -> list[str]:
    holds = FORMATS[format]
    lost = [k.upper() for k in ("exif", "xmp", "iptc") if getattr(metadata, k) and k not in holds.metadata]
    if given == "tiff" and lost[:1] == ["EXIF"] and (names := names_of_descriptive(metadata.exif or b"")):
        lost[0] = f"TIFF tags ({', '.join(names)})"  # a TIFF has these tags without EXIF
    if metadata.texts and "texts" not in holds.also:
        texts = [whole for whole in metadata.texts if whole[4:8] != b"bKGD"]
        keywords = dict.fromkeys(whole[8:].partition(b"\0")[0].decode("latin-1") for whole in texts)
        lost += [f"PNG texts ({', '.join(keywords)})"] if texts else []
    if metadata.comments and "comments" not in holds.also:
        lost.append("JPEG comments")
    if metadata.tags and "tags" not in holds.also:
        lost += names_of(metadata.tags)
    if metadata.dpi and not holds.dpi:
        lost.append(f"the resolution ({metadata.dpi[0]:g} x {metadata.dpi[1]:g} pixels per inch)")
    if metadata.aspect and "aspect" not in holds.also:
        lost.append(f"the shape of the pixels (resolutions {metadata.aspect[0]:g} : {metadata.aspect[1]:g})")
    return lost


def fits_jpeg(block: bytes | None) -> bool:
    """Whether a metadata block fits into one JPEG segment: 65535 bytes with the length and the prefix of XMP."""
    return len(block or b"") <= 65535 - 2 - 29
