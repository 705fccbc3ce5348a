"""A picture of any channels, depth and size through upscalers that know RGB in float32 alone."""

import math
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from a2f.alpha import enlarge_alpha, fill_hidden
from a2f.color import LUMA
from a2f.depth import check_pixels, from_float, to_float
from a2f.footprint import check_memory, enlarged_size
from a2f.imageio import FORMATS, Picture, encode_bands, encode_image, encoding_bytes, is_transparent
from a2f.imageio.animation import frames_of, is_transparent_anywhere
from a2f.imageio.animation_write import encode_animation
from a2f.imageio.picture import Animation, without_degrees
from a2f.resample import resize
from a2f.runtime.memory import give_back_freed
from a2f.runtime.plan import checked, reserve
from a2f.sizes import Size
from a2f.upscaler import BandUpscaler, Upscaler
from a2f.variants import VARIANTS, config_of

RECEPTIVE_PX = max(config_of(variant, scale=2).receptive_radius_px for variant in VARIANTS)
RESIZED_PX = 8  # on each side, for Lanczos of a reduction to a quarter at least


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
    if picture.animation is not None and FORMATS[format].moves:

        def enlarge(frame: NDArray[Any]) -> NDArray[Any]:
            watch()
            return upscale_pixels(frame, passes, size=size, independent=independent, tileable=tileable)

        final = size or enlarged_size(picture.size, passes)
        made = _each_frame(picture.animation, enlarge)
        with checked():
            yield encode_animation(picture, made, size=final, format=format, quality=quality, strip=strip)
        return
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


def _each_frame(animation: Animation, enlarge: Callable[[NDArray[Any]], NDArray[Any]]) -> Iterator[NDArray[Any]]:
    """The frames of an animation, enlarged; one that is equal to the frame before it is not computed again."""
    transparent, _ = is_transparent_anywhere(animation)
    before: NDArray[Any] | None = None
    for frame in frames_of(animation, colours=4 if transparent else 3):
        if before is None or not np.array_equal(frame, before):
            before, large = frame, enlarge(frame)
        yield large


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
    values = to_float(pixels)
    channels = values.shape[2]
    rgb = values[..., :3] if channels > 2 else values[..., :1].repeat(3, axis=2)
    alpha = values[..., -1] if is_transparent(values) else None
    if alpha is not None:
        rgb = fill_hidden(rgb, alpha)
    for upscaler in passes:
        alpha = None if alpha is None else enlarge_alpha(alpha, upscaler)
        rgb = upscaler(np.ascontiguousarray(rgb))
        np.clip(rgb, 0, 1, out=rgb)
    if size is not None and size != (rgb.shape[1], rgb.shape[0]):
        rgb, alpha = resize(rgb, alpha, size)
    colour = rgb if channels > 2 else (rgb @ LUMA)[..., None]
    if channels in (2, 4):
        opaque = np.ones(rgb.shape[:2], np.float32)
        colour = np.concatenate([colour, (opaque if alpha is None else alpha)[..., None]], axis=2)
    return from_float(colour, pixels.dtype)


def _upscale_tileable(
    pixels: NDArray[Any], passes: Sequence[Upscaler], size: Size | None, *, independent: bool
) -> NDArray[Any]:
    """Enlarge with a margin of what comes at the other side, and cut that off."""
    check_pixels(pixels)
    height, width = pixels.shape[:2]
    margin, factor = _margin_px(passes), math.prod(upscaler.scale for upscaler in passes)
    wrapped = _wrapped(pixels, margin)
    upper, lower, right = margin * factor, (margin + height) * factor, (margin + width) * factor
    if size is None or size == (width * factor, height * factor):
        return upscale_pixels(wrapped, passes, independent=independent)[upper:lower, upper:right]
    values = upscale_pixels(to_float(wrapped), passes, independent=independent)
    box = upper, upper, right, lower
    if independent or not is_transparent(values):
        made, _ = resize(values, None, size, box=box)
    else:
        colour, alpha = resize(values[..., :-1], values[..., -1], size, box=box)
        assert alpha is not None
        made = np.concatenate([colour, alpha[..., None]], axis=2)
    return from_float(made, pixels.dtype)


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
    check_pixels(pixels)
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
        values = to_float(native)
        alpha = from_float(enlarge_alpha(values[..., -1], upscaler), dtype)
        rgb = fill_hidden(values[..., :3] if channels > 2 else values[..., :1].repeat(3, axis=2), values[..., -1])
    top = 0
    for band in upscaler.bands(rgb):
        colour = from_float(band if channels > 2 else (band.clip(0, 1) @ LUMA)[..., None], dtype)
        if channels in (2, 4):
            rows = colour.shape[:2]
            own = np.full(rows, white, dtype) if alpha is None else alpha[top : top + rows[0]]
            colour = np.concatenate([colour, own[..., None]], axis=2)
        top += colour.shape[0]
        yield colour
