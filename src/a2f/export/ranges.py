"""Calibrate the 8-bit integers on photographs: the ranges of the inputs, and the rounding of the kernels."""

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from a2f.errors import WeightsError
from a2f.export.builder import GraphBuilder
from a2f.export.fold import Folded, FoldedBlock, fold
from a2f.export.graph import LR_SHAPE, add_network
from a2f.export.int8 import MAX_KERNEL, Range, in_steps, kernel_steps
from a2f.export.rounding import nearest, round_for
from a2f.export.session import make_session
from a2f.weights import Weights

Array = NDArray[np.float32]

PERCENTILE = 99.98  # of an image; larger values are clipped, because they would make the steps coarse
SMALLEST_SHARE = 1 / 36  # of the largest range; a channel that is nearly 0 on all photographs may be larger on others
POSITIONS = 1024  # per image, where the values are seen that the rounding depends on


def calibrate(weights: Weights, images: Iterable[NDArray[np.float32]], *, threads: int = 1) -> tuple[Range, ...]:
    """Calibrate the ranges and the kernels of all blocks.

    Args:
        weights: weights of any A²F network.
        images: [H, W, 3] in [0, 1], a few dozen LR images of 100 to 300 pixels per side.
        threads: number of threads.

    Returns:
        One range per block. The range of a channel is the geometric mean of its largest value (its 99.98th percentile
        over an image, the largest of all images) and that of all channels. The own value alone would leave no room
        for other images, and would make the kernels coarse.
    """
    net = fold(weights)
    names = [name for i in range(1, len(net.blocks) + 1) for name in (f"x_{i - 1}", f"relu_{i}")]
    session = make_session(_with_outputs(net, names), threads=threads)
    places = np.random.default_rng(0)
    most = [np.zeros(1, np.float32)] * len(names)
    moments = [np.zeros((1, 1), np.float32)] * len(names)
    count = 0
    for image in images:
        values = session.run(names, {"lr": np.ascontiguousarray(image.transpose(2, 0, 1)[None])})
        for i, (value,) in enumerate(values):
            own = np.percentile(np.abs(value), PERCENTILE, axis=(1, 2)).astype(np.float32)
            most[i] = np.maximum(most[i], own)
            moments[i] = moments[i] + _moments(value, places)
        count += 1
    if not count:
        raise WeightsError("there are no photographs to calibrate on: give at least one")
    reaches = [_reach(m) for m in most]
    ranges = [Range(x=x, hidden=hidden) for x, hidden in zip(reaches[::2], reaches[1::2], strict=True)]
    pairs = zip(moments[::2], moments[1::2], strict=True)
    return tuple(_rounded(block, r, pair) for block, r, pair in zip(net.blocks, ranges, pairs, strict=True))


def _reach(most: Array) -> tuple[float, ...]:
    """The range of each channel, in the precision of the metadata."""
    top = max(float(most.max()), 1e-6)
    return tuple(float(f"{v:.6g}") for v in np.sqrt(np.maximum(most, top * SMALLEST_SHARE) * top))


def _moments(value: Array, places: np.random.Generator) -> Array:
    """The mean products of the values that a 3x3 kernel sees, [9 C, 9 C]: of an image [C, H, W], at random places."""
    windows = sliding_window_view(np.pad(value, ((0, 0), (1, 1), (1, 1))), (3, 3), axis=(1, 2))
    top, left = (places.integers(n, size=POSITIONS) for n in value.shape[1:])
    seen = windows[:, top, left].transpose(0, 2, 3, 1).reshape(-1, POSITIONS)
    products: Array = (seen @ seen.T / POSITIONS).astype(np.float32)
    return products


def _rounded(block: FoldedBlock, reach: Range, moments: tuple[Array, Array]) -> Range:
    """The range with the moves of its kernels."""
    moves = []
    for conv, steps, products in zip(in_steps(block, reach), (reach.x, reach.hidden), moments, strict=True):
        scale = 1 / np.repeat(steps, 9)
        kernel = kernel_steps(conv.weight)
        integers = round_for(conv.weight, kernel, products * np.outer(scale, scale), largest=MAX_KERNEL)
        moves.append((integers - nearest(conv.weight, kernel)).astype(np.int8).tobytes())
    return replace(reach, moves=(moves[0], moves[1]))


def _with_outputs(net: Folded, names: list[str]) -> bytes:
    graph = GraphBuilder()
    add_network(graph, net)
    return graph.graph(inputs={"lr": LR_SHAPE}, outputs=dict.fromkeys(names)).to_onnx("calibration")
