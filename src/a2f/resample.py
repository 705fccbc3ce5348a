"""Images brought to an exact size, antialiased, by Pillow."""

from typing import Literal

import numpy as np

from a2f.depth import Plane
from a2f.sizes import Size

Box = tuple[float, float, float, float]  # left, upper, right and lower edge


def resize(rgb: Plane, alpha: Plane | None, size: Size, *, box: Box | None = None) -> tuple[Plane, Plane | None]:
    """Resize colours and alpha: by Lanczos, or with alpha by bicubic, which leaves no second wave beside an edge.

    Args:
        rgb: [H, W, C] in [0, 1].
        alpha: [H, W] in [0, 1]; None for none.
        size: width and height of the result.
        box: the part to resize; None for all.

    Returns:
        Both, clipped to [0, 1].
    """
    if alpha is None:
        large = _all_resampled(rgb, size, "LANCZOS", box)
        return np.clip(large, 0, 1, out=large), None
    # Nothing is clipped before the division: colour and alpha overshoot alike, and the quotient does not.
    weight = resampled(alpha, size, "BICUBIC", box)
    weighted = _all_resampled(rgb * alpha[..., None], size, "BICUBIC", box)
    plain = _all_resampled(rgb, size, "BICUBIC", box)
    colour = np.where(weight[..., None] > 0.02, weighted / np.maximum(weight, 0.02)[..., None], plain)
    return colour.clip(0, 1), weight.clip(0, 1)


def _all_resampled(planes: Plane, size: Size, method: Literal["LANCZOS", "BICUBIC"], box: Box | None = None) -> Plane:
    out = np.empty((size[1], size[0], planes.shape[2]), np.float32)
    for c in range(planes.shape[2]):
        out[..., c] = resampled(planes[..., c], size, method, box)
    return out


def resampled(plane: Plane, size: Size, method: Literal["LANCZOS", "BICUBIC"], box: Box | None = None) -> Plane:
    """One channel [H, W], or a box of it, at a width and height; not clipped."""
    from PIL import Image

    return np.asarray(Image.fromarray(np.ascontiguousarray(plane)).resize(size, Image.Resampling[method], box=box))
