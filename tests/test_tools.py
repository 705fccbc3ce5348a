"""The programs in tools/, run as a user would."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from a2f.weights import read_weights

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.integration
def test_train_all_trains_several_networks_side_by_side_and_goes_on(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    (tmp_path / "data").mkdir()
    for number in range(3):
        coarse = rng.integers(0, 255, (12, 16, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((128, 96), Image.Resampling.BICUBIC).save(tmp_path / f"data/{number}.png")
    words = [sys.executable, str(ROOT / "tools/train_all.py"), "--device", "cpu", "--minutes", "0.02"]
    words += ["--batch", "2", "--patch", "8", str(tmp_path / "data"), str(tmp_path / "out"), "--networks"]
    first = subprocess.run([*words, "sd:2", "s:3"], capture_output=True, text=True, check=False)
    assert first.returncode == 0, first.stdout + first.stderr
    steps = {}
    for variant, scale in (("sd", 2), ("s", 3)):
        weights = read_weights(tmp_path / f"out/{variant}_x{scale}/last.safetensors")
        assert (weights.config.variant, weights.config.scale) == (variant, scale)
        steps[variant, scale] = int(weights.metadata["steps"])
        assert steps[variant, scale] > 0
    table = (tmp_path / "out/table.md").read_text()
    assert len(re.findall(r"^\| (sd x2|s x3) \| \d", table, re.MULTILINE)) == 2
    said = (tmp_path / "out/sd_x2.txt").read_text()
    assert "2 training images" in said
    again = subprocess.run([*words, "sd:2"], capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stdout + again.stderr
    assert "resuming from step" in (tmp_path / "out/sd_x2.txt").read_text()


def test_train_all_starts_from_the_best_weights_there_are(tmp_path: Path) -> None:
    sys.path.insert(0, str(ROOT / "tools"))
    try:
        from train_all import NETWORKS, Task, first_weights, tasks_of
    finally:
        sys.path.pop(0)

    def task(variant: str, scale: int) -> Task:
        return Task(variant=variant, scale=scale, minutes=1, folder=tmp_path / f"{variant}_x{scale}")

    shipped = first_weights(task("sd", 4), out=tmp_path)
    assert shipped is not None
    assert shipped.name == "a2f_sd_x4.safetensors"
    assert first_weights(task("l", 2), out=tmp_path) is None
    (tmp_path / "l_x4").mkdir()
    (tmp_path / "l_x4/last.safetensors").write_bytes(b"")
    assert first_weights(task("l", 2), out=tmp_path) == tmp_path / "l_x4/last.safetensors"
    tasks = tasks_of(list(NETWORKS), minutes=25, at_once=4, out=tmp_path)
    assert len(tasks) == 12
    assert (tasks[0].variant, tasks[0].scale) == ("sd", 4)
    assert sum(t.minutes for t in tasks) == pytest.approx(100)
    assert all(0 < t.minutes <= 25 for t in tasks)
