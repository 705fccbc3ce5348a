"""Convert PIL images to arrays, and arrays back to PIL images with their metadata."""

import io
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from a2f.errors import ImageReadError, InputError
from a2f.imageio import quality_of_table, read_image
from a2f.imageio.exif import ORIENTATION, updated_exif
from a2f.imageio.tiff import exif_of_tiff
from a2f.imageio.xmp import cleaned_xmp, updated_xmp

if TYPE_CHECKING:
    from PIL.Image import Image as PillowImage


def is_pillow(image: object) -> bool:
    """Whether an object is a PIL image."""
    from PIL import Image

    return isinstance(image, Image.Image)


def upright_of(image: "PillowImage") -> "PillowImage":
    """Decode an image and turn it upright by its EXIF orientation.

    Raises:
        InputError: if it has no pixels.
        ImageReadError: if Pillow cannot decode it.
    """
    from PIL import ImageOps

    if min(image.size) < 1:
        raise InputError(f"the image is empty: {image.size[0]} x {image.size[1]} pixels")
    try:
        image.load()
    except (OSError, SyntaxError) as error:
        raise ImageReadError(f"Pillow cannot decode the image: {error}") from error
    return ImageOps.exif_transpose(image)


def pixels_of(upright: "PillowImage") -> NDArray[Any]:
    """The pixels [H, W, C], uint8 or uint16; palettes, 1 bit, CMYK and similar modes are converted to grey or RGB.

    Raises:
        InputError: for a mode that is not supported.
    """
    rich, mode = _rich_mode(upright)
    planes = np.asarray(rich).astype(np.uint16) if mode == "I;16" else np.asarray(rich)
    return planes if planes.ndim == 3 else planes[..., None]


def image_of(pixels: NDArray[Any], *, given: "PillowImage", upright: "PillowImage") -> "PillowImage":
    """Make a PIL image of an enlargement, with the ICC profile, the resolution, EXIF and XMP of the input.

    Args:
        pixels: the enlargement, [H, W, C].
        given: the input.
        upright: the input, turned upright by `upright_of`.
    """
    from PIL import Image

    large = Image.fromarray(pixels if pixels.shape[2] > 1 else pixels[..., 0])
    kept = {key: upright.info[key] for key in ("icc_profile", "dpi", "xmp") if key in upright.info}
    if given.mode in ("CMYK", "LAB"):
        kept.pop("icc_profile", None)  # it describes the old colours; the pixels are sRGB now
    if isinstance(kept.get("xmp"), bytes):
        turned = given.getexif().get(ORIENTATION, 1) != 1
        packet, _ = cleaned_xmp(kept["xmp"], upright=True, turned=turned)
        kept["xmp"] = updated_xmp(packet, size=large.size, given=upright.size)
        if not packet:  # only outdated properties were in it
            del kept["xmp"]
    block = _exif(given, large.size)
    large.info.update(kept | ({"exif": block} if block else {}))
    return large


def jpeg_quality_of(image: Any) -> int | None:
    """The quality of an opened JPEG; None for other images, and after changes or copies, which drop the tables."""
    tables, layers = getattr(image, "quantization", None), getattr(image, "layer", None)
    table = tables.get(layers[0][3]) if tables and layers else None
    return quality_of_table(table) if table else None


def _exif(image: "PillowImage", size: tuple[int, int]) -> bytes | None:
    exif = image.getexif()
    # For a TIFF, Pillow's EXIF also has the tags that locate the pixels in the file.
    block = exif_of_tiff(exif.tobytes()) if image.format == "TIFF" else exif.tobytes() if exif else None
    return updated_exif(block, width=size[0], height=size[1]) if block else None


def _rich_mode(image: Any) -> tuple[Any, str]:
    """Convert the image to L, LA, RGB, RGBA or I;16 without loss; return it and the mode."""
    mode = image.mode
    if "transparency" in image.info and mode in ("1", "L", "RGB"):  # one colour means transparent
        rich = "RGBA" if mode == "RGB" else "LA"
        return image.convert(rich), rich
    if "transparency" in image.info and mode.startswith("I"):
        raise InputError("Pillow has no 16-bit grey with transparency: give the path or the bytes of the file instead")
    if mode in ("L", "LA", "RGB", "RGBA", "I;16"):
        return image, mode
    if mode in ("I;16B", "I;16L", "I"):
        values = np.asarray(image)
        if values.size and (values.min() < 0 or values.max() > 65535):
            raise InputError("a PIL image of mode I is read as 16 bits: its values must lie in 0..65535")
        from PIL import Image

        return Image.fromarray(values.astype(np.uint16)), "I;16"
    if mode == "CMYK":
        out = io.BytesIO()
        image.save(out, "TIFF", icc_profile=image.info.get("icc_profile"))
        from PIL import Image

        return Image.fromarray(read_image(out.getvalue()).pixels), "RGB"
    if mode == "1":
        return image.convert("L"), "L"
    if mode in ("P", "PA"):
        rich = "RGBA" if mode == "PA" or "transparency" in image.info else "RGB"
        return image.convert(rich), rich
    if mode in ("RGBX", "YCbCr", "HSV", "LAB"):
        return image.convert("RGB"), "RGB"
    if mode in ("RGBa", "La"):
        return image.convert("RGBA" if mode == "RGBa" else "LA"), "RGBA"
    raise InputError(f"a PIL image of mode {mode} is not supported: convert it to L, LA, RGB, RGBA or I;16")
