"""What engines share that give their result band by band."""

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from a2f.runtime.arrays import check_image
from a2f.runtime.plan import Bounded, Limits
from a2f.upscaler import Described


class Banded(Bounded, Described, ABC):
    """A `BandUpscaler` but for the bands themselves and what they need.

    Args:
        scale: of the network.
        description: one line for people.
        limits: what a run may take.
    """

    def __init__(self, *, scale: int, description: str, limits: Limits) -> None:
        super().__init__(limits)
        self.scale, self.description = scale, description
        self._stopped = threading.Event()
        self.on_progress: Callable[[float], None] = lambda share: None

    def __call__(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        """Enlarge one image, as `Upscaler` says; MemoryLimitError if the memory does not suffice."""
        height, width = check_image(image).shape[:2]
        out = np.empty((self.scale * height, self.scale * width, 3), np.float32)
        top = 0
        for band in self._bands(image, out.nbytes):
            out[top : top + band.shape[0]] = band
            top += band.shape[0]
        return out

    def bands(self, image: NDArray[Any]) -> Iterator[NDArray[np.float32]]:
        """Enlarge one image band by band, as `BandUpscaler` says."""
        yield from self._bands(check_image(image, integers=True), 0)

    def stop(self) -> None:
        """As `BandUpscaler.stop`; the tile or piece that is under way is finished."""
        self._stopped.set()

    @abstractmethod
    def _bands(self, image: NDArray[Any], held_bytes: int) -> Iterator[NDArray[np.float32]]:
        """Bands of a checked image, for a caller who holds so many bytes meanwhile."""
