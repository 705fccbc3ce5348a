"""What a batch would do, without doing it."""

import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from a2f.cli.batch import Runner
from a2f.cli.inputs import STDIN, Task
from a2f.errors import A2FError
from a2f.imageio import estimate_jpeg_quality
from a2f.imageio.read import size_of_file
from a2f.sizes import Size
from a2f.weights import pass_models

PROBE_PX = 160  # side of the image on which the network is timed
BYTES_PX = 3  # of a pixel before it is compressed; formats with alpha or 16 bits take more


def told(runner: Runner, tasks: list[Task]) -> Iterator[tuple[str, A2FError | None]]:
    """A line for each image, and one for all; with the error of an image that could not be done.

    The size of the files is that of the pixels, which compression makes smaller; the time is that of the network on
    what it is given, measured here on a small image.

    Args:
        runner: whose options and engines would do the work.
        tasks: of `plan`.
    """
    given_px: dict[tuple[int, str], int] = {}  # by scale and model, what the network is given
    made_px = 0
    for task in tasks:
        try:
            size, final, scales = _sizes(runner, task)
        except A2FError as error:
            yield f"{task.source}: {error}", error
            continue
        there = os.path.lexists(task.target) and task.target != STDIN
        left = there and runner.options.skip_existing
        note = " (exists)" if there else ""
        yield f"{task.source} -> {task.target} ({_text(size)} -> {_text(final)}){note}", None
        if left:
            continue
        made_px += final[0] * final[1]
        models = pass_models(runner.options.model, scales, jpeg_quality=estimate_jpeg_quality(task.source))
        for number, which in enumerate(zip(scales, models, strict=True)):
            before = size[0] * size[1] * (scales[0] ** 2 if number else 1)
            given_px[which] = given_px.get(which, 0) + before
    seconds = sum(_seconds_px(runner, *which) * count for which, count in given_px.items()) / runner.jobs
    free = _free(tasks)
    yield (
        (
            f"{len(tasks)} image(s), {made_px / 1e6:,.1f} million pixels: about {seconds / 60:,.1f} minutes here, "
            f"{made_px * BYTES_PX / 1e6:,.0f} MB before compression{free}"
        ),
        None,
    )


def _sizes(runner: Runner, task: Task) -> tuple[Size, Size, tuple[int, ...]]:
    if task.failure is not None:
        raise task.failure
    target = runner.request.target
    size = size_of_file(task.source)
    final = target.exact(size) or (size[0] * target.scale, size[1] * target.scale)
    return size, final, runner.models.scales_for(size, target)


def _seconds_px(runner: Runner, scale: int, model: str) -> float:
    """How long the network takes for a pixel that it is given."""
    import numpy as np

    image = np.zeros((PROBE_PX, PROBE_PX, 3), np.float32)
    engine = runner.upscalers.open(model, scale)
    engine(image)  # the first run is slower
    began = time.perf_counter()
    engine(image)
    return (time.perf_counter() - began) / PROBE_PX**2


def _free(tasks: list[Task]) -> str:
    folder = tasks[0].target.absolute().parent
    while not folder.exists():
        folder = folder.parent
    return f"; {shutil.disk_usage(folder).free / 1e6:,.0f} MB are free in {_short(folder)}"


def _short(folder: Path) -> str:
    return "this folder" if folder == Path.cwd() else str(folder)


def _text(size: Size) -> str:
    return f"{size[0]} x {size[1]}"
