import shutil
import subprocess
import sys

import numpy as np
import pytest

from a2f.errors import EngineError, InputError, UsageError
from a2f.export.check import rounding
from a2f.runtime import ENGINES, default_threads, load_engine
from a2f.upscaler import Upscaler
from a2f.weights import find_shipped, read_weights


@pytest.fixture(scope="module")
def weights():
    return read_weights(find_shipped("sd", scale=2).path)


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return np.random.default_rng(0).random((21, 34, 3), dtype=np.float32)


@pytest.mark.integration
@pytest.mark.parametrize("engine", ENGINES)
def test_engines_agree(engine: str, weights, image) -> None:
    if engine == "openvino":
        pytest.importorskip("openvino", reason="the extra openvino is not installed")
    upscaler = load_engine(weights, engine=engine, threads=2)
    assert isinstance(upscaler, Upscaler)
    assert upscaler.scale == 2
    for word in (engine, "sd x2", "cpu", "float32", "2 threads"):
        assert word in upscaler.description
    sr = upscaler(image)
    assert sr.shape == (42, 68, 3)
    assert sr.dtype == np.float32
    assert "1 threads" not in load_engine(weights, engine=engine, threads=1).description
    other = load_engine(weights, threads=1)
    assert np.abs(sr - other(image)).max() <= rounding(other, image)


@pytest.mark.integration
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_torch_in_lower_precision_is_close(dtype: str, weights, image) -> None:
    upscaler = load_engine(weights, engine="torch", dtype=dtype)
    assert dtype in upscaler.description
    difference = np.abs(upscaler(image) - load_engine(weights)(image)).max()
    assert 0 < difference < (0.05 if dtype == "bfloat16" else 0.01)


LET_GO_ELSEWHERE = """
import os, signal, threading
import numpy as np
from a2f.runtime import load_engine
from a2f.weights import find_shipped, read_weights
held = [load_engine(read_weights(find_shipped("sd", scale=2).path), engine="openvino")]
held[0](np.zeros((8, 8, 3), dtype=np.float32))
thread = threading.Thread(target=held.clear)
thread.start()
thread.join()
try:
    os.kill(os.getpid(), signal.SIGINT)
    signal.pause()
except KeyboardInterrupt:
    print("heard")
"""


@pytest.mark.integration
@pytest.mark.skipif(sys.platform == "win32", reason="there are no such signals")
def test_interrupt_works_after_openvino_is_closed_in_another_thread() -> None:
    pytest.importorskip("openvino", reason="the extra openvino is not installed")
    done = subprocess.run([sys.executable, "-c", LET_GO_ELSEWHERE], capture_output=True, text=True, timeout=100)
    assert (done.returncode, done.stdout) == (0, "heard\n"), done.stderr


COMPILED = """
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
import numpy as np
import torch
from a2f.export.check import rounding
from a2f.model.a2f import A2F, to_weights
from a2f.runtime import load_engine
from a2f.variants import config_of
torch.manual_seed(0)
weights = to_weights(A2F(replace(config_of("sd", scale=2), blocks=2)))  # compiling takes its time for each block
image = np.random.default_rng(0).random((21, 34, 3), dtype=np.float32)
compiled, plain = (load_engine(weights, engine="torch", threads=2, compile=c) for c in (True, False))
assert compiled.description.endswith("compiled")
images = [image, image[:16], image[:, :19], image[3:]]
with ThreadPoolExecutor(4) as pool:
    for sr, given in zip(pool.map(compiled, images), images, strict=True):
        np.testing.assert_allclose(sr, plain(given), rtol=0, atol=rounding(plain, given))
"""


@pytest.mark.integration
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
def test_compiled_network_gives_equal_results_for_all_sizes_and_threads() -> None:
    """This runs in its own process, because torch.compile starts workers and loads libraries."""
    subprocess.run([sys.executable, "-c", COMPILED], check=True)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"engine": "tensorrt"}, UsageError, "onnxruntime, openvino, torch"),
        ({"dtype": "int8"}, EngineError, r"choose float32, or engine openvino"),
        ({"dtype": "float64"}, EngineError, "choose float32 with dtype$"),
        ({"threads": 0}, UsageError, "from 1 to 1024"),
        ({"threads": 5000}, UsageError, "from 1 to 1024"),
        ({"dtype": "float16"}, EngineError, "choose float32"),
        ({"engine": "torch", "dtype": "int8"}, EngineError, "float32 or bfloat16 or float16"),
        ({"compile": True}, EngineError, "engine='torch'"),
        ({"device": "tpu"}, EngineError, "choose cpu or cuda"),
        ({"engine": "torch", "device": "tpu"}, EngineError, "available: cpu"),
    ],
)
def test_unavailable_engines_and_devices_raise_errors(options: dict, error: type, message: str, weights) -> None:
    with pytest.raises(error, match=message):
        load_engine(weights, **options)


def test_no_silent_fallback_from_cuda(weights) -> None:
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("there is a CUDA provider here")
    with pytest.raises(EngineError, match="no CUDA provider"):
        load_engine(weights, device="cuda")


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (np.zeros((4, 4, 3)), "float32 RGB"),
        (np.zeros((4, 4), np.float32), "not float32"),
        (np.zeros((4, 4, 4), np.float32), "not float32"),
        (np.zeros((0, 4, 3), np.float32), "empty"),
        (np.full((2, 2, 3), np.nan, np.float32), "NaN"),
        ("photo.jpg", "not str"),
    ],
)
def test_bad_input(bad: object, message: str, weights) -> None:
    for engine in ("onnxruntime", "torch"):
        with pytest.raises(InputError, match=message):
            load_engine(weights, engine=engine)(bad)


def test_default_number_of_threads_is_positive() -> None:
    assert default_threads() >= 1
