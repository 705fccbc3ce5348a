"""Between the image of the caller, [H, W, 3], and the batch of a network, [1, 3, H, W]."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from a2f.errors import InputError


def to_batch(image: NDArray[Any]) -> NDArray[np.float32]:
    """Check an image and lay it out as a batch of one.

    Args:
        image: [H, W, 3] float32, finite, H and W at least 1.

    Returns:
        [1, 3, H, W] float32, contiguous.

    Raises:
        InputError: for anything else.
    """
    if not isinstance(image, np.ndarray) or image.dtype != np.float32 or image.ndim != 3 or image.shape[2] != 3:
        got = f"{image.dtype} {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
        raise InputError(f"an upscaler takes [H, W, 3] float32 RGB in [0, 1], not {got}")
    if image.size == 0:
        raise InputError(f"an image of {image.shape[1]} x {image.shape[0]} pixels is empty")
    if not np.isfinite(image).all():
        raise InputError("the image holds NaN or infinity")
    return np.ascontiguousarray(image.transpose(2, 0, 1)[None])


def to_image(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """[1, 3, H, W] -> [H, W, 3]."""
    image: NDArray[np.float32] = x[0].transpose(1, 2, 0)
    return image
