"""SAFMN: gates from a feature pyramid with four levels.

Sun, Dong, Tang, Pan, "Spatially-Adaptive Feature Modulation for Efficient Image Super-Resolution", ICCV 2023
(arXiv:2302.13800): 36 channels, 8 blocks. Code read: none. Trained by its authors on DIV2K and Flickr2K.

The paper prints 228K, 233K and 240K parameters and 52, 23 and 14 G FLOPs. Its pooling adapts to the size of the image;
here it pools squares of 2, 4 and 8 pixels, which is equal for sides that are multiples of 8.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

CHANNELS, BLOCKS, LEVELS = 36, 8, 4


class Norm(nn.Module):
    """Layer normalisation over the channels of each pixel."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(CHANNELS)), nn.Parameter(torch.zeros(CHANNELS))

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, C, H, W]."""
        return F.layer_norm(x.permute(0, 2, 3, 1), (CHANNELS,), self.weight, self.bias, 1e-6).permute(0, 3, 1, 2)


class Modulation(nn.Module):
    """SAFM: a quarter of the channels at each of four sizes; together they compute the gates."""

    def __init__(self) -> None:
        super().__init__()
        part = CHANNELS // LEVELS
        self.levels = nn.ModuleList(nn.Conv2d(part, part, 3, padding=1, groups=part) for _ in range(LEVELS))
        self.fuse, self.act = nn.Conv2d(CHANNELS, CHANNELS, 1), nn.GELU()

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, C, H, W]."""
        height, width = x.shape[2], x.shape[3]
        made = []
        for i, (conv, part) in enumerate(zip(self.levels, x.chunk(LEVELS, dim=1), strict=True)):
            small = F.max_pool2d(part, 2**i, 2**i, ceil_mode=True) if i else part
            large = F.interpolate(conv(small), scale_factor=float(2**i), mode="nearest") if i else conv(small)
            made.append(large[:, :, :height, :width])
        out: Tensor = self.act(self.fuse(torch.cat(made, dim=1))) * x
        return out


class Block(nn.Module):
    """Modulation, then a convolutional channel mixer, each after a normalisation and with a shortcut."""

    def __init__(self) -> None:
        super().__init__()
        wide = 2 * CHANNELS
        self.norm1, self.modulation, self.norm2 = Norm(), Modulation(), Norm()
        self.mixer = nn.Sequential(nn.Conv2d(CHANNELS, wide, 3, padding=1), nn.GELU(), nn.Conv2d(wide, CHANNELS, 1))

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, C, H, W]."""
        x = self.modulation(self.norm1(x)) + x
        out: Tensor = self.mixer(self.norm2(x)) + x
        return out


class SAFMN(nn.Module):
    """The network.

    Args:
        scale: s.
    """

    def __init__(self, scale: int) -> None:
        super().__init__()
        self.scale = scale
        self.head = nn.Conv2d(3, CHANNELS, 3, padding=1)
        self.body = nn.Sequential(*[Block() for _ in range(BLOCKS)])
        self.up = nn.Conv2d(CHANNELS, 3 * scale**2, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """[N, 3, H, W] RGB in [0, 1] -> [N, 3, sH, sW]."""
        first = self.head(x)
        return F.pixel_shuffle(self.up(self.body(first) + first), self.scale)


def safmn(scale: int) -> nn.Module:
    """SAFMN, [N, 3, H, W] -> [N, 3, sH, sW]."""
    return SAFMN(scale)
