"""Self-ensemble: the mean of runs on an image flipped and turned (Lim et al., EDSR, 2017, Sec. 3.4)."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import chain
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from a2f.errors import MemoryLimitError, UsageError
from a2f.runtime.arrays import check_image
from a2f.runtime.features import NamelessFile
from a2f.runtime.plan import Limits, budget_bytes, checked, may_refuse, reserve
from a2f.upscaler import BandUpscaler, Described, Upscaler

Array = NDArray[np.float32]
AT_A_TIME = 2**19  # values of a band that are added up at a time: 2 MB
MEMORY_SHARE = 4  # the sum lies in memory if it takes at most a quarter: the network needs the rest more


@dataclass(frozen=True, kw_only=True)
class View:
    """An image transposed or not, then its rows and columns reversed or not: one of the eight symmetries of a square.

    Attributes:
        transposed: rows become columns, first.
        rows_reversed: upside down, then.
        columns_reversed: left and right change places, then.
    """

    transposed: bool = False
    rows_reversed: bool = False
    columns_reversed: bool = False

    def of(self, image: NDArray[Any]) -> NDArray[Any]:
        """[H, W, 3] or, transposed, [W, H, 3]; no copy."""
        return self._reversed(image.swapaxes(0, 1) if self.transposed else image)

    def back(self, band: Array, top: int, size: tuple[int, int]) -> tuple[int, int, Array]:
        """Where rows of an enlarged view belong.

        Args:
            band: [rows, columns, 3] of the enlarged view.
            top: its first row there.
            size: height and width of the enlarged image, upright.

        Returns:
            Top row, left column and pixels [rows, columns, 3] in the upright image.
        """
        total = size[1] if self.transposed else size[0]
        first = total - top - len(band) if self.rows_reversed else top
        upright = self._reversed(band)
        return (0, first, upright.swapaxes(0, 1)) if self.transposed else (first, 0, upright)

    def _reversed(self, image: NDArray[Any]) -> NDArray[Any]:
        return image[:: -1 if self.rows_reversed else 1, :: -1 if self.columns_reversed else 1]


UPRIGHT = View()
MIRRORED = View(columns_reversed=True)
FLIPS = (MIRRORED, View(rows_reversed=True), View(rows_reversed=True, columns_reversed=True))
TURNS = tuple(
    View(transposed=True, rows_reversed=rows, columns_reversed=columns)
    for rows in (False, True)
    for columns in (False, True)
)
# The image as it is comes last: its rows are those of the result, which is given band by band while it runs.
VIEWS: dict[int, tuple[View, ...]] = {
    1: (UPRIGHT,),
    2: (MIRRORED, UPRIGHT),
    4: (*FLIPS, UPRIGHT),
    8: (*TURNS, *FLIPS, UPRIGHT),
}


def check_ensemble(runs: int) -> int:
    """Give a number of runs back if there is an ensemble of so many.

    Raises:
        UsageError: for another number than 1, 2, 4 and 8.
    """
    if isinstance(runs, bool) or not isinstance(runs, int) or runs not in VIEWS:
        raise UsageError(f"an ensemble of {runs!r}: choose 1 (off), 2 (mirrored), 4 (all flips) or 8 (flips and turns)")
    return runs


def ensemble_of(upscaler: Upscaler, runs: int, *, limits: Limits) -> Upscaler:
    """An upscaler that runs another one several times and gives the mean, taken in float32 before any rounding.

    Args:
        upscaler: runs once on each view of an image.
        runs: 1, the upscaler itself; 2, the image and its mirror image; 4, all flips: also upside down, and both; 8,
            the four flips of the image and of the transposed image, which are all flips and turns by 90 degrees.
        limits: those of the upscaler; the sum of the runs is kept within them, 12 bytes a pixel of the result, in
            memory or in a temporary file.

    Returns:
        A `BandUpscaler` if that was given.

    Raises:
        UsageError: as `check_ensemble`.
    """
    if check_ensemble(runs) == 1:
        return upscaler
    views = VIEWS[runs]
    return BandEnsemble(upscaler, views, limits) if isinstance(upscaler, BandUpscaler) else Ensemble(upscaler, views)


class Ensemble(Described):
    """The mean over views, of an upscaler that gives whole images.

    Args:
        upscaler: runs once on each.
        views: which.
    """

    def __init__(self, upscaler: Upscaler, views: Sequence[View]) -> None:
        self._inner, self._views = upscaler, views
        self.scale, self.description = upscaler.scale, _description(upscaler, views)

    def __call__(self, image: Array) -> Array:
        """Enlarge one image, as `Upscaler` says."""
        height, width = check_image(image).shape[:2]
        total = _SumInMemory(self.scale * height, self.scale * width)
        for view in self._views:
            large = self._inner(np.ascontiguousarray(view.of(image)))
            total.add(*view.back(large, 0, total.size))
        return total.mean(len(self._views))


class BandEnsemble(Described):
    """The mean over views, of an upscaler that gives bands; it gives bands too, while the last view runs.

    Args:
        upscaler: runs once on each.
        views: which; the last one is upright.
        limits: those of the upscaler.
    """

    def __init__(self, upscaler: BandUpscaler, views: Sequence[View], limits: Limits) -> None:
        self._inner, self._views, self._limits = upscaler, views, limits
        self.scale, self.description = upscaler.scale, _description(upscaler, views)
        self._on_progress: Callable[[float], None] = lambda share: None
        self._run = 0  # that is under way, from 0

    @property
    def on_progress(self) -> Callable[[float], None]:
        """As `BandUpscaler`; each run has an equal share."""
        return self._on_progress

    @on_progress.setter
    def on_progress(self, told: Callable[[float], None]) -> None:
        self._on_progress = told
        self._inner.on_progress = lambda share: told((self._run + share) / len(self._views))

    def __call__(self, image: Array) -> Array:
        """Enlarge one image, as `Upscaler` says; MemoryLimitError if the memory does not suffice."""
        height, width = check_image(image).shape[:2]
        total = _SumInMemory(self.scale * height, self.scale * width)
        self._add(image, self._views, total)
        return total.mean(len(self._views))

    def bands(self, image: NDArray[Any]) -> Iterator[Array]:
        """Enlarge one image band by band, as `BandUpscaler` says."""
        height, width = check_image(image, integers=True).shape[:2]
        with closing(self._sum(height, width)) as total:
            *others, last = self._views
            self._add(image, others, total)
            for top, part in self._parts(image, last, len(others)):
                yield (total.rows(top, top + len(part)) + part) / np.float32(len(self._views))

    def shortage(self, *, height: int, width: int, besides: int) -> int:
        """As `BandUpscaler.shortage`; the sum of the runs goes to a file where memory is short."""
        sizes = {(height, width), *((width, height) for view in self._views if view.transposed)}
        return max(self._inner.shortage(height=h, width=w, besides=besides) for h, w in sizes)

    def too_little(self, what: str, short_bytes: int) -> MemoryLimitError:
        """As `BandUpscaler.too_little`."""
        return self._inner.too_little(what, short_bytes)

    def stop(self) -> None:
        """As `BandUpscaler.stop`."""
        self._inner.stop()

    def _sum(self, height: int, width: int) -> "_Sum":
        size = self.scale * height, self.scale * width
        budget, takes = budget_bytes(self._limits, 0), 12 * size[0] * size[1]
        fits = budget is None or takes * MEMORY_SHARE <= budget
        if fits and self.shortage(height=height, width=width, besides=takes) == 0:
            return _SumInMemory(*size)
        return _SumInFile(*size)

    def _add(self, image: NDArray[Any], views: Sequence[View], total: "_Sum") -> None:
        """All runs but perhaps the last, once it is certain that none of them lacks memory."""
        height, width = image.shape[:2]
        short = self.shortage(height=height, width=width, besides=total.held_bytes)
        if short and may_refuse():
            raise self.too_little(f"{width} x {height} pixels at x{self.scale}", short)
        for number, view in enumerate(views):
            # The first run fills the sum: until then its memory does not count as that of the process.
            for top, part in self._parts(image, view, number, reserved=0 if number else total.held_bytes):
                total.add(*view.back(part, top, total.size))

    def _parts(self, image: NDArray[Any], view: View, number: int, *, reserved: int = 0) -> Iterator[tuple[int, Array]]:
        """A run: bands of the enlarged view, cut to what is added up at a time, and the first row of each."""
        self._run, top = number, 0
        bands = self._inner.bands(view.of(image))
        with checked(), reserve(reserved):
            first_band = next(bands)  # all that runs has been planned then
        for band in chain([first_band], bands):
            step = max(1, AT_A_TIME // (3 * band.shape[1]))
            for first in range(0, len(band), step):
                yield top + first, band[first : first + step]
            top += len(band)
        self._on_progress((number + 1) / len(self._views))


def _description(upscaler: Upscaler, views: Sequence[View]) -> str:
    return f"{upscaler.description}, ensemble of {len(views)}"


class _Sum(Protocol):
    """The sum of enlarged images.

    Attributes:
        size: height and width, pixels.
        held_bytes: of memory that it comes to hold.
    """

    size: tuple[int, int]
    held_bytes: int

    def add(self, top: int, left: int, values: Array) -> None: ...

    def rows(self, top: int, bottom: int) -> Array: ...

    def close(self) -> None: ...


class _SumInMemory:
    def __init__(self, height: int, width: int) -> None:
        self.size, self.held_bytes = (height, width), 12 * height * width
        try:
            self._sum = np.zeros((height, width, 3), np.float32)
        except MemoryError as error:
            raise MemoryLimitError(f"no memory for the sums of an ensemble, {self.held_bytes / 1e9:.1f} GB") from error

    def add(self, top: int, left: int, values: Array) -> None:
        self._sum[top : top + values.shape[0], left : left + values.shape[1]] += values

    def rows(self, top: int, bottom: int) -> Array:
        return self._sum[top:bottom]

    def mean(self, runs: int) -> Array:
        self._sum /= np.float32(runs)
        return self._sum

    def close(self) -> None:
        self._sum = np.zeros((0, 0, 3), np.float32)


class _SumInFile:
    """Rows of pixels one after the other; what was not yet written reads as 0."""

    def __init__(self, height: int, width: int) -> None:
        self.size, self.held_bytes = (height, width), 0
        self._file = NamelessFile("the sums of an ensemble", 12 * height * width)

    def add(self, top: int, left: int, values: Array) -> None:
        height, width = values.shape[:2]
        step = height if width == self.size[1] else 1  # whole rows lie together
        for row in range(0, height, step):
            kept = self._read(top + row, left, (step, width))
            kept += values[row : row + step]
            self._file.write(self._place(top + row, left), kept)

    def rows(self, top: int, bottom: int) -> Array:
        return self._read(top, 0, (bottom - top, self.size[1]))

    def close(self) -> None:
        self._file.close()

    def _read(self, top: int, left: int, size: tuple[int, int]) -> Array:
        values = np.empty((*size, 3), np.float32)
        self._file.read_into(self._place(top, left), values)
        return values

    def _place(self, row: int, column: int) -> int:
        return 12 * (row * self.size[1] + column)
