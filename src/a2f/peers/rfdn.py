"""RFDN: 1x1 convolutions distil the features of shallow residual blocks.

Liu, Tang, Wu, "Residual Feature Distillation Network for Lightweight Image Super-Resolution", ECCV Workshops 2020
(arXiv:2009.11551); the version that won AIM 2020: arXiv:2009.06943. Code read: only the sizes in the README of
github.com/njulj/RFDN. Trained by its authors on DIV2K, for AIM on DIV2K and Flickr2K.

The paper prints 534K, 541K and 550K parameters. They result from 48 channels, 6 blocks and the gates of IMDN with a
quarter of the channels. The 23.9 G Multi-Adds that later papers print with 550K belong to the network for AIM 2020
(433K; 50 channels, 4 blocks, spatial attention); the network with 550K has 31 G.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SLOPE = 0.05


class Contrast(nn.Module):
    """Contrast-aware channel attention of IMDN: gates from the mean plus the standard deviation."""

    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        self.gate = nn.Sequential(nn.Conv2d(channels, squeezed, 1), nn.ReLU(True), nn.Conv2d(squeezed, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, C, H, W]."""
        mean = x.mean((2, 3), keepdim=True)  # [N, C, 1, 1]
        deviation = (x - mean).square().mean((2, 3), keepdim=True).sqrt()
        return x * torch.sigmoid(self.gate(mean + deviation))


class Spatial(nn.Module):
    """Enhanced spatial attention (ESA) of RFANet: gates computed at a sixth of the size."""

    def __init__(self, channels: int, inner: int) -> None:
        super().__init__()
        self.reduce, self.direct = nn.Conv2d(channels, inner, 1), nn.Conv2d(inner, inner, 1)
        self.shrink = nn.Conv2d(inner, inner, 3, stride=2)
        layers: list[nn.Module] = [nn.Conv2d(inner, inner, 3, padding=1)]
        for _ in range(2):
            layers += [nn.ReLU(inplace=True), nn.Conv2d(inner, inner, 3, padding=1)]
        self.small, self.expand = nn.Sequential(*layers), nn.Conv2d(inner, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, C, H, W], H and W at least 15."""
        reduced = self.reduce(x)
        far = self.small(F.max_pool2d(self.shrink(reduced), 7, 3))
        far = F.interpolate(far, (x.shape[2], x.shape[3]), mode="bilinear", align_corners=False)
        return x * torch.sigmoid(self.expand(far + self.direct(reduced)))


class Distilling(nn.Module):
    """RFDB: 1x1 convolutions distil half of the channels, shallow residuals continue."""

    def __init__(self, channels: int, attention: nn.Module) -> None:
        super().__init__()
        half = channels // 2
        self.keep = nn.ModuleList(nn.Conv2d(channels, half, 1) for _ in range(3))
        self.steps = nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=1) for _ in range(3))
        self.last = nn.Conv2d(channels, half, 3, padding=1)
        self.act = nn.LeakyReLU(SLOPE, inplace=True)
        self.fuse = nn.Sequential(nn.Conv2d(4 * half, channels, 1), attention)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, C, H, W]."""
        going, kept = x, []
        for keep, step in zip(self.keep, self.steps, strict=True):
            kept.append(self.act(keep(going)))
            going = self.act(step(going) + going)
        out: Tensor = self.fuse(torch.cat([*kept, self.act(self.last(going))], dim=1))
        return out


class RFDN(nn.Module):
    """The network.

    Args:
        scale: s.
        channels: channels between blocks.
        blocks: number of blocks.
        spatial: True for spatial attention, as for AIM 2020; False for the attention of IMDN.
    """

    def __init__(self, scale: int, *, channels: int = 48, blocks: int = 6, spatial: bool = False) -> None:
        super().__init__()
        self.scale = scale
        quarter = channels // 4
        made = [
            Distilling(channels, Spatial(channels, quarter) if spatial else Contrast(channels, quarter))
            for _ in range(blocks)
        ]
        self.head, self.blocks = nn.Conv2d(3, channels, 3, padding=1), nn.ModuleList(made)
        self.fuse = nn.Sequential(nn.Conv2d(blocks * channels, channels, 1), nn.LeakyReLU(SLOPE, inplace=True))
        self.smooth = nn.Conv2d(channels, channels, 3, padding=1)
        self.up = nn.Conv2d(channels, 3 * scale**2, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """[N, 3, H, W] RGB in [0, 1] -> [N, 3, sH, sW]."""
        given = [self.head(x)]
        for block in self.blocks:
            given.append(block(given[-1]))
        out = self.smooth(self.fuse(torch.cat(given[1:], dim=1))) + given[0]
        return F.pixel_shuffle(self.up(out), self.scale)


def rfdn(scale: int) -> nn.Module:
    """RFDN of the paper, [N, 3, H, W] -> [N, 3, sH, sW]."""
    return RFDN(scale)


def rfdn_aim(scale: int) -> nn.Module:
    """The RFDN that won AIM 2020, [N, 3, H, W] -> [N, 3, sH, sW]."""
    return RFDN(scale, channels=50, blocks=4, spatial=True)
