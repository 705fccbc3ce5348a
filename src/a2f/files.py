"""Write files atomically: the whole file or nothing."""

import contextlib
import os
import stat
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from a2f.errors import A2FError, Hint, OutputExistsError, WriteError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

COPIED_BYTES = 2**20  # per read
MORE_ROOM = (Hint(text="set TMPDIR to a folder with room"), Hint(text="raise {option}", option="max_memory"))

Parts = Iterable[bytes | memoryview]  # consecutive parts of a file
Times = tuple[int, int]  # times of the last access and the last change, nanoseconds


def write_bytes_atomic(path: Path | str, data: bytes | Parts, *, replace: bool = True) -> None:
    """Write a file so that a crash, a full disk or Ctrl-C leaves the old file or none, never a part of one.

    The bytes are written to a temporary file in the same folder, which is flushed to the disk and then renamed. On
    Linux, with most file systems, the temporary file has no name until it is complete, so a killed process leaves no
    file behind; only a kill between the two renames can leave one. Links are followed: their target is replaced. The
    permissions of an existing file are kept. Devices and pipes are written to, not replaced.

    Args:
        path: the file to write.
        data: the whole file, or its parts; each part is requested when the part before it is written.
        replace: replace an existing file. If False, an existing file stays, even one that appears while the parts are
            made: of several concurrent writers one succeeds.

    Raises:
        OutputExistsError: if the file exists and `replace` is False.
        WriteError: if the folder is missing or cannot be written, or the disk is full. An error that is raised while a
            part is made is passed on; no file remains then either.
    """
    path, parts = Path(path), [data] if isinstance(data, bytes) else data
    temporary: Path | None = None
    try:
        if not replace and path.exists():
            raise output_exists(path)
        kind = path.stat().st_mode if path.exists() else None
        if kind is not None and not stat.S_ISREG(kind):
            with path.open("wb") as file:  # raises an error for a folder
                file.writelines(parts)
            return
        target = Path(os.path.realpath(path))
        mode = 0o666 & ~_umask() if kind is None else stat.S_IMODE(kind) & 0o777
        temporary = target.parent / f".a2f-{os.urandom(8).hex()}.tmp"  # a short name always fits
        if not _written_unnamed(temporary, parts, mode):
            _write_named(temporary, parts, mode)
        if replace:
            temporary.replace(target)
        else:
            _place_exclusively(temporary, target)
        _sync_folder(target.parent)
    except A2FError:  # raised while a part was made
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
    """The error for an output that exists and is not to be overwritten."""
    replace_it = Hint(text="{option} replaces it", option="overwrite", value=True)
    return OutputExistsError(f"{path} exists", replace_it, Hint(text="choose another output"))


def is_own_name(name: str) -> bool:
    """Whether a2f uses a name for its own files: journals, locks, temporary files, parts of results."""
    return name.startswith(".a2f-") or name.endswith(".a2f-parts") or (name.startswith(".") and name.endswith(".a2f"))


def place(made: Path, target: Path, *, replace: bool) -> None:
    """Rename a finished file to its target, atomically and without a copy.

    Args:
        made: the finished file, on the same disk as the target.
        target: its new name.
        replace: replace an existing file.

    Raises:
        OutputExistsError: if the file exists and `replace` is False.
        WriteError: if the system does not allow it.
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
    """Write all bytes to a stream whose `write` may accept fewer, as unbuffered streams do.

    Raises:
        WriteError: if writing fails; BrokenPipeError if the reader has closed the stream.
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
    """Rename a finished file; raise FileExistsError if the target exists."""
    if os.name == "nt":
        temporary.rename(target)  # on Windows this raises if the target exists
        return
    try:
        os.link(temporary, target)
    except FileExistsError:
        raise
    except OSError:  # no hard links here: reserve the name first, then replace it in one step
        os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        temporary.replace(target)


def _written_unnamed(name: Path, parts: Parts, mode: int) -> bool:
    """Write a file that has no name until it is complete; return False if the system does not support this."""
    flag = getattr(os, "O_TMPFILE", None)
    if flag is None or not Path("/proc/self/fd").is_dir():
        return False
    try:
        handle = os.open(name.parent, flag | os.O_RDWR, 0o600)
    except OSError:
        return False  # the attempt with a name gives the better error message
    with os.fdopen(handle, "w+b") as file:
        os.fchmod(handle, mode)
        _fill(file, parts)
        try:
            # With any folder descriptor Python uses the call that follows the link in /proc; the descriptor itself is
            # not used.
            os.link(f"/proc/self/fd/{handle}", name, src_dir_fd=handle, follow_symlinks=True)
        except OSError:  # no hard links here; the parts cannot be requested twice
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
        raise OSError(error.errno, f"{error.strerror or error}; no partial file remains") from error


def _umask() -> int:
    """The file mode mask of the process; without /proc it can only be read by setting it."""
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("Umask:"):
                return int(line.split()[1], 8)
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def _sync_folder(folder: Path) -> None:
    """Flush the folder, so that the rename survives a power failure, on systems that can open folders."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def times_of(path: Path) -> Times | None:
    """The times of the last access and change, or None if unknown. Call this before reading the file."""
    try:
        status = path.stat()
    except OSError:  # reading the file gives the better error message
        return None
    return status.st_atime_ns, status.st_mtime_ns


def set_times(path: Path, times: Times) -> list[str]:
    """Set the times of a file; return a note if the system does not allow it."""
    try:
        os.utime(path, ns=times)
    except OSError as error:
        return [f"{path}: the times of the input could not be set: {error.strerror or error}"]
    return []


def make_folder(folder: Path) -> None:
    """Make a folder and its parents, unless it exists.

    Raises:
        WriteError: if the folder cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WriteError(f"cannot make the folder {folder}: {error.strerror or error}") from error


def ends_like_a_folder(path: str) -> bool:
    """Whether a path ends with a separator, which means a folder; `Path` drops the separator."""
    return path.endswith(("/", os.sep))


def folder_for_scratch() -> Path:
    """$TMPDIR; otherwise /var/tmp where there is one, since /tmp may lie in memory; otherwise the system's folder."""
    large = Path("/var/tmp")
    if "TMPDIR" not in os.environ and large.is_dir() and os.access(large, os.W_OK):
        return large
    return Path(os.environ.get("TMPDIR") or tempfile.gettempdir())


class NamelessFile:
    """A temporary file without a name, which is gone with the process, however that ends.

    Args:
        purpose: what it holds, for errors.
        size_bytes: of it in the end.
        folder: on a disk with room; that of `folder_for_scratch` by default.

    Raises:
        WriteError: if there is no such file to be had.
    """

    def __init__(self, purpose: str, size_bytes: int, *, folder: Path | None = None) -> None:
        self._purpose, self._size_bytes, self._folder = purpose, size_bytes, folder
        try:
            self._folder = folder or folder_for_scratch()
            self._file: BinaryIO = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115 - closed by close()
        except OSError as error:
            place = f" in {self._folder}" if self._folder else ""
            raise WriteError(
                f"no temporary file for {purpose}{place}: {error.strerror or error}", *MORE_ROOM
            ) from error

    def read_into(self, place: int, values: "NDArray[np.float32]") -> None:
        """Fill contiguous values from so many bytes behind the beginning; with 0 where nothing was written yet."""
        self._file.seek(place)
        view = values.data.cast("B")
        got = self._file.readinto(view)  # type: ignore[attr-defined]
        view[got:] = bytes(len(view) - got)

    def write(self, place: int, values: "NDArray[np.float32]") -> None:
        """Keep contiguous values.

        Raises:
            WriteError: if the disk is full.
        """
        with self._told():
            self._file.seek(place)
            self._file.write(values.data.cast("B"))

    def flush(self) -> None:
        """Hand what was written to the system.

        Raises:
            WriteError: if the disk is full.
        """
        with self._told():
            self._file.flush()

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise WriteError(
                f"{self._purpose} need {self._size_bytes / 1e9:.1f} GB in {self._folder}: {error.strerror or error}",
                *MORE_ROOM,
            ) from error

    def close(self) -> None:
        """Let go of it."""
        with contextlib.suppress(OSError):  # a full disk has been told of already
            self._file.close()
