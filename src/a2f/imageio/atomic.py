"""Writing a whole file or none."""

import contextlib
import os
import tempfile
from pathlib import Path

from a2f.errors import ImageWriteError


def write_bytes_atomic(path: Path | str, data: bytes) -> None:
    """Write a file so that a crash, a full disk or Ctrl-C leaves the old file or none, never half of one.

    The bytes go to a temporary file in the same folder, which is flushed to the disk and then renamed. A link is
    followed: what it points to is replaced. The permissions of an existing file are kept.

    Args:
        path: of the file.
        data: the whole file.

    Raises:
        ImageWriteError: if the folder is missing or cannot be written, or the disk is full.
    """
    path = Path(path)
    target = Path(os.path.realpath(path))
    try:
        mode = target.stat().st_mode & 0o777 if target.exists() else 0o666 & ~_umask()
        handle, name = tempfile.mkstemp(prefix=f".{target.name[:100]}.", suffix=".tmp", dir=target.parent)
    except OSError as error:
        raise ImageWriteError(f"cannot write {path}: {error.strerror or error}") from error
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(mode)
        temporary.replace(target)
        _sync_folder(target.parent)
    except OSError as error:
        raise ImageWriteError(f"cannot write {path}: {error.strerror or error}; nothing was left behind") from error
    finally:
        temporary.unlink(missing_ok=True)


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
