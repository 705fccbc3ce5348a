"""Multi-scale SSIM on the luma (Wang, Simoncelli, Bovik, Asilomar 2003)."""

import numpy as np
from numpy.typing import NDArray

from a2f.color import rgb_to_y
from a2f.errors import InputError, MissingExtraError

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # weights of the scales, finest first
WINDOW, SIGMA = 11, 1.5
C1, C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
MIN_PX = (WINDOW - 1) * 2 ** (len(WEIGHTS) - 1) + 1  # the coarsest scale must have one window


def ms_ssim_y(sr: NDArray[np.uint8], hr: NDArray[np.uint8], *, border: int) -> float:
    """Multi-scale structural similarity of the luma; the window, the constants and the border are those of SSIM-Y.

    Args:
        sr: [H, W, 3] uint8, the result.
        hr: [H, W, 3] uint8, the original.
        border: pixels to cut from each side.

    Returns:
        At most 1. A negative contrast term counts as 0.

    Raises:
        InputError: if the sizes differ, or fewer than 161 pixels per side are left.
        MissingExtraError: if scipy, a dependency of scikit-image, is not installed.
    """
    if sr.shape != hr.shape:
        raise InputError(f"the images differ in size: {sr.shape[1]} x {sr.shape[0]} and {hr.shape[1]} x {hr.shape[0]}")
    inner = slice(border, -border or None)
    a, b = (
        rgb_to_y(np.ascontiguousarray(image))[inner, inner] for image in (sr, hr)
    )  # one memory layout, as in `a2f.metrics`
    if min(a.shape) < MIN_PX:
        raise InputError(
            f"MS-SSIM needs at least {MIN_PX} x {MIN_PX} pixels inside the border, "
            f"not {a.shape[1]} x {a.shape[0]}: leave ms_ssim out for this set"
        )
    result = 1.0
    for number, weight in enumerate(WEIGHTS):
        luminance, contrast = _terms(a, b)
        last = number == len(WEIGHTS) - 1
        value = float((luminance * contrast).mean() if last else contrast.mean())
        result *= max(value, 0.0) ** weight
        a, b = _halved(a), _halved(b)
    return result


def _terms(a: NDArray[np.float64], b: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The luminance and the contrast-structure term of SSIM at each position of the window."""
    mean_a, mean_b = _smoothed(a), _smoothed(b)
    var_a, var_b = _smoothed(a * a) - mean_a**2, _smoothed(b * b) - mean_b**2
    both = _smoothed(a * b) - mean_a * mean_b
    luminance = (2 * mean_a * mean_b + C1) / (mean_a**2 + mean_b**2 + C1)
    return luminance, (2 * both + C2) / (var_a + var_b + C2)


def _smoothed(image: NDArray[np.float64]) -> NDArray[np.float64]:
    """Gaussian smoothing at all positions where the window is inside the image."""
    try:
        from scipy.ndimage import correlate1d
    except ImportError as error:
        raise MissingExtraError("MS-SSIM needs scipy: pip install 'a2f[eval]'") from error
    line = np.exp(-((np.arange(WINDOW) - WINDOW // 2) ** 2) / (2 * SIGMA**2))
    line /= line.sum()
    inside = slice(WINDOW // 2, -(WINDOW // 2))
    smooth: NDArray[np.float64] = correlate1d(correlate1d(image, line, axis=0), line, axis=1)[inside, inside]
    return smooth


def _halved(image: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean of 2 x 2 pixels; a last odd row or column is repeated."""
    padded = np.pad(image, [(0, side % 2) for side in image.shape], mode="edge")
    return (padded[::2, ::2] + padded[1::2, ::2] + padded[::2, 1::2] + padded[1::2, 1::2]) / 4
