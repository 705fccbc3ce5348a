"""Run any image in bounded memory, with the pixels of a run of the whole image.

The gates of a block pool over the whole image (Eq. 7), so tiles on their own would compute other gates. But the mean of
p_i = sum_j W_ij x_j needs only the channel means of x_0 .. x_{i-1}: the image runs block by block, each block tile by
tile, the features kept and their means gathered on the way. A tile's halo is that of one block, two pixels, so little
is computed twice. docs/decisions/tiling.md has the measurements, and what else was tried.
"""

import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from a2f.errors import Hint
from a2f.export.builder import ALL_SIDES, Sides
from a2f.export.fold import Conv, Folded, FoldedBlock
from a2f.export.graph import BLOCK_HALO_PX
from a2f.export.steps import TAIL_HALO_PX, middle_of, slots_of
from a2f.runtime.features import FeaturesInFile, FeaturesInMemory
from a2f.runtime.plan import MIN_TILE_PX, Size, Tiles, plan_tiles, smallest_tiles, tiles_leave
from a2f.upscaler import NO_CONTROL, Control

Array = NDArray[np.float32]
Means = NDArray[np.float64]  # [C]
Step = Callable[[Mapping[str, Array]], dict[str, Array]]  # inputs by name -> outputs by name
Rows = Callable[[int, int], Array]  # top, bottom -> [3, bottom - top, W] in [0, 1]


class Mapper(Protocol):
    """`map`, or the `map` of a thread pool."""

    def __call__(self, function: Callable[[Any], Any], items: Iterable[Any], /) -> Iterable[Any]: ...  # noqa: D102


@dataclass(frozen=True)
class Tile:
    """A rectangle of LR pixels: rows top .. bottom - 1, columns left .. right - 1."""

    top: int
    left: int
    bottom: int
    right: int


class Steps:
    """The steps of one network (see `a2f.export.steps`), made at the first use; safe to share.

    Args:
        net: the folded network.
        make: makes a step, which may run in many threads at a time, from its kind ("head", "block", "exchange" or
            "tail"), the number of the block (from 1; 0 for other kinds) and the sides of the tile that are the border
            of the image.
    """

    def __init__(self, net: Folded, make: Callable[[str, int, Sides], Step]) -> None:
        self.net = net
        self._make = make
        self._opened: dict[tuple[str, int, Sides], Step] = {}
        self._lock = threading.Lock()

    def head(self, sides: Sides) -> Step:
        """The head: "lr" -> "x"."""
        return self._step("head", 0, sides)

    def block(self, number: int, sides: Sides) -> Step:
        """A block: "before", "gate" and "earlier" or "sums" -> "x" and "later"."""
        return self._step("block", number, sides)

    def exchange(self) -> Step:
        """The exchange at the middle: "features" -> "sums"."""
        return self._step("exchange", 0, ALL_SIDES)

    def tail(self, sides: Sides) -> Step:
        """The tail: "before" and "lr" -> "sr"."""
        return self._step("tail", 0, sides)

    def _step(self, kind: str, number: int, sides: Sides) -> Step:
        key = kind, number, sides
        with self._lock:
            if key not in self._opened:
                self._opened[key] = self._make(kind, number, sides)
            return self._opened[key]


def gate_of(block: FoldedBlock, means: list[Means]) -> Array:
    """The gate of a block times λ_att, [1, C, 1, 1], from the means of all features before it (Eq. 7)."""
    opened = np.ones(block.proj[0].weight.shape[0])
    if block.gate1 is not None and block.gate2 is not None:
        pooled: Means = np.sum([_at_a_point(c, m) for c, m in zip(block.proj, means, strict=True)], axis=0)
        inner = np.maximum(_at_a_point(block.gate1, pooled), 0)
        opened = (1 + np.tanh(_at_a_point(block.gate2, inner) / 2)) / 2  # the sigmoid, without overflow
    return (block.lambda_att * opened).astype(np.float32).reshape(1, -1, 1, 1)


def _at_a_point(conv: Conv, x: Means) -> Means:
    """A 1x1 convolution of C numbers, in float64."""
    y: Means = conv.weight[:, :, 0, 0].astype(np.float64) @ x
    return y if conv.bias is None else y + conv.bias


class Levels:
    """The features of one image, computed level by level; close it at the end.

    Args:
        steps: the steps of the network.
        rows: reads rows of the LR image; each is read about twice.
        size: width and height of the LR image.
        plan: the tiles.
        over: runs the tiles.
        control: progress and cancellation, checked between two tiles.
    """

    def __init__(
        self,
        steps: Steps,
        rows: Rows,
        *,
        size: Size,
        plan: Tiles,
        over: Mapper,
        control: Control = NO_CONTROL,
    ) -> None:
        self._control, self._done_px = control, 0  # pixels, summed over head, blocks and tail
        self._steps, self._net, self._rows, self._plan, self._over = steps, steps.net, rows, plan, over
        self._width, self._height = size
        self._channels, self._blocks = self._net.config.channels, len(self._net.blocks)
        self._middle = middle_of(self._net)
        kind = FeaturesInFile if plan.in_file else FeaturesInMemory
        self._features = kind(slots_of(self._net) * self._channels, self._height, self._width)

    def close(self) -> None:
        """Free the features."""
        self._features.close()

    def advance(self, number: int, gate: Array | None) -> NDArray[np.float64]:
        """Compute x_number everywhere, from x_{number-1} and before; x_0 first.

        Args:
            number: of the block, from 1; 0 for the head.
            gate: of the block times λ_att; None for the head and in a network without projection.

        Returns:
            The sums of its rows, [C, H]: sums of whole rows are the same whatever the bands and tiles.
        """
        c, first = self._channels, self._slot(number) * self._channels
        projected = self._net.config.projection
        if number == self._middle + 1 and projected:
            self._exchange()
        late = projected and number > self._middle
        last = (self._blocks - self._middle) * c if late else first + c  # of what is written
        sums: list[NDArray[np.float64]] = []
        for top, bottom in self._work_bands():
            out = self._features.buffer(first, last, top, bottom)
            if number == 0:
                self._head(out, top, bottom)
            else:
                self._block(number, gate, out, top, bottom)
            sums += self._over(_row_sums, np.array_split(out[:c], -(-(bottom - top) // 64), axis=1))
            self._features.write(first, top, out)
        return np.concatenate(sums, axis=1)

    def latest(self, number: int) -> Array:
        """x_number, [C, H, W], right after it was computed."""
        first = self._slot(number) * self._channels
        return self._features.read(first, first + self._channels, 0, self._height)

    def result(self) -> Iterator[Array]:
        """Bands of the enlarged image, [3, s * rows, s * W], from the top; call it when all blocks are computed."""
        for top, bottom in self._bands():
            yield self._tail(top, bottom)

    def _slot(self, level: int) -> int:
        """The place of x_level."""
        if not self._net.config.projection:
            return level % 2
        return level if level <= self._middle else level - self._middle - 1

    def _slot_before(self, number: int) -> int:
        """The place of x_{number-1} for a block: after the exchange, it is behind all sums."""
        at_exchange = self._net.config.projection and number == self._middle + 1
        return self._blocks - self._middle if at_exchange else self._slot(number - 1)

    def _head(self, out: Array, top: int, bottom: int) -> None:
        halo = self._net.head.weight.shape[-1] // 2
        lr, above = self._lr(top, bottom, halo)

        def one(tile: Tile) -> None:
            step = self._steps.head(self._sides(tile))
            x = step({"lr": self._cut(lr, above, tile, halo)})["x"]
            out[:, tile.top - top : tile.bottom - top, tile.left : tile.right] = x[0]

        self._each(one, top, bottom)

    def _block(self, number: int, gate: Array | None, out: Array, top: int, bottom: int) -> None:
        c, slot, read = self._channels, self._slot_before(number), self._features.read
        above = max(0, top - BLOCK_HALO_PX)
        before = read(slot * c, (slot + 1) * c, above, min(self._height, bottom + BLOCK_HALO_PX))
        inputs: dict[str, Array] = {}
        if gate is not None and number > self._middle:
            inputs["sums"] = read(self._slot(number) * c, (self._blocks - self._middle) * c, top, bottom)
        elif gate is not None and number > 1:
            inputs["earlier"] = read(0, (number - 1) * c, top, bottom)
        given = {} if gate is None else {"gate": gate}

        def one(tile: Tile) -> None:
            step = self._steps.block(number, self._sides(tile))
            tiles = {name: self._cut(x, top, tile, 0) for name, x in inputs.items()}
            made = step({"before": self._cut(before, above, tile, BLOCK_HALO_PX), **tiles, **given})
            place = out[:, tile.top - top : tile.bottom - top, tile.left : tile.right]
            place[:c] = made["x"][0]
            if "later" in made:
                place[c:] = made["later"][0]

        self._each(one, top, bottom)

    def _exchange(self) -> None:
        """Replace x_0 .. x_k by the sums for the later blocks; x_k is kept behind them."""
        c, k, features = self._channels, self._middle, self._features
        for top, bottom in self._work_bands():
            kept = features.read(0, (k + 1) * c, top, bottom)
            out = features.buffer(0, (self._blocks - k) * c, top, bottom)
            if self._slot_before(k + 1) != k:  # the sums are to lie where x_k is
                moved = features.buffer((self._blocks - k) * c, (self._blocks - k + 1) * c, top, bottom)
                moved[:] = kept[k * c :]
                features.write((self._blocks - k) * c, top, moved)

            def one(tile: Tile, kept: Array = kept, out: Array = out, top: int = top) -> None:
                sums = self._steps.exchange()({"features": self._cut(kept, top, tile, 0)})["sums"]
                out[:, tile.top - top : tile.bottom - top, tile.left : tile.right] = sums[0]

            self._each(one, top, bottom)
            features.write(0, top, out)

    def _tail(self, top: int, bottom: int) -> Array:
        c, s, slot = self._channels, self._net.config.scale, self._slot(self._blocks)
        above = max(0, top - TAIL_HALO_PX)
        before = self._features.read(slot * c, (slot + 1) * c, above, min(self._height, bottom + TAIL_HALO_PX))
        lr, _ = self._lr(top, bottom, TAIL_HALO_PX)
        out = np.empty((3, s * (bottom - top), s * self._width), np.float32)

        def one(tile: Tile) -> None:
            step = self._steps.tail(self._sides(tile))
            sr = step({name: self._cut(x, above, tile, TAIL_HALO_PX) for name, x in (("before", before), ("lr", lr))})
            rows, columns = slice(s * (tile.top - top), s * (tile.bottom - top)), slice(s * tile.left, s * tile.right)
            out[:, rows, columns] = sr["sr"][0]

        self._each(one, top, bottom)
        return out

    def _lr(self, top: int, bottom: int, halo: int) -> tuple[Array, int]:
        above = max(0, top - halo)
        return self._rows(above, min(self._height, bottom + halo)), above

    def _bands(self) -> Iterator[tuple[int, int]]:
        return cuts(0, self._height, self._plan.band_rows)

    def _work_bands(self) -> Iterator[tuple[int, int]]:
        """Bands if the features are in a file; one band if they are in memory."""
        return self._bands() if self._plan.in_file else iter([(0, self._height)])

    def _each(self, one: Callable[[Tile], None], top: int, bottom: int) -> None:
        total_px = (self._blocks + 2) * self._height * self._width

        def unless_cancelled(tile: Tile) -> None:
            self._control.check()
            one(tile)
            self._done_px += (tile.bottom - tile.top) * (tile.right - tile.left)  # a lost update loses a tick, no more
            self._control.tell(self._done_px / total_px)

        tiles = (
            Tile(first, left, end, right)
            for first, end in cuts(top, bottom, self._plan.tile_height)
            for left, right in cuts(0, self._width, self._plan.tile_width)
        )
        for _ in self._over(unless_cancelled, tiles):
            pass

    def _sides(self, tile: Tile) -> Sides:
        return tile.top == 0, tile.left == 0, tile.bottom == self._height, tile.right == self._width

    def _cut(self, x: Array, above: int, tile: Tile, halo: int) -> Array:
        """A tile with its halo inside the image, [1, C, h, w], from rows that begin at row `above`."""
        rows = slice(max(0, tile.top - halo) - above, min(self._height, tile.bottom + halo) - above)
        columns = slice(max(0, tile.left - halo), min(self._width, tile.right + halo))
        return np.ascontiguousarray(x[:, rows, columns])[None]


def run_tiles(
    steps: Steps,
    rows: Rows,
    *,
    size: Size,
    plan: Tiles,
    over: Mapper,
    control: Control = NO_CONTROL,
) -> Iterator[Array]:
    """Enlarge an image with the gates of the whole image; for the arguments see `Levels`.

    Returns:
        Bands [3, s * rows, s * W], from the top.
    """
    net = steps.net
    with closing(Levels(steps, rows, size=size, plan=plan, over=over, control=control)) as levels:
        means: list[Means] = []
        for number in range(len(net.blocks) + 1):
            gated = number > 0 and net.config.projection
            sums = levels.advance(number, gate_of(net.blocks[number - 1], means) if gated else None)
            means.append(sums.sum(axis=1) / (size[0] * size[1]))
        yield from levels.result()


class Tiler:
    """Runs images in tiles; safe to share between threads.

    Args:
        steps: of the network.
        threads: tiles at a time.
        tile_px: side of a tile, LR pixels; 0 chooses.
    """

    def __init__(self, steps: Steps, *, threads: int, tile_px: int) -> None:
        self._steps, self._threads, self._tile_px = steps, threads, tile_px
        self._has_run = False
        self._pool, self._pool_of = self._make_pool(), os.getpid()

    @property
    def memory_hints(self) -> tuple[Hint, ...]:
        """Advice for images that need too much memory."""
        smaller = (Hint(text="choose a smaller {option}", option="tile"),) if self._tile_px else ()
        fewer = (Hint(text="run fewer {option}", option="threads"),) if self._threads > 1 else ()
        return (*smaller, *fewer)

    def plan(self, size: Size, budget: int) -> Tiles | None:
        """The fastest tiles that fit into the budget; None if none fit."""
        kept = self._kept_bytes(size)
        return plan_tiles(self._steps.net, size, budget + kept, threads=self._threads, tile_px=self._tile_px)

    def smallest(self, size: Size) -> Tiles:
        """The smallest tiles."""
        return smallest_tiles(self._steps.net, size, threads=self._threads, tile_px=self._tile_px)

    def min_bytes(self, size: Size) -> int:
        """The memory of the smallest tiles, minus the memory that earlier runs have left."""
        return self.smallest(size).needed_bytes - self._kept_bytes(size)

    def run(self, image: NDArray[Any], plan: Tiles, control: Control) -> Iterator[Array]:
        """Bands [rows, s * W, 3] of the enlarged image, from the top."""
        self._has_run = True
        height, width = image.shape[:2]
        over = self._own_pool().map
        for band in run_tiles(self._steps, rows_of(image), size=(width, height), plan=plan, over=over, control=control):
            yield band.transpose(1, 2, 0)

    def _kept_bytes(self, size: Size) -> int:
        """Memory of earlier runs that the next run uses again, bytes."""
        if not self._has_run:
            return 0
        return tiles_leave(self._steps.net, size, threads=self._threads, tile_px=self._tile_px)

    def _make_pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(self._threads, thread_name_prefix="a2f-tile")

    def _own_pool(self) -> ThreadPoolExecutor:
        """The thread pool of this process; a forked process makes a new one."""
        if self._pool_of != os.getpid():
            self._pool, self._pool_of = self._make_pool(), os.getpid()
        return self._pool


def rows_of(image: NDArray[Any]) -> Rows:
    """A reader of rows of an image [H, W, 3] as input of the networks, converted when they are read."""
    top_value = np.float32(np.iinfo(image.dtype).max) if image.dtype.kind == "u" else None

    def rows(top: int, bottom: int) -> Array:
        part = image[top:bottom].transpose(2, 0, 1)
        values: Array = part if top_value is None else part.astype(np.float32) / top_value
        return values

    return rows


def cuts(first: int, end: int, step: int) -> Iterator[tuple[int, int]]:
    """Pieces of a length; what would be shorter than `MIN_TILE_PX` at the end goes to the piece before.

    A tile that ends nearer to the image's border than its halo reaches would need a border of its own kind.
    """
    while first < end:
        stop = end if end - first - step < MIN_TILE_PX else first + step
        yield first, stop
        first = stop


def _row_sums(x: Array) -> NDArray[np.float64]:
    sums: NDArray[np.float64] = x.sum(axis=2, dtype=np.float64)  # [C, rows]
    return sums
