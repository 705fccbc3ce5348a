"""SRCNN: three convolutions on the bicubic enlargement.

Dong, Loy, He, Tang, "Image Super-Resolution Using Deep Convolutional Networks", TPAMI 2016 (arXiv:1501.00092): the
network 9-5-5. Code read: none. Trained by its authors on luma of ImageNet, 395,909 images.

Table 6 prints 57K parameters (without biases) and 52.7 G Multi-Adds, all at the size of the enlargement.
"""

from torch import Tensor, nn

from a2f.peers.luma import Bicubic, OnLuma


class SRCNN(nn.Module):
    """The luma network.

    Args:
        scale: s; used only for the bicubic enlargement.
    """

    def __init__(self, scale: int) -> None:
        super().__init__()
        self.enlarge = Bicubic(scale)
        self.conv1 = nn.Conv2d(1, 64, 9, padding=4)
        self.conv2 = nn.Conv2d(64, 32, 5, padding=2)
        self.conv3 = nn.Conv2d(32, 1, 5, padding=2)
        self.act = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """[N, 1, H, W] -> [N, 1, sH, sW]."""
        out: Tensor = self.conv3(self.act(self.conv2(self.act(self.conv1(self.enlarge(x))))))
        return out


def srcnn(scale: int) -> nn.Module:
    """SRCNN on RGB, [N, 3, H, W] -> [N, 3, sH, sW]."""
    return OnLuma(SRCNN(scale), scale)
