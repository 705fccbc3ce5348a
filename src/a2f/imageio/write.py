"""Encoding pictures and writing them as files."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from a2f.errors import ImageWriteError, UsageError
from a2f.imageio.atomic import write_bytes_atomic
from a2f.imageio.exif import tiff_with_exif, updated_exif
from a2f.imageio.formats import FORMATS, check_format, format_of_suffix
from a2f.imageio.picture import Metadata, Picture
from a2f.imageio.uncompressed import encode_bmp, encode_pnm

if TYPE_CHECKING:
    from pyvips import Image as VipsImage


def write_image(
    picture: Picture,
    path: Path | str,
    *,
    format: str | None = None,
    quality: int | None = None,
    strip: bool = False,
    force: bool = False,
) -> None:
    """Write a picture to a file, whole or not at all (`write_bytes_atomic`).

    Args:
        picture: what to write.
        path: of the file.
        format: name of the format; told from the suffix by default.
        quality: as `encode_image`.
        strip: as `encode_image`.
        force: as `encode_image`.

    Raises:
        ImageWriteError: if the file cannot be written.
        LossyFormatError, UsageError: as `encode_image`.
    """
    chosen = format_of_suffix(format or Path(path).suffix)
    write_bytes_atomic(path, encode_image(picture, format=chosen, quality=quality, strip=strip, force=force))


def encode_image(
    picture: Picture, *, format: str, quality: int | None = None, strip: bool = False, force: bool = False
) -> bytes:
    """Encode a picture.

    JPEG keeps full colour resolution (4:4:4) from quality 90 up. WebP is lossless at quality 100. TIFF is deflated.

    Args:
        picture: what to encode.
        format: name of the format.
        quality: from 1 to 100, for JPEG (default 92), WebP (90) and AVIF (80).
        strip: leave out all metadata. Colours are then taken for sRGB, so a picture with a profile is converted first.
        force: accept that transparency is laid on white and that 16 bits become 8 where the format asks for it.

    Returns:
        The bytes of the file.

    Raises:
        LossyFormatError: if the format would lose transparency or bit depth and `force` is not set.
        UsageError: for an unknown format or quality.
        ImageWriteError: if the encoder fails.
    """
    format = format_of_suffix(format)
    if quality is not None and not 1 <= quality <= 100:
        raise UsageError(f"quality {quality}: choose from 1 to 100")
    check_format(picture, format, force=force)
    holds = FORMATS[format]
    pixels: NDArray[Any] = picture.pixels
    if picture.has_alpha and not holds.alpha:
        pixels = _on_white(pixels)
    if strip and picture.metadata.icc:
        pixels = _to_srgb(pixels, picture.metadata.icc)
    if pixels.dtype == np.uint16 and not holds.deep:
        pixels = ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)
    metadata = Metadata() if strip else picture.metadata
    if format == "ppm":
        return encode_pnm(pixels)
    if format == "bmp":
        return encode_bmp(pixels, metadata.dpi)
    return _encode_vips(pixels, metadata, format, quality or holds.quality)


def _on_white(pixels: NDArray[Any]) -> NDArray[Any]:
    top = np.iinfo(pixels.dtype).max
    alpha = pixels[..., -1:].astype(np.float64) / top
    return np.floor(pixels[..., :-1] * alpha + top * (1 - alpha) + 0.5).astype(pixels.dtype)


def _vips_image(pixels: NDArray[Any]) -> "VipsImage":
    import pyvips

    deep, colour = pixels.dtype == np.uint16, pixels.shape[2] > 2
    kind = ("rgb16" if deep else "srgb") if colour else ("grey16" if deep else "b-w")
    return pyvips.Image.new_from_array(np.ascontiguousarray(pixels)).copy(interpretation=kind)


def _to_srgb(pixels: NDArray[Any], icc: bytes) -> NDArray[Any]:
    import pyvips

    image = _vips_image(pixels)
    colours = 3 if pixels.shape[2] > 2 else 1
    plain = image[0:colours]
    plain.set_type(pyvips.GValue.blob_type, "icc-profile-data", icc)
    try:
        deep = pixels.dtype == np.uint16
        converted = plain.icc_transform("srgb", embedded=True, depth=16 if deep else 8).numpy()
    except pyvips.Error:
        return pixels  # a profile that does not fit the pixels says nothing about them
    converted = converted if converted.ndim == 3 else converted[:, :, None]
    if colours == 1:
        converted = converted[:, :, :1]  # grey in sRGB: the three channels are equal
    return np.concatenate([converted, pixels[..., colours:]], axis=2)


def _encode_vips(pixels: NDArray[Any], metadata: Metadata, format: str, quality: int | None) -> bytes:
    import pyvips

    image = _vips_image(pixels)
    exif = _attach(image := image.copy(), metadata, format)
    if metadata.dpi:
        image = image.copy(xres=metadata.dpi[0] / 25.4, yres=metadata.dpi[1] / 25.4)
        image.set_type(pyvips.GValue.gstr_type, "resolution-unit", "in")
    try:
        blob: bytes = image.write_to_buffer(FORMATS[format].vips, **_options(format, quality, pixels, metadata))
    except pyvips.Error as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise ImageWriteError(
            f"cannot encode {pixels.shape[1]} x {pixels.shape[0]} as {format}: {lines[-1]}"
        ) from error
    return tiff_with_exif(blob, exif) if format == "tiff" and exif else blob


def _attach(image: "VipsImage", metadata: Metadata, format: str) -> bytes | None:
    """Hang the metadata on an image; the EXIF block as it is to be written."""
    import pyvips

    exif = updated_exif(metadata.exif, width=image.width, height=image.height) if metadata.exif else None
    fields = {"icc-profile-data": metadata.icc, "xmp-data": metadata.xmp, "iptc-data": metadata.iptc}
    if format != "tiff":
        fields["exif-data"] = exif
    for field, value in fields.items():
        if value is not None:
            image.set_type(pyvips.GValue.blob_type, field, value)
    return exif


def _options(format: str, quality: int | None, pixels: NDArray[Any], metadata: Metadata) -> dict[str, Any]:
    deep = pixels.dtype == np.uint16
    # keep says which blocks go into the file; without any, libvips would still write an EXIF of its own.
    anything = any((metadata.icc, metadata.exif, metadata.xmp, metadata.iptc, metadata.dpi))
    common: dict[str, Any] = {"keep": "all" if anything else "none"}
    options: dict[str, dict[str, Any]] = {
        "jpeg": {"Q": quality, "optimize_coding": True, "subsample_mode": "auto"},
        "png": {"compression": 6, "filter": "all", "bitdepth": 16 if deep else 8},
        "webp": {"Q": quality, "lossless": quality == 100, "exact": True},
        "tiff": {"compression": "deflate", "predictor": "horizontal"},
        "gif": {},
        "avif": {"Q": quality, "compression": "av1", "bitdepth": 12 if deep else 8, "effort": 4},
    }
    return common | options[format]
