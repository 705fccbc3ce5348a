"""A batch is killed at random times: no file is lost, repeated without need, or incomplete."""

import random
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from a2f.batch.journal import Journal

WORKER = Path(__file__).with_name("worker.py")
FILES = 60
MAX_RUNS = 200


def finished(out: Path) -> list[Path]:
    return [path for path in out.rglob("*.png") if path.is_file()]


def killed_until_done(command: list[str], out: Path, check, *, seed: int, step: int) -> int:
    """Start a command, kill it after some files, check, and repeat; return the number of kills."""
    rng = random.Random(seed)
    for kills in range(MAX_RUNS):
        enough = len(finished(out)) + rng.randint(1, step)
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        while process.poll() is None and len(finished(out)) < enough:
            time.sleep(0.001)
        time.sleep(rng.random() * 0.02)  # at a random time in the work on the next files
        process.kill()
        said = process.communicate()[1]
        check()
        if process.returncode == 0:
            return kills
        assert process.returncode == -9, said
    pytest.fail(f"not done after {MAX_RUNS} runs")


@pytest.mark.integration
@pytest.mark.parametrize("seed", [1])
def test_batch_killed_many_times(tmp_path: Path, seed: int) -> None:
    given, out = tmp_path / "in", tmp_path / "out"
    given.mkdir()
    rng = random.Random(seed)
    for i in range(FILES):
        (given / f"{i}.png").write_bytes(rng.randbytes(rng.randint(100, 8000)))

    def check() -> None:
        for path in finished(out):
            assert path.read_bytes() == 2 * (given / path.name).read_bytes(), f"{path} is not whole"

    kills = killed_until_done([sys.executable, str(WORKER), str(given), str(out)], out, check, seed=seed, step=10)
    assert kills >= 5, "too few kills to tell anything"
    assert {path.name for path in finished(out)} == {path.name for path in given.iterdir()}
    with Journal(out / "journal.sqlite", read_only=True) as journal:
        assert journal.counts()["done"] == FILES
        (tries,) = journal.rows("SELECT sum(tries) FROM items")[0]
    assert FILES <= tries <= FILES + 2 * kills, "more than one file a worker was begun again"


@pytest.mark.integration
def test_killed_upscale_command(tmp_path: Path) -> None:
    given, out, whole = tmp_path / "in", tmp_path / "out", tmp_path / "whole"
    rng = np.random.default_rng(0)
    for i in range(12):
        path = given / ("deeper" if i % 3 == 0 else "") / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (20 + 8 * i, 90, 3)).astype(np.uint8)).save(path)
    command = [sys.executable, "-m", "a2f", "upscale", str(given), "-r", "-s", "2", "--threads", "1", "-j", "2", "-q"]
    subprocess.run([*command, "-o", str(whole)], check=True)
    expected = {path.name: path.read_bytes() for path in finished(whole)}
    assert len(expected) == 12

    def check() -> None:
        for path in finished(out):
            assert path.read_bytes() == expected[path.name], f"{path} is not whole"

    kills = killed_until_done([*command, "--resume", "-o", str(out)], out, check, seed=3, step=3)
    assert kills >= 2, "too few kills to tell anything"
    assert {path.name for path in finished(out)} == set(expected)
    with Journal(out / ".a2f-journal.sqlite", read_only=True) as journal:
        assert journal.counts()["done"] == 12
        (tries,) = journal.rows("SELECT sum(tries) FROM items")[0]
    assert 12 <= tries <= 12 + 2 * kills
