"""``a2f upscale``."""

import functools
import importlib
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from a2f.cli.parameters import (
    DTYPES,
    ENGINES,
    FAST,
    GATES,
    NATURAL,
    POSITIVE,
    RUNS,
    SECONDS,
    BytesType,
    CountType,
    SizeType,
    among,
    complete_format,
    complete_model,
    complete_scale,
    device_option,
)
from a2f.errors import UsageError, WeightsError

if TYPE_CHECKING:
    from a2f.cli.batch import BatchOptions, Runner
    from a2f.cli.cluster import ClusterOptions
    from a2f.cli.inputs import OutputNames, Task
    from a2f.cli.journaled import JournalOptions
    from a2f.cli.report import Reporter
    from a2f.sizes import Target

EPILOG = """\b
Examples:
  a2f upscale photo.jpg                     writes photo_x4.jpg in the same folder
  a2f upscale holiday/ -r -o large/ -s 2    a folder and its subfolders
  a2f upscale photo.jpg --width 3840        exactly 3840 pixels wide
  cat photo.png | a2f upscale - > out.png   in a pipe
  a2f upscale photo.jpg -m sd-robust -s 2   the model for compressed JPEGs
"""


@click.command(epilog=EPILOG)
@click.argument("inputs", nargs=-1, metavar="INPUT...")
@click.option(
    "-o",
    "--output",
    metavar="OUT",
    help="File, folder, or - for standard output. A new name without a suffix or with a final / is a folder.",
)
@click.option("-s", "--scale", type=int, shell_complete=complete_scale, help="Enlarge 2, 3 or 4 times.  [default: 4]")
@click.option(
    "-m",
    "--model",
    default="auto",
    show_default=True,
    metavar="NAME",
    shell_complete=complete_model,
    help="One of `a2f models`, a weights file, or auto. auto chooses for each picture: sd-robust for a JPEG of low "
    "quality, if it has weights at this scale; otherwise sd.",
)
@click.option(
    "-f",
    "--format",
    metavar="FMT",
    shell_complete=complete_format,
    help="Format of the output; see a2f formats.  [default: as the input]",
)
@click.option("-r", "--recursive", is_flag=True, help="Include subfolders; their structure is kept.")
@click.option(
    "--suffix", metavar="TEXT", help="Text to add to each file name.  [default: _x4 for -s 4, _w640 for --width 640]"
)
@click.option("--skip-existing", is_flag=True, help="Skip images whose output exists, to continue a batch.")
@click.option("--overwrite", is_flag=True, help="Replace existing outputs; inputs are never replaced.")
@click.option("--width", type=POSITIVE, metavar="W", help="Exact width; the height follows.")
@click.option("--height", type=POSITIVE, metavar="H", help="Exact height; the width follows.")
@click.option("--size", type=SizeType(), metavar="WxH", help="Exact width and height; the proportions may change.")
@click.option("--max-side", type=POSITIVE, metavar="N", help="Exact length of the longer side.")
@click.option(
    "--quality",
    type=click.IntRange(1, 100),
    metavar="Q",
    help="Quality, 1 to 100.  [default: JPEG 92, WebP and JXL 90 (100: lossless), AVIF and HEIC 80]",
)
@click.option("--strip", is_flag=True, help="Write no metadata; colours are converted to sRGB.")
@click.option(
    "--force",
    is_flag=True,
    help="Accept a format that loses frames, colours, transparency, 16 bits or long metadata.",
)
@click.option("--allow-truncated", is_flag=True, help="Read the intact part of damaged files.")
@click.option("--never-shrink", is_flag=True, help="Skip images that are already larger than the requested size.")
@click.option("--preserve-times", is_flag=True, help="Set the file times of the inputs on the outputs.")
@click.option(
    "--independent-alpha",
    is_flag=True,
    help="Treat alpha as data, as in game textures. Colours under transparent pixels are kept.",
)
@click.option("--tileable", is_flag=True, help="For seamless textures: the borders still match after enlarging.")
@click.option("--max-pixels", type=CountType(), default="256M", show_default=True, help="Reject larger inputs.")
@click.option(
    "--ensemble",
    type=int,
    default=1,
    metavar="N",
    shell_complete=among(*RUNS),
    help="Mean of N runs on flipped (2, 4) and rotated (8) images: slightly better, N times slower.  [default: 1]",
)
@click.option(
    "-t",
    "--tile",
    type=NATURAL,
    default=0,
    metavar="N",
    help="Side of a tile, pixels; 0 chooses.",
)
@click.option(
    "--max-memory",
    type=BytesType(),
    help="Memory limit for the whole process, e.g. 1GB.  [default: half of what is free]",
)
@click.option(
    "--gates",
    type=click.Choice(GATES),
    default="auto",
    help="How to compute the channel gates, which depend on the whole image, if it does not fit into memory. exact: "
    "with a temporary file. sampled: without one, faster; a few pixels differ by one grey level.  [default: exact; "
    "sampled for openvino, fast]",
)
@click.option(
    "-j", "--jobs", type=POSITIVE, metavar="N", help="Number of images at a time.  [default: 2; 1 with --max-memory]"
)
@click.option(
    "--threads", type=POSITIVE, metavar="N", help="Threads for the network.  [default: all cores, shared among jobs]"
)
@click.option("--engine", type=click.Choice(ENGINES), help="The engine that runs the network.  [default: onnxruntime]")
@device_option
@click.option(
    "--dtype",
    type=click.Choice((*DTYPES, FAST)),
    default=DTYPES[0],
    show_default=True,
    help="bfloat16: openvino, torch. float16: torch. int8: openvino. fast: the fastest on this machine, with a loss "
    "below 0.01 dB on average (a2f models --json).",
)
@click.option("--compile", is_flag=True, help="For --engine torch: compile the network first; useful for many images.")
@click.option(
    "--dry-run",
    is_flag=True,
    help="Print files, sizes, time and disk space, and write nothing. With -v also the models.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per image on standard output.")
@click.option("--resume", is_flag=True, help="Keep a journal, and process only new and changed files.")
@click.option("--retry-failed", is_flag=True, help="Like --resume, and retry failed files.")
@click.option(
    "--journal",
    metavar="FILE",
    help="The journal file.  [default: .a2f-journal.sqlite in the output folder]",
)
@click.option(
    "--quarantine", metavar="FOLDER", help="Link bad files into this folder, each with the reason in a text file."
)
@click.option("--watch", is_flag=True, help="Process new files in the folders until Ctrl-C.")
@click.option(
    "--settle",
    type=SECONDS,
    default=2.0,
    show_default=True,
    metavar="S",
    help="For --watch: process a file when it has not changed for S seconds.",
)
@click.option("--shard", metavar="I/N", help="Process only the I-th of N parts of the files, for several machines.")
@click.option(
    "--ray",
    is_flag=False,
    flag_value="auto",
    metavar="[ADDRESS]",
    help="Process the batch on all machines of a Ray cluster. ADDRESS is host:port, or local for this machine alone. "
    "Put --ray last, or write --ray=ADDRESS.  [without ADDRESS: the cluster of this machine]",
)
@click.option(
    "--ray-cpus",
    type=click.FloatRange(min=0),
    default=1.0,
    show_default=True,
    metavar="N",
    help="For --ray: cores of each worker. -j is the number of workers.",
)
@click.option(
    "--ray-gpus",
    type=click.FloatRange(min=0),
    default=0.0,
    show_default=True,
    metavar="N",
    help="For --ray: GPUs of each worker, such as 0.25.",
)
@click.option("-v", "--verbose", is_flag=True, help="Print engine, device, precision, threads and times.")
@click.option("-q", "--quiet", is_flag=True, help="Print only errors.")
def upscale(inputs: tuple[str, ...], dry_run: bool, as_json: bool, verbose: bool, quiet: bool, **given: Any) -> int:
    """Enlarge images: files, folders, patterns, or - for standard input.

    Colour profile, EXIF, XMP, resolution, transparency and 16 bits per channel are kept. Existing files are only
    replaced with --overwrite; inputs are never replaced.
    """
    from a2f.cli.batch import Runner
    from a2f.cli.inputs import STDIN, find_tasks
    from a2f.cli.report import Reporter

    _check_inputs(inputs, given)
    try:
        options, naming = _asked(given)
        if (batch := _batch(given)).is_asked or any("://" in text for text in inputs):
            from a2f.cli.journaled import dry_run_batch, run_batch

            if dry_run:
                return dry_run_batch(inputs, options, naming, batch, as_json=as_json, verbose=verbose)
            return run_batch(inputs, options, naming, batch, as_json=as_json, verbose=verbose, quiet=quiet)
        tasks, notes = find_tasks(list(inputs), naming)
        if dry_run and tasks[0].source == STDIN:
            raise click.UsageError("--dry-run needs files, not standard input: give a file")
        if as_json and any(task.target == STDIN for task in tasks):
            raise click.UsageError("--json and the image both use standard output: give a file with -o")
        if naming.output is None and tasks[0].target == STDIN and sys.stdout.isatty():
            raise click.UsageError(
                "the image would be written to the terminal: give a file with -o, or redirect the output"
            )
        reporter = Reporter(len(tasks), as_json=as_json, verbose=verbose, quiet=quiet)
        for note in notes:
            reporter.note(note)
        # Import while the engine opens. A daemon thread: after Ctrl-C, imports in other threads may never end.
        threading.Thread(target=importlib.import_module, args=("pyvips",), daemon=True).start()
        runner = Runner(options, count=len(tasks), first=tasks[0].source)
    except WeightsError as error:
        raise UsageError(error.message, *error.hints) from error  # nothing was done yet: a usage error
    for note in runner.upscalers.take_notes():
        reporter.note(note)
    if dry_run:
        from a2f.cli.dry_run import dry_run as tell

        return tell(runner, tasks, as_json=as_json, verbose=verbose)
    return _run(runner, tasks, reporter)


def _check_inputs(inputs: tuple[str, ...], given: dict[str, Any]) -> None:
    """Raise UsageError for missing inputs, and for options that have no effect."""
    context = click.get_current_context()
    if not inputs:
        if given["ray"] is not None and Path(given["ray"]).exists():
            raise click.UsageError(f"{given['ray']} was taken as ADDRESS of --ray: put --ray last, or write --ray=auto")
        raise click.UsageError("Missing argument 'INPUT...'.")
    for name, needs in (("settle", "watch"), ("ray_cpus", "ray"), ("ray_gpus", "ray")):
        if not given[needs] and context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            option = f"--{name.replace('_', '-')}"
            raise click.UsageError(f"{option} has no effect without --{needs}: add --{needs}, or leave out {option}")


def _run(runner: "Runner", tasks: "list[Task]", reporter: "Reporter") -> int:
    for description in runner.upscalers.descriptions():
        reporter.tell_engine(description)
    runs = runner.options.engine.ensemble
    if reporter.verbose and runner.request.target.is_exact and runs > 1:
        reporter.note(f"ensemble of {runs}")
    runner.progress = reporter.progress
    with reporter:
        try:
            for outcome in runner.run(tasks, functools.partial(runner.one, stdin=sys.stdin.buffer.read)):
                reporter(outcome)
        except KeyboardInterrupt:
            reporter.interrupted()
            raise
        for note in runner.upscalers.take_notes():  # notes of failed images
            reporter.note(note)
    return reporter.exit_code


def _asked(given: dict[str, Any]) -> "tuple[BatchOptions, OutputNames]":
    """The checked options."""
    from a2f.cli.batch import BatchOptions
    from a2f.cli.inputs import OutputNames
    from a2f.files import ends_like_a_folder
    from a2f.imageio import format_of_suffix
    from a2f.pipeline import Encoding, Request
    from a2f.runtime.options import EngineOptions

    def some(*names: str) -> dict[str, Any]:
        return {name: given[name] for name in names}

    target, output = _target(given), given["output"]
    if output == "":
        raise click.UsageError("-o is empty: give a file, a folder, or - for standard output")
    format = None if given["format"] is None else format_of_suffix(given["format"])
    request = Request(
        target=target,
        encoding=Encoding(format=format, **some("quality", "strip", "force")),
        **some("allow_truncated", "max_pixels", "independent_alpha", "tileable", "never_shrink", "overwrite"),
    )
    on = some("engine", "device", "dtype", "threads", "tile", "max_memory", "gates", "compile", "ensemble")
    options = BatchOptions(
        request=request, engine=EngineOptions(**on), **some("model", "jobs", "skip_existing", "preserve_times")
    )
    naming = OutputNames(
        mark=target.mark if given["suffix"] is None else given["suffix"],
        format=format,
        output=None if output is None else Path(output),
        output_folder=output is not None and ends_like_a_folder(output),
        recursive=given["recursive"],
    )
    return options, naming


def _batch(given: dict[str, Any]) -> "JournalOptions":
    from a2f.cli.journaled import JournalOptions, shard_of

    return JournalOptions(
        journal=None if given["journal"] is None else Path(given["journal"]),
        resume=given["resume"],
        retry_failed=given["retry_failed"],
        address=given["output"] if "://" in (given["output"] or "") else None,
        quarantine=None if given["quarantine"] is None else Path(given["quarantine"]),
        watch=given["watch"],
        settle_s=given["settle"],
        shard=None if given["shard"] is None else shard_of(given["shard"]),
        cluster=None if given["ray"] is None else _cluster(given),
    )


def _cluster(given: dict[str, Any]) -> "ClusterOptions":
    from a2f.cli.cluster import ClusterOptions

    return ClusterOptions(address=given["ray"], cpus=given["ray_cpus"], gpus=given["ray_gpus"])


def _target(given: dict[str, Any]) -> "Target":
    from a2f.sizes import Target
    from a2f.weights import is_file_name, read_weights

    scale, names = given["scale"], ("width", "height", "size", "max_side")
    sizes = [f"--{name.replace('_', '-')}" for name in names if given[name] is not None]
    if scale is not None and sizes:
        raise click.UsageError(f"-s and {sizes[0]} exclude each other: give only one of them")
    if len(sizes) > 1:
        raise click.UsageError(f"{' and '.join(sizes)} exclude each other: give only one of them")
    if scale is None:
        scale = read_weights(given["model"]).config.scale if is_file_name(given["model"]) else 4
    elif scale not in (2, 3, 4):
        raise click.UsageError(
            f"-s {scale}: choose 2, 3 or 4; for other sizes use --width, --height, --size or --max-side"
        )
    return Target(scale=scale, **{name: given[name] for name in names})
