"""Unpack untrusted archives: only the requested members, only inside the target, completely or not at all."""

import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO

from a2f.errors import ArchiveError, DownloadError


@dataclass(frozen=True, kw_only=True)
class Member:
    """A member of an archive.

    Attributes:
        name: name in the archive.
        kind: "file", "folder", "link" or "device".
        size_bytes: unpacked size.
        open: opens the content of a file.
    """

    name: str
    kind: str
    size_bytes: int
    open: Callable[[], IO[bytes]]


def unpack(archive: Path, wanted: Mapping[str, Path]) -> dict[Path, int]:
    """Unpack folders or files of a zip or tar archive.

    Each is unpacked beside its target under a hidden name and renamed when it is complete.

    Args:
        archive: a zip or tar archive, possibly compressed; the format is detected from the content.
        wanted: path in the archive -> target that does not exist yet.

    Returns:
        The number of files of each target.

    Raises:
        ArchiveError: if the archive is damaged, lacks a requested path, or has members outside the target.
        DownloadError: if the disk is full or cannot be written.
    """
    temporary = {target: target.with_name(f".{target.name}.unpacking") for target in wanted.values()}
    counts = dict.fromkeys(wanted.values(), 0)
    try:
        for path in temporary.values():
            path.parent.mkdir(parents=True, exist_ok=True)
            _remove(path)
        with _members(archive) as members:
            for member, target, inside in _chosen(members, wanted, archive):
                counts[target] += member.kind == "file"
                _write(member, temporary[target] / inside)
        empty = [name for name, target in wanted.items() if not counts[target]]
        if empty:
            raise ArchiveError(f"{archive} holds no {' and no '.join(empty)}")
        for target, path in temporary.items():
            path.rename(target)
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError) as error:
        raise ArchiveError(f"{archive} is damaged: {error}") from error
    except OSError as error:
        raise DownloadError(f"cannot unpack {archive}: {error.strerror or error}") from error
    finally:
        for path in temporary.values():
            _remove(path)
    return counts


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _chosen(
    members: Iterator[Member], wanted: Mapping[str, Path], archive: Path
) -> Iterator[tuple[Member, Path, PurePosixPath]]:
    """The requested members, with the target and the path in the target.

    Raises:
        ArchiveError: for any member with a path outside the target, and for a requested member that is a link or a
            device.
    """
    for member in members:
        path = PurePosixPath(member.name.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts or ":" in member.name.partition("/")[0] or "\0" in member.name:
            raise ArchiveError(f"{archive} is not safe: {member.name!r} leads out of it; nothing was unpacked")
        for inside, target in wanted.items():
            if not path.is_relative_to(inside) or member.kind == "folder":
                continue
            if member.kind != "file":
                raise ArchiveError(f"{archive} is not safe: {member.name!r} is a {member.kind}; nothing was unpacked")
            below = path.relative_to(inside)
            if not any(part.startswith(".") for part in below.parts):  # hidden files of desktop systems
                yield member, target, below


def _write(member: Member, path: Path) -> None:
    free = shutil.disk_usage(path.parent if path.parent.exists() else path.anchor or ".").free
    if member.size_bytes > free:
        raise DownloadError(f"{member.name} has {member.size_bytes:,} bytes, but only {free:,} are free: free space")
    path.parent.mkdir(parents=True, exist_ok=True)
    with member.open() as source, path.open("wb") as file:
        shutil.copyfileobj(source, file, 1 << 20)
    if path.stat().st_size != member.size_bytes:
        raise EOFError(f"{member.name} ends too early")


@contextmanager
def _members(archive: Path) -> Iterator[Iterator[Member]]:
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as file:
            yield _zip_members(file)
    else:
        with tarfile.open(archive) as file:
            yield _tar_members(file)


def _zip_members(file: zipfile.ZipFile) -> Iterator[Member]:
    for info in file.infolist():
        link = stat.S_ISLNK(info.external_attr >> 16)
        kind = "folder" if info.is_dir() else "link" if link else "file"
        yield Member(name=info.orig_filename, kind=kind, size_bytes=info.file_size, open=partial(file.open, info))


def _tar_members(file: tarfile.TarFile) -> Iterator[Member]:
    for info in file:
        link = info.islnk() or info.issym()
        kind = "file" if info.isreg() else "folder" if info.isdir() else "link" if link else "device"
        yield Member(name=info.name, kind=kind, size_bytes=info.size, open=partial(_tar_content, file, info))


def _tar_content(file: tarfile.TarFile, info: tarfile.TarInfo) -> IO[bytes]:
    found = file.extractfile(info)
    assert found is not None  # None only for folders
    return found
