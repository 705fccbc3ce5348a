"""DRCN: one convolution applied 16 times, an image from each recursion, and their weighted sum.

Kim, Lee, Lee, "Deeply-Recursive Convolutional Network for Image Super-Resolution", CVPR 2016 (arXiv:1511.04491).
Code read: none. Trained by its authors on luma of 91 images.

Table 6 prints 1774K parameters (the weights without biases) and 17974 G Multi-Adds, all at the size of the enlargement;
the reconstruction is counted once for each of the 16 recursions.
"""

import torch
from torch import Tensor, nn

from a2f.peers.luma import Bicubic, OnLuma

CHANNELS, RECURSIONS = 256, 16


class DRCN(nn.Module):
    """The luma network.

    Args:
        scale: s; used only for the bicubic enlargement.
    """

    def __init__(self, scale: int) -> None:
        super().__init__()
        self.enlarge = Bicubic(scale)
        self.embed1 = nn.Conv2d(1, CHANNELS, 3, padding=1)
        self.embed2 = nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1)
        self.infer = nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1)
        self.rebuild1 = nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1)
        self.rebuild2 = nn.Conv2d(CHANNELS, 1, 3, padding=1)
        self.share = nn.Parameter(torch.full((RECURSIONS,), 1 / RECURSIONS))
        self.act = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """[N, 1, H, W] -> [N, 1, sH, sW]."""
        large = self.enlarge(x)
        hidden = self.act(self.embed2(self.act(self.embed1(large))))
        total = torch.zeros_like(large)
        for share in self.share:
            hidden = self.act(self.infer(hidden))
            total = total + share * (self.rebuild2(self.act(self.rebuild1(hidden))) + large)
        return total / self.share.sum()


def drcn(scale: int) -> nn.Module:
    """DRCN on RGB, [N, 3, H, W] -> [N, 3, sH, sW]."""
    return OnLuma(DRCN(scale), scale)
