"""The features of an image between two blocks: planes in memory or in an unnamed file."""

from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from a2f.errors import Hint, MemoryLimitError
from a2f.files import NamelessFile

Array = NDArray[np.float32]


class Features(Protocol):
    """Planes [slots * C, H, W] float32."""

    def read(self, first: int, end: int, top: int, bottom: int) -> Array:
        """Channels first .. end - 1 of rows top .. bottom - 1."""
        ...

    def buffer(self, first: int, end: int, top: int, bottom: int) -> Array:
        """An array for new values of these channels and rows; `write` stores them."""
        ...

    def write(self, first: int, top: int, values: Array) -> None:
        """Store a buffer that begins at channel `first` and row `top`."""
        ...

    def close(self) -> None:
        """Free the memory or the file."""
        ...


class FeaturesInMemory:
    """Planes in memory; `read` and `buffer` return views.

    Args:
        channels: number of channels of all slots.
        height: pixels.
        width: pixels.

    Raises:
        MemoryLimitError: if there is too little memory.
    """

    def __init__(self, channels: int, height: int, width: int) -> None:
        try:
            self._planes: Array | None = np.empty((channels, height, width), np.float32)
        except MemoryError as error:
            raise MemoryLimitError(
                f"{channels * height * width * 4 / 1e9:.1f} GB for the features are not free",
                Hint(text="lower {option}, so that they are kept in a file", option="max_memory"),
            ) from error

    def read(self, first: int, end: int, top: int, bottom: int) -> Array:
        """See `Features.read`."""
        assert self._planes is not None
        return self._planes[first:end, top:bottom]

    def buffer(self, first: int, end: int, top: int, bottom: int) -> Array:
        """See `Features.buffer`."""
        return self.read(first, end, top, bottom)

    def write(self, first: int, top: int, values: Array) -> None:
        """Do nothing: the values are already in the planes."""

    def close(self) -> None:
        """See `Features.close`."""
        self._planes = None


class FeaturesInFile:
    """Planes in an unnamed temporary file.

    Args:
        channels: number of channels of all slots.
        height: pixels.
        width: pixels.
        folder: folder of the file; by default that of `folder_for_scratch`.

    Raises:
        WriteError: if the file cannot be made.
    """

    def __init__(self, channels: int, height: int, width: int, *, folder: Path | None = None) -> None:
        self._shape = channels, height, width
        self._file = NamelessFile("the features", 4 * channels * height * width, folder=folder)

    def read(self, first: int, end: int, top: int, bottom: int) -> Array:
        """See `Features.read`."""
        values = self.buffer(first, end, top, bottom)
        for channel, plane in enumerate(values, start=first):
            self._file.read_into(self._place(channel, top), plane)
        return values

    def buffer(self, first: int, end: int, top: int, bottom: int) -> Array:
        """See `Features.buffer`."""
        return np.empty((end - first, bottom - top, self._shape[2]), np.float32)

    def write(self, first: int, top: int, values: Array) -> None:
        """See `Features.write`.

        Raises:
            WriteError: if the disk is full.
        """
        for channel, plane in enumerate(values, start=first):
            self._file.write(self._place(channel, top), plane)
        self._file.flush()

    def _place(self, channel: int, row: int) -> int:
        return 4 * self._shape[2] * (channel * self._shape[1] + row)

    def close(self) -> None:
        """See `Features.close`."""
        self._file.close()
