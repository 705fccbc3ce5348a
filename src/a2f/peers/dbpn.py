"""D-DBPN: densely connected projections up to HR size and back, each with an error correction.

Haris, Shakhnarovich, Ukita, "Deep Back-Projection Networks for Super-Resolution", CVPR 2018 (arXiv:1803.02735): seven
projections up and six down, of 64 channels. Code read: none. Trained by its authors on DIV2K, Flickr2K and ImageNet.

Table 4 prints 10430K parameters (10.43 M, four digits) and 685.7 G Multi-Adds. Convolutions, biases and PReLUs sum to
684.8 G; the remaining 0.1 % are not explained.
"""

import torch
from torch import Tensor, nn

CHANNELS, STAGES = 64, 7
KERNELS = {2: 6, 4: 8}


def activated(conv: nn.Module) -> nn.Module:
    """A convolution and a PReLU with one slope."""
    return nn.Sequential(conv, nn.PReLU())


class Projection(nn.Module):
    """One projection, up or down, with its error correction.

    Args:
        scale: s.
        upward: whether it projects up to HR size.
        given: number of input feature maps of 64 channels.
    """

    def __init__(self, scale: int, *, upward: bool, given: int) -> None:
        super().__init__()
        kernel, c = KERNELS[scale], CHANNELS
        self.narrow = activated(nn.Conv2d(given * c, c, 1)) if given > 1 else nn.Identity()

        def up() -> nn.Module:
            return activated(nn.ConvTranspose2d(c, c, kernel, scale, padding=2))

        def down() -> nn.Module:
            return activated(nn.Conv2d(c, c, kernel, scale, padding=2))

        self.there, self.back, self.again = (up(), down(), up()) if upward else (down(), up(), down())

    def forward(self, given: list[Tensor]) -> Tensor:
        """Feature maps of one size -> a feature map of the other size."""
        x = self.narrow(torch.cat(given, dim=1))
        first = self.there(x)
        out: Tensor = first + self.again(self.back(first) - x)
        return out


class DBPN(nn.Module):
    """The network.

    Args:
        scale: 2 or 4.
    """

    def __init__(self, scale: int) -> None:
        super().__init__()
        self.head = nn.Sequential(activated(nn.Conv2d(3, 256, 3, padding=1)), activated(nn.Conv2d(256, CHANNELS, 1)))
        self.up = nn.ModuleList(Projection(scale, upward=True, given=max(1, i)) for i in range(STAGES))
        self.down = nn.ModuleList(Projection(scale, upward=False, given=i + 1) for i in range(STAGES - 1))
        self.tail = nn.Conv2d(STAGES * CHANNELS, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """[N, 3, H, W] RGB in [0, 1] -> [N, 3, sH, sW]."""
        low, high = [self.head(x)], list[Tensor]()
        for i, up in enumerate(self.up):
            high.append(up(low[:1] if i == 0 else low[1:]))
            if i < len(self.down):
                low.append(self.down[i](high))
        out: Tensor = self.tail(torch.cat(high, dim=1))
        return out


def ddbpn(scale: int) -> nn.Module:
    """D-DBPN, [N, 3, H, W] -> [N, 3, sH, sW]."""
    return DBPN(scale)
