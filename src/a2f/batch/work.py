"""Process one item of a batch, and record it in the journal."""

import contextlib
import errno
import hashlib
import json
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from a2f.batch.journal import RESUME_HINT, Facts, Item
from a2f.batch.places import Places, ThisMachine
from a2f.errors import (
    A2FError,
    Cancelled,
    ImageReadError,
    ImageWriteError,
    JournalError,
    UsageError,
    WriteError,
)
from a2f.files import Parts, make_folder, output_exists, write_bytes_atomic
from a2f.pipeline import Enlargement, Request
from a2f.runtime.options import EngineOptions
from a2f.weights import AUTO, AUTO_CLEAN, AUTO_ROBUST, is_file_name, read_weights, shipped_models

FULL = (errno.ENOSPC, errno.EDQUOT)
BAD_FILE = (ImageReadError, ImageWriteError, UsageError)  # errors that repeat until the file or the options change


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """All options that a result depends on.

    Attributes:
        text: as JSON, for the journal.
        sha256: checksums of the weights, by name and scale.
    """

    text: str
    sha256: Mapping[tuple[str, int], str]


def recipe_of(model: str, request: Request, engine: EngineOptions) -> Recipe:
    """The recipe of a batch, without options that only change where and how fast it runs.

    Raises:
        WeightsError: if the weights file cannot be read.
    """
    if is_file_name(model):
        weights = read_weights(model)
        sha256 = {(model, weights.config.scale): weights.sha256}
    else:
        names, target = {AUTO_CLEAN, AUTO_ROBUST} if model == AUTO else {model}, request.target
        shipped = [m for m in shipped_models() if m.name in names]
        sha256 = {(m.name, m.scale): m.sha256 for m in shipped if target.is_exact or m.scale == target.scale}
    counts = {
        "target": asdict(request.target),
        "encoding": asdict(request.encoding),
        "allow_truncated": request.allow_truncated,
        "independent_alpha": request.independent_alpha,
        "tileable": request.tileable,
        "never_shrink": request.never_shrink,
        "engine": engine.engine,
        "device": engine.device,
        "dtype": engine.dtype,
        "gates": engine.gates,
        "ensemble": engine.ensemble,
        "model": model,
        "weights": {f"{name} x{scale}": sum for (name, scale), sum in sorted(sha256.items())},
    }
    return Recipe(text=json.dumps(counts, sort_keys=True), sha256=sha256)


@dataclass(frozen=True, kw_only=True)
class Work:
    """The work for one item.

    Attributes:
        source: the file to read.
        target: the file to write.
        replace: a file at the target may be replaced.
        recorded: wraps the parts of the result and records their checksum before the file gets its name.
    """

    source: Path
    target: Path
    replace: bool
    recorded: Callable[[Parts, Enlargement | None], Parts]


class Notes(Protocol):
    """The methods of a journal that `Keeper` uses: a `Journal`, or its substitute on another machine."""

    recipe: int

    def start(self, item: Item) -> None:
        """Record the start of an item."""

    def placing(self, item: Item, output_sha256: str, facts: Facts) -> None:
        """Record the checksum and the facts of a complete result before it gets its name."""

    def done(self, item: Item, output: tuple[int, str], *, seconds: float) -> None:
        """Record that the result has its name."""

    def skipped(self, item: Item, note: str, *, recipe: int | None, sha256: str | None) -> None:
        """Record that an item is skipped, and why."""

    def failed(self, item: Item, error: str, *, bad_file: bool, recipe: int, seconds: float) -> None:
        """Record the failure of an item."""

    def put_back(self, item: Item) -> None:
        """Mark a started item as to do."""


class Ended(Protocol):
    """The outcome of an image in a front end."""

    @property
    def error(self) -> A2FError | None:
        """The error; None if there is none."""

    @property
    def notes(self) -> Sequence[str]:
        """Messages for the user."""

    @property
    def status(self) -> str:
        """Either "done", "skipped" or "failed"."""


E = TypeVar("E", bound=Ended)


class _NotDone(Exception):  # noqa: N818 - it only leaves the block that would put the result at its place
    def __init__(self, ended: Any, sha256: str) -> None:
        self.ended, self.sha256 = ended, sha256


class Keeper:
    """Processes items and records them in a journal. It repeats no complete work, and replaces only its own results.

    Args:
        journal: open for writing, in a run; or its substitute.
        recipe: recipe of the run.
        overwrite: replace results that are not from this batch.
        places: where sources and results are.
        quarantine: folder for bad files; None for none.
        told: formats errors for the journal, with the option names of the front end.
    """

    def __init__(
        self,
        journal: Notes,
        recipe: Recipe,
        *,
        overwrite: bool,
        places: Places | None = None,
        quarantine: Path | None = None,
        told: Callable[[A2FError], str] = str,
    ) -> None:
        self.told = told
        self.journal, self.recipe, self.overwrite = journal, recipe, overwrite
        self.number = journal.recipe
        self.places = places or ThisMachine()
        self.quarantine = quarantine
        self._alone = threading.Lock()

    def do(self, item: Item, enlarge: Callable[[Work], E], failed: Callable[[A2FError], E]) -> E | None:
        """Process one item.

        Args:
            item: the item.
            enlarge: makes the result or returns the reason of its failure; it may run in several threads at a time.
            failed: makes the outcome of an item whose source cannot be read or whose result cannot be written.

        Returns:
            The result of `enlarge` or `failed`; None if neither was called, because the result is already complete.

        Raises:
            WriteError: if the disk is full, so that the batch cannot continue.
            JournalError: if the journal cannot be written.
        """
        # An item with a start but no end may have ended the program. It runs alone, so that it takes no other with it.
        with self._alone if item.starts else contextlib.nullcontext():
            self.journal.start(item)
            began = time.perf_counter()
            try:
                return self._done(item, enlarge, began)
            except _NotDone as end:
                ended: E = end.ended
                if ended.error is None:
                    self.journal.skipped(item, "; ".join(ended.notes), recipe=self.number, sha256=end.sha256)
                else:
                    self._note_failure(item, ended.error, began)
                return ended
            except JournalError:
                raise
            except A2FError as error:
                self._note_failure(item, error, began)
                return failed(error)

    def _done(self, item: Item, enlarge: Callable[[Work], E], began: float) -> E | None:
        before = self.places.state(item.source)
        with self.places.reading(item.source) as source:
            sha256 = sha256_of(source)
            if self._is_there(item, sha256):
                self._note_whole(item, began)
                return None

            def recorded(parts: Parts, enlargement: Enlargement | None) -> Parts:
                digest = hashlib.sha256()
                for part in parts:
                    digest.update(part)
                    yield part
                if self.places.state(item.source) != before:
                    raise WriteError(f"{item.source} changed while it was read: nothing is written")
                self.journal.placing(item, digest.hexdigest(), self._facts(before, sha256, enlargement))

            replace = self.may_replace(item)
            if not replace and self.places.state(item.target) is not None:
                raise output_exists(item.target)
            with self.places.writing(item.target) as target:
                work = Work(source=source, target=target, replace=replace, recorded=recorded)
                ended = enlarge(work)
                if ended.status != "done":
                    raise _NotDone(ended, sha256)
        self._note_whole(item, began)
        return ended

    def _facts(self, before: tuple[int, str] | None, sha256: str, enlargement: Enlargement | None) -> Facts:
        passes = enlargement.passes if enlargement else ()
        sums = [self.recipe.sha256.get((one.model, one.upscaler.scale), "") for one in passes]
        size, version = before or (0, "missing")
        return Facts(
            bytes=size,
            version=version,
            sha256=sha256,
            recipe=self.number,
            size=enlargement.final if enlargement else None,
            model=passes[0].model if passes else None,
            model_sha256=",".join(sums) or None,
        )

    def is_complete(self, item: Item) -> bool:
        """Whether the result of an unchanged source and unchanged options is there; reads the source if need be."""
        if item.recipe != self.number or item.sha256 is None or self.places.state(item.source) is None:
            return False
        with self.places.reading(item.source) as source:
            return self._is_there(item, sha256_of(source))

    def _is_there(self, item: Item, sha256: str) -> bool:
        """Whether the complete, unedited result of this source and these options is there."""
        if self.overwrite or (item.recipe, item.sha256) != (self.number, sha256):
            return False
        there = self.places.state(item.target)
        if there is None:
            return False
        if item.placing is not None:  # the program ended just before or just after the renaming
            return self._sha256_at(item.target) == item.placing
        return item.output_sha256 is not None and there == (item.output_bytes, item.output_version)

    def may_replace(self, item: Item) -> bool:
        """Whether a file at the target may be replaced, because it is from this batch or because of `overwrite`."""
        if self.overwrite:
            return True
        own = {item.output_sha256, item.placing} - {None}
        return bool(own) and self.places.state(item.target) is not None and self._sha256_at(item.target) in own

    def _sha256_at(self, address: str) -> str:
        with self.places.reading(address) as path:
            return sha256_of(path)

    def _note_whole(self, item: Item, began: float) -> None:
        there = self.places.state(item.target)
        if there is None:
            raise WriteError(f"{item.target} was removed right after it was written")
        self.journal.done(item, there, seconds=time.perf_counter() - began)

    def _note_failure(self, item: Item, error: A2FError, began: float) -> None:
        if isinstance(error, Cancelled):
            self.journal.put_back(item)
            return
        full = _is_full(error)
        bad = isinstance(error, BAD_FILE) and not any(
            _numbers(error)
        )  # a failing disk or network is not the fault of the file
        seconds = time.perf_counter() - began
        self.journal.failed(item, self.told(error), bad_file=bad, recipe=self.number, seconds=seconds)
        if bad:
            self.copy_to_quarantine(item, self.told(error))
        if full:
            raise WriteError(f"{error.message}. The batch ends here", RESUME_HINT) from error

    def copy_to_quarantine(self, item: Item, reason: str) -> None:
        """Link a bad file into the quarantine folder, if there is one.

        Args:
            item: the item.
            reason: what is wrong with the file.

        Raises:
            WriteError: if the folder cannot be written.
        """
        if self.quarantine is not None:
            with self.places.reading(item.source) as source:
                copy_to_quarantine(source, self.quarantine, name=f"{item.id}-{source.name}", reason=reason)


def sha256_of(path: Path) -> str:
    """Checksum of a file, hexadecimal.

    Raises:
        ImageReadError: if it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ImageReadError(f"cannot read {path}: {error.strerror or error}") from error


def copy_to_quarantine(source: Path, folder: Path, *, name: str, reason: str) -> None:
    """Link or copy a bad file into a folder, with the reason in a text file. The source is not changed.

    Args:
        source: the file.
        folder: the folder; it is made if it is missing.
        name: name of the link.
        reason: what is wrong with the file.

    Raises:
        WriteError: if the folder cannot be written.
    """
    make_folder(folder)
    copy = folder / name
    try:
        copy.unlink(missing_ok=True)
        try:
            os.link(source, copy)
        except OSError:  # another file system
            shutil.copy2(source, copy)
    except FileNotFoundError:  # the reason is written even if the source is missing
        pass
    except OSError as error:
        raise WriteError(f"cannot copy {source} to {folder}: {error.strerror or error}") from error
    write_bytes_atomic(folder / f"{name}.txt", f"{reason}\n".encode(errors="backslashreplace"))


def _is_full(error: BaseException | None) -> bool:
    """Whether a full disk or an exceeded quota caused an error."""
    return any(number in FULL for number in _numbers(error))


def _numbers(error: BaseException | None) -> Iterator[int]:
    """The error numbers of the system in the causes of an error."""
    while error is not None:
        if isinstance(error, OSError) and error.errno:
            yield error.errno
        error = error.__cause__ or error.__context__
