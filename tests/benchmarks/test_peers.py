"""The peers have the sizes that are published, and run as ONNX."""

from functools import partial

import numpy as np
import pytest
import torch
from benchmarks.peers import PEERS, Peer, export_onnx
from torch import nn

from a2f.export.check import rounding
from a2f.export.session import make_session


def run(network: nn.Module, x: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        return network(torch.from_numpy(x)).numpy()


every = pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer.name)


@every
def test_parameters_are_those_published(peer: Peer) -> None:
    built = sum(p.numel() for p in peer.build().parameters()) / 1000
    # CARN-M is published as one network for x2, x3 and x4: `elsewhere_k` is what only x2 and x3 use.
    assert built + peer.elsewhere_k == pytest.approx(peer.parameters_k, rel=0.01)


def test_carn_m_is_published_as_weights_for_three_scales() -> None:
    """All three upsamplers, no biases: 412 K to the digit."""
    (carn_m,) = (peer for peer in PEERS if peer.name == "CARN-M")
    weights = sum(p.numel() for p in carn_m.build().parameters() if p.dim() > 1)
    others = 64 // 4 * 9 * (4 * 64 + 9 * 64)  # a grouped 3x3 convolution each, before a shuffle of 2 and of 3
    assert round((weights + others) / 1000) == 412
    assert others + 4 * 64 + 9 * 64 == 1000 * carn_m.elsewhere_k


# FLOPs that the challenges print, at an LR image of 256x256; the others are at 1280x720. Here convolutions alone count.
CHALLENGES = {"RLFN (NTIRE 2022)": 19.70, "SPAN (NTIRE 2024)": 9.83}


@pytest.mark.parametrize(
    "peer", [p for p in PEERS if p.multi_adds_g or p.name in CHALLENGES], ids=lambda peer: peer.name
)
def test_multi_adds_are_those_published(peer: Peer) -> None:
    total = 0

    def count(module: nn.Conv2d, given: tuple[torch.Tensor, ...], out: torch.Tensor) -> None:
        nonlocal total
        total += out.numel() * module.weight[0].numel()

    network = peer.build().to("meta")  # shapes alone
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(count)
    height, width = (256, 256) if peer.name in CHALLENGES else (180, 320)
    network(torch.empty(1, 3, height, width, device="meta"))
    assert total / 1e9 == pytest.approx(CHALLENGES.get(peer.name, peer.multi_adds_g), rel=0.015)


@every
def test_outputs_are_four_times_as_large(peer: Peer) -> None:
    network, x = peer.build(), torch.rand(2, 3, 17, 22)
    assert not network.training
    with torch.inference_mode():
        sr = network(x)
        torch.testing.assert_close(peer.build()(x), sr)
    assert sr.shape == (2, 3, 68, 88)
    assert sr.isfinite().all()


def test_building_leaves_the_seed_alone() -> None:
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    PEERS[0].build()
    assert torch.equal(torch.rand(1), expected)


@every
def test_onnx_of_any_size_is_the_same(peer: Peer) -> None:
    network = peer.build()
    session = make_session(export_onnx(network), threads=1)
    for shape in ((1, 3, 24, 31), (2, 3, 33, 20)):
        x = torch.rand(shape).numpy()
        (sr,) = session.run(None, {"lr": x})
        expected = run(network, x)
        assert np.abs(sr - expected).max() <= rounding(partial(run, network), x)


def test_onnx_of_one_size() -> None:
    (pan,) = (peer for peer in PEERS if peer.name == "PAN")
    network, x = pan.build(), torch.rand(1, 3, 20, 33).numpy()
    session = make_session(export_onnx(network, lr_size=(33, 20)), threads=1)
    assert session.get_inputs()[0].shape == [1, 3, 20, 33]
    assert session.get_outputs()[0].shape == [1, 3, 80, 132]
    (sr,) = session.run(None, {"lr": x})
    assert np.abs(sr - run(network, x)).max() <= rounding(partial(run, network), x)
