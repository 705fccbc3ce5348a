"""What an upscaler does not know: grey, transparency, bit depth and exact sizes."""

import math
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from a2f.errors import InputError
from a2f.footprint import check_memory, enlarged_size
from a2f.imageio import FORMATS, Picture, encode_bands, encode_image, encoding_bytes, is_transparent
from a2f.imageio.picture import without_degrees
from a2f.runtime.memory import give_back_freed
from a2f.runtime.plan import checked, reserve
from a2f.sizes import Size
from a2f.upscaler import BandUpscaler, Upscaler
from a2f.variants import VARIANTS, config_of

Plane = NDArray[np.float32]
Box = tuple[float, float, float, float]

LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)

ROWS_AT_A_TIME = 32  # so that what is computed on the way stays in the cache

RECEPTIVE_PX = max(config_of(variant, scale=2).receptive_radius_px for variant in VARIANTS)
RESIZED_PX = 8  # on each side, for Lanczos of a reduction to a quarter at least

FAINT = 1 / 16  # of the strongest alpha: below this a pixel's own colour counts ever less


def upscale_picture(
    picture: Picture,
    passes: Sequence[Upscaler],
    *,
    size: Size | None = None,
    independent: bool = False,
    tileable: bool = False,
) -> Picture:
    """Enlarge a picture; metadata, channels and bit depth stay. Arguments as `upscale_pixels`."""
    apart = independent or picture.data_band
    pixels = upscale_pixels(picture.pixels, passes, size=size, independent=apart, tileable=tileable)
    return replace(_with_enlarged_map(picture, passes, size=size), pixels=pixels)


def _with_enlarged_map(picture: Picture, passes: Sequence[Upscaler], *, size: Size | None) -> Picture:
    """The picture with its gain map, if it has one, enlarged as much as the picture will be."""
    if picture.gain_map is None:
        return picture
    given = picture.gain_map.pixels
    target = None
    if size is not None:
        sides = zip(given.shape[1::-1], size, picture.size, strict=True)
        width, height = (max(1, round(side * to / of)) for side, to, of in sides)
        target = width, height
    return replace(picture, gain_map=replace(picture.gain_map, pixels=upscale_pixels(given, passes, size=target)))


def encode_enlarged(
    picture: Picture,
    passes: Sequence[Upscaler],
    *,
    size: Size | None = None,
    format: str,
    quality: int | None = None,
    strip: bool = False,
    force: bool = False,
    independent: bool = False,
    tileable: bool = False,
    watch: Callable[[], None] = lambda: None,
) -> Generator[bytes | memoryview, None, None]:
    """Enlarge a picture and encode it; by a single pass without resizing, the result is encoded while it is made.

    Args:
        picture: to enlarge.
        passes: as `upscale_pixels`.
        size: the same.
        format: as `encode_image`.
        quality: the same.
        strip: the same.
        force: the same.
        independent: as `upscale_pixels`.
        tileable: as `upscale_pixels`.
        watch: called between bands; what it raises ends the work.

    Returns:
        The file in parts, made as they are asked for.

    Raises:
        A2FError: as `upscale_pixels` and `encode_image`.
    """
    check_memory(_wrapped_picture(picture, passes) if tileable else picture, passes, size=size, format=format)
    if tileable or size is not None or len(passes) != 1 or not isinstance(passes[0], BandUpscaler):
        with checked():
            large = upscale_picture(picture, passes, size=size, independent=independent, tileable=tileable)
        if not FORMATS[format].soft and large.has_degrees and not picture.has_degrees:
            large = replace(large, pixels=without_degrees(large.pixels))  # which only its edges have got
        yield encode_image(large, format=format, quality=quality, strip=strip, force=force)
        return

    def watched(bands: Iterator[NDArray[Any]]) -> Iterator[NDArray[Any]]:
        for band in bands:
            watch()
            yield band

    if format == "jpeg" and not strip:
        picture = _with_enlarged_map(picture, passes, size=None)
    bands = watched(upscale_bands(picture.pixels, passes[0], independent=independent or picture.data_band))
    final = enlarged_size(picture.size, passes)
    channels, light = picture.pixels.shape[2], picture.light is not None
    taken = encoding_bytes(format, size=final, channels=channels, deep=picture.is_deep, light=light, streamed=True)
    with checked(), reserve(taken):
        first = next(bands)  # all that runs has been planned then
    bands = chain([first], bands)
    yield from encode_bands(picture, bands, size=final, format=format, quality=quality, strip=strip, force=force)


def upscale_pixels(
    pixels: NDArray[Any],
    passes: Sequence[Upscaler],
    *,
    size: Size | None = None,
    independent: bool = False,
    tileable: bool = False,
) -> NDArray[Any]:
    """Enlarge an image of any depth and channels.

    Grey runs through the network as RGB and comes back as its luma. Colour under full transparency, which nobody has
    chosen, is filled from what is visible before it can bleed into the edges; alpha is enlarged by itself and held to
    the range of its neighbourhood, so that opaque stays opaque and empty stays empty to the last bit.

    Args:
        pixels: [H, W, C], C 1 grey, 2 grey and alpha, 3 RGB, 4 RGB and alpha; uint8, uint16, or float32 in [0, 1].
        passes: upscalers to run, one after the other; none only resizes.
        size: exact width and height of the result; it is resized if need be, antialiased: by Lanczos, or with
            transparency by bicubic, which leaves no second wave beside an edge.
        independent: the last of 2 or 4 channels says nothing about the others: it is enlarged like a grey image, and
            the colours are enlarged as they are, whatever it holds.
        tileable: the image goes on at its left where it ends at its right, and at its top where it ends at its bottom,
            as seamless textures do; so does the result.

    Returns:
        Same dtype and C.

    Raises:
        InputError: for another shape or dtype, an empty image, NaN, or floats outside [0, 1].
    """
    if tileable:
        return _upscale_tileable(pixels, passes, size, independent=independent)
    if len(passes) == 1 and isinstance(passes[0], BandUpscaler) and size is None:
        return np.concatenate(list(upscale_bands(pixels, passes[0], independent=independent)))
    if independent and pixels.ndim == 3 and pixels.shape[2] in (2, 4):
        parts = [upscale_pixels(part, passes, size=size) for part in (pixels[..., :-1], pixels[..., -1:])]
        return np.concatenate(parts, axis=2)
    values = _to_float(pixels)
    channels = values.shape[2]
    rgb = values[..., :3] if channels > 2 else values[..., :1].repeat(3, axis=2)
    alpha = values[..., -1] if is_transparent(values) else None
    if alpha is not None:
        rgb = fill_hidden(rgb, alpha)
    for upscaler in passes:
        alpha = None if alpha is None else _enlarge_alpha(alpha, upscaler)
        rgb = upscaler(np.ascontiguousarray(rgb))
        np.clip(rgb, 0, 1, out=rgb)
    if size is not None and size != (rgb.shape[1], rgb.shape[0]):
        rgb, alpha = _resize(rgb, alpha, size)
    colour = rgb if channels > 2 else (rgb @ LUMA)[..., None]
    if channels in (2, 4):
        opaque = np.ones(rgb.shape[:2], np.float32)
        colour = np.concatenate([colour, (opaque if alpha is None else alpha)[..., None]], axis=2)
    return _from_float(colour, pixels.dtype)


def _upscale_tileable(
    pixels: NDArray[Any], passes: Sequence[Upscaler], size: Size | None, *, independent: bool
) -> NDArray[Any]:
    """Enlarge with a margin of what comes at the other side, and cut that off."""
    _check(pixels)
    height, width = pixels.shape[:2]
    margin, factor = _margin_px(passes), math.prod(upscaler.scale for upscaler in passes)
    wrapped = _wrapped(pixels, margin)
    upper, lower, right = margin * factor, (margin + height) * factor, (margin + width) * factor
    if size is None or size == (width * factor, height * factor):
        return upscale_pixels(wrapped, passes, independent=independent)[upper:lower, upper:right]
    values = upscale_pixels(_to_float(wrapped), passes, independent=independent)
    box = upper, upper, right, lower
    if independent or not is_transparent(values):
        made, _ = _resize(values, None, size, box=box)
    else:
        colour, alpha = _resize(values[..., :-1], values[..., -1], size, box=box)
        assert alpha is not None
        made = np.concatenate([colour, alpha[..., None]], axis=2)
    return _from_float(made, pixels.dtype)


def _margin_px(passes: Sequence[Upscaler]) -> int:
    """As far as the networks look, each at the size that it is given, and what resizing takes."""
    return RECEPTIVE_PX * len(passes) + RESIZED_PX


def _wrapped(pixels: NDArray[Any], margin: int) -> NDArray[Any]:
    return np.pad(pixels, ((margin, margin), (margin, margin), (0, 0)), mode="wrap")


def _wrapped_picture(picture: Picture, passes: Sequence[Upscaler]) -> Picture:
    return replace(picture, pixels=_wrapped(picture.pixels, _margin_px(passes)))


def upscale_bands(pixels: NDArray[Any], upscaler: BandUpscaler, *, independent: bool = False) -> Iterator[NDArray[Any]]:
    """Enlarge an image by one pass, band by band; the pixels of `upscale_pixels`.

    Args:
        pixels: as `upscale_pixels`.
        upscaler: of the pass.
        independent: as `upscale_pixels`.

    Returns:
        Bands [rows, scale * W, C] of the same dtype, from the top.

    Raises:
        InputError: as `upscale_pixels`.
    """
    _check(pixels)
    channels, dtype = pixels.shape[2], pixels.dtype
    white = 1 if dtype.kind == "f" else np.iinfo(dtype.newbyteorder("=")).max
    native = pixels.astype(dtype.newbyteorder("="), copy=False)
    rgb = native[..., :3] if channels > 2 else native[..., :1].repeat(3, axis=2)
    alpha: NDArray[Any] | None = None
    if independent and channels in (2, 4):
        with reserve(pixels.itemsize * upscaler.scale**2 * pixels.shape[0] * pixels.shape[1]):
            alpha = np.concatenate(list(upscale_bands(native[..., -1:], upscaler)))[..., 0]
        give_back_freed()
    elif is_transparent(native):
        values = _to_float(native)
        alpha = _from_float(_enlarge_alpha(values[..., -1], upscaler), dtype)
        rgb = fill_hidden(values[..., :3] if channels > 2 else values[..., :1].repeat(3, axis=2), values[..., -1])
    top = 0
    for band in upscaler.bands(rgb):
        colour = _from_float(band if channels > 2 else (band.clip(0, 1) @ LUMA)[..., None], dtype)
        if channels in (2, 4):
            rows = colour.shape[:2]
            own = np.full(rows, white, dtype) if alpha is None else alpha[top : top + rows[0]]
            colour = np.concatenate([colour, own[..., None]], axis=2)
        top += colour.shape[0]
        yield colour


def _check(pixels: NDArray[Any]) -> None:
    if not isinstance(pixels, np.ndarray) or pixels.ndim != 3 or pixels.shape[2] not in (1, 2, 3, 4):
        got = f"an array of shape {pixels.shape}" if isinstance(pixels, np.ndarray) else f"a {type(pixels).__name__}"
        raise InputError(f"an image is an array [H, W, C] with 1 to 4 channels, not {got}")
    if pixels.size == 0:
        raise InputError(f"the image is empty: {pixels.shape[1]} x {pixels.shape[0]} pixels")
    native = pixels.dtype.newbyteorder("=")
    if native in (np.uint8, np.uint16):
        return
    if native != np.float32:
        raise InputError(f"an image is uint8, uint16 or float32, not {pixels.dtype}: convert it first")
    if not np.isfinite(pixels).all():
        raise InputError("the image holds NaN or infinity")
    low, high = float(pixels.min()), float(pixels.max())
    if low < 0 or high > 1:
        raise InputError(f"a float image lies in [0, 1], not in [{low:g}, {high:g}]: divide it by its white first")


def _to_float(pixels: NDArray[Any]) -> Plane:
    _check(pixels)
    values = pixels.astype(np.float32, copy=False)
    return values if pixels.dtype.kind == "f" else values / np.float32(np.iinfo(pixels.dtype.newbyteorder("=")).max)


def _from_float(values: Plane, dtype: np.dtype[Any]) -> NDArray[Any]:
    if dtype.kind == "f":
        return values.clip(0, 1).astype(dtype, copy=False)
    top = np.iinfo(dtype).max
    kind = np.float32 if top == 255 else np.float64
    out = np.empty(values.shape, dtype)
    for row in range(0, len(values), ROWS_AT_A_TIME):
        part = values[row : row + ROWS_AT_A_TIME].clip(0, 1)
        out[row : row + ROWS_AT_A_TIME] = part * kind(top) + kind(0.5)  # which cuts off what is behind the point
    return out


def fill_hidden(rgb: Plane, alpha: Plane) -> Plane:
    """Give fully transparent pixels the colour of what is visible around them, and faint ones a share of it.

    Colours, weighted with alpha, are averaged into ever smaller images and taken back from the first that has any. What
    an exporter leaves at an alpha of 1 in 255 is as little chosen as what lies at 0: below `FAINT` of the strongest
    alpha the colour passes gradually from the pixel's own to that of its surroundings.

    Args:
        rgb: [H, W, 3].
        alpha: [H, W] in [0, 1].

    Returns:
        [H, W, 3]; all other pixels keep their colour exactly. Without a single visible pixel, `rgb` as it is.
    """
    peak = alpha.max()
    if peak == 0 or alpha.min() >= FAINT * peak:
        return rgb
    levels = [(rgb * alpha[..., None], alpha)]
    while max(levels[-1][1].shape) > 1:
        levels.append((_halve(levels[-1][0]), _halve(levels[-1][1][..., None])[..., 0]))
    colour = rgb
    for level, (weighted, weight) in reversed(list(enumerate(levels))):
        own = rgb if level == 0 else weighted / np.maximum(weight, 1e-12)[..., None]
        if level == len(levels) - 1:
            colour = own
            continue
        coarse = colour.repeat(2, 0).repeat(2, 1)[: weight.shape[0], : weight.shape[1]]
        share = (weight / (FAINT * peak)).clip(0, 1)[..., None]
        colour = share * own + (1 - share) * coarse
    return np.asarray(colour, dtype=np.float32)


def _halve(x: Plane) -> Plane:
    """Mean of 2x2 blocks; odd edges are padded with nothing."""
    padded = np.pad(x, ((0, x.shape[0] % 2), (0, x.shape[1] % 2), (0, 0)))
    blocks = padded.reshape(padded.shape[0] // 2, 2, padded.shape[1] // 2, 2, -1)
    return np.asarray(blocks.mean((1, 3)), dtype=np.float32)


def _enlarge_alpha(alpha: Plane, upscaler: Upscaler) -> Plane:
    """The network's sharp edge where bicubic sees one, bicubic in its tails, where ringing would show as specks."""
    s = upscaler.scale
    height, width = alpha.shape
    grey = alpha[..., None].repeat(3, axis=2)
    with reserve(8 * s * s * alpha.size):  # the two planes below
        sharp = _bands_of(grey, upscaler)
        large = _resampled(alpha, (width * s, height * s), "BICUBIC").copy()
        low, high = _neighbourhood(alpha)
        top = 0
        for band in sharp:
            rows = slice(top, top + len(band))
            soft = large[rows].clip(0, 1)
            soft += 4 * soft * (1 - soft) * (band @ LUMA - soft)
            lr_rows = np.arange(rows.start, rows.stop) // s
            large[rows] = soft.clip(low[lr_rows].repeat(s, 1), high[lr_rows].repeat(s, 1))
            top = rows.stop
    give_back_freed()  # before the colours take theirs
    return large


def _bands_of(rgb: Plane, upscaler: Upscaler) -> Iterator[Plane]:
    """An enlargement in bands, of at most 256 rows for what comes whole."""
    for band in upscaler.bands(rgb) if isinstance(upscaler, BandUpscaler) else [upscaler(rgb)]:
        for top in range(0, len(band), 256):
            yield band[top : top + 256]


def _neighbourhood(plane: Plane) -> tuple[Plane, Plane]:
    """Smallest and largest value of each 3x3 neighbourhood."""
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(plane, 1, mode="edge"), (3, 3))
    return windows.min((2, 3)), windows.max((2, 3))


def _resize(rgb: Plane, alpha: Plane | None, size: Size, *, box: Box | None = None) -> tuple[Plane, Plane | None]:
    """Resize colours [H, W, C] and alpha, or a box of them: left, upper, right and lower edge."""
    if alpha is None:
        large = _resampled_all(rgb, size, "LANCZOS", box)
        return np.clip(large, 0, 1, out=large), None
    # Nothing is clipped before the division: colour and alpha overshoot alike, and the quotient does not.
    weight = _resampled(alpha, size, "BICUBIC", box)
    weighted = _resampled_all(rgb * alpha[..., None], size, "BICUBIC", box)
    plain = _resampled_all(rgb, size, "BICUBIC", box)
    colour = np.where(weight[..., None] > 0.02, weighted / np.maximum(weight, 0.02)[..., None], plain)
    return colour.clip(0, 1), weight.clip(0, 1)


def _resampled_all(planes: Plane, size: Size, method: Literal["LANCZOS", "BICUBIC"], box: Box | None = None) -> Plane:
    out = np.empty((size[1], size[0], planes.shape[2]), np.float32)
    for c in range(planes.shape[2]):
        out[..., c] = _resampled(planes[..., c], size, method, box)
    return out


def _resampled(plane: Plane, size: Size, method: Literal["LANCZOS", "BICUBIC"], box: Box | None = None) -> Plane:
    """One channel to width and height, by Pillow in float32."""
    from PIL import Image

    return np.asarray(Image.fromarray(np.ascontiguousarray(plane)).resize(size, Image.Resampling[method], box=box))
