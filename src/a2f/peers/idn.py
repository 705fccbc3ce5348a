"""IDN: units that enhance features and compress them again, and one wide transposed convolution.

Hui, Wang, Gao, "Fast and Accurate Single Image Super-Resolution via Information Distillation Network", CVPR 2018
(arXiv:1803.09454). Code read: the layers and the evaluation script (github.com/Zheng222/IDN-Caffe, no licence found).
Trained by its authors on luma of 91 and BSD200 images.

Table 6 prints 552K parameters, with biases, truncated (552,769); it has no Multi-Adds.
"""

import torch
from torch import Tensor, nn

from a2f.peers.luma import Bicubic, OnLuma

CHANNELS, KEPT, SLOPE = 64, 16, 0.05


class Distil(nn.Module):
    """One enhancement unit and the 1x1 convolution that compresses it."""

    def __init__(self) -> None:
        super().__init__()
        widths = [(64, 48, 1), (48, 32, 4), (32, 64, 1), (48, 64, 1), (64, 48, 4), (48, 80, 1)]
        made = [nn.Conv2d(i, o, 3, padding=1, groups=groups) for i, o, groups in widths]
        self.convs = nn.ModuleList(made)
        self.down = nn.Conv2d(CHANNELS + KEPT, CHANNELS, 1)
        self.act = nn.LeakyReLU(SLOPE, inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, C, H, W]."""
        out = x
        for conv in self.convs[:3]:
            out = self.act(conv(out))
        kept, out = out[:, :KEPT], out[:, KEPT:]
        for conv in self.convs[3:]:
            out = self.act(conv(out))
        compressed: Tensor = self.act(self.down(torch.cat([x, kept], dim=1) + out))
        return compressed


class IDN(nn.Module):
    """The luma network.

    Args:
        scale: s.
    """

    def __init__(self, scale: int) -> None:
        super().__init__()
        self.enlarge = Bicubic(scale)
        self.head1 = nn.Conv2d(1, CHANNELS, 3, padding=1)
        self.head2 = nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1)
        self.act = nn.LeakyReLU(SLOPE, inplace=True)
        self.blocks = nn.Sequential(*[Distil() for _ in range(4)])
        # The authors align LR pixel i with HR pixel s i + s - 1; the output has a few extra columns on the right.
        self.up = nn.ConvTranspose2d(CHANNELS, 1, 17, scale, padding=9 - scale)

    def forward(self, x: Tensor) -> Tensor:
        """[N, 1, H, W] -> [N, 1, sH, sW]."""
        features = self.blocks(self.act(self.head2(self.act(self.head1(x)))))
        large = self.enlarge(x)
        out: Tensor = self.up(features)[:, :, : large.shape[2], : large.shape[3]] + large
        return out


def idn(scale: int) -> nn.Module:
    """IDN on RGB, [N, 3, H, W] -> [N, 3, sH, sW]."""
    return OnLuma(IDN(scale), scale)
