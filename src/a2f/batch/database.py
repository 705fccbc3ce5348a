"""Open the database of a journal: for writing by one run at a time, or for reading."""

import os
import shutil
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

from a2f.errors import Hint, JournalError, WriteError
from a2f.files import make_folder
from a2f.lock import hold

# files of a journal: the database, the files that SQLite keeps beside it, and the lock
JOURNAL_ENDINGS = ("", "-wal", "-shm", "-journal", ".lock", ".lock-journal")
CACHE_KIB = 24_000  # memory for pages of the database


def open_database(path: Path, *, read_only: bool) -> sqlite3.Connection:
    """Open a database. It is made if it is missing, unless `read_only`.

    Raises:
        JournalError: if it cannot be opened or is no database.
    """
    try:
        base = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode={'ro' if read_only else 'rwc'}",
            uri=True,
            check_same_thread=False,
            timeout=30,
        )
        if not read_only:
            base.execute("PRAGMA journal_mode = WAL")
            base.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
            base.execute("PRAGMA synchronous = FULL")  # recorded results survive a power cut
        base.execute("SELECT 1 FROM sqlite_master").fetchone()
    except sqlite3.DatabaseError as error:
        raise JournalError(f"cannot open the journal {path}: {error}") from error
    return base


def open_read_only(path: Path) -> sqlite3.Connection:
    """Open a journal for reading; as a copy in memory if its folder cannot be written, which SQLite needs."""
    try:
        return open_database(path, read_only=True)
    except JournalError:
        if os.access(path.parent, os.W_OK):
            raise
    base = sqlite3.connect(":memory:", check_same_thread=False)
    with tempfile.TemporaryDirectory(prefix="a2f-") as folder:
        copy = Path(folder) / "journal"
        try:
            for end in ("", "-wal"):
                if path.with_name(path.name + end).exists():
                    shutil.copyfile(path.with_name(path.name + end), f"{copy}{end}")
        except OSError as error:
            raise JournalError(f"cannot read the journal {path}: {error.strerror or error}") from error
        with closing(open_database(copy, read_only=False)) as copied:
            copied.backup(base)
    return base


def copy_journal(path: Path, copy: Path) -> None:
    """Copy a journal, even while a run writes it, for a dry run.

    Args:
        path: the journal; nothing is copied if it is missing.
        copy: path of the copy.

    Raises:
        JournalError: if it cannot be read.
    """
    if not path.exists():
        return
    with closing(open_read_only(path)) as base, closing(sqlite3.connect(copy)) as made:
        try:
            base.backup(made)
        except sqlite3.Error as error:
            raise JournalError(f"cannot read the journal {path}: {error}") from error


def lock_of(path: Path) -> Path:
    """The lock file of a journal."""
    return path.with_name(path.name + ".lock")


def hold_journal(path: Path, *, patience_s: float = 1) -> sqlite3.Connection:
    """Lock a journal until the connection is closed; the system releases the lock when the process ends."""
    make_folder(path.parent)
    try:
        holder = hold(lock_of(path), patience_s=patience_s)
    except WriteError as error:
        raise JournalError(f"cannot use the journal {path}: {error.message}") from error
    if holder is None:
        hints = [Hint(text="wait for its end"), Hint(text="give this run another {option}", option="journal")]
        raise JournalError(f"cannot use the journal {path}: another run is using it", *hints)
    return holder
