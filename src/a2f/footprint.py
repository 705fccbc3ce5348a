"""Plan all network runs of an enlargement within the memory limit, before anything is computed."""

import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from a2f.resample import resampling_bytes
from a2f.runtime.engine import Engine
from a2f.runtime.plan import Plan
from a2f.sizes import Size
from a2f.upscaler import Control, Upscaler

MIXED_BYTES = 28  # per pixel of an image whose transparent pixels are filled: float copies, smaller images
ALPHA_BYTES = 20  # per pixel of enlarged alpha while it is made: two planes, bounds, bands


@dataclass(frozen=True, kw_only=True)
class Workload:
    """The properties of an enlargement that decide its memory.

    Attributes:
        given: width and height of the image, pixels.
        channels: 1 to 4.
        itemsize: bytes of one value of the input and of the output.
        alpha: "none", also for opaque alpha; "soft": alpha that belongs to the colours; "data": a channel independent
            of the colours.
        resized: exact width and height of the result; None if the factor of the passes gives the size.
        held_bytes: memory that the caller holds during the work: an encoder, the result.
    """

    given: Size
    channels: int
    itemsize: int
    alpha: Literal["none", "soft", "data"]
    resized: Size | None
    held_bytes: int


@dataclass(frozen=True, kw_only=True)
class Run:
    """One planned run of a network.

    Attributes:
        engine: runs the network.
        plan: how the engine runs.
        control: progress and cancellation of this run.
    """

    engine: Engine
    plan: Plan
    control: Control

    def bands(self, image: NDArray[Any]) -> Iterator[NDArray[np.float32]]:
        """The enlarged image, [rows, scale * W, 3] at a time."""
        return self.engine.run(image, self.plan, self.control)


@dataclass(frozen=True, kw_only=True)
class Runs:
    """All runs of an enlargement, in order: first the runs for alpha, then the runs for the colours.

    Attributes:
        alpha: one run per pass; empty if alpha is opaque or missing.
        colours: one run per pass.
    """

    alpha: tuple[Run, ...]
    colours: tuple[Run, ...]


@contextmanager
def planned(work: Workload, engines: Sequence[Engine], *, what: str, control: Control) -> Iterator[Runs]:
    """Plan all runs of an enlargement and reserve their memory.

    Args:
        work: the properties of the enlargement.
        engines: one per pass, in order.
        what: description of the image, for errors.
        control: progress and cancellation of all runs, also while this call waits for memory.

    Raises:
        MemoryLimitError: if there is too little memory; the message has the least that works.
        Cancelled: if it is cancelled while it waits for memory.
    """
    stages = _stages(work, engines)
    budgets = {id(engine): engine.memory.budget() for engine in engines}
    shortages = [engine.min_bytes(size) + held - budgets[id(engine)] for engine, size, held in stages]
    if shortages and max(shortages) > 0:
        short = max(shortages)
        engine = stages[shortages.index(short)][0]
        raise engine.memory.error(what, short, memory_hints=engine.memory_hints)
    plans = [engine.plan(size, budgets[id(engine)] - held) for engine, size, held in stages]
    needed = max((plan.needed_bytes + held for plan, (_, _, held) in zip(plans, stages, strict=True)), default=0)
    controls = _shares([size[0] * size[1] for _, size, _ in stages], control)
    runs = [
        Run(engine=engine, plan=plan, control=part)
        for (engine, _, _), plan, part in zip(stages, plans, controls, strict=True)
    ]
    before = len(runs) - len(engines)
    with ExitStack() as stack:
        memories = {id(engine.memory): engine.memory for engine in engines}
        for _, memory in sorted(memories.items()):  # in a fixed order, so that two threads never wait for each other
            stack.enter_context(memory.take(needed, control))
        yield Runs(alpha=tuple(runs[:before]), colours=tuple(runs[before:]))


def enlarged_size(size: Size, passes: Sequence[Upscaler]) -> Size:
    """Width and height after all passes."""
    factor = math.prod(upscaler.scale for upscaler in passes)
    return size[0] * factor, size[1] * factor


def _stages(work: Workload, engines: Sequence[Engine]) -> list[tuple[Engine, Size, int]]:
    """The engine, the image size and the bytes held during the run, for each run."""
    sizes = [enlarged_size(work.given, engines[:number]) for number in range(len(engines) + 1)]
    given_px, made_px = _area(sizes[0]), _area(sizes[-1])
    found, held = [], work.held_bytes
    if work.alpha != "none":
        found += [
            (e, size, held + ALPHA_BYTES * _area(size) * e.scale**2) for e, size in zip(engines, sizes, strict=False)
        ]
        held += _alpha_bytes(work, made_px)
    for number, engine in enumerate(engines):
        last = number == len(engines) - 1
        if number:
            source = 12 * _area(sizes[number])
        elif work.alpha == "soft":
            source = MIXED_BYTES * given_px
        else:
            source = 3 * work.itemsize * given_px if work.channels < 3 else 0
        made = _resizing_bytes(work, sizes[-1]) if last else 12 * _area(sizes[number + 1])
        found.append((engine, sizes[number], held + source + made))
    return found


def _alpha_bytes(work: Workload, made_px: int) -> int:
    """Memory of the enlarged alpha while the colours are made; alpha that belongs to them is not resized yet."""
    if work.resized is None:
        return work.itemsize * made_px
    return 4 * made_px if work.alpha == "soft" else work.itemsize * _area(work.resized)


def _resizing_bytes(work: Workload, made: Size) -> int:
    if work.resized is None:
        return 0
    return resampling_bytes(made, work.resized, channels=7 if work.alpha == "soft" else 3)


def _shares(work: list[int], control: Control) -> list[Control]:
    """A control for each run that reports its share of the whole work."""
    total, done, found = sum(work), 0, []
    for one in work:
        found.append(control.part(done / total, (done + one) / total))
        done += one
    return found


def _area(size: Size) -> int:
    return size[0] * size[1]
