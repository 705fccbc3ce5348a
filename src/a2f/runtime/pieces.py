"""Large images in pieces, each in one graph with all the pixels that it depends on; the gates come from a sample.

Quicker than block by block, and nothing is kept between the pieces. No seam can show: all pieces have the same gates.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from a2f.errors import Cancelled
from a2f.export.graph import gate_names
from a2f.runtime.banded import Banded
from a2f.runtime.memory import resident_bytes, whole_bytes
from a2f.runtime.plan import Limits, budget_bytes, may_refuse, result_row_bytes
from a2f.runtime.sampled import sample_bytes, sampled_gates
from a2f.runtime.tiled import Array, Rows, Steps, rows_of

MOST_PX = 1_000_000  # of a piece: more gains nothing
SESSION_BYTES = 25 * 2**20
LEAST_PX = 32  # of a piece's side


@dataclass(frozen=True)
class Pieces:
    """How an image is cut: height and width of a piece, LR pixels, without what it depends on around it."""

    height: int
    width: int


class PiecesEngine(Banded):
    """Runs an image piece by piece; safe to share between threads.

    Args:
        graph: ([1, 3, h, w], gates by their names as inputs, whether this is the last piece of an image, after which
            what the graph keeps for the next one is to go back to the system) -> [1, 3, sh, sw]; safe to share between
            threads.
        steps: of the same network, for the gates.
        description: one line for people.
        threads: windows at a time, for the gates.
        limits: what a run may take.
    """

    def __init__(
        self,
        graph: Callable[[Array, dict[str, Array], bool], Array],
        steps: Steps,
        *,
        description: str,
        threads: int,
        limits: Limits,
    ) -> None:
        super().__init__(scale=steps.net.config.scale, description=description, limits=limits)
        self._graph, self._steps, self._threads = graph, steps, threads
        self._left_bytes = 0  # by the samples of earlier runs, with allocators from which later ones take it again

    def shortage(self, *, height: int, width: int, besides: int) -> int:
        """As `BandUpscaler.shortage`."""
        budget = budget_bytes(self._limits, besides)
        least = self._needed(LEAST_PX, LEAST_PX, height, width)
        return 0 if budget is None else max(0, least - budget)

    def _bands(self, image: NDArray[Any], held_bytes: int) -> Iterator[NDArray[np.float32]]:
        height, width = image.shape[:2]
        cut, config, rows = self.cut(height, width, held_bytes), self._steps.net.config, rows_of(image)
        gates = dict(zip(gate_names(config), self._sampled(rows, height, width), strict=True))
        s, halo = self.scale, config.receptive_radius_px
        tall, wide = min(height, cut.height + 2 * halo), min(width, cut.width + 2 * halo)
        for top in range(0, height, cut.height):
            bottom = min(height, top + cut.height)
            above = min(max(0, top - halo), height - tall)  # the same size everywhere: engines keep what they prepared
            lr = rows(above, above + tall)
            band = np.empty((s * (bottom - top), s * width, 3), np.float32)
            for left in range(0, width, cut.width):
                if self._stopped.is_set():
                    raise Cancelled("stopped")
                right = min(width, left + cut.width)
                before = min(max(0, left - halo), width - wide)
                last = bottom == height and right == width
                sr = self._graph(np.ascontiguousarray(lr[None, :, :, before : before + wide]), gates, last)[0]
                inside = sr[:, s * (top - above) : s * (bottom - above), s * (left - before) : s * (right - before)]
                band[:, s * left : s * right] = inside.transpose(1, 2, 0)
                self.on_progress((top * width + (bottom - top) * right) / (height * width))
            yield band

    def _sampled(self, rows: Rows, height: int, width: int) -> list[Array]:
        """The gates, and what they leave in the memory."""
        net, threads = self._steps.net, self._threads
        if not net.config.projection:
            return []
        before = resident_bytes()
        gates = sampled_gates(
            self._steps, rows, height=height, width=width, threads=threads, stopped=self._stopped.is_set
        )
        left = self._left_bytes + resident_bytes() - before
        self._left_bytes = max(self._left_bytes, min(left, sample_bytes(net, threads)))
        return gates

    def cut(self, height: int, width: int, held_bytes: int) -> Pieces:
        """The largest pieces that fit, as wide as the image if they can be.

        Raises:
            MemoryLimitError: if not even the smallest does; says the least that works.
        """
        side = self._limits.tile_px
        if side:
            return Pieces(min(side, height), min(side, width))
        budget = budget_bytes(self._limits, held_bytes)
        halo = self._steps.net.config.receptive_radius_px
        for columns in range(1, 1 + -(-width // LEAST_PX)):
            across = -(-width // columns)
            rows = min(height, max(LEAST_PX, MOST_PX // across))
            while budget is not None and rows > LEAST_PX and self._needed(rows, across, height, width) > budget:
                rows = max(LEAST_PX, rows * 3 // 4)
            fits = budget is None or self._needed(rows, across, height, width) <= budget
            if fits and (rows >= min(height, 3 * halo) or across <= rows):
                return Pieces(rows, across)
        if budget is None or self._needed(LEAST_PX, LEAST_PX, height, width) <= budget or not may_refuse():
            return Pieces(LEAST_PX, LEAST_PX)
        short = self.shortage(height=height, width=width, besides=held_bytes)
        raise self.too_little(f"{width} x {height} pixels at x{self.scale}", short)

    def _needed(self, rows: int, across: int, height: int, width: int) -> int:
        config = self._steps.net.config
        halo = config.receptive_radius_px
        tall, wide = min(height, rows + 2 * halo), min(width, across + 2 * halo)
        piece = whole_bytes(config, height=tall, width=wide)
        sample = sample_bytes(self._steps.net, self._threads) - self._left_bytes  # which stays with the allocators
        return SESSION_BYTES + piece + sample + rows * result_row_bytes(config.scale, width)
