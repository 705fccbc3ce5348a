"""Networks of other papers and own networks on the command line."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from click.testing import CliRunner, Result
from PIL import Image

from a2f.cli.main import cli
from a2f.errors import A2FError
from a2f.peers.files import network_in, open_network, read_network, write_network

OWN = """
from torch import nn


def Net(scale):
    return nn.Sequential(nn.Conv2d(3, 3 * scale**2, 3, padding=1), nn.PixelShuffle(scale))
"""


def run(*words: object) -> Result:
    return CliRunner().invoke(cli, [str(word) for word in words])


@pytest.fixture
def own(tmp_path: Path) -> str:
    (tmp_path / "my.py").write_text(OWN)
    return f"{tmp_path}/my.py:Net"


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "carn_m_x2.safetensors"
    path.write_bytes(write_network(open_network("carn-m", scale=2)))
    return path


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "set" / "HR").mkdir(parents=True)
    pixels = np.random.default_rng(0).integers(0, 256, (40, 44, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "set" / "HR" / "a.png")
    return tmp_path / "set"


@pytest.mark.integration
def test_profile_of_a_peer() -> None:
    rows = json.loads(run("profile", "carn-m", "--json").output)
    assert [(row["scale"], row["parameters"], row["multi_adds_g"]) for row in rows] == [
        (2, 257_027, 91.17),
        (3, 303_427, 46.05),
        (4, 294_147, 32.48),
    ]
    (row,) = json.loads(run("profile", "awsrn-sd", "-s", "4", "--paper", "--json").output)
    assert (row["parameters"], row["folded"], row["multi_adds_g"]) == (443_928, 442_488, 25.54)
    assert (row["printed_parameters_k"], row["printed_multi_adds_g"]) == (444, 25.4)  # its own paper counts otherwise
    assert row["receptive_px"] is None  # unknown: null, not text
    assert "carn-m x4" in run("profile", "carn-m", "-s", "4").output


@pytest.mark.integration
@pytest.mark.parametrize(
    ("network", "scale", "printed"),
    [("carn-m", 4, ("412", "32.5")), ("drrn", 3, ("297", "6797")), ("m", 3, ("1003", "100.0"))],
)
def test_profile_of_the_paper_has_the_printed_figures(network: str, scale: int, printed: tuple[str, str]) -> None:
    text = run("profile", network, "-s", scale, "--paper").output
    head, row = text.splitlines()[:2]
    assert head.split()[-4:] == ["printed,", "K", "printed,", "G"]
    assert tuple(row.split()[-2:]) == printed
    assert "as the paper counts A²F" in text
    assert "in other ways than A²F" in text


def test_profile_prints_no_figures_of_the_paper_for_an_own_network(own: str) -> None:
    text = run("profile", "--network", own, "-s", "2", "--paper").output
    assert "as the paper counts A²F" in text
    assert "printed" not in text


def test_profile_counts_an_own_network(own: str) -> None:
    (row,) = json.loads(run("profile", "--network", own, "-s", "2", "--json").output)
    assert row["parameters"] == 27 * 12 + 12
    assert row["multi_adds_g"] == round(640 * 360 * 27 * 12 / 1e9, 2)
    assert run("profile", "sd", "--network", own).exit_code == 2


@pytest.mark.integration
def test_profile_measures_an_own_network(own: str) -> None:
    words = ["--latency", "--memory", "--rounds", "1", "--threads", "1", "--json"]
    (row,) = json.loads(run("profile", "--network", own, "-s", "4", *words).output)
    assert row["fastest_s"] <= row["median_s"] <= row["slowest_s"]
    assert "onnxruntime" in row["engine"]
    assert "torch" in row["reference"]
    assert row["peak_memory_mb"] > 4 * 48 * 320 * 180 / 1e6  # at least the output is in memory


def test_unknown_network_error_lists_all_networks() -> None:
    error = run("profile", "carn-x").exception
    assert isinstance(error, A2FError)
    assert all(name in str(error) for name in ("sd", "l-noca", "carn-m", "imdn"))


@pytest.mark.integration
@pytest.mark.parametrize("engine", ["torch", "onnxruntime"])
def test_eval_measures_a_weights_file(engine: str, weights: Path, data: Path) -> None:
    told = run("eval", "bicubic", weights, "-s", "2", "--data", data, "--engine", engine, "--json")
    scores = json.loads(told.output)["scores"]
    assert [score["model"] for score in scores] == ["bicubic", "carn_m_x2"]
    assert all(np.isfinite(score["mean"]["psnr_y"]) for score in scores)


def test_eval_measures_an_own_network(own: str, data: Path, tmp_path: Path) -> None:
    path = tmp_path / "own.safetensors"
    path.write_bytes(write_network(open_network(own, scale=2)))
    words = ["eval", path, "-s", "2", "--data", data, "--json"]
    assert "--network FILE.py:CLASS" in str(run(*words).exception)
    assert json.loads(run(*words, "--network", own).output)["scores"][0]["model"] == "own"
    assert "enlarges 2 times, not 4. Leave out -s" in str(
        run("eval", path, "-s", "4", "--data", data, "--network", own).exception
    )


def test_eval_says_that_no_weights_of_peers_are_shipped(data: Path) -> None:
    assert "a2f convert --as imdn" in str(run("eval", "imdn", "-s", "2", "--data", data).exception)
    assert "runs in torch or onnxruntime" in str(openvino_error(data))


def openvino_error(data: Path) -> BaseException | None:
    path = data / "w.safetensors"
    path.write_bytes(write_network(open_network("srcnn", scale=2)))
    return run("eval", path, "-s", "2", "--data", data, "--engine", "openvino").exception


@pytest.mark.integration
def test_export_writes_a_checked_file(weights: Path, own: str, tmp_path: Path) -> None:
    told = run("export", weights, "-o", tmp_path / "a.onnx")
    assert told.exit_code == 0, told.output
    assert "differs from PyTorch by at most" in told.output
    onnx.checker.check_model(onnx.load(tmp_path / "a.onnx"))
    path = tmp_path / "own.safetensors"
    path.write_bytes(write_network(open_network(own, scale=3)))
    assert run("export", path, "--network", own, "-o", tmp_path / "b.onnx").exit_code == 0
    assert (tmp_path / "b.onnx").exists()


@pytest.mark.integration
@pytest.mark.parametrize("wrapped", [None, "state_dict", "params_ema"])
def test_convert_reads_a_checkpoint_of_ones_own_network(own: str, wrapped: str | None, tmp_path: Path) -> None:
    state = open_network(own, scale=2).module.state_dict()
    path, out = tmp_path / "own.pth", tmp_path / "own.safetensors"
    torch.save({wrapped: {f"module.{key}": value for key, value in state.items()}} if wrapped else state, path)
    told = run("convert", "--network", own, path, out, "-s", "2")
    assert told.exit_code == 0, told.exception
    read = read_network(out, own=own).module.state_dict()
    assert all(torch.equal(read[key], value) for key, value in state.items())
    assert "needs the scale" in run("convert", "--network", own, path, tmp_path / "b.safetensors").output
    both = run("convert", "--network", own, "--as", "imdn", path, tmp_path / "b.safetensors", "-s", "2")
    assert "--as and --network are both given" in both.output
    other = run("convert", "--network", own, path, tmp_path / "b.safetensors", "-s", "3")
    assert "0.weight has shape (12, 3, 3, 3), the network needs (27, 3, 3, 3)" in str(other.exception)


def test_convert_reads_a_checkpoint_of_another_network(tmp_path: Path) -> None:
    network = open_network("imdn", scale=2).module
    names = {"head": "fea_conv", "fuse.0": "c.0", "smooth": "LR_conv", "up": "upsampler.0"}
    for i in range(6):
        names |= {f"blocks.{i}.steps.{j}": f"IMDB{i + 1}.c{j + 1}" for j in range(3)}
        names |= {f"blocks.{i}.last": f"IMDB{i + 1}.c4", f"blocks.{i}.fuse": f"IMDB{i + 1}.c5"}
        names |= {f"blocks.{i}.attention.gate.{j}": f"IMDB{i + 1}.cca.conv_du.{j}" for j in (0, 2)}
    state = {}
    for key, value in network.state_dict().items():
        place, _, kind = key.rpartition(".")
        state[f"module.{names[place]}.{kind}"] = value
    torch.save(state, tmp_path / "IMDN_x2.pth")
    out = tmp_path / "imdn.safetensors"
    told = run("convert", "--as", "imdn", tmp_path / "IMDN_x2.pth", out, "-s", "2")
    assert told.exit_code == 0, told.exception
    assert network_in(out) == "imdn"
    assert (
        "needs the scale" in run("convert", "--as", "imdn", tmp_path / "IMDN_x2.pth", tmp_path / "b.safetensors").output
    )
    words = ["convert", "--as", "imdn", tmp_path / "IMDN_x2.pth", tmp_path / "c.safetensors", "-s", "4"]
    assert "seems to be for x2, not x4: give -s 2" in str(run(*words).exception)


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("sdd", "unknown model 'sdd' (did you mean 'sd'?): give one of s, sd, sd-robust, m, l, or a weights file"),
        ("imdn", "no weights of imdn are shipped: give a weights file, made by a2f convert --as imdn"),
    ],
)
def test_export_says_what_to_do_about_a_name_without_weights(model: str, said: str, tmp_path: Path) -> None:
    done = CliRunner().invoke(cli, ["export", model, "-o", str(tmp_path / "x.onnx")])
    assert str(done.exception) == said
