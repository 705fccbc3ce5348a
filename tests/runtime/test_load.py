"""Many images, and interrupts."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from a2f import load
from a2f.errors import InputError
from a2f.imageio import Picture, write_image

MANY = """
import numpy as np
from pathlib import Path
import a2f
upscaler = a2f.load("sd", scale=2, threads=2)
rng = np.random.default_rng(0)
def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096
for number in range(1, 2001):
    upscaler(rng.random((8 + number % 5, 9 + number % 7, 3), dtype=np.float32))
    if number in (200, 2000):
        print(resident())
"""


@pytest.mark.integration
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="the system does not tell the memory")
def test_memory_does_not_grow_over_two_thousand_images() -> None:
    done = subprocess.run([sys.executable, "-c", MANY], capture_output=True, text=True, check=True)
    early, late = (int(line) for line in done.stdout.split())
    assert late < 1.05 * early


@pytest.mark.integration
@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT for one process there")
@pytest.mark.parametrize("limits", [[], ["--max-memory", "400MB", "-t", "64"]], ids=["memory", "file"])
def test_ctrl_c_leaves_no_files_or_processes(limits: list[str], tmp_path: Path) -> None:
    source, temporary = tmp_path / "photo.png", tmp_path / "tmp"
    temporary.mkdir()
    write_image(Picture(pixels=np.zeros((1500, 1500, 3), np.uint8)), source)
    command = [sys.executable, "-m", "a2f", "upscale", str(source), "-s", "2", "-v", *limits]
    process = subprocess.Popen(
        command, env={**os.environ, "TMPDIR": str(temporary)}, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stderr is not None
    assert process.stderr.readline().startswith("onnxruntime ")  # the engine is open, and the run starts
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130, told
    assert "interrupted" in told
    assert list(temporary.iterdir()) == []
    assert sorted(p.name for p in tmp_path.iterdir()) == ["photo.png", "tmp"]
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)


@pytest.mark.integration
@pytest.mark.parametrize("dtype", ["float32", "fast"])
def test_engines_store_no_identifier_on_the_disk(dtype: str, tmp_path: Path) -> None:
    """Files of enabled telemetry: onnxruntime writes to temporary and cache folders, OpenVINO to the home folder."""
    if dtype == "fast":
        pytest.importorskip("openvino", reason="the extra openvino is not installed")
    photo = tmp_path / "photo.png"
    write_image(Picture(pixels=np.zeros((8, 8, 3), np.uint8)), photo)
    folders = {name: str(tmp_path / name) for name in ("TMPDIR", "HOME", "XDG_CACHE_HOME")}
    for folder in folders.values():
        Path(folder).mkdir()
    silent = {"ORT_DISABLE_TELEMETRY", "CI", "TF_BUILD", "JENKINS_URL"}  # disables one of them
    inherited = {key: value for key, value in os.environ.items() if key not in silent}
    command = [sys.executable, "-m", "a2f", "upscale", str(photo), "--dtype", dtype]
    subprocess.run(command, env=inherited | folders, check=True, capture_output=True)
    assert [path for folder in folders.values() for path in Path(folder).iterdir()] == []


@pytest.mark.integration
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_forked_process_has_its_own_threads() -> None:
    code = (
        "import multiprocessing, numpy as np, a2f\n"
        "upscaler, x = a2f.load(scale=2, tile=32), np.full((40, 50, 3), 0.5, np.float32)\n"
        "expected = upscaler(x)\n"
        "def child(): assert (upscaler(x) == expected).all()\n"
        "process = multiprocessing.get_context('fork').Process(target=child)\n"
        "process.start(); process.join(30)\n"
        "assert process.exitcode == 0, process.exitcode\n"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, timeout=60)


@pytest.mark.parametrize("tile", [0, 24])
def test_floats_of_another_range_are_refused(tile: int) -> None:
    upscaler = load("sd", scale=2, tile=tile).engine
    image = np.full((40, 40, 3), 128, np.float32)
    for values in (image, image / np.float32(64), -image):
        with pytest.raises(InputError, match=r"takes values in \[0, 1\], not in \[-?\d+, -?\d+\]: divide by"):
            upscaler(values)
    assert upscaler(image / np.float32(127)).shape == (80, 80, 3)  # a little beyond
