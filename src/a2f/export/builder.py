"""Computation graphs, built node by node. The back ends run them as an ONNX file or in PyTorch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from a2f.export import onnx_file
from a2f.export.fold import Conv

# top, left, bottom, right, in the order of ONNX: whether a convolution pads this side with zeros
Sides = tuple[bool, bool, bool, bool]
ALL_SIDES: Sides = (True, True, True, True)


@dataclass(frozen=True, kw_only=True)
class Node:
    """One operation.

    Attributes:
        kind: name of an ONNX operator.
        inputs: names of the input tensors.
        output: name of the output tensor.
        attributes: attributes of the operator.
    """

    kind: str
    inputs: tuple[str, ...]
    output: str
    attributes: Mapping[str, onnx_file.Attribute] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Graph:
    """A graph of operations.

    Attributes:
        nodes: the operations, in topological order.
        constants: tensors by name.
        inputs: shapes by name; a string is a free dimension.
        outputs: shapes by name; None for an unknown shape.
    """

    nodes: Sequence[Node]
    constants: Mapping[str, NDArray[Any]]
    inputs: Mapping[str, onnx_file.Shape]
    outputs: Mapping[str, onnx_file.Shape | None]

    def to_onnx(self, name: str, metadata: Mapping[str, str] | None = None) -> bytes:
        """Convert the graph to an ONNX file; equal graphs give equal bytes.

        Args:
            name: name of the graph.
            metadata: metadata of the file.
        """
        return onnx_file.model(
            name,
            nodes=[onnx_file.node(n.kind, n.inputs, n.output, n.attributes) for n in self.nodes],
            constants=[onnx_file.tensor(*item) for item in self.constants.items()],
            inputs=self.inputs,
            outputs=self.outputs,
            metadata=metadata,
        )


class GraphBuilder:
    """Collects nodes and constants; every method returns the name of a tensor."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.constants: dict[str, NDArray[Any]] = {}

    def graph(self, *, inputs: Mapping[str, onnx_file.Shape], outputs: Mapping[str, onnx_file.Shape | None]) -> Graph:
        """Make the `Graph` of all nodes and constants so far."""
        return Graph(nodes=tuple(self.nodes), constants=dict(self.constants), inputs=inputs, outputs=outputs)

    def conv(self, conv: Conv, x: str, *, name: str, sides: Sides = ALL_SIDES) -> str:
        """Add a convolution with a constant kernel."""
        return self.conv_of(x, self.constant(f"{name}.weight", conv.weight), conv, name=name, sides=sides)

    def conv_of(self, x: str, weight: str, conv: Conv, *, name: str, sides: Sides) -> str:
        """Add a convolution whose kernel is a tensor of the graph."""
        inputs = [x, weight]
        if conv.bias is not None:
            inputs.append(self.constant(f"{name}.bias", conv.bias))
        kernel = conv.weight.shape[-1]
        pads = [kernel // 2 if padded else 0 for padded in sides]
        return self.op("Conv", *inputs, name=name, kernel_shape=[kernel, kernel], pads=pads)

    def inside(self, x: str, halo: int, sides: Sides) -> str:
        """Cut the halo from a tile; `sides` that are a border of the image have no halo."""
        if all(sides):
            return x
        top, left, bottom, right = (0 if border else halo for border in sides)
        ends = [-n if n else np.iinfo(np.int64).max for n in (bottom, right)]
        starts = self.constant("inside.starts", np.array([top, left], np.int64))
        stops = self.constant("inside.ends", np.array(ends, np.int64))
        axes = self.constant("inside.axes", np.array([2, 3], np.int64))
        return self.op("Slice", x, starts, stops, axes, name="inside")

    def channels(self, x: str, first: int, end: int, *, name: str) -> str:
        """Select the channels first .. end - 1."""
        bounds = [self.constant(f"{name}.{n}", np.array([v], np.int64)) for n, v in (("from", first), ("to", end))]
        return self.op("Slice", x, *bounds, self.constant(f"{name}.axes", np.array([1], np.int64)), name=name)

    def scalar(self, name: str, value: float) -> str:
        """Add a constant [1, 1, 1, 1]."""
        return self.constant(name, np.full((1, 1, 1, 1), value, dtype=np.float32))

    def constant(self, name: str, value: NDArray[Any] | np.generic) -> str:
        """Add a constant."""
        self.constants[name] = np.asarray(value, order="C")
        return name

    def op(self, kind: str, *inputs: str, name: str, **attributes: onnx_file.Attribute) -> str:
        """Add a node with one output; the node and its output have the same name."""
        self.nodes.append(Node(kind=kind, inputs=inputs, output=name, attributes=attributes))
        return name
