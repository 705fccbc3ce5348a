"""SelNet: convolutions with selection units that gate their outputs, and one pixel shuffle.

Choi, Kim, "A Deep Convolutional Neural Network with Selection Units for Super-Resolution", CVPR Workshops 2017. Code
read: none. Trained by its authors on DIV2K.

The network has 22 convolutions with selection units between them, 64 channels, and RGB input and output. This gives the
parameters (without biases) and the Multi-Adds of Table 6 for all three scales. These figures do not show where the
shortcuts of the residual units begin and end, because shortcuts have no cost.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from a2f.peers.luma import Bicubic

CHANNELS, PAIRS = 64, 10


class Selection(nn.Module):
    """A selection unit: ReLU, 1x1 convolution and sigmoid compute gates for the input."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = nn.Sequential(nn.ReLU(), nn.Conv2d(CHANNELS, CHANNELS, 1))

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, C, H, W]."""
        return x * torch.sigmoid(self.gate(x))


class SelNet(nn.Module):
    """The network.

    Args:
        scale: s.
    """

    def __init__(self, scale: int) -> None:
        super().__init__()
        self.scale, self.enlarge = scale, Bicubic(scale)
        self.head = nn.Sequential(nn.Conv2d(3, CHANNELS, 3, padding=1), Selection())
        self.body = nn.ModuleList(nn.Sequential(self._unit(), self._unit()) for _ in range(PAIRS))
        self.up = nn.Conv2d(CHANNELS, CHANNELS * scale**2, 3, padding=1)
        self.tail = nn.Conv2d(CHANNELS, 3, 3, padding=1)

    @staticmethod
    def _unit() -> nn.Module:
        return nn.Sequential(nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1), Selection())

    def forward(self, x: Tensor) -> Tensor:
        """[N, 3, H, W] RGB in [0, 1] -> [N, 3, sH, sW]."""
        out = self.head(x)
        for pair in self.body:
            out = out + pair(out)
        corrected: Tensor = self.tail(F.pixel_shuffle(self.up(out), self.scale)) + self.enlarge(x)
        return corrected


def selnet(scale: int) -> nn.Module:
    """SelNet, [N, 3, H, W] -> [N, 3, sH, sW]."""
    return SelNet(scale)
