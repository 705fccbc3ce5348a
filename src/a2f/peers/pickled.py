"""Read the tensors of a whole network pickled by an old PyTorch, which torch's restricted reader rejects.

Only plain containers, tensors and modules (as attribute dictionaries) are read. The file names classes, but none is
imported and nothing is executed. The format is that of torch.save before version 1.6: four pickles, the storage keys,
the storages.
"""

import pickle
import struct
from collections import OrderedDict
from collections.abc import Mapping
from io import BufferedReader
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from a2f.errors import WeightsError

Array = NDArray[np.float32]
MAGIC = 0x1950A86A20F9469CFC6C


class Bag:
    """A placeholder for a pickled module, parameter or function: its attributes without behaviour."""

    given: tuple[Any, ...]

    def __new__(cls, *given: Any) -> "Bag":
        """Store the state; a pickle calls no other method."""
        bag = super().__new__(cls)
        bag.given = given
        return bag

    def __setstate__(self, state: Any) -> None:
        if isinstance(state, dict):  # the state of a parameter is a tuple without values
            self.__dict__.update(state)


class _View:
    """A tensor as a part of a storage, whose values are read later."""

    def __init__(self, storage: str, offset: int, size: tuple[int, ...], stride: tuple[int, ...]) -> None:
        self.storage, self.offset, self.size, self.stride = storage, offset, size, stride


class _Reader(pickle.Unpickler):
    """An unpickler that accepts only the names that a pickled network needs; they become placeholders or views."""

    def find_class(self, module: str, name: str) -> Any:
        """OrderedDict, a view for a tensor, a placeholder for a torch module or a class of the network's file."""
        known = {("collections", "OrderedDict"): OrderedDict, ("torch._utils", "_rebuild_tensor"): _View}
        if (module, name) in known:
            return known[module, name]
        if module in ("torch", "vdsr") or module.startswith("torch.nn."):
            return Bag
        raise pickle.UnpicklingError(f"{module}.{name} is not allowed")

    def persistent_load(self, pid: Any) -> Any:
        """The key of a storage, or the class of a module, whose source text is dropped."""
        if pid[0] == "storage":
            return str(pid[2])
        return pid[1]


def read_pickled(path: Path) -> dict[str, Array]:
    """Read the tensors of a pickled network, with the names of its state dict.

    Args:
        path: a file of float32 tensors that torch.save wrote before version 1.6.

    Raises:
        WeightsError: if the file is missing, damaged, of another kind, or has other names.
    """
    try:
        with open(path, "rb") as file:
            if _Reader(file).load() != MAGIC:
                raise WeightsError(f"{path} is not an old PyTorch checkpoint")
            _Reader(file).load()  # protocol version
            _Reader(file).load()  # type sizes of the writing machine
            network = _Reader(file, encoding="latin-1").load()
            storages = {str(key): _storage(file) for key in _Reader(file).load()}
    except OSError as error:
        raise WeightsError(f"cannot read {path}: {error.strerror or error}") from error
    except WeightsError:
        raise
    except Exception as error:  # a damaged pickle may raise anything
        raise WeightsError(f"{path} is damaged, or holds code, which is never run: {error}") from error
    found: dict[str, Array] = {}
    _collect(network, "", found, storages)
    return found


def _storage(file: BufferedReader) -> Array:
    (count,) = struct.unpack("<q", file.read(8))
    blob = file.read(4 * count) if count >= 0 else b""
    if count < 0 or len(blob) != 4 * count:
        raise WeightsError(f"{file.name} ends inside a tensor")
    return np.frombuffer(blob, "<f4")


def _collect(value: Any, prefix: str, found: dict[str, Array], storages: Mapping[str, Array]) -> None:
    if isinstance(value, _View):
        found[prefix] = _array(value, storages)
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            _collect(inner, f"{prefix}.{key}" if prefix else str(key), found, storages)
    elif isinstance(value, Bag):
        groups = [vars(value)[name] for name in ("_parameters", "_buffers", "_modules") if vars(value).get(name)]
        for group in groups or [part for part in value.given if isinstance(part, _View)][:1]:
            _collect(group, prefix, found, storages)


def _array(view: _View, storages: Mapping[str, Array]) -> Array:
    values = storages.get(view.storage, np.zeros(0, np.float32))
    last = view.offset + sum((side - 1) * step for side, step in zip(view.size, view.stride, strict=True))
    if view.offset < 0 or min(view.size, default=1) < 1 or min(view.stride, default=1) < 0 or last >= values.size:
        raise WeightsError(f"a tensor of shape {view.size} reaches beyond its storage of {values.size} values")
    steps = tuple(4 * step for step in view.stride)
    return np.lib.stride_tricks.as_strided(values[view.offset :], tuple(view.size), steps).copy()
