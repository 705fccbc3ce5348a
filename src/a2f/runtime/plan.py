"""How an image is cut into tiles and bands so that it fits into memory."""

from dataclasses import dataclass, replace
from typing import Literal

from a2f.errors import EngineError, UsageError
from a2f.export.fold import Folded
from a2f.export.steps import BLOCK_HALO_PX, slots_of
from a2f.runtime.memory import available_bytes, resident_bytes

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
        gates: "exact" pools over the whole image (Eq. 7); "sampled" over windows spread over it, which needs no
            features kept, on the disk if need be, and changes the pixels (docs/decisions/tiling.md).
    """

    tile_px: int = 0
    max_memory_bytes: int | None = None
    jobs: int = 1
    gates: Literal["exact", "sampled"] = "exact"

    def __post_init__(self) -> None:
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
        EngineError: if not even the smallest tile fits; says the least that works.
    """
    budget = budget_bytes(limits, taken_bytes)
    wanted = _tile(height, width, threads, limits.tile_px)
    for rows in [wanted.tile_height] if limits.tile_px else _halvings(wanted.tile_height):
        plan = replace(wanted, tile_height=rows, band_rows=rows)
        for in_file in (False, True):
            plan = replace(plan, in_file=in_file)
            least = needed_bytes(net, plan, height=height, width=width, threads=threads)
            if budget is None or least <= budget:
                spare = (
                    MOST_BAND_ROWS if budget is None else (budget - least) // _row_bytes(net, width, in_file=in_file)
                )
                return replace(plan, band_rows=max(rows, min(MOST_BAND_ROWS, rows + spare)))
    more = least - (budget or 0)
    total = (limits.max_memory_bytes or (budget or 0) * 2) + more * limits.jobs
    total = (total // 10**7 + 2) * 10**7  # what the process has already changes a little from run to run
    way_out = "a smaller --tile, " if limits.tile_px else ""
    raise EngineError(
        f"{width} x {height} pixels at x{net.config.scale} do not fit into the memory allowed: "
        f"at least {total / 1e6:.0f} MB are needed ({way_out}fewer --threads or --jobs need less)"
    )


def budget_bytes(limits: Limits, taken_bytes: int) -> int | None:
    """What one image may take, besides what the caller holds; None where the system does not tell."""
    if limits.max_memory_bytes is not None:
        return (limits.max_memory_bytes - resident_bytes()) // limits.jobs - taken_bytes
    free = available_bytes()
    return None if free is None else free // (2 * limits.jobs) - taken_bytes


def needed_bytes(net: Folded, plan: Plan, *, height: int, width: int, threads: int) -> int:
    """About what a run takes, sessions, features, tiles at work and bands included."""
    c, s = net.config.channels, net.config.scale
    area = (plan.tile_height + 2 * BLOCK_HALO_PX) * (plan.tile_width + 2 * BLOCK_HALO_PX)
    tile = 4 * area * (2 * net.config.hidden + 2 * (slots_of(net) + 4) * c + 6 * s * s)
    features = 0 if plan.in_file else 4 * slots_of(net) * c * height * width
    sessions = 2**20 * (20 + 2 * len(net.blocks))
    rows = plan.band_rows + 2 * BLOCK_HALO_PX
    return sessions + features + threads * tile + rows * _row_bytes(net, width, in_file=plan.in_file)


def _row_bytes(net: Folded, width: int, *, in_file: bool) -> int:
    """Of a row of a band: the result in float, as integers, what rounding needs, and what was read of the file."""
    kept = 4 * (2 * slots_of(net) + 2) * net.config.channels if in_file else 0
    return width * (3 * net.config.scale**2 * 20 + 48 + kept)


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
