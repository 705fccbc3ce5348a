"""Encode pictures and write them to files."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from a2f.errors import ImageWriteError, UsageError
from a2f.files import write_bytes_atomic
from a2f.imageio.colour import (
    LINEAR,
    PRIMARIES,
    SRGB_CURVE,
    TRANSFERS,
    Chromaticities,
    profile_of,
    to_srgb,
    without_padding,
)
from a2f.imageio.containers import with_blocks
from a2f.imageio.exif import MARK, plain_exif, updated_exif, with_resolution
from a2f.imageio.exr import exr_of
from a2f.imageio.forked import begin_vips
from a2f.imageio.formats import (
    FORMATS,
    Format,
    check_format,
    fits_jpeg,
    format_of_suffix,
    is_long_profile,
    profile_is_lost,
)
from a2f.imageio.gain_map import behind_bytes, is_adobe, with_gain_map, xmp_with_directory
from a2f.imageio.heic import encode_heic
from a2f.imageio.heif_boxes import with_nclx
from a2f.imageio.iptc import photoshop_of, records_of
from a2f.imageio.jxl import encode_jxl
from a2f.imageio.light import from_network, without_light
from a2f.imageio.picture import Animation, Metadata, Picture
from a2f.imageio.png_text import updated_texts
from a2f.imageio.stream import feed
from a2f.imageio.textures import encode_texture
from a2f.imageio.tiff import tiff_with_blocks, with_data_band, without_unit
from a2f.imageio.tiff_tags import updated_tags
from a2f.imageio.uncompressed import encode_bmp, encode_pnm, encode_pnm_bands
from a2f.imageio.xmp import updated_xmp

if TYPE_CHECKING:
    from pyvips import Image as VipsImage

# Optimised Huffman tables gain a few percent, but need the whole image in memory again: 6 bytes per pixel.
MAX_OPTIMISED = 8_000_000
# From this size of pixels on, a TIFF is a BigTIFF: a classic one ends at 4 GiB, and Deflate may not help.
BIGTIFF_FROM = 4_000_000_000
# Memory per value of a floating-point picture: values, a copy and the file; measured.
LIGHT_BYTES = 24
# The metadata that libvips writes, as bits of VipsForeignKeep.
KEEP_ALL, KEEP_ALL_BUT_EXIF = 31, 30


def write_image(
    picture: Picture,
    path: Path | str,
    *,
    format: str | None = None,
    quality: int | None = None,
    strip: bool = False,
    force: bool = False,
    replace_existing: bool = True,
) -> None:
    """Write a picture to a file, atomically (`write_bytes_atomic`).

    Args:
        picture: the picture to write.
        path: the file to write.
        format: name of the format; by default from the suffix.
        quality: from 1 to 100, for lossy formats; None: the default of `encode_image`.
        strip: leave out all metadata.
        force: accept that the format loses transparency, bit depth or long metadata.
        replace_existing: replace an existing file.

    Raises:
        WriteError: if the file cannot be written.
        ImageWriteError, LossyFormatError, UsageError: all errors of `encode_image`.
    """
    chosen = format_of_suffix(format or Path(path).suffix)
    data = encode_image(picture, format=chosen, quality=quality, strip=strip, force=force)
    write_bytes_atomic(path, data, replace=replace_existing)


def encode_image(
    picture: Picture, *, format: str, quality: int | None = None, strip: bool = False, force: bool = False
) -> bytes:
    """Encode a picture.

    JPEG, AVIF and HEIC have full chroma resolution (4:4:4) from quality 90 up. WebP and JPEG XL are lossless at quality
    100; WebP is lossless by default if the picture was read from a lossless WebP. TIFF has Deflate compression. TIFF
    and EXR store floating-point pictures as floating point.

    Args:
        picture: the picture to encode.
        format: name of the format.
        quality: from 1 to 100, for JPEG (default 92), WebP and JPEG XL (90), AVIF and HEIC (80).
        strip: leave out all metadata. Readers then assume sRGB, so a picture with a profile is converted first, as for
            a format without profiles.
        force: accept the limits of the format: transparency is blended with white, 16 bits become 8, and EXIF, XMP and
            IPTC that are too long for JPEG are left out.

    Returns:
        The bytes of the file.

    Raises:
        LossyFormatError: if the format would lose transparency, bit depth or metadata and `force` is not set.
        UsageError: for an unknown format or quality.
        ImageWriteError: if the encoder fails.
    """
    format = _checked(picture, format, quality=quality, strip=strip, force=force)
    if format == "exr":
        return exr_of(picture, strip=strip)
    if picture.light is not None and not FORMATS[format].floats:
        picture = without_light(picture)
    pixels, metadata = _fitted(picture, FORMATS[format], strip=strip)
    final = _quality(picture, format, quality)
    if FORMATS[format].vips is None:
        return _encode_other(pixels, metadata, format, final)
    deep = pixels.dtype != np.uint8
    metadata, map_data = _gain_map(picture, metadata, format, final, strip=strip)
    return _finished(_encode_vips(_vips_image(pixels), metadata, format, final, deep=deep), picture, format, map_data)


def encode_bands(
    picture: Picture,
    bands: Iterator[NDArray[Any]],
    *,
    size: tuple[int, int],
    format: str,
    quality: int | None = None,
    strip: bool = False,
    force: bool = False,
    timing: Animation | None = None,
) -> Iterator[bytes | memoryview]:
    """Encode pixels band by band; for JPEG, PNG, TIFF and PPM the decoded pixels are never all in memory.

    Args:
        picture: source of the metadata, channels and bit depth.
        bands: the pixels, [rows, width, C] at a time, from the top.
        size: width and height of the result.
        format: name of the format. All errors of `encode_image` and of the bands may be raised.
        quality: from 1 to 100, for lossy formats; None: the default of `encode_image`.
        strip: leave out all metadata.
        force: accept that the format loses transparency, bit depth or long metadata.
        timing: durations of an animation whose frames are the bands, one below the other; for GIF and WebP.

    Returns:
        The file in parts: PPM band by band, all other formats in one part.
    """
    format = _checked(picture, format, quality=quality, strip=strip, force=force)
    if (FORMATS[format].vips is None and format != "ppm") or picture.light is not None:
        whole = replace(picture, pixels=np.concatenate(list(bands)))
        return iter([encode_image(whole, format=format, quality=quality, strip=strip, force=force)])
    fitted = (_fitted(replace(picture, pixels=band), FORMATS[format], strip=strip) for band in bands)
    if format == "ppm":
        return encode_pnm_bands((pixels for pixels, _ in fitted), width=size[0], height=size[1])
    pixels, metadata = next(fitted)
    deep = pixels.dtype == np.uint16
    every = chain([pixels], (rest for rest, _ in fitted))
    fed = feed(every, width=size[0], height=size[1], channels=pixels.shape[2], deep=deep)
    image = fed.image.copy(interpretation=_interpretation(pixels))
    final = _quality(picture, format, quality)
    metadata, map_data = _gain_map(picture, metadata, format, final, strip=strip)
    try:
        blob = _encode_vips(image, metadata, format, final, deep=deep, timing=timing)
    except ImageWriteError:
        if fed.errors:
            raise fed.errors[0] from None
        raise
    if fed.errors:  # an encoder may accept incomplete data
        raise fed.errors[0]
    return iter([_finished(blob, picture, format, map_data)])


def encoding_bytes(
    format: str, *, size: tuple[int, int], channels: int, deep: bool, light: bool = False, streamed: bool = False
) -> int:
    """The approximate memory for encoding, including the file, without the bands.

    Args:
        format: name of the format.
        size: width and height, pixels.
        channels: 1 to 4.
        deep: whether there are 16 bits per channel.
        light: whether it is a floating-point picture, which is never streamed.
        streamed: whether the pixels are encoded band by band and each part of the file is written at once.
    """
    if streamed and format == "ppm" and not light:
        return 16 * 2**20
    pixels = size[0] * size[1]
    held = channels if FORMATS[format].grey else max(3, channels)
    if light:
        return 16 * 2**20 + LIGHT_BYTES * pixels * held
    factor = 1.0 if format == "jpeg" and pixels > MAX_OPTIMISED else FORMATS[format].encoding
    depth = 2 if deep and FORMATS[format].deep else 1
    return 16 * 2**20 + int(factor * pixels * held * depth)


def _checked(picture: Picture, format: str, *, quality: int | None, strip: bool, force: bool) -> str:
    format = format_of_suffix(format)
    if quality is not None and not 1 <= quality <= 100:
        raise UsageError(f"quality {quality}: choose from 1 to 100")
    check_format(picture, format, force=force, strip=strip)
    return format


def _gain_map(
    picture: Picture, metadata: Metadata, format: str, quality: int | None, *, strip: bool
) -> tuple[Metadata, bytes | None]:
    """The gain map as a JPEG, if it is kept, and the metadata that announce it."""
    if picture.gain_map is None or format != "jpeg" or strip:
        return metadata, None
    map_data = _encode_vips(_vips_image(picture.gain_map.pixels), Metadata(), "jpeg", quality, deep=False)
    if is_adobe(picture.gain_map):
        xmp = xmp_with_directory(metadata.xmp, behind_bytes(map_data, picture.gain_map))
        metadata = replace(metadata, xmp=xmp if fits_jpeg(xmp) else metadata.xmp)
    return metadata, map_data


def _encode_other(pixels: NDArray[Any], metadata: Metadata, format: str, quality: int | None) -> bytes:
    """Encode a format that libvips does not write; pixels and metadata already match the format."""
    if format == "ppm":
        return encode_pnm(pixels)
    if format == "bmp":
        return encode_bmp(pixels, metadata.dpi)
    if format in ("tga", "dds"):
        return encode_texture(pixels, format)
    size = pixels.shape[1], pixels.shape[0]
    exif, metadata = _exif_to_write(metadata, format, width=size[0], height=size[1]), _updated(metadata, size)
    assert quality is not None
    if format == "jxl":
        return encode_jxl(pixels, metadata, exif=exif, quality=quality)
    cicp = metadata.signal.cicp if metadata.signal else None
    return encode_heic(pixels, metadata, exif=exif, quality=quality, cicp=cicp)


def _finished(blob: bytes, picture: Picture, format: str, map_data: bytes | None) -> bytes:
    """Add the metadata that the encoder does not write."""
    if picture.data_band and FORMATS[format].data_band:
        return with_data_band(blob)
    return with_gain_map(blob, map_data, picture.gain_map) if map_data and picture.gain_map else blob


def _quality(picture: Picture, format: str, quality: int | None) -> int | None:
    """The requested quality, or the default; 100 if the input was a lossless file of this lossy format."""
    unasked = 100 if picture.lossless and picture.format == format else FORMATS[format].quality
    return quality or unasked


def _fitted(picture: Picture, holds: Format, *, strip: bool) -> tuple[NDArray[Any], Metadata]:
    """Reduce the pixels to what the format can store; return them with the remaining metadata."""
    pixels: NDArray[Any] = picture.pixels
    if picture.has_alpha and not holds.alpha:
        pixels = _on_white(pixels)
    if picture.data_band and not holds.data_band:
        pixels = pixels[..., :-1]
    if picture.light is not None:
        return _fitted_light(picture, strip=strip)
    pixels, metadata = _coloured(pixels, picture.metadata, holds, strip=strip)
    if pixels.dtype == np.uint16 and not holds.deep:
        pixels = ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)
    return pixels, metadata


def _fitted_light(picture: Picture, *, strip: bool) -> tuple[NDArray[Any], Metadata]:
    """The original values of a floating-point picture, for a format that can store them."""
    assert picture.light is not None
    light, colours = picture.light, picture.pixels.shape[2] - picture.has_alpha
    values = from_network(picture.pixels[..., :colours], light)
    icc = picture.metadata.icc
    if light.shown_icc and light.primaries and icc is None:  # EXR: a profile of linear light from its primaries
        primaries: Chromaticities = light.primaries  # type: ignore[assignment]
        icc = profile_of(primaries, TRANSFERS[LINEAR], grey=colours == 1)
    metadata = (
        Metadata(icc=icc) if strip else replace(picture.metadata, icc=icc)
    )  # the values are meaningless without the profile
    return np.concatenate([values, picture.pixels[..., colours:]], axis=2), metadata


def _coloured(pixels: NDArray[Any], metadata: Metadata, holds: Format, *, strip: bool) -> tuple[NDArray[Any], Metadata]:
    """The pixels, and the metadata with the colour information that the format can store; sRGB if it can store none."""
    signal, icc = metadata.signal, metadata.profile
    if strip:
        return to_srgb(pixels, metadata), Metadata()
    if signal and signal.cicp and holds.cicp and (signal.is_hdr or not metadata.icc):
        kept = metadata.icc if holds.name == "png" else None
        return pixels, replace(metadata, icc=kept or signal.profile)
    if signal and holds.name == "png":
        return pixels, metadata
    # A grey profile is invalid for RGB, which a format without grey uses.
    is_grey = icc and not holds.grey and icc[16:20] == b"GRAY"
    lost = icc and (profile_is_lost(pixels, holds) or is_long_profile(icc, holds) or is_grey)
    if lost or (signal and signal.is_hdr):
        return to_srgb(pixels, metadata), replace(metadata, icc=None, signal=None)
    return pixels, replace(metadata, icc=icc, signal=None)


def _on_white(pixels: NDArray[Any]) -> NDArray[Any]:
    top = np.iinfo(pixels.dtype).max
    alpha = pixels[..., -1:].astype(np.float64) / top
    return np.floor(pixels[..., :-1] * alpha + top * (1 - alpha) + 0.5).astype(pixels.dtype)


def _vips_image(pixels: NDArray[Any]) -> "VipsImage":
    import pyvips

    begin_vips()
    return pyvips.Image.new_from_array(np.ascontiguousarray(pixels)).copy(interpretation=_interpretation(pixels))


def _interpretation(pixels: NDArray[Any]) -> str:
    if pixels.dtype == np.float32:
        return "scrgb" if pixels.shape[2] > 2 else "b-w"
    deep = pixels.dtype == np.uint16
    if pixels.shape[2] > 2:
        return "rgb16" if deep else "srgb"
    return "grey16" if deep else "b-w"


def _encode_vips(
    image: "VipsImage",
    metadata: Metadata,
    format: str,
    quality: int | None,
    *,
    deep: bool,
    timing: Animation | None = None,
) -> bytes:
    import pyvips

    height = image.height // timing.count if timing else image.height
    exif = _exif_to_write(metadata, format, width=image.width, height=height)
    metadata = _updated(metadata, (image.width, height))
    if format == "jpeg":
        xmp, iptc = (block if fits_jpeg(block) else None for block in (metadata.xmp, metadata.iptc))
        metadata = replace(metadata, xmp=xmp, iptc=iptc)
    if metadata.texts:
        texts = updated_texts(metadata.texts, size=(image.width, image.height), given=metadata.size)
        metadata = replace(metadata, texts=tuple(texts))
    image = _with_metadata(image, metadata, format, exif)
    if timing:
        image = image.copy()
        image.set_type(pyvips.GValue.gint_type, "page-height", height)
        image.set_type(pyvips.GValue.array_int_type, "delay", [round(1000 * time) for time in timing.durations])
        image.set_type(pyvips.GValue.gint_type, "loop", timing.plays)
    pixels, sample = image.width * image.height, {"uchar": 1, "ushort": 2, "float": 4}[image.format]
    try:
        blob: bytes = image.write_to_buffer(
            FORMATS[format].vips,
            keep=_keep(exif, format),
            **_options(format, quality, deep=deep, pixels=pixels, raw_bytes=pixels * image.bands * sample),
        )
    except pyvips.Error as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise ImageWriteError(f"cannot encode {image.width} x {image.height} as {format}: {lines[-1]}") from error
    if format in ("jpeg", "png", "webp"):
        return with_blocks(blob, format, metadata, exif=exif)
    if format == "tiff":
        blob = blob if metadata.dpi else without_unit(blob)
        tags = updated_tags(metadata.tags, size=(image.width, image.height), given=metadata.size)
        return tiff_with_blocks(blob, exif=exif, iptc=metadata.iptc and records_of(metadata.iptc), tags=tags)
    if format == "avif" and metadata.signal and metadata.signal.cicp:
        return with_nclx(blob, *metadata.signal.cicp)
    return blob


def _updated(metadata: Metadata, size: tuple[int, int]) -> Metadata:
    """Update XMP to the written size."""
    if not metadata.xmp:
        return metadata
    return replace(metadata, xmp=updated_xmp(metadata.xmp, size=size, given=metadata.size))


def _exif_to_write(metadata: Metadata, format: str, *, width: int, height: int) -> bytes | None:
    updated = updated_exif(metadata.exif, width=width, height=height, given=metadata.size) if metadata.exif else None
    exif = plain_exif(updated) if updated else None
    if format == "jpeg" and not fits_jpeg(exif):
        return None
    if metadata.dpi and format in ("webp", "avif", "heic", "jxl"):  # these formats have no other place for it
        return with_resolution(exif, metadata.dpi)
    return exif


def _with_metadata(image: "VipsImage", metadata: Metadata, format: str, exif: bytes | None) -> "VipsImage":
    """Attach the metadata that libvips writes unchanged; the rest is inserted into the finished file."""
    import pyvips

    image = image.copy()
    if format == "avif" and metadata.signal:  # libvips writes no code points; they replace the profile later
        metadata = replace(metadata, icc=metadata.icc or profile_of(PRIMARIES[1], SRGB_CURVE, grey=False))
    fields = {
        "icc-profile-data": without_padding(metadata.icc) if metadata.icc and format != "png" else None,
        "iptc-data": photoshop_of(metadata.iptc) if metadata.iptc and format == "jpeg" else None,
        "xmp-data": metadata.xmp if format not in ("jpeg", "png") else None,
        "exif-data": MARK + exif if exif and format == "avif" else None,
    }
    for field, value in fields.items():
        if value:
            image.set_type(pyvips.GValue.blob_type, field, value)
    resolution = metadata.dpi or (metadata.aspect if format == "tiff" else None)  # then without a unit
    if resolution:
        image = image.copy(xres=resolution[0] / 25.4, yres=resolution[1] / 25.4)
        image.set_type(pyvips.GValue.gstr_type, "resolution-unit", "in")
    return image


def _keep(exif: bytes | None, format: str) -> int:
    # libvips writes its own EXIF block into WebP, which is replaced later; the header already announces it.
    return KEEP_ALL if exif and format in ("webp", "avif") else KEEP_ALL_BUT_EXIF


def _options(format: str, quality: int | None, *, deep: bool, pixels: int, raw_bytes: int) -> dict[str, Any]:
    options: dict[str, dict[str, Any]] = {
        "jpeg": {"Q": quality, "optimize_coding": pixels <= MAX_OPTIMISED, "subsample_mode": "auto"},
        "png": {"compression": 6, "filter": "all", "bitdepth": 16 if deep else 8},
        "webp": {"Q": quality, "lossless": quality == 100, "exact": True},
        "tiff": {"compression": "deflate", "predictor": "horizontal", "bigtiff": raw_bytes >= BIGTIFF_FROM},
        "gif": {},
        "avif": {"Q": quality, "compression": "av1", "bitdepth": 12 if deep else 8, "effort": 4},
    }
    return options[format]
