"""Any image in bounded memory, with the pixels of a run of the whole.

The gates of a block pool over the whole image (Eq. 7), so tiles on their own would compute other gates. But the mean of
p_i = sum_j W_ij x_j needs only the channel means of x_0 .. x_{i-1}: the image runs block by block, each block tile by
tile, the features kept and their means gathered on the way. A tile's halo is that of one block, two pixels, so little
is computed twice. docs/decisions/tiling.md has the measurements, and what else was tried.
"""

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from a2f.errors import Cancelled
from a2f.export.builder import ALL_SIDES, Sides
from a2f.export.fold import Conv, Folded, FoldedBlock
from a2f.export.steps import BLOCK_HALO_PX, TAIL_HALO_PX, middle_of, slots_of
from a2f.runtime.features import Features, FeaturesInFile, FeaturesInMemory
from a2f.runtime.plan import LEAST_PX, Plan

Array = NDArray[np.float32]
Means = NDArray[np.float64]  # [C]
Step = Callable[[Mapping[str, Array]], dict[str, Array]]  # inputs by name -> outputs by name
Rows = Callable[[int, int], Array]  # top, bottom -> [3, bottom - top, W] in [0, 1]


@dataclass(frozen=True)
class Tile:
    """A rectangle of LR pixels: rows top .. bottom - 1, columns left .. right - 1."""

    top: int
    left: int
    bottom: int
    right: int


class Steps(ABC):
    """The steps of one network, as `a2f.export.steps` tells, made when they are first needed; safe to share.

    Args:
        net: folded.
    """

    def __init__(self, net: Folded) -> None:
        self.net = net
        self._opened: dict[tuple[str, int, Sides], Step] = {}
        self._lock = threading.Lock()

    def head(self, sides: Sides) -> Step:
        """`head_step`."""
        return self._step("head", 0, sides)

    def block(self, number: int, sides: Sides) -> Step:
        """`block_step`."""
        return self._step("block", number, sides)

    def exchange(self) -> Step:
        """`exchange_step`."""
        return self._step("exchange", 0, ALL_SIDES)

    def tail(self, sides: Sides) -> Step:
        """`tail_step`."""
        return self._step("tail", 0, sides)

    def _step(self, kind: str, number: int, sides: Sides) -> Step:
        key = kind, number, sides
        with self._lock:
            if key not in self._opened:
                self._opened[key] = self.make(kind, number, sides)
            return self._opened[key]

    @abstractmethod
    def make(self, kind: str, number: int, sides: Sides) -> Step:
        """Make a step that may run in many threads at a time.

        Args:
            kind: "head", "block", "exchange" or "tail".
            number: of the block, from 1; 0 for all others.
            sides: of the tile that are the image's border.
        """


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


class TiledRun:
    """One image on its way through the network.

    Args:
        steps: of the network.
        rows: gives rows of the LR image; each is asked for about twice.
        height: of the LR image, pixels.
        width: of the LR image, pixels.
        plan: how it is cut.
        pool: where tiles run.
        stopped: asked before each tile; where it is true, the run raises Cancelled.
        progress: called after each tile with the share of the work that is done, in [0, 1].
    """

    def __init__(
        self,
        steps: Steps,
        rows: Rows,
        *,
        height: int,
        width: int,
        plan: Plan,
        pool: ThreadPoolExecutor,
        stopped: Callable[[], bool] = lambda: False,
        progress: Callable[[float], None] = lambda share: None,
    ) -> None:
        self.stopped, self.progress = stopped, progress
        self.done_px = 0  # over all passes over the image: head, blocks, tail
        self.steps, self.net, self.rows, self.plan, self.pool = steps, steps.net, rows, plan, pool
        self.height, self.width = height, width
        self.channels, self.levels, self.middle = self.net.config.channels, len(self.net.blocks), middle_of(self.net)
        self.means: list[Means] = []

    def __iter__(self) -> Iterator[Array]:
        """Enlarge; yields bands of the result, [3, s * rows, s * W], from the top."""
        kind = FeaturesInFile if self.plan.in_file else FeaturesInMemory
        with closing(kind(slots_of(self.net) * self.channels, self.height, self.width)) as features:
            self._level(features, 0)
            for number in range(1, self.levels + 1):
                if number == self.middle + 1 and self.net.config.projection:
                    self._exchange(features)
                self._level(features, number)
            for top, bottom in self._bands():
                yield self._tail(features, top, bottom)

    def slot(self, level: int) -> int:
        """Where x_level lies."""
        if not self.net.config.projection:
            return level % 2
        return level if level <= self.middle else level - self.middle - 1

    def slot_before(self, number: int) -> int:
        """Where a block finds x_{number-1}: what lies at the exchange comes to lie behind all sums."""
        at_exchange = self.net.config.projection and number == self.middle + 1
        return self.levels - self.middle if at_exchange else self.slot(number - 1)

    def _level(self, features: Features, number: int) -> None:
        """Compute x_number everywhere, and its means."""
        c, first = self.channels, self.slot(number) * self.channels
        late = self.net.config.projection and number > self.middle
        last = (self.levels - self.middle) * c if late else first + c  # of what is written
        gate = self._gate(number)
        sums = []
        for top, bottom in self._work_bands():
            out = features.buffer(first, last, top, bottom)
            if number == 0:
                self._head(out, top, bottom)
            else:
                self._block(features, number, gate, out, top, bottom)
            sums += list(self.pool.map(_row_sums, np.array_split(out[:c], -(-(bottom - top) // 64), axis=1)))
            features.write(first, top, out)
        # Sums of whole rows, added up in one order: the same whatever the bands and tiles.
        self.means.append(np.concatenate(sums, axis=1).sum(axis=1) / (self.height * self.width))

    def _gate(self, number: int) -> Array | None:
        if number == 0 or not self.net.config.projection:
            return None
        return gate_of(self.net.blocks[number - 1], self.means)

    def _head(self, out: Array, top: int, bottom: int) -> None:
        halo = self.net.head.weight.shape[-1] // 2
        lr, above = self._lr(top, bottom, halo)

        def one(tile: Tile) -> None:
            step = self.steps.head(self._sides(tile))
            x = step({"lr": self._cut(lr, above, tile, halo)})["x"]
            out[:, tile.top - top : tile.bottom - top, tile.left : tile.right] = x[0]

        self._each(one, top, bottom)

    def _block(self, features: Features, number: int, gate: Array | None, out: Array, top: int, bottom: int) -> None:
        c, slot = self.channels, self.slot_before(number)
        above = max(0, top - BLOCK_HALO_PX)
        before = features.read(slot * c, (slot + 1) * c, above, min(self.height, bottom + BLOCK_HALO_PX))
        inputs: dict[str, Array] = {}
        if gate is not None and number > self.middle:
            first = self.slot(number) * c
            inputs["sums"] = features.read(first, (self.levels - self.middle) * c, top, bottom)
        elif gate is not None and number > 1:
            inputs["earlier"] = features.read(0, (number - 1) * c, top, bottom)
        given = {} if gate is None else {"gate": gate}

        def one(tile: Tile) -> None:
            step = self.steps.block(number, self._sides(tile))
            tiles = {name: self._cut(x, top, tile, 0) for name, x in inputs.items()}
            made = step({"before": self._cut(before, above, tile, BLOCK_HALO_PX), **tiles, **given})
            place = out[:, tile.top - top : tile.bottom - top, tile.left : tile.right]
            place[:c] = made["x"][0]
            if "later" in made:
                place[c:] = made["later"][0]

        self._each(one, top, bottom)

    def _exchange(self, features: Features) -> None:
        """x_0 .. x_k become, in their place, the sums of the blocks to come; x_k stays behind them."""
        c, k = self.channels, self.middle
        for top, bottom in self._work_bands():
            kept = features.read(0, (k + 1) * c, top, bottom)
            out = features.buffer(0, (self.levels - k) * c, top, bottom)
            if self.slot_before(k + 1) != k:  # the sums are to lie where x_k is
                moved = features.buffer((self.levels - k) * c, (self.levels - k + 1) * c, top, bottom)
                moved[:] = kept[k * c :]
                features.write((self.levels - k) * c, top, moved)

            def one(tile: Tile, kept: Array = kept, out: Array = out, top: int = top) -> None:
                sums = self.steps.exchange()({"features": self._cut(kept, top, tile, 0)})["sums"]
                out[:, tile.top - top : tile.bottom - top, tile.left : tile.right] = sums[0]

            self._each(one, top, bottom)
            features.write(0, top, out)

    def _tail(self, features: Features, top: int, bottom: int) -> Array:
        c, s, slot = self.channels, self.net.config.scale, self.slot(self.levels)
        above = max(0, top - TAIL_HALO_PX)
        before = features.read(slot * c, (slot + 1) * c, above, min(self.height, bottom + TAIL_HALO_PX))
        lr, _ = self._lr(top, bottom, TAIL_HALO_PX)
        out = np.empty((3, s * (bottom - top), s * self.width), np.float32)

        def one(tile: Tile) -> None:
            step = self.steps.tail(self._sides(tile))
            sr = step({name: self._cut(x, above, tile, TAIL_HALO_PX) for name, x in (("before", before), ("lr", lr))})
            rows, columns = slice(s * (tile.top - top), s * (tile.bottom - top)), slice(s * tile.left, s * tile.right)
            out[:, rows, columns] = sr["sr"][0]

        self._each(one, top, bottom)
        return out

    def _lr(self, top: int, bottom: int, halo: int) -> tuple[Array, int]:
        above = max(0, top - halo)
        return self.rows(above, min(self.height, bottom + halo)), above

    def _bands(self) -> Iterator[tuple[int, int]]:
        return cuts(0, self.height, self.plan.band_rows)

    def _work_bands(self) -> Iterator[tuple[int, int]]:
        """Bands of what lies in a file; in memory, all tiles may run at a time."""
        return self._bands() if self.plan.in_file else iter([(0, self.height)])

    def _each(self, one: Callable[[Tile], None], top: int, bottom: int) -> None:
        def unless_stopped(tile: Tile) -> None:
            if self.stopped():
                raise Cancelled("stopped")
            one(tile)
            self.done_px += (tile.bottom - tile.top) * (tile.right - tile.left)  # a lost update loses a tick, no more
            self.progress(min(1.0, self.done_px / ((self.levels + 2) * self.height * self.width)))

        tiles = (
            Tile(first, left, end, right)
            for first, end in cuts(top, bottom, self.plan.tile_height)
            for left, right in cuts(0, self.width, self.plan.tile_width)
        )
        _exhaust(self.pool.map(unless_stopped, tiles))

    def _sides(self, tile: Tile) -> Sides:
        return tile.top == 0, tile.left == 0, tile.bottom == self.height, tile.right == self.width

    def _cut(self, x: Array, above: int, tile: Tile, halo: int) -> Array:
        """A tile with its halo, as far as the image goes, of rows that begin at row `above`: [1, C, h, w]."""
        rows = slice(max(0, tile.top - halo) - above, min(self.height, tile.bottom + halo) - above)
        columns = slice(max(0, tile.left - halo), min(self.width, tile.right + halo))
        return np.ascontiguousarray(x[:, rows, columns])[None]


def rows_of(image: NDArray[Any]) -> Rows:
    """Rows of an image [H, W, 3] as the networks take them, converted when they are asked for."""
    top_value = np.float32(np.iinfo(image.dtype).max) if image.dtype.kind == "u" else None

    def rows(top: int, bottom: int) -> Array:
        part = image[top:bottom].transpose(2, 0, 1)
        values: Array = part if top_value is None else part.astype(np.float32) / top_value
        return values

    return rows


def cuts(first: int, end: int, step: int) -> Iterator[tuple[int, int]]:
    """Pieces of a length; what would be shorter than `LEAST_PX` at the end goes to the piece before.

    A tile that ends nearer to the image's border than its halo reaches would need a border of its own kind.
    """
    while first < end:
        stop = end if end - first - step < LEAST_PX else first + step
        yield first, stop
        first = stop


def _row_sums(x: Array) -> NDArray[np.float64]:
    sums: NDArray[np.float64] = x.sum(axis=2, dtype=np.float64)  # [C, rows]
    return sums


def _exhaust(results: Iterable[None]) -> None:
    for _ in results:
        pass
