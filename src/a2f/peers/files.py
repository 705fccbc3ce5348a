"""Weights files of networks that are not A²F: safetensors, the name of the network in the metadata.

A network is named by a key of `PEERS`, or as ``file.py:Class``, a researcher's own. A weights file never decides which
code is run: a class outside this package is loaded only when its user names it.
"""

import importlib.util
import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from a2f.errors import A2FError, MissingExtraError, UsageError, WeightsError
from a2f.peers import PEERS, build_peer

if TYPE_CHECKING:
    from torch import Tensor, nn

FORMAT = "a2f-network-1"
LONGEST_HEADER = 100_000_000  # bytes, of what safetensors itself accepts


@dataclass(frozen=True, kw_only=True)
class Network:
    """A network that is not A²F, at one scale.

    Attributes:
        name: a key of `PEERS`, or "file.py:Class".
        scale: s.
        module: [N, 3, H, W] RGB in [0, 1] -> [N, 3, sH, sW].
        metadata: what else its file says.
        origin: where its weights are from, for people; "random weights" without a file.
    """

    name: str
    scale: int
    module: "nn.Module"
    metadata: Mapping[str, str]
    origin: str = "random weights"

    @property
    def label(self) -> str:
        """Name, scale and origin of the weights, for people."""
        return f"{self.name} x{self.scale}, {self.origin}"


def is_own(name: str) -> bool:
    """Whether a network is named as a class in a file, "file.py:Class"."""
    return ".py:" in name


def open_network(name: str, *, scale: int) -> Network:
    """A network with random weights.

    Args:
        name: a key of `PEERS`, or "file.py:Class": the class is called with the scale.
        scale: s.

    Raises:
        UnknownModelError: for an unknown name.
        UsageError: if a peer has no such scale, or the file or the class cannot be used.
        MissingExtraError: if torch is not installed.
    """
    module = _own_network(name, scale) if is_own(name) else build_peer(name, scale=scale)
    return Network(name=name, scale=scale, module=module, metadata={})


def _own_network(name: str, scale: int) -> "nn.Module":
    file, _, class_name = name.rpartition(":")
    path = Path(file)
    if not path.is_file():
        raise UsageError(f"network {name!r}: there is no file {path}; it is named as FILE.py:CLASS")
    try:
        from torch import nn
    except ModuleNotFoundError as error:
        raise MissingExtraError(f"{name} needs torch: pip install 'a2f[train]'") from error
    spec = importlib.util.spec_from_file_location(f"a2f_own_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise UsageError(f"network {name!r}: {path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        network = getattr(module, class_name)(scale)
    except A2FError:
        raise
    except Exception as error:  # whatever a researcher's file raises
        raise UsageError(
            f"network {name!r}: {class_name}({scale}) failed in {path}: {type(error).__name__}: {error}"
        ) from error
    if not isinstance(network, nn.Module):
        raise UsageError(f"network {name!r}: {class_name}({scale}) is a {type(network).__name__}, not a torch module")
    return network


def network_in(path: Path | str) -> str | None:
    """The name of the network that a weights file is of; None for any other file. Loads no tensors and no torch."""
    try:
        with open(path, "rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            header = json.loads(file.read(length)) if length < LONGEST_HEADER else {}
    except (OSError, struct.error, ValueError, RecursionError):
        return None
    metadata = header.get("__metadata__", {}) if isinstance(header, dict) else {}
    if not isinstance(metadata, dict) or metadata.get("format") != FORMAT:
        return None
    return str(metadata.get("network", ""))


def read_network(path: Path | str, *, own: str | None = None) -> Network:
    """Read a weights file of a network that is not A²F.

    Args:
        path: of the file.
        own: "file.py:Class" of the network, where the file is not of a network of `PEERS`.

    Raises:
        WeightsError: if the file is missing, damaged, of another kind, or its tensors do not fit the network.
        UsageError: if the file is of a researcher's own network and `own` is missing; as `open_network`.
        MissingExtraError: if torch is not installed.
    """
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    name = network_in(path)
    if name is None:
        raise WeightsError(f"{path} is not a weights file of a network by its name")
    if name not in PEERS and own is None:
        raise UsageError(f"{path} is of the network {name!r}: say where its class is, --network FILE.py:CLASS")
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
    """The bytes of a weights file; tensors that a network uses in several places are in it once.

    Args:
        network: on any device.
        metadata: what else the file shall say.
    """
    from safetensors.numpy import save

    own = {"format": FORMAT, "network": network.name, "scale": str(network.scale)}
    if is_own(network.name):
        own["network"] = network.name.rpartition("/")[2]  # no path of this machine
    tensors = {name: _array(tensor) for name, tensor in unique_tensors(network.module).items()}
    return save(tensors, metadata={**network.metadata, **(metadata or {}), **own})


def unique_tensors(module: "nn.Module") -> dict[str, "Tensor"]:
    """Parameters and kept buffers by their names, each once, under its first name."""
    found: dict[str, Tensor] = {}
    seen = set[int]()
    for name, tensor in module.state_dict(keep_vars=True).items():
        if id(tensor) not in seen:
            seen.add(id(tensor))
            found[name] = tensor
    return found


def fill(module: "nn.Module", tensors: Mapping[str, NDArray[Any]], *, path: str) -> None:
    """Put tensors into a network, all of it.

    Args:
        module: on the CPU.
        tensors: by the names of `unique_tensors`.
        path: what to call their source in errors.

    Raises:
        WeightsError: if a tensor is missing, too many, of another shape, or holds NaN or infinity.
    """
    import torch

    needed = unique_tensors(module)
    missing, extra = sorted(needed.keys() - tensors.keys()), sorted(tensors.keys() - needed.keys())
    if missing or extra:
        what = f"misses {missing[0]}" if missing else f"has an unexpected {extra[0]}"
        raise WeightsError(f"{path} does not fit the network: it {what}")
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
