"""Weights files of networks that are not A²F: safetensors files with the name of the network in the metadata.

A network is named by a key of `PEERS`, or as ``file.py:Class`` for a network of the user. A weights file never decides
which code runs: a class outside this package is loaded only if the user names it.
"""

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from a2f.errors import UsageError, WeightsError
from a2f.peers import PEERS, build_peer
from a2f.peers.own import FORM, is_own, own_network

if TYPE_CHECKING:
    from torch import Tensor, nn

FORMAT = "a2f-network-1"
MAX_HEADER_BYTES = 100_000_000  # bytes; the limit of safetensors itself


@dataclass(frozen=True, kw_only=True)
class Network:
    """A network that is not A²F, at one scale.

    Attributes:
        name: a key of `PEERS`, or "file.py:Class".
        scale: s.
        module: [N, 3, H, W] RGB in [0, 1] -> [N, 3, sH, sW].
        metadata: other metadata of its file.
        origin: readable origin of the weights; "random weights" without a file.
    """

    name: str
    scale: int
    module: "nn.Module"
    metadata: Mapping[str, str]
    origin: str = "random weights"

    @property
    def label(self) -> str:
        """A readable label: name, scale and origin of the weights."""
        return f"{self.name} x{self.scale}, {self.origin}"


def open_network(name: str, *, scale: int) -> Network:
    """Build a network with random weights.

    Args:
        name: a key of `PEERS`, or "file.py:Class"; the class is called with the scale.
        scale: s.

    Raises:
        UnknownModelError: for an unknown name.
        UsageError: if a peer has no such scale, or the file or the class cannot be used.
        MissingExtraError: if torch is not installed.
    """
    if ":" in name and not is_own(name):
        raise UsageError(f"network {name!r}: give your own network as {FORM}")
    module = own_network(name, scale=scale) if is_own(name) else build_peer(name, scale=scale)
    return Network(name=name, scale=scale, module=module, metadata={})


def network_in(path: Path | str) -> str | None:
    """The name of the network of a weights file; None for any other file. Loads no tensors and no torch."""
    metadata = _metadata_of(path)
    return None if metadata is None else str(metadata.get("network", ""))


def scale_in(path: Path | str) -> int | None:
    """The scale of the network of a weights file; None for any other file. Loads no tensors and no torch."""
    told = str((_metadata_of(path) or {}).get("scale", ""))
    return int(told) if told.isdecimal() else None


def _metadata_of(path: Path | str) -> dict[str, Any] | None:
    try:
        with open(path, "rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            header = json.loads(file.read(length)) if length < MAX_HEADER_BYTES else {}
    except (OSError, struct.error, ValueError, RecursionError):
        return None
    metadata = header.get("__metadata__", {}) if isinstance(header, dict) else {}
    return metadata if isinstance(metadata, dict) and metadata.get("format") == FORMAT else None


def read_network(path: Path | str, *, own: str | None = None) -> Network:
    """Read a weights file of a network that is not A²F.

    Args:
        path: the weights file.
        own: "file.py:Class" of the network, if the network is not one of `PEERS`.

    Raises:
        WeightsError: if the file is missing, damaged, of another kind, or its tensors do not match the network.
        UsageError: if the file belongs to a network of the user and `own` is missing, or for the reasons of
            `open_network`.
        MissingExtraError: if torch is not installed.
    """
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    name = network_in(path)
    if name is None:
        raise WeightsError(f"{path} is not a weights file with the name of a network")
    if name not in PEERS and own is None:
        raise UsageError(f"{path} belongs to the network {name!r}: give its class with --network FILE.py:CLASS")
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = dict(file.metadata())
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        scale = int(metadata["scale"])
    except (OSError, SafetensorError, ValueError, KeyError) as error:
        raise WeightsError(f"{path} is damaged: {error}") from error
    network = open_network(name if name in PEERS else str(own), scale=scale)
    fill(network.module, tensors, path=str(path))
    return Network(
        name=network.name, scale=scale, module=network.module, metadata=metadata, origin=f"weights {path.name}"
    )


def write_network(network: Network, *, metadata: Mapping[str, str] | None = None) -> bytes:
    """The bytes of a weights file; a tensor that the network uses several times is stored once.

    Args:
        network: the network, on any device.
        metadata: other metadata of the file.
    """
    from safetensors.numpy import save

    own = {"format": FORMAT, "network": network.name, "scale": str(network.scale)}
    if is_own(network.name):
        own["network"] = network.name.rpartition("/")[2]  # without a path of this machine
    tensors = {name: _array(tensor) for name, tensor in unique_tensors(network.module).items()}
    return save(tensors, metadata={**network.metadata, **(metadata or {}), **own})


def unique_tensors(module: "nn.Module") -> dict[str, "Tensor"]:
    """Parameters and persistent buffers by name; a shared tensor has only its first name."""
    found: dict[str, Tensor] = {}
    seen = set[int]()
    for name, tensor in module.state_dict(keep_vars=True).items():
        if id(tensor) not in seen:
            seen.add(id(tensor))
            found[name] = tensor
    return found


def fill(module: "nn.Module", tensors: Mapping[str, NDArray[Any]], *, path: str) -> None:
    """Load all tensors of a network.

    Args:
        module: the network, on the CPU.
        tensors: tensors with the names of `unique_tensors`.
        path: name of the source in errors.

    Raises:
        WeightsError: if a tensor is missing, unexpected, of another shape, or has NaN or infinity.
    """
    import torch

    needed = unique_tensors(module)
    missing, extra = sorted(needed.keys() - tensors.keys()), sorted(tensors.keys() - needed.keys())
    if missing or extra:
        what = f"misses {missing[0]}" if missing else f"has an unexpected {extra[0]}"
        raise WeightsError(f"{path} does not match the network: it {what}")
    for name, tensor in needed.items():
        value = np.array(tensors[name])
        if value.shape != tuple(tensor.shape):
            raise WeightsError(f"{path}: {name} has shape {value.shape}, the network needs {tuple(tensor.shape)}")
        if not np.isfinite(value).all():
            raise WeightsError(f"{path}: {name} holds NaN or infinity")
        with torch.no_grad():
            tensor.copy_(torch.from_numpy(value))


def _array(tensor: "Tensor") -> NDArray[Any]:
    value = tensor.detach().cpu()
    return (value.float() if value.is_floating_point() else value).numpy().copy(order="C")
