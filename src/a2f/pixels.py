"""What an upscaler does not know: grey, transparency, bit depth and exact sizes."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from a2f.errors import InputError
from a2f.imageio import Picture
from a2f.sizes import Size
from a2f.upscaler import Upscaler

Plane = NDArray[np.float32]

LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)


def upscale_picture(picture: Picture, passes: Sequence[Upscaler], *, size: Size | None = None) -> Picture:
    """Enlarge a picture; metadata, channels and bit depth stay. Arguments as `upscale_pixels`."""
    return replace(picture, pixels=upscale_pixels(picture.pixels, passes, size=size))


def upscale_pixels(pixels: NDArray[Any], passes: Sequence[Upscaler], *, size: Size | None = None) -> NDArray[Any]:
    """Enlarge an image of any depth and channels.

    Grey runs through the network as RGB and comes back as its luma. Colour under full transparency, which nobody has
    chosen, is filled from what is visible before it can bleed into the edges; alpha is enlarged by itself and held to
    the range of its neighbourhood, so that opaque stays opaque and empty stays empty to the last bit.

    Args:
        pixels: [H, W, C], C 1 grey, 2 grey and alpha, 3 RGB, 4 RGB and alpha; uint8, uint16, or float32 in [0, 1].
        passes: upscalers to run, one after the other; none only resizes.
        size: exact width and height of the result; it is resized with an antialiased Lanczos filter if need be.

    Returns:
        Same dtype and C.

    Raises:
        InputError: for another shape or dtype, an empty image, NaN, or floats outside [0, 1].
    """
    values = _to_float(pixels)
    channels = values.shape[2]
    rgb = values[..., :3] if channels > 2 else values[..., :1].repeat(3, axis=2)
    alpha = values[..., -1] if channels in (2, 4) and (values[..., -1] < 1).any() else None
    if alpha is not None:
        rgb = fill_hidden(rgb, alpha)
    for upscaler in passes:
        alpha = None if alpha is None else _enlarge_alpha(alpha, upscaler)
        rgb = upscaler(np.ascontiguousarray(rgb)).clip(0, 1)
    if size is not None and size != (rgb.shape[1], rgb.shape[0]):
        rgb, alpha = _resize(rgb, alpha, size)
    colour = rgb if channels > 2 else (rgb @ LUMA)[..., None]
    if channels in (2, 4):
        opaque = np.ones(rgb.shape[:2], np.float32)
        colour = np.concatenate([colour, (opaque if alpha is None else alpha)[..., None]], axis=2)
    return _from_float(colour, pixels.dtype)


def _to_float(pixels: NDArray[Any]) -> Plane:
    if not isinstance(pixels, np.ndarray) or pixels.ndim != 3 or pixels.shape[2] not in (1, 2, 3, 4):
        got = f"an array of shape {pixels.shape}" if isinstance(pixels, np.ndarray) else f"a {type(pixels).__name__}"
        raise InputError(f"an image is an array [H, W, C] with 1 to 4 channels, not {got}")
    if pixels.size == 0:
        raise InputError(f"the image is empty: {pixels.shape[1]} x {pixels.shape[0]} pixels")
    if pixels.dtype in (np.uint8, np.uint16):
        return pixels.astype(np.float32) / np.float32(np.iinfo(pixels.dtype).max)
    if pixels.dtype != np.float32:
        raise InputError(f"an image is uint8, uint16 or float32, not {pixels.dtype}: convert it first")
    if not np.isfinite(pixels).all():
        raise InputError("the image holds NaN or infinity")
    low, high = float(pixels.min()), float(pixels.max())
    if low < 0 or high > 1:
        raise InputError(f"a float image lies in [0, 1], not in [{low:g}, {high:g}]: divide it by its white first")
    return pixels


def _from_float(values: Plane, dtype: np.dtype[Any]) -> NDArray[Any]:
    if dtype == np.float32:
        return values.clip(0, 1)
    top = np.iinfo(dtype).max
    return np.floor(values.clip(0, 1) * np.float64(top) + 0.5).astype(dtype)


def fill_hidden(rgb: Plane, alpha: Plane) -> Plane:
    """Give fully transparent pixels the colour of what is visible around them.

    Colours, weighted with alpha, are averaged into ever smaller images and taken back from the first that has any.

    Args:
        rgb: [H, W, 3].
        alpha: [H, W] in [0, 1].

    Returns:
        [H, W, 3]; pixels with any alpha keep their colour. Without a single visible pixel, `rgb` as it is.
    """
    if not (alpha == 0).any() or not (alpha > 0).any():
        return rgb
    levels = [(rgb * alpha[..., None], alpha)]
    while max(levels[-1][1].shape) > 1:
        levels.append((_halve(levels[-1][0]), _halve(levels[-1][1][..., None])[..., 0]))
    weighted, weight = levels[-1]
    colour = weighted / np.maximum(weight, 1e-12)[..., None]
    for weighted, weight in reversed(levels[:-1]):
        coarse = colour.repeat(2, 0).repeat(2, 1)[: weight.shape[0], : weight.shape[1]]
        own = weighted / np.maximum(weight, 1e-12)[..., None]
        colour = np.where((weight > 0)[..., None], own, coarse)
    return np.where((alpha > 0)[..., None], rgb, colour).astype(np.float32)


def _halve(x: Plane) -> Plane:
    """Mean of 2x2 blocks; odd edges are padded with nothing."""
    padded = np.pad(x, ((0, x.shape[0] % 2), (0, x.shape[1] % 2), (0, 0)))
    blocks = padded.reshape(padded.shape[0] // 2, 2, padded.shape[1] // 2, 2, -1)
    return np.asarray(blocks.mean((1, 3)), dtype=np.float32)


def _enlarge_alpha(alpha: Plane, upscaler: Upscaler) -> Plane:
    """The network's sharp edge where bicubic sees one, bicubic in its tails, where ringing would show as specks."""
    s = upscaler.scale
    sharp = upscaler(alpha[..., None].repeat(3, axis=2)) @ LUMA
    soft = _resampled(alpha, (alpha.shape[1] * s, alpha.shape[0] * s), "BICUBIC").clip(0, 1)
    large = soft + 4 * soft * (1 - soft) * (sharp - soft)
    low, high = _neighbourhood(alpha)
    alpha_large: Plane = large.clip(low.repeat(s, 0).repeat(s, 1), high.repeat(s, 0).repeat(s, 1))
    return alpha_large


def _neighbourhood(plane: Plane) -> tuple[Plane, Plane]:
    """Smallest and largest value of each 3x3 neighbourhood."""
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(plane, 1, mode="edge"), (3, 3))
    return windows.min((2, 3)), windows.max((2, 3))


def _resize(rgb: Plane, alpha: Plane | None, size: Size) -> tuple[Plane, Plane | None]:
    if alpha is None:
        return _lanczos(rgb, size), None
    small = _lanczos(alpha[..., None], size)
    premultiplied = _lanczos(rgb * alpha[..., None], size)
    plain = _lanczos(rgb, size)
    colour = np.where(small > 1e-4, premultiplied / np.maximum(small, 1e-4), plain)
    return colour.clip(0, 1), small[..., 0]


def _lanczos(planes: Plane, size: Size) -> Plane:
    resized = [_resampled(planes[..., c], size, "LANCZOS") for c in range(planes.shape[2])]
    return np.stack(resized, axis=-1).clip(0, 1)


def _resampled(plane: Plane, size: Size, method: Literal["LANCZOS", "BICUBIC"]) -> Plane:
    """One channel to width and height, by Pillow in float32."""
    from PIL import Image

    return np.asarray(Image.fromarray(np.ascontiguousarray(plane)).resize(size, Image.Resampling[method]))
