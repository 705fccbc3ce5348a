"""Own networks: errors name the line of the file."""

from pathlib import Path

import pytest
import torch

from a2f.errors import A2FError, EngineError, UsageError
from a2f.external import check_network
from a2f.peers.files import open_network
from a2f.peers.onnx_file import export_network
from a2f.peers.own import own_network
from a2f.profiling.counted import count_network
from a2f.training.general import GeneralNetwork

FILE = """import torch
from torch import nn


class Base(nn.Module):
    def __init__(self, scale):
        super().__init__()
        self.scale = scale
        self.conv = nn.Conv2d(3, 3 * scale**2, 3, padding=1)
        self.drop = nn.Dropout(0.5)

    def forward(self, x):
        return torch.pixel_shuffle(self.drop(self.conv(x)), self.scale)


class Broken(nn.Module):
    def __init__(self, scale):
        raise RuntimeError("boom\\nsecond line")


class NoScale(nn.Module):
    def __init__(self):
        super().__init__()


class Small(Base):
    def forward(self, x):
        return self.conv(x)[:, :3]


class Pair(Base):
    def forward(self, x):
        return super().forward(x), 1


class Fails(Base):
    def forward(self, x):
        x = x + 1
        return self.conv(x[:, :2])


class OnCpu(Base):
    def forward(self, x):
        return super().forward(x) + torch.ones(1)


class EvenOnly(Base):
    def forward(self, x):
        assert x.shape[2] % 16 == 0, "sides are multiples of 16"
        return super().forward(x)


class Empty(nn.Module):
    def __init__(self, scale):
        super().__init__()
        self.scale = scale

    def forward(self, x):
        return nn.functional.interpolate(x, scale_factor=float(self.scale))


def number(scale):
    return scale


class Leaves(nn.Module):
    def __init__(self, scale):
        raise SystemExit


class LeavesLater(nn.Module):
    def __init__(self, scale):
        super().__init__()

    def forward(self, x):
        raise SystemExit("done")


class Rounded(nn.Module):
    def __init__(self, scale):
        super().__init__()
        self.scale = scale

    def forward(self, x):
        x = x[:, :, : x.shape[2] // 2 * 2, : x.shape[3] // 2 * 2]
        return nn.functional.interpolate(x, scale_factor=self.scale)
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my.py").write_text(FILE)
    (tmp_path / "bad.py").write_text("import torch\ndef f(:\n")
    (tmp_path / "script.py").write_text("import sys\nsys.exit(3)\n")
    (tmp_path / "absent.py").write_text("x = 1\nimport no_such_module\n")
    return "my.py"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "my.py:Broken",
            r"Broken\(2\) failed in my\.py, line 18: RuntimeError: boom; it is called with the",
        ),
        ("my.py:NoScale", r"NoScale\(2\) failed in my\.py: TypeError: .* it is called with the scale only"),
        ("my.py:number", r"number\(2\) is a int, not a torch module"),
        ("my.py:Small", r"\[1, 3, 64, 64\] became \[1, 3, 64, 64\]; at scale 2 it must be \[1, 3, 128, 128\]"),
        ("my.py:Pair", r"forward returns a tuple; it must return one tensor \[1, 3, 128, 128\]"),
        (
            "my.py:Fails",
            r"forward failed on an image of \[1, 3, 64, 64\] in my\.py, line 39: RuntimeError",
        ),
        ("my.py:Bass", r"no class or function 'Bass' \(did you mean 'Base'\?\); it has Base, Broken, NoScale"),
        ("my.py:", r"no class or function ''; it has Base"),
        ("bad.py:Net", r"cannot be imported in bad\.py, line 2: SyntaxError"),
        ("absent.py:Net", r"cannot be imported in absent\.py, line 2: ModuleNotFoundError: No module named 'no_such"),
        ("script.py:Net", r"cannot be imported in script\.py, line 2: SystemExit: 3"),
        ("my.py:Leaves", r"Leaves\(2\) failed in my\.py, line \d+: SystemExit; it is called"),
        ("my.py:LeavesLater", r"forward failed on an image of .* in my\.py, line \d+: SystemExit: done"),
        ("none.py:Net", r"there is no file none\.py; give FILE\.py:CLASS"),
        ("my.txt:Net", r"as FILE\.py:CLASS"),
    ],
)
def test_invalid_classes_raise_clear_errors(name: str, message: str, file: str) -> None:
    with pytest.raises(UsageError, match=message):
        open_network(name, scale=2)


def test_trial_run_does_not_change_the_network(file: str) -> None:
    torch.manual_seed(3)
    network = own_network("my.py:Base", scale=2)
    assert network.training
    after = torch.rand(1)
    torch.manual_seed(3)
    torch.nn.Conv2d(3, 12, 3)
    assert torch.equal(torch.rand(1), after)  # no random numbers were drawn


@pytest.mark.integration
def test_errors_after_loading(file: str) -> None:
    with pytest.raises(UsageError, match=r"OnCpu cannot be counted on 20 x 10 pixels: .* device of its input"):
        count_network(open_network("my.py:OnCpu", scale=2), width=20, height=10)
    with pytest.raises(UsageError, match=r"Empty has no parameters to train"):
        GeneralNetwork(open_network("my.py:Empty", scale=2), device=torch.device("cpu"))
    network = GeneralNetwork(open_network("my.py:EvenOnly", scale=2), device=torch.device("cpu"))
    with pytest.raises(A2FError, match=r"EvenOnly failed on a batch of \[1, 3, 8, 8\]: AssertionError: sides are mult"):
        network.forward(torch.rand(1, 3, 8, 8))


def test_an_output_of_the_wrong_size_is_told_before_it_is_compared(file: str) -> None:
    network = open_network("my.py:Rounded", scale=2)
    with pytest.raises(
        EngineError, match=r"turns \(1, 3, 24, 31\) into .*, \(1, 3, 48, 62\) is needed: the network has"
    ):
        check_network(export_network(network), network)
