"""Transparency: the colour of transparent pixels, and the enlargement of alpha."""

from collections.abc import Iterator

import numpy as np

from a2f.color import LUMA
from a2f.depth import Plane
from a2f.machine import release_free_memory
from a2f.resample import resampled

FAINT_ALPHA = 1 / 16  # share of the largest alpha; below it a pixel's own colour is mixed with its surroundings


def fill_hidden(rgb: Plane, alpha: Plane) -> Plane:
    """Replace the colour of transparent pixels by the visible colour around them, and mix it into faint pixels.

    Colours are weighted with alpha and averaged into smaller and smaller images. A transparent pixel takes its colour
    from the first of these images that has one. An alpha of 1 in 255 is treated like 0, because exporters leave
    arbitrary colours there too: below `FAINT_ALPHA` of the largest alpha the colour changes gradually from that of the
        pixel to that of its surroundings.

    Args:
        rgb: [H, W, 3].
        alpha: [H, W] in [0, 1].

    Returns:
        [H, W, 3]; all other pixels keep their exact colour. If no pixel is visible, the result is `rgb`.
    """
    peak = alpha.max()
    if peak == 0 or alpha.min() >= FAINT_ALPHA * peak:
        return rgb
    levels = [(rgb * alpha[..., None], alpha)]
    while max(levels[-1][1].shape) > 1:
        levels.append((_halve(levels[-1][0]), _halve(levels[-1][1][..., None])[..., 0]))
    colour = rgb
    for level, (weighted, weight) in reversed(list(enumerate(levels))):
        own = rgb if level == 0 else weighted / np.maximum(weight, 1e-12)[..., None]
        if level == len(levels) - 1:
            colour = own
            continue
        coarse = colour.repeat(2, 0).repeat(2, 1)[: weight.shape[0], : weight.shape[1]]
        share = (weight / (FAINT_ALPHA * peak)).clip(0, 1)[..., None]
        colour = share * own + (1 - share) * coarse
    return np.asarray(colour, dtype=np.float32)


def _halve(x: Plane) -> Plane:
    """Mean of 2x2 blocks; odd edges are padded with zeros."""
    padded = np.pad(x, ((0, x.shape[0] % 2), (0, x.shape[1] % 2), (0, 0)))
    blocks = padded.reshape(padded.shape[0] // 2, 2, padded.shape[1] // 2, 2, -1)
    return np.asarray(blocks.mean((1, 3)), dtype=np.float32)


def enlarge_alpha(alpha: Plane, bands: Iterator[Plane], *, scale: int) -> Plane:
    """Enlarge alpha and limit it to the range of its neighbourhood: opaque stays opaque, empty stays empty.

    At an edge the network's result is used. Elsewhere bicubic is used, because the ringing of the network would be
    visible as specks.

    Args:
        alpha: [H, W] in [0, 1].
        bands: the network's enlargement of alpha as a grey image, [rows, sW, 3] at a time, from the top.
        scale: s.

    Returns:
        [sH, sW] in [0, 1].
    """
    height, width = alpha.shape
    large = resampled(alpha, (width * scale, height * scale), "BICUBIC").copy()
    low, high = _neighbourhood(alpha)
    top = 0
    for band in bands:
        rows = slice(top, top + len(band))
        soft = large[rows].clip(0, 1)
        soft += 4 * soft * (1 - soft) * (band @ LUMA - soft)
        lr_rows = np.arange(rows.start, rows.stop) // scale
        large[rows] = soft.clip(low[lr_rows].repeat(scale, 1), high[lr_rows].repeat(scale, 1))
        top = rows.stop
    release_free_memory()  # before the colours need memory
    return large


def _neighbourhood(plane: Plane) -> tuple[Plane, Plane]:
    """Smallest and largest value of each 3x3 neighbourhood."""
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(plane, 1, mode="edge"), (3, 3))
    return windows.min((2, 3)), windows.max((2, 3))
