"""The network as separate steps for images that run in tiles: head, each block, tail.

A step computes the inside of a tile. Its input has a halo, the margin that the 3x3 convolutions need, except at sides
that are a border of the image: only there each convolution pads its input with zeros, as on the whole image. The gates,
which pool over the whole image, are inputs.

A block of the first half takes all earlier features ("earlier"). After the middle, the features are replaced by partial
sums for the later blocks: p_i (Eq. 6) is a sum over its sources, so one partial sum of C channels per later block
replaces all known features. So at most about L/2 features are kept at a time, not L.
"""

import numpy as np

from a2f.export.builder import Graph, GraphBuilder, Sides
from a2f.export.fold import Conv, Folded
from a2f.export.graph import add_block

TAIL_HALO_PX = 1


def middle_of(net: Folded) -> int:
    """The last level whose features are kept; the blocks after it use partial sums."""
    return len(net.blocks) // 2


def slots_of(net: Folded) -> int:
    """The largest number of features of C channels that are kept at a time."""
    k, levels = middle_of(net), len(net.blocks)
    return max(k + 1, levels - k + 1) if net.config.projection else 2


def step_graph(net: Folded, kind: str, *, number: int = 0, sides: Sides, masked: bool = False) -> Graph:
    """Make the graph of one step.

    Args:
        net: the folded network.
        kind: "head", "block", "exchange" or "tail".
        number: number of the block, from 1; 0 for other kinds.
        sides: sides of the tile that are a border of the image.
        masked: for a block: add the input "mask" [1, 1, h + 2, w + 2] for a tile of h x w, 0 outside the image and 1
            inside. Then one graph works for every tile: no side is a border, and the halo is 0 outside the image.
    """
    if kind == "block":
        return _block(net, number, sides, masked=masked)
    if kind == "exchange":
        return _exchange(net)
    return _head(net, sides) if kind == "head" else _tail(net, sides)


def _head(net: Folded, sides: Sides) -> Graph:
    """Input "lr" [N, 3, h, w] with a halo of the head's radius; output "x" [N, C, ...] without halo (Eq. 1)."""
    graph = GraphBuilder()
    centred = graph.op("Sub", "lr", graph.constant("mean", net.mean), name="centred")
    graph.conv(net.head, centred, name="x", sides=sides)
    return _graph_of(graph, {"lr": 3}, {"x": net.config.channels})


def _block(net: Folded, number: int, sides: Sides, *, masked: bool) -> Graph:
    """One block (Eq. 6 to 9).

    Inputs: "before" (x_{i-1} with a halo of 2), "gate" [1, C, 1, 1], times λ_att, and "earlier" (x_0 .. x_{i-2},
        without halo) or, after the middle, "sums" (the partial sums of blocks i .. L). Without projection "before" is
        the only input. Outputs: "x" (x_i without halo) and, after the middle, "later" (the partial sums of blocks i+1
        .. L, which include x_i).
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
    return _graph_of(graph, inputs, outputs)


def _exchange(net: Folded) -> Graph:
    """Input "features" (x_0 .. x_k, k is the middle); output "sums" of the blocks k+1 .. L; no halo."""
    k, c = middle_of(net), net.config.channels
    rows = [np.concatenate([conv.weight for conv in b.proj[: k + 1]], axis=1) for b in net.blocks[k:]]
    graph = GraphBuilder()
    graph.conv(Conv(weight=np.concatenate(rows, axis=0)), "features", name="sums")
    return _graph_of(graph, {"features": (k + 1) * c}, {"sums": (len(net.blocks) - k) * c})


def _tail(net: Folded, sides: Sides) -> Graph:
    """Inputs "before" (x_L) and "lr", both with a halo of 1; output "sr" [N, 3, ...] without halo (Eq. 3 to 5)."""
    graph = GraphBuilder()
    centred = graph.op("Sub", "lr", graph.constant("mean", net.mean), name="centred")
    skip = graph.conv(net.skip, centred, name="skip", sides=sides)
    features = graph.op("Add", graph.conv(net.tail, "before", name="tail", sides=sides), skip, name="tail+skip")
    graph.op("DepthToSpace", features, name="sr", blocksize=net.config.scale, mode="CRD")
    return _graph_of(graph, {"before": net.config.channels, "lr": 3}, {"sr": 3})


def _graph_of(graph: GraphBuilder, inputs: dict[str, int], outputs: dict[str, int]) -> Graph:
    """Make the graph from the channels of its inputs and outputs; height and width are free."""

    def shape(name: str, channels: int) -> tuple[int | str, ...]:
        return (1, channels, 1, 1) if name == "gate" else ("batch", channels, f"{name}.h", f"{name}.w")

    return graph.graph(
        inputs={name: shape(name, c) for name, c in inputs.items()},
        outputs={name: shape(name, c) for name, c in outputs.items()},
    )
