"""Scores as JSON for other programs; ``eval.schema.json`` in this folder is its JSON Schema."""

import json
import math
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

from a2f import __version__
from a2f.evaluation.differences import CONFIDENCE, RESAMPLES, SEED, UNCLEAR, Comparison
from a2f.evaluation.published import SOURCE, Published, printed, published, why_not_comparable
from a2f.evaluation.score import SetScore, protocol
from a2f.evaluation.tables import LOWER_IS_BETTER, ShownRows, qualities_of, rows_network

SCHEMA = "a2f-eval/1"


def as_json(
    scores: Sequence[SetScore],
    metrics: Sequence[str],
    *,
    shown: ShownRows = "none",
    comparisons: Sequence[Comparison] | None = None,
    lr_data: str | None = None,
) -> str:
    """All results as JSON: means, images, comparisons and the requested rows of the paper.

    Values that are not finite are null, e.g. the PSNR of an image that is equal to its original.

    Args:
        scores: scores of any models on any sets.
        metrics: names of metrics.
        shown: the rows of the paper to include: "none", "own" (of the measured networks) or "all".
        comparisons: result of `a2f.evaluation.differences.compare`; None to leave them out.
        lr_data: name of the folder of LR images, if they are not those of the set or made by bicubic.
    """
    text: dict[str, Any] = {
        "schema": SCHEMA,
        "a2f": __version__,
        "protocol": protocol(metrics, qualities_of(scores), lr_data=lr_data),
        "metrics": {m: {"better": "lower" if m in LOWER_IS_BETTER else "higher"} for m in metrics},
        "scores": [_score(s, metrics) for s in scores],
    }
    if comparisons is not None:
        text["comparisons"] = {
            "method": "percentile bootstrap of the mean of paired differences over images",
            "confidence": CONFIDENCE,
            "resamples": RESAMPLES,
            "seed": SEED,
            "pairs": [_comparison(c) for c in comparisons],
        }
    if shown != "none":
        unlike = dict.fromkeys(s.data for s in scores if why_not_comparable(s.data, len(s.images)))
        rows = [_printed(row) for row in _rows(scores, shown)]
        text["published"] = {"source": SOURCE, "rows": rows, "not_comparable": list(unlike)}
    return json.dumps(text, indent=2, ensure_ascii=False, allow_nan=False)


def json_schema() -> str:
    """The JSON Schema (draft 2020-12) of `as_json`."""
    return (files("a2f.evaluation") / "eval.schema.json").read_text(encoding="utf-8")


def _score(s: SetScore, metrics: Sequence[str]) -> dict[str, Any]:
    return {
        "model": s.model,
        "network": s.about.network,
        "parameters": s.about.parameters,
        "multi_adds": s.about.multi_adds,
        "ensemble": s.ensemble,
        "scale": s.scale,
        "set": s.data,
        "jpeg_quality": s.jpeg_quality,
        "mean": {m: _finite(s.mean(m)) for m in metrics},
        "images": {image: _values(values) for image, values in s.images.items()},
    }


def _comparison(c: Comparison) -> dict[str, Any]:
    return {
        "first": c.first,
        "second": c.second,
        "set": c.data,
        "jpeg_quality": c.jpeg_quality,
        "metric": c.metric,
        "images": c.images,
        "difference": _finite(c.mean),
        "interval": [_finite(c.low), _finite(c.high)],
        "better": None if c.verdict == UNCLEAR else c.verdict,
        "wins": [c.first_better, c.second_better],
        "largest": {"image": c.largest_image, "difference": _finite(c.largest)},
    }


def _rows(scores: Sequence[SetScore], shown: ShownRows) -> list[Published]:
    scales = {s.scale for s in scores}
    own = [published(rows_network({s.column: s}), scale=s.scale) for s in scores]
    return [row for row in printed() if row.scale in scales and (shown == "all" or row in own)]


def _printed(row: Published) -> dict[str, Any]:
    sets = dict.fromkeys([*row.figures, *row.lpips])
    figures = {
        name: {m: value for m in ("psnr_y", "ssim_y", "lpips") if (value := row.value(name, m)) is not None}
        for name in sets
    }
    return {
        "method": row.method,
        "scale": row.scale,
        "parameters_k": row.parameters_k,
        "multi_adds_g": row.multi_adds_g,
        "figures": figures,
    }


def _values(values: Mapping[str, float]) -> dict[str, float | None]:
    return {metric: _finite(value) for metric, value in values.items()}


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
