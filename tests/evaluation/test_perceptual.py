"""LPIPS and MS-SSIM."""

import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from a2f.errors import InputError, WeightsError
from a2f.evaluation.lpips import Lpips, lpips_file, read_arrays
from a2f.evaluation.ms_ssim import ms_ssim_y
from a2f.evaluation.score import metric_functions


def pair(height: int, width: int, noise: float) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    y, x = np.mgrid[0:height, 0:width]
    wave = 127 + 90 * np.sin(x / 7) * np.cos(y / 11) + 20 * np.sin(x * y / 500)
    hr = np.stack([wave, wave[::-1], 255 - wave], axis=-1).clip(0, 255).astype(np.uint8)
    return (hr + rng.normal(0, noise, hr.shape)).clip(0, 255).astype(np.uint8), hr


# computed by pytorch_msssim 1.0.0: ms_ssim(a, b, data_range=255) of both lumas without 4 border pixels, in float32
@pytest.mark.parametrize(
    ("height", "width", "noise", "expected"), [(200, 232, 8, 0.9905455603310507), (264, 248, 60, 0.7737013788935578)]
)
def test_ms_ssim_matches_an_independent_implementation(height: int, width: int, noise: float, expected: float) -> None:
    sr, hr = pair(height, width, noise)
    assert ms_ssim_y(sr, hr, border=4) == pytest.approx(expected, abs=2e-6)


def test_ms_ssim_limits() -> None:
    sr, hr = pair(169, 180, 20)
    assert ms_ssim_y(hr, hr, border=4) == pytest.approx(1)
    assert 0 < ms_ssim_y(sr, hr, border=4) < 1
    with pytest.raises(InputError, match="at least 161 x 161 pixels inside the border, not 170 x 159"):
        ms_ssim_y(sr, hr, border=5)
    with pytest.raises(InputError, match="differ in size"):
        ms_ssim_y(sr[1:], hr, border=4)


def test_lpips_without_weights_raises_an_error(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.delenv("A2F_LPIPS", raising=False)
    with pytest.raises(WeightsError, match=r"alexnet\.ckpt\. Download it with `a2f data download lpips -o DIR`"):
        metric_functions(("psnr_y", "lpips"))
    monkeypatch.setenv("A2F_LPIPS", str(tmp_path / "none"))
    with pytest.raises(WeightsError, match="none is not a file"):
        lpips_file(None)
    other = tmp_path / "alexnet.ckpt"
    other.write_bytes(pickle.dumps({"AlexNet_0": np.zeros(3)}))
    assert lpips_file(other) == other
    with pytest.raises(WeightsError, match="another SHA-256"):
        Lpips(other)


class Hostile:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch executed",)


def test_pickled_arrays_are_read_and_other_pickles_are_not_executed(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    given = {"a": {"b": np.arange(6, dtype=np.float32).reshape(2, 3)}}
    np.testing.assert_array_equal(read_arrays(pickle.dumps(given))["a"]["b"], given["a"]["b"])
    for hostile in (Hostile(), {"a": Hostile()}, {"a": np.array([Hostile()], object)}):
        with pytest.raises(WeightsError, match=r"calls (posix|nt)\.system"):
            read_arrays(pickle.dumps(hostile))
    assert not (tmp_path / "executed").exists()
    for broken in (b"", b"no pickle", pickle.dumps(given)[:-20], pickle.dumps([1])):
        with pytest.raises(WeightsError, match="pickle of"):
            read_arrays(broken)
