"""The runs of networks that one enlargement takes, all planned within the memory before anything is computed."""

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

MIXED_BYTES = 28  # of a pixel whose colour is filled from what is visible around it: float copies, smaller images
ALPHA_BYTES = 20  # of a pixel of enlarged alpha while it is made: two planes, bounds, bands


@dataclass(frozen=True, kw_only=True)
class Workload:
    """What an enlargement computes, as far as its memory depends on it.

    Attributes:
        given: width and height of the image, pixels.
        channels: 1 to 4.
        itemsize: bytes of a value, as it is given and as it comes out.
        alpha: "none", also for opaque alpha; "soft", which belongs to the colours; "data", which has nothing to do with
            them.
        resized: exact width and height of the result; None where the factor of the passes says it.
        held_bytes: of memory that the caller comes to hold meanwhile: an encoder, the result.
    """

    given: Size
    channels: int
    itemsize: int
    alpha: Literal["none", "soft", "data"]
    resized: Size | None
    held_bytes: int


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run of a network, planned.

    Attributes:
        engine: of the network.
        plan: how it runs.
        control: watches this run, and ends it.
    """

    engine: Engine
    plan: Plan
    control: Control

    def bands(self, image: NDArray[Any]) -> Iterator[NDArray[np.float32]]:
        """The enlarged image, [rows, scale * W, 3] at a time."""
        return self.engine.run(image, self.plan, self.control)


@dataclass(frozen=True, kw_only=True)
class Runs:
    """All runs of an enlargement, in their order: first those of alpha, then those of the colours.

    Attributes:
        alpha: a run for each pass; none where alpha is opaque, or there is none.
        colours: a run for each pass.
    """

    alpha: tuple[Run, ...]
    colours: tuple[Run, ...]


@contextmanager
def planned(work: Workload, engines: Sequence[Engine], *, what: str, control: Control) -> Iterator[Runs]:
    """Plan all runs of an enlargement, and hold the memory for them.

    Args:
        work: what is computed.
        engines: of the passes, in order.
        what: is enlarged, for errors.
        control: watches all of the work; it ends the waiting for memory that others hold, too.

    Raises:
        MemoryLimitError: if the memory does not suffice; says the least that works.
        Cancelled: if it is cancelled while it waits.
    """
    stages = _stages(work, engines)
    budgets = {id(engine): engine.memory.budget() for engine in engines}
    shortages = [engine.least_bytes(size) + held - budgets[id(engine)] for engine, size, held in stages]
    if shortages and max(shortages) > 0:
        short = max(shortages)
        engine = stages[shortages.index(short)][0]
        raise engine.memory.error(what, short, ways_out=engine.ways_out)
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
        for _, memory in sorted(memories.items()):  # in one order, or two threads could wait for each other
            stack.enter_context(memory.take(needed, control))
        yield Runs(alpha=tuple(runs[:before]), colours=tuple(runs[before:]))


def enlarged_size(size: Size, passes: Sequence[Upscaler]) -> Size:
    """Width and height behind all passes."""
    factor = math.prod(upscaler.scale for upscaler in passes)
    return size[0] * factor, size[1] * factor


def _stages(work: Workload, engines: Sequence[Engine]) -> list[tuple[Engine, Size, int]]:
    """Each run: who runs, on what size, and the bytes that are held meanwhile."""
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
    """The enlarged alpha while the colours are made: resized with them if it belongs to them, otherwise finished."""
    if work.resized is None:
        return work.itemsize * made_px
    return 4 * made_px if work.alpha == "soft" else work.itemsize * _area(work.resized)


def _resizing_bytes(work: Workload, made: Size) -> int:
    if work.resized is None:
        return 0
    return resampling_bytes(made, work.resized, channels=7 if work.alpha == "soft" else 3)


def _shares(work: list[int], control: Control) -> list[Control]:
    """The control of each run, by its share of the work."""
    total, done, found = sum(work), 0, []
    for one in work:
        found.append(control.part(done / total, (done + one) / total))
        done += one
    return found


def _area(size: Size) -> int:
    return size[0] * size[1]
