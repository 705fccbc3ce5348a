"""Decoded images in memory, and those that would not fit mapped from a file."""

import tempfile
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from a2f.errors import WriteError

Image = NDArray[np.uint8]


class Spill:
    """Takes images one by one; beyond a limit their pixels go to a file, which the system reads as they are needed.

    The file has no name: it is gone with the process, however that ends.

    Args:
        folder: on a disk with room; made if it is not there.
        limit_bytes: of pixels that stay in memory; None for no limit.
    """

    def __init__(self, folder: Path, *, limit_bytes: int | None) -> None:
        self.folder, self.limit_bytes = folder, limit_bytes
        self.kept_bytes, self.spilt_bytes = 0, 0
        self._images: list[Image | tuple[int, tuple[int, ...]]] = []  # or the place in the file, and the shape
        self._file: BinaryIO | None = None

    def add(self, image: Image) -> None:
        """Take one more.

        Args:
            image: [H, W, 3] uint8.

        Raises:
            WriteError: if the disk is full.
        """
        if self.limit_bytes is None or self.kept_bytes + image.nbytes <= self.limit_bytes:
            self._images.append(image)
            self.kept_bytes += image.nbytes
            return
        try:
            if self._file is None:
                self.folder.mkdir(parents=True, exist_ok=True)
                self._file = tempfile.TemporaryFile(dir=self.folder)  # noqa: SIM115 - open as long as the images are
            self._file.write(np.ascontiguousarray(image).data)
        except OSError as error:
            raise WriteError(
                f"the training images do not fit into memory, and {self.folder} cannot take "
                f"{(self.spilt_bytes + image.nbytes) / 1e9:.1f} GB of them: {error.strerror or error}"
            ) from error
        self._images.append((self.spilt_bytes, image.shape))
        self.spilt_bytes += image.nbytes

    def images(self) -> list[Image]:
        """All of them, in order, uint8; the spilt ones are read-only. Afterwards no more can be taken."""
        if self._file is None:
            return [image for image in self._images if isinstance(image, np.ndarray)]
        with self._file as file:  # what is mapped stays when the file is closed
            file.flush()
            mapped = np.memmap(file, np.uint8, mode="r")
        return [
            entry
            if isinstance(entry, np.ndarray)
            else mapped[entry[0] : entry[0] + int(np.prod(entry[1]))].reshape(entry[1])
            for entry in self._images
        ]
