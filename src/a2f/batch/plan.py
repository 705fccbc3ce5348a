"""Decide which files to process, by comparing them with the journal. It runs in the database, in constant memory."""

import functools
import os
import posixpath
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from a2f.batch.journal import MAX_STARTS, PAGE, Journal, as_stored
from a2f.batch.places import Places, ThisMachine, is_address, joined, sibling
from a2f.batch.sources import Found, Shard, plain_stem
from a2f.errors import Hint, UsageError, count_of
from a2f.pipeline import BOOK, output_name

# Approximate pixels per byte of a file, for photographs at usual qualities; used only for the order of work.
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
    """Names and places of the results.

    Attributes:
        mark: text to add to the name of each file.
        format: format of all results; None for the format of each source.
        output: folder or address of the results, which keeps the structure of the sources; None: beside each source.
    """

    mark: str
    format: str | None = None
    output: str | None = None

    def target(self, found: Found) -> str:
        """The path or address of a result."""
        if is_address(found.source) and self.format is None:  # known only when the file is read
            name = found.stem + self.mark + os.path.splitext(found.below)[1]
        else:
            path = found.below if is_address(found.source) else found.source
            name = output_name(Path(path), mark=self.mark, format=self.format)
        if self.output is None:
            return sibling(found.source, name)
        return joined(self.output, posixpath.join(posixpath.dirname(found.below), name))


@dataclass(frozen=True, kw_only=True)
class ResumeOptions:
    """Which items of an earlier run are processed again.

    Attributes:
        resume: continue the journal; without it, a journal that is not empty is an error.
        retry_failed: also process quarantined files.
        overwrite: process all files.
        skip_existing: keep results that the journal does not know.
        quarantine_clashes: process the first of several files with one target, and quarantine the others; without it,
            such files are an error.
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
    options: ResumeOptions,
    *,
    recipe: str,
    places: Places | None = None,
) -> list[str]:
    """Begin a run: add all files to the journal, and decide which of them to process.

    Args:
        journal: open for writing.
        files: all files that exist.
        layout: names and places of the results.
        options: which items are processed again.
        recipe: all options that the result depends on, as text.
        places: where the results are; this machine by default.

    Returns:
        Notes for the user.

    Raises:
        UsageError: if the journal belongs to an earlier run and `options` do not continue it, or if outputs clash.
        JournalError: if the journal cannot be written.
    """
    before = journal.counts()
    was_empty = not sum(before.values())
    if not (was_empty or options.resume or options.retry_failed or options.overwrite):
        told = ", ".join(f"{count} {state}" for state, count in before.items() if count)
        resume = Hint(text="continue it with {option}", option="resume", value=True)
        restart = Hint(text="process all files again with {option}", option="overwrite", value=True)
        raise UsageError(f"{journal.name} belongs to an earlier run ({told})", resume, restart)
    journal.begin(recipe)
    run = journal.run
    _put_in(journal, files, layout, run=run)
    notes = _skip_results(journal, layout.mark, run=run)
    if not options.quarantine_clashes:
        try:
            _refuse_clashes(journal, run=run)
        except UsageError:
            _remove_new(journal, run=run)
            raise
    _choose(journal, options, run=run, recipe=journal.recipe)
    if options.quarantine_clashes:
        notes += _quarantine_clashes(journal, run=run)
    adopt = options.skip_existing or (was_empty and options.resume)
    where = places or ThisMachine()
    output_state = where.state if layout.output is None else where.states(layout.output)
    return notes + _compare_outputs(journal, options, run=run, adopt=adopt, output_state=output_state)


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
    """Files with the name of a result, and the name of the source that such a result has."""
    for found in page:
        plain = plain_stem(found.stem, mark)
        if plain != found.stem:
            yield as_stored(found.source), as_stored(_folder(found.source)), as_stored(plain)


def _folder(address: str) -> str:
    return posixpath.dirname(address) if is_address(address) else _real(os.path.dirname(address))


def key_of(target: str) -> str:
    """A key that is equal for names which some file systems do not distinguish."""
    if is_address(target):
        return target
    path = os.path.join(_real(os.path.dirname(target)), os.path.basename(target))
    return unicodedata.normalize("NFC", path.casefold())


_real = functools.lru_cache(maxsize=1024)(os.path.realpath)


def _skip_results(journal: Journal, mark: str, *, run: int) -> list[str]:
    """Skip results of earlier runs that are beside their sources; return a note."""
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
    """Quarantine all but the first of several files with one target, and files whose target is a source."""
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
            why = "is itself an input" if is_input else f"is the output of {_text(other)}"
            error = f"its result would be written to {_text(target)}, which {why}: rename it"
            base.execute("UPDATE items SET state = 'quarantined', error = ? WHERE id = ?", (error, number))
            notes.append(f"{_text(source)}: {error}")
    return notes


def _remove_new(journal: Journal, *, run: int) -> None:
    """Remove the items that only this run has added, because it is refused."""
    with journal.writing() as base:
        base.execute("DELETE FROM items WHERE seen = ? AND state = 'todo' AND tries = 0 AND recipe IS NULL", (run,))


def _text(value: str | bytes) -> str:
    return os.fsdecode(value)


def _choose(journal: Journal, options: ResumeOptions, *, run: int, recipe: int) -> None:
    """Mark items as to do, as far as the journal alone decides it."""
    again = ["state = 'failed'", "state = 'running'", f"(recipe IS NOT NULL AND recipe <> {recipe})"]
    again += ["state = 'quarantined'"] if options.retry_failed else []
    again += ["1"] if options.overwrite else []
    limit = "the program ended {} times while it processed this file: the file may be the cause"
    with journal.writing() as base:
        base.execute(f"UPDATE items SET state = 'todo' WHERE seen = ? AND ({' OR '.join(again)})", (run,))
        if options.retry_failed:
            base.execute("UPDATE items SET starts = 0 WHERE seen = ? AND state = 'todo'", (run,))
        base.execute(
            "UPDATE items SET state = 'quarantined', error = ?, starts = 0 "
            "WHERE seen = ? AND state = 'todo' AND starts >= ?",
            (limit.format(MAX_STARTS), run, MAX_STARTS),
        )


def _compare_outputs(
    journal: Journal, options: ResumeOptions, *, run: int, adopt: bool, output_state: StateOf
) -> list[str]:
    """Mark items without a result as to do; with `adopt`, keep results that the journal does not know."""
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
                elif adopt and own is None and not options.overwrite:
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
    """Items that have a result or may have one, in pages."""
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
    """The default path of the journal of a batch.

    Args:
        folder: folder of the results.
        shard: the part of the batch; each part has its own journal, because machines cannot share a database over a
            network.

    Raises:
        UsageError: if the folder is an address, which cannot contain a database.
    """
    part = f"-{shard.number}-of-{shard.count}" if shard else ""
    if is_address(folder):
        name_it = Hint(text="name a file on this machine with {option}", option="journal")
        raise UsageError(f"results in {folder} need a journal, which cannot be there", name_it)
    return Path(folder) / f".a2f-journal{part}.sqlite"
