"""``a2f video``."""

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from a2f.cli.console import json_line, printable
from a2f.cli.parameters import ENGINES, POSITIVE, BytesType, among, complete_model, complete_scale
from a2f.errors import count_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from a2f.runtime.options import EngineOptions
    from a2f.upscaler import Upscaler
    from a2f.upscalers import Models
    from a2f.video.plan import Plan, Request
    from a2f.video.run import Progress

EPILOG = """\b
Examples:
  a2f video in.mp4 -o out.mp4                       four times the size
  a2f video in.mp4 -o out.mp4 --height 2160         exactly 2160 rows (UHD)
  a2f video in.mp4 -o look.mp4 --start 1:30 --preview 48
  ffmpeg -i in.mp4 -f yuv4mpegpipe - | a2f video - -o - -s 2 | mpv -

\b
To continue a stopped run, run the same command again.
"""
LINE_EVERY_S = 10.0  # without a terminal
JSON_EVERY_S = 1.0
NAMES = ("h264", "hevc", "av1", "vp9", "ffv1")


class TimeType(click.ParamType):  # type: ignore[type-arg,unused-ignore]
    """A time in a video."""

    name = "TIME"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Read 90, 1:30 or 0:01:30.5 as seconds."""
        from a2f.errors import UsageError
        from a2f.video.source import seconds_of

        try:
            return seconds_of(str(value))
        except UsageError as error:
            self.fail(str(error), param, ctx)


@click.command(epilog=EPILOG)
@click.argument("source", metavar="INPUT")
@click.option(
    "-o",
    "--output",
    required=True,
    metavar="OUT",
    help="Output: .mp4, .mov, .mkv, .webm or .y4m; - for y4m on standard output.",
)
@click.option(
    "-s",
    "--scale",
    type=click.IntRange(2, 4),
    shell_complete=complete_scale,
    help="Enlarge 2, 3 or 4 times.  [default: 4]",
)
@click.option(
    "--height",
    type=POSITIVE,
    metavar="H",
    help="Exact display height; the width follows. 4:2:0 video needs even sides.",
)
@click.option(
    "-m",
    "--model",
    default="auto",
    show_default=True,
    metavar="NAME",
    shell_complete=complete_model,
    help="One of `a2f models`, or a file.",
)
@click.option(
    "--codec",
    metavar="NAME",
    shell_complete=among(*NAMES),
    help="h264, hevc, av1, vp9 or ffv1 (lossless).  [default: as the input]",
)
@click.option("--crf", type=int, metavar="N", help="Quality: 0 is best.  [default: h264 17, hevc 18, av1 24, vp9 22]")
@click.option(
    "--preset",
    metavar="NAME",
    help="Encoder speed; slower ones make smaller files.  [default: h264 ultrafast, hevc superfast, av1 8, vp9 4]",
)
@click.option("--start", type=TimeType(), help="Start at this time: seconds, or h:mm:ss.")
@click.option("--end", type=TimeType(), help="End before this time.")
@click.option("--preview", type=POSITIVE, metavar="N", help="Enlarge only the first N frames.")
@click.option("--deinterlace", is_flag=True, help="Deinterlace first; without it, interlaced video is rejected.")
@click.option("--allow-truncated", is_flag=True, help="Read the intact parts of damaged files.")
@click.option("--overwrite", is_flag=True, help="Replace an existing output; the input is never replaced.")
@click.option("--force", is_flag=True, help="Drop what the output cannot store: streams, bit depth, chroma.")
@click.option(
    "--gates",
    type=click.Choice(["frame", "temporal"]),
    default="frame",
    show_default=True,
    help="temporal: smooth the channel gates over time, against flicker.",
)
@click.option("--max-memory", type=BytesType(), help="Memory limit for the network.  [default: half of what is free]")
@click.option("--threads", type=POSITIVE, metavar="N", help="Threads for the network.  [default: all cores]")
@click.option(
    "--engine",
    metavar="NAME",
    shell_complete=among(*ENGINES),
    help="onnxruntime, openvino or torch.  [default: onnxruntime]",
)
@click.option("--device", default="cpu", show_default=True, metavar="NAME", help="cpu, cuda or mps.")
@click.option(
    "--dtype", default="float32", show_default=True, metavar="NAME", help="As for a2f upscale; fast for speed."
)
@click.option(
    "--json", "as_json", is_flag=True, help="Print the progress as JSON objects, one per line, on standard output."
)
@click.option("-q", "--quiet", is_flag=True, help="Print only errors.")
def video(source: str, output: str, as_json: bool, quiet: bool, **given: Any) -> int:
    """Enlarge a video. "-" reads y4m from the standard input.

    Audio, subtitles, attachments and chapters are copied bit for bit. Timestamps, rotation, pixel shape, colours, 10
    bits and HDR10 metadata are kept.
    """
    from a2f.video.plan import plan_video
    from a2f.video.run import enlarge_video
    from a2f.video.source import STREAM, Source

    if as_json and output == STREAM:
        raise click.UsageError("--json and the frames both use standard output: give a file with -o")
    if output == STREAM and sys.stdout.isatty():
        raise click.UsageError("the frames would be written to the terminal: give a file with -o, or a pipe")
    request = _request(source, output, given)
    with (
        Source(source, allow_truncated=given["allow_truncated"]) as opened,
        Teller(output, as_json=as_json, quiet=quiet) as teller,
    ):
        plan = plan_video(opened, _models(given), request)
        for text in plan.notes:
            teller.note(text)
        teller.begin(plan)
        try:
            ended = enlarge_video(opened, plan, tell=teller.progress, note=teller.note)
        except KeyboardInterrupt:
            if opened.is_file and plan.encoding is not None:
                teller.note("stopped: run the same command to continue")
            raise
        teller.done(ended)
    return 0


class Teller:
    """Reports the progress of a video.

    Args:
        output: name of the result, for messages.
        as_json: print one JSON object per line on standard output.
        quiet: print only errors.
    """

    def __init__(self, output: str, *, as_json: bool, quiet: bool) -> None:
        self._output, self._json, self._quiet = output, as_json, quiet
        self._bar: Any = None
        self._told = time.monotonic()

    def __enter__(self) -> "Teller":
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def begin(self, plan: "Plan") -> None:
        """Show a bar if there is a terminal."""
        if sys.stderr.isatty() and not self._quiet:
            from tqdm import tqdm

            self._bar = tqdm(total=plan.frames or None, unit="frame", file=sys.stderr, dynamic_ncols=True)

    def progress(self, now: "Progress") -> None:
        """Print the progress at intervals."""
        if self._bar is not None:
            if not self._bar.n:
                self._bar.initial = now.resumed
            self._bar.n = now.done
            self._bar.update(0)
        since = time.monotonic() - self._told
        if self._json and since >= JSON_EVERY_S:
            self._line_of("progress", now)
        elif self._bar is None and not self._json and not self._quiet and since >= LINE_EVERY_S:
            left = "" if now.seconds_left is None else f", {_clock(now.seconds_left)} left"
            self.note(f"{now.done} of {now.frames or '?'} frames, {now.fps:.2f} frames/s{left}")
        else:
            return
        self._told = time.monotonic()

    def note(self, text: str) -> None:
        """Print a message that is no error."""
        if self._quiet:
            return
        if self._bar is not None:
            self._bar.write(printable(text), file=sys.stderr)
        else:
            click.echo(printable(text), err=True)

    def done(self, now: "Progress") -> None:
        """Print the result."""
        share = f"; {now.repeats / now.done:.0%} were repeated frames, not computed again" if now.repeats else ""
        where = "standard output" if self._output == "-" else self._output
        self.note(f"{where}: {count_of(now.done, 'frame')}, {now.fps:.2f} frames/s{share}")
        if self._json:
            self._line_of("done", now)

    def _line_of(self, event: str, now: "Progress") -> None:
        left = now.seconds_left
        record = {
            "event": event,
            "output": self._output,
            "done": now.done,
            "frames": now.frames or None,
            "repeats": now.repeats,
            "resumed": now.resumed,
            "fps": round(now.fps, 3),
            "seconds_left": None if left is None else round(left, 1),
        }
        click.echo(json_line(record))


def _request(source: str, output: str, given: dict[str, Any]) -> "Request":
    from fractions import Fraction

    from a2f.machine import usable_cores
    from a2f.sizes import Target
    from a2f.video.plan import Request
    from a2f.video.source import STREAM, Range

    if given["scale"] is not None and given["height"] is not None:
        raise click.UsageError("-s and --height exclude each other: give only one of them")
    return Request(
        source=source if source == STREAM else Path(source),
        output=output if output == STREAM else Path(output),
        target=Target(scale=given["scale"] or _scale_of(given["model"]) or 4, height=given["height"]),
        wanted=Range(start=given["start"] or Fraction(0), end=given["end"], count=given["preview"]),
        threads=usable_cores(),
        **{name: given[name] for name in ("codec", "crf", "preset", "deinterlace", "force", "overwrite")},
    )


def _models(given: dict[str, Any]) -> "Models":
    from a2f.runtime.options import EngineOptions
    from a2f.upscalers import Models, Upscalers
    from a2f.weights import available_scales

    options = EngineOptions(**{name: given[name] for name in ("engine", "device", "dtype", "threads", "max_memory")})
    model = given["model"]
    opened = _temporal(options) if given["gates"] == "temporal" else Upscalers(options).open
    own = _scale_of(model)
    if own is not None and given["scale"] not in (None, own):
        raise click.UsageError(f"-s {given['scale']}: the weights {model} enlarge {own} times; leave out -s")
    return Models(model=model, scales=available_scales(model), open=opened)


def _scale_of(model: str) -> int | None:
    """The scale of a weights file; None for a model by name."""
    from a2f.weights import is_file_name, read_weights

    return read_weights(model).config.scale if is_file_name(model) else None


def _temporal(options: "EngineOptions") -> "Callable[[str, int], Upscaler]":
    """Make a function that opens networks whose gates are smoothed over time."""
    from a2f.machine import usable_cores
    from a2f.video.temporal import TemporalUpscaler
    from a2f.weights import find_weights

    if (options.engine or "onnxruntime", options.device, options.dtype) != ("onnxruntime", "cpu", "float32"):
        raise click.UsageError(
            "--gates temporal runs on onnxruntime, cpu, float32: leave out --engine, --device, --dtype"
        )
    threads = options.threads or usable_cores()
    return lambda model, scale: TemporalUpscaler(find_weights(model, scale=scale), threads=threads)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"
