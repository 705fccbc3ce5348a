"""RLFN: plain blocks of three convolutions and a light spatial attention.

Kong, Li, Liu, Liu, He, Bai, Chen, Fu, "Residual Local Feature Network for Efficient Super-Resolution", CVPR Workshops
2022 (arXiv:2205.07514); the version that won NTIRE 2022: arXiv:2205.05675. Code read: only the sizes in the README of
github.com/bytedance/RLFN. Trained by its authors on DIV2K and Flickr2K.

The paper prints 527K at x2 and 543K at x4; the challenge 317K and, for an LR image of 256x256, 19.70 G Multi-Adds.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SLOPE, INNER = 0.05, 16


class Spatial(nn.Module):
    """Enhanced spatial attention with one convolution at the small size."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.reduce, self.direct = nn.Conv2d(channels, INNER, 1), nn.Conv2d(INNER, INNER, 1)
        self.shrink, self.small = nn.Conv2d(INNER, INNER, 3, stride=2), nn.Conv2d(INNER, INNER, 3, padding=1)
        self.expand = nn.Conv2d(INNER, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, C, H, W], H and W at least 15."""
        reduced = self.reduce(x)
        far = self.small(F.max_pool2d(self.shrink(reduced), 7, 3))
        far = F.interpolate(far, (x.shape[2], x.shape[3]), mode="bilinear", align_corners=False)
        return x * torch.sigmoid(self.expand(far + self.direct(reduced)))


class Block(nn.Module):
    """RLFB: three convolutions with a shortcut, a 1x1 convolution, the attention."""

    def __init__(self, channels: int, middle: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for given, made in ((channels, middle), (middle, middle), (middle, channels)):
            layers += [nn.Conv2d(given, made, 3, padding=1), nn.LeakyReLU(SLOPE, inplace=True)]
        self.body = nn.Sequential(*layers)
        self.fuse, self.attention = nn.Conv2d(channels, channels, 1), Spatial(channels)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, C, H, W]."""
        out: Tensor = self.attention(self.fuse(self.body(x) + x))
        return out


class RLFN(nn.Module):
    """The network.

    Args:
        scale: s.
        channels: channels between blocks.
        middle: channels between the convolutions of a block.
        blocks: number of blocks.
    """

    def __init__(self, scale: int, *, channels: int = 52, middle: int = 52, blocks: int = 6) -> None:
        super().__init__()
        self.scale = scale
        self.head = nn.Conv2d(3, channels, 3, padding=1)
        self.body = nn.Sequential(
            *[Block(channels, middle) for _ in range(blocks)], nn.Conv2d(channels, channels, 3, padding=1)
        )
        self.up = nn.Conv2d(channels, 3 * scale**2, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """[N, 3, H, W] RGB in [0, 1] -> [N, 3, sH, sW]."""
        first = self.head(x)
        return F.pixel_shuffle(self.up(self.body(first) + first), self.scale)


def rlfn(scale: int) -> nn.Module:
    """RLFN of the paper, [N, 3, H, W] -> [N, 3, sH, sW]."""
    return RLFN(scale)


def rlfn_ntire(scale: int) -> nn.Module:
    """The RLFN that won NTIRE 2022, [N, 3, H, W] -> [N, 3, sH, sW]."""
    return RLFN(scale, channels=46, middle=48, blocks=4)
