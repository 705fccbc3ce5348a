"""Third-party networks from files."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper

from a2f.errors import InputError, UsageError, WeightsError
from a2f.export.check import rounding
from a2f.export.graph import export_onnx
from a2f.external import Convention, ExternalModel, is_external
from a2f.runtime import load_engine
from a2f.weights import find_shipped, read_weights

# TorchScript is deprecated, but its files will remain in use for years.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
IMAGE = np.random.default_rng(0).random((13, 18, 3), dtype=np.float32)


def opened(path: Path, scale: int = 2, **convention: Any) -> ExternalModel:
    return ExternalModel(path, scale=scale, convention=Convention(**convention), threads=1)


def resize(
    path: Path,
    *,
    shape: tuple[Any, ...] = ("n", 3, "h", "w"),
    kind: int = TensorProto.FLOAT,
    gain: float = 1,
    add: float = 0,
    inputs: int = 1,
) -> Path:
    """A network that doubles the pixels, multiplies them by a gain and adds a constant."""
    scales = [1, 2, 2, 1] if shape[3] == 3 else [1, 1, 2, 2]
    dtype = np.float16 if kind == TensorProto.FLOAT16 else np.float32
    made = [
        onnx.numpy_helper.from_array(np.array(scales, np.float32), "scales"),
        onnx.numpy_helper.from_array(np.array(gain, dtype), "gain"),
        onnx.numpy_helper.from_array(np.array(add, dtype), "add"),
    ]
    nodes = [
        helper.make_node("Resize", ["x", "", "scales"], ["r"], mode="nearest", nearest_mode="floor",
                         coordinate_transformation_mode="asymmetric"),
        helper.make_node("Mul", ["r", "gain"], ["m"]),
        helper.make_node("Add", ["m", "add"], ["y"]),
    ]  # fmt: skip
    given = [helper.make_tensor_value_info("x" if i == 0 else f"x{i}", kind, shape) for i in range(inputs)]
    graph = helper.make_graph(nodes, "g", given, [helper.make_tensor_value_info("y", kind, [None] * 4)], made)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path


def twice(image: np.ndarray) -> np.ndarray:
    return image.repeat(2, 0).repeat(2, 1)


def test_own_export_equals_the_engine(tmp_path: Path) -> None:
    weights = read_weights(find_shipped("sd", scale=3).path)
    (tmp_path / "own.onnx").write_bytes(export_onnx(weights))
    own = load_engine(weights)
    difference = opened(tmp_path / "own.onnx", 3)(IMAGE) - own(IMAGE)
    assert np.abs(difference).max() <= rounding(own, IMAGE)


@pytest.mark.parametrize("shape", [("n", 3, "h", "w"), ("n", "h", "w", 3), (1, 3, 40, 40), (1, 40, 40, 3)])
@pytest.mark.parametrize("kind", [TensorProto.FLOAT, TensorProto.FLOAT16])
def test_layouts_sizes_and_types(tmp_path: Path, shape: tuple[Any, ...], kind: int) -> None:
    model = opened(resize(tmp_path / "a.onnx", shape=shape, kind=kind))
    np.testing.assert_allclose(model(IMAGE), twice(IMAGE), atol=1e-3 if kind == TensorProto.FLOAT16 else 1e-6)
    if shape[2] == 40:
        with pytest.raises(InputError, match="takes 40 x 40 pixels only, the image has 50 x 12"):
            model(np.zeros((12, 50, 3), np.float32))


@pytest.mark.integration
def test_value_ranges_are_checked(tmp_path: Path) -> None:
    for name, low, high in (("255", 0, 255), ("-1..1", -1, 1)):
        # input [0, 1], output [low, high]: the result is only right if both ranges are given
        path = resize(tmp_path / "a.onnx", gain=high - low, add=low)
        np.testing.assert_allclose(opened(path, output_range=name)(IMAGE), twice(IMAGE), atol=1e-4)
        with pytest.raises(InputError, match="state the values that it takes by --input-range"):
            opened(path)
    clipped = torch.nn.Sequential(torch.nn.Upsample(scale_factor=2), torch.nn.Hardtanh(0, 1))
    torch.jit.trace(clipped, torch.zeros(1, 3, 4, 4)).save(tmp_path / "b.pt")
    opened(tmp_path / "b.pt")
    with pytest.raises(InputError, match="came back as"):
        opened(tmp_path / "b.pt", input_range="255")
    with pytest.raises(UsageError, match="choose 1, 255"):
        Convention(input_range="0..1")


def test_channel_order(tmp_path: Path) -> None:
    class RedOnly(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = x.repeat_interleave(2, 2).repeat_interleave(2, 3)
            return torch.cat([y[:, :1] * 0.99, y[:, 1:]], dim=1)

    torch.jit.script(RedOnly()).save(tmp_path / "a.pt")
    rgb, bgr = (opened(tmp_path / "a.pt", channels=order)(IMAGE) for order in ("rgb", "bgr"))
    np.testing.assert_allclose(rgb / twice(IMAGE), np.broadcast_to([0.99, 1, 1], rgb.shape), atol=1e-5)
    np.testing.assert_allclose(bgr / twice(IMAGE), np.broadcast_to([1, 1, 0.99], rgb.shape), atol=1e-5)


def test_multiples_are_padded_and_cut(tmp_path: Path) -> None:
    class InEights(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if x.shape[2] % 8 != 0 or x.shape[3] % 8 != 0:
                raise RuntimeError("not a multiple")
            return x.repeat_interleave(2, 2).repeat_interleave(2, 3)

    torch.jit.script(InEights()).save(tmp_path / "a.pt")
    model = opened(tmp_path / "a.pt", multiple=8)
    np.testing.assert_allclose(model(IMAGE), twice(IMAGE), atol=1e-6)
    assert model(np.ones((1, 1, 3), np.float32)).shape == (2, 2, 3)
    with pytest.raises(InputError, match=r"not a multiple.*try --multiple"):
        opened(tmp_path / "a.pt")(IMAGE)


@pytest.mark.integration
def test_exported_programs(tmp_path: Path) -> None:
    size = {2: torch.export.Dim("h", min=2), 3: torch.export.Dim("w", min=2)}
    program = torch.export.export(torch.nn.Upsample(scale_factor=2), (torch.rand(1, 3, 8, 9),), dynamic_shapes=(size,))
    torch.export.save(program, tmp_path / "a.pt2")
    np.testing.assert_allclose(opened(tmp_path / "a.pt2")(IMAGE), twice(IMAGE), atol=1e-6)


def test_incompatible_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is x4 its scale"):
        opened(resize(tmp_path / "a.onnx"), 4)
    with pytest.raises(WeightsError, match="has the inputs x, x1"):
        opened(resize(tmp_path / "b.onnx", inputs=2))
    with pytest.raises(WeightsError, match="only float images"):
        opened(resize(tmp_path / "c.onnx", shape=("n", 1, "h", "w")))
    with pytest.raises(InputError, match="NaN or infinity"):
        opened(resize(tmp_path / "d.onnx", add=float("nan")))
    messages = {"e.onnx": "onnxruntime cannot open", "e.pt": "neither TorchScript nor", "e.pt2": "a2f convert"}
    for name, message in messages.items():
        (tmp_path / name).write_bytes(b"no network")
        with pytest.raises(WeightsError, match=message):
            opened(tmp_path / name)
        with pytest.raises(WeightsError, match="cannot read"):
            opened(tmp_path / f"none{name}")
    assert is_external("a.onnx")
    assert not is_external("a.safetensors")
    assert not is_external("sd")


def test_description_identifies_file_and_conventions(tmp_path: Path) -> None:
    one, other = resize(tmp_path / "a.onnx"), resize(tmp_path / "b.onnx", gain=0.99)
    other.rename(tmp_path / "c.onnx")
    told = {opened(one).description, opened(one, multiple=2).description, opened(tmp_path / "c.onnx").description}
    assert len(told) == 3
