"""Floating-point pictures: convert unbounded light to values in [0, 1] for the network, and back.

The networks were trained on sRGB images. So light up to white (1) is mapped by the sRGB curve, as in an 8-bit file.
Brighter light continues on a logarithm with the slope of the curve at white, so highlights of any strength keep their
detail. Negative values follow the mirrored curve. Then the range of the picture is scaled to [0, 1]. The mapping is
invertible up to float rounding:

    g(v) = sRGB(v)               for 0 <= v <= 1
    g(v) = 1 + SLOPE ln(v)       for v > 1
    g(v) = -g(-v)                for v < 0
    x    = (g(v) - g(low)) / (g(high) - g(low)),   low = min(0, smallest value), high = max(1, largest value)

If the values of a file are not linear by its ICC profile, v replaces sRGB(v), and the slope is 1.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from a2f.errors import ImageReadError, count_of
from a2f.imageio.colour import decoded, with_srgb_curve
from a2f.imageio.picture import Light, Picture

Values = NDArray[np.float32]
SLOPE = 1.055 / 2.4  # slope of the sRGB curve at white
ROWS_AT_A_TIME = 64


def light_of(values: NDArray[Any], name: str, *, linear: bool = True) -> Light:
    """Measure the range of a floating-point picture.

    Args:
        values: the colours without alpha.
        name: name of the file in errors.
        linear: whether 0.5 is half the light of 1.

    Raises:
        ImageReadError: if a value is NaN or infinite.
    """
    wrong = int(values.size - np.isfinite(values).sum())
    if wrong:
        raise ImageReadError(
            f"{name} has {wrong:,} values that are NaN or infinite: replace them first, because each would spread"
        )
    return Light(low=min(0.0, float(values.min())), high=max(1.0, float(values.max())), linear=linear)


def without_alpha(values: Values, alpha: Values, name: str) -> tuple[Values, list[str]]:
    """Divide premultiplied colours [H, W, 1 or 3] by alpha [H, W, 1], and return a note about light at alpha 0."""
    shining = int(((alpha == 0) & (values != 0).any(axis=2, keepdims=True)).sum())
    note = f"{name} has {count_of(shining, 'pixel')} brighter than black where alpha is 0: they become black"
    plain = np.divide(values, alpha, out=np.zeros_like(values), where=alpha > 0)
    return plain, [note] if shining else []


def to_network(values: NDArray[Any], light: Light) -> Values:
    """Convert colours of a file to values in [0, 1]."""
    start, end = _ends(light)

    def curve(part: NDArray[np.float64]) -> NDArray[np.float64]:
        return ((_mirrored(part, light, _up) - start) / (end - start)).clip(0, 1)

    return _by_rows(values, curve)


def from_network(pixels: NDArray[Any], light: Light) -> Values:
    """Convert values in [0, 1] back to colours of a file, the inverse of `to_network`."""
    start, end = _ends(light)
    return _by_rows(pixels, lambda part: _mirrored(part * (end - start) + start, light, _down))


def shown(pixels: NDArray[Any], light: Light) -> NDArray[np.uint16]:
    """Convert values of the network for an SDR screen: 16 bits, sRGB curve, clipped to black and white."""

    def clipped(part: NDArray[np.float64]) -> NDArray[np.float64]:
        start, end = _ends(light)
        return (part * (end - start) + start).clip(0, 1)  # up to white, the curve is that of sRGB

    deep: NDArray[np.uint16] = np.floor(_by_rows(pixels, clipped) * 65535 + np.float32(0.5)).astype(np.uint16)
    return deep


def without_light(picture: Picture) -> Picture:
    """Convert a floating-point picture to 16 bits; values below black and above white are clipped."""
    if picture.light is None:
        return picture
    pixels, alpha = picture.pixels, picture.has_alpha
    colours = shown(pixels[..., :-1] if alpha else pixels, picture.light)
    if alpha:
        opaque = np.floor(pixels[..., -1:].clip(0, 1) * 65535 + 0.5).astype(np.uint16)
        colours = np.concatenate([colours, opaque], axis=2)
    icc = picture.metadata.icc
    if icc and picture.light.linear:
        icc = with_srgb_curve(icc)  # the values now have this curve
    metadata = replace(picture.metadata, icc=picture.light.shown_icc or icc)
    return replace(picture, pixels=colours, light=None, metadata=metadata)


def srgb_to_light(pixels: NDArray[Any]) -> Values:
    """Convert sRGB integers, without alpha, to linear light with white 1."""
    top = np.iinfo(pixels.dtype).max
    return _by_rows(pixels, lambda part: _linear(part / top))


def light_by_profile(values: NDArray[Any], icc: bytes) -> Values:
    """Convert colours [H, W, 1 or 3] to linear light with white 1, by the curves of a matrix profile."""
    return _by_rows(values, lambda part: decoded(part, icc))


def _ends(light: Light) -> tuple[float, float]:
    start, end = _mirrored(np.array([light.low, light.high]), light, _up)
    return float(start), float(end)


def _mirrored(
    values: NDArray[np.float64], light: Light, one_side: Callable[[NDArray[np.float64], bool], NDArray[np.float64]]
) -> NDArray[np.float64]:
    return np.asarray(np.sign(values) * one_side(np.abs(values), light.linear))


def _up(values: NDArray[np.float64], linear: bool) -> NDArray[np.float64]:
    low = values.clip(0, 1)
    curved = np.where(low <= 0.0031308, 12.92 * low, 1.055 * low ** (1 / 2.4) - 0.055) if linear else low
    return np.where(values > 1, 1 + (SLOPE if linear else 1) * np.log(values.clip(1)), curved)


def _down(values: NDArray[np.float64], linear: bool) -> NDArray[np.float64]:
    low = values.clip(0, 1)
    slope = SLOPE if linear else 1
    return np.where(values > 1, np.exp((values.clip(1) - 1) / slope), _linear(low) if linear else low)


def _linear(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def _by_rows(values: NDArray[Any], change: Callable[[NDArray[np.float64]], NDArray[np.float64]]) -> Values:
    """Process a few rows at a time, to limit the memory for 64-bit values."""
    out = np.empty(values.shape, np.float32)
    for top in range(0, len(values), ROWS_AT_A_TIME):
        out[top : top + ROWS_AT_A_TIME] = change(values[top : top + ROWS_AT_A_TIME].astype(np.float64))
    return out
