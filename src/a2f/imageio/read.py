"""Reading image files."""

import io
import re
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from a2f.errors import ImageReadError, TruncatedImageError
from a2f.imageio.exif import dpi_of_exif, exif_of_tiff
from a2f.imageio.limits import DEFAULT_MAX_PIXELS, check_size
from a2f.imageio.picture import Metadata, Picture, Pixels
from a2f.imageio.uncompressed import read_bmp, read_pnm

if TYPE_CHECKING:
    from pyvips import Image as VipsImage

_MAGIC = (
    (re.compile(rb"\xff\xd8\xff"), "jpeg"),
    (re.compile(rb"\x89PNG\r\n\x1a\n"), "png"),
    (re.compile(rb"RIFF....WEBP", re.DOTALL), "webp"),
    (re.compile(rb"II[*+]\0|MM\0[*+]"), "tiff"),
    (re.compile(rb"BM"), "bmp"),
    (re.compile(rb"GIF8[79]a"), "gif"),
    (re.compile(rb"P[1-6][\s#]"), "ppm"),
    (re.compile(rb"....ftyp(?:avif|avis|mif1|miaf)", re.DOTALL), "avif"),
)
_DTYPES: dict[str, Any] = {"uchar": np.uint8, "ushort": np.uint16}


def read_image(
    source: Path | str | bytes,
    *,
    max_pixels: int | None = DEFAULT_MAX_PIXELS,
    allow_truncated: bool = False,
    name: str | None = None,
) -> Picture:
    """Decode an image: upright, in grey or RGB, with its metadata.

    What the file is, is told from its content, not its name. EXIF orientation is applied. CMYK and Lab are converted
    to sRGB through the profile; an RGB profile is kept and the pixels with it. Palettes and 1-bit images become RGB
    or grey; transparency is kept. Of several frames or pages the first is read, with a note.

    Args:
        source: a path, or the bytes of a file.
        max_pixels: largest width times height, checked before anything is decoded; None for no limit.
        allow_truncated: take what there is of a file that ends too early, the rest grey or black.
        name: what to call the image in errors; the path by default.

    Raises:
        ImageReadError: if the file cannot be read or is not an image.
        TruncatedImageError: if it ends too early.
        PixelLimitError: if it has too many pixels.
    """
    name = name or ("the image" if isinstance(source, bytes) else str(source))
    data = source if isinstance(source, bytes) else _bytes_of(Path(source))
    format = _format_of(data, name)
    if format in ("bmp", "ppm"):
        simple = read_bmp if format == "bmp" else read_pnm
        return simple(data, name, max_pixels=max_pixels, allow_truncated=allow_truncated)
    return _read_vips(data, format, name, max_pixels, allow_truncated)


def _bytes_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except IsADirectoryError as error:
        raise ImageReadError(f"{path} is a folder, not an image") from error
    except (OSError, ValueError) as error:
        raise ImageReadError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from error


def _format_of(data: bytes, name: str) -> str:
    if not data:
        raise ImageReadError(f"{name} is empty (0 bytes)")
    for pattern, format in _MAGIC:
        if pattern.match(data):
            return format
    raise ImageReadError(f"{name} is not an image of a known format (jpeg, png, webp, tiff, bmp, gif, ppm, avif)")


def _read_vips(data: bytes, format: str, name: str, max_pixels: int | None, allow_truncated: bool) -> Picture:
    import pyvips

    if format == "tiff" and (lab := _lab8_of_tiff(data, name, max_pixels)) is not None:
        return lab
    options: dict[str, Any] = {"fail_on": "none" if allow_truncated else "truncated"}
    if format in ("jpeg", "png", "tiff", "avif"):
        options["unlimited"] = True  # our own limit stands; libvips' would be a second one
    try:
        image = pyvips.Image.new_from_buffer(data, "", **options)
        check_size(image.width, image.height, name, max_pixels)
        notes = _frames_note(image, name)
        upright = image.autorot()
        pixels, converted = _grey_or_rgb(upright, name)
    except pyvips.Error as error:
        raise _as_ours(error, name) from error
    metadata = _metadata(image, data, format, converted=converted)
    return Picture(pixels=pixels, metadata=metadata, format=format, notes=notes)


def _lab8_of_tiff(data: bytes, name: str, max_pixels: int | None) -> Picture | None:
    """An 8-bit CIELab TIFF, which libvips takes for its own LABQ coding, through Pillow; None for any other file."""
    from PIL import Image, ImageCms, UnidentifiedImageError

    try:
        with warnings.catch_warnings(action="ignore"), Image.open(io.BytesIO(data), formats=("TIFF",)) as image:
            if image.mode != "LAB":
                return None
            check_size(*image.size, name, max_pixels)
            profiles = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
            rgb = ImageCms.applyTransform(image, ImageCms.buildTransform(*profiles, "LAB", "RGB"))
    except (UnidentifiedImageError, SyntaxError, ValueError, OSError):
        return None  # libvips says what is wrong
    return Picture(pixels=np.asarray(rgb), metadata=Metadata(exif=exif_of_tiff(data)), format="tiff")


def _frames_note(image: "VipsImage", name: str) -> tuple[str, ...]:
    pages = image.get("n-pages") if image.get_typeof("n-pages") else 1
    return (f"{name} has {pages} frames or pages; only the first is read",) if pages > 1 else ()


def _grey_or_rgb(image: "VipsImage", name: str) -> tuple[Pixels, bool]:
    """Decode to uint8 or uint16 with 1 to 4 channels; whether the colours were converted to sRGB."""
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
        deep = depth != "uchar" and kind != "labq"
        lab = image.colourspace("lab")
        image = lab[0:3].icc_export(output_profile="srgb", pcs="lab", depth=16 if deep else 8)
        converted = True
    elif depth not in ("uchar", "ushort"):
        raise ImageReadError(f"{name} has {depth} samples: only 8 and 16 bits a channel are read; convert it first")
    pixels = np.frombuffer(image.write_to_memory(), dtype=_DTYPES.get(image.format, np.float32))
    pixels = pixels.reshape(image.height, image.width, image.bands)
    if pixels.dtype not in (np.uint8, np.uint16) or pixels.shape[2] > 4:
        raise ImageReadError(
            f"{name} has {pixels.shape[2]} channels of {pixels.dtype}: grey or RGB, with or without alpha, is read"
        )
    return pixels, converted


def _metadata(image: "VipsImage", data: bytes, format: str, *, converted: bool) -> Metadata:
    def blob(field: str) -> bytes | None:
        return bytes(image.get(field)) if image.get_typeof(field) else None

    # Where a file says nothing, libvips puts 1 pixel a millimetre, and 72 dpi for PNG and JPEG.
    has_dpi = image.xres > 0 and image.yres > 0 and (image.xres, image.yres) != (1.0, 1.0)
    if format == "png":
        has_dpi = has_dpi and b"pHYs" in data.partition(b"IDAT")[0]
    elif format == "jpeg":
        has_dpi = has_dpi and image.get_typeof("resolution-unit") != 0
    exif = exif_of_tiff(data) if format == "tiff" else blob("exif-data")
    dpi = (image.xres * 25.4, image.yres * 25.4) if has_dpi else exif and dpi_of_exif(exif)
    return Metadata(
        icc=None if converted else blob("icc-profile-data"),
        exif=exif,
        xmp=blob("xmp-data"),
        iptc=blob("iptc-data"),
        dpi=dpi or None,
    )


def _as_ours(error: Exception, name: str) -> ImageReadError:
    """One line of what libvips says in several."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = lines[-1] if lines else "unknown error"
    if re.search(
        r"premature|truncat|end of (file|input|image|stream)|not enough|eof|incomplete|read error|short",
        str(error),
        re.I,
    ):
        return TruncatedImageError(f"{name} is truncated or damaged ({text}); --allow-truncated takes what there is")
    return ImageReadError(f"cannot decode {name}: {text}")
