"""The colours that videos declare, and the conversion of frames to RGB in [0, 1] and back (ITU-T H.273).

swscale loses up to one level of chroma in full range and takes chroma as centred between two luma samples, where most
videos put it on the left one. Twice a wrong place, before and after the enlargement, would shift the colours by more
than a pixel of the result.
"""

from dataclasses import dataclass
from typing import Any, Literal

import av
import numpy as np
from av.video.frame import VideoFrame
from av.video.plane import VideoPlane
from av.video.reformatter import Interpolation
from numpy.typing import NDArray

from a2f.errors import ImageReadError

Array = NDArray[np.float32]
Planes = list[NDArray[Any]]

FULL, LIMITED, UNSPECIFIED = 2, 1, 2  # two ranges, and an undeclared matrix, primaries or transfer function
RGB, BT601, BT709 = 0, 6, 1  # matrices
WEIGHTS = {  # weights of red and blue in luma, by matrix code point (H.273, table 4)
    1: (0.2126, 0.0722),
    4: (0.30, 0.11),
    5: (0.299, 0.114),
    6: (0.299, 0.114),
    7: (0.212, 0.087),
    9: (0.2627, 0.0593),
}
ROWS = 32  # rows at a time, so that intermediate values stay in the cache
SD_WIDTH, SD_HEIGHT = 1280, 576  # from this size on, players use BT.709 if no matrix is declared

# Packed formats, and the planar formats with the same samples.
PLANAR = {
    **dict.fromkeys(("nv12", "nv21"), "yuv420p"),
    **dict.fromkeys(("nv16", "yuyv422", "uyvy422", "yvyu422"), "yuv422p"),
    **dict.fromkeys(("nv24", "nv42"), "yuv444p"),
    **dict.fromkeys(("rgb24", "bgr24", "rgb0", "bgr0", "0rgb", "0bgr"), "gbrp"),
    **dict.fromkeys(("rgba", "bgra", "argb", "abgr", "pal8"), "gbrap"),
    **dict.fromkeys(("monob", "monow"), "gray"),
    "p010le": "yuv420p10le",
    "p210le": "yuv422p10le",
    **dict.fromkeys(("rgb48le", "rgb48be", "bgr48le", "bgr48be"), "gbrp16le"),
    **dict.fromkeys(("rgba64le", "rgba64be", "bgra64le", "bgra64be"), "gbrap16le"),
    **{f"{name}be": f"{name}le" for name in ("gray16", "gbrp16", "gbrap16", "yuv420p10", "yuv422p10", "yuv444p10")},
}


@dataclass(frozen=True, kw_only=True)
class Colours:
    """The colours that a video declares: code points of ITU-T H.273, and the range of its samples.

    Attributes:
        range: 1 limited, 2 full, 0 undeclared.
        matrix: matrix from RGB to luma and chroma.
        primaries: red, green, blue and white.
        transfer: function between light and value.
    """

    range: int = 0
    matrix: int = UNSPECIFIED
    primaries: int = UNSPECIFIED
    transfer: int = UNSPECIFIED


@dataclass(frozen=True, kw_only=True)
class Siting:
    """The position of a chroma sample among its luma samples: 0 on the first, 0.5 in the middle, 1 on the last.

    Attributes:
        across: position in a row.
        down: position in a column.
    """

    across: float
    down: float


LEFT = Siting(across=0, down=0.5)  # default of H.264, HEVC, VP9 and AV1
TOP_LEFT = Siting(across=0, down=0)


@dataclass(frozen=True, kw_only=True)
class Layout:
    """The planes of a pixel format.

    Attributes:
        format: FFmpeg's name of the planar format.
        coded: the format of the file, which may be packed.
        kind: "yuv", "rgb" or "grey".
        bits: bits per sample.
        alpha: whether there is an alpha plane.
        across: luma samples per chroma sample in a row.
        down: luma samples per chroma sample in a column.
    """

    format: str
    coded: str
    kind: Literal["yuv", "rgb", "grey"]
    bits: int
    alpha: bool
    across: int
    down: int

    @property
    def channels(self) -> int:
        """The channels of images from `to_image`: 1 grey, 3 RGB, 4 RGB and alpha."""
        return 4 if self.alpha else 1 if self.kind == "grey" else 3


def layout_of(format: str) -> Layout:
    """The layout of a pixel format, or of the planar format with the same samples.

    Raises:
        ImageReadError: for an unsupported format, such as raw sensor data.
    """
    name = PLANAR.get(format, format).replace("yuvj", "yuv")
    known = av.VideoFormat(name, 64, 64)
    parts = known.components
    bits, alpha = parts[0].bits, any(part.is_alpha for part in parts)
    colours = len(parts) - alpha
    separate = len({part.plane for part in parts}) == len(parts)
    plain = separate and not known.has_palette and not (known.is_big_endian and bits > 8)
    if not plain or colours not in (1, 3) or not 8 <= bits <= 16 or (alpha and colours == 1):
        raise ImageReadError(f"frames of the pixel format {format} are not supported: convert them to yuv420p first")
    kind: Literal["yuv", "rgb", "grey"] = "grey" if colours == 1 else "rgb" if known.is_rgb else "yuv"
    across, down = (64 // parts[1].width, 64 // parts[1].height) if kind == "yuv" else (1, 1)
    return Layout(format=name, coded=format, kind=kind, bits=bits, alpha=alpha, across=across, down=down)


def is_full(colours: Colours, format: str) -> bool:
    """Whether samples use the full range of their bits: always in RGB, in YUV if declared."""
    if colours.range == 0:
        return format.startswith("yuvj") or layout_of(format).kind == "rgb"
    return colours.range == FULL or format.startswith("yuvj")


def matrix_of(colours: Colours, *, width: int, height: int) -> int:
    """The declared matrix of a video; otherwise the matrix that players assume for this size.

    Raises:
        ImageReadError: for a matrix that is not linear, or not known.
    """
    if colours.matrix in (UNSPECIFIED, RGB, 3):
        return BT709 if width >= SD_WIDTH or height > SD_HEIGHT else BT601
    if colours.matrix not in WEIGHTS:
        raise ImageReadError(
            f"the colours use the matrix {colours.matrix} of ITU-T H.273, which is not read here: "
            f"convert the video to one of {', '.join(map(str, WEIGHTS))} first"
        )
    return colours.matrix


def planes_of(frame: VideoFrame, layout: Layout) -> Planes:
    """The planes of a frame in the order of the format, [H, W] each, as views; a packed frame is unpacked first."""
    if frame.format.name.replace("yuvj", "yuv") != layout.format:
        frame = frame.reformat(format=layout.format)
    return [_samples(plane, layout.bits)[:, : plane.width] for plane in frame.planes]


def to_image(planes: Planes, layout: Layout, *, matrix: int, full: bool, siting: Siting = LEFT) -> Array:
    """Convert planes to an image.

    Args:
        planes: result of `planes_of`.
        layout: layout of the planes.
        matrix: code point, for "yuv".
        full: whether the range is full.
        siting: position of chroma, for "yuv".

    Returns:
        [H, W, 1, 3 or 4] in [0, 1]: grey, RGB, RGB and alpha.
    """
    top = np.float32(2**layout.bits - 1)
    luma = _from_samples(planes[0], layout.bits, full)
    if layout.kind == "grey":
        return luma[..., None].clip(0, 1)
    height, width = luma.shape
    x = np.empty((layout.channels, height, width), np.float32)
    if layout.kind == "rgb":
        for target, plane in ((1, 0), (2, 1), (0, 2)):  # planes are G, B, R
            x[target] = planes[plane] / top if full else _from_samples(planes[plane], layout.bits, full)
    else:
        chroma = [_from_chroma(plane, layout.bits, full) for plane in planes[1:3]]
        cb, cr = (_upsampled(plane, layout, siting, height, width) for plane in chroma)
        red, blue = WEIGHTS[matrix]
        x[0] = luma + 2 * (1 - red) * cr
        x[2] = luma + 2 * (1 - blue) * cb
        x[1] = (luma - red * x[0] - blue * x[2]) / (1 - red - blue)
    if layout.alpha:
        x[3] = planes[-1] / top
    return np.ascontiguousarray(x.clip(0, 1).transpose(1, 2, 0))


def to_frame(
    image: Array,
    layout: Layout,
    *,
    matrix: int,
    full: bool,
    siting: Siting = LEFT,
    like: VideoFrame | None = None,
) -> VideoFrame:
    """Convert an image to a frame; values are rounded only here.

    Args:
        image: [H, W, 1, 3 or 4]; values outside [0, 1] are clipped.
        layout: layout of the frame.
        matrix: code point, for "yuv".
        full: whether the range is full.
        siting: position of chroma, for "yuv".
        like: a frame of another size whose side data is copied.
    """
    height, width, _ = image.shape
    if like is None or (like.width, like.height) == (width, height):  # `reformat` would return the frame itself
        frame = VideoFrame(width, height, layout.format)
    else:  # PyAV has no other way to copy side data
        frame = like.reformat(width=width, height=height, format=layout.format, interpolation=Interpolation.POINT)
    rooms = [_samples(plane, layout.bits)[:, : plane.width] for plane in frame.planes]
    step = ROWS if siting.down == 0.5 else height  # chroma on a luma sample also needs rows of the band above
    for top in range(0, height, step):
        band = image[top : top + step].transpose(2, 0, 1)
        made = _samples_of(band, layout, matrix=matrix, full=full, siting=siting)
        for n, (room, values) in enumerate(zip(rooms, made, strict=True)):
            begin = top // layout.down if layout.kind == "yuv" and n in (1, 2) else top
            values += np.float32(0.5)  # the conversion to integers truncates
            room[begin : begin + len(values)] = values
    return frame


def _samples_of(band: Array, layout: Layout, *, matrix: int, full: bool, siting: Siting) -> list[Array]:
    """Convert rows of an image, [C, rows, W], to unrounded samples of each plane."""
    x = band.clip(0, 1)
    rgb = x[:3] if len(x) > 1 else x[:1].repeat(3, axis=0)
    made: list[Array]
    if layout.kind == "grey":
        luma = x[0] if len(x) == 1 else _weighted(rgb, _luma_weights(BT601))
        made = [_to_samples(luma, layout.bits, full)]
    elif layout.kind == "rgb":
        made = [_to_samples(rgb[channel], layout.bits, full) for channel in (1, 2, 0)]
    else:
        weights = _luma_weights(matrix)
        made = [_to_samples(_weighted(rgb, weights), layout.bits, full)]
        # sampling and matrix are linear: the smaller image first, then two planes instead of three
        rows = _thinned(rgb, layout.down, siting.down, axis=-2)
        for channel, own in ((2, weights[2]), (0, weights[0])):
            difference = [float(n == channel) - weight for n, weight in enumerate(weights)]
            reach = 2 * (1 - own)
            chroma = _weighted(rows, (difference[0] / reach, difference[1] / reach, difference[2] / reach))
            made.append(_to_chroma(_thinned(chroma, layout.across, siting.across, axis=-1), layout.bits, full))
    if layout.alpha:
        alpha = x[3] if len(x) == 4 else np.ones(x.shape[1:], np.float32)
        made.append(alpha * np.float32(2**layout.bits - 1))
    return made


def _samples(plane: VideoPlane, bits: int) -> NDArray[Any]:
    """The writable memory of a plane, with FFmpeg's length of rows."""
    kind = np.dtype("u1") if bits == 8 else np.dtype("<u2")
    return np.frombuffer(memoryview(plane), kind).reshape(plane.height, -1)


def _luma_weights(matrix: int) -> tuple[float, float, float]:
    red, blue = WEIGHTS[matrix]
    return red, 1 - red - blue, blue


def _weighted(rgb: Array, weights: tuple[float, float, float]) -> Array:
    flat = np.array(weights, np.float32) @ rgb.reshape(3, -1)
    return np.asarray(flat.reshape(rgb.shape[1:]), np.float32)


def _from_samples(plane: NDArray[Any], bits: int, full: bool) -> Array:
    low, reach = (0, 2**bits - 1) if full else (16 << (bits - 8), 219 << (bits - 8))
    return (plane.astype(np.float32) - np.float32(low)) * np.float32(1 / reach)


def _from_chroma(plane: NDArray[Any], bits: int, full: bool) -> Array:
    reach = 2**bits - 1 if full else 224 << (bits - 8)
    return (plane.astype(np.float32) - np.float32(1 << (bits - 1))) * np.float32(1 / reach)


def _to_samples(values: Array, bits: int, full: bool) -> Array:
    low, reach = (0, 2**bits - 1) if full else (16 << (bits - 8), 219 << (bits - 8))
    return values * np.float32(reach) + np.float32(low)


def _to_chroma(values: Array, bits: int, full: bool) -> Array:
    reach = 2**bits - 1 if full else 224 << (bits - 8)
    scaled = values * np.float32(reach) + np.float32(1 << (bits - 1))
    return scaled.clip(0, 2**bits - 1)


def _upsampled(chroma: Array, layout: Layout, siting: Siting, height: int, width: int) -> Array:
    """Interpolate chroma linearly at each luma sample."""
    if layout.down > 1:
        chroma = _between(chroma, (np.arange(height) - siting.down * (layout.down - 1)) / layout.down)
    if layout.across > 1:
        chroma = _between(chroma.T, (np.arange(width) - siting.across * (layout.across - 1)) / layout.across).T
    return chroma


def _between(rows: Array, places: NDArray[np.float64]) -> Array:
    first = np.floor(places).astype(np.intp)
    share = (places - first).astype(np.float32)[:, None]
    last = len(rows) - 1
    above, below = rows[first.clip(0, last)], rows[(first + 1).clip(0, last)]
    return np.asarray(above + (below - above) * share, np.float32)


def _thinned(x: Array, factor: int, place: float, *, axis: int) -> Array:
    """Reduce rows (axis -2) or columns (axis -1) by `factor`.

    The result is the mean if chroma is in the middle, otherwise a triangle filter around its luma sample.
    """
    if factor == 1:
        return x
    if place == 0.5:
        weights = dict.fromkeys(range(factor), 1)
    else:
        weights = {n + round(place * (factor - 1)): factor - abs(n) for n in range(1 - factor, factor)}
    length = x.shape[axis]
    count = -(-length // factor)
    shape = list(x.shape)
    shape[axis] = count
    total = np.zeros(shape, np.float32)

    def part(of: Array, begin: int, end: int, step: int = 1) -> Array:
        return of[..., begin:end:step, :] if axis == -2 else of[..., begin:end:step]

    for n, weight in weights.items():  # the value at the edge counts beyond it
        begin, end = max(0, -(n // factor)), min(count, (length - 1 - n) // factor + 1)
        pieces = [(begin, end, part(x, begin * factor + n, (end - 1) * factor + n + 1, factor))]
        pieces += [(0, begin, part(x, 0, 1))] if begin else []
        pieces += [(end, count, part(x, length - 1, length))] if end < count else []
        for first, last, values in pieces:
            room = part(total, first, last)
            room += values if weight == 1 else values * np.float32(weight)
    total *= np.float32(1 / sum(weights.values()))
    return total
