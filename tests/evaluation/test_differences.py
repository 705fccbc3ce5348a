"""Paired differences, their intervals, and their tables."""

import json
import math

import numpy as np
import pytest

from a2f.evaluation.differences import (
    ALL_SETS,
    UNCLEAR,
    as_markdown,
    compare,
    comparison_note,
    comparison_rows,
    interval,
)
from a2f.evaluation.score import SetScore


def scores(values: dict[str, list[float]], *, data: str = "Set5", metric: str = "psnr_y") -> list[SetScore]:
    return [
        SetScore(model=model, data=data, scale=4, images={f"i{n}": {metric: v} for n, v in enumerate(given)})
        for model, given in values.items()
    ]


def test_interval_is_the_percentiles_of_resampled_means() -> None:
    values = [0.1, 0.3, -0.2, 0.4, 0.25]
    rng = np.random.default_rng(7)
    means = sorted(np.mean(rng.choice(values, len(values))) for _ in range(20_000))
    low, high = interval(values)
    assert low == pytest.approx(means[500], abs=0.01)
    assert high == pytest.approx(means[-500], abs=0.01)
    assert interval(values) == (low, high)  # seeded
    many = list(rng.normal(0, 1, 50))
    assert interval(many, seed=1) != interval(many)
    assert interval([0.5] * 9) == (0.5, 0.5)


@pytest.mark.integration
def test_interval_covers_the_mean_at_the_stated_rate() -> None:
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(200):
        low, high = interval(list(rng.normal(0.2, 1, 60)))
        hits += low <= 0.2 <= high
    assert 0.9 <= hits / 200 <= 0.99


def test_differences_are_paired_by_image() -> None:
    (pair,) = compare(scores({"a": [30, 40, 20], "b": [29.9, 39.8, 20.3]}), ["psnr_y"])
    assert (pair.first, pair.second, pair.images) == ("a", "b", 3)
    assert pair.mean == pytest.approx(0)
    assert (pair.first_better, pair.second_better) == (2, 1)
    assert (pair.largest_image, round(pair.largest, 6)) == ("i2", -0.3)
    assert pair.verdict == UNCLEAR


def test_lower_lpips_is_better() -> None:
    (pair,) = compare(scores({"a": [0.1] * 30, "b": [0.2] * 30}, metric="lpips"), ["lpips"])
    assert pair.mean == pytest.approx(-0.1)
    assert pair.high < 0
    assert pair.verdict == "a"
    assert (pair.first_better, pair.second_better) == (30, 0)
    (pair,) = compare(scores({"a": [30.1] * 30, "b": [30.2] * 30}), ["psnr_y"])
    assert pair.verdict == "b"


def test_all_pairs_and_all_sets_together() -> None:
    given = scores({"a": [1, 2], "b": [1, 1], "c": [0, 0]}) + scores({"a": [5], "b": [4], "c": [9]}, data="Set14")
    found = compare(given, ["psnr_y"])
    assert [(p.first, p.second, p.data, p.images) for p in found[:4]] == [
        ("a", "b", "Set5", 2),
        ("a", "b", "Set14", 1),
        ("a", "b", ALL_SETS, 3),
        ("a", "c", "Set5", 2),
    ]
    assert len(found) == 9
    assert found[2].mean == pytest.approx((0 + 1 + 1) / 3)
    assert "3 pairs are compared" in comparison_note(found)
    assert "fewer than 20 images" in comparison_note(found)
    assert [row[0] for row in comparison_rows(found)] == ["first", *(p.first for p in found)]
    assert as_markdown(found).count("\n| ") == 9


def test_infinite_psnr_gives_an_infinite_difference_without_interval() -> None:
    (pair,) = found = compare(scores({"a": [math.inf, 30], "b": [31, 29]}), ["psnr_y"])
    assert pair.mean == math.inf
    assert math.isnan(pair.low)
    assert comparison_rows(found)[1][5:7] == ["+inf", "none"]
    both = compare(scores({"a": [math.inf, 30], "b": [31, math.inf]}), ["psnr_y"])
    assert comparison_rows(both)[1][5:7] == ["none", "none"]
    assert pair.verdict == UNCLEAR
    assert (pair.first_better, pair.largest_image) == (2, "i0")
    (pair,) = compare(scores({"a": [math.inf, 30], "b": [math.inf, 29]}), ["psnr_y"])
    assert pair.mean == pytest.approx(0.5)


def test_single_image_has_no_significant_difference() -> None:
    (pair,) = found = compare(scores({"a": [30.0], "b": [30.203]}), ["psnr_y"])
    assert pair.mean == pytest.approx(-0.203)
    assert math.isnan(pair.low)
    assert math.isnan(pair.high)
    assert pair.verdict == "no clear difference"
    assert comparison_rows(found)[1][6:8] == ["none", "no clear difference"]
    assert "With one image there is no interval." in comparison_note(found)
    assert "too narrow" not in comparison_note(found)
    assert "no interval" not in comparison_note(compare(scores({"a": [1, 2], "b": [3, 4]}), ["psnr_y"]))


def test_non_finite_values_are_null_in_json() -> None:
    from a2f.evaluation.report import as_json

    given = scores({"a": [math.inf, 30], "b": [31, 29]})
    told = json.loads(as_json(given, ["psnr_y"], comparisons=compare(given, ["psnr_y"])))
    assert told["scores"][0]["images"]["i0"]["psnr_y"] is None
    assert told["comparisons"]["pairs"][0]["interval"] == [None, None]


def test_no_negative_zero_is_printed() -> None:
    (pair,) = compare(scores({"a": [30.0] * 3, "b": [30.0 + 1e-9] * 3}), ["psnr_y"])
    assert "-0.0" not in " ".join(comparison_rows([pair])[1])
    assert comparison_rows([pair])[1][5:7] == ["+0.000", "[+0.000, +0.000]"]
