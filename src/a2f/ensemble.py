"""Self-ensemble: the mean of runs on an image flipped and turned (Lim et al., EDSR, 2017, Sec. 3.4)."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from a2f.errors import Hint, MemoryLimitError
from a2f.files import NamelessFile
from a2f.runtime.engine import Engine, check_image, engine_of, enlarge, size_text
from a2f.runtime.options import check_ensemble
from a2f.runtime.plan import Plan, Size
from a2f.upscaler import NO_CONTROL, Control, Upscaler

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


def ensemble_of(upscaler: Upscaler, runs: int) -> Engine:
    """An engine that runs another one several times and gives the mean, taken in float32 before any rounding.

    Args:
        upscaler: runs once on each view of an image; what is no `Engine` becomes one.
        runs: 1, the upscaler itself; 2, the image and its mirror image; 4, all flips: also upside down, and both; 8,
            the four flips of the image and of the transposed image, which are all flips and turns by 90 degrees.

    Returns:
        An engine within the same memory. The sum of the runs is kept within it too, 12 bytes a pixel of the result, in
        memory or in a temporary file.

    Raises:
        UsageError: as `check_ensemble`.
    """
    engine = engine_of(upscaler)
    return engine if check_ensemble(runs) == 1 else Ensemble(engine, VIEWS[runs])


@dataclass(frozen=True, kw_only=True)
class Views:
    """The plan of an ensemble: all views, one after the other.

    Attributes:
        upright: how the image and its flips run.
        transposed: how those run whose rows are columns of the image; None if there are none.
        in_file: whether the sum of the runs lies in a temporary file.
        needed_bytes: about what the runs take.
    """

    upright: Plan
    transposed: Plan | None
    in_file: bool
    needed_bytes: int


class Ensemble:
    """The mean over views of an image; it gives bands while the last view runs.

    Args:
        engine: runs once on each.
        views: which; the last one is upright.
    """

    def __init__(self, engine: Engine, views: Sequence[View]) -> None:
        self._inner, self._views = engine, views
        self.scale, self.memory, self.memory_hints = engine.scale, engine.memory, engine.memory_hints
        self.description = f"{engine.description}, ensemble of {len(views)}"

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.description}>"

    def plan(self, size: Size, budget: int) -> Views:
        """Decide how all views run, as `Engine.plan` says; the sum goes to a file where memory is short."""
        short = self.min_bytes(size) - budget
        if short > 0:
            raise self.memory.error(size_text(size, self.scale), short, memory_hints=self.memory_hints)
        sum_bytes = 12 * size[0] * size[1] * self.scale**2
        in_memory = sum_bytes * MEMORY_SHARE <= budget and self.min_bytes(size) + sum_bytes <= budget
        left = budget - sum_bytes if in_memory else budget
        upright = self._inner.plan(size, left)
        transposed = self._inner.plan(size[::-1], left) if self._is_turned else None
        most = max(upright.needed_bytes, transposed.needed_bytes if transposed else 0)
        return Views(
            upright=upright,
            transposed=transposed,
            in_file=not in_memory,
            needed_bytes=most + (sum_bytes if in_memory else 0),
        )

    def min_bytes(self, size: Size) -> int:
        """The smallest budget for which there is a plan: that of its largest run."""
        sizes = [size, size[::-1]] if self._is_turned else [size]
        return max(self._inner.min_bytes(one) for one in sizes)

    def run(self, image: NDArray[Any], plan: Views, control: Control = NO_CONTROL) -> Iterator[Array]:
        """Enlarge one image by a plan, as `Engine.run` says; each view has an equal share of the progress."""
        height, width = check_image(image, integers=True).shape[:2]
        kind = _SumInFile if plan.in_file else _SumInMemory
        with closing(kind(self.scale * height, self.scale * width)) as total:
            *others, last = range(len(self._views))
            for number in others:
                for top, part in self._parts(image, number, plan, control):
                    total.add(*self._views[number].back(part, top, total.size))
            for top, part in self._parts(image, last, plan, control):
                yield (total.rows(top, top + len(part)) + part) / np.float32(len(self._views))

    def __call__(self, image: Array, /) -> Array:
        """Enlarge one image, as `Upscaler` says; MemoryLimitError if the memory does not suffice."""
        return enlarge(self, image)

    @property
    def _is_turned(self) -> bool:
        return any(view.transposed for view in self._views)

    def _parts(self, image: NDArray[Any], number: int, plan: Views, control: Control) -> Iterator[tuple[int, Array]]:
        """A run: bands of the enlarged view, cut to what is added up at a time, and the first row of each."""
        view, runs, top = self._views[number], len(self._views), 0
        inner = plan.transposed if view.transposed else plan.upright
        for band in self._inner.run(view.of(image), inner, control.part(number / runs, (number + 1) / runs)):
            step = max(1, AT_A_TIME // (3 * band.shape[1]))
            for first in range(0, len(band), step):
                yield top + first, band[first : first + step]
            top += len(band)


class _Sum(Protocol):
    """The sum of enlarged images.

    Attributes:
        size: height and width, pixels.
    """

    size: tuple[int, int]

    def add(self, top: int, left: int, values: Array) -> None: ...

    def rows(self, top: int, bottom: int) -> Array: ...

    def close(self) -> None: ...


class _SumInMemory:
    def __init__(self, height: int, width: int) -> None:
        self.size = height, width
        try:
            self._sum = np.zeros((height, width, 3), np.float32)
        except MemoryError as error:
            needed = f"{12 * height * width / 1e9:.1f} GB"
            raise MemoryLimitError(
                f"no memory for the sums of an ensemble, {needed}",
                Hint(text="lower {option}, so that they lie in a file", option="max_memory"),
            ) from error

    def add(self, top: int, left: int, values: Array) -> None:
        self._sum[top : top + values.shape[0], left : left + values.shape[1]] += values

    def rows(self, top: int, bottom: int) -> Array:
        return self._sum[top:bottom]

    def close(self) -> None:
        self._sum = np.zeros((0, 0, 3), np.float32)


class _SumInFile:
    """Rows of pixels one after the other; what was not yet written reads as 0."""

    def __init__(self, height: int, width: int) -> None:
        self.size = height, width
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
