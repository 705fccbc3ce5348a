"""Finished enlargements in a folder, made by another program from the same LR images."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from a2f.data.names import branch, find_partners, scales_in_names
from a2f.data.pairs import images_below
from a2f.errors import InputError
from a2f.evaluation.sets import Image, Item
from a2f.imageio.rgb import read_rgb8

OTHERS = ("_LR", "_HR", "_GT", "_bicubic")  # suffixes of files that programs write besides their results


@dataclass(frozen=True, kw_only=True)
class Finished:
    """The enlargements of one set.

    Attributes:
        folder: the folder of the enlargements.
        files: item name -> file.
        left: images of the folder that belong to no item.
    """

    folder: Path
    files: Mapping[str, Path]
    left: tuple[Path, ...]

    def read(self, item: Item) -> Image:
        """Read the enlargement of an item, [sH, sW, 3] uint8.

        Raises:
            ImageReadError: if the file cannot be read.
            InputError: if its size differs from the original cut to a multiple of the scale, or it is grey and the
                original is not.
        """
        path = self.files[item.name]
        sr = read_rgb8(path)
        (height, width), (given_height, given_width) = item.hr.shape[:2], sr.shape[:2]
        if (given_height, given_width) != (height, width):
            raise InputError(
                f"{path} has {given_width} x {given_height} pixels; the enlargement of {item.name} has {width} x "
                f"{height}, the size of the original cut to a multiple of the scale"
            )
        if _is_grey(sr) and not _is_grey(item.hr):
            raise InputError(f"{path} is grey and its original is not: save enlargements in RGB, not their luma")
        return sr


def find_finished(folder: Path, items: Sequence[Item], *, data: str, scale: int) -> Finished:
    """Find the enlargement of each item of a set, by the rules of `a2f.data.names`.

    Args:
        folder: folder of the enlargements; it may have one subfolder per set, and these may have one per scale:
            ``results/carn/Set5/x4/``. Names that end in _LR, _HR, _GT or _bicubic are skipped.
        items: the items of the set.
        data: name of the set.
        scale: s.

    Raises:
        InputError: if an item has no file or several; the message names the items and the unpaired files.
    """
    names = [item.name for item in items]
    place = branch(folder, data.rpartition("/")[2], scale=scale)
    files = [path for path in images_below(place) if path.stem in names or not path.stem.endswith(OTHERS)]
    partners = find_partners(names, files, scale=scale)
    partners.check(place, what="enlargement", of=data)
    return Finished(folder=place, files=partners.found, left=tuple(partners.left))


def scale_of_folder(folder: Path) -> int | None:
    """The scale in the names of all files or their folders; None if a name has none, or if they differ."""
    found = set[int | None]()
    for path in images_below(folder):
        inside = path.relative_to(folder.parent)
        found |= scales_in_names(path.stem) or scales_in_names(*inside.parts[:-1]) or {None}
    return found.pop() if len(found) == 1 else None


def _is_grey(image: Image) -> bool:
    return bool(np.array_equal(image[..., 0], image[..., 1]) and np.array_equal(image[..., 1], image[..., 2]))
