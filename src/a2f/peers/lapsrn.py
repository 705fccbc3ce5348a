"""LapSRN: each level of a pyramid doubles the size of the features and of the image, separately.

Lai, Huang, Ahuja, Yang, "Deep Laplacian Pyramid Networks for Fast and Accurate Super-Resolution", CVPR 2017
(arXiv:1704.03915): 10 convolutions per level. Code read: none. Trained by its authors on luma of 91 and BSD200 images.

In the paper the transposed convolutions have 4x4 taps. The 813K parameters of Table 6 and of the authors' later paper
result from 3x3 taps for the features and 4x4 for the image, weights without biases, in the network for x4. Table 6
prints them at x2 too, although that network has one level and 407K. The table counts the transposed convolutions at
each output pixel: 149.4 G at x4. Its 29.9 G at x2 are the first level of the x4 network, 640x360 from 320x180; 1280x720
costs four times as much.
"""

from torch import Tensor, nn

from a2f.peers.luma import OnLuma

CHANNELS, DEPTH, SLOPE = 64, 10, 0.2


class Level(nn.Module):
    """One pyramid level: it doubles the size of features and image."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for _ in range(DEPTH):
            layers += [nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1), nn.LeakyReLU(SLOPE, inplace=True)]
        self.body = nn.Sequential(*layers)
        self.up = nn.ConvTranspose2d(CHANNELS, CHANNELS, 3, 2, padding=1, output_padding=1)
        self.act = nn.LeakyReLU(SLOPE, inplace=True)
        self.residual = nn.Conv2d(CHANNELS, 1, 3, padding=1)
        self.image = nn.ConvTranspose2d(1, 1, 4, 2, padding=1, bias=False)

    def forward(self, features: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
        """[N, C, H, W] and [N, 1, H, W] -> [N, C, 2H, 2W] and [N, 1, 2H, 2W]."""
        features = self.act(self.up(self.body(features)))
        return features, self.image(image) + self.residual(features)


class LapSRN(nn.Module):
    """The luma network.

    Args:
        scale: 2 or 4.
    """

    def __init__(self, scale: int) -> None:
        super().__init__()
        self.head = nn.Conv2d(1, CHANNELS, 3, padding=1)
        self.act = nn.LeakyReLU(SLOPE, inplace=True)
        self.levels = nn.ModuleList(Level() for _ in range(scale // 2))

    def forward(self, x: Tensor) -> Tensor:
        """[N, 1, H, W] -> [N, 1, sH, sW]."""
        features, image = self.act(self.head(x)), x
        for level in self.levels:
            features, image = level(features, image)
        return image


def lapsrn(scale: int) -> nn.Module:
    """LapSRN on RGB, [N, 3, H, W] -> [N, 3, sH, sW]."""
    return OnLuma(LapSRN(scale), scale)
