"""AWSRN, -M, -S and -SD: wide residual units with learned factors, and a tail with four kernel sizes.

Wang, Li, Shi, "Lightweight Image Super-Resolution with Adaptive Weighted Learning Network", 2019 (arXiv:1904.02358).
Code read: none. Trained by its authors on DIV2K.

Table 6 prints the parameters with the gains of weight normalisation (AWSRN-M x2 truncated, not rounded) and the
Multi-Adds of the convolutions; at x3 it assumes an LR image of 102,400 pixels. Its 37.7 G for AWSRN-S x4 is a misprint
of 33.7 G.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

WIDE, UNITS = 128, 4
MEAN = (0.4488, 0.4371, 0.4040)  # RGB mean of DIV2K


def normed(inputs: int, outputs: int, kernel: int = 3) -> nn.Module:
    """A convolution with weight normalisation."""
    conv: nn.Module = weight_norm(nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2))
    return conv


class Weighted(nn.Module):
    """Adaptive weighted residual unit: both its branch and its shortcut have a learned factor."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(normed(channels, WIDE), nn.ReLU(inplace=True), normed(WIDE, channels))
        self.branch, self.shortcut = nn.Parameter(torch.ones(1)), nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, C, H, W]."""
        out: Tensor = self.branch * self.body(x) + self.shortcut * x
        return out


class Fusion(nn.Module):
    """Local fusion block: four units, their outputs fused."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.units = nn.ModuleList(Weighted(channels) for _ in range(UNITS))
        self.fuse = normed(UNITS * channels, channels)
        self.branch, self.shortcut = nn.Parameter(torch.ones(1)), nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, C, H, W]."""
        given = [x]
        for unit in self.units:
            given.append(unit(given[-1]))
        out: Tensor = self.branch * self.fuse(torch.cat(given[1:], dim=1)) + self.shortcut * x
        return out


class AWSRN(nn.Module):
    """The network.

    Args:
        scale: s.
        channels: between blocks.
        blocks: local fusion blocks.
    """

    mean: Tensor

    def __init__(self, scale: int, *, channels: int = 32, blocks: int = 4) -> None:
        super().__init__()
        self.scale = scale
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1), persistent=False)
        out = 3 * scale**2
        self.head, self.skip = normed(3, channels), normed(3, out)
        self.blocks = nn.Sequential(*[Fusion(channels) for _ in range(blocks)])
        self.tails = nn.ModuleList(normed(channels, out, kernel) for kernel in (3, 5, 7, 9))
        self.share = nn.Parameter(torch.full((4,), 0.25))

    def forward(self, x: Tensor) -> Tensor:
        """[N, 3, H, W] RGB in [0, 1] -> [N, 3, sH, sW]."""
        lr = (x - self.mean) * 2
        features = self.blocks(self.head(lr))
        out = self.skip(lr)
        for tail, share in zip(self.tails, self.share, strict=True):
            out = out + share * tail(features)
        return F.pixel_shuffle(out, self.scale) / 2 + self.mean


def awsrn(scale: int) -> nn.Module:
    """AWSRN, [N, 3, H, W] -> [N, 3, sH, sW]."""
    return AWSRN(scale)


def awsrn_m(scale: int) -> nn.Module:
    """AWSRN-M, [N, 3, H, W] -> [N, 3, sH, sW]."""
    return AWSRN(scale, blocks=3)


def awsrn_s(scale: int) -> nn.Module:
    """AWSRN-S, [N, 3, H, W] -> [N, 3, sH, sW]."""
    return AWSRN(scale, blocks=1)


def awsrn_sd(scale: int) -> nn.Module:
    """AWSRN-SD, [N, 3, H, W] -> [N, 3, sH, sW]."""
    return AWSRN(scale, channels=16, blocks=2)
