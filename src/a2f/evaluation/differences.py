"""Paired differences of two models over the images of a set, with a bootstrap confidence interval."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from a2f.evaluation.jpeg import Quality
from a2f.evaluation.score import SetScore
from a2f.evaluation.tables import DIGITS, LOWER_IS_BETTER, markdown_table

CONFIDENCE, RESAMPLES, SEED = 0.95, 10_000, 0
FEW = 20  # with fewer images the interval is too narrow
ALL_SETS = "all sets"
UNCLEAR = "no clear difference"


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The comparison of two models by one metric on one set; a difference is the first model minus the second.

    Attributes:
        first: name of a model.
        second: name of the other model.
        data: name of the set, or "all sets" for the images of all sets together.
        jpeg_quality: JPEG quality of the LR images; None for LR without JPEG.
        metric: name of the metric.
        images: number of images.
        mean: mean of the differences over the images; infinite if one model gives images equal to HR, NaN if each of
            the two does for other images.
        low: lower end of the interval of the mean.
        high: upper end of the interval of the mean.
        first_better: number of images on which the first model is better.
        second_better: number of images on which the second model is better.
        largest_image: the image with the largest difference.
        largest: the largest difference.
    """

    first: str
    second: str
    data: str
    jpeg_quality: Quality
    metric: str
    images: int
    mean: float
    low: float
    high: float
    first_better: int
    second_better: int
    largest_image: str
    largest: float

    @property
    def verdict(self) -> str:
        """The better model, if the interval does not contain 0; otherwise `UNCLEAR`."""
        if not (self.low > 0 or self.high < 0):  # NaN is neither
            return UNCLEAR
        return self.first if (self.low > 0) != (self.metric in LOWER_IS_BETTER) else self.second


def compare(scores: Sequence[SetScore], metrics: Sequence[str], *, seed: int = SEED) -> list[Comparison]:
    """Compare each pair of models on each set by each metric, and on all sets together if there are several.

    Args:
        scores: scores of models that were measured on the same images.
        metrics: names of metrics.
        seed: seed of the bootstrap.
    """
    found = []
    conditions = list(dict.fromkeys((s.data, s.jpeg_quality) for s in scores))
    qualities = list(dict.fromkeys(quality for _, quality in conditions))
    several = len({data for data, _ in conditions}) > 1
    wanted = [*conditions, *((ALL_SETS, quality) for quality in qualities if several)]
    models = list(dict.fromkeys(s.model for s in scores))
    for first, second in combinations(models, 2):
        for data, quality in wanted:
            values = [_images(scores, model, data, quality) for model in (first, second)]
            for metric in metrics:
                given = {image: (a[metric], values[1][image][metric]) for image, a in values[0].items()}
                found.append(_compared(first, second, data, quality, metric, given, seed))
    return found


def interval(differences: Sequence[float], *, seed: int = SEED) -> tuple[float, float]:
    """The 95 % confidence interval of the mean difference: percentiles of the means of 10,000 resamples.

    Args:
        differences: one per image.
        seed: seed of the resamples.

    Returns:
        Lower and upper end; NaN if a difference is not finite, or if there are fewer than two.
    """
    values = np.asarray(differences, np.float64)
    if len(values) < 2 or not np.isfinite(values).all():
        return math.nan, math.nan
    rng = np.random.default_rng(seed)
    means = values[rng.integers(0, len(values), (RESAMPLES, len(values)))].mean(1)
    low, high = np.quantile(means, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)


def comparison_note(comparisons: Sequence[Comparison]) -> str:
    """The note below a table of comparisons: what it shows and its limits."""
    pairs = len({(c.first, c.second) for c in comparisons})
    text = (
        f"Differences: first minus second model, mean over images. Interval: {CONFIDENCE:.0%}, percentile bootstrap "
        f"over images, {RESAMPLES:,} resamples, seed {SEED}. better: the better model, if the interval does not "
        "contain 0. wins: images on which the first and the second model is better."
    )
    if any(c.images < 2 for c in comparisons):
        text += " With one image there is no interval."
    if any(1 < c.images < FEW for c in comparisons):
        text += f" With fewer than {FEW} images the interval is too narrow. Do not rely on it."
    if pairs > 1:
        text += f" {pairs} pairs are compared; the intervals are not corrected for multiple comparisons."
    return text


def as_markdown(comparisons: Sequence[Comparison]) -> str:
    """A Markdown table of comparisons, with a note below it."""
    return "\n".join([*markdown_table(comparison_rows(comparisons)), "", comparison_note(comparisons)])


def comparison_rows(comparisons: Sequence[Comparison]) -> list[list[str]]:
    """The comparisons as rows of text; the first row is the header."""
    head = ["first", "second", "set", "metric", "images", "difference", "95 % interval", "better", "wins", "largest"]
    return [head, *(_row(c) for c in comparisons)]


def _row(c: Comparison) -> list[str]:
    digits = DIGITS[c.metric]
    data = c.data if c.jpeg_quality is None else f"{c.data} JPEG {c.jpeg_quality}"
    span = "none" if math.isnan(c.low) else f"[{c.low:+z.{digits}f}, {c.high:+z.{digits}f}]"
    mean, largest = ("none" if math.isnan(value) else f"{value:+z.{digits}f}" for value in (c.mean, c.largest))
    wins = f"{c.first_better}:{c.second_better}"
    text = [c.first, c.second, data, c.metric, str(c.images), mean, span, c.verdict, wins]
    return [*text, f"{largest} ({c.largest_image})"]


def _images(scores: Sequence[SetScore], model: str, data: str, quality: Quality) -> dict[str, dict[str, float]]:
    """Image -> metric -> value; for all sets the key has the name of the set and of the image."""
    chosen = [s for s in scores if s.model == model and s.jpeg_quality == quality]
    if data == ALL_SETS:
        return {f"{s.data}/{image}": values for s in chosen for image, values in s.images.items()}
    return next(s.images for s in chosen if s.data == data)


def _compared(
    first: str,
    second: str,
    data: str,
    quality: Quality,
    metric: str,
    given: dict[str, tuple[float, float]],
    seed: int,
) -> Comparison:
    differences = {image: 0.0 if a == b else a - b for image, (a, b) in given.items()}
    low, high = interval(list(differences.values()), seed=seed)
    sign = -1 if metric in LOWER_IS_BETTER else 1
    largest = max(differences, key=lambda image: abs(differences[image]))
    return Comparison(
        first=first,
        second=second,
        data=data,
        jpeg_quality=quality,
        metric=metric,
        images=len(differences),
        mean=sum(differences.values()) / len(differences),
        low=low,
        high=high,
        first_better=sum(sign * d > 0 for d in differences.values()),
        second_better=sum(sign * d < 0 for d in differences.values()),
        largest_image=largest,
        largest=differences[largest],
    )
