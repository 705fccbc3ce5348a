"""Ranges for 8-bit integers, from photographs."""

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

PERCENTILE = 99.9999  # rarer values are clipped: steps that reach them would be coarse for all others


def calibrate(weights: Weights, images: Iterable[NDArray[np.float32]], *, threads: int = 1) -> tuple[Range, ...]:
    """The ranges of all blocks, from photographs.

    Args:
        weights: of any network of the family.
        images: [H, W, 3] in [0, 1], some dozen LR images of 100 to 300 pixels a side.
        threads: of one run.

    Returns:
        One a block: over the images, the largest 99.9999th percentile.
    """
    net = fold(weights)
    names = [name for i in range(1, len(net.blocks) + 1) for name in (f"x_{i - 1}", f"relu_{i}")]
    session = make_session(_with_outputs(net, names), threads=threads)
    found = []
    for image in images:
        values = session.run(names, {"lr": np.ascontiguousarray(image.transpose(2, 0, 1)[None])})
        found.append([float(np.percentile(np.abs(v), PERCENTILE)) for v in values])
    if not found:
        raise WeightsError("no photographs to take the ranges of the integers from")
    most = np.maximum(np.max(found, axis=0), 1e-6)
    return tuple(Range(x=float(x), hidden=float(hidden)) for x, hidden in most.reshape(-1, 2))


def _with_outputs(net: Folded, names: list[str]) -> bytes:
    graph = GraphBuilder()
    add_network(graph, net)
    return graph.graph(inputs={"lr": LR_SHAPE}, outputs=dict.fromkeys(names)).to_onnx("calibration")
