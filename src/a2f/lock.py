"""A file that one process at a time can hold; the system takes it back when the process ends, however that happens."""

import sqlite3
from pathlib import Path

from a2f.errors import WriteError


def hold(path: Path, *, patience_s: float = 0) -> sqlite3.Connection | None:
    """Hold a file until what is returned is closed; None if another run holds it.

    SQLite locks files on all systems, and over networks as far as those can.

    Args:
        path: of the file, which is made if it is missing; its folder is there.
        patience_s: how long to wait for another run, seconds.

    Raises:
        WriteError: if the file cannot be made or used.
    """
    try:
        holder = sqlite3.connect(path, check_same_thread=False, timeout=patience_s, isolation_level=None)
    except sqlite3.Error as error:
        raise WriteError(f"cannot use {path}: {error}") from error
    try:
        holder.execute("BEGIN EXCLUSIVE")
    except sqlite3.Error as error:
        holder.close()
        if "locked" in str(error):
            return None
        raise WriteError(f"cannot use {path}: {error}") from error
    return holder
