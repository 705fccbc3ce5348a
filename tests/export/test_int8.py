from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from a2f.errors import EngineError, WeightsError
from a2f.export.builder import ALL_SIDES, GraphBuilder
from a2f.export.fold import Conv, FoldedBlock, fold
from a2f.export.int8 import MAX_KERNEL, METADATA_KEY, MOVES_KEY, Range, add_res, in_steps, ranges_metadata, ranges_of
from a2f.export.ranges import calibrate
from a2f.export.session import make_session
from a2f.imageio import read_image
from a2f.runtime import load_engine
from a2f.runtime.opening import settle_fast
from a2f.runtime.openvino import has_amx, openvino_core
from a2f.runtime.options import EngineOptions
from a2f.weights import Weights, find_shipped, read_weights, shipped_models


@pytest.fixture(scope="module")
def photo(pytestconfig) -> np.ndarray:
    path = pytestconfig.rootpath / "examples" / "photos" / "astronaut.png"
    return read_image(path).pixels[:96, :128].astype(np.float32) / np.float32(255)


@pytest.fixture(scope="module")
def plain() -> Weights:
    """Weights without ranges."""
    weights = read_weights(find_shipped("sd", scale=4).path)
    return replace(weights, metadata={k: v for k, v in weights.metadata.items() if k not in (METADATA_KEY, MOVES_KEY)})


def with_ranges(weights: Weights, ranges: tuple[Range, ...]) -> Weights:
    return replace(weights, metadata={**weights.metadata, **ranges_metadata(ranges)})


@pytest.mark.integration
def test_ranges_match_the_inputs_of_the_blocks(plain, photo) -> None:
    ranges = calibrate(plain, [photo, photo[:50]])
    assert len(ranges) == 8
    assert all(len(r.x) == 16 and len(r.hidden) == 128 for r in ranges)
    assert all(0.1 < min(r.x) <= max(r.x) < 100 and 0.1 < min(r.hidden) <= max(r.hidden) < 100 for r in ranges)
    part = calibrate(plain, [photo[:50]])
    assert all(max(a.x) >= max(b.x) and max(a.hidden) >= max(b.hidden) for a, b in zip(ranges, part, strict=True))
    assert ranges_of(with_ranges(plain, ranges)) == ranges


@pytest.mark.integration
def test_calibration_is_repeatable_and_small(plain, photo) -> None:
    ranges = calibrate(plain, [photo])
    assert calibrate(plain, [photo]) == ranges
    size = sum(len(text) for text in ranges_metadata(ranges).values())
    assert size < 0.1 * sum(t.nbytes for t in plain.tensors.values())


def res_in_floating_point(conv1: Conv, conv2: Conv, x: np.ndarray) -> np.ndarray:
    graph = GraphBuilder()
    block = FoldedBlock(conv1=conv1, conv2=conv2, proj=(), gate1=None, gate2=None, lambda_att=0, lambda_x=1)
    res = add_res(graph, block, "x", reach=None, sides=ALL_SIDES)
    blob = graph.graph(inputs={"x": x.shape}, outputs={res: None}).to_onnx("res")
    return make_session(blob, threads=1).run(None, {"x": x})[0]


def a_block(rng: np.random.Generator) -> FoldedBlock:
    """Channels of very different sizes before and after the ReLU."""
    before, after = (np.exp(rng.normal(size=n)).astype(np.float32) for n in (16, 128))
    w1 = rng.normal(size=(128, 16, 3, 3)).astype(np.float32) / before[:, None, None] * after[:, None, None, None]
    w2 = rng.normal(size=(16, 128, 3, 3)).astype(np.float32) / after[:, None, None]
    bias1, bias2 = (rng.normal(size=n).astype(np.float32) for n in (128, 16))
    return FoldedBlock(
        conv1=Conv(weight=w1, bias=bias1 * after),
        conv2=Conv(weight=w2, bias=bias2),
        proj=(),
        gate1=None,
        gate2=None,
        lambda_att=0,
        lambda_x=1,
    )


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=10, deadline=None)
def test_channel_scales_do_not_change_the_float_network(seed: int) -> None:
    rng = np.random.default_rng(seed)
    block = a_block(rng)
    reach = Range(x=tuple(rng.uniform(0.1, 10, size=16)), hidden=tuple(rng.uniform(0.1, 10, size=128)))
    x = rng.normal(size=(1, 16, 12, 12)).astype(np.float32)
    steps = (np.array(reach.x) / 127).astype(np.float32)[:, None, None]
    exact = res_in_floating_point(block.conv1, block.conv2, x)
    scaled = res_in_floating_point(*in_steps(block, reach), x / steps)
    np.testing.assert_allclose(scaled, exact, atol=1e-5 * np.abs(exact).max())


@pytest.mark.integration
def test_channel_scales_and_rounding_reduce_the_loss(plain, photo) -> None:
    """Compare with earlier versions, which used one range for all channels and rounded kernels without photographs."""
    pytest.importorskip("openvino", reason="the extra openvino is not installed")
    calibrated = calibrate(plain, [photo])
    one = tuple(Range(x=(max(r.x),), hidden=(max(r.hidden),)) for r in calibrated)
    exact = load_engine(plain)(photo)

    def noise(ranges: tuple[Range, ...]) -> float:
        image = load_engine(with_ranges(plain, ranges), engine="openvino", dtype="int8")(photo)
        return float(np.square(image - exact).mean())

    before, channels = noise(one), noise(tuple(replace(r, moves=()) for r in calibrated))
    assert noise(calibrated) < 0.8 * channels
    assert noise(calibrated) < before


@pytest.mark.integration
def test_int8_results_are_close_but_not_equal(plain, photo) -> None:
    pytest.importorskip("openvino", reason="the extra openvino is not installed")
    weights = with_ranges(plain, calibrate(plain, [photo]))
    exact = load_engine(plain)(photo)
    for tile in (0, 40):
        quick = load_engine(weights, engine="openvino", dtype="int8", tile=tile)
        assert "int8" in quick.description
        difference = np.abs(quick(photo) - exact)
        assert 1e-4 < difference.mean() < 0.003
        assert difference.max() < 0.1


@pytest.mark.parametrize("sign", [1, -1])
def test_integer_sums_do_not_saturate(sign: int) -> None:
    """The largest kernels and values, on CPUs with and without an 8-bit dot product."""
    two_products = 2 * 255 * MAX_KERNEL  # added in 16 bits on CPUs without it
    assert two_products <= np.iinfo(np.int16).max
    pytest.importorskip("openvino", reason="the extra openvino is not installed")
    channels, hidden = 32, 128
    conv1 = Conv(weight=np.full((hidden, channels, 3, 3), sign, np.float32))
    conv2 = Conv(weight=np.full((channels, hidden, 3, 3), sign, np.float32))
    block = FoldedBlock(conv1=conv1, conv2=conv2, proj=(), gate1=None, gate2=None, lambda_att=0, lambda_x=1)
    graph = GraphBuilder()
    res = add_res(graph, block, "x", reach=Range(x=(1,), hidden=(9 * channels,)), sides=ALL_SIDES)
    blob = graph.graph(inputs={"x": (1, channels, 9, 9)}, outputs={res: None}).to_onnx("res")
    core = openvino_core()
    model = core.compile_model(core.read_model(blob), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    x = np.full((1, channels, 9, 9), sign, np.float32)
    middle = model(x)[0][0, :, 4, 4]
    np.testing.assert_allclose(middle, sign * 9 * hidden * 9 * channels, rtol=1e-5)


@pytest.mark.integration
def test_wrong_ranges_change_the_result(plain, photo) -> None:
    """Far too small ranges destroy the image, which shows that the integers are used."""
    pytest.importorskip("openvino", reason="the extra openvino is not installed")
    weights = with_ranges(plain, (Range(x=(0.01,), hidden=(0.01,)),) * 8)
    broken = load_engine(weights, engine="openvino", dtype="int8")(photo)
    assert np.abs(broken - load_engine(plain)(photo)).mean() > 0.005


def test_without_ranges_int8_is_refused(plain) -> None:
    pytest.importorskip("openvino", reason="the extra openvino is not installed")
    with pytest.raises(EngineError, match="a2f calibrate"):
        load_engine(plain, engine="openvino", dtype="int8")


@pytest.mark.parametrize(
    ("cpu", "calibrated", "dtype", "note"),
    [
        ({"int8", "bfloat16", "amx"}, True, "bfloat16", ""),
        ({"int8", "bfloat16", "amx"}, False, "bfloat16", ""),
        ({"int8", "bfloat16"}, True, "int8", ""),
        ({"int8", "bfloat16"}, False, "bfloat16", "has no ranges for int8"),
        ({"int8"}, True, "int8", ""),
        ({"int8"}, False, "float32", "the weights no ranges for int8"),
        ({"bfloat16"}, True, "bfloat16", ""),
        (set(), True, "float32", "neither int8 nor bfloat16"),
    ],
)
def test_fast_is_the_fastest_mode_of_the_cpu(cpu, calibrated, dtype, note, plain, monkeypatch) -> None:
    monkeypatch.setattr("a2f.runtime.opening.computes", lambda asked: asked in cpu)
    monkeypatch.setattr("a2f.runtime.opening.has_amx", lambda: "amx" in cpu)
    weights = with_ranges(plain, (Range(x=(1.5,), hidden=(2.5,)),) * 8) if calibrated else plain
    options, told = settle_fast(EngineOptions(dtype="fast"), weights)
    assert options.dtype == dtype
    assert options.engine == ("onnxruntime" if dtype == "float32" else "openvino")
    assert note in told
    assert bool(note) == bool(told)


@pytest.mark.parametrize(("flags", "expected"), [("flags : avx2 amx_bf16 amx_tile", True), ("flags : avx2", False)])
def test_amx_is_read_from_the_flags_of_the_cpu(flags: str, expected: bool, monkeypatch) -> None:
    monkeypatch.setattr(Path, "read_text", lambda path, encoding: flags)
    assert has_amx.__wrapped__() is expected


def test_without_flags_there_is_no_amx(monkeypatch) -> None:
    def missing(path: Path, encoding: str) -> str:
        raise FileNotFoundError

    monkeypatch.setattr(Path, "read_text", missing)
    assert has_amx.__wrapped__() is False


def test_fast_mode_without_openvino_warns_and_computes_exactly(plain, photo, monkeypatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "openvino", None)
    with pytest.warns(UserWarning, match="a2f\\[openvino\\]"):
        upscaler = load_engine(plain, dtype="fast")
    assert "onnxruntime" in upscaler.description
    assert (upscaler(photo) == load_engine(plain)(photo)).all()


@pytest.mark.parametrize(
    "text",
    ["[[1, 2]]", "nonsense", "[1, 2, 3]", "[]", f"[[[1, 1], 2]{', [1, 1]' * 7}]", f"[[[], 2]{', [1, 1]' * 7}]"]
    + [f"[[1, {odd}]{', [1, 1]' * 7}]" for odd in ("-1", "0", "NaN", "Infinity", "1e300", "1e40", "1e-43", "1e-46")],
)
def test_damaged_ranges(plain, text: str) -> None:
    with pytest.raises(WeightsError, match="int8 ranges"):
        ranges_of(replace(plain, metadata={METADATA_KEY: text}))


def test_ranges_of_earlier_versions(plain) -> None:
    text = "[" + ", ".join(["[1.5, 2.5]"] * 8) + "]"
    found = ranges_of(replace(plain, metadata={METADATA_KEY: text}))
    assert found == (Range(x=(1.5,), hidden=(2.5,)),) * 8


@pytest.mark.parametrize("text", ["nonsense", "bm9uc2Vuc2U=", "eNpjAAAAAQAB", "É"])
def test_damaged_kernels(plain, text: str) -> None:
    ranges = ranges_metadata((Range(x=(1.5,), hidden=(2.5,)),) * 8)
    with pytest.raises(WeightsError, match="int8 kernels"):
        ranges_of(replace(plain, metadata={**ranges, MOVES_KEY: text}))


def test_kernels_of_other_weights(plain) -> None:
    """Such kernels are larger than the integers that avoid overflow."""
    sizes = [conv.weight.size for b in fold(plain).blocks for conv in (b.conv1, b.conv2)]
    moves = [b"\x40" * size for size in sizes]
    ranges = tuple(Range(x=(1.5,), hidden=(2.5,), moves=(a, b)) for a, b in zip(moves[::2], moves[1::2], strict=True))
    with pytest.raises(WeightsError, match="do not match the weights"):
        ranges_of(with_ranges(plain, ranges))


def test_shipped_models_are_ready_for_the_fast_mode() -> None:
    for model in shipped_models():
        assert ranges_of(read_weights(model.path)) is not None, model.file
        assert all(loss <= 0.01 for loss in model.int8_loss_db.values()), model.file
        assert set(model.int8_loss_db) == set(model.psnr_y), model.file
