"""The protocol that every engine answers."""

from collections.abc import Callable, Iterator
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from a2f.errors import MemoryLimitError


@runtime_checkable
class Upscaler(Protocol):
    """Anything that enlarges an RGB image by a fixed factor.

    Implementations are safe to share between threads.
    """

    @property
    def scale(self) -> int:
        """The factor by which both sides grow."""
        ...

    @property
    def description(self) -> str:
        """One line for people: engine, model, device, precision, threads."""
        ...

    def __call__(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        """Enlarge one image.

        Args:
            image: [H, W, 3] RGB, float32 in [0, 1]; H and W at least 1.

        Returns:
            [scale * H, scale * W, 3] RGB, float32; values may leave [0, 1] slightly and are not clipped.

        Raises:
            InputError: for another shape or dtype.
        """
        ...


class Described:
    """Shows itself by its description."""

    description: str

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.description}>"


@runtime_checkable
class BandUpscaler(Upscaler, Protocol):
    """An upscaler that gives its result from the top, band by band, so that the whole of it need never be in memory.

    Attributes:
        on_progress: called with the share of an image that is done, in [0, 1], as tiles are finished, from any thread.
    """

    on_progress: Callable[[float], None]

    def bands(self, image: NDArray[Any]) -> Iterator[NDArray[np.float32]]:
        """Enlarge one image.

        Args:
            image: [H, W, 3] RGB; float32 in [0, 1], or uint8 or uint16, which are converted as they are needed.

        Returns:
            [rows, scale * W, 3] at a time, consecutive, as `Upscaler` gives them.

        Raises:
            InputError: for another shape or dtype.
            MemoryLimitError: if the memory does not suffice.
        """
        ...

    def shortage(self, *, height: int, width: int, besides: int) -> int:
        """How many bytes are missing to enlarge an image at all, however slowly; 0 if none are.

        Args:
            height: of the LR image, pixels.
            width: of the LR image, pixels.
            besides: bytes that the caller will hold meanwhile.
        """
        ...

    def too_little(self, what: str, short_bytes: int) -> MemoryLimitError:
        """The error for what does not fit into the memory, which says the least that works."""
        ...

    def stop(self) -> None:
        """End what is under way: those runs, and all later ones, raise Cancelled within a tile's time."""
        ...
