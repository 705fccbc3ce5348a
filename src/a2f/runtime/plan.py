"""How an image is cut into tiles and bands so that it fits into memory."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Literal, get_args

from a2f.errors import MemoryLimitError, UsageError
from a2f.export.fold import Folded
from a2f.export.steps import BLOCK_HALO_PX, slots_of
from a2f.runtime.memory import available_bytes, resident_bytes

Gates = Literal["auto", "exact", "sampled"]
TILE_AREA_PX = 8192  # of an automatic tile: its 128 hidden channels, 4 MB, stay in the cache
WIDEST_PX = 512
MOST_BAND_ROWS = 256
LEAST_PX = 4  # of a tile's side: no halo reaches further (3, of a head with 7x7 kernels)


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a run may take.

    Attributes:
        tile_px: side of a tile, LR pixels; 0 chooses.
        max_memory_bytes: of the whole process; None takes up to half of what is free.
        jobs: images at a time, which share that.
        gates: of images that do not fit whole: "exact" pools over the whole image (Eq. 7); "sampled" over windows
            spread over it, which is quicker, keeps no features and changes a few pixels by a grey level
            (docs/decisions/tiling.md); "auto" is exact for onnxruntime and sampled for openvino.
        alone: whether no other engine of the process lives within the same `max_memory_bytes`: what one engine keeps
            between images, for speed, another one cannot take.
    """

    tile_px: int = 0
    max_memory_bytes: int | None = None
    jobs: int = 1
    gates: Gates = "auto"
    alone: bool = True

    def __post_init__(self) -> None:
        for name in ("tile_px", "max_memory_bytes", "jobs"):
            value = getattr(self, name)
            if value is not None and not isinstance(value, int):
                raise UsageError(f"{name} = {value!r}: a whole number is needed")
        if self.gates not in get_args(Gates):
            raise UsageError(f"gates = {self.gates!r}: choose {', '.join(get_args(Gates))}")
        if self.tile_px != 0 and self.tile_px < LEAST_PX:
            raise UsageError(f"a tile of {self.tile_px} pixels: at least {LEAST_PX}, or 0 to choose")
        if self.max_memory_bytes is not None and self.max_memory_bytes < 1:
            raise UsageError(f"{self.max_memory_bytes} bytes of memory: at least 1")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How an image is cut.

    Attributes:
        tile_height: LR pixels.
        tile_width: LR pixels.
        band_rows: LR rows that are in memory at a time, if the features lie in a file; of what is yielded at a time.
        in_file: whether they do.
    """

    tile_height: int
    tile_width: int
    band_rows: int
    in_file: bool


def make_plan(net: Folded, *, height: int, width: int, threads: int, limits: Limits, taken_bytes: int = 0) -> Plan:
    """Cut an image.

    Args:
        net: folded.
        height: of the LR image, pixels.
        width: of the LR image, pixels.
        threads: tiles at a time.
        limits: what it may take.
        taken_bytes: what the caller holds of the image besides, while it runs.

    Raises:
        MemoryLimitError: if not even the smallest tile fits; says the least that works.
    """
    budget = budget_bytes(limits, taken_bytes)
    wanted = _tile(height, width, threads, limits.tile_px)
    least = 0
    for plan in _plans(wanted, limits):
        least = needed_bytes(net, plan, height=height, width=width, threads=threads)
        if budget is None or least <= budget:
            row = _row_bytes(net, width, in_file=plan.in_file)
            spare = MOST_BAND_ROWS if budget is None else (budget - least) // row
            rows = plan.tile_height
            return replace(plan, band_rows=max(rows, min(MOST_BAND_ROWS, rows + spare)))
    if not may_refuse():
        return plan
    what = f"{width} x {height} pixels at x{net.config.scale}"
    raise too_little(what, least - (budget or 0), limits, budget, tiled=True)


def least_bytes(net: Folded, *, height: int, width: int, threads: int, limits: Limits) -> int:
    """What the smallest plan takes; arguments as `make_plan`."""
    *_, smallest = _plans(_tile(height, width, threads, limits.tile_px), limits)
    return needed_bytes(net, smallest, height=height, width=width, threads=threads)


def retained_bytes(net: Folded, *, height: int, width: int, threads: int, limits: Limits) -> int:
    """What a run, however small its tiles, leaves with the engine for the next one; arguments as `make_plan`."""
    *_, smallest = _plans(_tile(height, width, threads, limits.tile_px), limits)
    return session_bytes(net) + threads * _tile_bytes(net, smallest)


def _plans(wanted: Plan, limits: Limits) -> Iterator[Plan]:
    """Ever smaller ones."""
    for rows in [wanted.tile_height] if limits.tile_px else _halvings(wanted.tile_height):
        for in_file in (False, True):
            yield replace(wanted, tile_height=rows, band_rows=rows, in_file=in_file)


def too_little(
    what: str, short_bytes: int, limits: Limits, budget: int | None, *, tiled: bool = False
) -> MemoryLimitError:
    """The error for what does not fit, which says the least that works.

    Args:
        what: does not fit.
        short_bytes: missing.
        limits: what was allowed.
        budget: what there is of it.
        tiled: whether smaller tiles or fewer threads would help.
    """
    total = (limits.max_memory_bytes or (budget or 0) * 2 * limits.jobs) + short_bytes * limits.jobs
    total = (total // 10**7 + 2) * 10**7  # what the process has already changes a little from run to run
    ways_out = ["a smaller --tile"] * bool(tiled and limits.tile_px) + ["fewer --threads"] * tiled
    ways_out += ["--gates exact"] * (limits.gates == "sampled")
    ways_out += ["fewer --jobs"] * (limits.jobs > 1)
    ways = f" ({' or '.join(ways_out)} need less)" if ways_out else ""
    return MemoryLimitError(
        f"{what} do not fit into the memory allowed: at least {total / 1e6:.0f} MB are needed{ways}"
    )


class Bounded:
    """What has limits.

    Args:
        limits: what a run may take.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits

    def too_little(self, what: str, short_bytes: int) -> MemoryLimitError:
        """As `BandUpscaler.too_little`."""
        return too_little(what, short_bytes, self._limits, budget_bytes(self._limits, 0))


_reserved: ContextVar[int] = ContextVar("reserved", default=0)


@contextmanager
def reserve(count: int) -> Iterator[None]:
    """Let the runs that this thread begins inside leave so many bytes to others: to encoders, to what comes after."""
    token = _reserved.set(_reserved.get() + count)
    try:
        yield
    finally:
        _reserved.reset(token)


_checked: ContextVar[bool] = ContextVar("checked", default=False)


@contextmanager
def checked() -> Iterator[None]:
    """Let the runs that this thread begins inside take the smallest plan where memory is short, and not refuse.

    For images of which it was made sure before the first of several runs that all of them fit: what one run leaves in
    the memory is not known to the byte, and nobody is helped by an error after the work.
    """
    token = _checked.set(True)
    try:
        yield
    finally:
        _checked.reset(token)


def may_refuse() -> bool:
    """Whether a run that does not fit is to end with an error; not inside `checked`."""
    return not _checked.get()


def budget_bytes(limits: Limits, taken_bytes: int) -> int | None:
    """What one image may take, besides what is reserved and the caller will hold; None where it can't be told."""
    taken = taken_bytes + _reserved.get()
    if limits.max_memory_bytes is not None:
        return (limits.max_memory_bytes - resident_bytes()) // limits.jobs - taken
    free = available_bytes()
    return None if free is None else free // (2 * limits.jobs) - taken


def needed_bytes(net: Folded, plan: Plan, *, height: int, width: int, threads: int) -> int:
    """About what a run takes, sessions, features, tiles at work and bands included."""
    features = 0 if plan.in_file else 4 * slots_of(net) * net.config.channels * height * width
    rows = plan.band_rows + 2 * BLOCK_HALO_PX
    bands = rows * _row_bytes(net, width, in_file=plan.in_file)
    return session_bytes(net) + features + threads * _tile_bytes(net, plan) + bands


def session_bytes(net: Folded) -> int:
    """About what the opened steps of a network take."""
    return 2**20 * (20 + 2 * len(net.blocks))


def _tile_bytes(net: Folded, plan: Plan) -> int:
    c, s = net.config.channels, net.config.scale
    area = (plan.tile_height + 2 * BLOCK_HALO_PX) * (plan.tile_width + 2 * BLOCK_HALO_PX)
    return 4 * area * (2 * net.config.hidden + 2 * (slots_of(net) + 4) * c + 6 * s * s)


def _row_bytes(net: Folded, width: int, *, in_file: bool) -> int:
    """Of a row of a band: of the result, and what was read of the file."""
    kept = 4 * (2 * slots_of(net) + 2) * net.config.channels if in_file else 0
    return result_row_bytes(net.config.scale, width) + width * kept


def result_row_bytes(scale: int, width: int) -> int:
    """Of an LR row of a band of the result: in float, as integers, what rounding and handing over need."""
    return width * (3 * scale**2 * 20 + 48)


def _tile(height: int, width: int, threads: int, side: int) -> Plan:
    if side:
        return Plan(tile_height=min(side, height), tile_width=min(side, width), band_rows=side, in_file=False)
    columns = -(-width // WIDEST_PX)
    across = -(-width // columns)
    rows = max(1, min(height, TILE_AREA_PX // across))
    if columns * -(-height // rows) < 2 * threads:  # a small image: something for each thread
        rows = max(min(height, 8), -(-height // (2 * threads)))
    return Plan(tile_height=rows, tile_width=across, band_rows=rows, in_file=False)


def _halvings(rows: int) -> list[int]:
    found = [rows]
    while found[-1] > LEAST_PX:
        found.append(max(LEAST_PX, found[-1] // 2))
    return found
