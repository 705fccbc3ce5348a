"""Bit depth: convert pixels of any dtype to floats in [0, 1] and back. All rounding happens here."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from a2f.errors import InputError

Plane = NDArray[np.float32]

ROWS_AT_A_TIME = 32  # so that intermediate values stay in the cache


def check_pixels(pixels: NDArray[Any]) -> None:
    """Raise InputError unless the array is an image.

    Args:
        pixels: [H, W, C], C from 1 to 4, of uint8, uint16, or float32 in [0, 1].
    """
    if not isinstance(pixels, np.ndarray) or pixels.ndim != 3 or pixels.shape[2] not in (1, 2, 3, 4):
        got = f"an array of shape {pixels.shape}" if isinstance(pixels, np.ndarray) else f"a {type(pixels).__name__}"
        raise InputError(f"an image is an array [H, W, C] with 1 to 4 channels, not {got}")
    if pixels.size == 0:
        raise InputError(f"the image is empty: {pixels.shape[1]} x {pixels.shape[0]} pixels")
    native = pixels.dtype.newbyteorder("=")
    if native in (np.uint8, np.uint16):
        return
    if native != np.float32:
        raise InputError(f"an image is uint8, uint16 or float32, not {pixels.dtype}: convert it first")
    if not np.isfinite(pixels).all():
        raise InputError("the image holds NaN or infinity")
    low, high = float(pixels.min()), float(pixels.max())
    if low < 0 or high > 1:
        raise InputError(
            f"float values must be in [0, 1], not in [{low:g}, {high:g}]: divide by the value of white, for example 255"
        )


def to_float(pixels: NDArray[Any]) -> Plane:
    """Convert pixels to float32 in [0, 1]; InputError if `check_pixels` rejects them."""
    check_pixels(pixels)
    values = pixels.astype(np.float32, copy=False)
    return values if pixels.dtype.kind == "f" else values / np.float32(np.iinfo(pixels.dtype.newbyteorder("=")).max)


def from_float(values: Plane, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Clip floats to [0, 1] and convert them to a dtype; integers are rounded half up."""
    if dtype.kind == "f":
        return values.clip(0, 1).astype(dtype, copy=False)
    top = np.iinfo(dtype).max
    kind = np.float32 if top == 255 else np.float64
    out = np.empty(values.shape, dtype)
    for row in range(0, len(values), ROWS_AT_A_TIME):
        part = values[row : row + ROWS_AT_A_TIME].clip(0, 1)
        out[row : row + ROWS_AT_A_TIME] = part * kind(top) + kind(0.5)  # the assignment truncates
    return out
