"""Plan how an image runs within a memory budget: whole, in tiles, or in pieces.

All estimates of memory are in this file.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal, Protocol

from a2f.export.fold import Folded
from a2f.export.graph import BLOCK_HALO_PX
from a2f.export.steps import slots_of
from a2f.variants import A2FConfig

Size = tuple[int, int]  # width, height
Gates = Literal["auto", "exact", "sampled"]

TILE_AREA_PX = 8192  # area of an automatic tile; its 128 hidden channels (4 MB) stay in the cache
MAX_TILE_WIDTH_PX = 512
MAX_BAND_ROWS = 256
MIN_TILE_PX = 4  # smallest side of a tile; no halo is wider (3, for a head with 7x7 kernels)

PIECE_PX = 1_000_000  # area of a piece; larger ones are not faster
MIN_PIECE_PX = 32  # smallest side of a piece
PIECE_SESSION_BYTES = 25 * 2**20

WINDOW_PX = 128  # side of a window; the gates of pieces are pooled over windows
GRID = 4  # windows in each direction
WHOLE_SAMPLE_PX = 2 * WINDOW_PX**2  # an image with at most so many pixels is pooled whole


@dataclass(frozen=True, kw_only=True)
class Tiles:
    """Run block by block, each block in tiles, with the gates of the whole image.

    Attributes:
        tile_height: LR pixels.
        tile_width: LR pixels.
        band_rows: LR rows of a yielded band; also the rows in memory if the features are in a file.
        in_file: whether the features are in a temporary file.
        needed_bytes: estimated memory of the run.
    """

    tile_height: int
    tile_width: int
    band_rows: int
    in_file: bool
    needed_bytes: int = 0


@dataclass(frozen=True, kw_only=True)
class Pieces:
    """Run in pieces, each in one graph with all pixels that it depends on; the gates are sampled.

    Attributes:
        height: height of a piece, LR pixels, without its halo.
        width: width of a piece, LR pixels, without its halo.
        needed_bytes: estimated memory of the run.
    """

    height: int
    width: int
    needed_bytes: int = 0


@dataclass(frozen=True, kw_only=True)
class Whole:
    """Run in one graph.

    Attributes:
        needed_bytes: estimated memory of the run.
        otherwise: the plan to use if the device has too little memory after all; None if there is none.
    """

    needed_bytes: int = 0
    otherwise: Tiles | Pieces | None = None


class Plan(Protocol):
    """How an engine runs an image: made by its `plan`, executed by its `run`."""

    @property
    def needed_bytes(self) -> int:
        """Estimated memory of the run, bytes."""
        ...


def whole_bytes(config: A2FConfig, *, height: int, width: int) -> int:
    """Estimated memory to enlarge one image in one graph, bytes.

    Fitted to the peak memory of the engines on images of 0.5 to 2 megapixels at x2 and x4, within 10 %.

    Args:
        config: the network.
        height: height of the LR image, pixels.
        width: width of the LR image, pixels.
    """
    per_pixel = config.channels * (config.blocks + 1) + 1.4 * config.hidden + 7.1 * 3 * config.scale**2
    return int(4 * per_pixel * height * width)


def torch_whole_bytes(config: A2FConfig, *, height: int, width: int) -> int:
    """Estimated memory for one image in PyTorch, which concatenates features; at most 1.6 times that of other engines.

    Peaks were 393 to 1,385 floats a pixel (S, SD, L at x2 and x4, half a megapixel), up to 750 in bfloat16 (SD x2).
    """
    features, result = config.channels * (config.blocks + 1), 3 * config.scale**2
    per_pixel = features + max(features, 3.5 * config.hidden) + 7.1 * result
    return int(4 * per_pixel * height * width)


def arrays_bytes(config: A2FConfig, *, height: int, width: int) -> int:
    """CPU memory of a run on another device, bytes: the image and its result, temporarily twice."""
    return 2 * 4 * 3 * (1 + config.scale**2) * height * width


def plan_tiles(net: Folded, size: Size, budget: int, *, threads: int, tile_px: int = 0) -> Tiles | None:
    """The fastest tiles that fit.

    Args:
        net: the folded network.
        size: width and height of the LR image.
        budget: bytes that the run may use.
        threads: number of tiles at a time.
        tile_px: side of a tile, LR pixels; 0 chooses it.

    Returns:
        None if not even the smallest tiles fit.
    """
    for plan in _tiles(net, size, threads, tile_px):
        if plan.needed_bytes <= budget:
            row = _row_bytes(net, size[0], in_file=plan.in_file)
            spare = (budget - plan.needed_bytes) // row
            rows = max(plan.tile_height, min(MAX_BAND_ROWS, plan.tile_height + spare))
            return _estimated(net, replace(plan, band_rows=rows), size, threads)
    return None


def smallest_tiles(net: Folded, size: Size, *, threads: int, tile_px: int = 0) -> Tiles:
    """The tiles that take the least; arguments as `plan_tiles`."""
    *_, smallest = _tiles(net, size, threads, tile_px)
    return smallest


def tiles_leave(net: Folded, size: Size, *, threads: int, tile_px: int = 0) -> int:
    """Bytes that a run, however small its tiles, leaves with the engine for the next; arguments as `plan_tiles`."""
    smallest = smallest_tiles(net, size, threads=threads, tile_px=tile_px)
    return session_bytes(net) + threads * _tile_bytes(net, smallest)


def _tiles(net: Folded, size: Size, threads: int, tile_px: int) -> Iterator[Tiles]:
    """Ever smaller ones."""
    wanted = _wanted_tile(size, threads, tile_px)
    for rows in [wanted.tile_height] if tile_px else _halvings(wanted.tile_height):
        for in_file in (False, True):
            yield _estimated(net, replace(wanted, tile_height=rows, band_rows=rows, in_file=in_file), size, threads)


def _wanted_tile(size: Size, threads: int, side: int) -> Tiles:
    width, height = size
    if side:
        return Tiles(tile_height=min(side, height), tile_width=min(side, width), band_rows=side, in_file=False)
    columns = -(-width // MAX_TILE_WIDTH_PX)
    across = -(-width // columns)
    rows = max(1, min(height, TILE_AREA_PX // across))
    if columns * -(-height // rows) < 2 * threads:  # a small image: something for each thread
        rows = max(min(height, 8), -(-height // (2 * threads)))
    return Tiles(tile_height=rows, tile_width=across, band_rows=rows, in_file=False)


def _halvings(rows: int) -> list[int]:
    found = [rows]
    while found[-1] > MIN_TILE_PX:
        found.append(max(MIN_TILE_PX, found[-1] // 2))
    return found


def _estimated(net: Folded, plan: Tiles, size: Size, threads: int) -> Tiles:
    """The plan with its estimated memory: sessions, features, current tiles and bands."""
    width, height = size
    features = 0 if plan.in_file else 4 * slots_of(net) * net.config.channels * height * width
    bands = (plan.band_rows + 2 * BLOCK_HALO_PX) * _row_bytes(net, width, in_file=plan.in_file)
    return replace(plan, needed_bytes=session_bytes(net) + features + threads * _tile_bytes(net, plan) + bands)


def session_bytes(net: Folded) -> int:
    """Estimated memory of the sessions of all steps, bytes."""
    return 2**20 * (20 + 2 * len(net.blocks))


def _tile_bytes(net: Folded, plan: Tiles) -> int:
    c, s = net.config.channels, net.config.scale
    area = (plan.tile_height + 2 * BLOCK_HALO_PX) * (plan.tile_width + 2 * BLOCK_HALO_PX)
    return 4 * area * (2 * net.config.hidden + 2 * (slots_of(net) + 4) * c + 6 * s * s)


def _row_bytes(net: Folded, width: int, *, in_file: bool) -> int:
    """Memory of an LR row of a band, bytes: the result, and the features that are read from the file."""
    kept = 4 * (2 * slots_of(net) + 2) * net.config.channels if in_file else 0
    return _result_row_bytes(net.config.scale, width) + width * kept


def _result_row_bytes(scale: int, width: int) -> int:
    """Memory of an LR row of the result, bytes: in float, as integers, and for rounding and encoding."""
    return width * (3 * scale**2 * 20 + 48)


def plan_pieces(net: Folded, size: Size, budget: int, *, threads: int, tile_px: int = 0) -> Pieces | None:
    """The largest pieces that fit, as wide as the image if possible.

    Args:
        net: the folded network.
        size: width and height of the LR image.
        budget: bytes that the run may use.
        threads: number of windows at a time, for the gates.
        tile_px: side of a piece, LR pixels, used as it is; 0 chooses it.

    Returns:
        None if not even the smallest pieces fit.
    """
    width, height = size
    if tile_px:
        return piece(net, min(tile_px, height), min(tile_px, width), size, threads=threads)
    halo = net.config.receptive_radius_px
    for columns in range(1, 1 + -(-width // MIN_PIECE_PX)):
        across = -(-width // columns)
        rows = min(height, max(MIN_PIECE_PX, PIECE_PX // across))
        plan = piece(net, rows, across, size, threads=threads)
        while rows > MIN_PIECE_PX and plan.needed_bytes > budget:
            rows = max(MIN_PIECE_PX, rows * 3 // 4)
            plan = piece(net, rows, across, size, threads=threads)
        if plan.needed_bytes <= budget and (rows >= min(height, 3 * halo) or across <= rows):
            return plan
    smallest = smallest_pieces(net, size, threads=threads)
    return smallest if smallest.needed_bytes <= budget else None


def smallest_pieces(net: Folded, size: Size, *, threads: int) -> Pieces:
    """The smallest pieces; for the arguments see `plan_pieces`."""
    return piece(net, MIN_PIECE_PX, MIN_PIECE_PX, size, threads=threads)


def piece(net: Folded, rows: int, across: int, size: Size, *, threads: int) -> Pieces:
    """Pieces of this many rows and columns, with their estimated memory; for the other arguments see `plan_pieces`."""
    width, height = size
    halo = net.config.receptive_radius_px
    tall, wide = min(height, rows + 2 * halo), min(width, across + 2 * halo)
    graph = PIECE_SESSION_BYTES + whole_bytes(net.config, height=tall, width=wide)
    needed = graph + sample_bytes(net, threads) + rows * _result_row_bytes(net.config.scale, width)
    return Pieces(height=rows, width=across, needed_bytes=needed)


def sample_bytes(net: Folded, threads: int) -> int:
    """Estimated memory to sample the gates, bytes: the features of all windows, and the current windows."""
    config, slots = net.config, slots_of(net)
    kept = int(1.3 * GRID**2 * WINDOW_PX**2 * 4 * (slots + 1) * config.channels)
    at_work = max(WHOLE_SAMPLE_PX, threads * WINDOW_PX**2) * 4 * (2 * config.hidden + 2 * slots * config.channels)
    return session_bytes(net) + kept + at_work
