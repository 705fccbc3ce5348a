"""File times, kept on request."""

import os
from pathlib import Path


def times_of(source: Path) -> tuple[int, int] | None:
    """When a file was last read and changed, nanoseconds; asked before it is read."""
    try:
        status = source.stat()
    except OSError:  # which reading it will say better
        return None
    return status.st_atime_ns, status.st_mtime_ns


def set_times(target: Path, times: tuple[int, int] | None) -> list[str]:
    """Give a file the times of another; a note where the system does not let us."""
    if times is None:
        return []
    try:
        os.utime(target, ns=times)
    except OSError as error:
        return [f"{target}: the times of the input could not be set: {error.strerror or error}"]
    return []
