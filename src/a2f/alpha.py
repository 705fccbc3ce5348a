"""Transparency: colour under it, and its own enlargement."""

from collections.abc import Iterator

import numpy as np

from a2f.color import LUMA
from a2f.depth import Plane
from a2f.resample import resampled
from a2f.runtime.memory import give_back_freed
from a2f.runtime.plan import reserve
from a2f.upscaler import BandUpscaler, Upscaler

FAINT = 1 / 16  # of the strongest alpha: below this a pixel's own colour counts ever less


def fill_hidden(rgb: Plane, alpha: Plane) -> Plane:
    """Give fully transparent pixels the colour of what is visible around them, and faint ones a share of it.

    Colours, weighted with alpha, are averaged into ever smaller images and taken back from the first that has any. What
    an exporter leaves at an alpha of 1 in 255 is as little chosen as what lies at 0: below `FAINT` of the strongest
    alpha the colour passes gradually from the pixel's own to that of its surroundings.

    Args:
        rgb: [H, W, 3].
        alpha: [H, W] in [0, 1].

    Returns:
        [H, W, 3]; all other pixels keep their colour exactly. Without a single visible pixel, `rgb` as it is.
    """
    peak = alpha.max()
    if peak == 0 or alpha.min() >= FAINT * peak:
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
        share = (weight / (FAINT * peak)).clip(0, 1)[..., None]
        colour = share * own + (1 - share) * coarse
    return np.asarray(colour, dtype=np.float32)


def _halve(x: Plane) -> Plane:
    """Mean of 2x2 blocks; odd edges are padded with nothing."""
    padded = np.pad(x, ((0, x.shape[0] % 2), (0, x.shape[1] % 2), (0, 0)))
    blocks = padded.reshape(padded.shape[0] // 2, 2, padded.shape[1] // 2, 2, -1)
    return np.asarray(blocks.mean((1, 3)), dtype=np.float32)


def enlarge_alpha(alpha: Plane, upscaler: Upscaler) -> Plane:
    """Enlarge alpha, held to the range of its neighbourhood, so that opaque stays opaque and empty stays empty.

    The network's sharp edge is taken where bicubic sees one, and bicubic in its tails, where ringing would show as
    specks.

    Args:
        alpha: [H, W] in [0, 1].
        upscaler: of the pass.

    Returns:
        [sH, sW] in [0, 1].
    """
    s = upscaler.scale
    height, width = alpha.shape
    grey = alpha[..., None].repeat(3, axis=2)
    with reserve(8 * s * s * alpha.size):  # the two planes below
        sharp = _bands_of(grey, upscaler)
        large = resampled(alpha, (width * s, height * s), "BICUBIC").copy()
        low, high = _neighbourhood(alpha)
        top = 0
        for band in sharp:
            rows = slice(top, top + len(band))
            soft = large[rows].clip(0, 1)
            soft += 4 * soft * (1 - soft) * (band @ LUMA - soft)
            lr_rows = np.arange(rows.start, rows.stop) // s
            large[rows] = soft.clip(low[lr_rows].repeat(s, 1), high[lr_rows].repeat(s, 1))
            top = rows.stop
    give_back_freed()  # before the colours take theirs
    return large


def _bands_of(rgb: Plane, upscaler: Upscaler) -> Iterator[Plane]:
    """An enlargement in bands, of at most 256 rows for what comes whole."""
    for band in upscaler.bands(rgb) if isinstance(upscaler, BandUpscaler) else [upscaler(rgb)]:
        for top in range(0, len(band), 256):
            yield band[top : top + 256]


def _neighbourhood(plane: Plane) -> tuple[Plane, Plane]:
    """Smallest and largest value of each 3x3 neighbourhood."""
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(plane, 1, mode="edge"), (3, 3))
    return windows.min((2, 3)), windows.max((2, 3))
