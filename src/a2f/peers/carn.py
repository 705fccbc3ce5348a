"""CARN and CARN-M: cascades of cascades; CARN-M with grouped convolutions and shared blocks.

Ahn, Kang, Sohn, "Fast, Accurate, and Lightweight Super-Resolution with Cascading Residual Network", ECCV 2018
(arXiv:1803.08664). Code read: none; only names and shapes in its authors' checkpoint of CARN-M
(github.com/nmhkahn/CARN-pytorch, MIT). Trained by its authors on DIV2K, one network for x2, x3 and x4.

For each scale, Table 6 prints the parameters with all three upsamplers: 1592K for CARN with biases, 412K for CARN-M
without. A network here has only the upsampler of its own scale. The Multi-Adds are those of the convolutions; at x3 the
table assumes an LR image of 102,400 pixels, a ninth of 1280x720.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

CHANNELS = 64
MEAN = (0.4488, 0.4371, 0.4040)  # RGB mean of DIV2K


class Unit(nn.Module):
    """A residual block; with groups it is the efficient block, which ends with a 1x1 convolution."""

    def __init__(self, groups: int) -> None:
        super().__init__()
        layers: list[nn.Module] = [
            nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1, groups=groups),
            nn.ReLU(inplace=True),
            nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1, groups=groups),
        ]
        if groups > 1:
            layers += [nn.ReLU(inplace=True), nn.Conv2d(CHANNELS, CHANNELS, 1)]
        self.body, self.act = nn.Sequential(*layers), nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, C, H, W]."""
        out: Tensor = self.act(self.body(x) + x)
        return out


class Cascade(nn.Module):
    """A sequence of units, each followed by a 1x1 fusion of all previous outputs."""

    def __init__(self, units: Sequence[nn.Module]) -> None:
        super().__init__()
        self.units = nn.ModuleList(units)
        self.fuse = nn.ModuleList(nn.Conv2d((i + 2) * CHANNELS, CHANNELS, 1) for i in range(len(units)))
        self.act = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, C, H, W]."""
        given, out = [x], x
        for unit, fuse in zip(self.units, self.fuse, strict=True):
            given.append(unit(out))
            out = self.act(fuse(torch.cat(given, dim=1)))
        return out


class CARN(nn.Module):
    """The network.

    Args:
        scale: s.
        groups: groups of the 3x3 convolutions: 1 in CARN, 4 in CARN-M.
        shared: whether the three units of a cascade share their weights, as in CARN-M.
    """

    mean: Tensor

    def __init__(self, scale: int, *, groups: int = 1, shared: bool = False) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1), persistent=False)
        self.head = nn.Conv2d(3, CHANNELS, 3, padding=1)
        cascades = []
        for _ in range(3):
            units = [Unit(groups)] * 3 if shared else [Unit(groups) for _ in range(3)]
            cascades.append(Cascade(units))
        self.body = Cascade(cascades)
        layers: list[nn.Module] = []
        for factor in {2: (2,), 3: (3,), 4: (2, 2)}[scale]:
            wide = CHANNELS * factor**2
            layers += [nn.Conv2d(CHANNELS, wide, 3, padding=1, groups=groups), nn.ReLU(True), nn.PixelShuffle(factor)]
        self.up = nn.Sequential(*layers)
        self.tail = nn.Conv2d(CHANNELS, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """[N, 3, H, W] RGB in [0, 1] -> [N, 3, sH, sW]."""
        out: Tensor = self.tail(self.up(self.body(self.head(x - self.mean)))) + self.mean
        return out


def carn(scale: int) -> nn.Module:
    """CARN, [N, 3, H, W] -> [N, 3, sH, sW]."""
    return CARN(scale)


def carn_m(scale: int) -> nn.Module:
    """CARN-M, [N, 3, H, W] -> [N, 3, sH, sW]."""
    return CARN(scale, groups=4, shared=True)
