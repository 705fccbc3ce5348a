"""Read weights of Caffe models and TensorFlow graphs, without Caffe and TensorFlow.

The fields are those of caffe.proto and of TensorFlow's graph.proto, attr_value.proto and tensor.proto. Other fields are
ignored. Nothing in a file is executed.
"""

import functools
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from a2f.errors import MissingExtraError, WeightsError

Array = NDArray[np.float32]
# message -> (field, number, type, repeated); the type may be another message
MESSAGES: dict[str, tuple[tuple[str, int, str, bool], ...]] = {
    "CaffeShape": (("dim", 1, "int64", True),),
    "CaffeBlob": (("data", 5, "float", True), ("shape", 7, "CaffeShape", False)),
    "CaffeConvolution": (("stride", 6, "int64", True),),
    "CaffeLayer": (
        ("name", 1, "string", False),
        ("blobs", 7, "CaffeBlob", True),
        ("convolution", 106, "CaffeConvolution", False),
    ),
    "CaffeNet": (("layer", 100, "CaffeLayer", True),),
    "Dim": (("size", 1, "int64", False),),
    "Shape": (("dim", 2, "Dim", True),),
    "Tensor": (
        ("dtype", 1, "int32", False),
        ("shape", 2, "Shape", False),
        ("content", 4, "bytes", False),
        ("float_val", 5, "float", True),
    ),
    "Value": (("tensor", 8, "Tensor", False),),
    "Attribute": (("key", 1, "string", False), ("value", 2, "Value", False)),
    "Node": (("name", 1, "string", False), ("op", 2, "string", False), ("attr", 5, "Attribute", True)),
    "Graph": (("node", 1, "Node", True),),
}
PACKED = ("CaffeBlob.data", "CaffeShape.dim", "Tensor.float_val")
DT_FLOAT = 1


def read_caffe(path: Path) -> dict[str, list[Array]]:
    """Read the weights of a Caffe model.

    Args:
        path: a .caffemodel file.

    Returns:
        Layer name -> its blobs in order.

    Raises:
        WeightsError: if the file is missing, damaged or has no layers with weights.
    """
    found: dict[str, list[Array]] = {}
    for layer in _parsed("CaffeNet", path).layer:
        if layer.blobs:
            found[layer.name] = [_shaped(blob.data, list(blob.shape.dim), path, layer.name) for blob in layer.blobs]
    if not found:
        raise WeightsError(f"{path} has no layers with weights: give a .caffemodel file")
    return found


def read_strides(path: Path) -> dict[str, int]:
    """Read the strides of the convolutions of a Caffe model, by layer name; layers without a stride are left out.

    Raises:
        WeightsError: if the file is missing or damaged.
    """
    layers = _parsed("CaffeNet", path).layer
    return {layer.name: int(layer.convolution.stride[0]) for layer in layers if layer.convolution.stride}


def read_tensorflow(path: Path) -> dict[str, Array]:
    """Read the float32 constants of a frozen TensorFlow graph.

    Args:
        path: a .pb file.

    Returns:
        Node name -> its value.

    Raises:
        WeightsError: if the file is missing, damaged or has no constants.
    """
    found = {}
    for node in _parsed("Graph", path).node:
        for attribute in node.attr if node.op == "Const" else ():
            tensor = attribute.value.tensor
            if attribute.key == "value" and tensor.dtype == DT_FLOAT:
                sides = [dim.size for dim in tensor.shape.dim]
                values = np.frombuffer(tensor.content, "<f4") if tensor.content else np.array(tensor.float_val, "<f4")
                if values.size == 1:
                    values = np.broadcast_to(values, int(np.prod(sides)))
                found[node.name] = _shaped(values, sides, path, node.name)
    if not found:
        raise WeightsError(f"{path} has no constants: give a frozen TensorFlow graph (.pb)")
    return found


def _shaped(values: Any, sides: list[int], path: Path, name: str) -> Array:
    array = np.asarray(values, dtype=np.float32)
    if min(sides, default=1) < 0 or array.size != int(np.prod(sides)):
        raise WeightsError(f"{path} is damaged: {name} has {array.size} values for the shape {sides}")
    return array.reshape(sides)


def _parsed(message: str, path: Path) -> Any:
    try:
        from google.protobuf.message import DecodeError
    except ModuleNotFoundError as error:
        raise MissingExtraError(f"reading {path} needs protobuf: pip install 'a2f[train]'") from error
    try:
        blob = path.read_bytes()
    except OSError as error:
        raise WeightsError(f"cannot read {path}: {error.strerror or error}") from error
    parsed = _message_class(message)()
    try:
        parsed.ParseFromString(blob)
    except DecodeError as error:
        raise WeightsError(f"{path} is damaged or of another kind: {error}") from error
    return parsed


@functools.cache
def _message_class(message: str) -> Any:
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    kinds = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="a2f_weights.proto", package="a2f", syntax="proto2")
    for name, fields in MESSAGES.items():
        made = file.message_type.add(name=name)
        for field, number, kind, repeated in fields:
            told = made.field.add(name=field, number=number)
            told.label = kinds.LABEL_REPEATED if repeated else kinds.LABEL_OPTIONAL
            if kind in MESSAGES:
                told.type, told.type_name = kinds.TYPE_MESSAGE, f".a2f.{kind}"
            else:
                told.type = getattr(kinds, f"TYPE_{kind.upper()}")
            told.options.packed = f"{name}.{field}" in PACKED
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"a2f.{message}"))
