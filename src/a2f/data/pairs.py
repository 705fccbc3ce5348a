"""Folders of images as pairs of HR and LR."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from a2f.errors import ImageReadError
from a2f.resize import imresize

Image = NDArray[np.uint8]

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".ppm")


def find_images(folder: Path) -> list[Path]:
    """All images of a folder tree, sorted by path.

    Raises:
        ImageReadError: if it is no folder, or there are none.
    """
    if not folder.is_dir():
        raise ImageReadError(f"{folder} is not a folder")
    found = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and not p.name.startswith("."))
    if not found:
        raise ImageReadError(f"{folder} holds no images ({', '.join(SUFFIXES)})")
    return found


def read_rgb(path: Path) -> Image:
    """An image file as [H, W, 3] RGB uint8; grey is repeated, alpha dropped.

    Raises:
        ImageReadError: if it cannot be read.
    """
    from PIL import Image as Pillow

    try:
        with Pillow.open(path) as image:
            return np.asarray(image.convert("RGB"))
    except (OSError, SyntaxError, ValueError, Pillow.DecompressionBombError) as error:
        raise ImageReadError(f"cannot read {path}: {error}") from error


def crop_to_multiple(image: Image, scale: int) -> Image:
    """Cut the lower and right edges so that both sides divide by the scale."""
    return image[: image.shape[0] // scale * scale, : image.shape[1] // scale * scale]


def make_pair(path: Path, *, scale: int) -> tuple[Image, Image]:
    """HR cropped to a multiple of the scale, and its bicubic LR.

    Returns:
        hr [sH, sW, 3], lr [H, W, 3], uint8.

    Raises:
        ImageReadError: if the file cannot be read or is smaller than one LR pixel.
    """
    hr = crop_to_multiple(read_rgb(path), scale)
    if hr.size == 0:
        raise ImageReadError(f"{path} is smaller than {scale} pixels")
    return hr, imresize(hr, scale=1 / scale)


def load_pairs(
    paths: list[Path], *, scale: int, on_error: Callable[[ImageReadError], None]
) -> Iterator[tuple[Path, tuple[Image, Image]]]:
    """Make the pairs of many files in parallel, in the order of the paths.

    Args:
        paths: image files.
        scale: s.
        on_error: called for each file that cannot be read; it is left out.
    """
    # Spawned, not forked: the parent may hold threads of torch, which do not survive a fork.
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
        for path, made in zip(paths, pool.map(partial(_try_pair, scale=scale), paths, chunksize=4), strict=True):
            if isinstance(made, ImageReadError):
                on_error(made)
            else:
                yield path, made


def _try_pair(path: Path, *, scale: int) -> tuple[Image, Image] | ImageReadError:
    try:
        return make_pair(path, scale=scale)
    except ImageReadError as error:
        return error
