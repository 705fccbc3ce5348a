"""Read image files."""

import struct
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from a2f.errors import ALLOW_TRUNCATED_HINT, ImageReadError, TruncatedImageError
from a2f.imageio.animation import animation_of
from a2f.imageio.colour import is_linear, widened, without_premultiplied
from a2f.imageio.containers import is_lossless
from a2f.imageio.described import conversion_notes, described, left_out_notes
from a2f.imageio.exr import read_exr
from a2f.imageio.gain_map import read_gain_map
from a2f.imageio.header import as_ours, bytes_of, format_of, header_of
from a2f.imageio.heic import read_heic
from a2f.imageio.heif_boxes import is_premultiplied, is_sequence
from a2f.imageio.jpeg_parts import (
    gain_map_note,
    icc_of,
    jpeg_parts,
)
from a2f.imageio.jpeg_quality import estimate_jpeg_quality
from a2f.imageio.jxl import read_jxl
from a2f.imageio.light import light_of, to_network, without_alpha
from a2f.imageio.limits import DEFAULT_MAX_PIXELS, Layout, check_memory, check_size
from a2f.imageio.loaders import open_vips
from a2f.imageio.picture import Animation, GainMap, Light, Pages, Picture, Pixels
from a2f.imageio.png_chunks import check_chunks
from a2f.imageio.textures import read_texture
from a2f.imageio.tiff import (
    EXTRA_SAMPLES,
    UNASSOCIATED,
    for_decoding_only,
    has_data_band,
    has_premultiplied_floats,
    is_camera_raw,
    is_cut_off,
    lab_as_rgb,
    lab_of_samples,
    main_picture_first,
    uncommon_compression,
    unread_colours,
)
from a2f.imageio.tiff_damage import has_broken_deflate, tiles_as_strips
from a2f.imageio.tiff_directory import with_number
from a2f.imageio.tiff_pages import page_places
from a2f.imageio.tiff_tags import no_data_of
from a2f.imageio.uncompressed import read_bmp, read_pnm

if TYPE_CHECKING:
    from pyvips import Image as VipsImage

_DTYPES: dict[str, Any] = {"uchar": np.uint8, "ushort": np.uint16, "float": np.float32}
# Formats that libvips does not read.
_DECODERS: dict[str, Callable[..., Picture]] = {
    "bmp": read_bmp,
    "ppm": read_pnm,
    "heic": read_heic,
    "jxl": read_jxl,
    "exr": read_exr,
    "tga": read_texture,
    "dds": read_texture,
}
PROFILE = "icc-profile-data"  # the name in libvips
_FAILING = threading.Lock()


def read_image(
    source: Path | str | bytes,
    *,
    max_pixels: int | None = DEFAULT_MAX_PIXELS,
    max_memory: int | None = None,
    allow_truncated: bool = False,
    name: str | None = None,
) -> Picture:
    """Read an image: upright, in grey or RGB, with its metadata.

    The format is detected from the content, not from the name. EXIF orientation is applied. CMYK and Lab are converted
    to sRGB with the profile; an RGB profile is kept with the pixels unchanged. Palettes and 1-bit images become RGB or
    grey; transparency is kept. If there are several frames or pages, the first is read, with a note.

    Args:
        source: a path, or the bytes of a file.
        max_pixels: largest width times height, checked before anything is decoded; None for no limit.
        max_memory: memory limit of decoding, bytes, checked with an estimate from the header; None for no limit.
        allow_truncated: read the intact part of a file that ends too early; the rest is grey or black.
        name: name of the image in errors; by default the path.

    Raises:
        ImageReadError: if the file cannot be read or is not an image.
        TruncatedImageError: if it ends too early.
        PixelLimitError: if it has too many pixels.
        MemoryLimitError: if decoding needs more than `max_memory`.
    """
    name = name or ("the image" if isinstance(source, bytes) else str(source))
    data = source if isinstance(source, bytes) else bytes_of(Path(source), name)
    if max_memory is not None and (layout := _layout_of(data, name)):
        check_size(layout.width, layout.height, name, max_pixels)
        check_memory(layout, name, max_memory)
    try:
        return _read(data, name, max_pixels, allow_truncated=False)
    except TruncatedImageError:
        if not allow_truncated:
            raise
        picture = _read(data, name, max_pixels, allow_truncated=True)
        note = f"{name} is truncated or damaged: the missing part is grey or black"
        return replace(picture, notes=(*picture.notes, note))


def _layout_of(data: bytes, name: str) -> Layout | None:
    """What the header tells; None if it is damaged, which decoding will report."""
    try:
        return header_of(data, name=name)
    except ImageReadError:
        return None


def _read(data: bytes, name: str, max_pixels: int | None, *, allow_truncated: bool) -> Picture:
    format = format_of(data, name)
    if format == "tiff" and is_camera_raw(data):
        raise ImageReadError(f"{name} is a raw file of a camera: develop it first, and enlarge the picture of that")
    if format == "tiff" and (main := main_picture_first(data)) is not data:
        picture = _read_vips(main, format, name, max_pixels, allow_truncated)
        note = f"{name} begins with a smaller copy or a mask of its picture: left out"
        return replace(picture, notes=(note, *picture.notes))
    if format in _DECODERS:
        return _DECODERS[format](data, name, max_pixels=max_pixels, allow_truncated=allow_truncated)
    return _read_vips(data, format, name, max_pixels, allow_truncated)


def _read_vips(data: bytes, format: str, name: str, max_pixels: int | None, allow_truncated: bool) -> Picture:
    import pyvips

    strict = "error" if format == "tiff" else "truncated"  # libvips reports damaged strips as errors
    try:
        picture = _decode_strictly(data, format, name, max_pixels, fail_on="none" if allow_truncated else strict)
        if format == "tiff" and not allow_truncated and (strips := tiles_as_strips(data)):
            open_vips(strips, format, fail_on=strict).avg()  # decodes all of it
        if format == "tiff" and not allow_truncated and (is_cut_off(data) or has_broken_deflate(data)):
            raise _in_part(name)
        return picture
    except pyvips.Error as first:
        if format == "tiff" and (method := uncommon_compression(data)):
            # No part can be read: if libtiff lacks the method, all pixels are black.
            raise ImageReadError(
                f"cannot decode {name}: it is compressed with {method}, which this libvips may lack; save it without "
                "compression, or with LZW or Deflate"
            ) from first
        # Read the file again to find out whether a part is readable. The error text of libvips is shared by all
        # threads, so failures are handled one at a time; then the text is nearly always that of this file.
        with _FAILING:
            try:
                picture = _decode_vips(data, format, name, max_pixels, fail_on="none")
            except pyvips.Error as error:
                raise as_ours(error, data, format, name) from first
        if allow_truncated:
            return picture
        raise _in_part(name) from first


def _decode_strictly(data: bytes, format: str, name: str, max_pixels: int | None, *, fail_on: str) -> Picture:
    """Decode a file; in a TIFF, invalid values of tags that do not matter to the pixels are no damage."""
    import pyvips

    try:
        return _decode_vips(data, format, name, max_pixels, fail_on=fail_on)
    except pyvips.Error:
        plain = for_decoding_only(data) if format == "tiff" else None
        if plain is None:
            raise
        return _decode_vips(data, format, name, max_pixels, fail_on=fail_on, pixels_of=plain)


def _decode_vips(
    data: bytes, format: str, name: str, max_pixels: int | None, *, fail_on: str, pixels_of: bytes | None = None
) -> Picture:
    """Decode a file; `pixels_of` is a simpler file with the same pixels, for libvips."""
    if format == "png" and len(data) >= 24:
        check_chunks(data, name)
        width, height = struct.unpack_from(">II", data, 16)
        check_size(width, height, name, max_pixels)  # libvips does not report empty images
    if format == "tiff" and (reason := unread_colours(data)):
        raise ImageReadError(f"{name} {reason}")
    image, lab_coding = _opened(pixels_of or data, format, fail_on=fail_on)
    check_size(image.width, image.height, name, max_pixels)
    animation = _animation(image, data, format)
    pages = len(page_places(data)) if format == "tiff" else _pages(image)
    notes = (*_frames_note(pages, name), *left_out_notes(data, format, name))
    upright = image.autorot()
    if lab_coding is not None:
        upright = _named_lab(upright, lab_coding)
    pixels, converted = _grey_or_rgb(upright, name)
    if format == "jpeg" and pixels.shape[2] == 2:
        raise ImageReadError(f"{name} is a JPEG of 2 channels, whose meaning is not defined: save it in grey or RGB")
    pixels = _mended(pixels, image, data, format)
    notes += conversion_notes(image, upright.interpretation, name) if converted else ()
    pixels, metadata, told = described(image, pixels, data, format, name, converted=converted)
    notes += told
    gain_map = _gain_map(image, data, max_pixels) if format == "jpeg" else None
    if gain_map is not None:
        notes = tuple(note for note in notes if note != gain_map_note(name))  # reported where it is left out
    data_band = format == "tiff" and pixels.shape[2] in (2, 4) and has_data_band(data)
    notes += _no_data_note(pixels, data, name) if format == "tiff" and not converted else ()
    if format == "tiff" and has_premultiplied_floats(data):
        pixels, told = _divided(pixels, name)
        notes += told
    final, light = _in_network_range(pixels, metadata.icc, name, data_band=data_band)
    return Picture(
        pixels=final,
        metadata=metadata,
        data_band=data_band,
        gain_map=gain_map,
        animation=animation,
        pages=_several(data) if format == "tiff" else None,
        light=light,
        format=format,
        lossless=format == "webp" and is_lossless(data),
        jpeg_quality=estimate_jpeg_quality(data) if format == "jpeg" else None,
        notes=notes,
    )


def _mended(pixels: Pixels, image: "VipsImage", data: bytes, format: str) -> Pixels:
    """Correct what libvips makes of the depth and the alpha of a file."""
    if format == "avif" and pixels.dtype == np.uint16:
        bits = int(image.get("bits-per-sample"))
        pixels = widened(pixels >> (16 - bits), bits)  # libvips only shifts 10 and 12 bits
    if format == "avif" and pixels.shape[2] in (2, 4) and is_premultiplied(data):  # libvips does not divide by alpha
        pixels = without_premultiplied(pixels)
    if format == "gif" and pixels.shape[2] == 4 and (pixels[..., 3] == 255).all():
        pixels = pixels[..., :3]  # libvips gives many GIF files an opaque alpha
    return pixels


def _opened(data: bytes, format: str, *, fail_on: str) -> tuple["VipsImage", int | None]:
    """Open a file; return also the coding of its samples if they are Lab, which libvips then returns unchanged."""
    import pyvips

    raw, lab_coding = lab_as_rgb(data) if format == "tiff" else (data, None)
    if format == "tiff" and has_premultiplied_floats(data):
        raw = with_number(raw, EXTRA_SAMPLES, UNASSOCIATED)  # libvips makes colours black where alpha is below 0.01
    image = open_vips(raw, format, fail_on=fail_on)
    if format == "jpeg" and not image.get_typeof(PROFILE) and (icc := icc_of(jpeg_parts(data))):
        image = image.copy()  # libvips misses profiles whose segments are counted from 0
        image.set_type(pyvips.GValue.blob_type, PROFILE, icc)
    return image, lab_coding


def _in_network_range(
    values: NDArray[Any], icc: bytes | None, name: str, *, data_band: bool
) -> tuple[NDArray[Any], Light | None]:
    """Convert floating-point colours to [0, 1], with the range for the inverse; alpha and integers are unchanged."""
    if values.dtype.kind != "f":
        return values, None
    behind = values.shape[2] in (2, 4)
    colours = values[..., :-1] if behind else values
    light = light_of(colours, name, linear=icc is None or is_linear(icc))
    pixels = to_network(colours, light)
    if behind:
        band = light_of(values[..., -1:], name)  # rejects NaN
        if data_band and not light.low <= band.low <= band.high <= light.high:
            raise ImageReadError(
                f"{name} has a band behind its colours that goes from {values[..., -1].min():g} to "
                f"{values[..., -1].max():g}, and colours from {light.low:g} to {light.high:g}: save it as its own file"
            )
        last = to_network(values[..., -1:], light) if data_band else values[..., -1:].clip(0, 1)
        pixels = np.concatenate([pixels, last], axis=2)
    return pixels, light


def _divided(values: NDArray[Any], name: str) -> tuple[NDArray[Any], tuple[str, ...]]:
    """Divide floating-point colours by alpha, and return a note about light at alpha 0."""
    light_of(values[..., -1:], name)  # rejects NaN
    alpha = values[..., -1:].clip(0, 1)
    colours, notes = without_alpha(values[..., :-1], alpha, name)
    return np.concatenate([colours, alpha], axis=2), tuple(notes)


def _no_data_note(pixels: NDArray[Any], data: bytes, name: str) -> tuple[str, ...]:
    """A note about pixels without data; not for palettes and converted colours, which have other values."""
    values = no_data_of(data, top=np.iinfo(pixels.dtype).max if pixels.dtype.kind == "u" else None)
    if values is None:
        return ()
    colours = pixels[..., :-1] if pixels.shape[2] in (2, 4) else pixels
    with np.errstate(over="ignore"):
        count = int((colours == np.float32(values[1])).all(axis=2).sum())
    many = f"{count:,} pixels" if count > 1 else "1 pixel"
    told = f"{name} has {many} of its value for no data ({values[0]:g})"
    return (f"{told}: they are enlarged like all others, and blend with those beside them",) if count else ()


def _gain_map(image: "VipsImage", data: bytes, max_pixels: int | None) -> GainMap | None:
    turn = image.get("orientation") if image.get_typeof("orientation") else 1
    return read_gain_map(data, jpeg_parts(data), orientation=turn, max_pixels=max_pixels)


def _named_lab(image: "VipsImage", coding: int) -> "VipsImage":
    """Convert the samples that `lab_as_rgb` relabelled to the Lab of libvips; alpha is kept as a float band."""
    import pyvips

    samples = image.numpy()
    lab = lab_of_samples(samples[..., :3], coding)
    bands = np.concatenate([lab, samples[..., 3:].astype(np.float32)], axis=2)
    named = pyvips.Image.new_from_array(np.ascontiguousarray(bands)).copy(interpretation="lab")
    named.set_type(pyvips.GValue.gint_type, "bits-per-sample", 16 if samples.dtype == np.uint16 else 8)
    return named


def _pages(image: "VipsImage") -> int:
    return int(image.get("n-pages")) if image.get_typeof("n-pages") else 1


def _animation(image: "VipsImage", data: bytes, format: str) -> Animation | None:
    """The animation of a file, if it has one."""
    several = {"gif": _pages(image) > 1, "webp": _pages(image) > 1, "png": True, "avif": is_sequence(data)}
    orientation = image.get("orientation") if image.get_typeof("orientation") else 1
    return animation_of(data, format, orientation=orientation) if several.get(format) else None


def _several(data: bytes) -> Pages | None:
    places = page_places(data)
    return Pages(data=data, places=places) if len(places) > 1 else None


def _frames_note(pages: int, name: str) -> tuple[str, ...]:
    return (f"{name} has {pages} frames or pages; only the first is read",) if pages > 1 else ()


def _grey_or_rgb(image: "VipsImage", name: str) -> tuple[Pixels, bool]:
    """Decode to uint8 or uint16 with 1 to 4 channels; also return whether the colours were converted to sRGB."""
    kind, depth = image.interpretation, image.format
    converted = False
    if kind == "cmyk":
        alpha = image[4:] if image.bands > 4 else None
        image = image[0:4].icc_transform(
            "srgb", embedded=True, input_profile="cmyk", depth=8 if depth == "uchar" else 16
        )
        image = image if alpha is None else image.bandjoin(alpha)
        converted = True
    elif kind in ("lab", "labs", "labq"):
        alpha = image[3:] if image.bands > 3 else None
        deep = image.get_typeof("bits-per-sample") != 0 and image.get("bits-per-sample") == 16
        lab = (image[0:3] if alpha is not None else image).colourspace("lab")
        image = lab.icc_export(output_profile="srgb", pcs="lab", depth=16 if deep else 8)
        image = image if alpha is None else image.bandjoin(alpha.cast(image.format))
        converted = True
    elif depth not in _DTYPES:
        raise ImageReadError(
            f"{name} has {depth} samples: integers of 8 and 16 bits and floating point of 16 and 32 are read; convert "
            "it first"
        )
    pixels = np.frombuffer(image.write_to_memory(), dtype=_DTYPES.get(image.format, np.float32))
    pixels = pixels.reshape(image.height, image.width, image.bands)
    if pixels.shape[2] > 4 or (converted and pixels.dtype == np.float32):
        raise ImageReadError(
            f"{name} has {pixels.shape[2]} channels of {pixels.dtype}: grey or RGB, with or without alpha, is read"
        )
    return pixels, converted


def _in_part(name: str) -> TruncatedImageError:
    return TruncatedImageError(f"{name} is truncated or damaged", ALLOW_TRUNCATED_HINT)
