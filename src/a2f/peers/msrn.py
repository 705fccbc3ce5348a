"""MSRN: blocks of parallel 3x3 and 5x5 convolutions that exchange their features.

Li, Fang, Mei, Zhang, "Multi-Scale Residual Network for Image Super-Resolution", ECCV 2018. Code read: none. Trained by
its authors on DIV2K.

Table 6 prints the parameters with biases (x3 truncated, not rounded). Its Multi-Adds are the weights times the pixels
of the LR image (102,400 pixels at x3), although the last layers run at larger sizes and cost more.
"""

import torch
from torch import Tensor, nn

CHANNELS, BLOCKS = 64, 8
MEAN = (0.4488, 0.4371, 0.4040)  # RGB mean of DIV2K


class MultiScale(nn.Module):
    """One multi-scale residual block."""

    def __init__(self) -> None:
        super().__init__()
        c = CHANNELS
        self.three1, self.five1 = nn.Conv2d(c, c, 3, padding=1), nn.Conv2d(c, c, 5, padding=2)
        self.three2, self.five2 = nn.Conv2d(2 * c, 2 * c, 3, padding=1), nn.Conv2d(2 * c, 2 * c, 5, padding=2)
        self.fuse = nn.Conv2d(4 * c, c, 1)
        self.act = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, C, H, W]."""
        first = torch.cat([self.act(self.three1(x)), self.act(self.five1(x))], dim=1)
        second = torch.cat([self.act(self.three2(first)), self.act(self.five2(first))], dim=1)
        out: Tensor = self.fuse(second) + x
        return out


class MSRN(nn.Module):
    """The network.

    Args:
        scale: s.
    """

    mean: Tensor

    def __init__(self, scale: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1), persistent=False)
        self.head = nn.Conv2d(3, CHANNELS, 3, padding=1)
        self.blocks = nn.ModuleList(MultiScale() for _ in range(BLOCKS))
        layers: list[nn.Module] = [
            nn.Conv2d((BLOCKS + 1) * CHANNELS, CHANNELS, 1),
            nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1),
        ]
        for factor in {2: (2,), 3: (3,), 4: (2, 2)}[scale]:
            layers += [nn.Conv2d(CHANNELS, CHANNELS * factor**2, 3, padding=1), nn.PixelShuffle(factor)]
        self.tail = nn.Sequential(*layers, nn.Conv2d(CHANNELS, 3, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        """[N, 3, H, W] RGB in [0, 1] -> [N, 3, sH, sW]."""
        levels = [self.head((x - self.mean) * 255)]
        for block in self.blocks:
            levels.append(block(levels[-1]))
        out: Tensor = self.tail(torch.cat(levels, dim=1)) / 255 + self.mean
        return out


def msrn(scale: int) -> nn.Module:
    """MSRN, [N, 3, H, W] -> [N, 3, sH, sW]."""
    return MSRN(scale)
