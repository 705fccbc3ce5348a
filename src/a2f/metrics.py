"""PSNR and SSIM by the convention of super-resolution papers: on BT.601 luma, borders cut.

Protocol: uint8 RGB → Y in float, not rounded → cut `border` pixels on each side → PSNR with peak 255; SSIM with an
11x11 Gaussian (σ 1.5), valid window, population covariance.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from a2f.color import rgb_to_y
from a2f.errors import InputError, MissingExtraError


def psnr_y(sr: NDArray[np.uint8], hr: NDArray[np.uint8], *, border: int) -> float:
    """Peak signal-to-noise ratio of the luma.

    Args:
        sr: [H, W, 3] uint8, the result.
        hr: [H, W, 3] uint8, the original image.
        border: pixels to cut from each side; by convention the scale.

    Returns:
        dB; infinite for equal images.

    Raises:
        InputError: if the shapes differ or are not [H, W, 3], or no pixel is left inside the border.
    """
    a, b = _inner_luma(sr, hr, border)
    mse = float(np.mean((a - b) ** 2))
    return math.inf if mse == 0 else 10 * math.log10(255**2 / mse)


def ssim_y(sr: NDArray[np.uint8], hr: NDArray[np.uint8], *, border: int) -> float:
    """Structural similarity of the luma, by scikit-image.

    Args:
        sr: [H, W, 3] uint8, the result.
        hr: [H, W, 3] uint8, the original image.
        border: pixels to cut from each side; by convention the scale.

    Returns:
        At most 1.

    Raises:
        InputError: if the shapes differ or are not [H, W, 3], or fewer than 11 pixels per side are left.
        MissingExtraError: if scikit-image is not installed.
    """
    try:
        from skimage.metrics import structural_similarity
    except ImportError as error:
        raise MissingExtraError("SSIM needs scikit-image: pip install 'a2f[eval]'") from error
    a, b = _inner_luma(sr, hr, border)
    if min(a.shape) < 11:
        raise InputError(f"SSIM needs at least 11 x 11 pixels inside the border, not {a.shape[1]} x {a.shape[0]}")
    protocol = {"data_range": 255, "gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    return float(structural_similarity(a, b, **protocol))  # type: ignore[no-untyped-call]


def _inner_luma(sr: NDArray[Any], hr: NDArray[Any], border: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    for image in (sr, hr):
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise InputError(f"PSNR and SSIM take [H, W, 3] uint8 RGB, not {image.dtype} {image.shape}")
    if sr.shape != hr.shape:
        raise InputError(f"the images differ in size: {sr.shape[1]} x {sr.shape[0]} and {hr.shape[1]} x {hr.shape[0]}")
    if border < 0 or min(sr.shape[:2]) <= 2 * border:
        raise InputError(f"no pixel of {sr.shape[1]} x {sr.shape[0]} is left inside a border of {border}")
    inner = slice(border, -border or None)
    # Use one memory layout: a sum in another order differs in the last digit, so equal images could get different
    # figures.
    a, b = (rgb_to_y(np.ascontiguousarray(image)) for image in (sr, hr))
    return a[inner, inner], b[inner, inner]
