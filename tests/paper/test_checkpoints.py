"""The authors' checkpoints give the numbers of the paper, in PyTorch and in the ONNX engine."""

import os
from pathlib import Path

import numpy as np
import pytest
from benchmarks.quality import score

from a2f.evaluation.score import score_set
from a2f.evaluation.sets import load_set
from a2f.model.official import convert_official
from a2f.runtime import load_engine

pytestmark = pytest.mark.paper


@pytest.mark.parametrize("engine", ["onnxruntime", "torch"])
@pytest.mark.parametrize(("file", "psnr", "ssim"), [("AAF_SD_x4.pt", 32.063, 0.8928), ("AAF_S_x3.pt", 34.057, 0.9241)])
def test_set5(shared: Path, engine: str, file: str, psnr: float, ssim: float) -> None:
    weights = convert_official(shared / "official" / file)
    got = score(shared / "data" / "eval" / "Set5", weights.config.scale, load_engine(weights, engine=engine))
    assert got.psnr == pytest.approx(psnr, abs=0.003)
    assert got.ssim == pytest.approx(ssim, abs=1e-4)


@pytest.mark.parametrize(("name", "psnr", "ssim"), [("Set14", 28.466, 0.7790), ("B100", 27.487, 0.7335)])
def test_larger_sets(shared: Path, name: str, psnr: float, ssim: float) -> None:
    weights = convert_official(shared / "official" / "AAF_SD_x4.pt")
    got = score(shared / "data" / "eval" / name, 4, load_engine(weights))
    assert got.psnr == pytest.approx(psnr, abs=0.003)
    assert got.ssim == pytest.approx(ssim, abs=1e-4)


@pytest.mark.parametrize(("name", "printed"), [("Set5", 0.1731), ("Set14", 0.2870)])
def test_lpips_of_table_5(shared: Path, name: str, printed: float) -> None:
    if "A2F_LPIPS" not in os.environ:
        pytest.skip("$A2F_LPIPS does not name alexnet.ckpt: `a2f data download lpips -o DIR` fetches it")
    weights = convert_official(shared / "official" / "AAF_SD_x4.pt")
    items = load_set(shared / "data" / "eval" / name, scale=4)
    got = score_set(load_engine(weights), items, model="sd", data=name, scale=4, metrics=("lpips",))
    assert round(got.mean("lpips"), 4) == printed


@pytest.mark.parametrize("name", ["Set5", "Set14"])
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_bicubic_is_exact_to_the_pixel(shared: Path, name: str, scale: int) -> None:
    from a2f.resize import imresize

    for item in load_set(shared / "data" / "eval" / name, scale=scale):
        np.testing.assert_array_equal(imresize(item.hr, scale=1 / scale), item.lr)


def test_bicubic_baseline(shared: Path) -> None:
    assert score(shared / "data" / "eval" / "Set5", 4, None).psnr == pytest.approx(28.42, abs=0.01)
