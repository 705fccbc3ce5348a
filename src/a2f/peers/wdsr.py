"""WDSR-A: residual blocks that are wide before the ReLU, the baseline of A²F.

Yu, Fan, Yang, Xu, Wang, Wang, Huang, "Wide Activation for Efficient and Accurate Image Super-Resolution", 2018
(arXiv:1808.08718): 16 blocks, 32 channels, four times as many before the ReLU. Code read: none. Trained by its authors
on DIV2K.

This is the network of that paper, with a 5x5 convolution as the shortcut from the image. BASELINE of Table 2 of the A²F
paper (1190K at x2, `a2f profile baseline`) has a 3x3 shortcut and three factors per block instead. Both round to 1190K.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

CHANNELS, WIDE, BLOCKS = 32, 128, 16
MEAN = (0.4488, 0.4371, 0.4040)  # RGB mean of DIV2K


def normed(inputs: int, outputs: int, kernel: int = 3) -> nn.Module:
    """A convolution with weight normalisation."""
    conv: nn.Module = weight_norm(nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2))
    return conv


class Residual(nn.Module):
    """A wide convolution, ReLU, a narrow convolution, and a shortcut."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(normed(CHANNELS, WIDE), nn.ReLU(inplace=True), normed(WIDE, CHANNELS))

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, C, H, W]."""
        out: Tensor = x + self.body(x)
        return out


class WDSRA(nn.Module):
    """The network.

    Args:
        scale: s.
    """

    mean: Tensor

    def __init__(self, scale: int) -> None:
        super().__init__()
        self.scale = scale
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1), persistent=False)
        out = 3 * scale**2
        self.head, self.tail, self.skip = normed(3, CHANNELS), normed(CHANNELS, out), normed(3, out, 5)
        self.body = nn.Sequential(*[Residual() for _ in range(BLOCKS)])

    def forward(self, x: Tensor) -> Tensor:
        """[N, 3, H, W] RGB in [0, 1] -> [N, 3, sH, sW]."""
        lr = (x - self.mean) * 2
        out = self.tail(self.body(self.head(lr))) + self.skip(lr)
        return F.pixel_shuffle(out, self.scale) / 2 + self.mean


def wdsr_a(scale: int) -> nn.Module:
    """WDSR-A, [N, 3, H, W] -> [N, 3, sH, sW]."""
    return WDSRA(scale)
