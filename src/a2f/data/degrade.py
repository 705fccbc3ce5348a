"""Degraded LR patches for training: blur, other kernels than bicubic, noise, JPEG.

A network that was trained only on exact bicubic LR images treats the blocks of a JPEG file as detail and sharpens them.
The degradations are milder than those of "blind" super-resolution (BSRGAN, Zhang et al. 2021; Real-ESRGAN, Wang et al.
2021), because most pictures that people enlarge are compressed, but few are badly damaged.
"""

import functools
import io
import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage

from a2f.errors import UsageError

Image = NDArray[np.uint8]
Float = NDArray[np.float32]
Float64 = NDArray[np.float64]
Blur = tuple[float, float, float]
Kernel = Literal["bicubic", "bilinear", "area", "lanczos"]

KERNELS: tuple[Kernel, ...] = ("bicubic", "bilinear", "area", "lanczos")
BLOCK_PX = 8  # side of a JPEG block
MCU_PX = 16  # side of a JPEG unit with 4:2:0: four blocks of luma and one of each chroma
GROUP = 4  # LR pixels per small matrix product, which is several times faster than a loop over the taps


@dataclass(frozen=True, kw_only=True)
class Degradation:
    """The degradation of the LR patches of a training run, in this order: blur, shrinking, noise, JPEG.

    A share is a probability in [0, 1].

    Attributes:
        untouched: share of the patches without degradation; all other shares refer to the remaining patches.
        blur: share with a Gaussian blur of the HR image.
        blur_min, blur_max: range of the standard deviation in LR pixels, at most 2; one LR pixel is s HR pixels.
        anisotropic: share of these blurs that have two standard deviations and a direction.
        bicubic, bilinear, area, lanczos: weights of the downscaling kernels. All kernels are antialiased.
        noise: share with Gaussian noise.
        noise_min, noise_max: range of the standard deviation in grey levels (0..255), at most 64.
        shot: share with Poisson noise, whose variance rises with the brightness.
        shot_min, shot_max: range of the standard deviation at white, in grey levels, at most 64.
        jpeg: share compressed as JPEG.
        quality_min, quality_max: range of libjpeg's quality, 1 to 100.
        full_chroma: share of the JPEG files with 4:4:4; the others have 4:2:0.
        second_jpeg: share of the JPEG files that are cut and compressed again, with a shifted grid of blocks.

    Raises:
        UsageError: for a value out of its range.
    """

    untouched: float = 0.15
    blur: float = 0.2
    blur_min: float = 0.1
    blur_max: float = 0.6
    anisotropic: float = 0.3
    bicubic: float = 0.55
    bilinear: float = 0.15
    area: float = 0.15
    lanczos: float = 0.15
    noise: float = 0.2
    noise_min: float = 0.5
    noise_max: float = 6.0
    shot: float = 0.2
    shot_min: float = 0.5
    shot_max: float = 8.0
    jpeg: float = 0.85
    quality_min: int = 30
    quality_max: int = 95
    full_chroma: float = 0.3
    second_jpeg: float = 0.15

    def __post_init__(self) -> None:
        for name in ("untouched", "blur", "anisotropic", "noise", "shot", "jpeg", "full_chroma", "second_jpeg"):
            _require(0 <= getattr(self, name) <= 1, f"{name} = {getattr(self, name)}: a share between 0 and 1")
        for name, low, high in (("blur", 0, 2), ("noise", 0, 64), ("shot", 0, 64), ("quality", 1, 100)):
            least, most = getattr(self, f"{name}_min"), getattr(self, f"{name}_max")
            what = f"{name}_min = {least}, {name}_max = {most}"
            _require(low <= least <= most <= high, f"{what}: rising, between {low} and {high}")
        _require(all(getattr(self, kernel) >= 0 for kernel in KERNELS), f"{', '.join(KERNELS)}: weights of at least 0")
        _require(
            any(getattr(self, kernel) > 0 for kernel in KERNELS),
            f"{', '.join(KERNELS)}: at least one weight must be greater than 0",
        )

    def draw(self, rng: np.random.Generator) -> "Drawn | None":
        """Draw the random degradation of one patch.

        Args:
            rng: random generator of this patch.

        Returns:
            The degradation; None for a patch without degradation.
        """
        if rng.random() < self.untouched:
            return None
        weights = np.cumsum([getattr(self, kernel) for kernel in KERNELS])
        kernel = KERNELS[int(np.searchsorted(weights, rng.random() * weights[-1], side="right"))]
        blur = None
        if rng.random() < self.blur:
            one, other = rng.uniform(self.blur_min, self.blur_max, 2).tolist()
            blur = (one, other, rng.uniform(0, math.pi)) if rng.random() < self.anisotropic else (one, one, 0.0)
        noise = rng.uniform(self.noise_min, self.noise_max) if rng.random() < self.noise else 0.0
        shot = rng.uniform(self.shot_min, self.shot_max) if rng.random() < self.shot else 0.0
        jpegs: tuple[Jpeg, ...] = ()
        if rng.random() < self.jpeg:
            jpegs = (self._jpeg(rng, rng.integers(0, MCU_PX, 2)),)
            if rng.random() < self.second_jpeg:
                jpegs = (self._jpeg(rng, rng.integers(1, BLOCK_PX, 2)), *jpegs)
        return Drawn(kernel=kernel, blur=blur, noise=noise, shot=shot, jpegs=jpegs)

    def _jpeg(self, rng: np.random.Generator, corner: NDArray[np.int64]) -> "Jpeg":
        return Jpeg(
            quality=int(rng.integers(self.quality_min, self.quality_max + 1)),
            full_chroma=bool(rng.random() < self.full_chroma),
            top=int(corner[0]),
            left=int(corner[1]),
        )


@dataclass(frozen=True, kw_only=True)
class Jpeg:
    """One JPEG compression.

    Attributes:
        quality: of libjpeg, 1 to 100.
        full_chroma: True for 4:4:4, False for 4:2:0.
        top, left: LR pixels by which the file starts above and to the left of the next file, or of the patch. They
            shift the grid of blocks.
    """

    quality: int
    full_chroma: bool
    top: int
    left: int


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """The drawn degradation of one patch.

    Attributes:
        kernel: the downscaling kernel.
        blur: two standard deviations in LR pixels and the direction of the first in radians from the x axis, or None.
        noise: standard deviation of the Gaussian noise, grey levels.
        shot: standard deviation of the Poisson noise at white, grey levels.
        jpegs: the compressions, in order.
    """

    kernel: Kernel
    blur: Blur | None
    noise: float
    shot: float
    jpegs: tuple[Jpeg, ...]


def degraded(
    pair: tuple[Image, Image], drawn: Drawn, *, y: int, x: int, patch: int, scale: int, rng: np.random.Generator
) -> Image:
    """Degrade one LR patch with its surroundings, so that filters and JPEG blocks see real pixels across its border.

    The image is mirrored beyond its border.

    Args:
        pair: (hr [sH, sW, 3], lr [H, W, 3]) uint8. Kernel "bicubic" without a blur takes the pixels of lr.
        drawn: the degradation.
        y: first row, LR pixels.
        x: first column, LR pixels.
        patch: side, LR pixels.
        scale: s.
        rng: random generator of the noise.

    Returns:
        [patch, patch, 3] uint8.
    """
    top, left = y - sum(j.top for j in drawn.jpegs), x - sum(j.left for j in drawn.jpegs)
    height = width = patch
    for j in reversed(drawn.jpegs):
        height, width = _whole_blocks(j.top + height), _whole_blocks(j.left + width)
    if drawn.kernel == "bicubic" and drawn.blur is None:
        image = cut(pair[1], top=top, left=left, height=height, width=width)
        values = image.astype(np.float32) if drawn.noise or drawn.shot else None
    else:
        values = _shrunk(pair[0], drawn, (top, left, height, width), scale=scale)
    if values is not None:
        image = _to_uint8(_noisy(values, noise=drawn.noise, shot=drawn.shot, rng=rng))
    for j in drawn.jpegs:
        image = jpeg(image, quality=j.quality, full_chroma=j.full_chroma)[j.top :, j.left :]
    return image[:patch, :patch]


def jpeg(image: Image, *, quality: int, full_chroma: bool = False) -> Image:
    """Compress an image as JPEG and decode it.

    Args:
        image: [H, W, 3] uint8.
        quality: of libjpeg, 1 to 100.
        full_chroma: True for 4:4:4, False for 4:2:0.

    Returns:
        [H, W, 3] uint8.
    """
    file = io.BytesIO()
    PillowImage.fromarray(image).save(file, "JPEG", quality=quality, subsampling=0 if full_chroma else 2)
    with PillowImage.open(file, formats=("JPEG",)) as decoded:
        return np.asarray(decoded)


def cut(image: Image, *, top: int, left: int, height: int, width: int) -> Image:
    """Cut a rectangle; beyond the border the image is mirrored, the border pixel repeated.

    Args:
        image: [H, W, 3].
        top: first row; may be negative.
        left: first column; may be negative.
        height: rows.
        width: columns.

    Returns:
        [height, width, 3]; a view if no pixel is mirrored.
    """
    bottom, right = top + height, left + width
    inside = image[max(top, 0) : bottom, max(left, 0) : right]
    rows = max(-top, 0), max(bottom - image.shape[0], 0)
    cols = max(-left, 0), max(right - image.shape[1], 0)
    return np.pad(inside, (rows, cols, (0, 0)), mode="symmetric") if any(rows + cols) else inside


def shrinking(kernel: Kernel, *, scale: int) -> tuple[int, Float64]:
    """The weights of an LR pixel along one axis. All LR pixels have equal weights, because the scale is an integer.

    Args:
        kernel: the downscaling kernel; it is widened by the scale to avoid aliasing.
        scale: s.

    Returns:
        The first HR pixel for LR pixel 0 (for LR pixel i, add s * i), and the weights [taps], whose sum is 1.
    """
    reach, shape = _SHAPES[kernel]
    centre = (scale - 1) / 2
    at = np.arange(math.ceil(centre - reach * scale), math.floor(centre + reach * scale) + 1)
    weights = np.array([shape(abs(position - centre) / scale) for position in at])
    used = np.flatnonzero(np.abs(weights) > 1e-9)
    kept = weights[used[0] : used[-1] + 1]
    return int(at[used[0]]), kept / kept.sum()


def _area(x: float) -> float:
    return 1.0 if x < 0.5 else 0.0


def _triangle(x: float) -> float:
    return max(0.0, 1 - x)


def _cubic(x: float) -> float:
    if x <= 1:
        return (1.5 * x - 2.5) * x * x + 1
    return ((-0.5 * x + 2.5) * x - 4) * x + 2 if x <= 2 else 0.0


def _lanczos(x: float) -> float:
    return float(np.sinc(x) * np.sinc(x / 3)) if x < 3 else 0.0


_SHAPES = {"bicubic": (2, _cubic), "bilinear": (1, _triangle), "area": (0.5, _area), "lanczos": (3, _lanczos)}


def _shrunk(hr: Image, drawn: Drawn, where: tuple[int, int, int, int], *, scale: int) -> Float:
    """Blur and shrink in one step: [height, width, 3] in grey levels, for a rectangle in LR pixels."""
    top, left, height, width = where
    first, passes = _sharp(drawn.kernel, scale) if drawn.blur is None else _passes(drawn.kernel, drawn.blur, scale)
    down_groups, across_groups = -(-height // GROUP), -(-width // GROUP)
    step = scale * GROUP
    rest = passes[0][0].shape[1] - step  # additional HR pixels that a group needs
    surroundings = cut(
        hr,
        top=scale * top + first,
        left=scale * left + first,
        height=step * down_groups + rest,
        width=step * across_groups + rest,
    ).astype(np.float32)
    flat = surroundings.reshape(len(surroundings), -1)
    total = np.zeros((across_groups, GROUP * down_groups, 3 * GROUP), dtype=np.float32)
    for down, across in passes:
        sources = _sliding(flat, size=down.shape[1], step=step, count=down_groups)
        rows = np.matmul(down, sources).reshape(GROUP * down_groups, -1)
        columns = _sliding(rows.T, size=len(across), step=3 * step, count=across_groups)
        total += np.matmul(columns.swapaxes(1, 2), across)
    return total.swapaxes(0, 1).reshape(GROUP * down_groups, -1, 3)[:height, :width]


def _sliding(values: Float, *, size: int, step: int, count: int) -> Float:
    """Overlapping groups of rows as a view: [rows, columns] -> [count, size, columns]."""
    down, across = values.strides
    shape, strides = (count, size, values.shape[1]), (step * down, down, across)
    return np.lib.stride_tricks.as_strided(values, shape, strides, writeable=False)


def _passes(kernel: Kernel, blur: Blur | None, scale: int) -> tuple[int, list[tuple[Float, Float]]]:
    """Blur and downscaling kernel as pairs of a vertical and a horizontal pass.

    Returns:
        The first HR pixel for LR pixel 0, and for each pass the weights of a group of LR pixels: [GROUP, HR rows] and
        [3 HR columns, 3 GROUP], with interleaved colours.
    """
    first, weights = shrinking(kernel, scale=scale)
    passes = []
    radius = 0
    for down, across in [(np.ones(1), np.ones(1))] if blur is None else _separable_gaussians(blur, scale=scale):
        radius = len(down) // 2
        columns = _band(np.convolve(weights, across), scale)
        passes.append((_band(np.convolve(weights, down), scale), np.kron(columns, np.eye(3, dtype=np.float32)).T))
    return first - radius, passes


@functools.cache
def _sharp(kernel: Kernel, scale: int) -> tuple[int, list[tuple[Float, Float]]]:
    return _passes(kernel, None, scale)


def _band(taps: Float64, scale: int) -> Float:
    """The weights of a group of LR pixels, [GROUP, HR pixels]."""
    band = np.zeros((GROUP, scale * (GROUP - 1) + len(taps)), dtype=np.float32)
    for number in range(GROUP):
        band[number, scale * number : scale * number + len(taps)] = taps
    return band


def _separable_gaussians(blur: Blur, *, scale: int) -> list[tuple[Float64, Float64]]:
    """A 2-D Gaussian as a sum of products of a column and a row, each [2 radius + 1]."""
    one, other = (max(scale * deviation, 1e-3) for deviation in blur[:2])
    radius = math.ceil(3 * max(one, other))
    line = np.arange(-radius, radius + 1)
    if one == other:
        gauss = np.exp(-0.5 * (line / one) ** 2)
        taps = gauss / gauss.sum()
        return [(taps, taps)]
    cos, sin = math.cos(blur[2]), math.sin(blur[2])
    y, x = line[:, None], line[None, :]
    plane = np.exp(-0.5 * (((cos * x + sin * y) / one) ** 2 + ((cos * y - sin * x) / other) ** 2))
    columns, sizes, rows = np.linalg.svd(plane / plane.sum())
    # A rotated Gaussian is not separable, but a few products approximate it to less than a grey level.
    kept = int((sizes > 2e-3 * sizes[0]).sum())
    parts = [(sizes[number] * columns[:, number], rows[number]) for number in range(kept)]
    whole = sum(column.sum() * row.sum() for column, row in parts)  # keeps the brightness
    return [(column / whole, row) for column, row in parts]


def _noisy(values: Float, *, noise: float, shot: float, rng: np.random.Generator) -> Float:
    """Add noise. Normal noise of equal variance replaces Poisson noise; they agree above about 30 photons per pixel."""
    if not noise and not shot:
        return values
    variance = noise**2 + shot**2 / 255 * np.maximum(values, 0) if shot else np.float32(noise**2)
    return values + rng.standard_normal(values.shape, dtype=np.float32) * np.sqrt(variance, dtype=np.float32)


def _to_uint8(values: Float) -> Image:
    rounded: Image = np.clip(values + np.float32(0.5), 0, 255).astype(np.uint8)
    return rounded


def _whole_blocks(side: int) -> int:
    return -(-side // MCU_PX) * MCU_PX


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise UsageError(f"degradation: {message}")
