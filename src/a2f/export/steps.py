"""The network in steps, for images that run in tiles: head, each block, tail.

A step computes the inside of a tile. What it reads comes with a halo, the margin that its 3x3 convolutions eat up,
except at those sides that are the image's own border: there, and only there, the convolutions pad with zeros, each one
its own input, as on the whole image. The gates, which pool over the whole image, come as inputs.

A block of the first half takes the features before it ("earlier"). After the middle the features are exchanged for what
the blocks to come will need of them: p_i (Eq. 6) is a sum over its sources, so the part that is known, one sum of C
channels for each block to come, stands for all of them. That way at most about L/2 features are ever kept, not L.
"""

import numpy as np

from a2f.export import onnx_file
from a2f.export.builder import GraphBuilder, Sides
from a2f.export.fold import Conv, Folded
from a2f.export.int8 import add_res

BLOCK_HALO_PX = 2  # two 3x3 convolutions
TAIL_HALO_PX = 1


def middle_of(net: Folded) -> int:
    """The last level whose features are kept as they are; the blocks after it work with sums."""
    return len(net.blocks) // 2


def slots_of(net: Folded) -> int:
    """Features of C channels that are kept at a time, at most."""
    k, levels = middle_of(net), len(net.blocks)
    return max(k + 1, levels - k + 1) if net.config.projection else 2


def head_step(net: Folded, *, sides: Sides) -> bytes:
    """Input "lr" [N, 3, h, w] with a halo of the head's radius, output "x" [N, C, ...] without (Eq. 1)."""
    graph = GraphBuilder()
    centred = graph.op("Sub", "lr", graph.constant("mean", net.mean), name="centred")
    graph.conv(net.head, centred, name="x", sides=sides)
    return _model(graph, {"lr": 3}, {"x": net.config.channels})


def block_step(net: Folded, number: int, *, sides: Sides, masked: bool = False) -> bytes:
    """One block (Eq. 6 to 9).

    Args:
        net: folded.
        number: i, from 1.
        sides: of the tile that are the image's border.
        masked: adds the input "mask" [1, 1, h + 2, w + 2] for a tile of h x w, 0 outside the image and 1 inside. With
            it one graph serves every tile: no side is a border, and the halo is 0 where the image ends.

    Returns:
        Inputs "before" (x_{i-1} with a halo of 2), "gate" [1, C, 1, 1], times λ_att, and "earlier" (x_0 .. x_{i-2},
        without halo) or, after the middle, "sums" (of blocks i .. L); without projection "before" alone. Outputs "x",
        x_i without halo, and after the middle "later", the sums of blocks i+1 .. L with x_i in them.
    """
    block, c, levels = net.blocks[number - 1], net.config.channels, len(net.blocks)
    graph = GraphBuilder()
    inputs, outputs = {"before": c}, {"x": c}
    if masked:
        inputs["mask"] = 1
    res = add_res(graph, block, "before", reach=None, sides=sides, mask="mask" if masked else None)
    inside = _inside(graph, "before", BLOCK_HALO_PX, sides)
    carried = graph.op("Mul", inside, graph.scalar("lambda_x", block.lambda_x), name="carried")
    if block.proj:
        late = number > middle_of(net)
        if late:
            inputs["sums"] = (levels - number + 1) * c
            p = _channels(graph, "sums", 0, c, name="p") if number < levels else "sums"
        else:
            p = graph.conv(block.proj[-1], inside, name="p_last")
            if number > 1:
                inputs["earlier"] = (number - 1) * c
                weight = np.concatenate([conv.weight for conv in block.proj[:-1]], axis=1)
                p = graph.op("Add", graph.conv(Conv(weight=weight), "earlier", name="p_earlier"), p, name="p")
        inputs["gate"] = c
        carried = graph.op("Add", graph.op("Mul", p, "gate", name="att"), carried, name="auxiliary")
        if late and number < levels:
            outputs["later"] = (levels - number) * c
            graph.op("Add", res, carried, name="x")
            own = np.concatenate([later.proj[number].weight for later in net.blocks[number:]], axis=0)
            rest = _channels(graph, "sums", c, inputs["sums"], name="rest")
            graph.op("Add", graph.conv(Conv(weight=own), "x", name="own"), rest, name="later")
            return _model(graph, inputs, outputs)
    graph.op("Add", res, carried, name="x")
    return _model(graph, inputs, outputs)


def exchange_step(net: Folded) -> bytes:
    """Input "features" (x_0 .. x_k, k the middle), output "sums" of the blocks k+1 .. L; no halo."""
    k, c = middle_of(net), net.config.channels
    rows = [np.concatenate([conv.weight for conv in b.proj[: k + 1]], axis=1) for b in net.blocks[k:]]
    graph = GraphBuilder()
    graph.conv(Conv(weight=np.concatenate(rows, axis=0)), "features", name="sums")
    return _model(graph, {"features": (k + 1) * c}, {"sums": (len(net.blocks) - k) * c})


def tail_step(net: Folded, *, sides: Sides) -> bytes:
    """Inputs "before" (x_L) and "lr", both with a halo of 1, output "sr" [N, 3, ...] without (Eq. 3 to 5)."""
    graph = GraphBuilder()
    centred = graph.op("Sub", "lr", graph.constant("mean", net.mean), name="centred")
    skip = graph.conv(net.skip, centred, name="skip", sides=sides)
    features = graph.op("Add", graph.conv(net.tail, "before", name="tail", sides=sides), skip, name="tail+skip")
    graph.op("DepthToSpace", features, name="sr", blocksize=net.config.scale, mode="CRD")
    return _model(graph, {"before": net.config.channels, "lr": 3}, {"sr": 3})


def _inside(graph: GraphBuilder, x: str, halo: int, sides: Sides) -> str:
    """A tile without its halo, which it has at those sides that are not the image's."""
    if all(sides):
        return x
    top, left, bottom, right = (0 if border else halo for border in sides)
    ends = [-n if n else np.iinfo(np.int64).max for n in (bottom, right)]
    starts = graph.constant("inside.starts", np.array([top, left], np.int64))
    stops = graph.constant("inside.ends", np.array(ends, np.int64))
    axes = graph.constant("inside.axes", np.array([2, 3], np.int64))
    return graph.op("Slice", x, starts, stops, axes, name="inside")


def _channels(graph: GraphBuilder, x: str, first: int, end: int, *, name: str) -> str:
    bounds = [graph.constant(f"{name}.{n}", np.array([v], np.int64)) for n, v in (("from", first), ("to", end))]
    return graph.op("Slice", x, *bounds, graph.constant(f"{name}.axes", np.array([1], np.int64)), name=name)


def _model(graph: GraphBuilder, inputs: dict[str, int], outputs: dict[str, int]) -> bytes:
    """Channels by name; all sides are free."""

    def shape(name: str, channels: int) -> tuple[int | str, ...]:
        return (1, channels, 1, 1) if name == "gate" else ("batch", channels, f"{name}.h", f"{name}.w")

    return onnx_file.model(
        "step",
        nodes=graph.nodes,
        constants=graph.constants,
        inputs={name: shape(name, c) for name, c in inputs.items()},
        outputs={name: shape(name, c) for name, c in outputs.items()},
    )
