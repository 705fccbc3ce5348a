"""Measure a network on the validation images."""

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from a2f.data.degrade import jpeg
from a2f.errors import A2FError
from a2f.imageio.rgb import to_uint8
from a2f.metrics import psnr_y

JPEG_QUALITY = 50  # JPEG quality of the validation of runs with a degradation; equal for all runs

Image = NDArray[np.uint8]
Pair = tuple[Image, Image]  # hr, lr


@dataclass(frozen=True, kw_only=True)
class Score:
    """The quality on the validation images.

    Attributes:
        psnr_y: mean PSNR-Y, dB; NaN without images.
        psnr_y_jpeg: mean PSNR-Y with JPEG files as LR images, dB; NaN without a degradation.
    """

    psnr_y: float
    psnr_y_jpeg: float

    @property
    def decisive(self) -> float:
        """The figure that decides, dB: the mean of both if both are measured; minus infinity without images."""
        if math.isnan(self.psnr_y):
            return -math.inf
        return self.psnr_y if math.isnan(self.psnr_y_jpeg) else (self.psnr_y + self.psnr_y_jpeg) / 2

    def __str__(self) -> str:
        return f"{self.psnr_y:.3f} dB" + ("" if math.isnan(self.psnr_y_jpeg) else f" (JPEG {self.psnr_y_jpeg:.3f} dB)")


def score(enlarge: Callable[[Image], Image], pairs: Sequence[Pair], *, scale: int, jpegs: bool) -> Score:
    """Measure the enlargement of LR images.

    Args:
        enlarge: [H, W, 3] uint8 in, [sH, sW, 3] uint8 out.
        pairs: hr and lr, uint8.
        scale: s; s pixels are cut from each border.
        jpegs: whether to measure JPEG files as LR images too (quality 50, 4:2:0).
    """

    def mean(quality: int | None) -> float:
        values = [
            psnr_y(enlarge(lr if quality is None else jpeg(lr, quality=quality)), hr, border=scale) for hr, lr in pairs
        ]
        return float(np.mean(values)) if values else math.nan

    return Score(psnr_y=mean(None), psnr_y_jpeg=mean(JPEG_QUALITY) if jpegs else math.nan)


@torch.inference_mode()
def enlarged(model: nn.Module, lr: Image) -> Image:
    """Enlarge an image with a network: [H, W, 3] uint8 -> [sH, sW, 3] uint8.

    Raises:
        A2FError: if the output has NaN or infinite values.
    """
    device = next(model.parameters()).device
    x = torch.from_numpy(lr.copy()).to(device).permute(2, 0, 1)[None].float() / 255  # [1, 3, H, W]
    sr = model(x)[0].permute(1, 2, 0).cpu().numpy()
    if not np.isfinite(sr).all():
        raise A2FError(
            f"the network gives NaN or infinite values for an image of {lr.shape[1]} x {lr.shape[0]} pixels: "
            "check its weights and its forward method"
        )
    return to_uint8(sr)


def fingerprint(pairs: Sequence[Pair]) -> str:
    """A checksum of the sizes and the middle rows of images, in order; it does not read all pixels."""
    digest = hashlib.sha256()
    for pair in pairs:
        for image in pair:
            digest.update(repr(image.shape).encode() + image[len(image) // 2].tobytes())
    return digest.hexdigest()[:16]
