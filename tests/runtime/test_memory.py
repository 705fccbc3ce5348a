import numpy as np
import pytest

from a2f.errors import EngineError
from a2f.runtime import load_engine, memory
from a2f.variants import config_of
from a2f.weights import find_shipped, read_weights


def test_estimate_grows_with_pixels_and_network() -> None:
    small, large = config_of("sd", scale=2), config_of("l", scale=4)
    assert memory.needed_bytes(small, height=100, width=200) == pytest.approx(
        2 * memory.needed_bytes(small, height=100, width=100), rel=1e-6
    )
    assert memory.needed_bytes(large, height=100, width=100) > memory.needed_bytes(small, height=100, width=100)
    # what `/usr/bin/time -v a2f upscale` told for 1600 x 1250 with SD: 5.40e9 and 3.36e9 bytes
    assert memory.needed_bytes(config_of("sd", scale=4), height=1250, width=1600) == pytest.approx(5.40e9, rel=0.1)
    assert memory.needed_bytes(config_of("sd", scale=2), height=1250, width=1600) == pytest.approx(3.36e9, rel=0.1)


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_too_large_is_refused_before_it_runs(engine: str, monkeypatch) -> None:
    if engine == "openvino":
        pytest.importorskip("openvino", reason="the extra openvino is not installed")
    upscaler = load_engine(read_weights(find_shipped("sd", scale=2).path), engine=engine)
    image = np.zeros((40, 60, 3), np.float32)
    monkeypatch.setattr(memory, "available_bytes", lambda: 1_000_000)
    with pytest.raises(EngineError, match=r"60 x 40 at x2 needs about 0\.0 GB .* an image of at most 30 x 20"):
        upscaler(image)
    monkeypatch.setattr(memory, "available_bytes", lambda: None)
    assert upscaler(image).shape == (80, 120, 3)


def test_this_machine_has_memory() -> None:
    available = memory.available_bytes()
    assert available is None or available > 100e6
