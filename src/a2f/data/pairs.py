"""Read folders of images as pairs of HR and LR.

A plain folder has HR images, from which the LR images are made. The standard layout has both: ``HR/baby.png`` beside
``LR_bicubic/X4/babyx4.png``, or ``DIV2K_train_HR/0001.png`` beside ``DIV2K_train_LR_bicubic/X4/0001x4.png``.
"""

import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from a2f.data.names import branch, find_partners
from a2f.errors import ImageReadError, InputError
from a2f.imageio.formats import image_suffixes, is_image_name
from a2f.imageio.rgb import read_rgb8
from a2f.resize import imresize
from a2f.workers import worker_processes

Image = NDArray[np.uint8]

_SUB_IMAGE = re.compile(r"_s\d{3,}$")


def find_images(folder: Path) -> list[Path]:
    """Find all HR images of a folder and its subfolders, or of ``folder/HR`` if it exists, sorted by path.

    Raises:
        ImageReadError: if it is no folder, or it has no images.
        InputError: if it has several folders of a set, so that LR images would be used as HR.
    """
    if not folder.is_dir():
        raise ImageReadError(f"{folder} is not a folder")
    hr = _hr_folder(folder)
    found = images_below(hr)
    if not found:
        raise ImageReadError(f"{hr} holds no images ({', '.join(image_suffixes())})")
    return found


def find_lr(folder: Path, *, scale: int, own: Path | None = None) -> dict[Path, Path]:
    """Find the LR image of each HR image, if the folder has the standard layout and LR images of this scale.

    Args:
        folder: the folder of HR images.
        scale: s.
        own: another folder of LR images, named by the rules of `a2f.data.names`. Its subfolders are used first, if they
            exist: one with the name of the set, and in it or in `own` one with the scale, "X4".

    Returns:
        HR file -> LR file; empty if LR images must be made from HR.

    Raises:
        ImageReadError, InputError: all errors of `find_images`.
        InputError: if HR images have no LR image.
    """
    if own is not None:
        return _own_lr(folder, own, scale)
    images, hr = find_images(folder), _hr_folder(folder)
    lr = _lr_folder(hr) / f"X{scale}"
    if not hr.name.endswith("HR") or not lr.is_dir():
        return {}
    at = {path.relative_to(lr).with_suffix("").as_posix(): path for path in lr.rglob("*") if _is_image(path)}
    pairs, missing = {}, []
    for path in images:
        name = path.relative_to(hr).with_suffix("").as_posix()
        found = at.get(f"{name}x{scale}") or at.get(name)
        if found is None:
            missing.append(f"{name}x{scale}.png")
        else:
            pairs[path] = found
    if missing:
        names = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
        raise InputError(
            f"{lr} has no LR image for {len(missing)} of the {len(images)} images of {hr}: {names}; "
            "add them, or remove this folder, so that LR images are made from HR"
        )
    return pairs


def _own_lr(folder: Path, own: Path, scale: int) -> dict[Path, Path]:
    images = find_images(folder)
    if not own.is_dir():
        raise ImageReadError(f"LR images: {own} is not a folder")
    place = branch(own, set_name(folder), scale=scale)
    twice = [stem for stem, count in Counter(path.stem for path in images).items() if count > 1]
    if twice:
        raise InputError(f"{folder} has several images named {twice[0]}, LR images are found by name: rename one")
    partners = find_partners([path.stem for path in images], images_below(place), scale=scale)
    partners.check(place, what="LR image", of=folder)
    return {path: partners.found[path.stem] for path in images}


def set_name(folder: Path) -> str:
    """The name of a set: the name of its folder, or of the parent folder for ``Set5/HR``."""
    whole = folder.absolute()
    return whole.parent.name if whole.name == "HR" else whole.name


def images_below(folder: Path) -> list[Path]:
    """All images of a folder and its subfolders, sorted by path."""
    return sorted(p for p in folder.rglob("*") if _is_image(p))


def held_out(paths: list[Path]) -> list[Path]:
    """Every 64th image, for validation; empty if there is only one image.

    Sub-images of one photograph (``0001_s001``, ``0001_s002``) stay together, because they overlap: a validation on
    training pixels would be meaningless.
    """
    photograph = {path: _photograph(path) for path in paths}
    photographs = list(dict.fromkeys(photograph.values()))
    chosen = set(photographs[::64]) if len(photographs) > 1 else set()
    return [path for path in paths if photograph[path] in chosen]


def read_image_list(file: Path, *, folder: Path, among: list[Path]) -> list[Path]:
    """The images listed in a text file, one per line, relative to a folder; lines that begin with # are comments.

    Args:
        file: the text file, UTF-8.
        folder: the folder of the images.
        among: the images of the folder (`find_images`).

    Returns:
        The listed images, without duplicates.

    Raises:
        InputError: if the file cannot be read, names no image, or names one that is not in the folder.
    """
    try:
        lines = [line.strip() for line in file.read_text(encoding="utf-8-sig").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read the list of images {file}: {error}") from error
    known = {path.resolve(): path for path in among}
    paths = [folder / line for line in lines if line and not line.startswith("#")]
    missing = [path for path in paths if path.resolve() not in known]
    if missing or not paths:
        what = f"names {missing[0]}, which is not an image of {folder}" if missing else "names no images"
        raise InputError(f"{file} {what}: write one path per line, relative to {folder}")
    return list(dict.fromkeys(known[path.resolve()] for path in paths))


def without_photographs_of(paths: list[Path], held: list[Path]) -> list[Path]:
    """The images without those held out; sub-images of one photograph stay together, because they overlap."""
    out = {_photograph(path) for path in held}
    return [path for path in paths if _photograph(path) not in out]


def _photograph(path: Path) -> Path:
    """The photograph of a sub-image, or the file's own name without the suffix."""
    return path.resolve().with_name(_SUB_IMAGE.sub("", path.stem))


def central_crop(pair: tuple[Image, Image], *, side_px: int) -> tuple[Image, Image]:
    """The central part of a pair (hr, lr), of at most side_px x side_px LR pixels."""
    hr, lr = pair
    scale = hr.shape[0] // lr.shape[0]
    top, left = (max(0, (length - side_px) // 2) for length in lr.shape[:2])
    lr = lr[top : top + side_px, left : left + side_px]
    hr = hr[top * scale : (top + side_px) * scale, left * scale : (left + side_px) * scale]
    return hr, lr


def _is_image(path: Path) -> bool:
    return is_image_name(path) and not path.name.startswith(".")


def _lr_folder(hr: Path) -> Path:
    return hr.with_name(hr.name.removesuffix("HR") + "LR_bicubic")


def _hr_folder(folder: Path) -> Path:
    folder = folder.absolute() if folder.name in ("", "..") else folder
    if (folder / "HR").is_dir():
        return folder / "HR"
    sets = sorted(p for p in folder.iterdir() if p.name.endswith("_HR") and _lr_folder(p).is_dir())
    if sets:
        raise InputError(
            f"{folder} holds {sets[0].name} and its LR images {_lr_folder(sets[0]).name}: give the folder of the "
            f"HR images, {sets[0]}"
        )
    return folder


def crop_to_multiple(image: Image, scale: int) -> Image:
    """Cut the lower and right edges so that both sides divide by the scale."""
    return image[: image.shape[0] // scale * scale, : image.shape[1] // scale * scale]


def make_pair(path: Path, *, scale: int, lr: Path | None = None) -> tuple[Image, Image]:
    """Read an HR image, cropped to a multiple of the scale, and its LR image.

    Args:
        path: path of the HR image.
        scale: s.
        lr: path of the LR image; None to make it from HR by bicubic.

    Returns:
        hr [sH, sW, 3], lr [H, W, 3], uint8.

    Raises:
        ImageReadError: if a file cannot be read or is smaller than one LR pixel.
        InputError: if the LR image has another size than HR / s.
    """
    hr = crop_to_multiple(read_rgb8(path), scale)
    if hr.size == 0:
        raise ImageReadError(f"{path} is smaller than {scale} pixels")
    if lr is None:
        return hr, imresize(hr, scale=1 / scale)
    small = read_rgb8(lr)
    height, width = hr.shape[0] // scale, hr.shape[1] // scale
    if small.shape[:2] != (height, width):
        raise InputError(
            f"{lr} has {small.shape[1]} x {small.shape[0]} pixels, but {path} at x{scale} needs {width} x {height}"
        )
    return hr, small


def load_pairs(
    paths: list[Path],
    *,
    scale: int,
    on_error: Callable[[ImageReadError], None],
    lr: Mapping[Path, Path] | None = None,
) -> Iterator[tuple[Path, tuple[Image, Image]]]:
    """Make the pairs of many files in parallel, in the order of the paths.

    Args:
        paths: HR image files.
        scale: s.
        on_error: called for each file that cannot be read; it is left out.
        lr: LR file of each HR file, from `find_lr`; missing LR images are made by bicubic.

    Raises:
        InputError: if an LR image has another size than HR / s.
    """
    files = [(path, (lr or {}).get(path)) for path in paths]
    with worker_processes(os.cpu_count() or 1) as pool:
        for path, made in zip(paths, pool.map(partial(_try_pair, scale=scale), files, chunksize=4), strict=True):
            if isinstance(made, ImageReadError):
                on_error(made)
            else:
                yield path, made


def _try_pair(files: tuple[Path, Path | None], *, scale: int) -> tuple[Image, Image] | ImageReadError:
    try:
        return make_pair(files[0], scale=scale, lr=files[1])
    except ImageReadError as error:
        return error
