"""VDSR: 20 layers that correct the bicubic enlargement.

Kim, Lee, Lee, "Accurate Image Super-Resolution Using Very Deep Convolutional Networks", CVPR 2016 (arXiv:1511.04587).
Code read: none; only names and shapes in a checkpoint by others (github.com/twtygqyy/pytorch-vdsr, no licence found).
Trained by its authors on luma of 91 and BSD200 images, one network for x2, x3 and x4.

Table 6 prints the weights without biases, all at the size of the enlargement. The layers here have no biases, as in
that checkpoint.
"""

from torch import Tensor, nn

from a2f.peers.luma import Bicubic, OnLuma


class VDSR(nn.Module):
    """The luma network.

    Args:
        scale: s; used only for the bicubic enlargement.
    """

    def __init__(self, scale: int) -> None:
        super().__init__()
        self.enlarge = Bicubic(scale)
        self.head = nn.Conv2d(1, 64, 3, padding=1, bias=False)
        self.body = nn.ModuleList(nn.Conv2d(64, 64, 3, padding=1, bias=False) for _ in range(18))
        self.tail = nn.Conv2d(64, 1, 3, padding=1, bias=False)
        self.act = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """[N, 1, H, W] -> [N, 1, sH, sW]."""
        large = self.enlarge(x)
        out = self.act(self.head(large))
        for conv in self.body:
            out = self.act(conv(out))
        corrected: Tensor = large + self.tail(out)
        return corrected


def vdsr(scale: int) -> nn.Module:
    """VDSR on RGB, [N, 3, H, W] -> [N, 3, sH, sW]."""
    return OnLuma(VDSR(scale), scale)
