"""Run large images in pieces, each in one graph with all pixels that it depends on; the gates are sampled.

This is faster than block by block, and no features are kept. There are no seams, because all pieces have equal gates.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from typing import Any

import numpy as np
from numpy.typing import NDArray

from a2f.errors import Hint
from a2f.export.graph import gate_names
from a2f.machine import resident_bytes
from a2f.runtime.plan import (
    GRID,
    WHOLE_SAMPLE_PX,
    WINDOW_PX,
    Pieces,
    Size,
    Tiles,
    plan_pieces,
    sample_bytes,
    smallest_pieces,
)
from a2f.runtime.tiled import Array, Levels, Means, Rows, Steps, gate_of, rows_of
from a2f.upscaler import NO_CONTROL, Control

MARGIN_PX = 16  # of a window that is not pooled, because the border of a window is not that of the image

# [1, 3, h, w], gates by input name, control, whether this is the last piece of an image (then the graph releases its
# memory) -> [1, 3, sh, sw]
Graph = Callable[[Array, dict[str, Array], Control, bool], Array]


def sampled_gates(
    steps: Steps,
    rows: Rows,
    *,
    size: Size,
    threads: int = 1,
    control: Control = NO_CONTROL,
) -> list[Array]:
    """The gates of all blocks, pooled over 4 x 4 windows of up to 128 x 128 pixels spread evenly over the image.

    An image of up to `WHOLE_SAMPLE_PX` pixels is pooled whole, including its border.

    Args:
        steps: the steps of the network.
        rows: reads rows of the LR image.
        size: width and height of the LR image.
        threads: number of windows at a time; it does not change the gates.
        control: cancellation, checked before each step of a window.

    Returns:
        [1, C, 1, 1] for each block, times λ_att; none for a network without projection.

    Raises:
        Cancelled: if the run is cancelled.
    """
    net = steps.net
    if not net.config.projection:
        return []
    small = size[0] * size[1] <= WHOLE_SAMPLE_PX
    parts = [np.ascontiguousarray(rows(0, size[1]))] if small else _windows(rows, size)
    quiet, gates, means = Control(cancelled=control.cancelled), list[Array](), list[Means]()
    with ThreadPoolExecutor(threads, thread_name_prefix="a2f-sample") as pool, ExitStack() as stack:
        windows = [stack.enter_context(closing(_window(steps, part, quiet))) for part in parts]
        for number, block in enumerate(net.blocks):  # the gate of the next block needs x_number
            gate = gates[-1] if gates else None
            for _ in pool.map(lambda window: window.advance(number, gate), windows):  # noqa: B023 - done before it changes
                pass
            means.append(_mean([window.latest(number) for window in windows], 0 if small else MARGIN_PX))
            gates.append(gate_of(block, means))
    return gates


def _window(steps: Steps, lr: Array, control: Control) -> Levels:
    """The features of a part of the image, which runs in one tile."""
    height, width = lr.shape[1:]
    plan = Tiles(tile_height=height, tile_width=width, band_rows=height, in_file=False)
    return Levels(
        steps, lambda top, bottom: lr[:, top:bottom], size=(width, height), plan=plan, over=map, control=control
    )


def _windows(rows: Rows, size: Size) -> list[Array]:
    """16 windows [3, 128, 128], smaller if the image is smaller."""
    width, height = size
    tall, wide = min(WINDOW_PX, height), min(WINDOW_PX, width)
    tops, lefts = (
        np.linspace(0, side - part, GRID).round().astype(int) for side, part in ((height, tall), (width, wide))
    )
    bands = [rows(int(top), int(top) + tall) for top in tops]
    return [np.ascontiguousarray(band[:, :, left : left + wide]) for band in bands for left in lefts]


def _mean(features: list[Array], margin: int) -> Means:
    """The mean of each channel, over all windows without their margins."""
    means = []
    for x in features:
        rows, columns = (slice(margin, side - margin) if side > 2 * margin else slice(None) for side in x.shape[1:])
        means.append(x[:, rows, columns].mean(axis=(1, 2), dtype=np.float64))
    mean: Means = np.mean(means, axis=0)
    return mean


class PieceRunner:
    """Runs images in pieces; safe to share between threads.

    Args:
        graph: graph of the network with gates as inputs; safe to share.
        steps: steps of the same network, for the gates.
        threads: number of windows at a time, for the gates.
        tile_px: side of a piece, LR pixels; 0 chooses it.
        memory_hints: advice for images that need too much memory.
    """

    def __init__(
        self, graph: Graph, steps: Steps, *, threads: int, tile_px: int, memory_hints: tuple[Hint, ...] = ()
    ) -> None:
        self.memory_hints = memory_hints
        self._graph, self._steps, self._threads, self._tile_px = graph, steps, threads, tile_px
        self._left_bytes = 0  # memory of earlier samples that allocators keep and later samples use again

    def plan(self, size: Size, budget: int) -> Pieces | None:
        """The largest pieces that fit into the budget; None if none fit."""
        net, kept = self._steps.net, self._left_bytes
        return plan_pieces(net, size, budget + kept, threads=self._threads, tile_px=self._tile_px)

    def smallest(self, size: Size) -> Pieces:
        """The smallest pieces."""
        return smallest_pieces(self._steps.net, size, threads=self._threads)

    def min_bytes(self, size: Size) -> int:
        """The memory of the smallest pieces, minus the memory that earlier runs have left."""
        return self.smallest(size).needed_bytes - self._left_bytes

    def run(self, image: NDArray[Any], plan: Pieces, control: Control) -> Iterator[Array]:
        """Bands [rows, s * W, 3] of the enlarged image, from the top."""
        height, width = image.shape[:2]
        config, rows = self._steps.net.config, rows_of(image)
        gates = dict(zip(gate_names(config), self._gates(rows, (width, height), control), strict=True))
        s, halo, inside = config.scale, config.receptive_radius_px, Control(cancelled=control.cancelled)
        # all inputs have one size, so that engines prepare it once
        tall, wide = min(height, plan.height + 2 * halo), min(width, plan.width + 2 * halo)
        for top in range(0, height, plan.height):
            bottom = min(height, top + plan.height)
            above = min(max(0, top - halo), height - tall)
            lr = rows(above, above + tall)
            band = np.empty((s * (bottom - top), s * width, 3), np.float32)
            for left in range(0, width, plan.width):
                control.check()
                right = min(width, left + plan.width)
                before = min(max(0, left - halo), width - wide)
                x = np.ascontiguousarray(lr[None, :, :, before : before + wide])
                sr = self._graph(x, gates, inside, bottom == height and right == width)[0]
                sr = sr[:, s * (top - above) : s * (bottom - above), s * (left - before) : s * (right - before)]
                band[:, s * left : s * right] = sr.transpose(1, 2, 0)
                control.tell((top * width + (bottom - top) * right) / (height * width))
            yield band

    def _gates(self, rows: Rows, size: Size, control: Control) -> list[Array]:
        """Sample the gates, and record how much of the memory stays in the process."""
        before = resident_bytes()
        gates = sampled_gates(self._steps, rows, size=size, threads=self._threads, control=control)
        left = self._left_bytes + resident_bytes() - before
        self._left_bytes = max(self._left_bytes, min(left, sample_bytes(self._steps.net, self._threads)))
        return gates
