"""FSRCNN: shrink, map, expand at LR size, then one transposed convolution.

Dong, Loy, Tang, "Accelerating the Super-Resolution Convolutional Neural Network", ECCV 2016 (arXiv:1608.00367):
d = 56, s = 12, m = 4. Code read: none; only the graph of a checkpoint by others (github.com/Saafke/FSRCNN_Tensorflow,
no licence found). Trained by its authors on luma of 91 and General-100 images.

Table 6 prints 12K parameters (the weights without biases). Its Multi-Adds count all 81 taps of 56 channels of the
transposed convolution at each output pixel, although only one in s^2 is computed. The graph of that checkpoint ends
with a 1x1 convolution and a pixel shuffle instead, and takes luma in full range.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from a2f.peers.luma import OnLuma


class FSRCNN(nn.Module):
    """The luma network.

    Args:
        scale: s.
    """

    def __init__(self, scale: int) -> None:
        super().__init__()
        widths = [(1, 56, 5), (56, 12, 1), *[(12, 12, 3)] * 4, (12, 56, 1)]
        layers: list[nn.Module] = []
        for given, made, kernel in widths:
            layers += [nn.Conv2d(given, made, kernel, padding=kernel // 2), nn.PReLU(made)]
        self.body = nn.Sequential(*layers)
        self.up = nn.ConvTranspose2d(56, 1, 9, scale, padding=4, output_padding=scale - 1)

    def forward(self, x: Tensor) -> Tensor:
        """[N, 1, H, W] -> [N, 1, sH, sW]."""
        out: Tensor = self.up(self.body(x))
        return out


class FSRCNNShuffle(nn.Module):
    """FSRCNN with a 1x1 convolution and a pixel shuffle at its end, as in a checkpoint by others.

    Args:
        scale: s.
    """

    def __init__(self, scale: int) -> None:
        super().__init__()
        self.scale = scale
        self.body = FSRCNN(scale).body
        self.up = nn.Conv2d(56, scale**2, 1, bias=False)
        self.bias = nn.Parameter(self.up.weight.new_zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        """[N, 1, H, W] -> [N, 1, sH, sW]."""
        return F.pixel_shuffle(self.up(self.body(x)), self.scale) + self.bias


def fsrcnn(scale: int) -> nn.Module:
    """FSRCNN on RGB, [N, 3, H, W] -> [N, 3, sH, sW]."""
    return OnLuma(FSRCNN(scale), scale)


def fsrcnn_shuffle(scale: int) -> nn.Module:
    """FSRCNN with a pixel shuffle on RGB, [N, 3, H, W] -> [N, 3, sH, sW]."""
    return OnLuma(FSRCNNShuffle(scale), scale)
