"""Resize to an exact size, band by band; the pixels equal those of Pillow's resizing of the whole image.

Pillow resizes in two passes, rows first, then columns. Rows are independent of each other, so Pillow itself does the
first pass on each band. The second pass needs some rows above and below; it is done here, with Pillow's coefficients
and order of summation. If the height shrinks more than the width, Pillow may take columns first: its float32 values
then differ by at most 2**-22.
"""

import math
from collections.abc import Iterator
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from a2f.depth import Plane
from a2f.sizes import Size

Box = tuple[int, int, int, int]  # left, upper, right, lower
Method = Literal["LANCZOS", "BICUBIC"]

ROWS_AT_A_TIME = 32  # input rows per step
SUPPORT = {"LANCZOS": 3.0, "BICUBIC": 2.0}  # half the width of the kernel, pixels


class Resampler:
    """Resizes one image that arrives in bands.

    Args:
        given: width and height of the image.
        final: width and height of the result.
        box: the part of the image to resize; by default the whole image.
        method: Lanczos with 3 lobes, or bicubic with a = -0.5; widened when shrinking (antialiasing).
    """

    def __init__(self, given: Size, final: Size, *, box: Box | None = None, method: Method) -> None:
        self._box, self._final, self._method = box or (0, 0, *given), final, method
        _, upper, _, lower = self._box
        self._taps = [] if lower - upper == final[1] else _taps(upper, lower, given[1], final[1], method)
        self._window: list[NDArray[np.float64]] = []  # rows of the final width, the first of them at `_top`
        self._top = self._given = self._done = 0

    def add(self, band: Plane) -> Iterator[Plane]:
        """Add the next rows.

        Args:
            band: [rows, width, C].

        Returns:
            The rows of the result that are complete now, [rows, final width, C] at a time.
        """
        for first in range(0, len(band), ROWS_AT_A_TIME):
            made = self._add(band[first : first + ROWS_AT_A_TIME])
            if len(made):
                yield made

    def _add(self, band: Plane) -> Plane:
        wide, top = self._along_rows(band), self._given
        self._given += len(band)
        if not self._taps:
            upper, lower = self._box[1], self._box[3]
            return wide[max(0, upper - top) : max(0, lower - top)]
        self._window += list(wide.astype(np.float64))
        end = self._done
        while end < len(self._taps) and self._taps[end][0] + len(self._taps[end][1]) <= self._given:
            end += 1
        out = np.empty((end - self._done, *wide.shape[1:]), np.float32)
        part = np.empty(wide.shape[1:], np.float64)
        for row, (first, weights) in enumerate(self._taps[self._done : end]):
            total = np.zeros(wide.shape[1:], np.float64)
            for weight, x in zip(weights, self._window[first - self._top :], strict=False):
                total += np.multiply(x, weight, out=part)
            out[row] = total
        self._done = end
        wanted = self._taps[end][0] if end < len(self._taps) else self._given
        drop = min(len(self._window), max(0, wanted - self._top))
        self._window, self._top = self._window[drop:], self._top + drop
        return out

    def _along_rows(self, band: Plane) -> Plane:
        out = np.empty((len(band), self._final[0], band.shape[2]), np.float32)
        box = (self._box[0], 0, self._box[2], len(band))
        for c in range(band.shape[2]):
            out[..., c] = resampled(band[..., c], (self._final[0], len(band)), self._method, box)
        return out


def resampled(plane: Plane, size: Size, method: Method, box: Box | None = None) -> Plane:
    """Resize one channel to width and height with Pillow in float32."""
    from PIL import Image

    return np.asarray(Image.fromarray(np.ascontiguousarray(plane)).resize(size, Image.Resampling[method], box=box))


def resampling_bytes(given: Size, final: Size, *, channels: int) -> int:
    """The approximate memory of a `Resampler`, besides the bands: its window, its input and output of one step."""
    factor = final[1] / given[1]
    window = ROWS_AT_A_TIME + 2 * SUPPORT["LANCZOS"] * max(1.0, 1 / factor) + 2
    made = ROWS_AT_A_TIME * factor + 1
    return int(final[0] * channels * (8 * (window + 3) + 8 * ROWS_AT_A_TIME + 12 * made))


def _taps(upper: int, lower: int, given: int, final: int, method: Method) -> list[tuple[int, list[float]]]:
    """For each row of the result: the first source row, and the weights of this row and the following rows."""
    scale = (lower - upper) / final
    widened = max(scale, 1.0)
    support, kernel = SUPPORT[method] * widened, _KERNELS[method]
    found = []
    for row in range(final):
        centre = upper + (row + 0.5) * scale
        first, end = max(0, int(centre - support + 0.5)), min(given, int(centre + support + 0.5))
        weights = [kernel((x - centre + 0.5) * (1.0 / widened)) for x in range(first, end)]
        total = sum(weights)
        found.append((first, [weight / total for weight in weights]))
    return found


def _lanczos(x: float) -> float:
    return _sinc(x) * _sinc(x / 3) if -3.0 <= x < 3.0 else 0.0


def _sinc(x: float) -> float:
    return 1.0 if x == 0 else math.sin(x * math.pi) / (x * math.pi)


def _bicubic(x: float) -> float:
    a, x = -0.5, abs(x)
    if x < 1:
        return ((a + 2) * x - (a + 3)) * x * x + 1
    return (((x - 5) * x + 8) * x - 4) * a if x < 2 else 0.0


_KERNELS = {"LANCZOS": _lanczos, "BICUBIC": _bicubic}
