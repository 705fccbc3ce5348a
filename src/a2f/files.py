"""A file is written whole or not at all."""

import contextlib
import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

from a2f.errors import A2FError, Hint, OutputExistsError, WriteError

COPIED_BYTES = 2**20  # at a time

Parts = Iterable[bytes | memoryview]  # of a file, from its beginning
Times = tuple[int, int]  # of the last reading and the last change, nanoseconds


def write_bytes_atomic(path: Path | str, data: bytes | Parts, *, replace: bool = True) -> None:
    """Write a file so that a crash, a full disk or Ctrl-C leaves the old file or none, never half of one.

    The bytes go to a temporary file in the same folder, which is flushed to the disk and then renamed. Where the system
    can (Linux, on most file systems), that file has no name before it is whole, so that a kill leaves nothing of it,
    but for the instant between its two names. A link is followed: what it points to is replaced. The permissions of an
    existing file are kept. A device or a pipe is written to, not replaced.

    Args:
        path: of the file.
        data: the whole file, or its parts, which are asked for one after the other as they are written.
        replace: take the place of a file that is there. Without it such a file stays, even one that appears while the
            parts are made: of several writers at a time one succeeds.

    Raises:
        OutputExistsError: if there is a file and `replace` is not set.
        WriteError: if the folder is missing or cannot be written, or the disk is full. What making a part raises
            comes through, and nothing is left either.
    """
    path, parts = Path(path), [data] if isinstance(data, bytes) else data
    temporary: Path | None = None
    try:
        if not replace and path.exists():
            raise output_exists(path)
        kind = path.stat().st_mode if path.exists() else None
        if kind is not None and not stat.S_ISREG(kind):
            with path.open("wb") as file:  # says itself that a folder is none
                file.writelines(parts)
            return
        target = Path(os.path.realpath(path))
        mode = 0o666 & ~_umask() if kind is None else stat.S_IMODE(kind) & 0o777
        temporary = target.parent / f".a2f-{os.urandom(8).hex()}.tmp"  # short: the target's name may fill the limit
        if not _written_unnamed(temporary, parts, mode):
            _write_named(temporary, parts, mode)
        if replace:
            temporary.replace(target)
        else:
            _place_exclusively(temporary, target)
        _sync_folder(target.parent)
    except A2FError:  # of the parts
        raise
    except FileExistsError as error:
        raise output_exists(path) from error
    except (OSError, ValueError) as error:
        raise WriteError(f"cannot write {path}: {getattr(error, 'strerror', None) or error}") from error
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):
                temporary.unlink()


def output_exists(path: Path | str) -> OutputExistsError:
    """The error for a file at the output that nobody asked to replace."""
    replace_it = Hint(text="replace it with {option}", option="overwrite", value=True)
    return OutputExistsError(f"{path} exists", Hint(text="choose another output"), replace_it)


def place(made: Path, target: Path, *, replace: bool) -> None:
    """Give a finished file its name, as `write_bytes_atomic` does, without writing it once more.

    Args:
        made: the file, on the same disk as the target.
        target: its name.
        replace: take the place of a file that is there.

    Raises:
        OutputExistsError: if there is a file and `replace` is not set.
        WriteError: if the system does not let us.
    """
    try:
        kept = stat.S_IMODE(target.stat().st_mode) & 0o777 if target.exists() else 0o666 & ~_umask()
        made.chmod(kept)
        with made.open("rb+") as file:
            os.fsync(file.fileno())
        target = Path(os.path.realpath(target))
        if replace:
            made.replace(target)
        else:
            _place_exclusively(made, target)
            made.unlink(missing_ok=True)
        _sync_folder(target.parent)
    except FileExistsError as error:
        raise output_exists(target) from error
    except OSError as error:
        raise WriteError(f"cannot write {target}: {error.strerror or error}") from error


def write_all(stream: BinaryIO, data: bytes) -> None:
    """Write to a stream that may take less at a time, as unbuffered ones do.

    Raises:
        WriteError: if it takes no more; BrokenPipeError if its reader went away.
    """
    rest = memoryview(data)
    try:
        while rest:
            rest = rest[stream.write(rest) or 0 :]
        stream.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise WriteError(f"cannot write to standard output: {error.strerror or error}") from error


def _place_exclusively(temporary: Path, target: Path) -> None:
    """Give a finished file its name, unless that is taken; FileExistsError then."""
    if os.name == "nt":
        temporary.rename(target)  # which replaces nothing on this system
        return
    try:
        os.link(temporary, target)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links: the name is taken first, then filled in one step
        os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        temporary.replace(target)


def _written_unnamed(name: Path, parts: Parts, mode: int) -> bool:
    """Write a file that gets its name when it is whole, and vanishes if we are killed before; False where none can."""
    flag = getattr(os, "O_TMPFILE", None)
    if flag is None or not Path("/proc/self/fd").is_dir():
        return False
    try:
        handle = os.open(name.parent, flag | os.O_RDWR, 0o600)
    except OSError:
        return False  # whatever it is, the attempt with a name says it better
    with os.fdopen(handle, "w+b") as file:
        os.fchmod(handle, mode)
        _fill(file, parts)
        try:
            # Any number of a folder makes Python take the call that follows the link in /proc; this one is not used.
            os.link(f"/proc/self/fd/{handle}", name, src_dir_fd=handle, follow_symlinks=True)
        except OSError:  # a file system without hard links; the parts may not come twice
            file.seek(0)
            _write_named(name, iter(lambda: file.read(COPIED_BYTES), b""), mode)
    return True


def _write_named(name: Path, parts: Parts, mode: int) -> None:
    handle = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600)
    with os.fdopen(handle, "wb") as file:
        _fill(file, parts)
    name.chmod(mode)


def _fill(file: BinaryIO, parts: Parts) -> None:
    try:
        file.writelines(parts)
        file.flush()
        os.fsync(file.fileno())
    except OSError as error:
        raise OSError(error.errno, f"{error.strerror or error}; nothing was left behind") from error


def _umask() -> int:
    """The mask for new files; the system tells it only to who sets it."""
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("Umask:"):
                return int(line.split()[1], 8)
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def _sync_folder(folder: Path) -> None:
    """Make the rename itself survive a power cut, where folders can be opened."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def times_of(path: Path) -> Times | None:
    """When a file was last read and changed; None if the system does not tell. To be asked before it is read."""
    try:
        status = path.stat()
    except OSError:  # which reading it will say better
        return None
    return status.st_atime_ns, status.st_mtime_ns


def set_times(path: Path, times: Times) -> list[str]:
    """Give a file the times of another; a note where the system does not let us."""
    try:
        os.utime(path, ns=times)
    except OSError as error:
        return [f"{path}: the times of the input could not be set: {error.strerror or error}"]
    return []


def make_folder(folder: Path) -> None:
    """Make a folder, and those above it, unless it is there.

    Raises:
        WriteError: if that cannot be.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WriteError(f"cannot make the folder {folder}: {error.strerror or error}") from error


def ends_like_a_folder(path: str) -> bool:
    """Whether a path is meant as a folder, whatever is there: `Path` forgets the separator at its end."""
    return path.endswith(("/", os.sep))
