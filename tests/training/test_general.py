"""Training of networks that are not A²F: learning, resuming, and evaluation with averages."""

from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from a2f.cli.main import cli
from a2f.data.patches import Patches
from a2f.errors import UsageError, WeightsError
from a2f.figures.curves import plot_runs
from a2f.peers.files import Network, network_in, open_network, read_network, unique_tensors
from a2f.resize import imresize
from a2f.training.general import GeneralNetwork
from a2f.training.log import read_log
from a2f.training.loop import Progress, Run
from a2f.training.recipe import Optimiser, Recipe, Stage

RECIPE = Recipe(
    steps=12, ema=0.9, busiest_of=2, evaluate_every=4, keep=2,
    optimiser=Optimiser(lr=5e-3, schedule="cosine", warmup=2, clip=1.0),
    stages=(Stage(until=1, batch=4, patch=16),),
)  # fmt: skip


def images() -> list[tuple[np.ndarray, np.ndarray]]:
    y, x = np.mgrid[0:48, 0:64]
    made = []
    for width in (3, 5):
        wave = (127 + 100 * np.sin(x / width) * np.cos(y / width)).astype(np.uint8)
        hr = np.stack([wave, 255 - wave, wave], axis=-1)
        made.append((hr, imresize(hr, scale=1 / 2)))
    return made


class Small(torch.nn.Module):
    """Weight normalisation, batch normalisation, a shared layer."""

    def __init__(self) -> None:
        super().__init__()
        conv = torch.nn.Conv2d(3, 3, 3, padding=1)
        head = torch.nn.utils.parametrizations.weight_norm(torch.nn.Conv2d(3, 12, 3, padding=1))
        self.body = torch.nn.Sequential(conv, torch.nn.BatchNorm2d(3), conv, head, torch.nn.PixelShuffle(2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.body(x) + torch.nn.functional.interpolate(x, scale_factor=2.0)
        return out


def small() -> Network:
    torch.manual_seed(0)
    return Network(name="small.py:Small", scale=2, module=Small(), metadata={})


def make_run(folder: Path, network: Network, recipe: Recipe = RECIPE) -> Run:
    folder.mkdir(exist_ok=True)
    patches = Patches(images(), scale=2, seed=recipe.seed, device=torch.device("cpu"))
    return Run(network, recipe, patches=patches, validation=images()[:1], folder=folder, device=torch.device("cpu"))


@pytest.mark.integration
def test_loss_falls_during_training(tmp_path: Path) -> None:
    told: list[Progress] = []
    run = make_run(tmp_path, small())
    run.train(told.append)
    assert [p.step for p in told] == [4, 8, 12]
    assert told[-1].loss < 0.8 * told[0].loss
    assert network_in(tmp_path / "best.safetensors") == "small.py:Small"
    assert not run.model().training


def test_resumed_run_equals_an_uninterrupted_run(tmp_path: Path) -> None:
    """Statistics of batch normalisation too."""
    whole = make_run(tmp_path / "whole", small())
    whole.train(lambda progress: None)

    class StopError(Exception):
        pass

    def stop(progress: Progress) -> None:
        raise StopError

    broken = make_run(tmp_path / "broken", small())
    with pytest.raises(StopError):
        broken.train(stop)
    again = make_run(tmp_path / "broken", small())
    again.resume()
    assert again.step == 4
    again.train(lambda progress: None)
    kept = unique_tensors(whole.model())
    assert any(name.endswith("running_mean") for name in kept)
    for name, value in unique_tensors(again.model()).items():
        assert torch.equal(value, kept[name]), name
    other = make_run(tmp_path / "broken", Network(name="other", scale=2, module=Small(), metadata={}))
    with pytest.raises(WeightsError, match="belongs to another network"):
        other.resume()


def test_model_has_the_given_parameter_values() -> None:
    network = GeneralNetwork(open_network("awsrn-sd", scale=2), device=torch.device("cpu"))
    values = {name: torch.full_like(value, 0.5) for name, value in network.parameters.items()}
    model = network.model(values)
    assert all(bool((p == 0.5).all()) for p in model.parameters())
    assert not any(bool((p == 0.5).all()) for p in network.parameters.values())


def test_forward_runs_in_bfloat16_and_returns_subpixels() -> None:
    network = GeneralNetwork(open_network("idn", scale=2), device=torch.device("cpu"))
    x = torch.rand(2, 3, 8, 9)
    exact, rough = (network.forward(x, dtype=dtype) for dtype in (torch.float32, torch.bfloat16))
    assert exact.shape == (2, 12, 8, 9)
    assert rough.dtype == torch.float32
    assert 0 < (exact - rough).abs().max() < 0.05
    sr = network.model(network.parameters)(x)
    torch.testing.assert_close(torch.nn.functional.pixel_shuffle(exact, 2), sr)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    (tmp_path / "photos").mkdir()
    for number, (hr, _) in enumerate(images()):
        Image.fromarray(np.tile(hr, (2, 2, 1))).save(tmp_path / "photos" / f"{number}.png")
    return tmp_path / "photos"


def train(*words: object) -> BaseException | None:
    result = CliRunner().invoke(cli, ["train", *[str(word) for word in words]])
    return result.exception


@pytest.mark.integration
def test_the_command_trains_a_network_of_another_paper(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text("steps = 4\nevaluate_every = 2\n[[stages]]\nuntil = 1\nbatch = 2\npatch = 16\n")
    how = ("-s", "2", "--data", photos, "--recipe", tmp_path / "r.toml")
    assert train("imdn", *how, "-o", tmp_path / "run") is None
    best = tmp_path / "run" / "best.safetensors"
    assert read_network(best).name == "imdn"
    plot_runs({"run": tmp_path / "run"}, output=tmp_path / "curves.png")
    assert (tmp_path / "curves.png").stat().st_size > 1000
    assert train("imdn", *how, "-o", tmp_path / "next", "--init", best) is None
    error = train("carn-m", *how, "-o", tmp_path / "wrong", "--init", best)
    assert isinstance(error, UsageError)
    assert "belongs to imdn x2, not to carn-m x2" in str(error)


@pytest.mark.integration
def test_own_lr_images_are_used_for_training(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text("steps = 2\nevaluate_every = 2\n[[stages]]\nuntil = 1\nbatch = 2\npatch = 8\n")
    how = ("-s", "2", "--data", photos, "--recipe", tmp_path / "r.toml", "--lr-data", tmp_path / "lr")
    losses = []
    for level in (0, 255):
        (tmp_path / "lr").mkdir(exist_ok=True)
        for path in sorted(photos.iterdir()):
            with Image.open(path) as image:
                small = Image.new("RGB", (image.width // 2, image.height // 2), (level, level, level))
            small.save(tmp_path / "lr" / f"{path.stem}_x2_own.png")
        assert train("srcnn", *how, "-o", tmp_path / f"run{level}") is None
        losses.append(read_log(tmp_path / f"run{level}" / "log.csv")[0]["loss"])
    assert losses[0] != losses[1]  # of the same photographs
    (tmp_path / "lr" / f"{path.stem}_x2_own.png").unlink()
    assert "no LR image for 1 of" in str(train("srcnn", *how, "-o", tmp_path / "no"))


@pytest.mark.integration
def test_network_with_nan_output_is_refused_and_leaves_no_files(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "nan.py").write_text(
        "from torch import nn\n\n\nclass Nan(nn.Module):\n    def __init__(self, scale):\n        super().__init__()\n"
        "        self.up = nn.ConvTranspose2d(3, 3, scale, scale)\n\n"
        "    def forward(self, x):\n        return self.up(x) * float('nan')\n"
    )
    monkeypatch.chdir(tmp_path)
    command = ["train", "--network", "nan.py:Nan", "-s", "2", "--data", str(photos), "-o", "run"]
    done = CliRunner().invoke(cli, command)
    assert "the network gives NaN or infinite values for an image of" in str(done.exception or done.output)
    assert not (tmp_path / "run").exists()
