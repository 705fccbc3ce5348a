"""Whole images where they fit into the memory, which is quickest; all others in tiles or pieces."""

import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from a2f.errors import Cancelled
from a2f.runtime.arrays import check_image, to_batch, to_image
from a2f.runtime.plan import Bounded, Limits, budget_bytes
from a2f.runtime.tiled import rows_of
from a2f.upscaler import BandUpscaler, Described

Array = NDArray[np.float32]


class WholeOrTiled(Bounded, Described):
    """One graph for what fits, steps for the rest; the results differ by float rounding.

    Args:
        whole: [1, 3, H, W] -> [1, 3, sH, sW]; safe to share; MemoryError where it does not fit after all.
        tiled: for all others, and for those.
        takes: bytes that a whole image takes, of its `height` and `width`.
        limits: what a run may take.
        halt: makes runs of `whole` that are under way raise Cancelled soon.
    """

    def __init__(
        self,
        whole: Callable[[Array], Array],
        tiled: BandUpscaler,
        *,
        takes: Callable[..., int],
        limits: Limits,
        halt: Callable[[], None],
    ) -> None:
        self._whole, self._tiled, self._takes, self._halt = whole, tiled, takes, halt
        super().__init__(limits)
        self._stopped = threading.Event()
        self.scale, self.description = tiled.scale, tiled.description

    @property
    def on_progress(self) -> Callable[[float], None]:
        """As `BandUpscaler`; a whole image tells nothing before it is done."""
        return self._tiled.on_progress

    @on_progress.setter
    def on_progress(self, told: Callable[[float], None]) -> None:
        self._tiled.on_progress = told

    def __call__(self, image: Array) -> Array:
        """Enlarge one image, as `Upscaler` says; MemoryLimitError if the memory does not suffice."""
        if self._fits(check_image(image)):
            with suppress(MemoryError):
                return self._run(image)
        return self._tiled(image)

    def stop(self) -> None:
        """As `BandUpscaler.stop`."""
        self._stopped.set()
        self._tiled.stop()
        self._halt()

    def shortage(self, *, height: int, width: int, besides: int) -> int:
        """As `BandUpscaler.shortage`."""
        budget = budget_bytes(self._limits, besides)
        if budget is None or self._takes(height=height, width=width) <= budget:
            return 0
        whole = self._takes(height=height, width=width) - budget
        return min(whole, self._tiled.shortage(height=height, width=width, besides=besides))

    def bands(self, image: NDArray[Any]) -> Iterator[Array]:
        """Enlarge one image band by band, as `BandUpscaler` says."""
        whole = None
        if self._fits(check_image(image, integers=True)):
            with suppress(MemoryError):
                whole = self._run(rows_of(image)(0, image.shape[0]).transpose(1, 2, 0))
        yield from self._tiled.bands(image) if whole is None else [whole]

    def _run(self, image: Array) -> Array:
        if self._stopped.is_set():
            raise Cancelled("stopped")
        return to_image(self._whole(to_batch(image)))

    def _fits(self, image: NDArray[Any]) -> bool:
        budget = budget_bytes(self._limits, 0)
        return budget is None or self._takes(height=image.shape[0], width=image.shape[1]) <= budget
