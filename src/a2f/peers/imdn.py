"""IMDN: blocks that distil a quarter of the channels after each convolution and continue with the rest.

Hui, Gao, Yang, Wang, "Lightweight Image Super-Resolution with Information Multi-distillation Network", ACM Multimedia
2019 (arXiv:1909.11856). Code read: none; only names and shapes in its authors' checkpoints (github.com/Zheng222/IMDN,
no licence found). Trained by its authors on DIV2K.

The paper prints 694K, 703K and 715K parameters with biases and 158.8, 71.5 and 40.9 G Multi-Adds.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

CHANNELS, KEPT, BLOCKS, SLOPE = 64, 16, 6, 0.05


class Contrast(nn.Module):
    """Contrast-aware channel attention: gates from the mean plus the standard deviation."""

    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        self.gate = nn.Sequential(nn.Conv2d(channels, squeezed, 1), nn.ReLU(True), nn.Conv2d(squeezed, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, C, H, W]."""
        mean = x.mean((2, 3), keepdim=True)  # [N, C, 1, 1]
        deviation = (x - mean).square().mean((2, 3), keepdim=True).sqrt()
        return x * torch.sigmoid(self.gate(mean + deviation))


class Splitting(nn.Module):
    """IMDB, the block of the network."""

    def __init__(self) -> None:
        super().__init__()
        going = CHANNELS - KEPT
        self.steps = nn.ModuleList(nn.Conv2d(c, CHANNELS, 3, padding=1) for c in (CHANNELS, going, going))
        self.last = nn.Conv2d(going, KEPT, 3, padding=1)
        self.act = nn.LeakyReLU(SLOPE, inplace=True)
        self.attention, self.fuse = Contrast(CHANNELS, CHANNELS // 16), nn.Conv2d(CHANNELS, CHANNELS, 1)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, C, H, W]."""
        going, kept = x, []
        for step in self.steps:
            y = self.act(step(going))
            kept.append(y[:, :KEPT])
            going = y[:, KEPT:]
        out: Tensor = self.fuse(self.attention(torch.cat([*kept, self.last(going)], dim=1))) + x
        return out


class IMDN(nn.Module):
    """The network.

    Args:
        scale: s.
    """

    def __init__(self, scale: int) -> None:
        super().__init__()
        self.scale = scale
        self.head = nn.Conv2d(3, CHANNELS, 3, padding=1)
        self.blocks = nn.ModuleList(Splitting() for _ in range(BLOCKS))
        self.fuse = nn.Sequential(nn.Conv2d(BLOCKS * CHANNELS, CHANNELS, 1), nn.LeakyReLU(SLOPE, inplace=True))
        self.smooth = nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1)
        self.up = nn.Conv2d(CHANNELS, 3 * scale**2, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """[N, 3, H, W] RGB in [0, 1] -> [N, 3, sH, sW]."""
        first = self.head(x)
        given = [first]
        for block in self.blocks:
            given.append(block(given[-1]))
        out = self.smooth(self.fuse(torch.cat(given[1:], dim=1))) + first
        return F.pixel_shuffle(self.up(out), self.scale)


def imdn(scale: int) -> nn.Module:
    """IMDN, [N, 3, H, W] -> [N, 3, sH, sW]."""
    return IMDN(scale)
