"""Tiles are invisible: for any tile size, the pixels equal those of the whole image in one graph."""

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import count
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from a2f.errors import Cancelled, EngineError, InputError, MemoryLimitError, WriteError
from a2f.export.check import rounding
from a2f.export.fold import fold
from a2f.export.graph import export_onnx
from a2f.export.session import make_session
from a2f.model.a2f import A2F, to_weights
from a2f.runtime import load_engine, memory, onnx, openvino
from a2f.runtime.engine import A2FEngine, Engine, WholeRunner, enlarge
from a2f.runtime.features import FeaturesInFile
from a2f.runtime.memory import Memory
from a2f.runtime.onnx import onnx_steps
from a2f.runtime.pieces import PieceRunner, sampled_gates
from a2f.runtime.plan import Pieces, Tiles, Whole
from a2f.runtime.tiled import Steps, Tiler, rows_of, run_tiles
from a2f.upscaler import NO_CONTROL, Control
from a2f.variants import ABLATIONS, VARIANTS, config_of
from a2f.weights import Weights, find_shipped, read_weights

# Each network at one scale, and one network at all scales, because scales differ only in the tail.
KINDS = [config_of(variant, scale=2) for variant in VARIANTS] + [config_of("sd", scale=scale) for scale in (3, 4)]
KINDS += ABLATIONS.values()


@pytest.fixture(scope="module")
def weights() -> Weights:
    return read_weights(find_shipped("sd", scale=4).path)


@pytest.fixture(scope="module")
def steps(weights) -> Steps:
    return onnx_steps(fold(weights))


@pytest.fixture(scope="module")
def whole(weights):
    session = make_session(export_onnx(weights), threads=2)
    return lambda image: session.run(None, {"lr": image.transpose(2, 0, 1)[None].copy()})[0][0]


def an_image(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Smooth areas, edges and noise, so that gates differ from part to part."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    waves = 0.5 + 0.4 * np.sin(x / 7 + y / 11)
    image = np.stack([waves, waves > 0.5, rng.random((height, width))], axis=-1)
    return image.astype(np.float32)


def tiled(steps: Steps, image: np.ndarray, *, tile: tuple[int, int], band: int, in_file: bool, threads: int = 2):
    plan = Tiles(tile_height=tile[0], tile_width=tile[1], band_rows=band, in_file=in_file)
    height, width = image.shape[:2]
    with ThreadPoolExecutor(threads) as pool:
        run = run_tiles(steps, rows_of(image), size=(width, height), plan=plan, over=pool.map)
        return np.concatenate(list(run), axis=1)


def bands_of(engine: Engine, image: np.ndarray, control: Control = NO_CONTROL) -> list[np.ndarray]:
    """The bands of a run."""
    plan = engine.plan((image.shape[1], image.shape[0]), engine.memory.budget())
    return list(engine.run(image, plan, control))


def after(asks: int) -> Control:
    """A control that cancels its run after a number of checks."""
    asked = count(1)
    return Control(cancelled=lambda: next(asked) > asks)


def levels(sr: np.ndarray) -> np.ndarray:
    return np.floor(sr.clip(0, 1) * 255 + 0.5).astype(int)


SIZES = [(1, 1), (1, 5000), (5000, 1), (2, 3), (15, 16), (16, 17), (17, 15), (31, 37), (48, 33)]


@pytest.mark.integration
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_image_sizes_around_tile_boundaries(size, steps, whole) -> None:
    image = an_image(*size)
    expected, allowed = whole(image), rounding(whole, image)
    for band, in_file in ((16, False), (16, True), (37, True)):
        sr = tiled(steps, image, tile=(16, 16), band=band, in_file=in_file)
        assert np.abs(sr - expected).max() <= allowed
        assert (np.abs(levels(sr) - levels(expected)) <= 1).all()


@pytest.mark.integration
@settings(max_examples=40)
@given(
    height=st.integers(1, 70),
    width=st.integers(1, 70),
    tile=st.tuples(st.integers(4, 75), st.integers(4, 75)),
    bands=st.integers(1, 4),
    in_file=st.booleans(),
    threads=st.integers(1, 3),
)
def test_any_tile_size_gives_equal_bits(steps, whole, height, width, tile, bands, in_file, threads) -> None:
    image = an_image(height, width, seed=height * 71 + width)
    sr = tiled(steps, image, tile=tile, band=bands * tile[0], in_file=in_file, threads=threads)
    assert (sr == tiled(steps, image, tile=(height, width), band=height, in_file=False)).all()
    assert np.abs(sr - whole(image)).max() <= rounding(whole, image)


def test_rounding_error_is_measured_on_the_image() -> None:
    """The rounding error grows with the features, and so does the tolerance."""
    weights = read_weights(find_shipped("sd", scale=3).path)
    grown = {name: 5 * value if name.endswith("lambda_x") else value for name, value in weights.tensors.items()}
    narrow, square = an_image(2, 20, seed=162), an_image(40, 40)
    bounds = []
    for chosen in (weights, replace(weights, tensors=grown, sha256="")):
        whole, tiled = load_engine(chosen), load_engine(chosen, tile=64)
        bounds.append([rounding(whole, image) for image in (narrow, square)])
        for image, bound in zip((narrow, square), bounds[-1], strict=True):
            assert np.abs(tiled(image) - whole(image)).max() <= bound
    assert max(bounds[0]) < 1e-5 < 1e-4 < min(bounds[1])


@pytest.mark.integration
@pytest.mark.parametrize("config", KINDS, ids=lambda c: f"{c.variant}-x{c.scale}")
def test_tiles_of_all_networks(config) -> None:
    weights, image = to_weights(A2F(config)), an_image(20, 27)
    whole, tiled = load_engine(weights), load_engine(weights, tile=9)
    assert np.abs(tiled(image) - whole(image)).max() <= rounding(whole, image)


@pytest.mark.integration
@pytest.mark.parametrize("in_file", [False, True])
@pytest.mark.parametrize("blocks", [1, 2, 3, 5, 6, 7])
def test_any_number_of_blocks(blocks: int, in_file: bool) -> None:
    """An odd number of blocks is included: more sums follow the middle than features come before it."""
    torch.manual_seed(blocks)
    weights, image = to_weights(A2F(replace(config_of("sd", scale=2), blocks=blocks))), an_image(30, 41)
    whole = load_engine(weights)
    made = tiled(onnx_steps(fold(weights)), image, tile=(9, 13), band=9, in_file=in_file).transpose(1, 2, 0)
    assert np.abs(made - whole(image)).max() <= rounding(whole, image)


def test_gates_of_single_tiles_would_change_the_result(weights, whole) -> None:
    """The checks of this file would fail for tiles with their own gates."""
    image = an_image(64, 64)
    alone = np.concatenate([whole(image[:, :32]), whole(image[:, 32:])], axis=2)
    assert (np.abs(levels(alone) - levels(whole(image))) > 1).any()


@pytest.mark.integration
def test_bands_are_yielded_in_order(weights) -> None:
    upscaler = load_engine(weights, tile=16)
    assert isinstance(upscaler, Engine)
    eight_bits = (an_image(300, 20) * 255).astype(np.uint8)
    bands = bands_of(upscaler, eight_bits)
    assert len(bands) > 1
    assert all(band.shape[1:] == (80, 3) for band in bands)
    assert (np.concatenate(bands) == upscaler(eight_bits.astype(np.float32) / np.float32(255))).all()


def test_bands_refuse_invalid_images(weights) -> None:
    with pytest.raises(InputError, match=r"\[H, W, 3\]"):
        next(load_engine(weights).run(np.zeros((4, 4), np.uint8), Whole()))


@pytest.mark.integration
@pytest.mark.parametrize("size", [(40, 50), (1, 5000), (5000, 2), (33, 32), (181, 180)], ids=str)
@pytest.mark.parametrize("tile", [8, 33, 64])
def test_pieces_with_exact_gates_equal_the_whole_image(size, tile: int, weights, whole) -> None:
    """Small images are pooled as a whole, so the gates and the pixels equal those of the image."""
    image = an_image(*size)
    sr = load_engine(weights, tile=tile, gates="sampled")(image)
    assert np.abs(sr.transpose(2, 0, 1) - whole(image)).max() <= rounding(whole, image)


@pytest.mark.integration
@pytest.mark.parametrize("config", KINDS, ids=lambda c: f"{c.variant}-x{c.scale}")
def test_pieces_of_all_networks(config) -> None:
    weights = to_weights(A2F(config))
    whole, pieces = load_engine(weights), load_engine(weights, tile=40, gates="sampled")
    for image in (an_image(8, 120), an_image(120, 8)):  # longer than a piece with all that it depends on
        assert 40 + 2 * config.receptive_radius_px < 120
        assert np.abs(pieces(image) - whole(image)).max() <= rounding(whole, image)


@pytest.mark.integration
def test_openvino_runs_large_images_in_pieces(weights, whole, monkeypatch) -> None:
    """Pieces lose no precision: float32 is close to the whole image, and int8 as close as int8 in one run."""
    pytest.importorskip("openvino", reason="the extra openvino is not installed")
    image = an_image(400, 500)
    monkeypatch.setattr(memory, "resident_bytes", lambda: 0)
    exact = whole(image).transpose(1, 2, 0)

    def error(dtype: str, memory_mb: int, kind: type) -> float:
        engine = load_engine(weights, engine="openvino", dtype=dtype, max_memory=memory_mb * 10**6)
        plan = engine.plan((500, 400), engine.memory.budget())
        assert isinstance(plan, kind)
        return float(np.sqrt(np.square(np.concatenate(list(engine.run(image, plan))) - exact).mean()))

    assert error("float32", 9000, Whole) < error("float32", 400, Pieces) < 0.1 / 255
    one_run = error("int8", 9000, Whole)
    assert one_run != error("int8", 400, Pieces) < 1.05 * one_run
    with pytest.raises(EngineError, match="use gates='sampled'"):
        load_engine(weights, engine="openvino", gates="exact")


@pytest.mark.integration
def test_gates_are_sampled_from_all_parts_of_the_image() -> None:
    """On an image with uniform statistics, sampled gates are close to exact gates."""
    torch.manual_seed(0)  # the gates of an untrained network are half open and depend on the pooled values
    untrained = to_weights(A2F(config_of("sd", scale=4)))
    exact = load_engine(untrained, tile=64)
    sampled = load_engine(untrained, tile=100, gates="sampled")
    rng = np.random.default_rng(1)
    noise = (0.5 + 0.1 * rng.standard_normal((400, 160, 3))).clip(0, 1).astype(np.float32)
    difference = np.abs(sampled(noise) - exact(noise))
    assert 0 < difference.max() < 1 / 255
    # the error is equal in all strips: no seam at their borders
    rows = difference.mean(axis=(1, 2))
    assert rows.max() < 20 * np.median(rows)


@pytest.mark.integration
def test_sampled_gates_are_the_same_for_any_number_of_threads(steps) -> None:
    image = an_image(300, 400)
    one, three = (sampled_gates(steps, rows_of(image), size=(400, 300), threads=threads) for threads in (1, 3))
    assert len(one) == steps.net.config.blocks
    assert all((a == b).all() for a, b in zip(one, three, strict=True))


def test_graph_gets_a_flag_with_the_last_piece_of_each_image(steps) -> None:
    told: list[bool] = []

    def graph(x: np.ndarray, gates: dict[str, np.ndarray], control: Control, last: bool) -> np.ndarray:
        told.append(last)
        return x.repeat(4, axis=2).repeat(4, axis=3)

    pieces = PieceRunner(graph, steps, threads=1, tile_px=40)
    engine = A2FEngine(scale=4, description="", memory=Memory(), whole=None, cut=pieces)
    for _ in range(2):
        engine(an_image(90, 70))
    assert told == ([False] * 5 + [True]) * 2


@pytest.mark.integration
def test_eight_threads_share_one_upscaler(weights) -> None:
    upscaler = load_engine(weights, threads=2, tile=16)
    images = [an_image(30 + n, 41, seed=n) for n in range(8)]
    alone = [upscaler(image) for image in images]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(5):
            together = list(pool.map(upscaler, images))
            assert all((a == b).all() for a, b in zip(alone, together, strict=True))


@pytest.mark.integration
@pytest.mark.parametrize("dtype", ["float32", "fast"])
def test_large_images_share_one_upscaler(dtype: str, weights, monkeypatch) -> None:
    """The images exceed the memory that is kept between runs, so memory is released while other threads wait."""
    for back_end in (onnx, openvino):
        monkeypatch.setattr(back_end, "KEPT_PX", 10_000)
    upscaler, images = load_engine(weights, dtype=dtype, threads=2), [an_image(110, 100, seed=n) for n in range(4)]
    alone = [upscaler(image) for image in images]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(upscaler, images))
    assert all((a == b).all() for a, b in zip(alone, together, strict=True))


@pytest.mark.integration
def test_abandoned_run_releases_its_resources(weights, steps) -> None:
    upscaler, image = load_engine(weights, threads=2, tile=16), an_image(600, 30)
    bands = upscaler.run(image, upscaler.plan((30, 600), upscaler.memory.budget()))
    next(bands)
    bands.close()
    assert upscaler(an_image(5, 5)).shape == (20, 20, 3)
    before = threading.active_count()
    del upscaler, bands
    assert threading.active_count() <= before


@pytest.mark.integration
@pytest.mark.parametrize("config", KINDS, ids=lambda c: f"{c.variant}-x{c.scale}")
def test_torch_runs_tiles_of_all_networks(config) -> None:
    weights, image = to_weights(A2F(config)), an_image(19, 26)
    run = load_engine(weights, engine="torch")
    whole, allowed = run(image), rounding(run, image)
    for tile in (5, 18):
        tiled = load_engine(weights, engine="torch", tile=tile)
        assert np.abs(np.concatenate(bands_of(tiled, image)) - whole).max() <= allowed, tile


def test_failed_whole_run_falls_back_to_tiles(weights, steps, whole) -> None:
    full = WholeRunner(run=Mock(side_effect=MemoryError), needed_bytes=lambda height, width: 0)
    cut = Tiler(steps, threads=2, tile_px=0)
    upscaler = A2FEngine(scale=4, description="", memory=Memory(), whole=full, cut=cut)
    image = an_image(40, 50)
    assert isinstance(upscaler.plan((50, 40), upscaler.memory.budget()), Whole)
    expected, allowed = whole(image).transpose(1, 2, 0), rounding(whole, image)
    assert np.abs(upscaler(image) - expected).max() <= allowed
    assert np.abs(np.concatenate(bands_of(upscaler, image)) - expected).max() <= allowed
    assert full.run.call_count == 2


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("x"), RuntimeError("DefaultCPUAllocator: not enough memory")])
def test_torch_out_of_memory_for_an_image_or_a_tile(error: RuntimeError, weights, whole, monkeypatch) -> None:
    upscaler, image, conv2d = load_engine(weights, engine="torch"), an_image(40, 50), torch.nn.functional.conv2d
    failed: list[object] = []

    def first_fails(*given: object, **how: object) -> torch.Tensor:
        if not failed:
            failed.append(given)
            raise error
        return conv2d(*given, **how)

    monkeypatch.setattr(torch.nn.functional, "conv2d", first_fails)
    assert np.abs(upscaler(image) - whole(image).transpose(1, 2, 0)).max() <= rounding(whole, image)
    assert failed
    tiled = load_engine(weights, engine="torch", tile=16)
    monkeypatch.setattr(torch.nn.functional, "conv2d", Mock(side_effect=error))
    with pytest.raises(MemoryLimitError, match="no memory on cpu for a tile: choose a smaller tile"):
        tiled(image)


@pytest.mark.integration
def test_images_that_fit_run_whole_and_others_in_tiles(weights, whole, monkeypatch) -> None:
    image = an_image(150, 250)
    expected = whole(image).transpose(1, 2, 0)
    assert (load_engine(weights)(image) == expected).all()
    monkeypatch.setattr(memory, "resident_bytes", lambda: 0)
    tight = load_engine(weights, max_memory=90 * 10**6)
    assert isinstance(tight.plan((250, 150), tight.memory.budget()), Tiles)
    made = tight(image)
    assert (made == load_engine(weights, tile=100)(image)).all()
    assert np.abs(made - expected).max() <= rounding(whole, image)


@pytest.mark.integration
@pytest.mark.parametrize("side", [490, 700])  # below and above what keeps its memory
@pytest.mark.parametrize("engine", ["onnxruntime", "openvino", "torch"])
def test_cancelling_a_whole_image_leaves_other_runs_running(engine: str, side: int, weights) -> None:
    if engine == "openvino":
        pytest.importorskip("openvino", reason="the extra openvino is not installed")
    upscaler, image, small = load_engine(weights, engine=engine, threads=1), an_image(side, side), an_image(30, 40)
    expected = upscaler(small)
    assert isinstance(upscaler.plan((side, side), 10**12), Whole)
    with ThreadPoolExecutor(2) as pool:
        cancelled = pool.submit(list, upscaler.run(image, upscaler.plan((side, side), 10**12), after(2)))
        other = pool.submit(upscaler, small)
        with pytest.raises(Cancelled, match="stopped"):
            cancelled.result()
        assert (other.result() == expected).all()
    assert (upscaler(small) == expected).all()


@pytest.mark.integration
def test_waiting_openvino_runs_can_be_cancelled(weights) -> None:
    pytest.importorskip("openvino", reason="the extra openvino is not installed")
    upscaler, image, cancel = load_engine(weights, engine="openvino", threads=1), an_image(700, 700), threading.Event()

    def run() -> np.ndarray:
        return enlarge(upscaler, image, control=Control(cancelled=cancel.is_set))

    with ThreadPoolExecutor(3) as pool:
        runs = [pool.submit(run) for _ in range(3)]
        with pytest.raises(Cancelled):
            enlarge(upscaler, image, control=after(3))
        cancel.set()
        for one in runs:
            with pytest.raises(Cancelled, match="stopped"):
                one.result()
    assert upscaler(an_image(5, 5)).shape == (20, 20, 3)


@pytest.mark.parametrize("how", [{}, {"gates": "sampled"}])
def test_a_cancelled_run_ends_within_a_tile(how: dict, weights) -> None:
    upscaler, told = load_engine(weights, threads=1, tile=64, **how), list[float]()
    control = Control(progress=told.append, cancelled=after(20).cancelled)
    with pytest.raises(Cancelled, match="stopped"):
        enlarge(upscaler, an_image(200, 200), control=control)
    assert len(told) <= 20
    assert upscaler(an_image(5, 5)).shape == (20, 20, 3)


def test_sampling_stops_when_cancelled(weights) -> None:
    steps = Steps(fold(weights), Mock(side_effect=AssertionError("a step was made")))
    with pytest.raises(Cancelled, match="stopped"):
        sampled_gates(steps, rows_of(an_image(300, 300)), size=(300, 300), control=after(0))


def test_feature_file_is_unnamed(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    features = FeaturesInFile(4, 10, 7)
    values = np.arange(2 * 3 * 7, dtype=np.float32).reshape(2, 3, 7)
    features.write(1, 5, values)
    assert (features.read(1, 3, 5, 8) == values).all()
    assert (features.read(2, 3, 6, 7) == values[1:2, 1:2]).all()
    assert list(tmp_path.iterdir()) == []
    features.close()


def test_missing_folder_is_named_in_the_error(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path / "gone"))
    with pytest.raises(WriteError, match=r"in .*gone: No such file or directory: set TMPDIR"):
        FeaturesInFile(4, 10, 7)


def test_full_disk_raises_an_error(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource", reason="no limits on file sizes here")
    import signal

    features = FeaturesInFile(4, 1000, 1000, folder=tmp_path)
    old, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, old[1]))
        with pytest.raises(WriteError, match=r"0\.0 GB .* set TMPDIR"):
            features.write(0, 0, np.zeros((1, 100, 1000), np.float32))
        features.close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
        signal.signal(signal.SIGXFSZ, handler)


PEAK = """
import numpy as np
from pathlib import Path
from a2f.runtime import load_engine
from a2f.weights import find_shipped, read_weights
upscaler = load_engine(
    read_weights(find_shipped("sd", scale=2).path), threads=2, max_memory=240 * 10**6
)
plan = upscaler.plan((1000, 1000), upscaler.memory.budget())
rows = sum(len(band) for band in upscaler.run(np.zeros((1000, 1000, 3), np.uint8), plan))
peak = next(l for l in Path("/proc/self/status").read_text().splitlines() if l.startswith("VmHWM:"))
print(rows, int(peak.split()[1]) * 1024)
"""


@pytest.mark.integration
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the system does not tell the peak memory")
def test_memory_is_bounded() -> None:
    """An image of 1000 x 1000 has 320 MB of features; as a whole it would need 1.5 GB."""
    done = subprocess.run([sys.executable, "-c", PEAK], capture_output=True, text=True, check=True)
    rows, peak = (int(word) for word in done.stdout.split())
    assert rows == 2000
    assert peak < 280 * 10**6
