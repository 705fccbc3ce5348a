"""Calibrate the ranges for 8-bit integers on photographs."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from a2f.errors import WeightsError
from a2f.export.builder import GraphBuilder
from a2f.export.fold import Folded, fold
from a2f.export.graph import LR_SHAPE, add_network
from a2f.export.int8 import Range
from a2f.export.session import make_session
from a2f.weights import Weights

PERCENTILE = 99.9999  # larger values are clipped, because they would make the steps coarse


def calibrate(weights: Weights, images: Iterable[NDArray[np.float32]], *, threads: int = 1) -> tuple[Range, ...]:
    """Calibrate the ranges of all blocks.

    Args:
        weights: weights of any A²F network.
        images: [H, W, 3] in [0, 1], a few dozen LR images of 100 to 300 pixels per side.
        threads: number of threads.

    Returns:
        One range per block: the largest 99.9999th percentile over the images.
    """
    net = fold(weights)
    names = [name for i in range(1, len(net.blocks) + 1) for name in (f"x_{i - 1}", f"relu_{i}")]
    session = make_session(_with_outputs(net, names), threads=threads)
    found = []
    for image in images:
        values = session.run(names, {"lr": np.ascontiguousarray(image.transpose(2, 0, 1)[None])})
        found.append([float(np.percentile(np.abs(v), PERCENTILE)) for v in values])
    if not found:
        raise WeightsError("there are no photographs to calibrate on: give at least one")
    most = np.maximum(np.max(found, axis=0), 1e-6)
    return tuple(Range(x=float(x), hidden=float(hidden)) for x, hidden in most.reshape(-1, 2))


def _with_outputs(net: Folded, names: list[str]) -> bytes:
    graph = GraphBuilder()
    add_network(graph, net)
    return graph.graph(inputs={"lr": LR_SHAPE}, outputs=dict.fromkeys(names)).to_onnx("calibration")
