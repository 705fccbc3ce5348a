"""The A²F network of Sec. 3 of the paper.

"Lightweight Single-Image Super-Resolution Network with Attentive Auxiliary Feature Learning", ACCV 2020. The file needs
only torch, `A2FConfig` and `Weights`. C is `channels`, L `blocks`, s the scale.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.nn.utils.parametrizations import weight_norm

from a2f.variants import A2FConfig
from a2f.weights import Weights, expected_shapes

MEAN = (0.4488, 0.4371, 0.4040)  # RGB mean of DIV2K, the value that the authors use


class Residual(nn.Module):
    """F_res, the block of WDSR-A."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, hidden, 3, padding=1)
        self.conv2 = nn.Conv2d(hidden, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, C, H, W]."""
        out: Tensor = self.conv2(F.relu(self.conv1(x)))  # Eq. 8  [N, C, H, W]
        return out


class Attention(nn.Module):
    """F_att: one gate in (0, 1) per channel, computed from the mean over the whole image."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 1)
        self.conv2 = nn.Conv2d(channels, channels, 1)

    def forward(self, x_proj: Tensor) -> Tensor:
        """[N, C, H, W] -> gates [N, C, 1, 1]."""
        pooled = x_proj.mean((2, 3), keepdim=True)  # [N, C, 1, 1]
        return torch.sigmoid(self.conv2(F.relu(self.conv1(pooled))))  # [N, C, 1, 1]


class Block(nn.Module):
    """One attentive auxiliary feature block, the i-th, counted from 1."""

    lambda_res: Tensor
    lambda_att: Tensor
    lambda_x: Tensor

    def __init__(self, i: int, channels: int, hidden: int, *, projection: bool, attention: bool) -> None:
        super().__init__()
        self.proj = nn.Conv2d(i * channels, channels, 1, bias=False) if projection else None
        self.att = Attention(channels) if attention else None
        self.res = Residual(channels, hidden)

    def add_factors(self, factors: tuple[str, ...]) -> None:
        """Create the given factors of λ_res, λ_att and λ_x, with the value 1 (Sec. 4.2)."""
        for name in factors:
            self.register_parameter(f"lambda_{name}", nn.Parameter(torch.ones(1)))

    def forward(self, xs: list[Tensor]) -> Tensor:
        """x_0 .. x_{i-1}, each [N, C, H, W] -> x_i [N, C, H, W]."""
        x_res = self.res(xs[-1])
        out: Tensor = self.lambda_res * x_res + self.lambda_x * xs[-1]
        if self.proj is None:
            return out
        x_proj = self.proj(torch.cat(xs, dim=1))  # Eq. 6  [N, C, H, W]
        x_att = x_proj if self.att is None else self.att(x_proj) * x_proj  # Eq. 7  [N, C, H, W]
        x_i: Tensor = out + self.lambda_att * x_att  # Eq. 9  [N, C, H, W]
        return x_i


class A2F(nn.Module):
    """The whole network.

    Args:
        config: the network.
    """

    mean: Tensor

    def __init__(self, config: A2FConfig) -> None:
        super().__init__()
        self.config = config
        c, out, k = config.channels, 3 * config.scale**2, config.head_kernel
        self.head = nn.Conv2d(3, c, k, padding=k // 2)
        self.skip = nn.Conv2d(3, out, 3, padding=1)
        self.tail = nn.Conv2d(c, out, 3, padding=1)
        self.blocks = nn.ModuleList()
        for i in range(1, config.blocks + 1):
            block = Block(i, c, config.hidden, projection=config.projection, attention=config.attention)
            block.add_factors(config.factors)
            self.blocks.append(block)
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Enlarge a batch.

        Args:
            x: [N, 3, H, W] RGB in [0, 1].

        Returns:
            [N, 3, sH, sW] RGB, not clipped.
        """
        lr = (x - self.mean) * 2  # = (255 x - 255 mean) / 127.5
        xs = [self.head(lr)]  # Eq. 1  [N, C, H, W]
        for block in self.blocks:
            xs.append(block(xs))  # Eq. 2  [N, C, H, W]
        x_tail = F.pixel_shuffle(self.tail(xs[-1]), self.config.scale)  # Eq. 3  [N, 3, sH, sW]
        x_skip = F.pixel_shuffle(self.skip(lr), self.config.scale)  # Eq. 4  [N, 3, sH, sW]
        return (x_tail + x_skip) / 2 + self.mean  # Eq. 5  [N, 3, sH, sW]


def normed_convolutions(model: A2F) -> list[nn.Module]:
    """The convolutions with weight normalisation during training: all 3x3 convolutions, and a head of any size."""
    inner = [conv for m in model.modules() if isinstance(m, Residual) for conv in (m.conv1, m.conv2)]
    return [model.head, model.skip, model.tail, *inner]


def with_weight_norm(model: A2F) -> A2F:
    """Add weight normalisation to a network, in place, and return it; its output does not change."""
    for conv in normed_convolutions(model):
        weight_norm(conv)
    return model


def from_weights(weights: Weights) -> A2F:
    """Make a network with the given weights, without weight normalisation."""
    model = A2F(weights.config)
    model.load_state_dict({name: torch.from_numpy(np.array(value)) for name, value in weights.tensors.items()})
    return model


def to_weights(model: A2F, *, metadata: dict[str, str] | None = None) -> Weights:
    """The folded weights of a network, with or without weight normalisation.

    Args:
        model: the network, on any device.
        metadata: other metadata of the file.
    """
    state = {name: value for name, value in model.state_dict().items() if "parametrizations" not in name}
    normed = {name: m for name, m in model.named_modules() if parametrize.is_parametrized(m)}
    state |= {f"{name}.weight": module.weight for name, module in normed.items()}
    tensors = {name: state[name].detach().float().cpu().numpy().copy() for name in expected_shapes(model.config)}
    return Weights(config=model.config, tensors=tensors, metadata=metadata or {})
