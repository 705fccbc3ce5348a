"""Ensembles: compared with a direct computation, in tiles, and with limited memory."""

import subprocess
import sys
from dataclasses import replace
from itertools import count
from pathlib import Path

import numpy as np
import pytest

import a2f
from a2f import ensemble
from a2f.ensemble import VIEWS, ensemble_of
from a2f.errors import Cancelled, MemoryLimitError, UsageError, WriteError
from a2f.export.check import rounding
from a2f.pixels import upscale_pixels
from a2f.runtime import load_engine
from a2f.runtime.engine import Engine, enlarge
from a2f.upscaler import Control, Upscaler
from a2f.weights import find_shipped, read_weights

RUNS = (2, 4, 8)


@pytest.fixture(scope="module")
def network() -> Engine:
    return load_engine(read_weights(find_shipped("sd", scale=2).path), threads=1)


def noise(shape: tuple[int, ...], dtype: type = np.float32) -> np.ndarray:
    rng = np.random.default_rng(0)
    if dtype is np.float32:
        return rng.random(shape, dtype=np.float32)
    return rng.integers(0, np.iinfo(dtype).max + 1, shape).astype(dtype)


def by_hand(upscaler: Upscaler, image: np.ndarray, runs: int) -> np.ndarray:
    """Each of the eight views is a rotation (rot90) of the image or of its mirror image."""

    def run(x: np.ndarray) -> np.ndarray:
        return upscaler(np.ascontiguousarray(x)).astype(np.float64)

    made = [run(image), np.fliplr(run(np.fliplr(image)))]
    if runs == 4:
        made += [np.flipud(run(np.flipud(image))), np.rot90(run(np.rot90(image, 2)), 2)]
    if runs == 8:
        turned = [np.rot90(run(np.rot90(image, k)), -k) for k in (1, 2, 3)]
        mirror = np.fliplr(image)
        made += turned + [np.fliplr(np.rot90(run(np.rot90(mirror, k)), -k)) for k in (1, 2, 3)]
    assert len(made) == runs
    return np.mean(made, axis=0)


def bands_of(engine: Engine, image: np.ndarray, **change: bool) -> list[np.ndarray]:
    """The bands of a run, with its plan or a changed plan."""
    plan = engine.plan((image.shape[1], image.shape[0]), engine.memory.budget())
    return list(engine.run(image, replace(plan, **change)))


class Odd:
    """An upscaler that is not equivariant to flips: it adds a ramp over its rows and columns."""

    scale, description = 2, "odd"

    def __call__(self, image: np.ndarray) -> np.ndarray:
        large = image.repeat(2, 0).repeat(2, 1)
        rows, columns = np.mgrid[: large.shape[0], : large.shape[1]].astype(np.float32)
        return large + (rows + 10 * columns**2)[..., None] / 1000


class Plain:
    """An upscaler that is only a callable."""

    description = "plain"

    def __init__(self, inner: Upscaler) -> None:
        self.inner, self.scale = inner, inner.scale

    def __call__(self, image: np.ndarray) -> np.ndarray:
        return self.inner(image)


@pytest.mark.parametrize("runs", RUNS)
@pytest.mark.parametrize("size", [(9, 14), (1, 6), (5, 1), (7, 7)], ids=str)
def test_ensemble_equals_the_mean_of_all_runs(runs: int, size: tuple[int, int], network: Upscaler) -> None:
    image = noise((*size, 3))
    for upscaler in (network, Odd()):
        expected, single = by_hand(upscaler, image, runs), upscaler(image)
        made = ensemble_of(upscaler, runs)
        assert isinstance(made, Engine)
        sr = made(image)
        assert sr.shape == single.shape
        assert sr.dtype == np.float32
        # both use the same runs, so only the sum can round differently
        assert np.abs(sr - expected).max() <= runs * np.spacing(np.abs(expected).max().astype(np.float32))
        assert np.abs(sr - single).max() > 1e-3


def test_views_are_the_symmetries_of_a_square() -> None:
    assert [len(VIEWS[runs]) for runs in RUNS] == list(RUNS)
    square = np.arange(9).reshape(3, 3, 1)
    assert len({view.of(square).tobytes() for view in VIEWS[8]}) == 8


@pytest.mark.integration
@pytest.mark.parametrize("runs", RUNS)
@pytest.mark.parametrize("engine", ["onnxruntime", "torch", "openvino"])
def test_tiles_are_invisible_in_an_ensemble(runs: int, engine: str) -> None:
    if engine == "openvino":
        pytest.importorskip("openvino", reason="the extra openvino is not installed")
    image = noise((41, 30, 3))
    whole, tiled = (a2f.load(scale=2, engine=engine, threads=1, tile=t, ensemble=runs).engine for t in (0, 8))
    for made in (tiled(image), np.concatenate(bands_of(tiled, image))):
        assert np.abs(made - whole(image)).max() <= rounding(whole, image)


@pytest.mark.integration
@pytest.mark.parametrize("runs", RUNS)
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_sum_in_a_file_equals_the_sum_in_memory(runs: int, dtype: type, monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(ensemble, "AT_A_TIME", 1000)
    upscaler, image = a2f.load(scale=2, threads=1, tile=8, ensemble=runs).engine, noise((37, 23, 3), dtype)
    in_memory, in_file = (bands_of(upscaler, image, in_file=there) for there in (False, True))
    assert len(in_memory) > 10
    assert (np.concatenate(in_file) == np.concatenate(in_memory)).all()
    assert list(tmp_path.iterdir()) == []
    whole = image if dtype is np.float32 else image.astype(np.float32) / np.float32(255)
    assert (upscaler(whole) == np.concatenate(in_memory)).all()


def test_sum_is_in_a_file_if_memory_is_short(network: Upscaler) -> None:
    upscaler = ensemble_of(network, 8)  # 48 MB for 1000 x 1000
    tight, roomy = (upscaler.plan((1000, 1000), budget * 10**6) for budget in (191, 193))
    assert isinstance(tight, ensemble.Views)
    assert tight.in_file
    assert isinstance(roomy, ensemble.Views)
    assert not roomy.in_file
    assert 48 * 10**6 < roomy.needed_bytes <= 193 * 10**6


def test_too_little_memory_is_refused_before_the_first_run(network: Engine) -> None:
    """Rotated runs count too: rows of 5,000 pixels need more memory than rows of 100."""
    tall, wide = (network.min_bytes(size) for size in ((100, 5000), (5000, 100)))
    assert tall < wide
    network.plan((100, 5000), (tall + wide) // 2)
    upscaler = ensemble_of(network, 8)
    assert upscaler.min_bytes((100, 5000)) == wide
    with pytest.raises(MemoryLimitError, match="100 x 5000 pixels at x2 do not fit into the allowed memory: at least"):
        upscaler.plan((100, 5000), (tall + wide) // 2)


def test_full_disk_raises_an_error(tmp_path: Path, monkeypatch) -> None:
    resource = pytest.importorskip("resource", reason="no limits on file sizes here")
    import signal

    monkeypatch.setenv("TMPDIR", str(tmp_path))
    total = ensemble._SumInFile(1000, 1000)
    old, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, old[1]))
        with pytest.raises(WriteError, match=r"sums of an ensemble need 0\.0 GB .* set TMPDIR"):
            total.add(0, 0, np.zeros((100, 1000, 3), np.float32))
        total.close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
        signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.parametrize(
    "turn", [np.fliplr, np.flipud, np.rot90, lambda x: x.swapaxes(0, 1)], ids=["mirror", "flip", "turn", "transpose"]
)
def test_ensemble_of_eight_is_equivariant_to_flips_and_rotations(turn, network: Upscaler) -> None:
    """A flipped or rotated image gives a flipped or rotated result; a single run does not."""
    upscaler, image = ensemble_of(network, 8), noise((17, 26, 3))
    turned = np.ascontiguousarray(turn(image))
    allowed = rounding(upscaler, image)
    assert np.abs(upscaler(turned) - turn(upscaler(image))).max() <= allowed
    assert np.abs(network(turned) - turn(network(image))).max() > 10 * allowed


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_grey_alpha_and_depth(channels: int, dtype: type, network: Upscaler) -> None:
    """The mean is computed before rounding, also for alpha."""
    pixels = noise((11, 8, channels), dtype)
    banded = ensemble_of(network, 8)
    plain = ensemble_of(Plain(network), 8)  # around what gives whole images
    large = upscale_pixels(pixels, [banded])
    assert (large.shape, large.dtype) == ((22, 16, channels), dtype)
    np.testing.assert_array_equal(large, upscale_pixels(pixels, [plain]))
    if channels == 3 and dtype is not np.float32:
        top = np.iinfo(dtype).max
        exact = by_hand(network, (pixels / top).astype(np.float32), 8).clip(0, 1) * top
        assert np.abs(large - exact).max() <= 0.5 + top * 2**-20
    assert upscale_pixels(pixels, [banded], size=(31, 19)).shape == (19, 31, channels)


@pytest.mark.integration
def test_progress_is_shared_by_the_runs() -> None:
    for tile, least in ((16, 8 * 12), (0, 8)):
        upscaler, told = a2f.load(scale=2, threads=1, tile=tile, ensemble=8).engine, list[float]()
        enlarge(upscaler, np.zeros((40, 50, 3), np.float32), control=Control(progress=told.append))
        assert told == sorted(told)
        assert told[-1] == pytest.approx(1)
        assert len(told) >= least


def test_ensemble_can_be_cancelled_and_used_again() -> None:
    upscaler, asked = a2f.load(scale=2, threads=1, tile=16, ensemble=8).engine, count()
    with pytest.raises(Cancelled, match="stopped"):
        enlarge(upscaler, np.zeros((90, 90, 3), np.float32), control=Control(cancelled=lambda: next(asked) > 9))
    assert upscaler(np.zeros((9, 9, 3), np.float32)).shape == (18, 18, 3)


@pytest.mark.parametrize("runs", [0, 3, 16, -8, True, 8.0, "8"])
def test_other_numbers_are_refused(runs: object, network: Upscaler) -> None:
    for ask in (
        lambda: a2f.load(ensemble=runs),
        lambda: a2f.upscale(noise((4, 4, 3)), ensemble=runs),
        lambda: ensemble_of(network, runs),
    ):
        with pytest.raises(UsageError, match=r"choose 1 \(off\), 2 \(mirrored\), 4 \(all flips\) or 8"):
            ask()


def test_ensemble_of_an_open_upscaler_cannot_be_changed(network: Upscaler) -> None:
    with pytest.raises(UsageError, match=r"use a2f.load\(..., ensemble=4\)"):
        a2f.upscale(noise((4, 4, 3)), model=network, ensemble=4)


def test_ensemble_of_one_is_the_upscaler_itself(network: Upscaler) -> None:
    assert ensemble_of(network, 1) is network


PEAK = """
import numpy as np
from pathlib import Path
import a2f
upscaler = a2f.load("sd", scale=4, threads=2, max_memory=240 * 10**6, ensemble=2).engine
plan = upscaler.plan((600, 500), upscaler.memory.budget())
rows = sum(len(band) for band in upscaler.run(np.zeros((500, 600, 3), np.uint8), plan))
peak = next(l for l in Path("/proc/self/status").read_text().splitlines() if l.startswith("VmHWM:"))
print(rows, plan.in_file, int(peak.split()[1]) * 1024)
"""


@pytest.mark.integration
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the system does not tell the peak memory")
def test_memory_is_bounded() -> None:
    """An image of 600 x 500 at x4 has a sum of 58 MB and features of 173 MB."""
    done = subprocess.run([sys.executable, "-c", PEAK], capture_output=True, text=True, check=True)
    rows, in_file, peak = done.stdout.split()
    assert (int(rows), in_file) == (2000, "True")
    assert int(peak) < 1.2 * 240 * 10**6
