"""The ONNX graph is correct for every network and size, and the file describes itself."""

import json
import subprocess
import sys

import numpy as np
import onnx
import pytest

from a2f.export.check import MEAN, SIZES, check_onnx, reference, rounding
from a2f.export.fold import fold
from a2f.export.graph import export_onnx
from a2f.export.int8 import Range
from a2f.export.session import make_session
from a2f.export.steps import step_graph
from a2f.variants import ABLATIONS, SCALES, VARIANTS, A2FConfig, config_of
from a2f.weights import Weights, expected_shapes, find_shipped, read_weights

EVERY = [config_of(v, scale=s) for v in VARIANTS for s in SCALES]


def random_weights(config: A2FConfig) -> Weights:
    """Random weights, small enough to keep the features bounded, with λ different from 1."""
    rng = np.random.default_rng(3)
    tensors = {}
    for name, shape in expected_shapes(config).items():
        if "lambda" in name:
            tensors[name] = rng.uniform(0.3, 0.9, shape).astype(np.float32)
        else:
            fan_in = int(np.prod(shape[1:])) if len(shape) > 1 else 100
            tensors[name] = rng.normal(0, 0.7 / np.sqrt(fan_in), shape).astype(np.float32)
    return Weights(config=config, tensors=tensors, metadata={"licence": "Apache-2.0"}, sha256="ab" * 32)


@pytest.mark.parametrize("config", [*EVERY, *ABLATIONS.values()], ids=lambda c: f"{c.variant}_x{c.scale}")
def test_equal_to_torch(config: A2FConfig) -> None:
    import torch

    from a2f.model.a2f import from_weights

    weights = random_weights(config)
    model = from_weights(weights).eval()

    def run(lr: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return model(torch.from_numpy(lr)).numpy()

    rng = np.random.default_rng(0)
    session = make_session(export_onnx(weights), threads=2)
    for shape in [(1, 3, 1, 1), (1, 3, 1, 9), (2, 3, 7, 11)]:
        lr = rng.random(shape, dtype=np.float32)
        (sr,) = session.run(None, {"lr": lr})
        assert np.abs(sr - run(lr)).max() <= rounding(run, lr)


def test_reference_is_equal_to_torch() -> None:
    import torch

    from a2f.model.a2f import from_weights

    weights = random_weights(config_of("s", scale=3))
    lr = np.random.default_rng(0).random((3, 9, 7), dtype=np.float32)
    model = from_weights(weights).double()
    model.mean = torch.from_numpy(MEAN).view(1, 3, 1, 1)  # with all digits; the fp32 buffer has fewer
    with torch.inference_mode():
        expected = model(torch.from_numpy(lr[None]).double())[0].numpy()
    np.testing.assert_allclose(reference(weights, lr), expected, atol=1e-12)


def test_check_finds_a_wrong_graph() -> None:
    weights = random_weights(config_of("s", scale=2))
    assert all(d.largest <= d.allowed for d in check_onnx(export_onnx(weights), weights))
    bent = Weights(
        config=weights.config,
        tensors={**weights.tensors, "blocks.2.lambda_att": weights.tensors["blocks.2.lambda_att"] + np.float32(0.01)},
        metadata={},
    )
    differences = check_onnx(export_onnx(bent), weights)
    assert [(d.height, d.width) for d in differences] == list(SIZES)
    assert all(d.largest > 10 * d.allowed for d in differences)


def test_file_is_valid_and_describes_itself() -> None:
    weights = read_weights(find_shipped("sd", scale=4).path)
    model = onnx.load_from_string(export_onnx(weights))
    onnx.checker.check_model(model, full_check=True)
    said = {p.key: p.value for p in model.metadata_props}
    assert json.loads(said["config"])["variant"] == "sd"
    assert said["licence"] == "Apache-2.0"
    assert said["weights_sha256"] == weights.sha256
    dims = model.graph.input[0].type.tensor_type.shape.dim
    assert [d.dim_param or d.dim_value for d in dims] == ["batch", 3, "height", "width"]


def test_files_equal_those_of_the_onnx_package() -> None:
    weights = random_weights(config_of("s", scale=2))
    net, ranges = fold(weights), (Range(x=(2.0,), hidden=(3.0,)),) * weights.config.blocks
    border = (True, False, True, False)
    for blob in [
        export_onnx(weights),
        export_onnx(weights, ranges=ranges),
        export_onnx(weights, gates_given=True),
        *(step_graph(net, kind, sides=border).to_onnx("step") for kind in ("head", "exchange", "tail")),
        *(
            step_graph(net, "block", number=i, sides=border).to_onnx("step")
            for i in range(1, weights.config.blocks + 1)
        ),
    ]:
        model = onnx.load_from_string(blob)
        onnx.checker.check_model(model, full_check=True)
        assert model.SerializeToString(deterministic=True) == blob


def test_export_is_deterministic() -> None:
    weights = random_weights(config_of("sd", scale=2))
    assert export_onnx(weights) == export_onnx(weights)


@pytest.mark.integration
def test_enlarging_loads_neither_torch_nor_onnx() -> None:
    code = (
        "import sys, numpy as np, a2f\n"
        "a2f.load('sd', scale=2)(np.zeros((4, 4, 3), np.float32))\n"
        "assert not {'torch', 'onnx'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
