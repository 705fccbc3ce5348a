"""Decoded images in memory; images that do not fit are mapped from a file."""

import tempfile
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from a2f.errors import WriteError

Image = NDArray[np.uint8]


class Spill:
    """Collects images; beyond a memory limit their pixels are written to a file and read on demand.

    The file has no name, so it disappears when the process ends for any reason.

    Args:
        folder: folder for the file; made if it does not exist.
        limit_bytes: limit of the pixels in memory; None for no limit.
    """

    def __init__(self, folder: Path, *, limit_bytes: int | None) -> None:
        self.folder, self.limit_bytes = folder, limit_bytes
        self.kept_bytes, self.spilt_bytes = 0, 0
        self._images: list[Image | tuple[int, tuple[int, ...]]] = []  # or offset in the file, and shape
        self._file: BinaryIO | None = None

    def add(self, image: Image) -> None:
        """Add one image.

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
        """All images, in order, uint8; those in the file are read-only. After this call no image can be added."""
        if self._file is None:
            return [image for image in self._images if isinstance(image, np.ndarray)]
        with self._file as file:  # the mapping remains valid when the file is closed
            file.flush()
            mapped = np.memmap(file, np.uint8, mode="r")
        return [
            entry
            if isinstance(entry, np.ndarray)
            else mapped[entry[0] : entry[0] + int(np.prod(entry[1]))].reshape(entry[1])
            for entry in self._images
        ]
