"""Between the image of the caller, [H, W, 3], and the batch of a network, [1, 3, H, W]."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from a2f.errors import InputError

BEYOND = 0.5  # [0, 1]: what other filters overshoot is taken, another range of values is not


def check_image(image: NDArray[Any], *, integers: bool = False) -> NDArray[Any]:
    """Give an image back if an upscaler takes it.

    Args:
        image: [H, W, 3] float32, finite, in [0, 1] or little beyond, H and W at least 1.
        integers: whether uint8 and uint16 are taken too, which stand for [0, 1].

    Raises:
        InputError: for anything else.
    """
    dtypes = (np.float32, np.uint8, np.uint16) if integers else (np.float32,)
    if not isinstance(image, np.ndarray) or image.dtype not in dtypes or image.ndim != 3 or image.shape[2] != 3:
        got = f"{image.dtype} {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
        raise InputError(f"an upscaler takes [H, W, 3] float32 RGB in [0, 1], not {got}")
    if image.size == 0:
        raise InputError(f"an image of {image.shape[1]} x {image.shape[0]} pixels is empty")
    if image.dtype != np.float32:
        return image
    low, high = float(image.min()), float(image.max())
    if not np.isfinite(high - low):
        raise InputError("the image holds NaN or infinity")
    if low < -BEYOND or high > 1 + BEYOND:
        raise InputError(
            f"an upscaler takes values in [0, 1], not in [{low:g}, {high:g}]: divide by the value of white, often 255"
        )
    return image


def to_batch(image: NDArray[Any]) -> NDArray[np.float32]:
    """[H, W, 3] -> [1, 3, H, W], contiguous; checked as `check_image` does."""
    return np.ascontiguousarray(check_image(image).transpose(2, 0, 1)[None])


def to_image(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """[1, 3, H, W] -> [H, W, 3]."""
    image: NDArray[np.float32] = x[0].transpose(1, 2, 0)
    return image
