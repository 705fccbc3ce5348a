"""The ONNX graph of a network, built in numpy from its weights."""

import json
from collections.abc import Callable
from dataclasses import asdict

from a2f.export.builder import ALL_SIDES, GraphBuilder, Sides
from a2f.export.fold import Folded, FoldedBlock, fold
from a2f.export.int8 import MOVES_KEY, Range, add_res
from a2f.variants import A2FConfig
from a2f.weights import Weights

LR_SHAPE = ("batch", 3, "height", "width")
OWN_KEYS = ("format", MOVES_KEY)  # metadata of weights files only
BLOCK_HALO_PX = 2  # two 3x3 convolutions


def export_onnx(
    weights: Weights,
    *,
    ranges: tuple[Range, ...] | None = None,
    gates_given: bool = False,
    lr_size: tuple[int, int] | None = None,
) -> bytes:
    """Make the ONNX file of a network; equal weights give equal bytes.

    Args:
        weights: weights of any A²F network.
        ranges: one per block; the convolutions of `res` then use 8-bit integers.
        gates_given: make the gates of all blocks (Eq. 7), times λ_att, inputs "gate_1" .. "gate_L", [1, C, 1, 1], for
            images that run in pieces; networks without projection have no gates.
        lr_size: width and height of the LR image, pixels, for programs that require a fixed size; the batch is then 1.
            None leaves batch, height and width free.

    Returns:
        The file. Its input is "lr" [N, 3, H, W], its output "sr" [N, 3, sH, sW], float32 RGB in [0, 1]; the output is
        not clipped. The metadata has the configuration, the licence and the checksum.
    """
    graph = GraphBuilder()
    add_network(graph, fold(weights), ranges, gates_given=gates_given)
    s, gates = weights.config.scale, gate_names(weights.config) if gates_given else []
    lr: tuple[int | str, ...] = LR_SHAPE
    sr: tuple[int | str, ...] = ("batch", 3, f"{s}*height", f"{s}*width")
    if lr_size is not None:
        width, height = lr_size
        lr, sr = (1, 3, height, width), (1, 3, s * height, s * width)
    inputs = {"lr": lr} | dict.fromkeys(gates, (1, weights.config.channels, 1, 1))
    network = graph.graph(inputs=inputs, outputs={"sr": sr})
    return network.to_onnx(f"a2f_{weights.config.variant}_x{s}", _metadata(weights))


def gate_names(config: A2FConfig) -> list[str]:
    """The names of the gate inputs of a graph with `gates_given`."""
    return [f"gate_{i}" for i in range(1, config.blocks + 1)] if config.projection else []


def _metadata(weights: Weights) -> dict[str, str]:
    own = {
        "config": json.dumps(asdict(weights.config), sort_keys=True),
        "weights_sha256": weights.sha256,
        "input": "lr [N, 3, H, W] float32 RGB in [0, 1]",
        "output": "sr [N, 3, s*H, s*W] float32 RGB in [0, 1], not clipped",
    }
    return {**{key: value for key, value in sorted(weights.metadata.items()) if key not in OWN_KEYS}, **own}


def add_network(
    graph: GraphBuilder,
    net: Folded,
    ranges: tuple[Range, ...] | None = None,
    *,
    gates_given: bool = False,
    gates_mixed: bool = False,
) -> None:
    """Add a whole network to a graph, from "lr" to "sr".

    Args:
        graph: the builder that gets the nodes.
        net: the folded network.
        ranges: one per block; the convolutions of `res` then use 8-bit integers.
        gates_given: make the gates inputs "gate_1" .. "gate_L".
        gates_mixed: mix the gate of each block with a given gate: "used_i" = own gate * input "share" + input
            "before_i" * input "rest".
    """
    centred = graph.op("Sub", "lr", graph.constant("mean", net.mean), name="centred")
    xs = [graph.conv(net.head, centred, name="x_0")]  # Eq. 1
    for i, block in enumerate(net.blocks, start=1):
        reach = None if ranges is None else ranges[i - 1]

        def auxiliary(x: str, block: FoldedBlock = block, i: int = i) -> tuple[str, str]:
            p = _add_projection(graph, block, xs, i)
            gate = f"gate_{i}" if gates_given else _add_gate(graph, block, p, i)
            return p, _add_mixture(graph, gate, i) if gates_mixed else gate

        xs.append(add_block(graph, block, xs[-1], auxiliary=auxiliary, reach=reach, end=f"_{i}"))  # Eq. 2
    skip = graph.conv(net.skip, centred, name="skip")  # Eq. 4
    features = graph.op("Add", graph.conv(net.tail, xs[-1], name="tail"), skip, name="tail+skip")  # Eq. 3, 5
    graph.op("DepthToSpace", features, name="sr", blocksize=net.config.scale, mode="CRD")


def add_block(
    graph: GraphBuilder,
    block: FoldedBlock,
    x: str,
    *,
    auxiliary: Callable[[str], tuple[str, str]],
    reach: Range | None = None,
    sides: Sides = ALL_SIDES,
    end: str = "",
    mask: str | None = None,
) -> str:
    """Add a block of a whole network or of one tile; returns x_i.

    Args:
        graph: the builder that gets the nodes.
        block: the folded block.
        x: the features before the block, x_{i-1}, with a halo of `BLOCK_HALO_PX` at the sides that are no border of the
            image.
        auxiliary: takes x_{i-1} without halo, adds p_i (Eq. 6) and returns its name and that of its gate, times λ_att;
            not called for a block without projection.
        reach: the range of 8-bit integers; None for floating point.
        sides: sides of the tile that are a border of the image.
        end: suffix of all names.
        mask: a tensor to multiply the hidden features with; only in floating point.
    """
    res = add_res(graph, block, x, reach=reach, sides=sides, end=end, mask=mask)  # Eq. 8, times λ_res
    inside = graph.inside(x, BLOCK_HALO_PX, sides)
    carried = graph.op("Mul", inside, graph.scalar(f"lambda_x{end}", block.lambda_x), name=f"carried{end}")
    if not block.proj:
        return graph.op("Add", res, carried, name=f"x{end}")
    p, gate = auxiliary(inside)
    att = graph.op("Mul", p, gate, name=f"att{end}")  # Eq. 7, times λ_att
    both = graph.op("Add", att, carried, name=f"auxiliary{end}")
    return graph.op("Add", res, both, name=f"x{end}")  # Eq. 9


def _add_projection(graph: GraphBuilder, block: FoldedBlock, xs: list[str], i: int) -> str:
    """Add the auxiliary features p_i (Eq. 6) as a sum of one convolution per source, without a concatenated copy."""
    parts = [graph.conv(conv, x, name=f"p_{i}_{j}") for j, (conv, x) in enumerate(zip(block.proj, xs, strict=True))]
    total = parts[0]
    for j, part in enumerate(parts[1:], start=1):
        total = graph.op("Add", part, total, name=f"p_{i}_0..{j}")
    return total


def _add_gate(graph: GraphBuilder, block: FoldedBlock, p: str, i: int) -> str:
    """Add the gate of a block, times λ_att (Eq. 7)."""
    factor = graph.scalar(f"lambda_att_{i}", block.lambda_att)
    if block.gate1 is None or block.gate2 is None:
        return factor
    pooled = graph.op("GlobalAveragePool", p, name=f"pooled_{i}")
    inner = graph.op("Relu", graph.conv(block.gate1, pooled, name=f"gate1_{i}"), name=f"gate_relu_{i}")
    opened = graph.op("Sigmoid", graph.conv(block.gate2, inner, name=f"gate2_{i}"), name=f"gate_{i}")
    return graph.op("Mul", opened, factor, name=f"lambda_gate_{i}")


def _add_mixture(graph: GraphBuilder, gate: str, i: int) -> str:
    """Mix the gate of a block with a given gate."""
    own = graph.op("Mul", gate, "share", name=f"own_{i}")
    kept = graph.op("Mul", f"before_{i}", "rest", name=f"kept_{i}")
    return graph.op("Add", own, kept, name=f"used_{i}")
