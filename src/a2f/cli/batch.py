"""A batch of images: which files become which, and running it."""

import glob
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path
from typing import Literal

from a2f.api import available_scales, ends_like_a_folder, find_weights, output_suffix, pass_models
from a2f.cli.interrupts import end_at_once_when_asked_again
from a2f.cli.passed_over import passed_over
from a2f.cli.times import set_times, times_of
from a2f.errors import (
    A2FError,
    EngineError,
    ImageReadError,
    ImageWriteError,
    OutputExistsError,
    PixelLimitError,
    UsageError,
)
from a2f.imageio import (
    FORMATS,
    Picture,
    check_format,
    estimate_jpeg_quality,
    format_of_suffix,
    left_out_note,
    read_image,
    write_bytes_atomic,
)
from a2f.imageio.formats import is_image_name
from a2f.imageio.read import format_of_file
from a2f.pixels import encode_enlarged
from a2f.runtime import Limits, load_engine
from a2f.runtime.engines import FAST, EngineName, default_threads
from a2f.runtime.ensemble import check_ensemble, ensemble_of
from a2f.runtime.fast import choose_fast
from a2f.runtime.plan import Gates
from a2f.sizes import OWN_SUFFIX, Size, plan_scales, target_size
from a2f.upscaler import BandUpscaler, Upscaler
from a2f.weights import AUTO

STDIN = Path("-")
DECODING_BYTES = 6  # of memory, at least, for a pixel of what is read
HEARD_AFTER_S = 0.2  # Ctrl-C, at the latest
MANY = 8  # images for each job: from then on it hardly counts that the last of them leave cores idle
LEAST_DECODED_PX = 4_000_000  # fewer are decoded under any bound, and the network then says what it needs


@dataclass(frozen=True, kw_only=True)
class Options:
    """What was asked for, for all images alike; the fields are the options of `a2f upscale`.

    `output_folder` says that the output was written with a separator at its end: it is a folder, even a new one.
    """

    output: Path | None = None
    output_folder: bool = False
    scale: int = 4
    model: str = "sd"
    format: str | None = None
    recursive: bool = False
    suffix: str | None = None
    skip_existing: bool = False
    overwrite: bool = False
    width: int | None = None
    height: int | None = None
    size: Size | None = None
    max_side: int | None = None
    tile: int = 0
    max_memory: int | None = None
    gates: Gates = "auto"
    jobs: int | None = None
    threads: int | None = None
    quality: int | None = None
    strip: bool = False
    force: bool = False
    allow_truncated: bool = False
    independent_alpha: bool = False
    tileable: bool = False
    preserve_times: bool = False
    never_shrink: bool = False
    max_pixels: int | None = None
    engine: EngineName | None = None
    device: str = "cpu"
    dtype: str = "float32"
    compile: bool = False
    ensemble: int = 1

    def __post_init__(self) -> None:
        check_ensemble(self.ensemble)

    @property
    def has_size(self) -> bool:
        """Whether an exact size was asked for."""
        return any(v is not None for v in (self.width, self.height, self.size, self.max_side))

    def name_suffix(self) -> str:
        """What is added to a file's name."""
        if self.suffix is not None:
            return self.suffix
        for mark, value in (("w", self.width), ("h", self.height), ("max", self.max_side)):
            if value is not None:
                return f"_{mark}{value}"
        return output_suffix(self.scale, self.size)


@dataclass(frozen=True, kw_only=True)
class Task:
    """One image to do.

    Attributes:
        source: the file, or `STDIN`.
        target: the file to write, or `STDIN` for the standard output.
        failure: why it can't be done, known before it starts.
    """

    source: Path
    target: Path
    failure: A2FError | None = None


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a task.

    Attributes:
        task: which.
        status: "done", "skipped" or "failed".
        size: width and height of the result, if done.
        seconds: from opening the file to its last byte on the disk.
        error: why it failed.
        notes: what a person should know.
        encoded: the file itself, where it goes to the standard output.
        model: what enlarged it, in its first pass; None where nothing did.
        jpeg_quality: at which the picture was saved, about; None if it is no JPEG, or not known.
        choice: why this model, where ``-m auto`` chose it.
        engines: descriptions of what ran, a pass each.
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


def plan(inputs: list[str], options: Options) -> tuple[list[Task], list[str]]:
    """Find all images and where each goes, before anything runs.

    Args:
        inputs: files, folders, patterns, or "-".
        options: what was asked for.

    Returns:
        The tasks in order, and notes.

    Raises:
        UsageError: for requests that contradict themselves: outputs that clash, a folder for a stream, and so on.
    """
    if options.overwrite and options.skip_existing:
        raise UsageError("--overwrite and --skip-existing contradict each other")
    if options.suffix is not None and {"/", os.sep} & set(options.suffix):
        raise UsageError(f"--suffix {options.suffix!r} names a folder: it is added to file names, folders go into -o")
    if "" in inputs:
        raise UsageError("an input is empty (''): leave it out, or write . for this folder")
    if STDIN.name in inputs and len(inputs) > 1:
        raise UsageError("- (standard input) is one image and goes alone")
    if inputs == [STDIN.name]:
        return [_stream_task(options)], []
    found, notes = _find(inputs, options)
    single = len(found) == 1 and len(inputs) == 1 and not Path(inputs[0]).is_dir()
    tasks = [_task(path, below, options, single=single) for path, below in found]
    _refuse_clashes(tasks, options.output)
    return tasks, notes


def _stream_task(options: Options) -> Task:
    target = options.output or STDIN
    if target != STDIN and (target.is_dir() or options.output_folder):
        raise UsageError(
            f"-o {target} is a folder: an image from standard input needs a file name, or - for standard output"
        )
    if target != STDIN and options.format not in (None, format_of_suffix(target.suffix)):
        raise UsageError(f"-o {target} and -f {options.format} name two formats: leave one of them out")
    return Task(source=STDIN, target=target)


def _find(inputs: list[str], options: Options) -> tuple[list[tuple[Path, Path]], list[str]]:
    """Every image with the folder part that its output keeps."""
    found: list[tuple[Path, Path]] = []
    notes: list[str] = []
    for given in inputs:
        path = Path(given)
        if ends_like_a_folder(given) and path.is_file():
            raise UsageError(f"{given} ends like a folder, but is a file: leave out the {given[-1]} at its end")
        if path.is_dir():
            inside, skipped = _images_of(path, options)
            inside, made = _outside(inside, path, options.output)
            notes += [*skipped, *made]
            found += [(p, p.parent.relative_to(path)) for p in inside] or [(path, Path())]
        elif not os.path.lexists(path) and glob.has_magic(given):
            everything = [Path(m) for m in sorted(glob.glob(given, recursive=True))]
            matches = [path for path in everything if is_image_name(path)]
            notes += passed_over(path, everything, set(matches), recursive=True)
            found += [(p, Path()) for p in matches] or [(path, Path())]
        else:
            found.append((path, Path()))
    unique = dict.fromkeys(found)  # a shell pattern and a folder may name the same file
    return list(unique), notes


def _outside(images: list[Path], folder: Path, output: Path | None) -> tuple[list[Path], list[str]]:
    """The images that do not lie in the output folder, where that lies in the input folder; and a note."""
    if output is None or output == STDIN:
        return images, []
    within = output.resolve()
    if folder.resolve() not in within.parents:
        return images, []
    kept = [p for p in images if within not in p.resolve().parents]
    left_out = len(images) - len(kept)
    return kept, [f"{folder}: {left_out} file(s) left out that lie in the output folder {output}"] if left_out else []


def _images_of(folder: Path, options: Options) -> tuple[list[Path], list[str]]:
    everything = sorted(folder.rglob("*") if options.recursive else folder.iterdir())
    images = [p for p in everything if is_image_name(p) and p.is_file() and not p.name.startswith(".")]
    suffix, stems = options.name_suffix(), {(p.parent, p.stem) for p in images}

    def made_earlier(p: Path) -> bool:
        stem = p.stem.removesuffix(suffix) if suffix else p.stem
        stem = OWN_SUFFIX.sub("", p.stem) if stem == p.stem else stem
        return stem != p.stem and (p.parent, stem) in stems

    passed = passed_over(folder, everything, set(images), recursive=options.recursive)
    earlier = [p for p in images if made_earlier(p)]
    ends = sorted({p.stem[p.stem.rindex("_") :] if "_" in p.stem else suffix for p in earlier})
    notes = [f"{folder}: {len(earlier)} file(s) left out that end in {', '.join(ends)}, beside what they were made of"]
    return [p for p in images if p not in earlier], (notes if earlier else []) + passed


def _task(path: Path, below: Path, options: Options, *, single: bool) -> Task:
    suffix = path.suffix if options.format is None else FORMATS[options.format].suffixes[0]
    if not is_image_name(Path(f"x{suffix}")):  # what the file is, is told by its content
        suffix = FORMATS[format_of_file(path) or "png"].suffixes[0]
    name = path.stem + options.name_suffix() + suffix
    out = options.output
    if out is None:
        target = path.with_name(name)
    elif out == STDIN:
        if not single:
            raise UsageError("-o - writes one image to standard output, but the input is several: give a folder")
        target = out
    elif options.output_folder or out.is_dir() or not (out.suffix if single else is_image_name(out)):
        if os.path.lexists(out) and not out.is_dir():
            raise UsageError(f"-o {out} is a file without an image suffix: give another name or a folder")
        target = out / below / name
    else:
        if not single:
            raise UsageError(f"-o {out} is a file, but the input is several images or a folder: give a folder")
        if not is_image_name(out):
            raise UsageError(
                f"-o {out}: {out.suffix!r} is no image format; a folder of that name is written with a / at its end"
            )
        if options.format not in (None, format_of_suffix(out.suffix)):
            raise UsageError(f"-o {out} and -f {options.format} name two formats: leave one of them out")
        target = out
    failure = None
    if path.is_dir():
        deeper = "" if options.recursive else " (-r looks into its folders too)"
        failure = ImageReadError(f"{path} holds no images{deeper}")
    return Task(source=path, target=target, failure=failure)


def _refuse_clashes(tasks: list[Task], output: Path | None) -> None:
    sources = {_identity(task.source): task.source for task in tasks if task.source.exists()}
    taken: dict[str, Path] = {}
    for task in tasks:
        if task.target == STDIN or task.failure is not None:
            continue
        key = os.path.realpath(task.target).casefold()  # some file systems take A.png and a.png for one
        if key in taken:
            raise UsageError(
                f"{taken[key]} and {task.source} would both be written to {task.target}: "
                "enlarge them apart, with another -o or --suffix for one of them"
            )
        taken[key] = task.source
        if task.target.exists() and _identity(task.target) in sources:
            way_out = "choose another -o" if task.target == output else "choose another --suffix or -o"
            raise UsageError(f"{task.target} is itself an input, and an input is never overwritten: {way_out}")


def _identity(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_dev, status.st_ino


class Runner:
    """Runs the tasks of a batch with shared engines.

    Args:
        options: what was asked for.
        count: of images.
        first: of them; ``-m auto`` opens its engine at once, the other one when an image needs it.

    Raises:
        UsageError, UnknownModelError, WeightsError, EngineError: if the model or the engine cannot be had.
    """

    def __init__(self, options: Options, *, count: int = 2, first: Path = STDIN) -> None:
        self.options = options
        self.scales = available_scales(options.model) if options.has_size else (options.scale,)
        self.jobs = min(options.jobs or (1 if options.max_memory else 2), max(1, count))
        self.threads = options.threads
        if self.threads is None and options.engine in (None, "onnxruntime") and options.device == "cpu":
            # Each job its own share of the cores: threads that run one small image together wait for each other.
            self.threads = max(1, default_threads() // self.jobs) if count >= MANY * self.jobs else None
        self.notes: list[str] = []  # of the engines
        self.stopping = threading.Event()
        self.on_progress: Callable[[float], None] = lambda share: None  # of the image that is under way, if it is one
        self._engines: dict[tuple[str, int], Upscaler] = {}
        self._lock = threading.Lock()
        self.count, self._told = count, set[tuple[int, ...]]()
        if not options.has_size:
            scale = self.engine(options.scale, _model_for(first, options)).scale
            if scale != options.scale:
                raise UsageError(f"-s {options.scale}: the weights {options.model} enlarge {scale} times; leave out -s")

    def engine(self, scale: int, model: str) -> Upscaler:
        """The engine of a scale and model, opened at its first use."""
        with self._lock:
            if (model, scale) not in self._engines:
                o = self.options
                weights = find_weights(model, scale=scale)
                engine, dtype = o.engine, o.dtype
                if dtype == FAST and o.device == "cpu" and engine is None:
                    choice = choose_fast(weights)
                    engine, dtype = choice.engine, choice.dtype
                    self.notes += [choice.note] if choice.note else []
                limits = Limits(
                    tile_px=o.tile,
                    max_memory_bytes=o.max_memory,
                    jobs=self.jobs,
                    gates=o.gates,
                    alone=o.model != AUTO and not o.has_size,
                )
                opened = load_engine(
                    weights,
                    engine=engine,
                    device=o.device,
                    dtype=dtype,
                    threads=o.threads if engine == "openvino" else self.threads,
                    limits=limits,
                    compile=o.compile,
                )
                opened = ensemble_of(opened, o.ensemble, limits=limits)
                if isinstance(opened, BandUpscaler):
                    opened.on_progress = lambda share: self.on_progress(share)
                self._engines[model, scale] = opened
            return self._engines[model, scale]

    def descriptions(self) -> list[str]:
        """Of the engines that are open."""
        with self._lock:
            return [engine.description for engine in self._engines.values()]

    def untold(self) -> list[str]:
        """The notes of engines that were opened since the last call."""
        with self._lock:
            notes, self.notes = self.notes, []
        return notes

    def run(self, tasks: list[Task], *, stdin: Callable[[], bytes]) -> Iterator[Outcome]:
        """Do all tasks, `jobs` at a time, and give what became of each in the order of the tasks.

        A failure is an outcome, not an exception.

        Args:
            tasks: of `plan`.
            stdin: reads the whole standard input.
        """
        jobs = self.jobs
        with ThreadPoolExecutor(jobs, thread_name_prefix="a2f") as pool:
            try:
                yield from _in_order(pool, tasks, lambda task: self.one(task, stdin=stdin), ahead=2 * jobs)
            except BaseException as error:
                if isinstance(error, KeyboardInterrupt):
                    end_at_once_when_asked_again()
                self.stopping.set()
                for engine in self._engines.values():
                    if isinstance(engine, BandUpscaler):
                        engine.stop()
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def one(self, task: Task, *, stdin: Callable[[], bytes]) -> Outcome:
        """Do one task."""
        began = time.perf_counter()
        try:
            if task.failure is not None:
                raise task.failure
            if task.target != STDIN and os.path.lexists(task.target):
                if self.options.skip_existing:
                    return Outcome(task=task, status="skipped")
                if not self.options.overwrite:
                    raise OutputExistsError(f"{task.target} exists: --overwrite replaces it, --skip-existing leaves it")
            outcome = self._enlarge(task, stdin)
            return replace(outcome, seconds=time.perf_counter() - began)
        except OutputExistsError as error:  # which has appeared since
            if self.options.skip_existing:
                return Outcome(task=task, status="skipped")
            return Outcome(task=task, status="failed", error=error, seconds=time.perf_counter() - began)
        except A2FError as error:
            return Outcome(task=task, status="failed", error=_named(error, task), seconds=time.perf_counter() - began)
        except MemoryError:
            full = A2FError(f"{task.source}: out of memory: take a smaller image or fewer --jobs")
            return Outcome(task=task, status="failed", error=full, seconds=time.perf_counter() - began)

    def _enlarge(self, task: Task, stdin: Callable[[], bytes]) -> Outcome:
        o = self.options
        source: Path | bytes = stdin() if task.source == STDIN else task.source
        name = "standard input" if task.source == STDIN else str(task.source)
        times = times_of(task.source) if o.preserve_times and task.source != STDIN else None
        picture = self._read(source, name)
        chosen = o.format or (picture.format if task.target == STDIN else format_of_suffix(task.target.suffix))
        size = self._size(picture.size)
        scales = (o.scale,) if size is None else plan_scales(picture.size, size, available=self.scales)
        models = pass_models(o.model, scales, jpeg_quality=picture.jpeg_quality)
        final = size or (picture.size[0] * o.scale, picture.size[1] * o.scale)
        if o.never_shrink and any(made < given for made, given in zip(final, picture.size, strict=True)):
            told = f"{name}: {picture.size[0]} x {picture.size[1]} is larger than {final[0]} x {final[1]}: left alone"
            return Outcome(task=task, status="skipped", notes=(told,))
        check_format(picture, chosen, force=o.force, strip=o.strip, factor=max(final) / max(picture.size))
        notes = self._notes(picture, name, chosen, scales, final)
        passes = [self.engine(s, m) for s, m in zip(scales, models, strict=True)]
        done = Outcome(
            task=task,
            status="done",
            size=final,
            notes=(*notes, *self.untold()),
            model=models[0] if models else None,
            jpeg_quality=picture.jpeg_quality,
            choice=_choice(picture, models) if o.model == AUTO and models else "",
            engines=tuple(upscaler.description for upscaler in passes),
        )
        made = encode_enlarged(
            picture,
            passes,
            size=size,
            format=chosen,
            quality=o.quality,
            strip=o.strip,
            force=o.force,
            independent=o.independent_alpha,
            tileable=o.tileable,
            watch=self._go_on,
        )
        with closing(made):
            parts = chain([next(made)], made)  # before there is something to write, no folder is made
            self._go_on()
            if task.target == STDIN:
                return replace(done, encoded=b"".join(parts))
            try:
                task.target.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                reason = error.strerror or error
                raise ImageWriteError(f"cannot make the folder {task.target.parent}: {reason}") from error
            write_bytes_atomic(task.target, parts, replace=o.overwrite)
        return replace(done, notes=(*done.notes, *set_times(task.target, times)))

    def _notes(self, picture: Picture, name: str, chosen: str, scales: Sequence[int], final: Size) -> list[str]:
        """What to tell about an image that is to be enlarged, and written in a format."""
        o = self.options
        notes = [*picture.notes, *(f"{name}: {note}" for note in left_out_note(picture, chosen, strip=o.strip))]
        if o.quality is not None and FORMATS[chosen].quality is None:
            notes.append(f"{name}: {chosen} is lossless: --quality changes nothing")
        if len(scales) == 2 and self._first_time(scales):
            notes.append(
                f"{name}: more than {max(self.scales)}x: the network runs twice, x{scales[0]} then x{scales[1]}"
                + (" (told once, for all such images)" if self.count > 1 else "")
            )
        if not scales:
            notes.append(f"{name}: {final[0]} x {final[1]} is no enlargement: only resized, without the network")
        return notes

    def _first_time(self, scales: Sequence[int]) -> bool:
        """Whether these passes have not been told yet."""
        with self._lock:
            new = tuple(scales) not in self._told
            self._told.add(tuple(scales))
        return new

    def _read(self, source: Path | bytes, name: str) -> Picture:
        o = self.options
        most = max(LEAST_DECODED_PX, o.max_memory // (self.jobs * DECODING_BYTES)) if o.max_memory else None
        try:
            limit = min(filter(None, (o.max_pixels, most)), default=None)
            return read_image(source, max_pixels=limit, allow_truncated=o.allow_truncated, name=name)
        except PixelLimitError as error:
            if most is None or o.max_memory is None or (o.max_pixels and o.max_pixels <= most):
                raise
            allowed = f"--max-memory {o.max_memory / 1e6:.0f}MB"
            raise EngineError(
                f"{name} has more than the {most:,} pixels that can be decoded within {allowed}"
            ) from error

    def _go_on(self) -> None:
        """Nothing, until the whole batch is to stop.

        Raises:
            A2FError: then.
        """
        if self.stopping.is_set():
            raise A2FError("stopped before writing")

    def _size(self, given: Size) -> Size | None:
        o = self.options
        if not o.has_size:
            return None
        return target_size(given, width=o.width, height=o.height, size=o.size, max_side=o.max_side)


def _model_for(first: Path, options: Options) -> str:
    """The model of the first pass over an image, as far as it can be told before the image is read."""
    quality = None
    if options.model == AUTO and first.is_file():
        with suppress(ImageReadError):  # said when its turn comes
            quality = estimate_jpeg_quality(first)
    return pass_models(options.model, [options.scale], jpeg_quality=quality)[0]


def _choice(picture: Picture, models: list[str]) -> str:
    """What ``-m auto`` saw and chose, for people."""
    quality = picture.jpeg_quality
    seen = f"{picture.format} tells no JPEG quality" if quality is None else f"JPEG quality about {quality}"
    return f"auto: {seen}, model {', then '.join(models)}"


def _named(error: A2FError, task: Task) -> A2FError:
    """An error that says of which image it is."""
    if task.source == STDIN or any(name in str(error) for name in (task.source.name, task.target.name)):
        return error
    return type(error)(f"{task.source}: {error}")


def _in_order(
    pool: ThreadPoolExecutor, tasks: list[Task], do: Callable[[Task], Outcome], *, ahead: int
) -> Iterator[Outcome]:
    """Map over tasks with at most `ahead` unfinished or unfetched ones: results would pile up otherwise."""
    waiting = iter(tasks)
    futures: list[Future[Outcome]] = [pool.submit(do, task) for task in islice(waiting, ahead)]
    while futures:
        while not futures[0].done():
            wait(futures[:1], timeout=HEARD_AFTER_S)  # a signal just before an endless wait would be heard at its end
        yield futures.pop(0).result()
        futures += [pool.submit(do, task) for task in islice(waiting, 1)]
