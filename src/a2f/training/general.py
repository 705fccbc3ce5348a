"""Train networks that are not A²F: networks of other papers or your own networks."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from a2f.errors import A2FError, UsageError
from a2f.peers.files import Network, write_network
from a2f.peers.own import reason
from a2f.variants import A2FConfig


@dataclass(frozen=True, kw_only=True)
class NetworkConfig:
    """The entry in a checkpoint for a network that is not A²F.

    Attributes:
        network: name of the network, a key of `a2f.peers.PEERS` or "file.py:Class".
        scale: s.
    """

    network: str
    scale: int


class Trainable(Protocol):
    """A network that can be trained.

    Attributes:
        parameters: name -> leaf tensor, float32.
    """

    parameters: dict[str, Tensor]

    @property
    def config(self) -> A2FConfig | NetworkConfig:
        """The configuration of the network."""
        ...

    def state(self) -> dict[str, Tensor]:
        """The tensors to save in a checkpoint: the parameters, and statistics that change during training."""
        ...

    def kernels(self) -> list[str]:
        """The names of the parameters that Muon trains."""
        ...

    def forward(self, x: Tensor, *, dtype: torch.dtype) -> Tensor:
        """Enlarge [N, 3, H, W] to [N, 3 s², H, W], the values before the pixel shuffle, in the given precision."""
        ...

    def model(self, values: Mapping[str, Tensor]) -> nn.Module:
        """The network for inference with the given parameter values: [N, 3, H, W] -> [N, 3, sH, sW]."""
        ...

    def file(self, values: Mapping[str, Tensor], *, metadata: dict[str, str]) -> bytes:
        """The bytes of a weights file with the given parameter values."""
        ...


class GeneralNetwork:
    """A `Trainable` that wraps any network.

    Args:
        network: the network with its initial weights.
        device: where the parameters live.

    Raises:
        UsageError: if the network has no parameters to train.
    """

    def __init__(self, network: Network, *, device: torch.device) -> None:
        self.config = NetworkConfig(network=network.name, scale=network.scale)
        self._network = network
        self._module = copy.deepcopy(network.module).to(device).train()
        self.parameters: dict[str, Tensor] = dict(self._module.named_parameters())
        if not any(parameter.requires_grad for parameter in self.parameters.values()):
            raise UsageError(f"{network.name} has no parameters to train")

    def state(self) -> dict[str, Tensor]:
        """The parameters and the statistics of batch normalisation."""
        return {**self.parameters, **dict(self._module.named_buffers())}

    def kernels(self) -> list[str]:
        """An empty list: Adam trains all parameters."""
        return []

    def forward(self, x: Tensor, *, dtype: torch.dtype = torch.float32) -> Tensor:
        """Enlarge [N, 3, H, W] to [N, 3 s², H, W], the values before the pixel shuffle, in the given precision."""
        try:
            with torch.autocast(x.device.type, dtype, enabled=dtype != torch.float32):
                image: Tensor = self._module(x)
        except (Exception, SystemExit) as error:  # a network of the user may raise anything
            raise A2FError(f"{self.config.network} failed on a batch of {list(x.shape)}: {reason(error)}") from error
        return F.pixel_unshuffle(image.float(), self.config.scale)

    def model(self, values: Mapping[str, Tensor]) -> nn.Module:
        """The network for inference with the given parameter values and the current batch normalisation statistics."""
        module = copy.deepcopy(self._module).eval()
        with torch.no_grad():
            for name, parameter in module.named_parameters():
                parameter.copy_(values[name])
        return module

    def file(self, values: Mapping[str, Tensor], *, metadata: dict[str, str]) -> bytes:
        """The bytes of a weights file with the given parameter values."""
        module = self.model(values).cpu()
        trained = Network(name=self._network.name, scale=self._network.scale, module=module, metadata={})
        return write_network(trained, metadata=metadata)
