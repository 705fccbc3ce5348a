"""Scores of an upscaler on a set."""

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
from a2f.imageio import Picture, write_image
from a2f.imageio.rgb import to_uint8
from a2f.metrics import psnr_y, ssim_y
from a2f.resize import imresize
from a2f.runtime import default_threads
from a2f.upscaler import Upscaler

VERSION = "a2f-y/1"
COMMON = "SR rounded to uint8 RGB; mean over images"
TOLD = {
    "psnr_y": "PSNR-Y: BT.601 luma (16..235) in float, scale pixels cut from each border, peak 255",
    "ssim_y": "SSIM-Y: the same luma and border, 11x11 Gaussian sigma 1.5, population covariance",
    "psnr_rgb": "PSNR-RGB: all three channels, scale pixels cut, peak 255",
    "ms_ssim": "MS-SSIM: the luma and border of SSIM-Y, five scales by 2x2 means, weights of Wang et al. 2003",
    "lpips": "LPIPS: AlexNet v0.1, RGB in [-1, 1], no border cut",
}


def protocol(metrics: Sequence[str], qualities: Sequence[Quality] = (None,), *, lr_data: str | None = None) -> str:
    """Version and rules of what is measured, for every table.

    Args:
        metrics: names of `METRICS`.
        qualities: of the JPEGs that LR went through.
        lr_data: name of the folder of LR images, if they are not those of the set or made by bicubic.
    """
    if lr_data is not None:
        return f"LR images from {lr_data}. {protocol(metrics, qualities)}"
    rules = f"{VERSION}: {'; '.join([COMMON, *(TOLD[name] for name in metrics)])}"
    return rules if set(qualities) <= {None} else f"{lr_rule(list(dict.fromkeys(qualities)))}. {rules}"


def psnr_rgb(sr: Image, hr: Image, *, border: int) -> float:
    """PSNR over all three channels, dB. Arguments as `a2f.metrics.psnr_y`."""
    inner = slice(border, -border or None)
    a, b = (np.ascontiguousarray(image)[inner, inner] for image in (sr, hr))  # as in `a2f.metrics`
    difference = a.astype(np.float64) - b
    mse = float(np.mean(difference**2))
    return math.inf if mse == 0 else 10 * math.log10(255**2 / mse)


Metric = Callable[..., float]
METRICS: tuple[str, ...] = tuple(TOLD)


def metric_functions(names: Sequence[str], *, lpips: Path | None = None) -> dict[str, Metric]:
    """What measures, by name: each is called with sr, hr and border=.

    Args:
        names: of `METRICS`.
        lpips: the file alexnet.ckpt; that of $A2F_LPIPS by default.

    Raises:
        UsageError: for an unknown name.
        WeightsError, MissingExtraError: if LPIPS is asked for and its weights or torch are missing.
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


Method = Upscaler | Finished | None  # what is measured; None is bicubic


@dataclass(frozen=True, kw_only=True)
class About:
    """What is known of a model beside its name.

    Attributes:
        network: "sd", "carn-m", ...: a key of `VARIANTS`, `ABLATIONS` or `PEERS`; None for anything else.
        parameters: of the network, gains of weight normalisation included; None if not known.
        multi_adds: to 1280x720, as the paper's Table 6 counts those of A²F; None if not known.
    """

    network: str | None = None
    parameters: int | None = None
    multi_adds: int | None = None


@dataclass(frozen=True, kw_only=True)
class SetScore:
    """A model on a set.

    Attributes:
        model: its name in a table.
        data: name of the set.
        scale: s.
        images: image name -> metric name -> value.
        ensemble: runs of the upscaler whose mean was measured.
        jpeg_quality: of the JPEG that LR went through; None for untouched LR.
        about: the network.
    """

    model: str
    data: str
    scale: int
    images: dict[str, dict[str, float]]
    ensemble: int = 1
    jpeg_quality: Quality = None
    about: About = field(default_factory=About)

    def label(self, of: str) -> str:
        """A text about the model, and its ensemble if there is one."""
        return of if self.ensemble == 1 else f"{of}, ensemble of {self.ensemble}"

    @property
    def column(self) -> str:
        """What a table calls the set: "Set5", or "Set5 JPEG 75"."""
        return self.data if self.jpeg_quality is None else f"{self.data} {condition(self.jpeg_quality)}"

    def mean(self, metric: str) -> float:
        """Mean of a metric over the images."""
        return float(np.mean([values[metric] for values in self.images.values()]))


def upscale_uint8(lr: Image, upscaler: Upscaler | None, *, scale: int) -> Image:
    """The enlargement as it is measured: rounded to uint8; bicubic for None."""
    if upscaler is None:
        return imresize(lr, scale=scale)
    sr = upscaler(lr.astype(np.float32) / np.float32(255))
    if not np.isfinite(sr).all():
        raise InputError(f"{upscaler.description}: NaN or infinity came out")
    return to_uint8(sr)


def enlarged(item: Item, method: Method, *, scale: int) -> Image:
    """The enlargement of an item, [sH, sW, 3] uint8: made now, or read."""
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
        items: of `load_set`.
        model: its name in the table.
        data: the set's name in the table.
        scale: s.
        metrics: names of `METRICS`.
        save: folder that keeps the SR images, as PNG.
        lpips: as `metric_functions`.
        jpeg_quality: of the JPEG that the LR images of `items` went through (`a2f.evaluation.jpeg.under`).

    Raises:
        UsageError: for an unknown metric.
        InputError: if the upscaler has another scale, or gives NaN; as `Finished.read`.
        WeightsError, MissingExtraError: as `metric_functions`.
    """
    functions = metric_functions(metrics, lpips=lpips)
    if method is not None and not isinstance(method, Finished) and method.scale != scale:
        raise InputError(f"{model} enlarges {method.scale} times, the set is read for x{scale}")

    def one(item: Item) -> dict[str, float]:
        sr = enlarged(item, method, scale=scale)
        if save is not None:
            write_image(Picture(pixels=sr), save / f"{item.name}x{scale}.png")
        return {name: function(sr, item.hr, border=scale) for name, function in functions.items()}

    if save is not None:
        save.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(min(8, max(2, default_threads()))) as pool:
        values = list(pool.map(one, items))
    images = {item.name: value for item, value in zip(items, values, strict=True)}
    return SetScore(model=model, data=data, scale=scale, images=images, jpeg_quality=jpeg_quality)
