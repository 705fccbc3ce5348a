"""Dry run: show what a batch would do."""

import os
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import click

from a2f.cli.batch import Runner, exists_already
from a2f.cli.console import error_text, json_line, printable
from a2f.cli.inputs import STDIN, Task
from a2f.cli.report import exit_code_of
from a2f.errors import A2FError, OutputExistsError, UsageError, count_of
from a2f.imageio import estimate_jpeg_quality
from a2f.imageio.header import size_of_file
from a2f.pipeline import BOOK, check_output, skip_reason_of
from a2f.sizes import Size
from a2f.weights import pass_models

PROBE_PX = 160  # side of the image for the time measurement
BYTES_PX = 3  # per pixel without compression; formats with alpha or 16 bits need more


@dataclass(frozen=True, kw_only=True)
class Planned:
    """The planned result of one image.

    Attributes:
        task: the task.
        status: "planned", "skipped" or "failed".
        given: width and height of the image.
        final: width and height of the result.
        scales: scales of the network passes.
        models: models of the network passes.
        jpeg_quality: estimated JPEG quality of the image; None if it is no JPEG or unknown.
        replaces: whether an existing output would be replaced.
        note: reason for skipping it.
        error: the expected error.
    """

    task: Task
    status: Literal["planned", "skipped", "failed"]
    given: Size = (0, 0)
    final: Size = (0, 0)
    scales: tuple[int, ...] = ()
    models: tuple[str, ...] = ()
    jpeg_quality: int | None = None
    replaces: bool = False
    note: str = ""
    error: A2FError | None = None


def dry_run(runner: Runner, tasks: Sequence[Task], *, as_json: bool, verbose: bool) -> int:
    """Print the planned result of each image, and the total time and disk space.

    The disk space is that of the uncompressed pixels. The time is that of the network, measured on a small image.

    Args:
        runner: runner with the options and engines.
        tasks: result of `find_tasks`.
        as_json: print one JSON object per line on standard output; errors and the total go to standard error.
        verbose: also print the model of each image and the engines.

    Returns:
        The expected exit code of the real run.
    """
    planned = []
    for task in tasks:
        one = _planned(runner, task)
        planned.append(one)
        if not as_json:
            click.echo(printable(_line(one, verbose=verbose)))
            continue
        click.echo(json_line(_record(one)))
        if one.error is not None:
            click.echo(f"error: {printable(_line(one, verbose=False))}", err=True)
    click.echo(printable(_sum(runner, planned)), err=as_json)
    if verbose:
        for description in runner.upscalers.descriptions():
            click.echo(printable(description), err=True)
    errors = [one.error for one in planned if one.error is not None]
    return exit_code_of(errors, others=len(planned) - len(errors))


def _planned(runner: Runner, task: Task) -> Planned:
    try:
        return _checked(runner, task)
    except OutputExistsError:
        return Planned(task=task, status="failed", error=exists_already(task))
    except A2FError as error:
        return Planned(task=task, status="failed", error=error)


def _checked(runner: Runner, task: Task) -> Planned:
    """Check an image like the real run, without decoding its pixels."""
    if task.failure is not None:
        raise task.failure
    there = task.target != STDIN and os.path.lexists(task.target)
    if there and runner.options.skip_existing and not task.replace:
        return Planned(task=task, status="skipped", note=f"{task.target} exists, skipped")
    if task.source.suffix.lower() == BOOK:
        raise UsageError(f"{task.source}: --dry-run does not support comic books")
    if task.target != STDIN:
        request = replace(runner.request, overwrite=True) if task.replace else runner.request
        check_output(task.source, task.target, request)
    target, given = runner.request.target, size_of_file(task.source)
    final = target.final(given)
    if told := skip_reason_of(given, runner.request, str(task.source)):
        return Planned(task=task, status="skipped", given=given, final=final, note=told)
    scales = target.scales(given, available=runner.models.scales)
    quality = estimate_jpeg_quality(task.source)
    return Planned(
        task=task,
        status="planned",
        given=given,
        final=final,
        scales=scales,
        models=tuple(pass_models(runner.options.model, scales, jpeg_quality=quality)),
        jpeg_quality=quality,
        replaces=there,
    )


def _line(one: Planned, *, verbose: bool) -> str:
    if one.error is not None:
        said = error_text(one.error)
        named = one.task.source.name in said or one.task.target.name in said
        return said if named else f"{one.task.source}: {said}"
    if one.status == "skipped":
        return one.note
    passes = zip(one.models, one.scales, strict=True)
    how = f", {' then '.join(f'{model} x{scale}' for model, scale in passes) or 'only resized'}" if verbose else ""
    existing = "its earlier result" if one.task.replace else "an existing file"
    replaces = f" (replaces {existing})" if one.replaces else ""
    why = f": {one.task.reason}" if one.task.reason else ""
    return f"{one.task.source} -> {one.task.target} ({_text(one.given)} -> {_text(one.final)}{how}){replaces}{why}"


def _record(one: Planned) -> dict[str, Any]:
    """The keys of ``a2f upscale --json``, without the time."""
    reason = {} if one.task.reason is None else {"reason": one.task.reason}
    return {
        "input": str(one.task.source),
        "output": None if one.status == "failed" else str(one.task.target),
        "status": one.status,
        "width": one.final[0] if one.status == "planned" else None,
        "height": one.final[1] if one.status == "planned" else None,
        "model": one.models[0] if one.models else None,
        "jpeg_quality": one.jpeg_quality,
        "error": None if one.error is None else error_text(one.error),
        "notes": [one.note] if one.note else [],
        **reason,
    }


def _sum(runner: Runner, planned: Sequence[Planned]) -> str:
    given_px: dict[tuple[int, str], int] = {}  # input pixels by scale and model
    todo = [one for one in planned if one.status == "planned"]
    for one in todo:
        for number, which in enumerate(zip(one.scales, one.models, strict=True)):
            before = one.given[0] * one.given[1] * (one.scales[0] ** 2 if number else 1)
            given_px[which] = given_px.get(which, 0) + before
    seconds = sum(_seconds_px(runner, *which) * count for which, count in given_px.items()) / runner.jobs
    made_px = sum(one.final[0] * one.final[1] for one in todo)
    counts = [f"{len(todo)} of {count_of(len(planned), 'image')} to enlarge"]
    for status in ("skipped", "failed"):
        number = sum(one.status == status for one in planned)
        counts += [f"{number} {'skipped' if status == 'skipped' else 'would fail'}"] if number else []
    return (
        f"{', '.join(counts)}: {_pixels_text(made_px)}, {time_text(seconds)} here, "
        f"{_bytes_text(made_px * BYTES_PX)} before compression{_free(planned[0].task)}"
    )


def _pixels_text(count: int) -> str:
    return f"{count / 1e6:,.1f} million pixels" if count >= 1e5 else count_of(count, "pixel")


def _bytes_text(count: int) -> str:
    return f"{count / 1e6:,.0f} MB" if count >= 1e6 else f"{count / 1e3:,.0f} kB"


def time_text(seconds: float) -> str:
    """Format a time in a suitable unit."""
    if seconds < 1:
        return "less than a second"
    if seconds < 90:
        return f"about {seconds:.0f} second{'s' if seconds >= 1.5 else ''}"
    return f"about {seconds / 60:,.0f} minutes" if seconds < 90 * 60 else f"about {seconds / 3600:,.1f} hours"


def _seconds_px(runner: Runner, scale: int, model: str) -> float:
    """The time of the network per input pixel, seconds."""
    import numpy as np

    image = np.zeros((PROBE_PX, PROBE_PX, 3), np.float32)
    engine = runner.upscalers.open(model, scale)
    engine(image)  # the first run is slower
    began = time.perf_counter()
    engine(image)
    return (time.perf_counter() - began) / PROBE_PX**2


def _free(task: Task) -> str:
    folder = task.target.absolute().parent
    while not folder.exists():
        folder = folder.parent
    return f"; {_bytes_text(shutil.disk_usage(folder).free)} are free on the disk of the results"


def _text(size: Size) -> str:
    return f"{size[0]} x {size[1]}"
