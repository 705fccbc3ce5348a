"""Options of `a2f upscale` for large images, and the fast mode."""

import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from a2f.cli.main import cli
from a2f.evaluation.int8_loss import LOSS_KEY, calibrated
from a2f.imageio import Picture, read_image, write_image
from a2f.weights import find_shipped, read_weights

run = CliRunner()


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    pixels = np.random.default_rng(0).integers(0, 65536, size=(70, 90, 4), dtype=np.uint16)
    path = tmp_path / "photo.png"
    write_image(Picture(pixels=pixels), path)
    return path


@pytest.mark.integration
def test_tiles_are_invisible_with_16_bits_and_alpha(photo: Path, tmp_path: Path) -> None:
    results = []
    for number, options in enumerate(([], ["-t", "16"], ["-t", "33", "--max-memory", "2GB", "--threads", "1"])):
        out = tmp_path / f"{number}.png"
        done = run.invoke(cli, ["upscale", str(photo), "-s", "2", "-o", str(out), *options], standalone_mode=False)
        assert done.return_value == 0, done.output
        results.append(read_image(out).pixels)
    assert results[0].shape == (140, 180, 4)
    assert results[0].dtype == np.uint16
    assert (results[1] == results[2]).all()
    assert (np.abs(results[1].astype(int) - results[0]) <= 2).all()  # of 65535: float rounding


def test_too_little_memory_fails_with_the_minimum_and_writes_nothing(photo: Path, tmp_path: Path) -> None:
    asked = ["upscale", str(photo), "-o", str(tmp_path / "x.png"), "--max-memory", "20MB"]
    done = run.invoke(cli, asked, standalone_mode=False)
    assert done.return_value == 3
    assert "at least" in done.output
    assert "MB" in done.output
    assert sorted(p.name for p in tmp_path.iterdir()) == ["photo.png"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--max-memory", "plenty"], "800MB"),
        (["--max-memory", "-1GB"], "800MB"),
        (["--max-memory", "nan"], "800MB"),
        (["-t", "2"], "at least 4"),
        (["-t", "64", "--device", "cuda"], "runs images whole"),
        (["--gates", "sampled", "--engine", "torch"], "exact gates only"),
        (["--dtype", "fast", "--engine", "torch"], "leave out engine torch"),
        (["--gates", "none"], "exact"),
        (["--dtype", "fast", "--engine", "onnxruntime"], "leave out engine onnxruntime"),
        (["--dtype", "fast", "--gates", "exact"], "has no exact gates"),
    ],
)
def test_invalid_requests(photo: Path, options: list[str], message: str) -> None:
    done = run.invoke(cli, ["upscale", str(photo), *options])
    assert done.exit_code != 0
    assert message in done.output + str(done.exception)


@pytest.mark.integration
def test_fast_mode(tmp_path: Path, pytestconfig) -> None:
    pytest.importorskip("openvino", reason="the extra openvino is not installed")
    source = pytestconfig.rootpath / "examples" / "photos" / "astronaut.png"
    pictures = []
    for dtype in ("float32", "fast"):
        out = tmp_path / f"{dtype}.png"
        done = run.invoke(cli, ["upscale", str(source), "-v", "--dtype", dtype, "-o", str(out)])
        assert done.exit_code == 0, done.output
        pictures.append(read_image(out).pixels.astype(int))
    assert "openvino" in done.output
    apart = np.abs(pictures[0] - pictures[1])
    assert 0 < apart.mean() < 0.5


@pytest.mark.integration
def test_calibrate(tmp_path: Path, pytestconfig) -> None:
    photos = pytestconfig.rootpath / "examples" / "photos" / "training"
    out = tmp_path / "mine.safetensors"
    done = run.invoke(cli, ["calibrate", "sd", "--data", str(photos), "-o", str(out)])
    assert done.exit_code == 0, done.output
    assert "ranges of 8 blocks from 3 photographs" in done.output
    metadata = read_weights(out).metadata
    assert "int8_ranges" in metadata
    again = run.invoke(cli, ["calibrate", "sd", "--data", str(photos), "-o", str(out)])
    assert again.exit_code != 0
    empty = run.invoke(
        cli, ["calibrate", "sd", "--data", str(tmp_path / "nowhere"), "-o", str(tmp_path / "b.safetensors")]
    )
    assert empty.exit_code != 0
    assert not (tmp_path / "b.safetensors").exists()


@pytest.mark.integration
def test_outdated_loss_is_removed(pytestconfig, tmp_path: Path) -> None:
    for photo in sorted((pytestconfig.rootpath / "examples" / "photos" / "training").iterdir())[:3]:
        shutil.copy(photo, tmp_path)
    weights, told = read_weights(find_shipped("sd", scale=4).path), []
    before = replace(weights, metadata={**weights.metadata, LOSS_KEY: "9.9"})
    assert LOSS_KEY not in calibrated(before, tmp_path, tell=told.append).metadata
    assert told[-1] == "the loss was not measured: give at least 4 photographs"


WITH_PEAK = """
from pathlib import Path
from a2f.cli.main import main
try:
    main()
finally:
    peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:"))
    print(int(peak.split()[1]) * 1024)
"""
PEAKS = [
    ("rgb.png", "out.jpg", ["-s", "4"]),
    ("rgb.png", "out.webp", ["-s", "2", "--gates", "sampled"]),
    ("rgb.png", "out.png", ["--width", "1300"]),
    ("deep.png", "out.ppm", ["-s", "4"]),
    ("alpha.png", "out.tif", ["-s", "2"]),
    ("rgb.png", "out.png", ["-s", "4", "--ensemble", "2"]),
]
MORE_PEAKS = [
    ("rgb.png", "out.png", ["-s", "2"]),
    ("deep.png", "out.png", ["-s", "4"]),
    ("alpha.png", "out.png", ["-s", "2", "--gates", "sampled"]),
    ("rgb.png", "out.png", ["-s", "2", "--ensemble", "8"]),
    ("alpha.png", "out.png", ["--width", "1300", "--ensemble", "4"]),
]


@pytest.mark.integration
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the system does not tell the peak memory")
@pytest.mark.parametrize(
    ("source", "target", "options"),
    [
        pytest.param(*case, marks=marks, id="-".join([*case[:2], *case[2]]))
        for cases, marks in ((PEAKS, []), (MORE_PEAKS, [pytest.mark.nightly]))
        for case in cases
    ],
)
def test_reported_minimum_memory_works_and_limits_the_process(
    source: str, target: str, options: list[str], tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(100, 140, size=(500, 520, 3), dtype=np.uint16)
    if source == "deep.png":
        pixels = pixels * 257
    elif source == "alpha.png":
        pixels = np.concatenate([pixels, rng.integers(0, 256, size=(500, 520, 1), dtype=np.uint16)], axis=2)
    deep = source == "deep.png"
    write_image(Picture(pixels=pixels if deep else pixels.astype(np.uint8)), tmp_path / source)
    command = [sys.executable, "-c", WITH_PEAK, "upscale", str(tmp_path / source), "-o", str(tmp_path / target)]

    def bounded(megabytes: int) -> tuple[int, int, str]:
        asked = [*command, *options, "--max-memory", f"{megabytes}MB"]
        done = subprocess.run(asked, capture_output=True, text=True, check=False)
        return done.returncode, int(done.stdout), done.stderr

    code, _, told = bounded(20)
    assert code == 3
    least = int(re.search(r"at least (\d+) MB", told)[1])
    code, peak, told = bounded(least)
    assert code == 0, told
    assert peak <= 1.2 * least * 10**6
