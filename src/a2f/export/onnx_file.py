"""Write ONNX files without the package `onnx`, whose import takes longer than enlarging a small image.

An ONNX file is a protocol buffer: each field is a number and a wire type (0: integer, 2: bytes with their length),
then the value. The numbers are those of onnx.proto (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto). The fields
are in ascending order, as `onnx` itself writes them, so the bytes are equal to its own.
"""

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

import a2f

OPSET = 13  # the oldest version with the current form of all operators used here, for wide support
IR_VERSION = 8

ELEMENT_TYPES = {"float32": 1, "uint8": 2, "int8": 3, "int64": 7}  # TensorProto.DataType
ATTRIBUTE_INT, ATTRIBUTE_STRING, ATTRIBUTE_INTS = 2, 3, 7  # AttributeProto.AttributeType

Attribute = int | str | list[int]
Shape = Iterable[int | str]  # a string is a free dimension


def node(kind: str, inputs: Iterable[str], output: str, attributes: Mapping[str, Attribute]) -> bytes:
    """A NodeProto with one output; the output gives its name."""
    named = b"".join(_bytes(5, _attribute(name, value)) for name, value in sorted(attributes.items()))
    texts = b"".join(_text(1, name) for name in inputs) + _text(2, output) + _text(3, f"{kind}:{output}")
    return texts + _text(4, kind) + named


def tensor(name: str, value: NDArray[np.generic]) -> bytes:
    """A TensorProto, a constant of float32, uint8, int8 or int64."""
    dims = b"".join(_int(1, side) for side in value.shape)
    kind = _int(2, ELEMENT_TYPES[value.dtype.name])
    return dims + kind + _text(8, name) + _bytes(9, value.astype(value.dtype.newbyteorder("<")).tobytes())


def value_info(name: str, shape: Shape | None) -> bytes:
    """A ValueInfoProto, an input or output of float32; without a shape the shape is unknown."""
    tensor_type = _int(1, ELEMENT_TYPES["float32"])
    if shape is not None:
        sides = [_text(2, side) if isinstance(side, str) else _int(1, side) for side in shape]
        tensor_type += _bytes(2, b"".join(_bytes(1, side) for side in sides))
    return _text(1, name) + _bytes(2, _bytes(1, tensor_type))


def model(
    name: str,
    *,
    nodes: Iterable[bytes],
    constants: Iterable[bytes],
    inputs: Mapping[str, Shape],
    outputs: Mapping[str, Shape | None],
    metadata: Mapping[str, str] | None = None,
) -> bytes:
    """A ModelProto, the whole file.

    Args:
        name: name of the graph.
        nodes: nodes in topological order.
        constants: results of `tensor`.
        inputs: shapes by name.
        outputs: shapes by name; None for an unknown shape.
        metadata: metadata of the file.
    """
    graph = b"".join(_bytes(1, part) for part in nodes) + _text(2, name)
    graph += b"".join(_bytes(5, part) for part in constants)
    graph += b"".join(_bytes(11, value_info(*item)) for item in inputs.items())
    graph += b"".join(_bytes(12, value_info(*item)) for item in outputs.items())
    opset = _text(1, "") + _int(2, OPSET)
    head = _int(1, IR_VERSION) + _text(2, "a2f") + _text(3, a2f.__version__)
    told = b"".join(_bytes(14, _text(1, key) + _text(2, value)) for key, value in (metadata or {}).items())
    return head + _bytes(7, graph) + _bytes(8, opset) + told


def _attribute(name: str, value: Attribute) -> bytes:
    if isinstance(value, int):
        return _text(1, name) + _int(3, value) + _int(20, ATTRIBUTE_INT)
    if isinstance(value, str):
        return _text(1, name) + _text(4, value) + _int(20, ATTRIBUTE_STRING)
    return _text(1, name) + b"".join(_int(8, number) for number in value) + _int(20, ATTRIBUTE_INTS)


def _varint(value: int) -> bytes:
    """Encode an integer: seven bits per byte, lowest first; the eighth bit means that more bytes follow."""
    value &= 2**64 - 1
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def _int(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _bytes(field: int, value: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(value)) + value


def _text(field: int, value: str) -> bytes:
    return _bytes(field, value.encode())
