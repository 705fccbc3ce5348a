"""Nodes and constants of an ONNX graph, added one by one."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from a2f.export import onnx_file
from a2f.export.fold import Conv

# top, left, bottom, right: where a convolution pads with zeros, in the order of ONNX
Sides = tuple[bool, bool, bool, bool]
ALL_SIDES: Sides = (True, True, True, True)


class GraphBuilder:
    """Collects nodes and constants; every method returns the name of a tensor."""

    def __init__(self) -> None:
        self.nodes: list[bytes] = []
        self.constants: list[bytes] = []

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
