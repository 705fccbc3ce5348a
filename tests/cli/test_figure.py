"""`a2f figure` on the command line."""

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from a2f.cli.figure import figure
from a2f.errors import OutputExistsError
from a2f.peers.files import open_network, write_network

OWN = """
from torch import nn


def Net(scale):
    return nn.Sequential(nn.Conv2d(3, 3 * scale**2, 3, padding=1), nn.PixelShuffle(scale))
"""


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(figure, [str(word) for word in words])


@pytest.mark.integration
def test_network_and_factors(tmp_path: Path) -> None:
    for words in (("network", "m", "-s", "2"), ("factors",), ("factors", "sd")):
        path = tmp_path / "figure.svg"
        done = run(*words, "-o", path)
        assert done.exit_code == 0, done.output
        assert path.read_bytes().startswith(b"<?xml")
        path.unlink()


@pytest.mark.integration
def test_existing_figure_is_replaced_only_on_request(tmp_path: Path) -> None:
    path = tmp_path / "mine.svg"
    path.write_bytes(b"mine")
    for words in (("cost",), ("network",), ("factors",), ("crops", "sd", "--data", tmp_path, "--picture", "a")):
        refused = run(*words, "-o", path)
        assert isinstance(refused.exception, OutputExistsError)
    assert path.read_bytes() == b"mine"
    assert run("network", "-o", path, "--overwrite").exit_code == 0
    assert path.read_bytes() != b"mine"


@pytest.mark.integration
def test_cost_with_networks_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "cost.svg"
    words = ("cost", "--set", "Urban100", "-s", "3", "--point", "Mine=28.2,700,60", "--point", "Other=28.0,900", "-o")
    assert run(*words, path).exit_code == 0
    text = path.read_text(encoding="utf-8")
    assert text.count("<!-- Mine -->") == 2
    assert text.count("<!-- Other -->") == 1  # without Multi-Adds in the left half only
    assert "<!-- added networks -->" in text


@pytest.mark.integration
def test_factors_default_to_all_clean_models(tmp_path: Path) -> None:
    assert run("factors", "-o", tmp_path / "all.svg").exit_code == 0
    text = (tmp_path / "all.svg").read_text(encoding="utf-8")
    assert all(f"<!-- A²F-SD ×{scale}, a2f -->" in text for scale in (2, 3, 4))


def test_factors_say_what_they_take(tmp_path: Path) -> None:
    (tmp_path / "my.py").write_text(OWN)
    path = tmp_path / "mine.safetensors"
    path.write_bytes(write_network(open_network(f"{tmp_path}/my.py:Net", scale=2)))
    said = str(run("factors", path, "-o", tmp_path / "x.svg").exception)
    assert "my.py:Net, and only A²F has the three λ that Figure 3 shows: give a weights file of A²F" in said


@pytest.mark.integration
def test_crops_of_a_picture_and_a_box(tmp_path: Path) -> None:
    (tmp_path / "Noise").mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (64, 80, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "Noise" / "dots.png")
    path = tmp_path / "figure.svg"
    words = ["crops", "cubic=bicubic", "sd", "-s", "4", "--data", tmp_path / "Noise"]
    done = run(*words, "--picture", "dots:8,4,24,16", "-o", path)
    assert done.exit_code == 0, done.output
    text = path.read_text(encoding="utf-8")
    assert all(f"<!-- {name} -->" in text for name in ("cubic", "sd", "dots (Noise), ×4"))
    done = run(*words, "--picture", "dot", "-o", path, "--overwrite")
    assert "choose from dots" in str(done.exception)


@pytest.mark.integration
def test_crops_take_all_models_of_eval(tmp_path: Path) -> None:
    """Files with a scale of their own, finished enlargements, and a class of the user."""
    pixels = np.random.default_rng(0).integers(0, 256, (64, 80, 3)).astype(np.uint8)
    for folder in ("Noise", "results"):
        (tmp_path / folder).mkdir()
        Image.fromarray(pixels).save(tmp_path / folder / "dots.png")
    (tmp_path / "my.py").write_text(OWN)
    own = f"{tmp_path}/my.py:Net"
    for name, network in (("carn_m_x2", "carn-m"), ("mine", own)):
        (tmp_path / f"{name}.safetensors").write_bytes(write_network(open_network(network, scale=2)))
    path = tmp_path / "figure.svg"
    words = ["crops", "sd", tmp_path / "carn_m_x2.safetensors", tmp_path / "mine.safetensors"]
    words += [f"finished={tmp_path / 'results'}", "--data", tmp_path / "Noise", "--picture", "dots"]
    assert "--network FILE.py:CLASS" in str(run(*words, "-o", path).exception)
    done = run(*words, "--network", own, "-o", path)
    assert done.exit_code == 0, done.exception
    text = path.read_text(encoding="utf-8")
    assert all(f"<!-- {name} -->" in text for name in ("sd", "carn_m_x2", "mine", "finished", "dots (Noise), ×2"))
    assert "<!-- inf / 1.0000 -->" in text  # the finished enlargement is the original
    assert "enlarges 2 times, not 4" in str(run(*words, "-s", "4", "--overwrite", "-o", path).exception)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["crops", "sd", "--data", ".", "--picture", "a:1,2,3", "-o", "x.svg"], "write it as barbara:560,40,120,80"),
        (["cost", "--measured", "xl=31", "-o", "x.svg"], "write it as sd=31.86"),
        (["cost", "--measured", "sd=dB", "-o", "x.svg"], "write it as sd=31.86"),
        (["cost", "--point", "Mine=31.9", "-o", "x.svg"], "write it as Mine=31.9,250,14.2"),
        (["cost", "--point", "Mine=31.9,-3,2", "-o", "x.svg"], "write it as Mine=31.9,250,14.2"),
        (["cost", "--point", "=31.9,250", "-o", "x.svg"], "write it as Mine=31.9,250,14.2"),
    ],
)
def test_misspelt_options_get_a_suggestion(words: list[str], said: str) -> None:
    done = run(*words)
    assert done.exit_code == 2
    assert said in done.output


def test_error_names_unknown_models(tmp_path: Path) -> None:
    assert "unknown model 'xl'" in str(run("factors", "xl", "-o", tmp_path / "x.svg").exception)
    assert "unknown model 'xl'" in str(run("network", "xl", "-o", tmp_path / "x.svg").exception)
