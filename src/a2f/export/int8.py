"""The 3x3 convolutions of `res` in 8-bit integers.

They are about 95 % of the operations. Their kernels become int8 with one quantisation step per output channel. Their
inputs become int8 (x_{i-1}) and uint8 (after the ReLU) with fixed steps, calibrated on photographs. All other tensors,
including the auxiliary features and the sums, remain in floating point, so that errors do not accumulate over the
blocks.
"""

import json
from dataclasses import dataclass

import numpy as np

from a2f.errors import WeightsError
from a2f.export.builder import GraphBuilder, Sides
from a2f.export.fold import Conv, FoldedBlock
from a2f.export.rounding import round_kernels
from a2f.weights import Weights

METADATA_KEY = "int8_ranges"
# Kernels use one bit less than int8 has. CPUs without an 8-bit dot product (VNNI) add two products in 16 bits: their
# inputs, shifted to uint8, are at most 255, and 2 * 255 * 64 is the largest sum that fits. So no sum overflows, and
# CPUs differ only by the rounding of the floating-point values between the integers.
MAX_KERNEL = 64


@dataclass(frozen=True, kw_only=True)
class Range:
    """The ranges of the integers of one block.

    Attributes:
        x: largest magnitude of x_{i-1}, for symmetric int8.
        hidden: largest value after the ReLU, for uint8.
    """

    x: float
    hidden: float


def add_res(
    graph: GraphBuilder,
    block: FoldedBlock,
    x: str,
    *,
    reach: Range | None,
    sides: Sides,
    end: str = "",
    mask: str | None = None,
) -> str:
    """Add `res` of a block (Eq. 8, times λ_res), in integers if a range is given.

    Args:
        graph: the builder that gets the nodes.
        block: the folded block.
        x: the features before the block.
        reach: the range of 8-bit integers; None for floating point.
        sides: sides of the tile that are a border of the image.
        end: suffix of all names.
        mask: a tensor to multiply the hidden features with; only in floating point.
    """
    conv1, relu, res = f"conv1{end}", f"relu{end}", f"res{end}"
    if reach is None:
        hidden = graph.op("Relu", graph.conv(block.conv1, x, name=conv1, sides=sides), name=relu)
        if mask is not None:
            hidden = graph.op("Mul", hidden, mask, name=f"masked{end}")
        return graph.conv(block.conv2, hidden, name=res, sides=sides)
    rounded = _rounded(graph, x, reach.x / 127, np.int8(0))
    hidden = graph.op("Relu", _conv(graph, block.conv1, rounded, name=conv1, sides=sides), name=relu)
    rounded = _rounded(graph, hidden, reach.hidden / 255, np.uint8(0))
    return _conv(graph, block.conv2, rounded, name=res, sides=sides)


def _rounded(graph: GraphBuilder, x: str, step: float, zero: np.generic) -> str:
    scale = graph.constant(f"{x}.step", np.float32(step))
    zero_point = graph.constant(f"{x}.zero", np.asarray(zero))
    integers = graph.op("QuantizeLinear", x, scale, zero_point, name=f"{x}.integers")
    return graph.op("DequantizeLinear", integers, scale, zero_point, name=f"{x}.rounded")


def _conv(graph: GraphBuilder, conv: Conv, x: str, *, name: str, sides: Sides) -> str:
    steps = np.abs(conv.weight).max(axis=(1, 2, 3)) / MAX_KERNEL
    steps = np.where(steps > 0, steps, 1).astype(np.float32)
    integers = round_kernels(conv.weight, steps, largest=MAX_KERNEL)
    names = [
        graph.constant(f"{name}.weight.integers", integers),
        graph.constant(f"{name}.weight.steps", steps),
        graph.constant(f"{name}.weight.zero", np.zeros(len(steps), np.int8)),
    ]
    weight = graph.op("DequantizeLinear", *names, name=f"{name}.weight", axis=0)
    return graph.conv_of(x, weight, conv, name=name, sides=sides)


def ranges_text(ranges: tuple[Range, ...]) -> str:
    """Convert ranges to text for the metadata of a weights file (`METADATA_KEY`)."""
    return json.dumps([[float(f"{r.x:.6g}"), float(f"{r.hidden:.6g}")] for r in ranges])


def ranges_of(weights: Weights) -> tuple[Range, ...] | None:
    """The ranges in the metadata of weights; None if there are none.

    Raises:
        WeightsError: if they are damaged.
    """
    text = weights.metadata.get(METADATA_KEY)
    if text is None:
        return None
    try:
        ranges = tuple(Range(x=float(x), hidden=float(hidden)) for x, hidden in json.loads(text))
    except (ValueError, TypeError) as error:
        raise WeightsError(f"the int8 ranges of these weights cannot be read: {error}") from error
    with np.errstate(over="ignore"):
        reaches = np.array([(r.x, r.hidden) for r in ranges]).astype(np.float32)  # the precision of graphs
    normal = np.isfinite(reaches) & (reaches / 255 >= np.finfo(np.float32).tiny)
    if len(ranges) != weights.config.blocks or not normal.all():
        raise WeightsError(
            f"the int8 ranges of these weights do not match {weights.config.blocks} blocks: calibrate again"
        )
    return ranges
