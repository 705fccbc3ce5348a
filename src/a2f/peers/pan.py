"""PAN: pixel attention, a gate for each channel and pixel, in the blocks and in the upsampler.

Zhao, Kong, He, Qiao, Dong, "Efficient Image Super-Resolution Using Pixel Attention", ECCV Workshops 2020
(arXiv:2010.01073). Code read: none. Trained by its authors on DIV2K and Flickr2K.

The paper prints 261K, 261K and 272K parameters and 70.5, 39.0 and 28.2 G Multi-Adds.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

CHANNELS, UPPER, BLOCKS, SLOPE = 40, 24, 16, 0.2


class PixelAttention(nn.Module):
    """A gate for each channel and pixel of the input, or of the output of a body if one is given."""

    def __init__(self, channels: int, body: nn.Module | None = None) -> None:
        super().__init__()
        self.gate, self.body = nn.Conv2d(channels, channels, 1), body

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, C, H, W]."""
        return (self.body(x) if self.body else x) * torch.sigmoid(self.gate(x))


class Halves(nn.Module):
    """SC-PA: one half of the channels plain, one half with pixel attention, and a shortcut."""

    def __init__(self) -> None:
        super().__init__()
        half = CHANNELS // 2
        plain, gated, after = (nn.Conv2d(half, half, 3, padding=1, bias=False) for _ in range(3))
        self.halves = nn.ModuleList()
        for body in ([plain], [PixelAttention(half, gated), after]):
            enter = nn.Conv2d(CHANNELS, half, 1, bias=False)
            self.halves.append(nn.Sequential(enter, nn.LeakyReLU(SLOPE, True), *body, nn.LeakyReLU(SLOPE, True)))
        self.leave = nn.Conv2d(CHANNELS, CHANNELS, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, C, H, W]."""
        out: Tensor = self.leave(torch.cat([half(x) for half in self.halves], dim=1)) + x
        return out


class PAN(nn.Module):
    """The network.

    Args:
        scale: s; x4 has two steps of 2.
    """

    def __init__(self, scale: int) -> None:
        super().__init__()
        self.scale = scale
        self.head = nn.Conv2d(3, CHANNELS, 3, padding=1)
        self.body = nn.Sequential(*[Halves() for _ in range(BLOCKS)], nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1))
        layers, given = list[nn.Module](), CHANNELS
        for factor in {2: (2,), 3: (3,), 4: (2, 2)}[scale]:
            layers += [nn.Upsample(scale_factor=float(factor)), nn.Conv2d(given, UPPER, 3, padding=1)]
            layers += [PixelAttention(UPPER), nn.LeakyReLU(SLOPE, True)]
            layers += [nn.Conv2d(UPPER, UPPER, 3, padding=1), nn.LeakyReLU(SLOPE, True)]
            given = UPPER
        self.up = nn.Sequential(*layers, nn.Conv2d(UPPER, 3, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        """[N, 3, H, W] RGB in [0, 1] -> [N, 3, sH, sW]."""
        first = self.head(x)
        large = F.interpolate(x, scale_factor=float(self.scale), mode="bilinear", align_corners=False)
        out: Tensor = self.up(self.body(first) + first) + large
        return out


def pan(scale: int) -> nn.Module:
    """PAN, [N, 3, H, W] -> [N, 3, sH, sW]."""
    return PAN(scale)
