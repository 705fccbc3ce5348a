"""RCAN: residual groups of residual blocks with channel attention.

Zhang, Li, Li, Wang, Zhong, Fu, "Image Super-Resolution Using Very Deep Residual Channel Attention Networks", ECCV 2018
(arXiv:1807.02758): 10 groups of 20 blocks. Code read: none. Trained by its authors on DIV2K.

Table 4 prints 15590K parameters (15.59 M, four digits) and 919.9 G Multi-Adds, counted with one per bias, ReLU and
pooled value.
"""

import torch
from torch import Tensor, nn

CHANNELS, SQUEEZED, GROUPS, BLOCKS = 64, 4, 10, 20
MEAN = (0.4488, 0.4371, 0.4040)  # RGB mean of DIV2K


class Attended(nn.Module):
    """RCAB: two convolutions, a gate per channel, and a shortcut."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1)
        self.conv2 = nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1)
        self.squeeze, self.excite = nn.Conv2d(CHANNELS, SQUEEZED, 1), nn.Conv2d(SQUEEZED, CHANNELS, 1)
        self.act = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, C, H, W]."""
        out = self.conv2(self.act(self.conv1(x)))
        pooled = out.mean((2, 3), keepdim=True)  # [N, C, 1, 1]
        gated: Tensor = x + out * torch.sigmoid(self.excite(self.act(self.squeeze(pooled))))
        return gated


class Residual(nn.Module):
    """A body, a convolution, and a shortcut around both."""

    def __init__(self, *body: nn.Module) -> None:
        super().__init__()
        self.body = nn.Sequential(*body, nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, C, H, W]."""
        out: Tensor = self.body(x) + x
        return out


class RCAN(nn.Module):
    """The network.

    Args:
        scale: s.
    """

    mean: Tensor

    def __init__(self, scale: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1), persistent=False)
        groups = [Residual(*[Attended() for _ in range(BLOCKS)]) for _ in range(GROUPS)]
        layers: list[nn.Module] = [nn.Conv2d(3, CHANNELS, 3, padding=1), Residual(*groups)]
        for factor in {2: (2,), 3: (3,), 4: (2, 2)}[scale]:
            layers += [nn.Conv2d(CHANNELS, CHANNELS * factor**2, 3, padding=1), nn.PixelShuffle(factor)]
        self.body = nn.Sequential(*layers, nn.Conv2d(CHANNELS, 3, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        """[N, 3, H, W] RGB in [0, 1] -> [N, 3, sH, sW]."""
        out: Tensor = self.body((x - self.mean) * 255) / 255 + self.mean
        return out


def rcan(scale: int) -> nn.Module:
    """RCAN, [N, 3, H, W] -> [N, 3, sH, sW]."""
    return RCAN(scale)
