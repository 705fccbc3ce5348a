"""What the header of an image file tells: its format, its size, and the layout of its pixels. Nothing is decoded."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from a2f.errors import Hint, ImageReadError, TruncatedImageError
from a2f.imageio.exr import exr_samples, exr_size
from a2f.imageio.heic import heic_samples, heic_size
from a2f.imageio.heif_boxes import brands_of, ends_early
from a2f.imageio.jxl import jxl_samples, jxl_size
from a2f.imageio.limits import Layout
from a2f.imageio.loaders import open_vips
from a2f.imageio.png_chunks import check_chunks
from a2f.imageio.textures import is_tga, texture_size
from a2f.imageio.tiff import main_picture_first
from a2f.imageio.tiff_directory import layout_of
from a2f.imageio.uncompressed import bmp_size, pnm_samples, pnm_size

if TYPE_CHECKING:
    from pyvips import Error as VipsError

_MAGIC = (
    (re.compile(rb"\xff\xd8\xff"), "jpeg"),
    (re.compile(rb"\x89PNG\r\n\x1a\n"), "png"),
    (re.compile(rb"RIFF....WEBP", re.DOTALL), "webp"),
    (re.compile(rb"II[*+]\0|MM\0[*+]"), "tiff"),
    (re.compile(rb"BM.{12}[\x0c\x10\x28\x34\x38\x40\x6c\x7c]\0\0\0", re.DOTALL), "bmp"),
    (re.compile(rb"GIF8[79]a"), "gif"),
    (re.compile(rb"P[1-6][\s#]"), "ppm"),
    (re.compile(rb"\xff\x0a|\0\0\0\x0cJXL \r\n\x87\n"), "jxl"),
    (re.compile(rb"\x76\x2f\x31\x01"), "exr"),
    (re.compile(rb"DDS \x7c\0\0\0"), "dds"),
)
AVIF_BRANDS, HEIF_BRANDS = {b"avif", b"avis"}, {b"mif1", b"miaf", b"msf1"}  # the latter do not specify the codec
HEIC_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx"}
_MAGIC_BYTES = 4096  # the start of HEIF files has the codec
_SAMPLE_BYTES = {"uchar": 1, "char": 1, "ushort": 2, "short": 2}  # of the formats of libvips; 4 for all others


def _rgba_of_bytes(data: bytes, name: str) -> tuple[int, int]:
    """The channels and the bytes per sample that a decoder gives for every file of its format."""
    return 4, 1


_Reader = Callable[[bytes, str], tuple[int, int]]
# Formats that libvips does not read: the reader of the size, and that of the channels and the bytes per sample.
_OTHERS: dict[str, tuple[_Reader, _Reader]] = {
    "bmp": (bmp_size, _rgba_of_bytes),
    "ppm": (pnm_size, pnm_samples),
    "heic": (heic_size, heic_samples),
    "jxl": (jxl_size, jxl_samples),
    "exr": (exr_size, exr_samples),
    "tga": (texture_size, _rgba_of_bytes),
    "dds": (texture_size, _rgba_of_bytes),
}


def header_of(data: bytes, *, name: str) -> Layout:
    """Format, size and layout of the pixels of an image, upright, from the header, without decoding.

    Args:
        data: the bytes of a file.
        name: name of the image in errors.

    Raises:
        ImageReadError: if the file is not an image.
        TruncatedImageError: if the file ends before the header does.
    """
    import pyvips

    format = format_of(data, name)
    if format in _OTHERS:
        size_of, samples_of = _OTHERS[format]
        (width, height), (channels, sample_bytes) = size_of(data, name), samples_of(data, name)
        return Layout(format=format, width=width, height=height, channels=channels, sample_bytes=sample_bytes)
    if format == "png":
        check_chunks(data, name)
    data = main_picture_first(data) if format == "tiff" else data
    try:
        image = open_vips(data, format, fail_on="none").autorot()
    except pyvips.Error as error:
        raise as_ours(error, data, format, name) from error
    return Layout(
        format=format,
        width=image.width,
        height=image.height,
        channels=image.bands,
        sample_bytes=_SAMPLE_BYTES.get(image.format, 4),
    )


def size_of_file(path: Path) -> tuple[int, int]:
    """Width and height of an image, upright, from the header, without decoding.

    Raises:
        ImageReadError: if the file cannot be read or is not an image.
    """
    name = str(path)
    layout = header_of(bytes_of(path, name), name=name)
    return layout.width, layout.height


def format_of_file(path: Path) -> str | None:
    """The format of a file, from its content; None if it cannot be read, is a pipe, or has no known format."""
    if not path.is_file():
        return None
    try:
        with path.open("rb") as file:
            return format_of(file.read(_MAGIC_BYTES), str(path))
    except (OSError, ImageReadError):
        return None


def format_of(data: bytes, name: str) -> str:
    """The format of a file, from its content; the first bytes are enough.

    Raises:
        ImageReadError: if it has no known format.
    """
    if not data:
        raise ImageReadError(f"{name} is empty (0 bytes)")
    for pattern, format in _MAGIC:
        if pattern.match(data):
            return format
    brands = brands_of(data)
    if brands & HEIC_BRANDS and not brands & AVIF_BRANDS:
        return "heic"
    if brands & (AVIF_BRANDS | HEIF_BRANDS):
        return "heic" if b"hvc1" in data[:_MAGIC_BYTES] and b"av01" not in data[:_MAGIC_BYTES] else "avif"
    if is_tga(data):
        return "tga"
    known = Hint(text="{option} lists them", command="a2f formats")
    raise ImageReadError(f"{name} is not an image of a known format", known)


def bytes_of(path: Path, name: str) -> bytes:
    """All of a file, if it starts as an image.

    Raises:
        ImageReadError: if it cannot be read, or is not an image.
    """
    try:
        with path.open("rb") as file:
            start = file.read(_MAGIC_BYTES)
            format_of(start, name)  # checked before gigabytes of another file are read
            return start + file.read()
    except IsADirectoryError as error:
        raise ImageReadError(f"{path} is a folder, not an image") from error
    except (OSError, ValueError) as error:
        raise ImageReadError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from error


def as_ours(error: "VipsError", data: bytes, format: str, name: str) -> ImageReadError:
    """The error of libvips as one line; its text may have several lines, or none if another thread cleared it."""
    lines = [line.strip() for line in error.detail.splitlines() if line.strip()]
    lines = [line for line in lines if "no property named" not in line]  # pyvips asks every image for it
    said = lines[-1] if lines else "it is damaged"
    if "samples out of range" in said:
        said = "its samples are neither integers of 8 or 16 bits nor floating point of 16 or 32; convert it first"
    if _ends_too_early(data, format):
        return TruncatedImageError(f"{name} is truncated or damaged ({said}); too much of it is missing")
    return ImageReadError(f"cannot decode {name}: {said}")


def _ends_too_early(data: bytes, format: str) -> bool:
    """Whether the end is missing, or a length or an offset in the file points beyond it."""
    if format == "webp":
        return int.from_bytes(data[4:8], "little") + 8 > len(data)
    if format == "tiff":
        layout = layout_of(data)
        return layout is None or layout.first >= len(data)
    if format == "avif":
        return ends_early(data)
    end = {"png": b"IEND", "jpeg": b"\xff\xd9", "gif": b";"}[format]
    return end not in data[-64:]
