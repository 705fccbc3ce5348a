"""``a2f upscale`` with a journal: --journal, --resume, --retry-failed, --shard, --watch and --ray."""

import functools
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from a2f.batch.archive import SCHEME as ZIP
from a2f.batch.archive import ArchiveTarget
from a2f.batch.database import copy_journal
from a2f.batch.journal import Item, Journal, State
from a2f.batch.places import Places, ThisMachine, is_address
from a2f.batch.plan import Layout, ResumeOptions, journal_of, plan
from a2f.batch.sources import Found, Scan, Shard
from a2f.batch.watch import Arrivals
from a2f.batch.work import Keeper, Recipe, Work, recipe_of
from a2f.cli.batch import MANY, BatchOptions, Outcome, Runner, exists_already
from a2f.cli.console import error_text, printable
from a2f.cli.dry_run import dry_run
from a2f.cli.inputs import STDIN, OutputNames, Task
from a2f.cli.report import Reporter
from a2f.errors import A2FError, ImageReadError, OutputExistsError, UsageError, count_of
from a2f.files import Parts, times_of
from a2f.imageio.formats import is_image_name
from a2f.pipeline import Enlargement

if TYPE_CHECKING:
    from a2f.cli.cluster import ClusterOptions

Recorded = Callable[[Parts, Enlargement | None], Parts]

SETTLE_S = 2.0
SCANS = 4  # scans of a folder during the settle time
MIN_PAUSE_S = 0.05
PAUSE_FACTOR = 10  # the pause between two scans is at least this many times the duration of a scan


@dataclass(frozen=True, kw_only=True)
class JournalOptions:
    """Options of a batch with a journal.

    Attributes:
        journal: the journal file; None for the default place.
        resume: continue the journal, or begin it.
        retry_failed: continue the journal, and retry failed files.
        shard: the part of the files to process.
        address: address of the results, if it is no folder of this machine.
        quarantine: folder for bad files; None for none.
        watch: process new files until Ctrl-C.
        settle_s: time that a new file must remain unchanged, seconds.
        cluster: the cluster that does the work; None for this machine.
    """

    journal: Path | None = None
    resume: bool = False
    retry_failed: bool = False
    shard: Shard | None = None
    address: str | None = None
    quarantine: Path | None = None
    watch: bool = False
    settle_s: float = SETTLE_S
    cluster: "ClusterOptions | None" = None

    @property
    def is_asked(self) -> bool:
        """Whether any option requests a journal."""
        return self != JournalOptions(settle_s=self.settle_s)

    def needed_by(self, inputs: Sequence[str]) -> str:
        """The option or input that needs a journal, for messages."""
        options = {
            "--resume": self.resume,
            "--retry-failed": self.retry_failed,
            "--watch": self.watch,
            "--ray": self.cluster,
            "--shard": self.shard,
            "--quarantine": self.quarantine,
            "--journal": self.journal,
        }
        addresses = [text for text in (*inputs, self.address or "") if is_address(text)]
        return next((name for name, value in options.items() if value), addresses[0] if addresses else "a journal")


def shard_of(text: str) -> Shard:
    """Read ``3/8``."""
    number, slash, count = text.partition("/")
    if not (slash and number.isdecimal() and count.isdecimal()):
        raise UsageError(f"--shard {text}: write it as 3/8 for the third of eight parts")
    return Shard(number=int(number), count=int(count))


class Session:
    """A batch with an open journal.

    Args:
        inputs: files, folders, patterns.
        options: options for all images.
        naming: names and places of the results.
        batch: options of the journal.
        trial: folder for a copy of the journal, which is used instead of the journal; None to use the journal itself.

    Raises:
        UsageError: if the request contradicts itself.
        JournalError: if the journal cannot be used.
    """

    def __init__(
        self,
        inputs: Sequence[str],
        options: BatchOptions,
        naming: OutputNames,
        batch: JournalOptions,
        *,
        trial: Path | None = None,
    ) -> None:
        needed_by = batch.needed_by(inputs)
        output = batch.address or _folder_of(naming, needed_by)
        self.inputs, self.options, self.batch = inputs, options, batch
        self.layout = Layout(mark=naming.mark, format=naming.format, output=output)
        closed = None if output is None else os.path.realpath(output)
        shard = None if batch.shard is None else replace(batch.shard, mark=naming.mark)
        self.scan = Scan(recursive=naming.recursive, output=closed, shard=shard)
        if STDIN.name in inputs or "" in inputs:
            raise UsageError(f"{needed_by} needs files: give files or folders, not standard input")
        remote = [text for text in (*inputs, output or "") if is_address(text)]
        if remote and batch.watch:
            raise UsageError(f"--watch works with folders of this machine, not with {remote[0]}")
        self.places: Places = ThisMachine()
        if remote:
            from a2f.batch.remote import Remote, check_target

            check_target(output or inputs[0])
            self.places = Remote()
        self.archive: ArchiveTarget | None = None
        if batch.cluster is not None:
            batch.cluster.check(output, watch=batch.watch)
        if output is not None and output.startswith(ZIP):
            self.places = self.archive = ArchiveTarget(output, self.places)
        first = inputs[0] if is_address(inputs[0]) or os.path.isdir(inputs[0]) else os.path.dirname(inputs[0])
        path = batch.journal or _near(str(journal_of(output or first, batch.shard)))
        self.scan.journal = os.path.realpath(path)
        if trial is not None:
            copy_journal(path, trial / path.name)
        self.journal = Journal(path if trial is None else trial / path.name, name=path)

    def plan(self, recipe: Recipe, files: Iterable[Found] | None = None) -> list[str]:
        """Begin a run and decide what is left to do; return notes for the user."""
        options = ResumeOptions(
            resume=self.batch.resume or self.batch.watch,
            retry_failed=self.batch.retry_failed,
            overwrite=self.options.request.overwrite,
            skip_existing=self.options.skip_existing,
            quarantine_clashes=self.batch.watch,
        )
        found = self.places.files(self.inputs, self.scan) if files is None else files
        notes = plan(self.journal, found, self.layout, options, recipe=recipe.text, places=self.places)
        return notes + self.scan.notes()

    def keeper(self, recipe: Recipe) -> Keeper:
        """Make the object that processes the items of the run."""
        return Keeper(
            self.journal,
            recipe,
            overwrite=self.options.request.overwrite,
            places=self.places,
            quarantine=self.batch.quarantine,
            told=error_text,
        )


def run_batch(
    inputs: Sequence[str],
    options: BatchOptions,
    naming: OutputNames,
    batch: JournalOptions,
    *,
    as_json: bool,
    verbose: bool,
    quiet: bool,
) -> int:
    """Enlarge the files that are left to do in the journal.

    Args:
        inputs: files, folders, patterns.
        options: options for all images.
        naming: names and places of the results.
        batch: options of the journal.
        as_json: print one JSON object per line on standard output.
        verbose: print engines and times.
        quiet: print only errors.

    Returns:
        The exit code.
    """
    session = Session(inputs, options, naming, batch)
    with _closing(session.journal) as journal:
        recipe = recipe_of(options.model, options.request, options.engine)
        if batch.watch:
            waiting = Reporter(MANY, as_json=as_json, verbose=verbose, quiet=quiet, resume_option="--watch")
            _watch(session, recipe, waiting)
        notes = session.plan(recipe)
        counts = journal.counts(run=journal.run)
        if not sum(counts.values()) and batch.shard is None:
            deeper = "" if naming.recursive else " (-r includes subfolders)"
            raise ImageReadError(f"{', '.join(inputs)}: no images{deeper}")
        reporter = Reporter(counts["todo"], as_json=as_json, verbose=verbose, quiet=quiet, resume_option="--resume")
        for note in [*notes, *_told(counts, journal)]:
            reporter.note(note)
        if counts["todo"] and batch.cluster is not None:
            from a2f.cli.cluster import work_on_cluster

            work_on_cluster(session, recipe, batch.cluster, reporter)
        elif counts["todo"]:
            first = next(journal.todo())
            runner = Runner(options, count=counts["todo"], first=Path(first.source))
            _work(runner, session, recipe, reporter)
        if session.archive is not None:
            session.archive.pack()
        journal.end()
        left = journal.counts(run=journal.run)
        earlier = left["failed"] + left["quarantined"] - len(reporter.failed)
        if earlier > 0:
            reporter.messages.line(
                f"{count_of(earlier, 'file')} of earlier runs still failed, so the exit code is not 0: "
                f"a2f batch status {journal.name} lists them, --retry-failed retries them"
            )
    return reporter.exit_code or int(earlier > 0)


def dry_run_batch(
    inputs: Sequence[str],
    options: BatchOptions,
    naming: OutputNames,
    batch: JournalOptions,
    *,
    as_json: bool,
    verbose: bool,
) -> int:
    """Show what is left to do by the journal, and why; write nothing.

    Args:
        inputs: as `run_batch`.
        options: as `run_batch`.
        naming: as `run_batch`.
        batch: as `run_batch`.
        as_json: as `dry_run`.
        verbose: as `dry_run`.

    Returns:
        The exit code.
    """
    if batch.watch:
        raise UsageError("--dry-run shows existing files, and --watch waits for new ones: leave out one of them")
    remote = [text for text in (*inputs, batch.address or "") if is_address(text)]
    if remote:
        raise UsageError(f"--dry-run works with files of this machine, not with {remote[0]}")
    with tempfile.TemporaryDirectory(prefix="a2f-") as folder:
        session = Session(inputs, options, naming, batch, trial=Path(folder))
        with closing(session.journal) as journal:
            recipe = recipe_of(options.model, options.request, options.engine)
            notes, keeper = session.plan(recipe), session.keeper(recipe)
            counts, todo = journal.counts(run=journal.run), list(journal.todo())
            left = [item for item in todo if not keeper.is_complete(item)]
            counts["todo"], counts["done"] = len(left), counts["done"] + len(todo) - len(left)
            for note in [*notes, *_told(counts, journal)]:
                click.echo(printable(note), err=True)
            tasks = [
                replace(shown(item), replace=keeper.may_replace(item), reason=why_todo(item, journal.recipe))
                for item in left
            ]
        if not tasks:
            click.echo("nothing is left to do", err=as_json)
            return int(counts["failed"] + counts["quarantined"] > 0)
        runner = Runner(options, count=len(tasks), first=tasks[0].source)
        return dry_run(runner, tasks, as_json=as_json, verbose=verbose)


def why_todo(item: Item, recipe: int) -> str:
    """Why an item of a plan is to be done.

    Args:
        item: as the plan left it.
        recipe: number of the options of the run.
    """
    if not item.tries and item.output_sha256 is None and item.placing is None:
        return "new"
    if item.starts:
        return "interrupted"
    if item.error is not None:
        return "failed before"
    if item.recipe not in (None, recipe):
        return "other options or weights"
    return "result missing" if item.output_bytes is None else "changed"


def _watch(session: Session, recipe: Recipe, reporter: Reporter) -> NoReturn:
    """Process new files until Ctrl-C."""
    journal = session.journal
    arrivals = Arrivals(lambda: session.scan.files(session.inputs), journal, settle_s=session.batch.settle_s)
    runner: Runner | None = None
    known = set[str]()
    where = ", ".join(session.inputs)
    reporter.note(f"watching {where}; stop with Ctrl-C")
    while True:
        began = time.monotonic()
        ready = list(arrivals.settled(began))
        took = time.monotonic() - began
        if ready:
            for note in session.plan(recipe, ready):
                if note not in known:
                    reporter.note(note)
                known.add(note)
            runner = runner or Runner(session.options, count=MANY, first=Path(ready[0].source))
            keeper = session.keeper(recipe)
            for outcome in runner.run(journal.todo(), functools.partial(do_item, runner, keeper)):
                reporter(outcome)
            journal.end()
        time.sleep(max(session.batch.settle_s / SCANS, PAUSE_FACTOR * took, MIN_PAUSE_S))


@contextmanager
def _closing(journal: Journal) -> Iterator[Journal]:
    """Close the journal at the end; remove a new journal if an error ends the batch before its first file."""
    with closing(journal):
        try:
            yield journal
        except A2FError:
            journal.discard()
            raise


def _work(runner: Runner, session: Session, recipe: Recipe, reporter: Reporter) -> None:
    runner.progress = reporter.progress
    keeper = session.keeper(recipe)
    with reporter:
        try:
            for outcome in runner.run(session.journal.todo(), functools.partial(do_item, runner, keeper)):
                reporter(outcome)
        except KeyboardInterrupt:
            reporter.interrupted()
            raise
        for note in runner.upscalers.take_notes():
            reporter.note(note)


class Turn:
    """The right to make a result: taken for one item, and given back when its last byte is made.

    What comes before and after, as copying from and to an object store, needs no turn.

    Args:
        lock: that all who take turns share.
    """

    def __init__(self, lock: threading.Lock) -> None:
        self._lock, self._held = lock, False

    def __enter__(self) -> None:
        self._lock.acquire()
        self._held = True

    def __exit__(self, *error: object) -> None:
        self._release()

    def until_made(self, recorded: Recorded) -> Recorded:
        """A `recorded` of `a2f.pipeline.write` before which the turn is given back."""

        def made(parts: Parts) -> Parts:
            yield from parts
            self._release()

        return lambda parts, enlargement: recorded(made(parts), enlargement)

    def _release(self) -> None:
        if self._held:
            self._held = False
            self._lock.release()


def do_item(runner: Runner, keeper: Keeper, item: Item, *, turn: Turn | None = None) -> Outcome:
    """Do one item, and tell what became of it.

    Args:
        runner: enlarges.
        keeper: of the journal.
        item: which.
        turn: to be had while the result is made; None where any number may be made at a time.
    """
    task = shown(item)
    own = turn or Turn(threading.Lock())

    def enlarge(work: Work) -> Outcome:
        given = replace(task, replace=work.replace, recorded=work.recorded)
        if task.addresses is None:
            given = replace(given, times=times_of(work.source))
        else:
            given = replace(given, source=work.source, target=work.target)
        with own:
            return replace(runner.one(replace(given, recorded=own.until_made(work.recorded)), stdin=bytes), task=task)

    def failed(error: A2FError) -> Outcome:
        named = exists_already(task) if isinstance(error, OutputExistsError) else error
        return Outcome(task=task, status="failed", error=named)

    outcome = keeper.do(item, enlarge, failed)
    if outcome is None:
        return Outcome(task=task, status="skipped", notes=(f"{task.name}: the result exists and is complete",))
    return outcome


def shown(item: Item) -> Task:
    """An item as a task, with a path relative to the current folder if it is inside."""
    remote = is_address(item.source) or is_address(item.target)
    addresses = (item.source, item.target) if remote else None
    return Task(source=_near(item.source), target=_near(item.target), addresses=addresses)


def _near(path: str) -> Path:
    return Path(os.path.relpath(path)) if Path(path).is_relative_to(Path.cwd()) else Path(path)


def _told(counts: dict[State, int], journal: Journal) -> Iterator[str]:
    """A note about the state of these files in the journal."""
    before = [f"{count} {state}" for state, count in counts.items() if count and state != "todo"]
    if before:
        retry = "; --retry-failed retries failed files" if counts["quarantined"] + counts["failed"] else ""
        yield f"{journal.name}: {', '.join(before)}, {counts['todo']} to do{retry}"


def _folder_of(naming: OutputNames, needed_by: str) -> str | None:
    """The folder of all results; None if each result is beside its source.

    Args:
        naming: names and places of the results.
        needed_by: the option or input that needs a folder.

    Raises:
        UsageError: if the output is no folder.
    """
    out = naming.output
    if out is None:
        return None
    if out == STDIN:
        raise UsageError(f"{needed_by} needs a folder, but -o - is standard output: give a folder with -o")
    if not naming.output_folder and not out.is_dir() and (is_image_name(out) or out.exists()):
        raise UsageError(f"-o {out} is a file, but {needed_by} needs a folder: give a folder with -o")
    return os.path.abspath(out)
