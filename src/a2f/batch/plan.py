"""What is left to do: the files that are there against the journal, in the database, so that memory stays flat."""

import functools
import os
import posixpath
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from a2f.batch.journal import MOST_STARTS, PAGE, Journal, as_stored
from a2f.batch.places import Places, ThisMachine, is_address, joined, sibling
from a2f.batch.sources import Found, Shard, plain_stem
from a2f.errors import Hint, UsageError, count_of
from a2f.pipeline import BOOK, output_name

# Pixels in a byte of a file, roughly: photographs at usual qualities. The order of work needs no better.
PIXELS_PER_BYTE = {
    ".jpg": 3.0,
    ".jpeg": 3.0,
    ".webp": 8.0,
    ".avif": 10.0,
    ".heic": 8.0,
    ".jxl": 6.0,
    ".png": 0.6,
    BOOK: 3.0,
}
UNCOMPRESSED = 0.33

StateOf = Callable[[str], tuple[int, str] | None]  # size and version of a file or object, None if there is none


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Where results go.

    Attributes:
        mark: added to the name of each file.
        format: of all results; None for that of each source.
        output: folder or address below which the folders of the sources are kept; None: beside each source.
    """

    mark: str
    format: str | None = None
    output: str | None = None

    def target(self, found: Found) -> str:
        """Path or address of the result."""
        if is_address(found.source) and self.format is None:  # its content tells when it is read
            name = found.stem + self.mark + os.path.splitext(found.below)[1]
        else:
            path = found.below if is_address(found.source) else found.source
            name = output_name(Path(path), mark=self.mark, format=self.format)
        if self.output is None:
            return sibling(found.source, name)
        return joined(self.output, posixpath.join(posixpath.dirname(found.below), name))


@dataclass(frozen=True, kw_only=True)
class Wish:
    """Which items of an earlier run are to be done again.

    Attributes:
        resume: go on with the journal; without it, a journal that is not empty is refused.
        retry_failed: quarantined files too.
        overwrite: all, whatever the journal tells.
        skip_existing: leave results that are there and that the journal does not know.
        quarantine_clashes: of files with one target, do the first and quarantine the others; otherwise all is refused.
    """

    resume: bool = False
    retry_failed: bool = False
    overwrite: bool = False
    skip_existing: bool = False
    quarantine_clashes: bool = False


def plan(
    journal: Journal,
    files: Iterable[Found],
    layout: Layout,
    wish: Wish,
    *,
    recipe: str,
    places: Places | None = None,
) -> list[str]:
    """Begin a run: put all files into the journal, and settle which of them are to be done.

    Args:
        journal: open for writing.
        files: that are there.
        layout: where results go.
        wish: what is to be done again.
        recipe: all options that the result depends on, as text.
        places: where results are; on this machine by default.

    Returns:
        Notes.

    Raises:
        UsageError: if the journal tells of an earlier run and `wish` does not say what to do, or outputs clash.
        JournalError: if the journal cannot be written.
    """
    before = journal.counts()
    was_empty = not sum(before.values())
    if not (was_empty or wish.resume or wish.retry_failed or wish.overwrite):
        told = ", ".join(f"{count} {state}" for state, count in before.items() if count)
        go_on = Hint(text="continue it with {option}", option="resume", value=True)
        anew = Hint(text="process all files again with {option}", option="overwrite", value=True)
        raise UsageError(f"{journal.name} belongs to an earlier run ({told})", go_on, anew)
    journal.begin(recipe)
    run = journal.run
    _put_in(journal, files, layout, run=run)
    notes = _leave_out_made_earlier(journal, layout.mark, run=run)
    if not wish.quarantine_clashes:
        try:
            _refuse_clashes(journal, run=run)
        except UsageError:
            _take_back(journal, run=run)
            raise
    _choose(journal, wish, run=run, recipe=journal.recipe)
    if wish.quarantine_clashes:
        notes += _quarantine_clashes(journal, run=run)
    adopt = wish.skip_existing or (was_empty and wish.resume)
    where = places or ThisMachine()
    output_state = where.state if layout.output is None else where.states(layout.output)
    return notes + _look_at_outputs(journal, wish, run=run, adopt=adopt, output_state=output_state)


_UPSERT = """
INSERT INTO items (source, target, folder, stem, key, bytes, version, weight, state, seen)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, 'todo', ?)
ON CONFLICT (source) DO UPDATE SET
    state = CASE WHEN bytes = excluded.bytes AND version = excluded.version AND target = excluded.target
        THEN state ELSE 'todo' END,
    starts = CASE WHEN bytes = excluded.bytes AND version = excluded.version THEN starts ELSE 0 END,
    output_sha256 = CASE WHEN target = excluded.target THEN output_sha256 END,
    output_bytes = CASE WHEN target = excluded.target THEN output_bytes END,
    placing = CASE WHEN target = excluded.target THEN placing END,
    target = excluded.target, folder = excluded.folder, stem = excluded.stem, key = excluded.key,
    bytes = excluded.bytes, version = excluded.version, weight = excluded.weight, seen = excluded.seen
WHERE items.seen <> excluded.seen
"""


def _put_in(journal: Journal, files: Iterable[Found], layout: Layout, *, run: int) -> None:
    with journal.writing() as base:
        base.execute("DROP TABLE IF EXISTS temp.made")
        base.execute("CREATE TEMP TABLE made (source TEXT, folder TEXT, stem TEXT)")
        waiting = iter(files)
        while page := list(islice(waiting, PAGE)):
            base.executemany(_UPSERT, [_row(found, layout, run=run) for found in page])
            base.executemany("INSERT INTO made VALUES (?, ?, ?)", _made_of(page, layout.mark))


def _row(found: Found, layout: Layout, *, run: int) -> tuple[Any, ...]:
    target = layout.target(found)
    weight = found.bytes * PIXELS_PER_BYTE.get(found.suffix, UNCOMPRESSED)
    texts = (found.source, target, _folder(found.source), found.stem, key_of(target))
    return (*map(as_stored, texts), found.bytes, found.version, weight, run)


def _made_of(page: list[Found], mark: str) -> Iterator[tuple[str | bytes, ...]]:
    """Files whose name is that of a result, and the name of what they would be made of."""
    for found in page:
        plain = plain_stem(found.stem, mark)
        if plain != found.stem:
            yield as_stored(found.source), as_stored(_folder(found.source)), as_stored(plain)


def _folder(address: str) -> str:
    return posixpath.dirname(address) if is_address(address) else _real(os.path.dirname(address))


def key_of(target: str) -> str:
    """Equal for names that some file systems take for one."""
    if is_address(target):
        return target
    path = os.path.join(_real(os.path.dirname(target)), os.path.basename(target))
    return unicodedata.normalize("NFC", path.casefold())


_real = functools.lru_cache(maxsize=1024)(os.path.realpath)


def _leave_out_made_earlier(journal: Journal, mark: str, *, run: int) -> list[str]:
    """Results of earlier runs that lie beside what they were made of are no sources."""
    if not journal.rows("SELECT 1 FROM made LIMIT 1"):
        return []
    with journal.writing() as base:
        base.execute("DROP TABLE IF EXISTS temp.stems")
        base.execute("CREATE TEMP TABLE stems (folder TEXT, stem TEXT, PRIMARY KEY (folder, stem)) WITHOUT ROWID")
        base.execute("INSERT OR IGNORE INTO stems SELECT folder, stem FROM items")
        gone = base.execute(
            "DELETE FROM items WHERE seen = ? AND source IN (SELECT source FROM made JOIN stems USING (folder, stem))",
            (run,),
        ).rowcount
    ends = f"{mark} or similar" if mark else "a size such as _x4"
    return [f"skipped {count_of(gone, 'earlier result')} (names ending in {ends})"] if gone else []


def _refuse_clashes(journal: Journal, *, run: int) -> None:
    twins = journal.rows(
        "SELECT a.source, b.source, b.target FROM items a JOIN items b ON a.key = b.key AND a.id < b.id "
        "WHERE a.seen = ? AND b.seen = ? LIMIT 1",
        run,
        run,
    )
    for first, second, target in twins:
        raise UsageError(
            f"{_text(first)} and {_text(second)} would both be written to {_text(target)}: "
            "enlarge them apart, with another -o or --suffix for one of them"
        )
    inputs = journal.rows(
        "SELECT b.source FROM items a JOIN items b ON a.target = b.source WHERE a.seen = ? AND b.seen = ? LIMIT 1",
        run,
        run,
    )
    for (source,) in inputs:
        raise UsageError(
            f"{_text(source)} is itself an input, and an input is never overwritten: choose another --suffix or -o"
        )


def _quarantine_clashes(journal: Journal, *, run: int) -> list[str]:
    """Let the first of several files with one target be done, and tell of the others; one that hits a source, too."""
    twins = journal.rows(
        "SELECT b.id, b.source, b.target, a.source FROM items a JOIN items b ON a.key = b.key AND a.id < b.id "
        "WHERE a.seen = ? AND b.seen = ? AND b.state = 'todo'",
        run,
        run,
    )
    inputs = journal.rows(
        "SELECT a.id, a.source, a.target, b.source FROM items a JOIN items b ON a.target = b.source "
        "WHERE a.seen = ? AND a.state = 'todo'",
        run,
    )
    notes = []
    with journal.writing() as base:
        for number, source, target, other in (*twins, *inputs):
            is_input = target == other
            why = "is itself an input" if is_input else f"is the place of what is made of {_text(other)}"
            error = f"its result would be written to {_text(target)}, which {why}: rename it"
            base.execute("UPDATE items SET state = 'quarantined', error = ? WHERE id = ?", (error, number))
            notes.append(f"{_text(source)}: {error}")
    return notes


def _take_back(journal: Journal, *, run: int) -> None:
    """Leave out what only this run has brought: it was refused."""
    with journal.writing() as base:
        base.execute("DELETE FROM items WHERE seen = ? AND state = 'todo' AND tries = 0 AND recipe IS NULL", (run,))


def _text(value: str | bytes) -> str:
    return os.fsdecode(value)


def _choose(journal: Journal, wish: Wish, *, run: int, recipe: int) -> None:
    """Put back what is to be done again, as far as the journal alone tells it."""
    again = ["state = 'failed'", "state = 'running'", f"(recipe IS NOT NULL AND recipe <> {recipe})"]
    again += ["state = 'quarantined'"] if wish.retry_failed else []
    again += ["1"] if wish.overwrite else []
    limit = "it was begun {} times, and each time the program ended before it did: it may be what ends it"
    with journal.writing() as base:
        base.execute(f"UPDATE items SET state = 'todo' WHERE seen = ? AND ({' OR '.join(again)})", (run,))
        if wish.retry_failed:
            base.execute("UPDATE items SET starts = 0 WHERE seen = ? AND state = 'todo'", (run,))
        base.execute(
            "UPDATE items SET state = 'quarantined', error = ?, starts = 0 "
            "WHERE seen = ? AND state = 'todo' AND starts >= ?",
            (limit.format(MOST_STARTS), run, MOST_STARTS),
        )


def _look_at_outputs(journal: Journal, wish: Wish, *, run: int, adopt: bool, output_state: StateOf) -> list[str]:
    """Put back what has lost its result; leave alone what is there and was made by others."""
    changed = adopted = 0
    for page in _pages(journal, run=run):
        with journal.writing() as base:
            for number, target, state, size, own in page:
                there = output_state(_text(target))
                if state != "todo" and there is None:
                    base.execute("UPDATE items SET state = 'todo', output_bytes = NULL WHERE id = ?", (number,))
                elif there is None:
                    continue
                elif state != "todo":
                    changed += there[0] != size
                elif adopt and own is None and not wish.overwrite:
                    adopted += 1
                    base.execute(
                        "UPDATE items SET state = 'skipped', recipe = NULL, error = 'the result was there before', "
                        "output_bytes = ?, output_version = ? WHERE id = ?",
                        (*there, number),
                    )
    notes = [f"kept {count_of(adopted, 'result')} of earlier runs"] if adopted else []
    edited = f"kept {count_of(changed, 'result')} edited after the run (--overwrite replaces edited results)"
    return notes + ([edited] if changed else [])


def _pages(journal: Journal, *, run: int) -> Iterator[list[tuple[Any, ...]]]:
    """Items that have a result, or that may have one."""
    last = 0
    while page := journal.rows(
        "SELECT id, target, state, output_bytes, coalesce(output_sha256, placing) "
        "FROM items NOT INDEXED "  # by id: an index of states would have to be sorted again for each page
        "WHERE seen = ? AND id > ? AND (state IN ('todo', 'done') OR (state = 'skipped' AND recipe IS NULL)) "
        f"ORDER BY id LIMIT {PAGE}",
        run,
        last,
    ):
        yield page
        last = page[-1][0]


def journal_of(folder: str, shard: Shard | None) -> Path:
    """Where the journal of a batch lies unless one was named.

    Args:
        folder: of the results.
        shard: which part; each has a journal of its own, since databases do not like to be shared over a network.

    Raises:
        UsageError: if that is an address, where no database can lie.
    """
    part = f"-{shard.number}-of-{shard.count}" if shard else ""
    if is_address(folder):
        name_it = Hint(text="name a file on this machine with {option}", option="journal")
        raise UsageError(f"results in {folder} need a journal, which cannot be there", name_it)
    return Path(folder) / f".a2f-journal{part}.sqlite"
