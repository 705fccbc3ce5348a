"""SRDenseNet: eight dense blocks, a bottleneck over all their outputs, and transposed convolutions.

Tong, Li, Liu, Gao, "Image Super-Resolution Using Dense Skip Connections", ICCV 2017: SRDenseNet_All. Code read: none.
Trained by its authors on luma of 50,000 images of ImageNet.

The 69 layers are those of the paper: eight blocks of eight layers with growth rate 16, a bottleneck of 256 channels,
and two transposed convolutions that each double the size. The text does not give the width of the first layer and the
number of channels that a block passes on to the next one. This network has 128 channels after the first layer and after
each block, and a bottleneck over all of them: 2142K weights.

Table 6 prints 2015K and 389.9 G. Both are consistent if the transposed convolutions are counted twice for each input
pixel: then all layers before them have 833K or 834K weights; here they have 960K. Several layouts have that number: 56
channels after the first layer and 32 from block to block, or 16 and 48, or 256 and 16 if the bottleneck does not read
the first layer. The figures do not decide between them, and the text supports none. So the printed figures are not
reproduced: this network has 6 % more weights and 2 % more Multi-Adds.
"""

import torch
from torch import Tensor, nn

from a2f.peers.luma import OnLuma

GROWTH, LAYERS, BLOCKS, NARROW = 16, 8, 8, 256
WIDTH = GROWTH * LAYERS


class Dense(nn.Module):
    """Eight layers; the input of each is the outputs of all earlier layers. The result is all outputs."""

    def __init__(self) -> None:
        super().__init__()
        given = [WIDTH, *(GROWTH * i for i in range(1, LAYERS))]
        self.convs = nn.ModuleList(nn.Conv2d(c, GROWTH, 3, padding=1) for c in given)
        self.act = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """[N, 128, H, W] -> [N, 128, H, W]."""
        made = [self.act(self.convs[0](x))]
        for conv in self.convs[1:]:
            made.append(self.act(conv(torch.cat(made, dim=1))))
        return torch.cat(made, dim=1)


class SRDenseNet(nn.Module):
    """The luma network.

    Args:
        scale: 2 or 4.
    """

    def __init__(self, scale: int) -> None:
        super().__init__()
        self.head = nn.Conv2d(1, WIDTH, 3, padding=1)
        self.blocks = nn.ModuleList(Dense() for _ in range(BLOCKS))
        self.bottleneck = nn.Conv2d((BLOCKS + 1) * WIDTH, NARROW, 1)
        self.ups = nn.ModuleList(
            nn.ConvTranspose2d(NARROW, NARROW, 3, 2, padding=1, output_padding=1) for _ in range(scale // 2)
        )
        self.tail = nn.Conv2d(NARROW, 1, 3, padding=1)
        self.act = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """[N, 1, H, W] -> [N, 1, sH, sW]."""
        levels = [self.act(self.head(x))]
        for block in self.blocks:
            levels.append(block(levels[-1]))
        out = self.act(self.bottleneck(torch.cat(levels, dim=1)))
        for up in self.ups:
            out = self.act(up(out))
        made: Tensor = self.tail(out)
        return made


def srdensenet(scale: int) -> nn.Module:
    """SRDenseNet on RGB, [N, 3, H, W] -> [N, 3, sH, sW]."""
    return OnLuma(SRDenseNet(scale), scale)
