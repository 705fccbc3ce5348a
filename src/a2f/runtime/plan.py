"""How an image runs within a number of bytes: whole, in tiles, or in pieces. A plan is a value; the run carries it out.

Everything that a run takes is estimated here, and nowhere else.
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

TILE_AREA_PX = 8192  # of an automatic tile: its 128 hidden channels, 4 MB, stay in the cache
WIDEST_PX = 512
MOST_BAND_ROWS = 256
LEAST_PX = 4  # of a tile's side: no halo reaches further (3, of a head with 7x7 kernels)

PIECE_PX = 1_000_000  # of a piece: more gains nothing
LEAST_PIECE_PX = 32  # of a piece's side
PIECE_SESSION_BYTES = 25 * 2**20

WINDOW_PX = 128  # side of a window of the sample that gives the gates of pieces
GRID = 4  # windows in each direction
WHOLE_SAMPLE_PX = 2 * WINDOW_PX**2  # an image of so many pixels is its own sample


@dataclass(frozen=True, kw_only=True)
class Tiles:
    """Block by block, each in tiles, with the gates of the whole image.

    Attributes:
        tile_height: LR pixels.
        tile_width: LR pixels.
        band_rows: LR rows of what is yielded at a time, and in memory at a time if the features lie in a file.
        in_file: whether the features lie in a temporary file.
        needed_bytes: about what the run takes.
    """

    tile_height: int
    tile_width: int
    band_rows: int
    in_file: bool
    needed_bytes: int = 0


@dataclass(frozen=True, kw_only=True)
class Pieces:
    """In pieces, each in one graph with all the pixels that it depends on; the gates come from a sample.

    Attributes:
        height: of a piece, LR pixels, without what it depends on around it.
        width: of a piece, LR pixels.
        needed_bytes: about what the run takes.
    """

    height: int
    width: int
    needed_bytes: int = 0


@dataclass(frozen=True, kw_only=True)
class Whole:
    """In one graph.

    Attributes:
        needed_bytes: about what the run takes.
        otherwise: how the image runs if the device turns out to have too little memory; None where it cannot.
    """

    needed_bytes: int = 0
    otherwise: Tiles | Pieces | None = None


class Plan(Protocol):
    """How one engine runs an image: a value that its `plan` makes and its `run` carries out."""

    @property
    def needed_bytes(self) -> int:
        """About what the run takes."""
        ...


def whole_bytes(config: A2FConfig, *, height: int, width: int) -> int:
    """About what enlarging one image whole, in one graph, takes.

    Fitted to the peak memory of the engines on images of 0.5 to 2 megapixels at x2 and x4, within 10 %.

    Args:
        config: the network.
        height: of the LR image, pixels.
        width: of the LR image, pixels.
    """
    per_pixel = config.channels * (config.blocks + 1) + 1.4 * config.hidden + 7.1 * 3 * config.scale**2
    return int(4 * per_pixel * height * width)


def torch_whole_bytes(config: A2FConfig, *, height: int, width: int) -> int:
    """About what one image takes in PyTorch, which concatenates features; at most 1.6 times as much as elsewhere.

    Peaks were 393 to 1,385 floats a pixel (S, SD, L at x2 and x4, half a megapixel), up to 750 in bfloat16 (SD x2).
    """
    features, result = config.channels * (config.blocks + 1), 3 * config.scale**2
    per_pixel = features + max(features, 3.5 * config.hidden) + 7.1 * result
    return int(4 * per_pixel * height * width)


def arrays_bytes(config: A2FConfig, *, height: int, width: int) -> int:
    """What a run on another device takes of the CPU's memory: the image and its result, twice at times."""
    return 2 * 4 * 3 * (1 + config.scale**2) * height * width


def plan_tiles(net: Folded, size: Size, budget: int, *, threads: int, tile_px: int = 0) -> Tiles | None:
    """The quickest tiles that fit.

    Args:
        net: folded.
        size: width and height of the LR image.
        budget: bytes that the run may take.
        threads: tiles at a time.
        tile_px: side of a tile, LR pixels; 0 chooses.

    Returns:
        None if not even the smallest tiles fit.
    """
    for plan in _tiles(net, size, threads, tile_px):
        if plan.needed_bytes <= budget:
            row = _row_bytes(net, size[0], in_file=plan.in_file)
            spare = (budget - plan.needed_bytes) // row
            rows = max(plan.tile_height, min(MOST_BAND_ROWS, plan.tile_height + spare))
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
    columns = -(-width // WIDEST_PX)
    across = -(-width // columns)
    rows = max(1, min(height, TILE_AREA_PX // across))
    if columns * -(-height // rows) < 2 * threads:  # a small image: something for each thread
        rows = max(min(height, 8), -(-height // (2 * threads)))
    return Tiles(tile_height=rows, tile_width=across, band_rows=rows, in_file=False)


def _halvings(rows: int) -> list[int]:
    found = [rows]
    while found[-1] > LEAST_PX:
        found.append(max(LEAST_PX, found[-1] // 2))
    return found


def _estimated(net: Folded, plan: Tiles, size: Size, threads: int) -> Tiles:
    """The plan with about what it takes: sessions, features, tiles at work and bands."""
    width, height = size
    features = 0 if plan.in_file else 4 * slots_of(net) * net.config.channels * height * width
    bands = (plan.band_rows + 2 * BLOCK_HALO_PX) * _row_bytes(net, width, in_file=plan.in_file)
    return replace(plan, needed_bytes=session_bytes(net) + features + threads * _tile_bytes(net, plan) + bands)


def session_bytes(net: Folded) -> int:
    """About what the opened steps of a network take."""
    return 2**20 * (20 + 2 * len(net.blocks))


def _tile_bytes(net: Folded, plan: Tiles) -> int:
    c, s = net.config.channels, net.config.scale
    area = (plan.tile_height + 2 * BLOCK_HALO_PX) * (plan.tile_width + 2 * BLOCK_HALO_PX)
    return 4 * area * (2 * net.config.hidden + 2 * (slots_of(net) + 4) * c + 6 * s * s)


def _row_bytes(net: Folded, width: int, *, in_file: bool) -> int:
    """A row of a band: of the result, and what was read of the file."""
    kept = 4 * (2 * slots_of(net) + 2) * net.config.channels if in_file else 0
    return _result_row_bytes(net.config.scale, width) + width * kept


def _result_row_bytes(scale: int, width: int) -> int:
    """An LR row of a band of the result: in float, as integers, what rounding and handing over need."""
    return width * (3 * scale**2 * 20 + 48)


def plan_pieces(net: Folded, size: Size, budget: int, *, threads: int, tile_px: int = 0) -> Pieces | None:
    """The largest pieces that fit, as wide as the image if they can be.

    Args:
        net: folded.
        size: width and height of the LR image.
        budget: bytes that the run may take.
        threads: windows at a time, for the gates.
        tile_px: side of a piece, LR pixels, which is not changed; 0 chooses.

    Returns:
        None if not even the smallest pieces fit.
    """
    width, height = size
    if tile_px:
        return piece(net, min(tile_px, height), min(tile_px, width), size, threads=threads)
    halo = net.config.receptive_radius_px
    for columns in range(1, 1 + -(-width // LEAST_PIECE_PX)):
        across = -(-width // columns)
        rows = min(height, max(LEAST_PIECE_PX, PIECE_PX // across))
        plan = piece(net, rows, across, size, threads=threads)
        while rows > LEAST_PIECE_PX and plan.needed_bytes > budget:
            rows = max(LEAST_PIECE_PX, rows * 3 // 4)
            plan = piece(net, rows, across, size, threads=threads)
        if plan.needed_bytes <= budget and (rows >= min(height, 3 * halo) or across <= rows):
            return plan
    smallest = smallest_pieces(net, size, threads=threads)
    return smallest if smallest.needed_bytes <= budget else None


def smallest_pieces(net: Folded, size: Size, *, threads: int) -> Pieces:
    """The pieces that take the least; arguments as `plan_pieces`."""
    return piece(net, LEAST_PIECE_PX, LEAST_PIECE_PX, size, threads=threads)


def piece(net: Folded, rows: int, across: int, size: Size, *, threads: int) -> Pieces:
    """Pieces of so many rows and columns, with about what they take; other arguments as `plan_pieces`."""
    width, height = size
    halo = net.config.receptive_radius_px
    tall, wide = min(height, rows + 2 * halo), min(width, across + 2 * halo)
    graph = PIECE_SESSION_BYTES + whole_bytes(net.config, height=tall, width=wide)
    needed = graph + sample_bytes(net, threads) + rows * _result_row_bytes(net.config.scale, width)
    return Pieces(height=rows, width=across, needed_bytes=needed)


def sample_bytes(net: Folded, threads: int) -> int:
    """About what the sample takes that gives the gates of pieces: the features of all windows, and windows at work."""
    config, slots = net.config, slots_of(net)
    kept = int(1.3 * GRID**2 * WINDOW_PX**2 * 4 * (slots + 1) * config.channels)
    at_work = max(WHOLE_SAMPLE_PX, threads * WINDOW_PX**2) * 4 * (2 * config.hidden + 2 * slots * config.channels)
    return session_bytes(net) + kept + at_work
