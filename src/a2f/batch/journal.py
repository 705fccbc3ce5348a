"""The journal of a batch: the state of each file, in an SQLite database that survives a kill.

An item goes from ``todo`` to ``running`` and ends as ``done``, ``skipped``, ``failed`` (memory, a disk or the network
failed) or ``quarantined`` (the file itself is bad). The journal stores the checksum of a result before the result gets
its name. So the next run can distinguish its own files from others after a kill at any time.
"""

import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from a2f.batch.database import JOURNAL_ENDINGS, hold_journal, lock_of, open_database, open_read_only
from a2f.errors import Hint, JournalError

FORMAT = 1
PAGE = 500  # items in memory at a time
MAX_STARTS = 5  # of an item without an end; the item may be what ends the program

RESUME_HINT = Hint(text="free some space, then continue with {option}", option="resume", value=True)

State = Literal["todo", "running", "done", "skipped", "failed", "quarantined"]
STATES: tuple[State, ...] = ("todo", "running", "done", "skipped", "failed", "quarantined")

_SCHEMA = """
CREATE TABLE about (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE recipes (id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE);
CREATE TABLE runs (id INTEGER PRIMARY KEY, began REAL NOT NULL, ended REAL, recipe INTEGER NOT NULL);
CREATE TABLE items (
    id INTEGER PRIMARY KEY,
    source TEXT NOT NULL UNIQUE,
    target TEXT NOT NULL,
    folder TEXT NOT NULL,
    stem TEXT NOT NULL,
    key TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    version TEXT NOT NULL,
    weight REAL NOT NULL,
    sha256 TEXT,
    recipe INTEGER,
    model TEXT,
    model_sha256 TEXT,
    state TEXT NOT NULL,
    starts INTEGER NOT NULL DEFAULT 0,
    tries INTEGER NOT NULL DEFAULT 0,
    placing TEXT,
    output_sha256 TEXT,
    output_bytes INTEGER,
    output_version TEXT,
    width INTEGER,
    height INTEGER,
    seconds REAL,
    ended REAL,
    error TEXT,
    seen INTEGER NOT NULL
);
CREATE INDEX items_key ON items (key);
CREATE INDEX items_todo ON items (state, starts, weight DESC, id);
"""


@dataclass(frozen=True, kw_only=True)
class Item:
    """One file of a batch in the journal.

    Attributes:
        id: number in this journal.
        source: path or address of the picture.
        target: path or address of the result.
        bytes: size of the source file.
        version: time of the source, or its tag in an object store; it changes with the content.
        weight: estimated number of pixels, for the order.
        sha256: checksum of the source; None if it was never processed.
        state: the state.
        starts: number of starts since the last end.
        tries: number of all starts.
        placing: checksum of a complete result that may not have its name yet.
        output_sha256: checksum of the result; None if there is none.
        output_bytes: size of the result.
        output_version: version of the result, see `version`.
        recipe: number of the options of the result; None for a file that existed before.
        width: width of the result.
        height: height of the result.
        model: model of the first pass.
        model_sha256: checksums of the weights of all passes.
        seconds: duration.
        ended: time of the end, seconds since 1970.
        error: reason of the failure.
    """

    id: int
    source: str
    target: str
    bytes: int
    version: str
    weight: float
    sha256: str | None
    state: State
    starts: int
    tries: int
    placing: str | None
    output_sha256: str | None
    output_bytes: int | None
    output_version: str | None
    recipe: int | None
    width: int | None
    height: int | None
    model: str | None
    model_sha256: str | None
    seconds: float | None
    ended: float | None
    error: str | None


@dataclass(frozen=True, kw_only=True)
class Facts:
    """The source and the options of a result.

    Attributes:
        bytes: size of the source.
        version: version of the source, see `Item.version`.
        sha256: checksum of the source.
        recipe: number of the options.
        size: width and height of the result; None if it is not a single picture.
        model: model of the first pass.
        model_sha256: checksums of the weights of all passes, separated by commas.
    """

    bytes: int
    version: str
    sha256: str
    recipe: int
    size: tuple[int, int] | None = None
    model: str | None = None
    model_sha256: str | None = None


_COLUMNS = ", ".join(Item.__dataclass_fields__)


def as_stored(path: str) -> str | bytes:
    """A path for the database, as bytes if it is not valid Unicode, which file systems allow."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return os.fsencode(path)
    return path


def _item(row: tuple[Any, ...]) -> Item:
    plain: list[Any] = [os.fsdecode(value) if isinstance(value, bytes) else value for value in row]
    return Item(**dict(zip(Item.__dataclass_fields__, plain, strict=True)))


class Journal:
    """An open journal; safe to share between threads. Other runs cannot use it while it is open for writing.

    Args:
        path: path of the database. It is made if it is missing, unless `read_only`.
        read_only: only read it, for example for `a2f batch status`, even while a run writes.
        name: path to print in messages, if the database is a copy; None for `path`.

    Raises:
        JournalError: if the file is missing, is no journal, belongs to a newer a2f, is in use, or cannot be written.
    """

    def __init__(self, path: Path, *, read_only: bool = False, name: Path | None = None) -> None:
        self.path, self._mutex, self._together = path, threading.RLock(), False
        self.name = name or path
        self.is_new = not path.exists()
        self._made_folder = not path.parent.exists()
        if self.is_new and read_only:
            raise JournalError(f"the journal '{path}' does not exist: give the file that a2f upscale --resume has made")
        self._holder = None if read_only else hold_journal(path)
        self._base = open_read_only(path) if read_only else open_database(path, read_only=False)
        with self._told():
            if self.is_new or not self._base.execute("SELECT 1 FROM sqlite_master").fetchone():
                self._make()
            found = self._base.execute("SELECT value FROM about WHERE name = 'format'").fetchone()
        if found is None or int(found[0]) != FORMAT:
            raise JournalError(
                f"{path} is a journal of another a2f (format {found and found[0]}): this one has {FORMAT}"
            )
        self.run = self.recipe = 0

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the database and release it for other runs."""
        with self._mutex:
            self._base.close()
            if self._holder is not None:
                self._holder.close()

    def discard(self) -> None:
        """Close a journal that this object has made, and remove its files, unless work on a file has begun."""
        if not self.is_new or self.rows("SELECT 1 FROM items WHERE tries > 0 OR state <> 'todo' LIMIT 1"):
            return
        self.close()
        for ending in JOURNAL_ENDINGS:
            with suppress(OSError):
                self.path.with_name(self.path.name + ending).unlink()
        if self._made_folder:
            with suppress(OSError):  # other files have appeared in it
                self.path.parent.rmdir()

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction: all changes in the block are on the disk at its end, or none.

        Raises:
            JournalError: if the journal cannot be written, for example on a full disk.
        """
        with self._told():
            if self._together:
                yield self._base
                return
            with self._base:
                yield self._base

    @contextmanager
    def together(self) -> Iterator[None]:
        """One transaction for several changes, which need one write to the disk.

        Raises:
            JournalError: if the journal cannot be written.
        """
        with self.writing():
            self._together = True
            try:
                yield
            finally:
                self._together = False

    @contextmanager
    def _told(self) -> Iterator[None]:
        with self._mutex:
            try:
                yield
            except sqlite3.Error as error:
                hints = [RESUME_HINT] if "full" in str(error) else []
                raise JournalError(f"cannot use the journal {self.name}: {error}", *hints) from error

    def _make(self) -> None:
        with self._base:
            self._base.execute("BEGIN")  # a kill leaves an empty file, which the next run fills
            for statement in _SCHEMA.split(";"):
                self._base.execute(statement)
            self._base.execute("INSERT INTO about VALUES ('format', ?)", (str(FORMAT),))

    def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """The rows of a query."""
        with self._told():
            return self._base.execute(query, values).fetchall()

    def is_in_use(self) -> bool:
        """Whether a run of this or another process has opened the journal for writing."""
        if self._holder is not None:
            return True
        if not lock_of(self.path).exists():
            return False
        try:
            hold_journal(self.path, patience_s=0).close()
        except JournalError:
            return True
        return False

    def begin(self, recipe: str) -> None:
        """Begin a run; `run` and `recipe` are then the numbers of the run and of its recipe.

        Args:
            recipe: all options that the result depends on, as text.
        """
        with self.writing() as base:
            base.execute("INSERT OR IGNORE INTO recipes (text) VALUES (?)", (recipe,))
            (self.recipe,) = base.execute("SELECT id FROM recipes WHERE text = ?", (recipe,)).fetchone()
            base.execute("INSERT INTO runs (began, recipe) VALUES (?, ?)", (time.time(), self.recipe))
            (self.run,) = base.execute("SELECT max(id) FROM runs").fetchone()

    def end(self) -> None:
        """Record the end of the run."""
        with self.writing() as base:
            base.execute("UPDATE runs SET ended = ? WHERE id = ?", (time.time(), self.run))

    def counts(self, *, run: int | None = None) -> dict[State, int]:
        """The number of items in each state, of one run or of all."""
        where, values = ("", ()) if run is None else ("WHERE seen = ?", (run,))
        found = dict(self.rows(f"SELECT state, count(*) FROM items {where} GROUP BY state", *values))
        return {state: found.get(state, 0) for state in STATES}

    def todo(self) -> Iterator[Item]:
        """The items of this run that are left to do, the largest first, in pages; items with earlier starts come last.

        So a file that ends the program does not block other files.
        """
        last: tuple[float, ...] = (-1, 0, 0)
        while True:
            rows = self.rows(
                f"SELECT {_COLUMNS} FROM items WHERE state = 'todo' AND seen = ? AND (starts, -weight, id) > (?, ?, ?) "
                f"ORDER BY starts, weight DESC, id LIMIT {PAGE}",
                self.run,
                *last,
            )
            if not rows:
                return
            for item in map(_item, rows):
                yield item
                last = (item.starts, -item.weight, item.id)

    def items(self, *states: State) -> Iterator[Item]:
        """All items in these states, by source, in pages."""
        marks, last = ", ".join("?" * len(states)), ""
        query = f"SELECT {_COLUMNS} FROM items WHERE +state IN ({marks}) AND source > ? ORDER BY source LIMIT {PAGE}"
        while rows := self.rows(query, *states, as_stored(last)):
            yield from map(_item, rows)
            last = _item(rows[-1]).source

    def find(self, source: str) -> Item | None:
        """The item of a source."""
        rows = self.rows(f"SELECT {_COLUMNS} FROM items WHERE source = ?", as_stored(source))
        return _item(rows[0]) if rows else None

    def is_result(self, key: str) -> bool:
        """Whether a file is the result of an item; `key` is a result of `a2f.batch.plan.key_of`."""
        return bool(self.rows("SELECT 1 FROM items WHERE key = ? LIMIT 1", as_stored(key)))

    def start(self, item: Item) -> None:
        """Record the start of an item."""
        self._set(item, state="running", starts=item.starts + 1, tries=item.tries + 1)

    def placing(self, item: Item, output_sha256: str, facts: Facts) -> None:
        """Record the checksum and the facts of a complete result before it gets its name."""
        width, height = facts.size or (None, None)
        values = {name: getattr(facts, name) for name in Facts.__dataclass_fields__ if name != "size"}
        self._set(item, placing=output_sha256, width=width, height=height, **values)

    def done(self, item: Item, output: tuple[int, str], *, seconds: float) -> None:
        """Record that the result has its name.

        Args:
            item: the item.
            output: size and version of the result.
            seconds: duration.
        """
        with self.writing() as base:
            base.execute(
                "UPDATE items SET state = 'done', starts = 0, error = NULL, seconds = ?, ended = ?, output_bytes = ?, "
                "output_version = ?, output_sha256 = coalesce(placing, output_sha256), placing = NULL WHERE id = ?",
                (seconds, time.time(), *output, item.id),
            )

    def skipped(self, item: Item, note: str, *, recipe: int | None, sha256: str | None) -> None:
        """Record that an item is skipped, and why; `recipe` is None if the result is not from this batch."""
        self._set(item, state="skipped", starts=0, error=note, recipe=recipe, sha256=sha256, ended=time.time())

    def failed(self, item: Item, error: str, *, bad_file: bool, recipe: int, seconds: float) -> None:
        """Record the failure of an item.

        Args:
            item: the item.
            error: the reason.
            bad_file: the file is the reason, so it fails again until the file or the options change.
            recipe: number of the options.
            seconds: duration.
        """
        state: State = "quarantined" if bad_file else "failed"
        told = {"error": error, "recipe": recipe, "seconds": seconds, "ended": time.time()}
        self._set(item, state=state, starts=0, sha256=None, **told)  # a file at the target has other options

    def put_back(self, item: Item) -> None:
        """Mark a started item as to do."""
        self._set(item, state="todo", starts=item.starts)

    def _set(self, item: Item, **values: object) -> None:
        names = ", ".join(f"{name} = ?" for name in values)
        with self.writing() as base:
            base.execute(f"UPDATE items SET {names} WHERE id = ?", (*values.values(), item.id))
