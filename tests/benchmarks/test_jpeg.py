"""The output of ``benchmarks.jpeg``, and the shipping of robust weights; without measurements."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest

from a2f.evaluation.score import SetScore
from a2f.weights import Weights, auto_model, find_shipped, read_weights, shipped_models
from benchmarks import cards, jpeg

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def index(robust_shipped: Path, monkeypatch) -> Path:
    path = robust_shipped / "index.json"
    monkeypatch.setattr(cards, "INDEX", path)
    return path


def scores(model: str, scale: int, *, less: float) -> list[SetScore]:
    found = {None: 33.0, 90: 31.0, 75: 30.0, 50: 29.0, 30: 28.0}
    return [
        SetScore(model=model, data="Kodak24", scale=scale, images={"1": {"psnr_y": psnr - less}}, jpeg_quality=quality)
        for quality, psnr in found.items()
    ]


@pytest.mark.parametrize(("robust", "expected"), [(73, 73), (1000, 101), (-1, 1)])
def test_crossing_is_where_clean_weights_catch_up(monkeypatch, robust: int, expected: int) -> None:
    monkeypatch.setattr(jpeg, "psnr", lambda upscaler, items, *, scale, quality: quality if upscaler else robust)
    models = {"bicubic": None, "sd": True, "sd-robust": None}
    assert jpeg.crossing(models, [], scale=2) == expected


def test_rows_of_missing_robust_weights_are_left_out(monkeypatch) -> None:
    clean = tuple(m for m in shipped_models() if m.kind == "clean")
    monkeypatch.setattr(jpeg, "shipped_models", lambda: clean)
    assert list(jpeg.models_of(2)) == ["bicubic", "sd"]


def test_shipped_robust_weights_are_measured(robust_shipped: Path) -> None:
    assert list(jpeg.models_of(2)) == ["bicubic", "sd", "sd-robust"]
    assert list(jpeg.models_of(3)) == ["bicubic", "sd"]


def test_table_has_the_quality_from_which_clean_weights_are_better() -> None:
    text = jpeg.text_of(scores("sd", 2, less=0), ["psnr_y"], {2: 83})
    assert "| sd x2 | 33.000 | 31.000 | 30.000 | 29.000 | 28.000 |" in text
    assert "a2f-jpeg/1" in text
    assert "x2: sd-robust has the higher PSNR-Y on JPEGs of a quality below 83." in text
    assert max(len(line) for line in text.splitlines() if not line.startswith("|")) <= 120


def test_figures_are_written_to_index_and_cards(index: Path) -> None:
    measured = [*scores("bicubic", 2, less=2), *scores("sd", 2, less=0), *scores("sd-robust", 2, less=-0.5)]
    jpeg.record(measured, {2: 83})
    clean, robust = find_shipped("sd", scale=2), find_shipped("sd-robust", scale=2)
    assert clean.jpeg_psnr_y == {"clean": 33.0, "90": 31.0, "75": 30.0, "50": 29.0, "30": 28.0}
    assert robust.jpeg_psnr_y["50"] == 29.5
    assert (clean.jpeg_below, robust.jpeg_below) == (0, 83)
    assert [auto_model(q, scale=2) for q in (82, 83)] == ["sd-robust", "sd"]
    assert find_shipped("sd-robust", scale=4).jpeg_below == 70  # was not measured
    card = robust.path.with_suffix(".md").read_text(encoding="utf-8")
    assert card.startswith("# A²F-SD x2, for JPEG input\n")
    assert "loses 0.50 dB on Set5, 0.50 dB on Set14, 0.50 dB on B100 against sd." in card
    assert "`-m auto` takes it for JPEGs of a quality below 83." in card
    assert "| sd-robust | 33.500 | 31.500 | 30.500 | 29.500 | 28.500 |\n| sd | 33.000 |" in card
    other = clean.path.with_suffix(".md").read_text(encoding="utf-8")
    assert other.startswith("# A²F-SD x2\n")
    assert "does not remove noise or JPEG blocks" in other
    assert "on Kodak24" not in find_shipped("sd", scale=3).path.with_suffix(".md").read_text(encoding="utf-8")


@pytest.mark.parametrize("kind", ["clean", "robust"])
def test_trained_weights_are_shipped_under_their_kind(index: Path, monkeypatch, kind: str) -> None:
    spec = importlib.util.spec_from_file_location("ship_weights", ROOT / "tools" / "ship_weights.py")
    assert spec is not None
    assert spec.loader is not None
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    trained = index.parent / "mine.safetensors"
    trained.write_bytes(find_shipped("sd", scale=3).path.read_bytes())
    before = [m.file for m in shipped_models()]
    monkeypatch.setattr(tool, "FOLDER", index.parent)
    qualities: list[int | None] = []

    def calibrated(weights: Weights, folder: Path, *, tell: object, jpeg_quality: int | None) -> Weights:
        qualities.append(jpeg_quality)
        return weights

    monkeypatch.setattr(tool, "calibrated", calibrated)
    monkeypatch.setattr(tool, "present_commit", lambda: "0123456789ab")
    given = [str(trained), "--kind", kind, "--runs", "steps", "--hours", "2", "--photographs", "none"]
    monkeypatch.setattr(sys, "argv", ["ship_weights.py", *given])
    tool.main()
    shipped_models.cache_clear()
    name = "sd-robust" if kind == "robust" else "sd"
    model = find_shipped(name, scale=3)
    weights = read_weights(model.path)
    assert qualities == [75 if kind == "robust" else None]
    assert (model.kind, model.file, model.jpeg_below) == (kind, f"a2f_{name}_x3.safetensors", 0)
    assert (weights.sha256, weights.metadata["kind"], weights.config.variant) == (model.sha256, kind, "sd")
    files = [entry["file"] for entry in json.loads(index.read_text())["models"]]
    assert sorted(files) == sorted({*before, model.file})
    assert files[:6] == [f"a2f_{name}_x{scale}.safetensors" for name in ("s", "sd") for scale in (2, 3, 4)]
    jpeg.record([], {})  # writes all cards, also of models without measurements
    assert weights.sha256 in model.path.with_suffix(".md").read_text(encoding="utf-8")
