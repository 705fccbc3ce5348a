"""``a2f upscale``."""

import importlib
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from a2f.cli.console import json_line, printable
from a2f.errors import EngineError, ImageWriteError, UsageError, WeightsError

if TYPE_CHECKING:
    from a2f.cli.batch import Options, Outcome, Runner, Task

EPILOG = """\b
Examples:
  a2f upscale photo.jpg                     photo_x4.jpg beside it
  a2f upscale holiday/ -r -o large/ -s 2    a folder and all below it
  a2f upscale photo.jpg --width 3840        exactly 3840 pixels wide
  cat photo.png | a2f upscale - > out.png   in a pipe
  a2f upscale downloads/ -m auto -v         strongly compressed JPEGs by sd-robust

\b
Exit code: 0 all done, 1 some failed, 2 wrong request, 3 all failed.
"""


class SizeType(click.ParamType):  # type: ignore[type-arg,unused-ignore]
    """WxH in pixels."""

    name = "WxH"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        """Read 1920x1080 as (1920, 1080)."""
        width, cross, height = str(value).lower().partition("x")
        if not (cross and width.isdecimal() and height.isdecimal()):
            self.fail(f"{value!r} is not a size: write it as 1920x1080", param, ctx)
        return int(width), int(height)


class BytesType(click.ParamType):  # type: ignore[type-arg,unused-ignore]
    """A size of memory."""

    name = "SIZE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Read 1GB, 1.5G or 800MB as bytes; thousands count, as disks and `a2f` do."""
        text = str(value).upper().removesuffix("B")
        factor = {"K": 10**3, "M": 10**6, "G": 10**9}.get(text[-1:], 1)
        try:
            size = int(float(text[:-1] if factor > 1 else text) * factor)
        except (ValueError, OverflowError):
            size = 0
        if size < 1:
            self.fail(f"{value!r} is not a size of memory: write it as 800MB or 1.5GB", param, ctx)
        return size


class CountType(click.ParamType):  # type: ignore[type-arg,unused-ignore]
    """A whole number, with an optional K, M or G for thousands, millions or billions."""

    name = "N"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Read 100M as 100,000,000."""
        text = str(value).upper()
        factor = {"K": 10**3, "M": 10**6, "G": 10**9}.get(text[-1:], 1)
        digits = text[:-1] if factor > 1 else text
        if not digits.isdecimal() or int(digits) < 1:
            self.fail(f"{value!r} is not a count: write it as 100000000 or 100M", param, ctx)
        return int(digits) * factor


POSITIVE = click.IntRange(min=1)


@click.command(epilog=EPILOG)
@click.argument("inputs", nargs=-1, required=True, metavar="INPUT...")
@click.option("-o", "--output", metavar="OUT", help="File, folder (a new one ends in /), or - for standard output.")
@click.option("-s", "--scale", type=int, help="Enlarge 2, 3 or 4 times.  [default: 4]")
@click.option(
    "-m",
    "--model",
    default="sd",
    show_default=True,
    metavar="NAME",
    help="One of `a2f models`, a weights file, or auto: sd-robust, where shipped, for compressed JPEGs, else sd.",
)
@click.option("-f", "--format", metavar="FMT", help="As the input by default; a2f formats lists all.")
@click.option("-r", "--recursive", is_flag=True, help="Folders below the given ones too, their structure kept.")
@click.option("--suffix", metavar="TEXT", help="Added to each file's name.  [default: _x4 and the like]")
@click.option("--skip-existing", is_flag=True, help="Leave outputs that are there, to go on with a batch.")
@click.option("--overwrite", is_flag=True, help="Replace outputs that are there. Inputs never.")
@click.option("--width", type=POSITIVE, metavar="W", help="Exact width; the height follows.")
@click.option("--height", type=POSITIVE, metavar="H", help="Exact height; the width follows.")
@click.option("--size", type=SizeType(), help="Exact width and height; the proportions may change.")
@click.option("--max-side", type=POSITIVE, metavar="N", help="Exact length of the longer side.")
@click.option(
    "--quality",
    type=click.IntRange(1, 100),
    metavar="Q",
    help="JPEG 92, WebP and JXL 90 (100: lossless), AVIF and HEIC 80 by default.",
)
@click.option("--strip", is_flag=True, help="Leave out all metadata; colours converted to sRGB.")
@click.option("--force", is_flag=True, help="Accept a format that loses transparency, 16 bits or long metadata.")
@click.option("--allow-truncated", is_flag=True, help="Take what there is of damaged files.")
@click.option("--never-shrink", is_flag=True, help="Leave alone what is larger than the size asked for.")
@click.option("--preserve-times", is_flag=True, help="Outputs get the times of their inputs.")
@click.option("--independent-alpha", is_flag=True, help="Alpha is data (textures): colours under it stay.")
@click.option("--tileable", is_flag=True, help="Seamless textures: borders wrap around, and still fit.")
@click.option("--max-pixels", type=CountType(), default="256M", show_default=True, help="Refuse larger inputs.")
@click.option(
    "--ensemble",
    type=int,
    default=1,
    metavar="N",
    help="Mean of N runs, on the image flipped (2, 4) and turned (8): a little better, N times the time.  [default: 1]",
)
@click.option(
    "-t",
    "--tile",
    type=click.IntRange(min=0),
    default=0,
    metavar="N",
    help="Side of a tile, pixels; 0 chooses.",
)
@click.option("--max-memory", type=BytesType(), help="Of the whole process, e.g. 1GB.  [default: half of what is free]")
@click.option(
    "--gates",
    type=click.Choice(["auto", "exact", "sampled"]),
    default="auto",
    help="Of images that do not fit into the memory whole. sampled: nothing on the disk, quicker where there is memory "
    "for large pieces; a few pixels change by a grey level.  [default: exact; sampled for openvino, fast]",
)
@click.option("-j", "--jobs", type=POSITIVE, metavar="N", help="Images at a time.  [default: 2, with --max-memory 1]")
@click.option("--threads", type=POSITIVE, metavar="N", help="Of the network.  [default: all cores, shared among jobs]")
@click.option("--engine", metavar="NAME", help="onnxruntime, openvino or torch.  [default: onnxruntime]")
@click.option("--device", default="cpu", show_default=True, metavar="NAME", help="cpu, cuda or mps.")
@click.option(
    "--dtype",
    default="float32",
    show_default=True,
    metavar="NAME",
    help="float32; bfloat16 (openvino, torch), float16 (torch), int8 (openvino); fast: the quickest, at a loss below "
    "0.01 dB on average (a2f models --json).",
)
@click.option("--compile", is_flag=True, help="--engine torch: fuse the network first; for many images.")
@click.option("--dry-run", is_flag=True, help="Tell files, sizes, time and disk space; write nothing.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line for each image, on standard output.")
@click.option("-v", "--verbose", is_flag=True, help="Tell engine, device, precision, threads and times.")
@click.option("-q", "--quiet", is_flag=True, help="Errors only.")
def upscale(inputs: tuple[str, ...], dry_run: bool, as_json: bool, verbose: bool, quiet: bool, **given: Any) -> int:
    """Enlarge images: files, folders, patterns, or - for standard input.

    Colour profile, EXIF, XMP, resolution, transparency and 16 bits a channel are kept. An existing file is never
    replaced unasked, an input never.
    """
    from a2f.cli.batch import STDIN, Runner, plan

    options = _options(given)
    tasks, notes = plan(list(inputs), options)
    if as_json and any(task.target == STDIN for task in tasks):
        raise click.UsageError("--json and an image both want the standard output: give -o a file")
    if options.output is None and tasks[0].target == STDIN and sys.stdout.isatty():
        raise click.UsageError("an image would go to the terminal: give -o a file, or redirect the output")
    reporter = Reporter(len(tasks), as_json=as_json, verbose=verbose, quiet=quiet)
    for note in notes:
        reporter.note(note)
    # While the engine opens. A daemon: after Ctrl-C in the middle of an import, those of other threads may never end.
    threading.Thread(target=importlib.import_module, args=("pyvips",), daemon=True).start()
    try:
        runner = Runner(options, count=len(tasks), first=tasks[0].source)
    except (EngineError, WeightsError) as error:
        raise UsageError(str(error)) from error  # nothing has been tried: what was asked for is not to be had
    for note in runner.untold():
        reporter.note(note)
    if dry_run:
        return _dry_run(runner, tasks)
    for description in runner.descriptions():
        reporter.tell_engine(description)
    if verbose and options.has_size and options.ensemble > 1:
        reporter.note(f"ensemble of {options.ensemble}")
    runner.on_progress = reporter.progress
    with reporter:
        try:
            for outcome in runner.run(tasks, stdin=sys.stdin.buffer.read):
                reporter(outcome)
        except KeyboardInterrupt:
            reporter.interrupted()
            raise
        for note in runner.untold():  # of an engine whose image failed
            reporter.note(note)
    return reporter.exit_code


def _dry_run(runner: "Runner", tasks: "list[Task]") -> int:
    from a2f.cli.batch import STDIN
    from a2f.cli.dry_run import told

    if tasks[0].source == STDIN:
        raise click.UsageError("--dry-run looks at files, and - is none")
    failed = 0
    for line, error in told(runner, tasks):
        click.echo(printable(line))
        failed += error is not None
    return 0 if not failed else 1 if failed < len(tasks) else 3


def _options(given: dict[str, Any]) -> "Options":
    from a2f.api import ends_like_a_folder, is_file_name
    from a2f.cli.batch import Options
    from a2f.imageio import format_of_suffix

    if (output := given["output"]) is not None:
        if not output:
            raise click.UsageError("-o is empty: give a file, a folder, or - for standard output")
        given["output"], given["output_folder"] = Path(output), ends_like_a_folder(output)
    names = ("width", "height", "size", "max_side")
    sizes = [f"--{name.replace('_', '-')}" for name in names if given[name] is not None]
    if given["scale"] is not None and sizes:
        raise click.UsageError(f"-s and {sizes[0]} are two sizes: give one of them")
    if len(sizes) > 1:
        raise click.UsageError(f"{' and '.join(sizes)} are two sizes: give one of them")
    if given["format"] is not None:
        given["format"] = format_of_suffix(given["format"])
    if given["scale"] is None:
        given["scale"] = 4
        if is_file_name(given["model"]):
            from a2f.weights import read_weights

            given["scale"] = read_weights(given["model"]).config.scale
    elif given["scale"] not in (2, 3, 4):
        raise click.UsageError(
            f"-s {given['scale']}: choose 2, 3 or 4; other sizes with --width, --height, --size or --max-side"
        )
    return Options(**given)


class Reporter:
    """Tells people, or programs, what becomes of each image.

    Args:
        count: of images.
        as_json: a JSON object a line on standard output.
        verbose: times for each image.
        quiet: errors only.
    """

    def __init__(self, count: int, *, as_json: bool, verbose: bool, quiet: bool) -> None:
        self.count, self.as_json, self.verbose, self.quiet = count, as_json, verbose, quiet
        self.failed: list[Outcome] = []
        self.skipped = self.done = 0
        self.engines_told: set[str] = set()
        self.bar: Any = None

    def __enter__(self) -> "Reporter":
        if sys.stderr.isatty() and not self.quiet:
            from tqdm import tqdm

            how = {"total": self.count, "unit": "image"}
            if self.count == 1:  # told in shares of the image, and only if it takes long
                how = {"total": 1.0, "bar_format": "{percentage:3.0f} %|{bar}| {elapsed}, {remaining} left", "delay": 1}
            self.bar = tqdm(file=sys.stderr, dynamic_ncols=True, leave=self.count > 1, **how)
        return self

    def progress(self, share: float) -> None:
        """Tell how much of a single image is done, in [0, 1]."""
        if self.bar is not None and self.count == 1:
            self.bar.n = share
            self.bar.refresh()

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if self.bar is not None:
            self.bar.close()
        if kind is None:
            self._summary()

    def __call__(self, outcome: "Outcome") -> None:
        """Tell one outcome."""
        for note in outcome.notes:
            self.note(note)
        if outcome.status == "failed":
            self.failed.append(outcome)
            self._line(f"{_red('error')}: {printable(str(outcome.error))}")
        elif outcome.status == "skipped":
            self.skipped += 1
            if not outcome.notes:
                self.note(f"{outcome.task.target} exists, skipped")
        else:
            self._tell_done(outcome)
        if self.as_json:
            click.echo(json_line(_record(outcome)))
        if self.bar is not None and self.count > 1:
            self.bar.update()

    def interrupted(self) -> None:
        """Tell how far the work has come, and how to go on."""
        if self.count > 1:
            done = self.done + self.skipped
            self._line(f"{done} of {self.count} done; the same command with --skip-existing goes on from there")

    def _tell_done(self, outcome: "Outcome") -> None:
        if outcome.encoded is not None:
            try:
                _write_all(sys.stdout.buffer, outcome.encoded)
            except ImageWriteError as error:
                self.failed.append(outcome)
                self._line(f"{_red('error')}: {error}")
                return
        self.done += 1
        for description in outcome.engines:
            self.tell_engine(description)
        if self.verbose and outcome.choice:
            self.note(f"{_name(outcome.task)}: {outcome.choice}")
        assert outcome.size is not None
        if self.bar is None or self.count == 1 or self.verbose:
            width, height = outcome.size
            where = "standard output" if outcome.encoded is not None else outcome.task.target
            self.note(f"{_name(outcome.task)} -> {where} ({width} x {height}, {outcome.seconds:.2f} s)")

    def tell_engine(self, description: str) -> None:
        """Tell, once, what images run on, to those who want to know."""
        if self.verbose and description not in self.engines_told:
            self.engines_told.add(description)
            self.note(description)

    def note(self, text: str) -> None:
        """Tell something that is no error."""
        if not self.quiet:
            self._line(printable(text))

    def _line(self, text: str) -> None:
        if self.bar is not None:
            self.bar.write(text, file=sys.stderr)
        else:
            click.echo(text, err=True)

    def _summary(self) -> None:
        if self.count < 2 or (self.quiet and not self.failed):
            return
        parts = [f"{self.done} done"]
        parts += [f"{self.skipped} skipped"] if self.skipped else []
        parts += [f"{len(self.failed)} failed:"] if self.failed else []
        click.echo(", ".join(parts), err=True)
        for outcome in self.failed:
            click.echo(f"  {printable(_name(outcome.task))}", err=True)

    @property
    def exit_code(self) -> int:
        """0 all done, 1 some failed, 2 the request was wrong, 3 all failed."""
        if not self.failed:
            return 0
        if all(outcome.error is not None and outcome.error.exit_code == 2 for outcome in self.failed) and not self.done:
            return 2
        return 1 if self.done or self.skipped else 3


def _write_all(stream: BinaryIO, data: bytes) -> None:
    """Write to a stream that may take less at a time, as unbuffered ones do.

    Raises:
        ImageWriteError: if it takes no more; BrokenPipeError if its reader went away.
    """
    rest = memoryview(data)
    try:
        while rest:
            rest = rest[stream.write(rest) or 0 :]
        stream.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise ImageWriteError(f"cannot write to standard output: {error.strerror or error}") from error


def _name(task: "Task") -> str:
    return "standard input" if str(task.source) == "-" else str(task.source)


def _record(outcome: "Outcome") -> dict[str, Any]:
    size = outcome.size or (None, None)
    return {
        "input": str(outcome.task.source),
        "output": str(outcome.task.target) if outcome.status != "failed" else None,
        "status": outcome.status,
        "width": size[0],
        "height": size[1],
        "model": outcome.model,
        "jpeg_quality": outcome.jpeg_quality,
        "seconds": round(outcome.seconds, 3),
        "error": None if outcome.error is None else str(outcome.error),
        "notes": list(outcome.notes),
    }


def _red(text: str) -> str:
    return click.style(text, fg="red") if sys.stderr.isatty() else text
