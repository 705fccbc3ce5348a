"""Bicubic resizing with exactly the pixels of MATLAB's ``imresize``.

Cubic kernel with a = -0.5, widened by 1/scale when shrinking (antialiasing), symmetric border, and uint8 rounding
between the vertical and the horizontal pass. The LR images of the benchmarks are made this way.
"""

import functools
import math

import numpy as np
from numpy.typing import NDArray

from a2f.errors import InputError


def imresize(image: NDArray[np.uint8], *, scale: float) -> NDArray[np.uint8]:
    """Resize by a factor.

    Args:
        image: [H, W] or [H, W, C] uint8.
        scale: factor of both sides, e.g. 1/4 or 2.

    Returns:
        uint8 [ceil(H * scale), ceil(W * scale)] or with C.

    Raises:
        InputError: for another dtype or shape, an empty image, or a scale that is not greater than 0.
    """
    if image.dtype != np.uint8 or image.ndim not in (2, 3) or image.size == 0:
        raise InputError(f"imresize takes [H, W] or [H, W, C] uint8, not {image.dtype} {image.shape}")
    if not scale > 0:
        raise InputError(f"imresize takes a scale greater than 0, not {scale}")
    # Round before the ceiling, because of floating-point error: 7 * (1/7) must not give 2 rows.
    rows, cols = (max(1, math.ceil(round(side * scale, 9))) for side in image.shape[:2])
    return _along_rows(_along_rows(image, rows, scale).swapaxes(0, 1), cols, scale).swapaxes(0, 1)


def _along_rows(image: NDArray[np.uint8], n_out: int, scale: float) -> NDArray[np.uint8]:
    weights, index = _taps(image.shape[0], n_out, scale)
    total = np.zeros((n_out, *image.shape[1:]), dtype=np.float64)
    for k in range(weights.shape[1]):
        tap = weights[:, k].reshape(-1, *([1] * (image.ndim - 1)))
        total += tap * image[index[:, k]]
    return np.clip(np.floor(total + 0.5), 0, 255).astype(np.uint8)


@functools.lru_cache(maxsize=64)
def _taps(n_in: int, n_out: int, scale: float) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Weights and source rows of each output row, both [n_out, taps]."""
    shrink = min(scale, 1.0)
    width = 4 / shrink
    centre = np.arange(1, n_out + 1) / scale + 0.5 * (1 - 1 / scale)
    first = np.floor(centre - width / 2)
    rows = first[:, None] + np.arange(math.ceil(width) + 2)
    weights = _cubic((centre[:, None] - rows) * shrink)
    weights /= weights.sum(1, keepdims=True)
    used = np.any(weights != 0, axis=0)
    mirror = np.concatenate([np.arange(n_in), np.arange(n_in)[::-1]])
    index = mirror[np.mod(rows - 1, 2 * n_in).astype(np.intp)]
    return weights[:, used], index[:, used]


def _cubic(x: NDArray[np.float64]) -> NDArray[np.float64]:
    x = np.abs(x)
    near = 1.5 * x**3 - 2.5 * x**2 + 1
    far = -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    return np.where(x <= 1, near, np.where(x <= 2, far, 0.0))
