"""SRMDNF: the input is an image and maps of its blur, the output is one pixel shuffle.

Zhang, Zuo, Zhang, "Learning a Single Convolutional Super-Resolution Network for Multiple Degradations", CVPR 2018
(arXiv:1712.06116): the noise-free network. Code read: none. Trained by its authors on DIV2K, BSD400 and Waterloo
images.

The blur kernel is given as 15 numbers (its principal components), equal at each pixel. The authors' training data
defines the projection; here it is a buffer of 15 zeros for a fixed degradation. Table 6 prints parameters with biases
and ten batch normalisations (merged into the convolutions for inference), and the Multi-Adds of the convolutions; at x3
it assumes an LR image of 102,400 pixels.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

CHANNELS, MIDDLE, BLUR = 128, 10, 15


class SRMDNF(nn.Module):
    """The network.

    Args:
        scale: s.
    """

    blur: Tensor

    def __init__(self, scale: int) -> None:
        super().__init__()
        self.scale = scale
        self.register_buffer("blur", torch.zeros(1, BLUR, 1, 1))
        layers: list[nn.Module] = [nn.Conv2d(3 + BLUR, CHANNELS, 3, padding=1), nn.ReLU(inplace=True)]
        for _ in range(MIDDLE):
            layers += [nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1), nn.BatchNorm2d(CHANNELS), nn.ReLU(inplace=True)]
        self.body = nn.Sequential(*layers, nn.Conv2d(CHANNELS, 3 * scale**2, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        """[N, 3, H, W] RGB in [0, 1] -> [N, 3, sH, sW]."""
        maps = self.blur.expand(x.shape[0], BLUR, x.shape[2], x.shape[3])
        return F.pixel_shuffle(self.body(torch.cat([x, maps], dim=1)), self.scale)


def srmdnf(scale: int) -> nn.Module:
    """SRMDNF, [N, 3, H, W] -> [N, 3, sH, sW]."""
    return SRMDNF(scale)
