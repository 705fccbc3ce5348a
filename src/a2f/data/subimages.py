"""Sub-images: square crops of large images, which load faster than whole images, and their names."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from pathlib import PurePath

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]


def positions(side: int, *, size: int, step: int, threshold: int) -> list[int]:
    """The start positions of sub-images along one side of an image.

    Args:
        side: length of the side, pixels.
        size: length of a sub-image, pixels; 0 for the whole side.
        step: distance from one start to the next, pixels.
        threshold: a remainder of more pixels than this gets its own sub-image at the edge.

    Returns:
        At least one start; a side of at most `size` has one sub-image.
    """
    if size == 0 or side <= size:
        return [0]
    starts = list(range(0, side - size + 1, step))
    if side - size - starts[-1] > threshold:
        starts.append(side - size)
    return starts


def sub_images(image: Image, *, size: int, step: int, threshold: int) -> list[Image]:
    """Cut an image [H, W, 3] row by row into sub-images that start at `positions`."""
    rows, columns = (positions(side, size=size, step=step, threshold=threshold) for side in image.shape[:2])
    height, width = size or image.shape[0], size or image.shape[1]
    return [image[y : y + height, x : x + width] for y in rows for x in columns]


def sub_names(name: str, *, width: int, height: int, size: int, step: int, threshold: int) -> list[str]:
    """Names of the sub-images that `sub_images` cuts from an image of this name and size."""
    if size == 0:
        return [name]
    count = 1
    for side in (height, width):
        count *= len(positions(side, size=size, step=step, threshold=threshold))
    return [f"{name}_s{number:03d}" for number in range(1, count + 1)]


def unique_names(paths: Sequence[PurePath]) -> list[str]:
    """A unique name for each path of a folder tree, also on file systems that ignore case.

    Args:
        paths: relative to the root of the tree.

    Returns:
        For example ``2019_a`` for ``2019/a.jpg``. Names that would be equal (``a.png`` and ``a.jpg``) or too long for a
        file system end with a checksum of the path.
    """
    plain = ["_".join(path.with_suffix("").parts) for path in paths]
    count = Counter(name.casefold() for name in plain)
    return [
        name if count[name.casefold()] == 1 and len(_bytes(name)) <= 200 else f"{_cut(name)}-{_mark(path)}"
        for name, path in zip(plain, paths, strict=True)
    ]


def _bytes(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")


def _cut(name: str) -> str:
    return _bytes(name)[:180].decode("utf-8", "ignore")


def _mark(path: PurePath) -> str:
    return hashlib.sha256(_bytes(path.as_posix())).hexdigest()[:8]
