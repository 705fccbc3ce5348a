"""Measure an upscaler on a set."""

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from a2f.errors import InputError, UsageError, did_you_mean
from a2f.evaluation.finished import Finished
from a2f.evaluation.jpeg import Quality, condition, lr_rule
from a2f.evaluation.lpips import load_lpips, lpips_file
from a2f.evaluation.ms_ssim import ms_ssim_y
from a2f.evaluation.sets import Image, Item
from a2f.files import make_folder
from a2f.imageio import Picture, write_image
from a2f.imageio.rgb import to_uint8
from a2f.metrics import psnr_y, ssim_y
from a2f.resize import imresize
from a2f.runtime import default_threads
from a2f.upscaler import Upscaler

VERSION = "a2f-y/1"
COMMON = "SR rounded to uint8 RGB; mean over images"
RULES = {
    "psnr_y": "PSNR-Y: BT.601 luma (16..235) in float, scale pixels cut from each border, peak 255",
    "ssim_y": "SSIM-Y: the same luma and border, 11x11 Gaussian sigma 1.5, population covariance",
    "psnr_rgb": "PSNR-RGB: all three channels, scale pixels cut, peak 255",
    "ms_ssim": "MS-SSIM: the luma and border of SSIM-Y, five scales by 2x2 means, weights of Wang et al. 2003",
    "lpips": "LPIPS: AlexNet v0.1, RGB in [-1, 1], no border cut",
}


def protocol(metrics: Sequence[str], qualities: Sequence[Quality] = (None,), *, lr_data: str | None = None) -> str:
    """The version and the rules of the protocol, printed with every table.

    Args:
        metrics: names of `METRICS`.
        qualities: JPEG qualities of the LR images.
        lr_data: name of the folder of LR images, if they are not those of the set or made by bicubic.
    """
    if lr_data is not None:
        return f"LR images from {lr_data}. {protocol(metrics, qualities)}"
    rules = f"{VERSION}: {'; '.join([COMMON, *(RULES[name] for name in metrics)])}"
    return rules if set(qualities) <= {None} else f"{lr_rule(list(dict.fromkeys(qualities)))}. {rules}"


def psnr_rgb(sr: Image, hr: Image, *, border: int) -> float:
    """PSNR over all three channels, dB; `border` pixels are cut from each side."""
    inner = slice(border, -border or None)
    a, b = (np.ascontiguousarray(image)[inner, inner] for image in (sr, hr))  # one memory layout, as in `a2f.metrics`
    difference = a.astype(np.float64) - b
    mse = float(np.mean(difference**2))
    return math.inf if mse == 0 else 10 * math.log10(255**2 / mse)


Metric = Callable[..., float]
METRICS: tuple[str, ...] = tuple(RULES)


def metric_functions(names: Sequence[str], *, lpips: Path | None = None) -> dict[str, Metric]:
    """The metric functions by name; each is called with sr, hr and border=.

    Args:
        names: names of `METRICS`.
        lpips: the file alexnet.ckpt; by default that of $A2F_LPIPS.

    Raises:
        UsageError: for an unknown name.
        WeightsError, MissingExtraError: if LPIPS is requested and its weights or torch are missing.
    """
    for name in names:
        if name not in METRICS:
            hint = did_you_mean(name, METRICS)
            raise UsageError(f"unknown metric {name!r}{hint}: choose from {', '.join(METRICS)}")
    known: dict[str, Metric] = {"psnr_y": psnr_y, "ssim_y": ssim_y, "psnr_rgb": psnr_rgb, "ms_ssim": ms_ssim_y}
    if "lpips" in names:
        distance = load_lpips(lpips_file(lpips))
        known["lpips"] = lambda sr, hr, border: distance(sr, hr)
    return {name: known[name] for name in names}


Method = Upscaler | Finished | None  # the method to measure; None is bicubic


@dataclass(frozen=True, kw_only=True)
class About:
    """Properties of a model.

    Attributes:
        network: a key of `VARIANTS`, `ABLATIONS` or `PEERS`, e.g. "sd" or "carn-m"; None for other models.
        parameters: number of parameters with the gains of weight normalisation; None if unknown.
        multi_adds: Multi-Adds for 1280x720 output, counted as for A²F in Table 6 of the paper; None if unknown.
    """

    network: str | None = None
    parameters: int | None = None
    multi_adds: int | None = None


@dataclass(frozen=True, kw_only=True)
class SetScore:
    """The scores of a model on a set.

    Attributes:
        model: name of the model in tables.
        data: name of the set.
        scale: s.
        images: image name -> metric name -> value.
        ensemble: number of runs of the upscaler whose mean was measured.
        jpeg_quality: JPEG quality of the LR images; None for no JPEG.
        about: properties of the model.
    """

    model: str
    data: str
    scale: int
    images: dict[str, dict[str, float]]
    ensemble: int = 1
    jpeg_quality: Quality = None
    about: About = field(default_factory=About)

    def label(self, of: str) -> str:
        """A text about the model, with the size of its ensemble if there is one."""
        return of if self.ensemble == 1 else f"{of}, ensemble of {self.ensemble}"

    @property
    def column(self) -> str:
        """The name of the set in tables: "Set5", or "Set5 JPEG 75"."""
        return self.data if self.jpeg_quality is None else f"{self.data} {condition(self.jpeg_quality)}"

    def mean(self, metric: str) -> float:
        """Mean of a metric over the images."""
        return float(np.mean([values[metric] for values in self.images.values()]))


def upscale_uint8(lr: Image, upscaler: Upscaler | None, *, scale: int) -> Image:
    """Enlarge an image and round it to uint8, as it is measured; None is bicubic."""
    if upscaler is None:
        return imresize(lr, scale=scale)
    sr = upscaler(lr.astype(np.float32) / np.float32(255))
    if not np.isfinite(sr).all():
        raise InputError(f"{upscaler.description}: the result has NaN or infinity")
    return to_uint8(sr)


def enlarged(item: Item, method: Method, *, scale: int) -> Image:
    """Make or read the enlargement of an item, [sH, sW, 3] uint8."""
    made = method.read(item) if isinstance(method, Finished) else upscale_uint8(item.lr, method, scale=scale)
    return np.ascontiguousarray(made)


def score_set(
    method: Method,
    items: Sequence[Item],
    *,
    model: str,
    data: str,
    scale: int,
    metrics: Sequence[str] = ("psnr_y", "ssim_y"),
    save: Path | None = None,
    lpips: Path | None = None,
    jpeg_quality: Quality = None,
) -> SetScore:
    """Measure an upscaler or finished enlargements on a set, images in parallel.

    Args:
        method: what to measure; None is bicubic.
        items: images of `load_set`.
        model: name of the model in the table.
        data: name of the set in the table.
        scale: s.
        metrics: names of `METRICS`.
        save: folder to save the SR images to, as PNG.
        lpips: the file alexnet.ckpt; by default that of $A2F_LPIPS.
        jpeg_quality: JPEG quality of the LR images of `items` (`a2f.evaluation.jpeg.compressed`).

    Raises:
        UsageError: for an unknown metric.
        InputError: if the upscaler has another scale or gives NaN, or for the reasons of `Finished.read`.
        WeightsError, MissingExtraError: if LPIPS is requested and its weights or torch are missing.
    """
    functions = metric_functions(metrics, lpips=lpips)
    if method is not None and not isinstance(method, Finished) and method.scale != scale:
        raise InputError(f"{model} enlarges {method.scale} times, but the set is read for x{scale}")

    def one(item: Item) -> dict[str, float]:
        sr = enlarged(item, method, scale=scale)
        if save is not None:
            write_image(Picture(pixels=sr), save / f"{item.name}x{scale}.png")
        return {name: function(sr, item.hr, border=scale) for name, function in functions.items()}

    if save is not None:
        make_folder(save)
    with ThreadPoolExecutor(min(8, max(2, default_threads()))) as pool:
        values = list(pool.map(one, items))
    images = {item.name: value for item, value in zip(items, values, strict=True)}
    return SetScore(model=model, data=data, scale=scale, images=images, jpeg_quality=jpeg_quality)
