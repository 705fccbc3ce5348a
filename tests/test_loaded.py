"""The upscaler of `load`: its inputs, pickling and forks."""

import array
import io
import multiprocessing
import os
import pickle
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import a2f
from a2f.errors import (
    Cancelled,
    InputError,
    MemoryLimitError,
    OutputExistsError,
    PixelLimitError,
    UsageError,
    WeightsError,
)
from a2f.weights import find_shipped

PIXELS = np.random.default_rng(3).integers(0, 256, (9, 13, 3)).astype(np.uint8)


@pytest.fixture(scope="module")
def upscaler() -> a2f.LoadedUpscaler:
    return a2f.load("sd", scale=2, threads=1)


@pytest.fixture(params=["load", "upscale"])
def enlarge(request: pytest.FixtureRequest, upscaler: a2f.LoadedUpscaler):
    """Both functions that enlarge an image."""
    if request.param == "load":
        return upscaler
    return lambda image, **how: a2f.upscale(image, **({} if "size" in how else {"scale": 2}), **how)


def png() -> bytes:
    file = io.BytesIO()
    Image.fromarray(PIXELS).save(file, "PNG")
    return file.getvalue()


def decoded(blob: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(blob)))


@pytest.fixture(scope="module")
def expected(upscaler: a2f.LoadedUpscaler) -> np.ndarray:
    values = upscaler.engine(PIXELS.astype(np.float32) / np.float32(255))
    return np.floor(values.clip(0, 1) * 255 + 0.5).astype(np.uint8)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float16, np.float32, np.float64, ">u2", ">f4"])
@pytest.mark.parametrize("shape", [(6, 8), (6, 8, 1), (6, 8, 3), (6, 8, 4)])
def test_array_dtypes_and_channels(enlarge, dtype: Any, shape: tuple[int, ...]) -> None:
    rng, dtype = np.random.default_rng(0), np.dtype(dtype)
    given = rng.random(shape).astype(dtype) if dtype.kind == "f" else rng.integers(0, 200, shape).astype(dtype)
    large = enlarge(given)
    assert large.dtype == dtype
    assert large.shape == (12, 16, *shape[2:])
    assert type(large) is np.ndarray


def test_float_widths_give_equal_results(enlarge) -> None:
    values = PIXELS / 255
    exact = enlarge(values.astype(np.float32))
    np.testing.assert_array_equal(enlarge(values), exact)
    np.testing.assert_allclose(enlarge(values.astype(np.float16)), exact, atol=0.01)


def test_small_overshoot_is_clipped(enlarge) -> None:
    values = (PIXELS / np.float32(255)) * np.float32(1.2) - np.float32(0.1)
    np.testing.assert_array_equal(enlarge(values), enlarge(values.clip(0, 1)))
    assert enlarge(values).min() >= 0
    assert enlarge(values).max() <= 1
    with pytest.raises(InputError, match=r"must be in \[0, 1\], not in \[0, 255\]"):
        enlarge(np.linspace(0, 255, 27, dtype=np.float32).reshape(3, 3, 3))
    with pytest.raises(InputError, match="NaN or infinity"):
        enlarge(np.full((3, 3, 3), 1e300))


class ImageLike(np.ndarray):
    """A subclass of ndarray, as returned by some libraries."""


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (np.ma.masked_array(PIXELS, PIXELS > 99), r"MaskedArray is not accepted: pass array.filled\(value\)"),
        (np.ma.masked_array(PIXELS), "MaskedArray is not accepted"),
        (np.uint8(3), "not uint8"),
        (3, "not int"),
        ([1], "not list"),
        (np.zeros((4, 4, 3), np.int32), "not int32"),
        (np.zeros((4, 4, 3), bool), "not bool"),
    ],
)
def test_invalid_image_arguments(enlarge, given: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        enlarge(given)


@pytest.mark.filterwarnings("ignore:the matrix subclass:PendingDeprecationWarning")
def test_numpy_matrix_is_refused(enlarge) -> None:
    with pytest.raises(InputError, match=r"matrix is not accepted: pass numpy.asarray\(matrix\)"):
        enlarge(np.matrix(PIXELS[..., 0]))


def test_other_ndarray_subclasses_are_accepted(enlarge, expected: np.ndarray) -> None:
    large = enlarge(PIXELS.view(ImageLike))
    assert type(large) is np.ndarray
    np.testing.assert_array_equal(large, expected)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview, io.BytesIO])
def test_bytes_like_types_are_preserved(enlarge, expected: np.ndarray, kind: type) -> None:
    large = enlarge(kind(png()))
    blob = large.getvalue() if kind is io.BytesIO else bytes(large)
    assert type(large) is kind
    np.testing.assert_array_equal(decoded(blob), expected)


def test_other_buffers_return_bytes(enlarge, expected: np.ndarray) -> None:
    large = enlarge(array.array("B", png()))
    assert type(large) is bytes
    np.testing.assert_array_equal(decoded(large), expected)


def test_stream_is_read_from_its_start_at_any_position(enlarge, expected: np.ndarray) -> None:
    file = io.BytesIO()
    Image.fromarray(PIXELS).save(file, "PNG")  # the position is now at the end
    end = file.tell()
    large = enlarge(file)
    assert (file.tell(), large.tell()) == (end, 0)
    np.testing.assert_array_equal(np.asarray(Image.open(large)), expected)


class Somewhere:
    """A path-like class."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __fspath__(self) -> str:
        return str(self.path)


@pytest.mark.parametrize(("kind", "back"), [(str, str), (Path, type(Path())), (Somewhere, type(Path()))])
def test_path_types(enlarge, expected: np.ndarray, tmp_path: Path, kind: type, back: type) -> None:
    (tmp_path / "a.png").write_bytes(png())
    written = enlarge(kind(tmp_path / "a.png"))
    assert type(written) is back
    assert Path(written) == tmp_path / "a_x2.png"
    np.testing.assert_array_equal(decoded((tmp_path / "a_x2.png").read_bytes()), expected)
    with pytest.raises(OutputExistsError):
        enlarge(kind(tmp_path / "a.png"))
    assert Path(enlarge(kind(tmp_path / "a.png"), output=Somewhere(tmp_path / "b.webp"))) == tmp_path / "b.webp"


def test_pil_images_and_options(enlarge, expected: np.ndarray) -> None:
    np.testing.assert_array_equal(np.asarray(enlarge(Image.fromarray(PIXELS))), expected)
    assert enlarge(PIXELS, size=(31, 20)).shape == (20, 31, 3)
    with pytest.raises(PixelLimitError):
        enlarge(png(), max_pixels=20)


def test_the_engine_inside_is_strict(upscaler: a2f.LoadedUpscaler) -> None:
    assert upscaler.engine(np.zeros((4, 5, 3), np.float32)).shape == (8, 10, 3)
    with pytest.raises(InputError, match="an upscaler takes"):
        upscaler.engine(PIXELS)
    assert isinstance(upscaler, a2f.Upscaler)
    assert (upscaler.scale, repr(upscaler)) == (2, f"<LoadedUpscaler: {upscaler.description}>")


def test_decoding_respects_the_memory_limit() -> None:
    tight = a2f.load(scale=2, threads=1, max_memory=10**6)
    file = io.BytesIO()
    Image.new("1", (3000, 2000)).save(file, "PNG")
    with pytest.raises(MemoryLimitError, match=r"3000 x 2000 pixels.* takes 21 MB; 1 MB are allowed"):
        tight(file.getvalue())
    with pytest.raises(MemoryLimitError, match="1 MB are allowed"):
        a2f.upscale(file.getvalue(), model=tight)


@pytest.mark.parametrize("how", [{}, {"tile": 16, "ensemble": 2}, {"engine": "openvino"}])
def test_pickling_keeps_model_and_options(how: dict[str, Any]) -> None:
    if "engine" in how:
        pytest.importorskip("openvino", reason="the extra openvino is not installed")
    given = a2f.load("sd", scale=2, threads=1, **how)
    blob = pickle.dumps(given)
    assert len(blob) < 1000  # no session and no weights
    again = pickle.loads(blob)
    assert (again.description, again.options) == (given.description, given.options)
    np.testing.assert_array_equal(again(PIXELS), given(PIXELS))
    assert pickle.loads(blob).engine is again.engine  # opened once for all copies


def test_a_pickled_weights_file_is_found_from_any_folder(tmp_path: Path, monkeypatch) -> None:
    shutil.copy(find_shipped("sd", scale=2).path, tmp_path / "mine.safetensors")
    monkeypatch.chdir(tmp_path)
    given = a2f.load("mine.safetensors")
    blob = pickle.dumps(given)
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path / "below")
    np.testing.assert_array_equal(pickle.loads(blob)(PIXELS), given(PIXELS))
    (tmp_path / "mine.safetensors").unlink()
    with pytest.raises(WeightsError, match=r"mine\.safetensors: No such file"):
        pickle.loads(blob)


@pytest.mark.integration
def test_spawned_processes_reopen_the_upscaler(upscaler: a2f.LoadedUpscaler, expected: np.ndarray) -> None:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        for large in pool.map(upscaler, [PIXELS, PIXELS]):
            np.testing.assert_array_equal(large, expected)
        np.testing.assert_array_equal(decoded(pool.apply(upscaler, (png(),))), expected)


FORK = """
import multiprocessing, os, pickle, sys
import numpy as np
import a2f
given = pickle.load(sys.stdin.buffer)
how = eval(sys.argv[1])
upscaler = a2f.load("sd", scale=2, **how)
large = upscaler(given), a2f.upscale(given, scale=2)
def child():
    try:
        again = upscaler(given), a2f.upscale(given, scale=2)
    except a2f.A2FError as error:
        print(type(error).__name__, error, flush=True)
    else:
        print(all(np.array_equal(a, b) for a, b in zip(again, large)), flush=True)
process = multiprocessing.get_context("fork").Process(target=child)
process.start()
process.join()
for use in (True, False):  # a process that ends as others do closes all that it has, and does not wait for its parent's
    pid = os.fork()
    if pid == 0:
        large = upscaler(given) if use and "engine" not in how and not isinstance(given, bytes) else None
        sys.exit()
    os.waitpid(pid, 0)
"""


def in_a_fork(given: Any, how: dict[str, Any]) -> str:
    """Use an upscaler of the parent in a forked process; its output."""
    command = [sys.executable, "-W", "ignore", "-c", FORK, repr(how)]
    done = subprocess.run(
        command, input=pickle.dumps(given), check=True, capture_output=True, timeout=200
    )  # it hangs otherwise
    return done.stdout.decode().strip()


@pytest.mark.integration
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.parametrize("how", [{}, {"threads": 2}, {"tile": 16}, {"tile": 90, "gates": "sampled"}, {"ensemble": 2}])
def test_upscaler_works_after_a_fork(how: dict[str, Any]) -> None:
    assert in_a_fork(np.tile(PIXELS, (20, 20, 1)), how) == "True"


@pytest.mark.integration
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_unusable_engine_after_a_fork_raises_an_error() -> None:
    assert in_a_fork(png(), {}).startswith("UsageError image files cannot be read or written in a process that was")
    pytest.importorskip("torch")
    said = in_a_fork(PIXELS, {"engine": "torch"})
    assert said.startswith("EngineError torch")
    assert "get_context('spawn')" in said


def test_upscaler_keeps_its_ensemble() -> None:
    with pytest.raises(UsageError, match="ensemble=2 with an upscaler has no effect"):
        a2f.upscale(PIXELS, model=a2f.load(scale=2), ensemble=2)


def test_cancelling_one_call_leaves_other_calls_running(upscaler: a2f.LoadedUpscaler, expected: np.ndarray) -> None:
    cancel, told = threading.Event(), list[float]()
    cancel.set()
    for given in (PIXELS, png(), Image.fromarray(PIXELS)):
        with pytest.raises(Cancelled):
            upscaler(given, cancel=cancel)
        with pytest.raises(Cancelled):
            a2f.upscale(given, model=upscaler, cancel=cancel)
    np.testing.assert_array_equal(upscaler(PIXELS, progress=told.append, cancel=threading.Event()), expected)
    assert told == [1]
