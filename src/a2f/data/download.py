"""Download data sets, check them and unpack them."""

import contextlib
import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from a2f.data.fetch import Partial, fetch
from a2f.data.sources import Archive, Part
from a2f.data.unpack import unpack
from a2f.errors import ArchiveError, DownloadError, count_of
from a2f.files import write_bytes_atomic

ARCHIVES = "archives"


@dataclass(frozen=True, kw_only=True)
class Listener:
    """Callbacks for the progress of a download.

    Attributes:
        tell: called with lines for the user.
        report: called with the name of an archive, the number of bytes so far, and its length if known.
    """

    tell: Callable[[str], None]
    report: Callable[[str, int, int | None], None]


def download(
    parts: tuple[Part, ...],
    folder: Path,
    *,
    listener: Listener,
    base_url: str | None = None,
    keep: bool = True,
    pause: Callable[[float], None] = time.sleep,
) -> None:
    """Download and unpack everything that is not on the disk yet.

    Archives are stored in ``folder/archives``, each with its SHA-256 beside it. An archive that is already there is
    used if its checksum is correct. An existing target is not changed.

    Args:
        parts: the parts to download.
        folder: the folder of all sets.
        listener: callbacks for the progress.
        base_url: address of a mirror, for `Archive.address`.
        keep: whether to keep archives after they are unpacked.
        pause: called with the seconds to wait between attempts.

    Raises:
        DownloadError: if something cannot be fetched, checked or unpacked.
    """
    for archive in dict.fromkeys(part.archive for part in parts):
        wanted = {}
        for part in parts:
            if part.archive == archive and (folder / part.target).exists():
                listener.tell(f"{folder / part.target} exists already: not changed")
            elif part.archive == archive:
                wanted[part.inside] = folder / part.target
        if wanted:
            path = obtain(archive, folder / ARCHIVES, listener=listener, base_url=base_url, pause=pause)
            if "" in wanted:
                _place(path, wanted[""], listener)
                continue
            _unpack(path, wanted, listener)
            if not keep:
                path.unlink()


def obtain(
    archive: Archive,
    folder: Path,
    *,
    listener: Listener,
    base_url: str | None = None,
    pause: Callable[[float], None] = time.sleep,
) -> Path:
    """Get an archive with the correct checksum; it is downloaded if it is not on the disk.

    Args:
        archive: the archive.
        folder: the folder of archives.
        listener: callbacks for the progress.
        base_url: address of a mirror.
        pause: called with the seconds to wait between attempts.

    Returns:
        Its path; a file beside it has its SHA-256, in the format of ``sha256sum --check``.

    Raises:
        DownloadError: if it cannot be fetched, or its checksum is wrong.
    """
    path = folder / archive.name
    url = archive.address(base_url)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DownloadError(f"cannot make the folder {folder}: {error.strerror or error}") from error
    if path.exists():
        try:
            _check(archive, path, path, listener)
            return path
        except DownloadError as error:
            _set_aside(path)
            listener.tell(f"{error}; set aside as {path.name}.damaged, downloading again")
    return _fetched(archive, path, url, listener, pause)


def _fetched(archive: Archive, path: Path, url: str, listener: Listener, pause: Callable[[float], None]) -> Path:
    part = Partial(path.with_name(f"{path.name}.part"))
    resumed = part.size_bytes
    listener.tell(f"{url} -> {path}" + (f", {resumed:,} bytes of it are here" if resumed else ""))

    def report(done: int, total: int | None) -> None:
        listener.report(archive.name, done, total or archive.size_bytes)

    fetch(url, part, size_bytes=archive.size_bytes, report=report, tell=listener.tell, pause=pause)
    try:
        _check(archive, part.path, path, listener)
    except DownloadError as error:
        part.discard()
        raise DownloadError(f"{error}; it was removed") from error
    part.path.replace(path)
    part.discard()
    return path


def _check(archive: Archive, file: Path, path: Path, listener: Listener) -> None:
    """Compare with the published checksum or that of an earlier download; write the SHA-256 beside `path`."""
    record = path.with_name(f"{path.name}.sha256")
    before = _recorded(record)
    with file.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if archive.sha256 is not None:
        _compare(path, found, archive.sha256, "SHA-256", "published")
    elif archive.md5 is not None:
        with file.open("rb") as stream:
            md5 = hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
        _compare(path, md5, archive.md5, "MD5", "published")
    elif before is not None:
        _compare(path, found, before, "SHA-256", f"that of an earlier download ({record}; remove it to accept the new)")
    published = archive.sha256 or archive.md5
    listener.tell(
        f"{path.name}: the checksum is the published one"
        if published
        else f"{path.name}: the SHA-256 is that of the earlier download"
        if before
        else f"{path.name}: not verified, no checksum is published; SHA-256 {found}"
    )
    if before != found:
        write_bytes_atomic(record, f"{found}  {path.name}\n".encode())


def _compare(path: Path, found: str, wanted: str, kind: str, whose: str) -> None:
    if found != wanted:
        raise DownloadError(f"{path.name} has the wrong checksum: {kind} {found}, {whose} is {wanted}")


def _recorded(record: Path) -> str | None:
    with contextlib.suppress(OSError, UnicodeDecodeError, IndexError):
        return record.read_text(encoding="ascii").split()[0]
    return None


def _set_aside(path: Path) -> None:
    path.replace(path.with_name(f"{path.name}.damaged"))


def _place(path: Path, target: Path, listener: Listener) -> None:
    """Move a file that is no archive to its target."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        path.replace(target)
    except OSError as error:
        raise DownloadError(f"cannot write {target}: {error.strerror or error}") from error
    listener.tell(f"{target}: 1 file")


def _unpack(path: Path, wanted: dict[str, Path], listener: Listener) -> None:
    try:
        counts = unpack(path, wanted)
    except ArchiveError as error:
        _set_aside(path)
        path.with_name(f"{path.name}.sha256").unlink(missing_ok=True)
        raise ArchiveError(f"{error}; it was set aside as {path.name}.damaged") from error
    for target, count in counts.items():
        listener.tell(f"{target}: {count_of(count, 'file')}")
