"""SPAN: parameter-free attention, in which an odd function of the features gates them.

Wan, Yu, Jiang, Feng, Xu, et al., "Swift Parameter-free Attention Network for Efficient Super-Resolution", CVPR
Workshops 2024 (arXiv:2311.12770); the version that won NTIRE 2024: arXiv:2404.10343. Code read: none. Trained by its
authors on DIV2K and Flickr2K.

During training each 3x3 convolution consists of several; here they are fused, as in inference and in the counts of the
paper: 481K at x2 and 498K at x4, SPAN-S 410K and 426K. The challenge reports 151K and 9.83 G for an LR image of
256x256.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

BLOCKS = 6
MEAN = (0.4488, 0.4371, 0.4040)  # RGB mean of DIV2K


class Swift(nn.Module):
    """SPAB, the block of the network."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1, self.conv2, self.conv3 = (nn.Conv2d(channels, channels, 3, padding=1) for _ in range(3))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """[N, C, H, W] -> the output and the features after the first convolution, both [N, C, H, W]."""
        early = F.silu(self.conv1(x))
        out = self.conv3(F.silu(self.conv2(early)))
        return (out + x) * (torch.sigmoid(out) - 0.5), early


class SPAN(nn.Module):
    """The network.

    Args:
        scale: s.
        channels: channels of all layers.
    """

    mean: Tensor

    def __init__(self, scale: int, *, channels: int = 52) -> None:
        super().__init__()
        self.scale = scale
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1), persistent=False)
        self.head = nn.Conv2d(3, channels, 3, padding=1)
        self.blocks = nn.ModuleList(Swift(channels) for _ in range(BLOCKS))
        self.smooth = nn.Conv2d(channels, channels, 3, padding=1)
        self.fuse = nn.Conv2d(4 * channels, channels, 1)
        self.up = nn.Conv2d(channels, 3 * scale**2, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """[N, 3, H, W] RGB in [0, 1] -> [N, 3, sH, sW]."""
        given = [self.head((x - self.mean) * 255)]
        early = given[0]
        for block in self.blocks:
            out, early = block(given[-1])
            given.append(out)
        fused = self.fuse(torch.cat([given[0], self.smooth(given[-1]), given[1], early], dim=1))
        return F.pixel_shuffle(self.up(fused), self.scale)


def span(scale: int) -> nn.Module:
    """SPAN, [N, 3, H, W] -> [N, 3, sH, sW]."""
    return SPAN(scale)


def span_s(scale: int) -> nn.Module:
    """SPAN-S, [N, 3, H, W] -> [N, 3, sH, sW]."""
    return SPAN(scale, channels=48)


def span_ntire(scale: int) -> nn.Module:
    """The SPAN that won NTIRE 2024, [N, 3, H, W] -> [N, 3, sH, sW]."""
    return SPAN(scale, channels=28)
