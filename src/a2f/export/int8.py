"""The 3x3 convolutions of `res` in 8-bit integers.

They are about 95 % of the operations. Their kernels become int8 with one quantisation step per output channel. Their
inputs become int8 (x_{i-1}) and uint8 (after the ReLU) with fixed steps, calibrated on photographs. All other tensors,
including the auxiliary features and the sums, remain in floating point, so that errors do not accumulate over the
blocks.

Each channel of an input has its own step. A convolution cannot apply these steps, so they are multiplied into its
kernel. The steps after the ReLU are divided out of the first convolution, which changes nothing else: relu(a y) =
a relu(y) for a > 0. The steps of x_{i-1} become a multiplication before the rounding, which OpenVINO joins with it.
"""

import base64
import binascii
import json
import zlib
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from a2f.errors import WeightsError
from a2f.export.builder import GraphBuilder, Sides
from a2f.export.fold import Conv, FoldedBlock, fold
from a2f.export.rounding import nearest, round_kernels
from a2f.weights import Weights

METADATA_KEY = "int8_ranges"
MOVES_KEY = "int8_moves"
# Kernels use one bit less than int8 has. CPUs without an 8-bit dot product (VNNI) add two products in 16 bits: their
# inputs, shifted to uint8, are at most 255, and 2 * 255 * 64 is the largest sum that fits. So no sum overflows, and
# CPUs differ only by the rounding of the floating-point values between the integers.
MAX_KERNEL = 64


@dataclass(frozen=True, kw_only=True)
class Range:
    """The ranges and the kernels of the integers of one block.

    Attributes:
        x: largest magnitude of each channel of x_{i-1}, for symmetric int8.
        hidden: largest value of each channel after the ReLU, for uint8.
        moves: int8 bytes, in the order of the kernels: the integers of both kernels minus the nearest integers, as
            calibrated on photographs. Empty: the kernels are rounded without photographs (`round_kernels`).
    """

    x: tuple[float, ...]
    hidden: tuple[float, ...]
    moves: tuple[bytes, bytes] | tuple[()] = ()


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
    first, second = in_steps(block, reach)
    moves1, moves2 = reach.moves or (None, None)
    factors = graph.constant(f"{x}.factors", 1 / _steps(reach.x, 127).reshape(1, -1, 1, 1))
    rounded = _rounded(graph, graph.op("Mul", x, factors, name=f"{x}.scaled"), np.int8(0))
    hidden = graph.op("Relu", _conv(graph, first, moves1, rounded, name=conv1, sides=sides), name=relu)
    return _conv(graph, second, moves2, _rounded(graph, hidden, np.uint8(0)), name=res, sides=sides)


def in_steps(block: FoldedBlock, reach: Range) -> tuple[Conv, Conv]:
    """The convolutions of `res` for inputs that are counted in steps, from and to integers.

    Args:
        block: the folded block.
        reach: its ranges.

    Returns:
        Both convolutions in floating point. The first takes x / step and gives hidden / step, the second takes this
        and gives `res` itself.
    """
    before, after = _steps(reach.x, 127), _steps(reach.hidden, 255)
    rows = np.broadcast_to(after, len(block.conv1.weight))
    bias = None if block.conv1.bias is None else block.conv1.bias / rows
    first = Conv(weight=block.conv1.weight * before[:, None, None] / rows[:, None, None, None], bias=bias)
    return first, replace(block.conv2, weight=block.conv2.weight * after[:, None, None])


def kernel_steps(kernels: NDArray[np.float32]) -> NDArray[np.float32]:
    """The step of each output channel of kernels [out, in, height, width]: the largest value becomes `MAX_KERNEL`."""
    steps = np.abs(kernels).max(axis=(1, 2, 3)) / MAX_KERNEL
    return np.where(steps > 0, steps, 1).astype(np.float32)


def _steps(reach: tuple[float, ...], levels: int) -> NDArray[np.float32]:
    return (np.array(reach) / levels).astype(np.float32)


def _rounded(graph: GraphBuilder, x: str, zero: np.generic) -> str:
    scale = graph.constant(f"{x}.step", np.float32(1))
    zero_point = graph.constant(f"{x}.zero", np.asarray(zero))
    integers = graph.op("QuantizeLinear", x, scale, zero_point, name=f"{x}.integers")
    return graph.op("DequantizeLinear", integers, scale, zero_point, name=f"{x}.rounded")


def _conv(graph: GraphBuilder, conv: Conv, moves: bytes | None, x: str, *, name: str, sides: Sides) -> str:
    steps = kernel_steps(conv.weight)
    if moves is None:
        integers = round_kernels(conv.weight, steps, largest=MAX_KERNEL)
    else:
        integers = nearest(conv.weight, steps) + np.frombuffer(moves, np.int8).reshape(conv.weight.shape)
    names = [
        graph.constant(f"{name}.weight.integers", integers),
        graph.constant(f"{name}.weight.steps", steps),
        graph.constant(f"{name}.weight.zero", np.zeros(len(steps), np.int8)),
    ]
    weight = graph.op("DequantizeLinear", *names, name=f"{name}.weight", axis=0)
    return graph.conv_of(x, weight, conv, name=name, sides=sides)


def ranges_metadata(ranges: tuple[Range, ...]) -> dict[str, str]:
    """Convert ranges to metadata of a weights file (`METADATA_KEY`, and `MOVES_KEY` if the kernels are calibrated)."""
    text = json.dumps([[[float(f"{v:.6g}") for v in values] for values in (r.x, r.hidden)] for r in ranges])
    moves = b"".join(part for r in ranges for part in r.moves)
    if not moves:
        return {METADATA_KEY: text}
    return {METADATA_KEY: text, MOVES_KEY: base64.b64encode(zlib.compress(moves, 9)).decode("ascii")}


def ranges_of(weights: Weights) -> tuple[Range, ...] | None:
    """The ranges in the metadata of weights; None if there are none.

    Files of earlier versions have one number for all channels, and no calibrated kernels.

    Raises:
        WeightsError: if they are damaged.
    """
    text = weights.metadata.get(METADATA_KEY)
    if text is None:
        return None
    try:
        ranges = tuple(Range(x=_channels(x), hidden=_channels(hidden)) for x, hidden in json.loads(text))
    except (ValueError, TypeError) as error:
        raise WeightsError(f"the int8 ranges of these weights cannot be read: {error}") from error
    blocks = fold(weights).blocks
    if len(ranges) != len(blocks) or not all(_fits(r, b) for r, b in zip(ranges, blocks, strict=True)):
        raise WeightsError(f"the int8 ranges of these weights do not match {len(blocks)} blocks: calibrate again")
    moves = weights.metadata.get(MOVES_KEY)
    return ranges if moves is None else _with_moves(ranges, blocks, moves)


def _channels(value: object) -> tuple[float, ...]:
    return tuple(float(v) for v in value) if isinstance(value, list) else (float(value),)  # type: ignore[arg-type]


def _fits(reach: Range, block: FoldedBlock) -> bool:
    """Whether a range has one usable number per channel, or one for all channels, in the precision of graphs."""
    for values, conv in ((reach.x, block.conv1), (reach.hidden, block.conv2)):
        with np.errstate(over="ignore"):
            reaches = np.array(values).astype(np.float32)
        normal = np.isfinite(reaches) & (reaches / 255 >= np.finfo(np.float32).tiny)
        if len(values) not in (1, conv.weight.shape[1]) or not normal.all():
            return False
    return True


def _with_moves(ranges: tuple[Range, ...], blocks: tuple[FoldedBlock, ...], text: str) -> tuple[Range, ...]:
    sizes = [conv.weight.size for block in blocks for conv in (block.conv1, block.conv2)]
    try:
        found = np.frombuffer(zlib.decompress(base64.b64decode(text, validate=True)), np.int8)
    except (binascii.Error, ValueError, zlib.error) as error:
        raise WeightsError(f"the int8 kernels of these weights cannot be read: {error}") from error
    if found.size != sum(sizes):
        raise WeightsError(
            f"the int8 kernels of these weights have {found.size} values instead of {sum(sizes)}: calibrate again"
        )
    parts = np.split(found, np.cumsum(sizes)[:-1])
    result = []
    for i, (reach, block) in enumerate(zip(ranges, blocks, strict=True)):
        own = parts[2 * i : 2 * i + 2]
        for conv, moves in zip(in_steps(block, reach), own, strict=True):
            integers = nearest(conv.weight, kernel_steps(conv.weight)).ravel() + moves.astype(np.int16)
            if np.abs(integers).max() > MAX_KERNEL:
                raise WeightsError("the int8 kernels of these weights do not match the weights: calibrate again")
        result.append(replace(reach, moves=(own[0].tobytes(), own[1].tobytes())))
    return tuple(result)
