"""BSRN: RFDN with blueprint separable convolutions and both attentions.

Li, Liu, Chen, Cai, Gu, Qiao, Dong, "Blueprint Separable Residual Network for Efficient Image Super-Resolution", CVPR
Workshops 2022 (arXiv:2205.05996). Code read: none. Trained by its authors on DIV2K and Flickr2K.

The paper prints 332K, 340K and 352K parameters and 73.0, 33.3 and 19.4 G Multi-Adds.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

CHANNELS, BLOCKS, INNER, SQUEEZED, COPIES = 64, 8, 16, 4, 4


def blueprint(inputs: int, outputs: int, *, stride: int = 1, padding: int = 1) -> nn.Module:
    """BSConv-U: a 1x1 convolution, then a depthwise 3x3 convolution."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 1, bias=False),
        nn.Conv2d(outputs, outputs, 3, stride, padding, groups=outputs),
    )


class Spatial(nn.Module):
    """Enhanced spatial attention of blueprint convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.reduce, self.direct = nn.Conv2d(CHANNELS, INNER, 1), nn.Conv2d(INNER, INNER, 1)
        self.shrink = blueprint(INNER, INNER, stride=2, padding=0)
        layers: list[nn.Module] = [blueprint(INNER, INNER)]
        for _ in range(2):
            layers += [nn.GELU(), blueprint(INNER, INNER)]
        self.small, self.expand = nn.Sequential(*layers), nn.Conv2d(INNER, CHANNELS, 1)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, C, H, W], H and W at least 15."""
        reduced = self.reduce(x)
        far = self.small(F.max_pool2d(self.shrink(reduced), 7, 3))
        far = F.interpolate(far, (x.shape[2], x.shape[3]), mode="bilinear", align_corners=False)
        return x * torch.sigmoid(self.expand(far + self.direct(reduced)))


class Contrast(nn.Module):
    """Contrast-aware channel attention: gates from the mean plus the standard deviation."""

    def __init__(self) -> None:
        super().__init__()
        squeeze, excite = nn.Conv2d(CHANNELS, SQUEEZED, 1), nn.Conv2d(SQUEEZED, CHANNELS, 1)
        self.gate = nn.Sequential(squeeze, nn.ReLU(inplace=True), excite)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, C, H, W]."""
        mean = x.mean((2, 3), keepdim=True)  # [N, C, 1, 1]
        deviation = (x - mean).square().mean((2, 3), keepdim=True).sqrt()
        return x * torch.sigmoid(self.gate(mean + deviation))


class Distilling(nn.Module):
    """ESDB: 1x1 convolutions distil half of the channels, shallow residuals continue; both attentions."""

    def __init__(self) -> None:
        super().__init__()
        half = CHANNELS // 2
        self.keep = nn.ModuleList(nn.Conv2d(CHANNELS, half, 1) for _ in range(3))
        self.steps = nn.ModuleList(blueprint(CHANNELS, CHANNELS) for _ in range(3))
        self.last, self.act = blueprint(CHANNELS, half), nn.GELU()
        self.fuse = nn.Sequential(nn.Conv2d(4 * half, CHANNELS, 1), Spatial(), Contrast())

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, C, H, W]."""
        going, kept = x, []
        for keep, step in zip(self.keep, self.steps, strict=True):
            kept.append(self.act(keep(going)))
            going = self.act(step(going) + going)
        out: Tensor = self.fuse(torch.cat([*kept, self.act(self.last(going))], dim=1)) + x
        return out


class BSRN(nn.Module):
    """The network.

    Args:
        scale: s.
    """

    def __init__(self, scale: int) -> None:
        super().__init__()
        self.scale = scale
        self.head = blueprint(3 * COPIES, CHANNELS)
        self.blocks = nn.ModuleList(Distilling() for _ in range(BLOCKS))
        self.fuse = nn.Sequential(nn.Conv2d(BLOCKS * CHANNELS, CHANNELS, 1), nn.GELU())
        self.smooth = blueprint(CHANNELS, CHANNELS)
        self.up = nn.Conv2d(CHANNELS, 3 * scale**2, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """[N, 3, H, W] RGB in [0, 1] -> [N, 3, sH, sW]."""
        given = [self.head(torch.cat([x] * COPIES, dim=1))]
        for block in self.blocks:
            given.append(block(given[-1]))
        out = self.smooth(self.fuse(torch.cat(given[1:], dim=1))) + given[0]
        return F.pixel_shuffle(self.up(out), self.scale)


def bsrn(scale: int) -> nn.Module:
    """BSRN, [N, 3, H, W] -> [N, 3, sH, sW]."""
    return BSRN(scale)
