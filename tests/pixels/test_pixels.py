"""The pixels of each shipped model equal the committed ones, so that no change is unnoticed."""

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from a2f.weights import ShippedModel, shipped_models

MAKE_AGAIN = "python tests/pixels/make.py"


def _loaded() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make", Path(__file__).with_name("make.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


make = _loaded()
of_each_model = pytest.mark.parametrize("model", shipped_models(), ids=lambda model: model.path.stem)


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def test_golden_pixels_belong_to_the_shipped_weights() -> None:
    made = json.loads(make.WEIGHTS.read_text(encoding="utf-8"))
    shipped = {make.golden(model).name: model.sha256 for model in shipped_models()}
    assert made == shipped, f"weights were shipped since: run `{MAKE_AGAIN}` and look at what it changes"


@pytest.mark.parametrize("tile", [0, 16], ids=["whole", "tiles"])
@of_each_model
def test_no_pixel_changes_by_more_than_one_level(model: ShippedModel, tile: int) -> None:
    expected = pixels(make.golden(model)).astype(int)
    found = make.enlarged(pixels(make.INPUT), model, tile=tile).astype(int)
    assert found.shape == expected.shape == (model.scale * make.HEIGHT, model.scale * make.WIDTH, 3)
    apart = np.abs(found - expected)
    told = f"{(apart > 1).sum()} values changed, by up to {apart.max()} levels"
    assert apart.max() <= 1, f"{told}; if they should change: {MAKE_AGAIN}"


@of_each_model
def test_another_network_fails_the_check(model: ShippedModel) -> None:
    """The tolerance is small compared with the difference between a network and bicubic."""
    size = (model.scale * make.WIDTH, model.scale * make.HEIGHT)
    plain = Image.fromarray(pixels(make.INPUT)).resize(size, Image.Resampling.BICUBIC)
    apart = np.abs(np.asarray(plain).astype(int) - pixels(make.golden(model)))
    assert (apart > 1).mean() > 0.2
