"""Gates from a sample of the image: no features need to be kept for the sake of their means."""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
from numpy.typing import NDArray

from a2f.errors import Cancelled
from a2f.export.builder import ALL_SIDES
from a2f.export.fold import Folded
from a2f.export.steps import middle_of, slots_of
from a2f.runtime.plan import session_bytes
from a2f.runtime.tiled import Array, Means, Rows, Step, Steps, gate_of

WINDOW_PX = 128
MARGIN_PX = 16  # of a window that is not counted: its border is not the image's
GRID = 4
WHOLE_PX = 2 * WINDOW_PX**2


def sampled_gates(
    steps: Steps,
    rows: Rows,
    *,
    height: int,
    width: int,
    threads: int = 1,
    stopped: Callable[[], bool] = lambda: False,
) -> list[Array]:
    """The gates of all blocks, pooled over 4 x 4 windows of up to 128 x 128 pixels spread evenly over the image.

    An image of up to `WHOLE_PX` pixels is pooled whole, to its border.

    Args:
        steps: of the network, which has a projection.
        rows: gives rows of the LR image.
        height: of the LR image, pixels.
        width: of the LR image, pixels.
        threads: windows at a time; the gates are the same for any number.
        stopped: asked before each step of each window.

    Returns:
        For each block [1, C, 1, 1], times λ_att.

    Raises:
        Cancelled: once it is stopped.
    """
    net, k, c = steps.net, middle_of(steps.net), steps.net.config.channels
    small = height * width <= WHOLE_PX
    margin = 0 if small else MARGIN_PX
    parts = [np.ascontiguousarray(rows(0, height)[None])] if small else _windows(rows, height, width)
    windows = [_Window(part, stopped) for part in parts]
    with ThreadPoolExecutor(threads, thread_name_prefix="a2f-sample") as pool:
        list(pool.map(partial(_Window.head, step=steps.head(ALL_SIDES)), windows))
        means, gates = [_mean(windows, margin)], []
        for number, block in enumerate(net.blocks, start=1):
            gates.append(gate_of(block, means))
            exchange = steps.exchange() if number == k + 1 else None
            step = steps.block(number, ALL_SIDES)
            list(pool.map(partial(_Window.block, step=step, gate=gates[-1], exchange=exchange), windows))
            means.append(_mean(windows, margin))
    assert all(gate.shape == (1, c, 1, 1) for gate in gates)
    return gates


def sample_bytes(net: Folded, threads: int) -> int:
    """About what `sampled_gates` takes: the features of all windows, and the windows at work."""
    area = WINDOW_PX**2 * 4
    kept = 1.3 * GRID**2 * area * (slots_of(net) + 1) * net.config.channels
    return (
        session_bytes(net)
        + int(kept)
        + max(WHOLE_PX, threads * WINDOW_PX**2) * 4 * (2 * net.config.hidden + 2 * slots_of(net) * net.config.channels)
    )


class _Window:
    """A part of the image on its way: the last features, and what the blocks to come will need."""

    def __init__(self, lr: Array, stopped: Callable[[], bool]) -> None:
        self.x, self._stopped = lr, stopped
        self.kept: list[Array] = []
        self.sums: Array | None = None

    def head(self, step: Step) -> None:
        """Before the first block."""
        self._step(step, {"lr": self.x})

    def block(self, step: Step, gate: Array, exchange: Step | None) -> None:
        """One block; the middle one first exchanges the features so far for the sums that the later ones need."""
        if exchange is not None:
            self.sums = exchange({"features": np.concatenate(self.kept, axis=1)})["sums"]
            self.kept = []
        inputs = {"before": self.x, "gate": gate}
        if self.sums is not None:
            inputs["sums"] = self.sums
        elif len(self.kept) > 1:
            inputs["earlier"] = np.concatenate(self.kept[:-1], axis=1)
        self._step(step, inputs)

    def _step(self, step: Step, inputs: Mapping[str, Array]) -> None:
        if self._stopped():
            raise Cancelled("stopped")
        made = step(inputs)
        self.x = made["x"]
        if self.sums is None:
            self.kept.append(self.x)
        self.sums = made.get("later", self.sums)


def _windows(rows: Rows, height: int, width: int) -> list[Array]:
    """16 of [1, 3, 128, 128], or less where the image is smaller."""
    tall, wide = min(WINDOW_PX, height), min(WINDOW_PX, width)
    tops, lefts = (
        np.linspace(0, side - size, GRID).round().astype(int) for side, size in ((height, tall), (width, wide))
    )
    bands = [rows(int(top), int(top) + tall) for top in tops]
    return [np.ascontiguousarray(band[None, :, :, left : left + wide]) for band in bands for left in lefts]


def _mean(windows: list[_Window], margin: int) -> Means:
    """Of each channel, over all windows without their margins."""
    means = []
    for window in windows:
        rows, columns = (
            slice(margin, side - margin) if side > 2 * margin else slice(None) for side in window.x.shape[2:]
        )
        inner: NDArray[np.float32] = window.x[0, :, rows, columns]
        means.append(inner.mean(axis=(1, 2), dtype=np.float64))
    mean: Means = np.mean(means, axis=0)
    return mean
