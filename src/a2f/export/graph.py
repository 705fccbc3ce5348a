"""The ONNX graph of a network, built in numpy from its weights."""

import json
from dataclasses import asdict
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from a2f.export import onnx_file
from a2f.export.fold import Conv, Folded, FoldedBlock, fold
from a2f.export.int8 import Range, draw_res
from a2f.variants import A2FConfig
from a2f.weights import Weights

LR_SHAPE = ("batch", 3, "height", "width")

Layout = Literal["split", "plain"]
Sides = tuple[
    bool, bool, bool, bool
]  # top, left, bottom, right: where a convolution pads with zeros, as ONNX orders them
ALL_SIDES: Sides = (True, True, True, True)


def export_onnx(
    weights: Weights,
    *,
    layout: Layout = "split",
    ranges: tuple[Range, ...] | None = None,
    gates_given: bool = False,
) -> bytes:
    """Draw the network as an ONNX file; the same weights give the same bytes.

    Args:
        weights: of any network of the family.
        layout: "split" computes p (Eq. 6) as one 1x1 convolution per source, added up, which needs no concatenated
            copy of all features; "plain" concatenates as the paper writes it. Same result to float rounding;
            ``python -m benchmarks.engine`` times both.
        ranges: one a block, makes 8-bit integers of the convolutions of `res`.
        gates_given: the gates of all blocks (Eq. 7), times λ_att, are inputs "gate_1" .. "gate_L", [1, C, 1, 1], for
            images that run in pieces; networks without projection have none.

    Returns:
        The file: input "lr" [N, 3, H, W] and output "sr" [N, 3, sH, sW], float32 RGB in [0, 1] (the output not
        clipped); batch, height and width are free. Configuration, licence and checksum are in the metadata.
    """
    drawing = Drawing()
    drawing.network(fold(weights), layout, ranges, gates_given=gates_given)
    s, gates = weights.config.scale, gate_names(weights.config) if gates_given else []
    return onnx_file.model(
        f"a2f_{weights.config.variant}_x{s}",
        nodes=drawing.nodes,
        constants=drawing.constants,
        inputs={"lr": LR_SHAPE} | dict.fromkeys(gates, (1, weights.config.channels, 1, 1)),
        outputs={"sr": ("batch", 3, f"{s}*height", f"{s}*width")},
        metadata=_metadata(weights),
    )


def gate_names(config: A2FConfig) -> list[str]:
    """The inputs of a graph whose gates are given."""
    return [f"gate_{i}" for i in range(1, config.blocks + 1)] if config.projection else []


def _metadata(weights: Weights) -> dict[str, str]:
    own = {
        "config": json.dumps(asdict(weights.config), sort_keys=True),
        "weights_sha256": weights.sha256,
        "input": "lr [N, 3, H, W] float32 RGB in [0, 1]",
        "output": "sr [N, 3, s*H, s*W] float32 RGB in [0, 1], not clipped",
    }
    return {**{key: value for key, value in sorted(weights.metadata.items()) if key != "format"}, **own}


class Drawing:
    """Nodes and constants as they are added; every method returns the name of a tensor."""

    def __init__(self) -> None:
        self.nodes: list[bytes] = []
        self.constants: list[bytes] = []

    def network(
        self, net: Folded, layout: Layout, ranges: tuple[Range, ...] | None = None, *, gates_given: bool = False
    ) -> None:
        """All of it, from "lr" to "sr"; arguments as `export_onnx`."""
        centred = self.op("Sub", "lr", self.constant("mean", net.mean), name="centred")
        xs = [self.conv(net.head, centred, name="x_0")]  # Eq. 1
        for i, block in enumerate(net.blocks, start=1):
            reach = None if ranges is None else ranges[i - 1]
            xs.append(self.block(block, xs, i, layout, reach, gates_given=gates_given))  # Eq. 2
        skip = self.conv(net.skip, centred, name="skip")  # Eq. 4
        features = self.op("Add", self.conv(net.tail, xs[-1], name="tail"), skip, name="tail+skip")  # Eq. 3, 5
        self.op("DepthToSpace", features, name="sr", blocksize=net.config.scale, mode="CRD")

    def block(
        self, block: FoldedBlock, xs: list[str], i: int, layout: Layout, reach: Range | None, *, gates_given: bool
    ) -> str:
        """The i-th block on x_0 .. x_{i-1}: x_i."""
        res = draw_res(self, block, xs[-1], reach=reach, sides=ALL_SIDES, end=f"_{i}")  # Eq. 8, times λ_res
        carried = self.op("Mul", xs[-1], self.scalar(f"lambda_x_{i}", block.lambda_x), name=f"carried_{i}")
        if not block.proj:
            return self.op("Add", res, carried, name=f"x_{i}")
        p = self.projection(block, xs, i, layout)  # Eq. 6
        gate = f"gate_{i}" if gates_given else self.gate(block, p, i)
        att = self.op("Mul", p, gate, name=f"att_{i}")  # Eq. 7, times λ_att
        auxiliary = self.op("Add", att, carried, name=f"auxiliary_{i}")
        return self.op("Add", res, auxiliary, name=f"x_{i}")  # Eq. 9

    def projection(self, block: FoldedBlock, xs: list[str], i: int, layout: Layout) -> str:
        """The auxiliary features p_i (Eq. 6)."""
        if layout == "plain":
            whole = Conv(weight=np.concatenate([conv.weight for conv in block.proj], axis=1))
            both = xs[0] if i == 1 else self.op("Concat", *xs, name=f"concat_{i}", axis=1)
            return self.conv(whole, both, name=f"p_{i}")
        parts = [self.conv(conv, x, name=f"p_{i}_{j}") for j, (conv, x) in enumerate(zip(block.proj, xs, strict=True))]
        total = parts[0]
        for j, part in enumerate(parts[1:], start=1):
            total = self.op("Add", part, total, name=f"p_{i}_0..{j}")
        return total

    def gate(self, block: FoldedBlock, p: str, i: int) -> str:
        """The gate of a block times λ_att (Eq. 7)."""
        factor = self.scalar(f"lambda_att_{i}", block.lambda_att)
        if block.gate1 is None or block.gate2 is None:
            return factor
        pooled = self.op("GlobalAveragePool", p, name=f"pooled_{i}")
        inner = self.op("Relu", self.conv(block.gate1, pooled, name=f"gate1_{i}"), name=f"gate_relu_{i}")
        opened = self.op("Sigmoid", self.conv(block.gate2, inner, name=f"gate2_{i}"), name=f"gate_{i}")
        return self.op("Mul", opened, factor, name=f"lambda_gate_{i}")

    def conv(self, conv: Conv, x: str, *, name: str, sides: Sides = ALL_SIDES) -> str:
        """A convolution with a constant kernel."""
        return self.conv_of(x, self.constant(f"{name}.weight", conv.weight), conv, name=name, sides=sides)

    def conv_of(self, x: str, weight: str, conv: Conv, *, name: str, sides: Sides) -> str:
        """A convolution whose kernel is a tensor of the graph."""
        inputs = [x, weight]
        if conv.bias is not None:
            inputs.append(self.constant(f"{name}.bias", conv.bias))
        kernel = conv.weight.shape[-1]
        pads = [kernel // 2 if padded else 0 for padded in sides]
        return self.op("Conv", *inputs, name=name, kernel_shape=[kernel, kernel], pads=pads)

    def scalar(self, name: str, value: float) -> str:
        """A constant [1, 1, 1, 1]."""
        return self.constant(name, np.full((1, 1, 1, 1), value, dtype=np.float32))

    def constant(self, name: str, value: NDArray[Any] | np.generic) -> str:
        """A constant of the graph."""
        self.constants.append(onnx_file.tensor(name, np.asarray(value, order="C")))
        return name

    def op(self, kind: str, *inputs: str, name: str, **attributes: onnx_file.Attribute) -> str:
        """A node with one output, which has its name."""
        self.nodes.append(onnx_file.node(kind, inputs, name, attributes))
        return name
