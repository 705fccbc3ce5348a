"""Run a batch of images, several at a time; one failure does not stop the others."""

import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Literal, TypeVar

from a2f.batch.book import Book
from a2f.cli.console import end_at_once_when_asked_again
from a2f.cli.inputs import STDIN, Task
from a2f.errors import A2FError, ImageReadError, MemoryLimitError, OutputExistsError, UsageError, count_of
from a2f.files import make_folder, set_times, write_bytes_atomic
from a2f.imageio import FORMATS, estimate_jpeg_quality
from a2f.pipeline import BOOK, Enlargement, Request, check_output, decide, write
from a2f.runtime.options import EngineOptions
from a2f.sizes import Size
from a2f.upscaler import Control
from a2f.upscalers import Models, Upscalers
from a2f.weights import AUTO, AUTO_ROBUST, available_scales, pass_models, robust_below

CANCEL_POLL_S = 0.2  # interval at which Ctrl-C is noticed
MANY = 8  # images per job; with more, the idle cores at the end of a batch hardly matter


T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class BatchOptions:
    """Options for all images of a batch.

    Attributes:
        model: a name, "auto", or the path of a weights file.
        request: sizes, encoding and other options for each image.
        engine: engine options.
        jobs: number of images at a time; None chooses it.
        skip_existing: skip images whose output exists.
        preserve_times: set the file times of the inputs on the outputs.
    """

    model: str = AUTO
    request: Request = field(default_factory=Request)
    engine: EngineOptions = field(default_factory=EngineOptions)
    jobs: int | None = None
    skip_existing: bool = False
    preserve_times: bool = False

    def __post_init__(self) -> None:
        if self.request.overwrite and self.skip_existing:
            raise UsageError("--overwrite and --skip-existing exclude each other: give only one of them")


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The result of a task.

    Attributes:
        task: the task.
        status: "done", "skipped" or "failed".
        size: width and height of the result, if done.
        seconds: time from opening the file to its last byte on the disk.
        error: the error, if failed.
        notes: messages for the user.
        encoded: the bytes of the file, if it goes to standard output.
        model: model of the first pass; None if no network ran.
        jpeg_quality: estimated JPEG quality of the picture; None if it is no JPEG or unknown.
        choice: reason for the model, if ``-m auto`` chose it.
        engines: description of the upscaler of each pass.
    """

    task: Task
    status: Literal["done", "skipped", "failed"]
    size: Size | None = None
    seconds: float = 0.0
    error: A2FError | None = None
    notes: tuple[str, ...] = ()
    encoded: bytes | None = None
    model: str | None = None
    jpeg_quality: int | None = None
    choice: str = ""
    engines: tuple[str, ...] = ()


class Runner:
    """Runs the tasks of a batch with shared upscalers.

    Args:
        options: the options of the batch.
        count: number of images.
        first: the first image; ``-m auto`` opens the network for it at once, and the other network when an image needs
            it.

    Raises:
        UsageError, UnknownModelError, WeightsError, EngineError, MissingExtraError: if the model or the engine cannot
        be opened.
    """

    def __init__(self, options: BatchOptions, *, count: int = 2, first: Path = STDIN) -> None:
        target, memory = options.request.target, options.engine.max_memory
        self.options, self.count = options, count
        self.jobs = min(options.jobs or (1 if memory else 2), max(1, count))
        self.request = replace(options.request, jobs=self.jobs, max_memory=memory, make_folders=True)
        self.upscalers = Upscalers(
            options.engine,
            jobs=self.jobs,
            alone=options.model != AUTO and not target.is_exact,
            share_cores=count >= MANY * self.jobs,
        )
        scales = available_scales(options.model) if target.is_exact else (target.scale,)
        self.models = Models(model=options.model, scales=scales, open=self.upscalers.open)
        self.stopping = threading.Event()
        self.progress: Callable[[float], None] | None = None  # called with the share of an image that is done
        self._told, self._lock = set[tuple[int, ...]](), threading.Lock()
        if not target.is_exact:
            scale = self.upscalers.open(_model_for(first, options), target.scale).scale
            if scale != target.scale:
                asked = f"-s {target.scale}: the weights {options.model} enlarge {scale} times"
                raise UsageError(f"{asked}; leave out -s")

    def run(self, tasks: Iterable[T], do: Callable[[T], Outcome]) -> Iterator[Outcome]:
        """Do all tasks, `jobs` at a time, and return the results in the order of the tasks.

        A failure is a result, not an exception.

        Args:
            tasks: arguments for `do`; each is requested shortly before it runs.
            do: does one task, in a thread.
        """
        jobs = self.jobs
        with ThreadPoolExecutor(jobs, thread_name_prefix="a2f") as pool:
            try:
                yield from _in_order(pool, tasks, do, ahead=2 * jobs)
            except BaseException as error:
                if isinstance(error, KeyboardInterrupt):
                    end_at_once_when_asked_again()
                self.stopping.set()
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def one(self, task: Task, *, stdin: Callable[[], bytes]) -> Outcome:
        """Do one task.

        Args:
            task: the task.
            stdin: reads the whole standard input.
        """
        began = time.perf_counter()
        try:
            outcome = self._done(task, stdin)
        except OutputExistsError:
            if self.options.skip_existing:
                return Outcome(task=task, status="skipped")
            outcome = Outcome(task=task, status="failed", error=exists_already(task))
        except A2FError as error:
            outcome = Outcome(task=task, status="failed", error=_named(error, task))
        except MemoryError:
            full = MemoryLimitError(f"{task.source}: out of memory: use a smaller image or lower --jobs")
            outcome = Outcome(task=task, status="failed", error=full)
        return replace(outcome, seconds=time.perf_counter() - began)

    def _done(self, task: Task, stdin: Callable[[], bytes]) -> Outcome:
        if task.failure is not None:
            raise task.failure
        output = None if task.target == STDIN else task.target
        if self.options.skip_existing and not task.replace and output is not None and os.path.lexists(output):
            return Outcome(task=task, status="skipped")
        source = stdin() if task.source == STDIN else task.source
        if task.source.suffix.lower() == BOOK:
            return self._book(task, source, output)
        times = task.times if self.options.preserve_times else None
        request = replace(self.request, overwrite=True) if task.replace else self.request
        enlargement = decide(source, self.models, request, output=output, name=task.name, times=times)
        if enlargement.skip_reason:
            return Outcome(task=task, status="skipped", notes=(enlargement.skip_reason,))
        notes = [*enlargement.notes, *self._notes(enlargement, task.name), *self.upscalers.take_notes()]
        control = Control(progress=self.progress, cancelled=self.stopping.is_set)
        encoded, late = write(enlargement, control=control, recorded=task.recorded)
        passes = enlargement.passes
        return Outcome(
            task=task,
            status="done",
            size=enlargement.final,
            notes=(*notes, *late),
            encoded=encoded if output is None else None,
            model=passes[0].model if passes else None,
            jpeg_quality=enlargement.picture.jpeg_quality,
            choice=_choice(enlargement) if self.options.model == AUTO and passes else "",
            engines=tuple(one.upscaler.description for one in passes),
        )

    def _book(self, task: Task, source: Path | bytes, output: Path | None) -> Outcome:
        """Enlarge all pages of a comic book."""
        if isinstance(source, bytes) or output is None:
            raise UsageError(f"{task.name}: a comic book needs an output file: give it with -o")
        request = replace(self.request, overwrite=self.request.overwrite or task.replace)
        check_output(source, output, request)
        book, sizes = Book(source=source, format=request.encoding.format), list[Size]()

        def page(data: bytes, name: str) -> bytes:
            enlargement = decide(data, self.models, self.request, name=name)
            sizes.append(enlargement.final)
            if enlargement.skip_reason:
                return data
            return write(enlargement, control=Control(cancelled=self.stopping.is_set))[0]

        make_folder(output.parent)
        write_bytes_atomic(output, task.recorded(book.parts(page), None), replace=request.overwrite)
        late = set_times(output, task.times) if self.options.preserve_times and task.times else []
        told = f"{task.name}: {count_of(book.pages, 'page')} enlarged, {count_of(book.others, 'other file')} kept"
        return Outcome(task=task, status="done", size=sizes[0], notes=(told, *self.upscalers.take_notes(), *late))

    def _notes(self, enlargement: Enlargement, name: str) -> Iterator[str]:
        """More notes for the command line."""
        format, scales = enlargement.format, [one.upscaler.scale for one in enlargement.passes]
        if enlargement.request.encoding.quality is not None and FORMATS[format].quality is None:
            yield f"{name}: {format} is lossless: --quality has no effect"
        if len(scales) == 2 and self._first_time(scales):
            once = " (printed once for all such images)" if self.count > 1 else ""
            most = max(self.models.scales)
            yield f"{name}: more than x{most}, so the network runs twice, x{scales[0]} then x{scales[1]}{once}"
        if not scales:
            width, height = enlargement.final
            yield f"{name}: {width} x {height} is not larger: only resized, without the network"

    def _first_time(self, scales: list[int]) -> bool:
        """Whether these passes have not been reported yet."""
        with self._lock:
            new = tuple(scales) not in self._told
            self._told.add(tuple(scales))
        return new


def _model_for(first: Path, options: BatchOptions) -> str:
    """The model of the first pass over an image, estimated before the image is read."""
    quality = None
    if options.model == AUTO and first.is_file():
        with suppress(ImageReadError):  # reported when the image is read
            quality = estimate_jpeg_quality(first)
    return pass_models(options.model, [options.request.target.scale], jpeg_quality=quality)[0]


def _choice(enlargement: Enlargement) -> str:
    """The reason for the choice of ``-m auto``, readable."""
    picture = enlargement.picture
    quality = picture.jpeg_quality
    seen = _no_quality(picture.format) if quality is None else f"JPEG quality about {quality}"
    missing = {one.upscaler.scale for one in enlargement.passes[:1] if quality is not None}
    without = "".join(f" (no {AUTO_ROBUST} is shipped at x{s})" for s in missing if robust_below(s) == 0)
    return f"auto: {seen}: model {', then '.join(one.model for one in enlargement.passes)}{without}"


def exists_already(task: Task) -> OutputExistsError:
    """The error for an output that exists, with options to solve it."""
    return OutputExistsError(f"{task.output} exists: --overwrite replaces it, --skip-existing skips it")


def _no_quality(format: str) -> str:
    return "a JPEG of unknown quality" if format == "jpeg" else "not a JPEG"


def _named(error: A2FError, task: Task) -> A2FError:
    """Add the name of the image to an error, unless it has one."""
    if task.source == STDIN or any(name in error.message for name in (task.source.name, task.target.name)):
        return error
    return type(error)(f"{task.source}: {error.message}", *error.hints)


def _in_order(
    pool: ThreadPoolExecutor, tasks: Iterable[T], do: Callable[[T], Outcome], *, ahead: int
) -> Iterator[Outcome]:
    """Map over tasks with at most `ahead` unfinished or unfetched results, to limit memory."""
    waiting = iter(tasks)
    futures: list[Future[Outcome]] = [pool.submit(do, task) for task in islice(waiting, ahead)]
    while futures:
        while not futures[0].done():
            wait(futures[:1], timeout=CANCEL_POLL_S)  # without a timeout, a signal would only be noticed at the end
        yield futures.pop(0).result()
        futures += [pool.submit(do, task) for task in islice(waiting, 1)]
