"""Adapt luma networks to RGB input and output; the colour is enlarged by bicubic."""

import torch
from torch import Tensor, nn

STUDIO = ((65.481, 128.553, 24.966), (-37.797, -74.203, 112.0), (112.0, -93.786, -18.214))  # BT.601, MATLAB's rgb2ycbcr
FULL = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))  # BT.601, Y Pb Pr


class Bicubic(nn.Module):
    """Bicubic enlargement like MATLAB's ``imresize``, without rounding: a = -0.5, symmetric border.

    Args:
        scale: an integer greater than 1.
    """

    weights: Tensor

    def __init__(self, scale: int) -> None:
        super().__init__()
        # Output pixel s i + j is at i + (j + 0.5) / s - 0.5; its four neighbours are among i - 2 .. i + 2.
        place = (torch.arange(scale, dtype=torch.float64) + 0.5) / scale - 0.5
        distance = (place[None] - torch.arange(-2.0, 3.0, dtype=torch.float64)[:, None]).abs()
        near = 1.5 * distance**3 - 2.5 * distance**2 + 1
        far = -0.5 * distance**3 + 2.5 * distance**2 - 4 * distance + 2
        taps = torch.where(distance <= 1, near, torch.where(distance < 2, far, torch.zeros_like(far)))
        self.register_buffer("weights", taps.float(), persistent=False)  # [5, s]

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, C, sH, sW], H and W at least 2."""
        return self._rows(self._rows(x).transpose(2, 3)).transpose(2, 3)

    def _rows(self, x: Tensor) -> Tensor:
        n, c, height, width = x.shape
        x = torch.cat([x[:, :, :2].flip(2), x, x[:, :, -2:].flip(2)], dim=2)
        # Products and sums instead of a matrix product, because autocast would compute that in bfloat16.
        rows = torch.zeros_like(x[:, :, :height, None])
        for t, weights in enumerate(self.weights):  # each [s]
            rows = rows + x[:, :, t : t + height, None] * weights.view(1, 1, 1, -1, 1)  # [N, C, H, s, W]
        return rows.reshape(n, c, -1, width)


class OnLuma(nn.Module):
    """Wrap a luma network as an RGB network.

    Args:
        network: [N, 1, H, W] -> [N, 1, sH, sW].
        scale: s.
        full_range: True if the luma of black and white is 0 and 1, False if it is 16/255 and 235/255 as in MATLAB's
            rgb2ycbcr.
    """

    to_luma: Tensor
    to_rgb: Tensor
    offset: Tensor

    def __init__(self, network: nn.Module, scale: int, *, full_range: bool = False) -> None:
        super().__init__()
        self.network, self.colour = network, Bicubic(scale)
        matrix = torch.tensor(FULL if full_range else STUDIO, dtype=torch.float64) / (1 if full_range else 255)
        black = torch.tensor((0.0, 128, 128) if full_range else (16.0, 128, 128)) / 255
        self.register_buffer("to_luma", matrix.float(), persistent=False)  # [Y Cb Cr, RGB]
        self.register_buffer("to_rgb", matrix.inverse().float(), persistent=False)
        self.register_buffer("offset", black.view(1, 3, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """[N, 3, H, W] RGB in [0, 1] -> [N, 3, sH, sW], not clipped."""
        luma = _mixed(x, self.to_luma) + self.offset  # [N, 3, H, W]
        large = torch.cat([self.network(luma[:, :1]).to(x.dtype), self.colour(luma[:, 1:])], dim=1)  # [N, 3, sH, sW]
        return _mixed(large - self.offset, self.to_rgb)


def _mixed(x: Tensor, matrix: Tensor) -> Tensor:
    """Multiply each pixel by a matrix [out, in], with products and sums that autocast does not change."""
    red, green, blue = (x[:, c : c + 1] * matrix[:, c].view(1, 3, 1, 1) for c in range(3))
    return red + green + blue
