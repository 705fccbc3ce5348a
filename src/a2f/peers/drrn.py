"""DRRN: one residual unit applied 25 times (B1U25), each time with the features before the first unit added.

Tai, Yang, Liu, "Image Super-Resolution via Deep Recursive Residual Network", CVPR 2017. Code read: none. Trained by
its authors on luma of 91 and BSD200 images, one network for x2, x3 and x4.

Table 6 prints 297K parameters (only the weights of the convolutions) and 6797 G Multi-Adds, all at the size of the
enlargement. The paper has batch normalisation before each convolution, but does not say how the recursions share it; it
is left out here.
"""

from torch import Tensor, nn

from a2f.peers.luma import Bicubic, OnLuma

CHANNELS, UNITS = 128, 25


class DRRN(nn.Module):
    """The luma network.

    Args:
        scale: s; used only for the bicubic enlargement.
    """

    def __init__(self, scale: int) -> None:
        super().__init__()
        self.enlarge = Bicubic(scale)
        self.head = nn.Conv2d(1, CHANNELS, 3, padding=1, bias=False)
        self.conv1 = nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1, bias=False)
        self.tail = nn.Conv2d(CHANNELS, 1, 3, padding=1, bias=False)
        self.act = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """[N, 1, H, W] -> [N, 1, sH, sW]."""
        large = self.enlarge(x)
        first = self.head(self.act(large))
        out = first
        for _ in range(UNITS):
            out = self.conv2(self.act(self.conv1(self.act(out)))) + first
        corrected: Tensor = self.tail(self.act(out)) + large
        return corrected


def drrn(scale: int) -> nn.Module:
    """DRRN on RGB, [N, 3, H, W] -> [N, 3, sH, sW]."""
    return OnLuma(DRRN(scale), scale)
