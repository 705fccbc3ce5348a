"""Training networks that are not A²F: of other papers, or a researcher's own."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from a2f.errors import A2FError, UsageError
from a2f.peers.files import Network, write_network
from a2f.peers.own import told
from a2f.variants import A2FConfig


@dataclass(frozen=True, kw_only=True)
class NetworkConfig:
    """What a run's checkpoints say of a network that is not A²F.

    Attributes:
        network: its name, a key of `a2f.peers.PEERS` or "file.py:Class".
        scale: s.
    """

    network: str
    scale: int


class Trainable(Protocol):
    """What a run trains.

    Attributes:
        parameters: name -> leaf tensor, float32.
    """

    parameters: dict[str, Tensor]

    @property
    def config(self) -> A2FConfig | NetworkConfig:
        """The network."""
        ...

    def state(self) -> dict[str, Tensor]:
        """All that a checkpoint keeps: the parameters, and what else changes while a network learns."""
        ...

    def kernels(self) -> list[str]:
        """The names of the parameters that Muon trains."""
        ...

    def forward(self, x: Tensor, *, dtype: torch.dtype) -> Tensor:
        """Enlarge [N, 3, H, W] to [N, 3 s², H, W], before the pixel shuffle, computed in a precision."""
        ...

    def model(self, values: Mapping[str, Tensor]) -> nn.Module:
        """The network with given values of its parameters, for use: [N, 3, H, W] -> [N, 3, sH, sW]."""
        ...

    def file(self, values: Mapping[str, Tensor], *, metadata: dict[str, str]) -> bytes:
        """The bytes of a weights file with given values of the parameters."""
        ...


class GeneralNetwork:
    """A `Trainable` around any network; attributes are those of `Trainable`.

    Args:
        network: with the weights to start from.
        device: where the parameters live.

    Raises:
        UsageError: if there is nothing to train.
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
        """None: Adam trains all of it."""
        return []

    def forward(self, x: Tensor, *, dtype: torch.dtype = torch.float32) -> Tensor:
        """As `Trainable.forward`."""
        try:
            with torch.autocast(x.device.type, dtype, enabled=dtype != torch.float32):
                image: Tensor = self._module(x)
        except (Exception, SystemExit) as error:  # whatever a researcher's network raises
            raise A2FError(f"{self.config.network} failed on a batch of {list(x.shape)}: {told(error)}") from error
        return F.pixel_unshuffle(image.float(), self.config.scale)

    def model(self, values: Mapping[str, Tensor]) -> nn.Module:
        """As `Trainable.model`; statistics of batch normalisation are those of the network that learns."""
        module = copy.deepcopy(self._module).eval()
        with torch.no_grad():
            for name, parameter in module.named_parameters():
                parameter.copy_(values[name])
        return module

    def file(self, values: Mapping[str, Tensor], *, metadata: dict[str, str]) -> bytes:
        """As `Trainable.file`."""
        module = self.model(values).cpu()
        trained = Network(name=self._network.name, scale=self._network.scale, module=module, metadata={})
        return write_network(trained, metadata=metadata)
