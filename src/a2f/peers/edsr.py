"""EDSR: 32 residual blocks of 256 channels without batch normalisation.

Lim, Son, Kim, Nah, Lee, "Enhanced Deep Residual Networks for Single Image Super-Resolution", CVPR Workshops 2017
(arXiv:1707.02921). Code read: none. Trained by its authors on DIV2K.

Table 4 prints 43090K parameters (43.09 M, four digits) and 2896.3 G Multi-Adds, counted with one per bias and ReLU
value.
"""

import torch
from torch import Tensor, nn

CHANNELS, BLOCKS, FACTOR = 256, 32, 0.1
MEAN = (0.4488, 0.4371, 0.4040)  # RGB mean of DIV2K


class Residual(nn.Module):
    """Two convolutions; a tenth of their output is added to the input."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1)
        self.conv2 = nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1)
        self.act = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, C, H, W]."""
        out: Tensor = x + FACTOR * self.conv2(self.act(self.conv1(x)))
        return out


class EDSR(nn.Module):
    """The network.

    Args:
        scale: s.
    """

    mean: Tensor

    def __init__(self, scale: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1), persistent=False)
        self.head = nn.Conv2d(3, CHANNELS, 3, padding=1)
        self.body = nn.Sequential(*[Residual() for _ in range(BLOCKS)], nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1))
        layers: list[nn.Module] = []
        for factor in {2: (2,), 3: (3,), 4: (2, 2)}[scale]:
            layers += [nn.Conv2d(CHANNELS, CHANNELS * factor**2, 3, padding=1), nn.PixelShuffle(factor)]
        self.tail = nn.Sequential(*layers, nn.Conv2d(CHANNELS, 3, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        """[N, 3, H, W] RGB in [0, 1] -> [N, 3, sH, sW]."""
        first = self.head((x - self.mean) * 255)
        out: Tensor = self.tail(self.body(first) + first) / 255 + self.mean
        return out


def edsr(scale: int) -> nn.Module:
    """EDSR, [N, 3, H, W] -> [N, 3, sH, sW]."""
    return EDSR(scale)
