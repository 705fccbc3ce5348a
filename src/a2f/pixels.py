"""Enlarge pictures of any channels, bit depth and size with upscalers that take RGB in float32."""

import math
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from a2f.alpha import enlarge_alpha, fill_hidden
from a2f.color import LUMA
from a2f.depth import Plane, check_pixels, from_float, to_float
from a2f.footprint import Run, Runs, Workload, enlarged_size, planned
from a2f.imageio import FORMATS, Picture, encode_bands, encoding_bytes, is_transparent
from a2f.imageio.animation import frames_of, is_transparent_anywhere
from a2f.imageio.animation_write import encode_animation
from a2f.imageio.picture import Animation
from a2f.machine import release_free_memory
from a2f.resample import Box, Method, Resampler
from a2f.runtime.engine import Engine, engine_of
from a2f.sizes import Size
from a2f.upscaler import NO_CONTROL, Control, Upscaler
from a2f.variants import VARIANTS, config_of

BAND_ROWS = 256  # per band

RECEPTIVE_PX = max(config_of(variant, scale=2).receptive_radius_px for variant in VARIANTS)
RESIZED_PX = 8  # on each side; enough for Lanczos when shrinking to a quarter


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
    control: Control = NO_CONTROL,
) -> Generator[bytes | memoryview, None, None]:
    """Enlarge a picture and encode it band by band.

    Args:
        picture: the picture to enlarge.
        passes: upscalers to run, one after the other; with an empty list the picture is only resized.
        size: exact width and height of the result.
        format: name of the format of the result.
        quality: from 1 to 100, for JPEG, WebP and AVIF; None: the default of `encode_image`.
        strip: leave out all metadata.
        force: accept that the format loses transparency, bit depth or long metadata.
        independent: treat alpha as data that is independent of the colours.
        tileable: the picture continues at its opposite side, like a seamless texture.
        control: progress and cancellation.

    Returns:
        The parts of the file; each part is made when it is requested.

    Raises:
        A2FError: all errors of `upscale_pixels` and of `encode_image`.
    """
    engines, apart = [engine_of(upscaler) for upscaler in passes], independent or picture.data_band
    final = size or enlarged_size(picture.size, engines)
    if picture.animation is not None and FORMATS[format].moves:

        def enlarge(frame: NDArray[Any]) -> NDArray[Any]:
            quiet = Control(cancelled=control.cancelled)
            quiet.check()
            return upscale_pixels(frame, passes, size=size, independent=independent, tileable=tileable, control=quiet)

        made = _each_frame(picture.animation, enlarge)
        yield encode_animation(picture, made, size=final, format=format, quality=quality, strip=strip)
        return
    channels, light = picture.pixels.shape[2], picture.light is not None
    file = encoding_bytes(format, size=final, channels=channels, deep=picture.is_deep, light=light, streamed=True)
    work = _workload(picture.pixels, engines, size, independent=apart, tileable=tileable, held_bytes=file)
    what = f"{picture.size[0]} x {picture.size[1]} pixels, enlarged to {final[0]} x {final[1]} as {format},"
    with planned(work, engines, what=what, control=control) as runs:
        if format == "jpeg" and not strip:
            picture = _with_enlarged_map(picture, passes, size=size, control=control)
        bands = _enlarged(picture.pixels, runs, size=size, independent=apart, tileable=tileable, control=control)
        encoded = encode_bands(picture, bands, size=final, format=format, quality=quality, strip=strip, force=force)
        yield from encoded


def _with_enlarged_map(picture: Picture, passes: Sequence[Upscaler], *, size: Size | None, control: Control) -> Picture:
    """Enlarge the gain map of a picture, if it has one, by the factor of the picture."""
    if picture.gain_map is None:
        return picture
    given = picture.gain_map.pixels
    target = None
    if size is not None:
        sides = zip(given.shape[1::-1], size, picture.size, strict=True)
        width, height = (max(1, round(side * to / of)) for side, to, of in sides)
        target = width, height
    quiet = Control(cancelled=control.cancelled)
    large = upscale_pixels(given, passes, size=target, control=quiet)
    return replace(picture, gain_map=replace(picture.gain_map, pixels=large))


def _each_frame(animation: Animation, enlarge: Callable[[NDArray[Any]], NDArray[Any]]) -> Iterator[NDArray[Any]]:
    """Enlarge the frames of an animation; a frame equal to the frame before it is not computed again."""
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
    control: Control = NO_CONTROL,
) -> NDArray[Any]:
    """Enlarge an image of any bit depth and number of channels.

    A grey image runs through the network as RGB; the result is the luma. The arbitrary colour of transparent pixels is
    replaced by the visible colour around them, so that it does not bleed into the edges. Alpha is enlarged separately
    and limited to the range of its neighbourhood, so that opaque stays opaque and empty stays empty to the last bit.

    Args:
        pixels: [H, W, C], C 1 grey, 2 grey and alpha, 3 RGB, 4 RGB and alpha; uint8, uint16, or float32 in [0, 1].
        passes: upscalers to run, one after the other; with an empty list the picture is only resized.
        size: exact width and height of the result. The result of the passes is resized to it with antialiasing, by
            Lanczos, or by bicubic if there is transparency: bicubic has no second ripple beside an edge.
        independent: the last of 2 or 4 channels is independent of the others: it is enlarged like a grey image, and the
            colours are enlarged without regard to it.
        tileable: the right edge of the image continues at its left edge, and the bottom at the top, as in a seamless
            texture. The result has this property too.
        control: progress and cancellation.

    Returns:
        The enlarged image, with the dtype and C of the input.

    Raises:
        InputError: for another shape or dtype, an empty image, NaN, or floats outside [0, 1].
        MemoryLimitError: if there is too little memory; then nothing has been computed.
        Cancelled: if the work is cancelled.
    """
    check_pixels(pixels)
    engines, given = [engine_of(upscaler) for upscaler in passes], (pixels.shape[1], pixels.shape[0])
    final = size or enlarged_size(given, engines)
    shape = final[1], final[0], pixels.shape[2]
    held = math.prod(shape) * pixels.itemsize
    work = _workload(pixels, engines, size, independent=independent, tileable=tileable, held_bytes=held)
    what = f"{given[0]} x {given[1]} pixels, enlarged to {final[0]} x {final[1]},"
    with planned(work, engines, what=what, control=control) as runs:
        out, top = np.empty(shape, pixels.dtype), 0
        for band in _enlarged(pixels, runs, size=size, independent=independent, tileable=tileable, control=control):
            out[top : top + len(band)] = band
            top += len(band)
    return out


def _workload(
    pixels: NDArray[Any],
    engines: Sequence[Engine],
    size: Size | None,
    *,
    independent: bool,
    tileable: bool,
    held_bytes: int,
) -> Workload:
    """The properties of an enlargement that decide its memory."""
    margin = 2 * _margin_px(engines) if tileable else 0
    given = pixels.shape[1] + margin, pixels.shape[0] + margin
    if pixels.shape[2] in (2, 4) and independent:
        alpha: Literal["none", "soft", "data"] = "data"
    else:
        alpha = "soft" if is_transparent(pixels) else "none"
    return Workload(
        given=given,
        channels=pixels.shape[2],
        itemsize=pixels.itemsize,
        alpha=alpha,
        resized=None if size is None or size == _cut_size(pixels, engines) else size,
        held_bytes=held_bytes,
    )


def _cut_size(pixels: NDArray[Any], engines: Sequence[Engine]) -> Size:
    return enlarged_size((pixels.shape[1], pixels.shape[0]), engines)


@dataclass(frozen=True, kw_only=True)
class _Crop:
    """The part of an image after all passes that is kept, and its final size.

    Attributes:
        made: width and height of the image after all passes.
        box: left, upper, right and lower edge of the kept part.
        resized: width and height of the result; None if the part is not resized.
    """

    made: Size
    box: Box
    resized: Size | None

    @property
    def width(self) -> int:
        """Width of the result, pixels."""
        return self.resized[0] if self.resized else self.box[2] - self.box[0]


def _enlarged(
    pixels: NDArray[Any], runs: Runs, *, size: Size | None, independent: bool, tileable: bool, control: Control
) -> Iterator[NDArray[Any]]:
    """Bands of the enlarged image, [rows, W, C], from the top."""
    check_pixels(pixels)
    engines = [run.engine for run in runs.colours]
    margin, factor = _margin_px(engines) if tileable else 0, math.prod(engine.scale for engine in engines)
    cut = _cut_size(pixels, engines)
    native = pixels.astype(pixels.dtype.newbyteorder("="), copy=False)
    if tileable:
        native = _wrapped(native, margin)
    left = margin * factor
    crop = _Crop(
        made=enlarged_size((native.shape[1], native.shape[0]), engines),
        box=(left, left, left + cut[0], left + cut[1]),
        resized=None if size == cut else size,
    )
    colours = native[..., :3] if native.shape[2] > 2 else native[..., :1]
    if independent and native.shape[2] in (2, 4):
        alpha = np.concatenate(list(_opaque(native[..., -1:], runs.alpha, crop, control)))
        release_free_memory()
        made = _with_alpha(_opaque(colours, runs.colours, crop, control), alpha)
    elif is_transparent(native):
        made = _transparent(native, runs, crop, control)
    else:
        made = _opaque(colours, runs.colours, crop, control)
        if native.shape[2] in (2, 4):
            made = _with_alpha(made, None)
    for band in made:
        yield band.astype(pixels.dtype, copy=False)


def _opaque(colours: NDArray[Any], runs: Sequence[Run], crop: _Crop, control: Control) -> Iterator[NDArray[Any]]:
    """Bands of enlarged colours, [rows, W, 3], or of grey, [rows, W, 1]."""
    grey, dtype = colours.shape[2] == 1, colours.dtype
    bands = _last_pass(colours.repeat(3, axis=2) if grey else colours, runs, control)
    for band in _cropped(bands, crop, "LANCZOS"):
        if grey or crop.resized:
            band = np.clip(band, 0, 1)
        yield from_float((band @ LUMA)[..., None] if grey else band, dtype)


def _transparent(native: NDArray[Any], runs: Runs, crop: _Crop, control: Control) -> Iterator[NDArray[Any]]:
    """Bands of colours or grey with the alpha that belongs to them."""
    values, grey, dtype = to_float(native), native.shape[2] == 2, native.dtype
    rgb = fill_hidden(values[..., :1].repeat(3, axis=2) if grey else values[..., :3], values[..., -1])
    alpha = values[..., -1]
    del values
    for run in runs.alpha:
        alpha = enlarge_alpha(alpha, _split(run.bands(alpha[..., None].repeat(3, axis=2))), scale=run.engine.scale)
    if crop.resized is None:
        alpha = from_float(alpha, dtype)
    bands = _last_pass(rgb, runs.colours, control)
    if crop.resized is None:
        left, upper, right, lower = crop.box
        colours = (from_float(_grey_or_rgb(band, grey), dtype) for band in _cropped(bands, crop, "BICUBIC"))
        yield from _with_alpha(colours, alpha[upper:lower, left:right, None])
        return
    for band in _cropped(_weighted(bands, alpha), crop, "BICUBIC"):
        # Do not clip before the division: colour and alpha overshoot by the same factor, so the quotient does not.
        weight, weighted, plain = band[..., :1], band[..., 1:4], band[..., 4:]
        colour = np.where(weight > 0.02, weighted / np.maximum(weight, 0.02), plain).clip(0, 1)
        both = np.concatenate([_grey_or_rgb(colour, grey), weight.clip(0, 1)], axis=2)
        yield from_float(both, dtype)


def _grey_or_rgb(band: Plane, grey: bool) -> Plane:
    return (band.clip(0, 1) @ LUMA)[..., None] if grey else band


def _weighted(bands: Iterator[Plane], alpha: Plane) -> Iterator[Plane]:
    """Bands with 7 channels: alpha, colours times alpha, and colours."""
    top = 0
    for band in bands:
        weight, rgb = alpha[top : top + len(band), :, None], band.clip(0, 1)
        top += len(band)
        yield np.concatenate([weight, rgb * weight, rgb], axis=2)


def _with_alpha(bands: Iterator[NDArray[Any]], alpha: NDArray[Any] | None) -> Iterator[NDArray[Any]]:
    """Add alpha [H, W, 1] as the last channel of the bands; opaque alpha if it is None."""
    top = 0
    for band in bands:
        rows, dtype = band.shape[:2], band.dtype
        white = 1 if dtype.kind == "f" else np.iinfo(dtype).max
        own = np.full((*rows, 1), white, dtype) if alpha is None else alpha[top : top + rows[0]]
        top += rows[0]
        yield np.concatenate([band, own], axis=2)


def _last_pass(image: NDArray[Any], runs: Sequence[Run], control: Control) -> Iterator[Plane]:
    """Bands of an image after all passes; the whole result of each pass but the last is held in memory."""
    for run in runs[:-1]:
        s, (height, width) = run.engine.scale, image.shape[:2]
        large, top = np.empty((s * height, s * width, 3), np.float32), 0
        for band in run.bands(image):
            np.clip(band, 0, 1, out=large[top : top + len(band)])
            top += len(band)
        image = large
    if runs:
        yield from _split(runs[-1].bands(image))
        return
    for top in range(0, len(image), BAND_ROWS):
        control.check()
        yield to_float(image[top : top + BAND_ROWS])


def _split(bands: Iterator[Plane]) -> Iterator[Plane]:
    """Split bands into bands of at most `BAND_ROWS` rows."""
    for band in bands:
        for top in range(0, len(band), BAND_ROWS):
            yield band[top : top + BAND_ROWS]


def _cropped(bands: Iterator[Plane], crop: _Crop, method: Method) -> Iterator[Plane]:
    """Cut the kept part out of the bands and resize it if needed."""
    left, upper, right, lower = crop.box
    if crop.resized is not None:
        resampler = Resampler(crop.made, crop.resized, box=crop.box, method=method)
        for band in bands:
            if method == "LANCZOS":
                band = band.clip(0, 1)
            yield from resampler.add(band)
        return
    top = 0
    for band in bands:
        rows = band[max(0, upper - top) : max(0, lower - top), left:right]
        top += len(band)
        if len(rows):
            yield rows


def _margin_px(passes: Sequence[Upscaler]) -> int:
    """The margin of a tileable image: the receptive radius of each network and the kernel of the resizing."""
    return RECEPTIVE_PX * len(passes) + RESIZED_PX


def _wrapped(pixels: NDArray[Any], margin: int) -> NDArray[Any]:
    return np.pad(pixels, ((margin, margin), (margin, margin), (0, 0)), mode="wrap")
