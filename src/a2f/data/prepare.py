"""Prepare a folder of photographs for training: check them, cut sub-images, make LR images and an index."""

import hashlib
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from a2f.data.index import Entry, Index, Output, PrepareSettings
from a2f.data.pairs import crop_to_multiple
from a2f.data.subimages import sub_images, sub_names, unique_names
from a2f.errors import A2FError, ImageReadError, UsageError, count_of
from a2f.files import make_folder, write_bytes_atomic
from a2f.imageio import Picture, encode_image
from a2f.imageio.formats import is_image_name
from a2f.imageio.rgb import read_rgb8
from a2f.resize import imresize
from a2f.workers import worker_processes

Image = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class Source:
    """One source image.

    Attributes:
        path: path of the file.
        source: the path relative to the source folder.
        name: start of the names of its outputs.
        known: its entry of an earlier run, if there is one.
    """

    path: Path
    source: str
    name: str
    known: Entry | None


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """The result of a source.

    Attributes:
        source: the path relative to the source folder.
        status: "made", "kept" from an earlier run, "skipped" because of its size, or "failed".
        entry: entry for the index, if made or kept.
        reason: the reason, if skipped or failed.
    """

    source: str
    status: Literal["made", "kept", "skipped", "failed"]
    entry: Entry | None = None
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """The plan of a preparation.

    Attributes:
        folder: the prepared folder.
        index: the index of the folder.
        tasks: one per source.
        notes: messages for the user.
    """

    folder: Path
    index: Index
    tasks: tuple[Source, ...]
    notes: tuple[str, ...]


def find_sources(source: Path, folder: Path, settings: PrepareSettings) -> Preparation:
    """Find all images and their names, before anything is written.

    Args:
        source: folder of images, searched recursively; hidden files and folders are skipped.
        folder: the folder to write.
        settings: sizes and scales.

    Raises:
        ImageReadError: if there is no source folder, or no image in it.
        UsageError: if one folder is inside the other, or `folder` already has other images.
    """
    if not source.is_dir():
        raise ImageReadError(f"{source} is not a folder" if source.exists() else f"there is no folder {source}")
    _refuse_nesting(source, folder)
    found, notes = _find(source)
    index = Index(folder, source=source.resolve(), settings=settings)
    if not index.exists and any(next(f.iterdir(), None) for f in _folders(folder, index.settings) if f.is_dir()):
        raise UsageError(f"{folder} already holds images that a2f data prepare did not make: choose another folder")
    added = set(index.settings.scales) - set(settings.scales)
    if added:
        notes.append(f"{folder} has LR images of scale {', '.join(map(str, sorted(added)))} too: they are updated")
    sources = [path.relative_to(source) for path in found]
    gone = index.entries.keys() - {path.as_posix() for path in sources}
    if gone:
        notes.append(f"no longer in {source}: {count_of(len(gone), 'image')} of the index; the outputs are kept")
    tasks = tuple(
        Source(path=path, source=relative.as_posix(), name=name, known=index.entries.get(relative.as_posix()))
        for path, relative, name in zip(found, sources, unique_names(sources), strict=True)
    )
    return Preparation(folder=folder, index=index, tasks=tasks, notes=tuple(notes))


def run(todo: Preparation, *, jobs: int) -> Iterator[Prepared]:
    """Carry out a plan. If it is interrupted, a second run continues.

    Args:
        todo: the result of `find_sources`.
        jobs: number of processes.

    Yields:
        The result of each source, in order. A source that cannot be read gives a result, not an exception.

    Raises:
        WriteError: if the folder cannot be written, or the disk is full.
        A2FError: if a process was killed.
    """
    index = todo.index
    index.begin()
    for folder in _folders(todo.folder, index.settings):
        make_folder(folder)
        for left in folder.glob(".*.tmp"):  # left by a killed run
            left.unlink(missing_ok=True)
    do = partial(prepare_one, folder=todo.folder, settings=index.settings)
    for task, result in zip(todo.tasks, _parallel(do, todo.tasks, jobs=min(jobs, len(todo.tasks))), strict=True):
        if result.entry is not None and result.status == "made":
            index.add(result.entry)
            _remove_stale(task.known, result.entry, todo.folder)
        yield result
    index.finish()


def prepare_one(task: Source, *, folder: Path, settings: PrepareSettings) -> Prepared:
    """Check one image and write its sub-images and their LR images, unless they exist already.

    Raises:
        WriteError: if an output cannot be written.
    """
    try:
        data = _read(task.path)
        digest = hashlib.sha256(data).hexdigest()
        known = task.known
        if known is not None and known.sha256 == digest and _is_whole(task.name, known, folder, settings):
            return Prepared(source=task.source, status="kept", entry=known)
        image = read_rgb8(data, name=str(task.path))
    except ImageReadError as error:
        return Prepared(source=task.source, status="failed", reason=str(error))
    except MemoryError:
        return Prepared(source=task.source, status="failed", reason=f"{task.path}: out of memory: lower --jobs")
    height, width = image.shape[:2]
    least = max(settings.min_size, *settings.scales, 1)
    if min(height, width) < least:
        reason = f"{task.path} has {width} x {height} pixels, less than {least}"
        return Prepared(source=task.source, status="skipped", reason=reason)
    outputs = tuple(_outputs(task.name, image, folder, settings))
    entry = Entry(source=task.source, sha256=digest, width=width, height=height, outputs=outputs)
    return Prepared(source=task.source, status="made", entry=entry)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ImageReadError(f"cannot read {path}: {error.strerror or error}") from error


def _outputs(name: str, image: Image, folder: Path, settings: PrepareSettings) -> Iterator[Output]:
    crop = {"size": settings.size, "step": settings.step, "threshold": settings.threshold}
    names = sub_names(name, width=image.shape[1], height=image.shape[0], **crop)
    for each, hr in zip(names, sub_images(image, **crop), strict=True):
        made = [hr, *(imresize(crop_to_multiple(hr, scale), scale=1 / scale) for scale in settings.scales)]
        for path, pixels in zip(_paths(each, settings), made, strict=True):
            data = encode_image(Picture(pixels=np.ascontiguousarray(pixels)), format="png")
            digest = hashlib.sha256(data).hexdigest()
            if _sha256_of(folder / path) != digest:
                write_bytes_atomic(folder / path, data)
            yield Output(path=path, sha256=digest, width=pixels.shape[1], height=pixels.shape[0])


def _paths(name: str, settings: PrepareSettings) -> list[str]:
    return [f"HR/{name}.png", *(f"LR_bicubic/X{scale}/{name}x{scale}.png" for scale in settings.scales)]


def _is_whole(name: str, entry: Entry, folder: Path, settings: PrepareSettings) -> bool:
    """Whether all outputs of an unchanged source exist and are undamaged."""
    crop = {"size": settings.size, "step": settings.step, "threshold": settings.threshold}
    names = sub_names(name, width=entry.width, height=entry.height, **crop)
    wanted = [path for each in names for path in _paths(each, settings)]
    return [output.path for output in entry.outputs] == wanted and all(
        _sha256_of(folder / output.path) == output.sha256 for output in entry.outputs
    )


def _sha256_of(path: Path) -> str | None:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return None


def _remove_stale(old: Entry | None, new: Entry, folder: Path) -> None:
    """Remove outputs of an earlier version of a source that the current version does not have."""
    if old is not None:
        for path in {output.path for output in old.outputs} - {output.path for output in new.outputs}:
            (folder / path).unlink(missing_ok=True)


def _folders(folder: Path, settings: PrepareSettings) -> list[Path]:
    return [folder / "HR", *(folder / "LR_bicubic" / f"X{scale}" for scale in settings.scales)]


def _refuse_nesting(source: Path, folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file: give a folder")
    inner, outer = folder.resolve(), source.resolve()
    if inner.is_relative_to(outer):
        raise UsageError(f"{folder} is inside {source}, so outputs would become inputs: choose another folder")
    for own in ("HR", "LR_bicubic"):
        if outer.is_relative_to(inner / own):
            raise UsageError(f"{source} is a folder of the outputs of {folder}: choose another folder")


def _find(source: Path) -> tuple[list[Path], list[str]]:
    """All images, and a note about files that are no images by their names."""
    every = [
        path
        for path in sorted(source.rglob("*"))
        if not path.is_dir() and not any(part.startswith(".") for part in path.relative_to(source).parts)
    ]
    found = [path for path in every if is_image_name(path)]
    if not found:
        raise ImageReadError(f"{source} holds no images")
    others = Counter(path.suffix.lower() or "no suffix" for path in every if not is_image_name(path))
    listed = ", ".join(f"{suffix} ({count})" for suffix, count in others.most_common(5))
    return found, [f"skipped {count_of(others.total(), 'file(s) without an image suffix')}: {listed}"] if others else []


def _parallel(do: partial[Prepared], tasks: tuple[Source, ...], *, jobs: int) -> Iterator[Prepared]:
    if jobs == 1:
        yield from map(do, tasks)
        return
    with worker_processes(jobs) as pool:
        waiting = iter(tasks)
        futures: list[Future[Prepared]] = [pool.submit(do, task) for task in islice(waiting, 4 * jobs)]
        try:
            while futures:
                yield futures.pop(0).result()
                futures += [pool.submit(do, task) for task in islice(waiting, 1)]
        except BrokenProcessPool as error:
            raise A2FError(
                "a process was killed, perhaps because of its memory: lower --jobs and run the same command to continue"
            ) from error
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
