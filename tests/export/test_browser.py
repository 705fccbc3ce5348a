import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from safetensors.numpy import load

from a2f.errors import UsageError
from a2f.export.browser import browser_model
from a2f.export.fold import fold
from a2f.export.graph import export_onnx
from a2f.export.session import make_session
from a2f.runtime.tiled import gate_of
from a2f.variants import ABLATIONS
from a2f.weights import Weights, expected_shapes, find_weights

ROOT = Path(__file__).resolve().parents[2]

Array = NDArray[np.float32]


def photograph(height: int, width: int) -> Array:
    """A smooth image, [1, 3, H, W] in [0, 1]. With noise, the float32 gates of the whole graph would round visibly."""
    with Image.open(ROOT / "examples" / "photos" / "astronaut.png") as image:
        pixels = np.asarray(image.convert("RGB"), np.float32)[100 : 100 + height, 90 : 90 + width]
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))[None] / np.float32(255)


def run_in_tiles(blob: bytes, weights: Weights, lr: Array, tile: int) -> Array:
    """The algorithm of web/packages/a2f-web in numpy: one graph per step for every tile, with halo and mask."""
    tensors, net = load(blob), fold(weights)
    sessions = {name: make_session(t.tobytes(), threads=1) for name, t in tensors.items() if t.dtype == np.uint8}
    c, levels, middle = net.config.channels, len(net.blocks), len(net.blocks) // 2
    height, width = lr.shape[2:]

    def step(name: str, out: str, halos: dict[str, tuple[Array, int, Array | float]], **given: Array) -> list[Array]:
        made: dict[str, Array] = {}
        names = [o.name for o in sessions[name].get_outputs()]
        for top in range(0, height, tile):
            for left in range(0, width, tile):
                bottom, right = min(height, top + tile), min(width, left + tile)
                inputs = dict(given)
                for key, (x, halo, outside) in halos.items():
                    padded = np.broadcast_to(np.asarray(outside, np.float32), (1, x.shape[1], 1, 1))
                    whole = np.tile(padded, (1, 1, height + 2 * halo, width + 2 * halo))
                    whole[:, :, halo : halo + height, halo : halo + width] = x
                    inputs[key] = np.ascontiguousarray(whole[:, :, top : bottom + 2 * halo, left : right + 2 * halo])
                for key, value in zip(names, sessions[name].run(names, inputs), strict=True):
                    s = weights.config.scale if key == "sr" else 1
                    whole = made.setdefault(
                        key, np.full((1, value.shape[1], s * height, s * width), np.nan, np.float32)
                    )
                    whole[:, :, s * top : s * bottom, s * left : s * right] = value
        return [made[key] for key in out.split()]

    mean, ones = tensors["mean"].reshape(1, 3, 1, 1), np.ones((1, 1, height, width), np.float32)
    xs = step("head", "x", {"lr": (lr, 1, mean)})
    means = [xs[0].mean((0, 2, 3), dtype=np.float64)]
    sums: Array | None = None
    for i in range(1, levels + 1):
        halos: dict[str, tuple[Array, int, Array | float]] = {"before": (xs[-1], 2, 0.0), "mask": (ones, 1, 0.0)}
        if i == middle + 1:
            (sums,) = step("exchange", "sums", {"features": (np.concatenate(xs, axis=1), 0, 0.0)})
        if sums is not None:
            halos["sums"] = (sums, 0, 0.0)
        elif i > 1:
            halos["earlier"] = (np.concatenate(xs[:-1], axis=1), 0, 0.0)
        late = sums is not None and i < levels
        x, *later = step(f"block_{i}", "x later" if late else "x", halos, gate=gate_of(net.blocks[i - 1], means))
        xs.append(x)
        sums = later[0] if later else sums
        means.append(x.mean((0, 2, 3), dtype=np.float64))
    assert x.shape[1] == c
    return step("tail", "sr", {"before": (xs[-1], 1, 0.0), "lr": (lr, 1, mean)})[0]


@pytest.mark.parametrize("size", [(1, 1), (5, 13), (24, 31)])
def test_graphs_of_all_steps_equal_the_whole_network(size: tuple[int, int]) -> None:
    weights = find_weights("sd", scale=3)
    lr = photograph(*size)
    (whole,) = make_session(export_onnx(weights), threads=1).run(None, {"lr": lr})
    tiled = run_in_tiles(browser_model(weights), weights, lr, tile=7)
    assert np.abs(tiled - whole).max() < 5e-6


def test_file_has_a_description_and_the_gates_of_every_block() -> None:
    weights = find_weights("sd-robust", scale=4)
    blob = browser_model(weights)
    header = json.loads(blob[8 : 8 + int.from_bytes(blob[:8], "little")])
    told = json.loads(header["__metadata__"]["a2f"])
    assert (told["name"], told["middle"], told["config"]["scale"]) == ("sd-robust", 4, 4)
    tensors, block = load(blob), fold(weights).blocks[2]
    assert block.gate2 is not None
    assert np.array_equal(tensors["gate_3.conv2.weight"], block.gate2.weight[:, :, 0, 0])
    assert np.array_equal(tensors["gate_3.proj"][:, 16:32], block.proj[1].weight[:, :, 0, 0])
    assert browser_model(weights) == blob
    assert len(blob) < 1.4e6


def test_a_network_without_attention_is_refused() -> None:
    config = next(c for c in ABLATIONS.values() if not c.attention)
    tensors = {name: np.zeros(shape, np.float32) for name, shape in expected_shapes(config).items()}
    with pytest.raises(UsageError, match="only whole A²F networks"):
        browser_model(Weights(config=config, tensors=tensors, metadata={}))
