"""Collect the metadata of a file from libvips and from our own parsers."""

from dataclasses import replace
from typing import TYPE_CHECKING

from a2f.imageio.colour import ADOBE_RGB, fitting, full_range, misfit_of, profile_of, signal_of_cicp
from a2f.imageio.containers import webp_left_out
from a2f.imageio.exif import dpi_of_exif, is_adobe_rgb, orientation_of
from a2f.imageio.gif_blocks import gif_left_out, gif_profile
from a2f.imageio.heif_boxes import aspect_of, is_sequence, nclx_of, parts_left_out
from a2f.imageio.iptc import cleaned_iptc
from a2f.imageio.jpeg_parts import (
    comments_of,
    has_extended_xmp,
    jfif_resolution,
    jpeg_parts,
    notes_of_segments,
    notes_of_tail,
)
from a2f.imageio.picture import MAX_DPI, Metadata, Pixels
from a2f.imageio.png_chunks import is_narrow, png_profile, png_resolution, png_signal
from a2f.imageio.png_text import texts_of
from a2f.imageio.tiff import exif_of_tiff, layout_is_lost, tiff_resolution
from a2f.imageio.tiff_tags import carried_tags
from a2f.imageio.xmp import cleaned_xmp

if TYPE_CHECKING:
    from pyvips import Image as VipsImage

Pair = tuple[float, float]


def left_out_notes(data: bytes, format: str, name: str) -> list[str]:
    """Content of the file besides its first picture that libvips does not report."""
    if format == "jpeg":
        parts = jpeg_parts(data)
        return [*notes_of_segments(parts, name), *notes_of_tail(data, parts.end, name)]
    if format in ("gif", "webp"):
        parts_told = gif_left_out(data) if format == "gif" else webp_left_out(data)
        return [f"{name} holds {part}: left out" for part in parts_told]
    if format == "avif":
        notes = [f"{name} is a sequence of pictures; only its still picture is read"] if is_sequence(data) else []
        return notes + [f"{name} holds {part}: left out" for part in parts_left_out(data)]
    return []


def conversion_notes(image: "VipsImage", kind: str, name: str) -> tuple[str, ...]:
    """Notes about colours that were converted from CMYK or Lab to sRGB."""
    if kind != "cmyk":
        return (f"{name} is in Lab: converted to sRGB",)
    icc = bytes(image.get("icc-profile-data")) if image.get_typeof("icc-profile-data") else None
    misfit = None if icc is None else misfit_of(icc, b"CMYK")
    more = f"{name} has {misfit}: left out, its colours are taken for those of a usual press"
    return (f"{name} is in CMYK: converted to sRGB", *([more] if misfit else []))


def described(
    image: "VipsImage", pixels: Pixels, data: bytes, format: str, name: str, *, converted: bool
) -> tuple[Pixels, Metadata, tuple[str, ...]]:
    """The pixels with consistent metadata, and notes."""
    size = (pixels.shape[1], pixels.shape[0])
    metadata, lost = _metadata(image, data, format, size=size, converted=converted)
    notes = [f"{name}: left out {what}" for what in lost]
    if format == "png":
        texts = texts_of(data)
        exif, xmp = metadata.exif or texts.exif, metadata.xmp or texts.xmp
        metadata = replace(metadata, texts=texts.chunks, exif=exif, xmp=xmp)
        notes += [f"{name} {note}" for note in texts.notes]
    if not converted:
        pixels, metadata, more = _with_colours(pixels, metadata, data, format, name)
        notes += more
    return pixels, metadata, tuple(notes)


def metadata_of_blocks(
    *, icc: bytes | None, exif: bytes | None, xmp: bytes | None, size: tuple[int, int]
) -> tuple[Metadata, list[str]]:
    """The metadata of a file whose decoder turns the picture upright, and the parts that were removed."""
    lost = list[str]()
    if xmp:
        xmp, lost = cleaned_xmp(xmp.rstrip(b"\0"), upright=True, turned=exif is not None and orientation_of(exif) != 1)
    dpi = dpi_of_exif(exif) if exif else None
    dpi = dpi if dpi and all(0 < d < MAX_DPI for d in dpi) else None
    return Metadata(icc=icc or None, exif=exif or None, xmp=xmp or None, dpi=dpi, size=size), lost


def _with_colours(
    pixels: Pixels, metadata: Metadata, data: bytes, format: str, name: str
) -> tuple[Pixels, Metadata, list[str]]:
    """The colour information of the file, made consistent with the pixels, and notes."""
    notes: list[str] = []
    if metadata.icc is None and format == "png":
        metadata = replace(metadata, icc=png_profile(data))
    if metadata.icc is None and format == "gif":
        metadata = replace(metadata, icc=gif_profile(data))
    if metadata.icc is not None:
        pixels, icc, notes = fitting(pixels, metadata.icc, name)
        metadata = replace(metadata, icc=icc)
    signal, note, grey = None, None, pixels.shape[2] < 3
    if format == "png" and is_narrow(data):
        pixels = full_range(pixels)
        notes.append(f"{name} has the narrow range of video (cICP): taken to the full range")
    if format == "png":
        signal, note = png_signal(data, grey=grey, has_profile=metadata.icc is not None)
    elif format == "avif" and metadata.icc is None and (cicp := nclx_of(data)):
        signal, note = signal_of_cicp(*cicp, grey=grey)
    if format == "jpeg" and metadata.icc is None and metadata.exif and is_adobe_rgb(metadata.exif) and not grey:
        metadata = replace(metadata, icc=profile_of(ADOBE_RGB, (0, (563 / 256,)), grey=False))
        notes.append(f"{name} tells by EXIF alone that its colours are Adobe RGB: the result gets that profile")
    return pixels, replace(metadata, signal=signal), notes + ([f"{name} tells its {note}"] if note else [])


def _metadata(
    image: "VipsImage", data: bytes, format: str, *, size: tuple[int, int], converted: bool
) -> tuple[Metadata, list[str]]:
    """The metadata of the file, and the invalid parts that were removed."""

    def blob(field: str) -> bytes | None:
        return bytes(image.get(field)) if image.get_typeof(field) else None

    told = image.get_typeof("orientation") != 0
    turn = image.get("orientation") if told else 1
    exif = exif_of_tiff(data) if format == "tiff" else blob("exif-data")
    dpi, aspect = _resolution(image, data, format)
    dpi = dpi or (exif and not aspect and dpi_of_exif(exif)) or None
    if turn >= 5:  # the picture is rotated by a quarter turn in the file
        dpi, aspect = dpi and dpi[::-1], aspect and aspect[::-1]
    xmp, lost = blob("xmp-data"), list[str]()
    if xmp is not None:
        xmp, lost = cleaned_xmp(xmp, upright=told or format == "avif", turned=turn != 1)
    iptc = blob("iptc-data")
    metadata = Metadata(
        icc=None if converted else blob("icc-profile-data"),
        exif=exif,
        xmp=xmp or None,
        iptc=cleaned_iptc(iptc, size=size, turned=turn != 1) if iptc else None,
        dpi=dpi if dpi and all(0 < d < MAX_DPI for d in dpi) else None,
        aspect=aspect,
        size=size,
    )
    if format == "jpeg":
        parts = jpeg_parts(data)
        metadata = replace(metadata, comments=comments_of(parts))
        if has_extended_xmp(parts) and "extended XMP" not in lost:
            lost.append("extended XMP")
    if format == "tiff":
        tags, left_out = carried_tags(data, turned=turn != 1, size=size)
        metadata, lost = replace(metadata, tags=tags), lost + left_out
    if format == "tiff" and layout_is_lost(data):
        lost.append("the description of its pages and their layout (ImageJ, OME or the like)")
    return metadata, lost


def _resolution(image: "VipsImage", data: bytes, format: str) -> tuple[Pair | None, Pair | None]:
    """Resolution in pixels per inch, and the pixel aspect if only that is given, before any rotation."""
    if format == "tiff":
        return tiff_resolution(data)
    if format == "png":
        return png_resolution(data)
    if format == "jpeg":
        return jfif_resolution(jpeg_parts(data))
    if format == "avif" and (aspect := aspect_of(data)):
        return None, aspect
    # If a file has no resolution, libvips reports 1 pixel per millimetre.
    has_dpi = image.xres > 0 and image.yres > 0 and (image.xres, image.yres) != (1.0, 1.0)
    return ((image.xres * 25.4, image.yres * 25.4) if has_dpi else None), None
