"""Read a picture as 8-bit RGB, for training, evaluation, prepared data, calibration and comparison."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from a2f.errors import ImageReadError, ImageWriteError, MissingExtraError, PixelLimitError, TruncatedImageError
from a2f.imageio.colour import to_srgb
from a2f.imageio.light import without_light
from a2f.imageio.read import read_image


def read_rgb8(source: Path | bytes, *, name: str | None = None) -> NDArray[np.uint8]:
    """Read an image file as RGB in 8 bits.

    The image is turned upright and converted to sRGB. Grey is repeated, transparency is blended with white, 16 bits are
    rounded, and floating-point light is clipped to black and white.

    Args:
        source: path, or the bytes of a file.
        name: name of the image in errors; by default the path.

    Returns:
        [H, W, 3] uint8 in sRGB. An extra channel that is not transparency is left out.

    Raises:
        ImageReadError: if the file cannot be read, is damaged or has too many pixels.
    """
    called = name or (str(source) if isinstance(source, Path) else "the image")
    try:
        picture = read_image(source, name=called)
    except MissingExtraError as error:  # an error of this file, not of the whole run
        raise ImageReadError(str(error)) from error
    except TruncatedImageError as error:  # its hint is only valid for enlargements
        raise ImageReadError(f"{called} is truncated or damaged") from error
    except PixelLimitError as error:
        raise ImageReadError(str(error).partition(": raise")[0]) from error
    picture = without_light(picture)
    try:
        pixels = to_srgb(picture.pixels, picture.metadata)
    except ImageWriteError as error:
        raise ImageReadError(f"{called}: {error}") from error
    pixels = pixels[..., :-1] if picture.data_band else pixels
    if pixels.dtype == np.uint8 and pixels.shape[2] == 3:
        return np.ascontiguousarray(pixels)
    values = pixels.astype(np.float64) / np.iinfo(pixels.dtype).max
    if values.shape[2] in (2, 4):
        alpha = values[..., -1:]
        values = values[..., :-1] * alpha + 1 - alpha
    return to_uint8(values if values.shape[2] == 3 else values.repeat(3, axis=2))


def to_uint8(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Convert values in [0, 1], of any shape, to uint8: clipped and rounded half up."""
    return np.floor(values.clip(0, 1) * 255 + 0.5).astype(np.uint8)
