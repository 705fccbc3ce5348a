"""Count the operations of any network while it runs on shapes without values."""

import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from a2f.errors import UsageError
from a2f.peers.files import Network
from a2f.peers.own import reason


@dataclass(frozen=True, kw_only=True)
class Counted:
    """Operations for one image.

    Attributes:
        multi_adds: Multi-Adds of the convolutions; for a transposed convolution only those that reach an output.
        at_outputs: additional Multi-Adds if a transposed convolution is counted with its whole kernel at each output
            pixel, as in some papers.
        biases: outputs of convolutions with a bias.
        rectified: inputs of ReLUs, also leaky or parametric.
        pooled: inputs of means over the image.
        activations: outputs of all convolutions.
    """

    multi_adds: int
    at_outputs: int
    biases: int
    rectified: int
    pooled: int
    activations: int

    @property
    def as_table6(self) -> int:
        """Multi-Adds counted as for A²F in Table 6: with biases, ReLUs and pooled values."""
        return self.multi_adds + self.biases + self.rectified + self.pooled


def count(network: nn.Module, *, width: int, height: int) -> Counted:
    """Count the operations of a network on one image; no values are computed.

    Args:
        network: [1, 3, H, W] -> any; it is not changed.
        width: W, pixels.
        height: H, pixels.
    """
    shapes = copy.deepcopy(network).to("meta").eval()
    with torch.no_grad(), _Counter() as counter:
        shapes(torch.empty(1, 3, height, width, device="meta"))
    return Counted(**counter.found)


def count_network(network: Network, *, width: int, height: int) -> Counted:
    """Count the operations of an opened network on one image.

    Raises:
        UsageError: if the network does not run on shapes without values, or not on an image of this size.
    """
    try:
        return count(network.module, width=width, height=height)
    except (Exception, SystemExit) as error:  # a network of the user may raise anything
        raise UsageError(
            f"{network.name} cannot be counted on {width} x {height} pixels: {reason(error)}. It runs on shapes "
            "without values: forward must make tensors on the device of its input and read no values (.item(), float())"
        ) from error


def parameters_of(network: nn.Module) -> tuple[int, int]:
    """The number of parameters, and of those that are weights (without biases, gains and scalars)."""
    sizes = [(p.numel(), p.dim()) for p in network.parameters()]
    return sum(n for n, _ in sizes), sum(n for n, dims in sizes if dims > 1)


def folded_parameters(network: nn.Module) -> int:
    """The number of parameters without the gains of weight normalisation."""
    gains = [p for name, p in network.named_parameters() if name.endswith("parametrizations.weight.original0")]
    return parameters_of(network)[0] - sum(p.numel() for p in gains)


class _Counter(TorchDispatchMode):  # type: ignore[no-untyped-call,unused-ignore]
    """Counts each operation that PyTorch runs."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call,unused-ignore]
        names = ("multi_adds", "at_outputs", "biases", "rectified", "pooled", "activations")
        self.found = dict.fromkeys(names, 0)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        name = str(func).partition(".")[2].partition(".")[0]
        if name == "convolution":
            self._convolution(out, *args[:3], transposed=args[6])
        elif name in ("relu", "relu_", "leaky_relu", "leaky_relu_", "_prelu_kernel", "prelu"):
            self.found["rectified"] += out.numel()
        elif name in ("mean", "_adaptive_avg_pool2d", "adaptive_avg_pool2d"):
            self.found["pooled"] += args[0].numel()
        return out

    def _convolution(self, out: Any, x: Any, weight: Any, bias: Any, *, transposed: bool) -> None:
        pixels = (x if transposed else out)[:, 0].numel()
        self.found["multi_adds"] += pixels * weight.numel()
        if transposed:
            self.found["at_outputs"] += (out[:, 0].numel() - pixels) * weight.numel()
        self.found["biases"] += 0 if bias is None else out.numel()
        self.found["activations"] += out.numel()
