"""Benchmark sets on disk: folders of HR images, with LR images beside them or made from them."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from a2f.compare import load_rgb
from a2f.errors import ImageReadError, InputError
from a2f.imageio.formats import is_image_name
from a2f.resize import imresize

Image = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class Item:
    """One image of a set.

    Attributes:
        name: file name without its suffix.
        hr: [sH, sW, 3] uint8.
        lr: [H, W, 3] uint8.
    """

    name: str
    hr: Image
    lr: Image


def load_set(folder: Path, *, scale: int) -> list[Item]:
    """Read a set: ``folder/HR/baby.png`` and, where there is any, ``folder/LR_bicubic/X4/babyx4.png``.

    A folder without HR/ is taken as the HR images themselves. HR is cut to a multiple of the scale, grey is made RGB,
    and LR is made by MATLAB-compatible bicubic where there is no folder of it.

    Args:
        folder: of the set.
        scale: s.

    Raises:
        ImageReadError: if there are no images, or one cannot be read.
        InputError: if an LR image is missing or has another size than HR / s.
    """
    hr_folder = folder / "HR" if (folder / "HR").is_dir() else folder
    lr_folder = folder / "LR_bicubic" / f"X{scale}"
    if not hr_folder.is_dir():
        raise ImageReadError(f"there is no set at {folder}: expected {folder}/HR/*.png")
    paths = sorted(p for p in hr_folder.iterdir() if is_image_name(p) and not p.name.startswith("."))
    if not paths:
        raise ImageReadError(f"{hr_folder} holds no images")
    return [_item(path, lr_folder if lr_folder.is_dir() else None, scale) for path in paths]


def _item(path: Path, lr_folder: Path | None, scale: int) -> Item:
    hr = load_rgb(path)
    hr = hr[: hr.shape[0] // scale * scale, : hr.shape[1] // scale * scale]
    if lr_folder is None:
        return Item(name=path.stem, hr=hr, lr=imresize(hr, scale=1 / scale))
    by_stem = {p.stem: p for p in sorted(lr_folder.iterdir()) if is_image_name(p)}
    found = [by_stem[stem] for stem in (f"{path.stem}x{scale}", path.stem) if stem in by_stem]
    if not found:
        raise InputError(f"{lr_folder} has no image for {path.name}: expected {path.stem}x{scale}{path.suffix}")
    lr = load_rgb(found[0])
    if (lr.shape[0] * scale, lr.shape[1] * scale) != hr.shape[:2]:
        raise InputError(
            f"{found[0]} has {lr.shape[1]} x {lr.shape[0]} pixels, but {path.name} at x{scale} needs "
            f"{hr.shape[1] // scale} x {hr.shape[0] // scale}"
        )
    return Item(name=path.stem, hr=hr, lr=lr)
