"""Every network supports the common protocol and ONNX."""

import copy
from functools import partial

import numpy as np
import pytest
import torch

from a2f.errors import UnknownModelError, UsageError
from a2f.export.check import rounding
from a2f.export.session import make_session
from a2f.peers import PEERS, build_peer
from a2f.peers.files import Network, open_network
from a2f.peers.luma import Bicubic, OnLuma
from a2f.peers.onnx_file import export_network
from a2f.resize import imresize

HEAVY = {"drcn", "drrn", "memnet", "edsr", "rcan", "srfbn", "d-dbpn", "srdensenet", "msrn"}
EXPORTED_AT_NIGHT = {"drcn", "drrn", "edsr", "memnet", "rcan"}  # seconds each: PyTorch writes hundreds of layers
every = pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.integration] if name in HEAVY else []) for name in PEERS]
)


def seeded(name: str, scale: int) -> torch.nn.Module:
    torch.manual_seed(0)
    return build_peer(name, scale=scale).eval()


def values(network: torch.nn.Module, x: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        y: np.ndarray = network(torch.from_numpy(x)).numpy()
    return y


@pytest.mark.integration
@every
def test_outputs_have_the_size_of_the_scale(name: str) -> None:
    for scale in PEERS[name].scales:
        network, x = seeded(name, scale), torch.rand(2, 3, 17, 22)
        with torch.inference_mode():
            sr = network(x)
        assert sr.shape == (2, 3, scale * 17, scale * 22)
        assert sr.isfinite().all()
        if name in HEAVY:
            break


@every
def test_every_parameter_learns(name: str) -> None:
    """A parameter without gradient would be counted but never used."""
    network = build_peer(name, scale=PEERS[name].scales[0])
    network(torch.rand(1, 3, 16, 17)).square().mean().backward()
    unused = [key for key, p in network.named_parameters() if p.grad is None]
    assert unused == []


@pytest.mark.integration
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.nightly] if name in EXPORTED_AT_NIGHT else []) for name in PEERS]
)
def test_onnx_with_dynamic_sizes_equals_torch(name: str) -> None:
    scale = PEERS[name].scales[0]
    module = seeded(name, scale)
    network = Network(name=name, scale=scale, module=module, metadata={})
    before = copy.deepcopy(module.state_dict())
    session = make_session(export_network(network), threads=1)
    for shape in ((1, 3, 17, 22), (2, 3, 23, 16)):
        x = np.random.default_rng(0).random(shape, dtype=np.float32)
        (sr,) = session.run(None, {"lr": x})
        np.testing.assert_allclose(sr, values(module, x), rtol=0, atol=rounding(partial(values, module), x))
    for key, value in module.state_dict().items():
        assert torch.equal(value, before[key])


@pytest.mark.integration
def test_onnx_of_one_size() -> None:
    network = open_network("pan", scale=4)
    session = make_session(export_network(network, lr_size=(33, 20)), threads=1)
    assert session.get_inputs()[0].shape == [1, 3, 20, 33]
    assert session.get_outputs()[0].shape == [1, 3, 80, 132]


def test_unknown_names_and_scales_are_refused() -> None:
    told = r"unknown network 'carn-x' \(did you mean 'carn-m'\?\): choose one of srcnn, .*carn-m"
    with pytest.raises(UnknownModelError, match=told):
        build_peer("carn-x", scale=2)
    with pytest.raises(UsageError, match="falsr-a has no x3: choose x2"):
        build_peer("falsr-a", scale=3)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_torch_bicubic_equals_imresize(scale: int) -> None:
    """The only difference is that imresize rounds after each pass; the values need no clipping between the passes."""
    image = np.random.default_rng(0).integers(90, 160, (9, 7, 2)).astype(np.uint8)
    x = torch.from_numpy(image.transpose(2, 0, 1)[None].astype(np.float32))
    large = Bicubic(scale)(x)[0].numpy().transpose(1, 2, 0)
    assert np.abs(large - imresize(image, scale=scale)).max() < 1.3
    flat = Bicubic(scale)(torch.full((1, 1, 2, 2), 0.7))
    torch.testing.assert_close(flat, torch.full((1, 1, 2 * scale, 2 * scale), 0.7))


@pytest.mark.parametrize("full_range", [False, True])
def test_luma_of_white_and_black(full_range: bool) -> None:
    seen: list[torch.Tensor] = []

    class Enlarge(torch.nn.Module):
        def forward(self, y: torch.Tensor) -> torch.Tensor:
            seen.append(y)
            return Bicubic(2)(y)

    adapter = OnLuma(Enlarge(), 2, full_range=full_range)
    x = torch.zeros(1, 3, 6, 6)
    x[..., 3:] = 1
    out = adapter(x)
    torch.testing.assert_close(out, Bicubic(2)(x), atol=1e-5, rtol=0)
    black, white = (0.0, 1.0) if full_range else (16 / 255, 235 / 255)
    assert seen[0].min().item() == pytest.approx(black, abs=1e-5)
    assert seen[0].max().item() == pytest.approx(white, abs=1e-5)
