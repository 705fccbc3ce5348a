"""SRFBN and SRFBN-S: one block applied four times, its output is fed back to its input.

Li, Yang, Liu, Yang, Jeon, Wu, "Feedback Network for Image Super-Resolution", CVPR 2019 (arXiv:1903.09814): T = 4
iterations, G = 6 groups and m = 64 channels; SRFBN-S has G = 3 and m = 32. Code read: none. Trained by its authors on
DIV2K and Flickr2K, SRFBN-S on DIV2K.

The image of the last iteration is the result. Table 6 prints the parameters of x4 (kernel 8, stride 4), 483K, for all
three scales; x2 has kernel 6 and x3 kernel 7, with fewer parameters. Tables 4 and 6 print 1128.7 and 132.5 G
Multi-Adds. Convolutions, biases and PReLUs sum to 1127.4 and 132.1 G; the remaining 0.1 and 0.3 % are not explained.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

TIMES = 4
MEAN = (0.4488, 0.4371, 0.4040)  # RGB mean of DIV2K
KERNELS = {2: 6, 3: 7, 4: 8}


def activated(conv: nn.Module) -> nn.Module:
    """A convolution and a PReLU with one slope."""
    return nn.Sequential(conv, nn.PReLU(1, 0.2))


class Feedback(nn.Module):
    """The feedback block: densely connected groups that go up to HR size and down again."""

    def __init__(self, scale: int, channels: int, groups: int) -> None:
        super().__init__()
        kernel = KERNELS[scale]

        def narrow(count: int) -> nn.Module:
            return activated(nn.Conv2d(count * channels, channels, 1))

        self.enter = narrow(2)
        self.up = nn.ModuleList(
            activated(nn.ConvTranspose2d(channels, channels, kernel, scale, padding=2)) for _ in range(groups)
        )
        self.down = nn.ModuleList(
            activated(nn.Conv2d(channels, channels, kernel, scale, padding=2)) for _ in range(groups)
        )
        self.before_up = nn.ModuleList(narrow(i + 1) for i in range(1, groups))
        self.before_down = nn.ModuleList(narrow(i + 1) for i in range(1, groups))
        self.leave = narrow(groups)

    def forward(self, x: Tensor, state: Tensor) -> Tensor:
        """[N, C, H, W] twice -> [N, C, H, W]."""
        low, high = [self.enter(torch.cat([x, state], dim=1))], list[Tensor]()
        for i, (up, down) in enumerate(zip(self.up, self.down, strict=True)):
            given = torch.cat(low, dim=1)
            high.append(up(self.before_up[i - 1](given) if i else given))
            given = torch.cat(high, dim=1)
            low.append(down(self.before_down[i - 1](given) if i else given))
        out: Tensor = self.leave(torch.cat(low[1:], dim=1))
        return out


class SRFBN(nn.Module):
    """The network.

    Args:
        scale: s.
        channels: m.
        groups: G.
    """

    mean: Tensor

    def __init__(self, scale: int, *, channels: int = 64, groups: int = 6) -> None:
        super().__init__()
        self.scale = scale
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1), persistent=False)
        self.head = nn.Sequential(
            activated(nn.Conv2d(3, 4 * channels, 3, padding=1)), activated(nn.Conv2d(4 * channels, channels, 1))
        )
        self.block = Feedback(scale, channels, groups)
        self.up = activated(nn.ConvTranspose2d(channels, channels, KERNELS[scale], scale, padding=2))
        self.tail = nn.Conv2d(channels, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """[N, 3, H, W] RGB in [0, 1] -> [N, 3, sH, sW]."""
        return self.images(x)[-1]

    def images(self, x: Tensor) -> list[Tensor]:
        """The images of all iterations, for training; each [N, 3, sH, sW]."""
        x = (x - self.mean) * 255
        large = F.interpolate(x, scale_factor=float(self.scale), mode="bilinear", align_corners=False)
        first = self.head(x)
        state, made = first, []
        for _ in range(TIMES):
            state = self.block(first, state)
            made.append((self.tail(self.up(state)) + large) / 255 + self.mean)
        return made


def srfbn(scale: int) -> nn.Module:
    """SRFBN, [N, 3, H, W] -> [N, 3, sH, sW]."""
    return SRFBN(scale)


def srfbn_s(scale: int) -> nn.Module:
    """SRFBN-S, [N, 3, H, W] -> [N, 3, sH, sW]."""
    return SRFBN(scale, channels=32, groups=3)
