"""Benchmark sets on disk: folders of HR images, with LR images beside them or made by bicubic."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from a2f.data.pairs import find_images, find_lr, make_pair

Image = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class Item:
    """One image of a set.

    Attributes:
        name: file name without suffix; if two images share it, the path with the suffix.
        hr: [sH, sW, 3] uint8.
        lr: [H, W, 3] uint8.
    """

    name: str
    hr: Image
    lr: Image


def load_set(folder: Path, *, scale: int, lr_data: Path | None = None) -> list[Item]:
    """Read a set: ``folder/HR/baby.png`` and, if it exists, ``folder/LR_bicubic/X4/babyx4.png``.

    A folder without HR/ contains the HR images itself. HR is cut to a multiple of the scale. LR is made by
    MATLAB-compatible bicubic if there is no folder of LR images. Images are read and paired as in training
    (`make_pair`).

    Args:
        folder: folder of the set.
        scale: s.
        lr_data: folder of other LR images (`own` of `a2f.data.pairs.find_lr`).

    Raises:
        ImageReadError: if there are no images, or one cannot be read.
        InputError: if an LR image is missing or has another size than HR / s.
    """
    paths, lr = find_images(folder), find_lr(folder, scale=scale, own=lr_data)
    pairs = [make_pair(path, scale=scale, lr=lr.get(path)) for path in paths]
    stems = Counter(path.stem for path in paths)
    names = [path.stem if stems[path.stem] == 1 else _whole_name(path, folder) for path in paths]
    return [Item(name=name, hr=hr, lr=small) for name, (hr, small) in zip(names, pairs, strict=True)]


def _whole_name(path: Path, folder: Path) -> str:
    """A name for an image that shares its stem with another image; valid as a file name."""
    return path.relative_to(folder).as_posix().replace("/", "_")
