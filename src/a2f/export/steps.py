"""The network in steps, for images that run in tiles: head, each block, tail.

A step computes the inside of a tile. What it reads comes with a halo, the margin that its 3x3 convolutions eat up,
except at those sides that are the image's own border: there, and only there, the convolutions pad with zeros, each one
its own input, as on the whole image. The gates, which pool over the whole image, come as inputs.

A block of the first half takes the features before it ("earlier"). After the middle the features are exchanged for what
the blocks to come will need of them: p_i (Eq. 6) is a sum over its sources, so the part that is known, one sum of C
channels for each block to come, stands for all of them. That way at most about L/2 features are ever kept, not L.
"""

import numpy as np

from a2f.export.builder import Graph, GraphBuilder, Sides
from a2f.export.fold import Conv, Folded
from a2f.export.graph import add_block

TAIL_HALO_PX = 1


def middle_of(net: Folded) -> int:
    """The last level whose features are kept as they are; the blocks after it work with sums."""
    return len(net.blocks) // 2


def slots_of(net: Folded) -> int:
    """Features of C channels that are kept at a time, at most."""
    k, levels = middle_of(net), len(net.blocks)
    return max(k + 1, levels - k + 1) if net.config.projection else 2


def step_graph(net: Folded, kind: str, *, number: int = 0, sides: Sides, masked: bool = False) -> Graph:
    """One step as a graph.

    Args:
        net: folded.
        kind: "head", "block", "exchange" or "tail".
        number: of the block, from 1; 0 for all other kinds.
        sides: of the tile that are the image's border.
        masked: of a block: adds the input "mask" [1, 1, h + 2, w + 2] for a tile of h x w, 0 outside the image and 1
            inside. With it one graph serves every tile: no side is a border, and the halo is 0 where the image ends.
    """
    if kind == "block":
        return _block(net, number, sides, masked=masked)
    if kind == "exchange":
        return _exchange(net)
    return _head(net, sides) if kind == "head" else _tail(net, sides)


def _head(net: Folded, sides: Sides) -> Graph:
    """Input "lr" [N, 3, h, w] with a halo of the head's radius, output "x" [N, C, ...] without (Eq. 1)."""
    graph = GraphBuilder()
    centred = graph.op("Sub", "lr", graph.constant("mean", net.mean), name="centred")
    graph.conv(net.head, centred, name="x", sides=sides)
    return _finished(graph, {"lr": 3}, {"x": net.config.channels})


def _block(net: Folded, number: int, sides: Sides, *, masked: bool) -> Graph:
    """One block (Eq. 6 to 9).

    Inputs "before" (x_{i-1} with a halo of 2), "gate" [1, C, 1, 1], times λ_att, and "earlier" (x_0 .. x_{i-2}, without
    halo) or, after the middle, "sums" (of blocks i .. L); without projection "before" alone. Outputs "x", x_i without
    halo, and after the middle "later", the sums of blocks i+1 .. L with x_i in them.
    """
    block, c, levels = net.blocks[number - 1], net.config.channels, len(net.blocks)
    graph, late = GraphBuilder(), number > middle_of(net)
    inputs, outputs = {"before": c}, {"x": c}
    if masked:
        inputs["mask"] = 1

    def auxiliary(inside: str) -> tuple[str, str]:
        if late:
            inputs["sums"] = (levels - number + 1) * c
            p = graph.channels("sums", 0, c, name="p") if number < levels else "sums"
        else:
            p = graph.conv(block.proj[-1], inside, name="p_last")
            if number > 1:
                inputs["earlier"] = (number - 1) * c
                weight = np.concatenate([conv.weight for conv in block.proj[:-1]], axis=1)
                p = graph.op("Add", graph.conv(Conv(weight=weight), "earlier", name="p_earlier"), p, name="p")
        inputs["gate"] = c
        return p, "gate"

    add_block(graph, block, "before", auxiliary=auxiliary, sides=sides, mask="mask" if masked else None)
    if block.proj and late and number < levels:
        outputs["later"] = (levels - number) * c
        own = np.concatenate([later.proj[number].weight for later in net.blocks[number:]], axis=0)
        rest = graph.channels("sums", c, inputs["sums"], name="rest")
        graph.op("Add", graph.conv(Conv(weight=own), "x", name="own"), rest, name="later")
    return _finished(graph, inputs, outputs)


def _exchange(net: Folded) -> Graph:
    """Input "features" (x_0 .. x_k, k the middle), output "sums" of the blocks k+1 .. L; no halo."""
    k, c = middle_of(net), net.config.channels
    rows = [np.concatenate([conv.weight for conv in b.proj[: k + 1]], axis=1) for b in net.blocks[k:]]
    graph = GraphBuilder()
    graph.conv(Conv(weight=np.concatenate(rows, axis=0)), "features", name="sums")
    return _finished(graph, {"features": (k + 1) * c}, {"sums": (len(net.blocks) - k) * c})


def _tail(net: Folded, sides: Sides) -> Graph:
    """Inputs "before" (x_L) and "lr", both with a halo of 1, output "sr" [N, 3, ...] without (Eq. 3 to 5)."""
    graph = GraphBuilder()
    centred = graph.op("Sub", "lr", graph.constant("mean", net.mean), name="centred")
    skip = graph.conv(net.skip, centred, name="skip", sides=sides)
    features = graph.op("Add", graph.conv(net.tail, "before", name="tail", sides=sides), skip, name="tail+skip")
    graph.op("DepthToSpace", features, name="sr", blocksize=net.config.scale, mode="CRD")
    return _finished(graph, {"before": net.config.channels, "lr": 3}, {"sr": 3})


def _finished(graph: GraphBuilder, inputs: dict[str, int], outputs: dict[str, int]) -> Graph:
    """Channels by name; all sides are free."""

    def shape(name: str, channels: int) -> tuple[int | str, ...]:
        return (1, channels, 1, 1) if name == "gate" else ("batch", channels, f"{name}.h", f"{name}.w")

    return graph.graph(
        inputs={name: shape(name, c) for name, c in inputs.items()},
        outputs={name: shape(name, c) for name, c in outputs.items()},
    )
