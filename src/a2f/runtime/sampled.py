"""Gates from a sample of the image: no features need to be kept for the sake of their means."""

import numpy as np
from numpy.typing import NDArray

from a2f.export.graph import ALL_SIDES
from a2f.export.steps import middle_of
from a2f.runtime.tiled import Array, Means, Rows, Steps, gate_of

WINDOW_PX = 128
MARGIN_PX = 16  # of a window that is not counted: its border is not the image's
GRID = 4


def sampled_gates(steps: Steps, rows: Rows, *, height: int, width: int) -> list[Array]:
    """The gates of all blocks, pooled over 4 x 4 windows of 128 x 128 pixels spread evenly over the image.

    Args:
        steps: of the network.
        rows: gives rows of the LR image.
        height: of the LR image, at least 128 pixels.
        width: of the LR image, at least 128 pixels.

    Returns:
        For each block [1, C, 1, 1], times λ_att.
    """
    net, k, c = steps.net, middle_of(steps.net), steps.net.config.channels
    x = steps.head(ALL_SIDES)({"lr": _windows(rows, height, width)})["x"]
    kept, sums, means, gates = [x], None, [_mean(x)], []
    for number, block in enumerate(net.blocks, start=1):
        gates.append(gate_of(block, means))
        inputs = {"before": x, "gate": gates[-1]}
        if number == k + 1:
            sums = steps.exchange()({"features": np.concatenate(kept, axis=1)})["sums"]
        if sums is not None:
            inputs["sums"] = sums
        elif number > 1:
            inputs["earlier"] = np.concatenate(kept[:-1], axis=1)
        made = steps.block(number, ALL_SIDES)(inputs)
        x, sums = made["x"], made.get("later", sums)
        if number <= k:
            kept.append(x)
        means.append(_mean(x))
    assert all(gate.shape == (1, c, 1, 1) for gate in gates)
    return gates


def _windows(rows: Rows, height: int, width: int) -> Array:
    """[16, 3, 128, 128]."""
    tops, lefts = (np.linspace(0, side - WINDOW_PX, GRID).round().astype(int) for side in (height, width))
    bands = [rows(int(top), int(top) + WINDOW_PX) for top in tops]
    return np.stack([np.ascontiguousarray(band[:, :, left : left + WINDOW_PX]) for band in bands for left in lefts])


def _mean(x: Array) -> Means:
    inner: NDArray[np.float32] = x[:, :, MARGIN_PX:-MARGIN_PX, MARGIN_PX:-MARGIN_PX]
    mean: Means = inner.mean(axis=(0, 2, 3), dtype=np.float64)
    return mean
