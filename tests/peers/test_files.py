"""Weights files of networks that are not A²F, and of own networks."""

import json
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load, save

from a2f.errors import UsageError, WeightsError
from a2f.peers.files import network_in, open_network, read_network, unique_tensors, write_network
from a2f.weights import find_shipped

OWN = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self, scale):
        super().__init__()
        self.up = nn.Sequential(nn.Conv2d(3, 3 * scale**2, 3, padding=1), nn.PixelShuffle(scale))

    def forward(self, x):
        return self.up(x)


class Broken(nn.Module):
    def __init__(self, scale):
        raise RuntimeError("no such scale")


def not_a_module(scale):
    return 3
"""


@pytest.fixture
def own(tmp_path: Path) -> str:
    (tmp_path / "my.py").write_text(OWN)
    return f"{tmp_path}/my.py:Net"


@pytest.mark.integration
@pytest.mark.parametrize("name", ["carn-m", "awsrn-sd", "srmdnf", "idn"])
def test_weights_file_round_trip(name: str, tmp_path: Path) -> None:
    """Networks with shared units, weight normalisation, batch normalisation and luma."""
    network = open_network(name, scale=2)
    path = tmp_path / "a.safetensors"
    path.write_bytes(write_network(network, metadata={"note": "x"}))
    again = read_network(path)
    assert (again.name, again.scale, again.metadata["note"]) == (name, 2, "x")
    assert network_in(path) == name
    x = torch.rand(1, 3, 8, 9)
    with torch.inference_mode():
        torch.testing.assert_close(again.module.eval()(x), network.module.eval()(x), rtol=0, atol=0)


def test_shared_tensors_are_in_the_file_once() -> None:
    tensors = load(write_network(open_network("carn-m", scale=2)))
    assert sum(value.size for value in tensors.values()) == 257_027


def test_other_files_are_refused(tmp_path: Path) -> None:
    assert network_in(find_shipped("sd", scale=4).path) is None
    assert network_in(tmp_path / "none.safetensors") is None
    for blob in (b"", b"short", b"\xff" * 8, struct.pack("<Q", 4) + b"[[[[", struct.pack("<Q", 2) + b"[]"):
        (tmp_path / "a").write_bytes(blob)
        assert network_in(tmp_path / "a") is None
    header = json.dumps({"__metadata__": [1]}).encode()
    (tmp_path / "a").write_bytes(struct.pack("<Q", len(header)) + header)
    assert network_in(tmp_path / "a") is None
    with pytest.raises(WeightsError, match="not a weights file with the name of a network"):
        read_network(tmp_path / "a")


def changed(network_blob: bytes, tmp_path: Path, **tensors: np.ndarray | None) -> Path:
    kept = load(network_blob) | {key: value for key, value in tensors.items() if value is not None}
    kept = {key: value for key, value in kept.items() if tensors.get(key, value) is not None}
    (tmp_path / "a.safetensors").write_bytes(
        save(kept, metadata={"format": "a2f-network-1", "network": "srcnn", "scale": "2"})
    )
    return tmp_path / "a.safetensors"


def test_wrong_tensors_are_refused(tmp_path: Path) -> None:
    blob = write_network(open_network("srcnn", scale=2))
    bias = "network.conv3.bias"
    with pytest.raises(WeightsError, match=r"misses network\.conv3\.bias"):
        read_network(changed(blob, tmp_path, **{bias: None}))
    with pytest.raises(WeightsError, match="has an unexpected more"):
        read_network(changed(blob, tmp_path, more=np.zeros(1, np.float32)))
    with pytest.raises(WeightsError, match=r"shape \(2,\), the network needs \(1,\)"):
        read_network(changed(blob, tmp_path, **{bias: np.zeros(2, np.float32)}))
    with pytest.raises(WeightsError, match="NaN or infinity"):
        read_network(changed(blob, tmp_path, **{bias: np.full(1, np.nan, np.float32)}))
    (tmp_path / "cut.safetensors").write_bytes(blob[:-100])
    with pytest.raises(WeightsError, match="is damaged"):
        read_network(tmp_path / "cut.safetensors")


def test_own_network(own: str, tmp_path: Path) -> None:
    network = open_network(own, scale=3)
    assert network.module(torch.rand(1, 3, 5, 6)).shape == (1, 3, 15, 18)
    path = tmp_path / "own.safetensors"
    path.write_bytes(write_network(network))
    assert network_in(path) == "my.py:Net"
    assert str(tmp_path) not in str(path.read_bytes()[:500])
    with pytest.raises(UsageError, match=r"to the network 'my\.py:Net': give its class with --network"):
        read_network(path)
    again = read_network(path, own=own)
    assert torch.equal(unique_tensors(again.module)["up.0.bias"], unique_tensors(network.module)["up.0.bias"])


def test_invalid_own_networks_raise_clear_errors(own: str, tmp_path: Path) -> None:
    file = own.rpartition(":")[0]
    for name, message in (
        (f"{tmp_path}/none.py:Net", "there is no file"),
        (f"{file}:Nothing", "no class or function 'Nothing'"),
        (f"{file}:Broken", r"Broken\(2\) failed .* no such scale"),
        (f"{file}:not_a_module", "is a int, not a torch module"),
    ):
        with pytest.raises(UsageError, match=message):
            open_network(name, scale=2)
    (tmp_path / "bad.py").write_text("def f(:\n")
    with pytest.raises(UsageError, match="SyntaxError"):
        open_network(f"{tmp_path}/bad.py:Net", scale=2)
