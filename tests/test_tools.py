"""The programs in tools/, run from the command line."""

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
def test_train_all_trains_several_networks_and_resumes(tmp_path: Path) -> None:
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


def test_train_all_starts_from_the_best_available_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    import train_all
    from train_all import NETWORKS, Task, first_weights, tasks_of

    only_sd = tuple(model for model in train_all.shipped_models() if model.variant == "sd")
    monkeypatch.setattr(train_all, "shipped_models", lambda: only_sd)

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


def test_training_mix_makes_no_copies_of_validation_images(tmp_path: Path) -> None:
    names = ["photos/a.png", "photos/b.png", "photos/little.png", "photos/judge.png"]
    names += [f"drawn/{number}.png" for number in range(4)]
    for name in names:
        path = tmp_path / "train" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        side = {"little": 300, "b": 900}.get(path.stem, 600)
        Image.fromarray(np.zeros((side, side, 3), np.uint8)).save(path)
    (tmp_path / "judges.txt").write_text("photos/judge.png\n")
    words = [sys.executable, str(ROOT / "tools/training_mix.py"), str(tmp_path / "train"), str(tmp_path / "out")]
    words += ["--drawn", "2", "--rotated", "--validation", str(tmp_path / "judges.txt")]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    made = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.png")}
    expected = {*names[:4], "drawn/0.png", "drawn/2.png"}
    expected |= {f"smaller-{factor}/photos/{name}.png" for factor in (0.7, 0.5) for name in "ab"}
    expected.add("rotated/photos/b.png")
    assert made == expected
    with Image.open(tmp_path / "out/rotated/photos/b.png") as turned:
        assert turned.width == turned.height
        assert 0.7 * 900 / 2**0.5 - 1 <= turned.width < 0.7 * 900
    with Image.open(tmp_path / "out/smaller-0.7/photos/a.png") as small:
        assert small.size == (420, 420)
    again = subprocess.run(words, capture_output=True, text=True, check=False)
    assert again.returncode == 2
    assert "is not empty" in again.stderr
