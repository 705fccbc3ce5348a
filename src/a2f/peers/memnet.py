"""MemNet: memory blocks that gate their own outputs and those of all earlier blocks (M6R6, multi-supervised).

Tai, Yang, Liu, Xu, "MemNet: A Persistent Memory Network for Image Restoration", ICCV 2017 (arXiv:1708.02209). Code
read: none. Trained by its authors on luma of 91 and BSD200 images.

Table 6 prints 677K parameters (only the weights of the convolutions) and 2662.4 G Multi-Adds: all at the size of the
enlargement, with one of the six reconstructions and the six weights of their sum. Batch normalisation, one per run of a
convolution, is not in these figures.
"""

import torch
from torch import Tensor, nn

from a2f.peers.luma import Bicubic, OnLuma

CHANNELS, BLOCKS, RECURSIONS = 64, 6, 6


class Activated(nn.Module):
    """Batch normalisation and ReLU before each convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm, self.act = nn.BatchNorm2d(channels), nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, C, H, W]."""
        out: Tensor = self.act(self.norm(x))
        return out


class Memory(nn.Module):
    """One memory block: a residual unit applied six times, and a gate over its outputs and those of all earlier blocks.

    Args:
        before: number of input long-term memories.
    """

    def __init__(self, before: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1, bias=False)
        self.norms = nn.ModuleList(Activated(CHANNELS) for _ in range(2 * RECURSIONS))
        width = (RECURSIONS + before) * CHANNELS
        self.gate = nn.Sequential(Activated(width), nn.Conv2d(width, CHANNELS, 1, bias=False))

    def forward(self, x: Tensor, memories: list[Tensor]) -> Tensor:
        """[N, C, H, W] and the memories before -> [N, C, H, W]."""
        short = []
        for i in range(RECURSIONS):
            x = x + self.conv2(self.norms[2 * i + 1](self.conv1(self.norms[2 * i](x))))
            short.append(x)
        out: Tensor = self.gate(torch.cat([*short, *memories], dim=1))
        return out


class MemNet(nn.Module):
    """The luma network.

    Args:
        scale: s; used only for the bicubic enlargement.
    """

    def __init__(self, scale: int) -> None:
        super().__init__()
        self.enlarge = Bicubic(scale)
        self.head = nn.Sequential(Activated(1), nn.Conv2d(1, CHANNELS, 3, padding=1, bias=False))
        self.blocks = nn.ModuleList(Memory(i + 1) for i in range(BLOCKS))
        self.norm, self.tail = Activated(CHANNELS), nn.Conv2d(CHANNELS, 1, 3, padding=1, bias=False)
        self.share = nn.Parameter(torch.full((BLOCKS,), 1 / BLOCKS))

    def forward(self, x: Tensor) -> Tensor:
        """[N, 1, H, W] -> [N, 1, sH, sW]."""
        large = self.enlarge(x)
        memories = [self.head(large)]
        total = torch.zeros_like(large)
        for block, share in zip(self.blocks, self.share, strict=True):
            memories.append(block(memories[-1], memories))
            total = total + share * (self.tail(self.norm(memories[-1])) + large)
        return total / self.share.sum()


def memnet(scale: int) -> nn.Module:
    """MemNet on RGB, [N, 3, H, W] -> [N, 3, sH, sW]."""
    return OnLuma(MemNet(scale), scale)
