"""Published checkpoints of other networks reproduce the published figures, if they belong to these figures.

The authors of two networks used their own protocols, which the tests repeat. The results of `a2f eval` are in
docs/peers.md.
"""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from benchmarks.peers import CHECKPOINTS, KEPT, published_scores, scores_of

from a2f.color import rgb_to_y
from a2f.evaluation.sets import load_set
from a2f.external import open_network_engine
from a2f.peers.checkpoints import convert_network
from a2f.resize import _taps

pytestmark = pytest.mark.paper
SETS = ("Set5", "Set14")


@pytest.fixture(scope="module")
def checkpoints(shared: Path) -> Path:
    if not (shared / "peers").is_dir():
        pytest.skip("needs ../shared/peers with the published checkpoints")
    return shared / "peers"


def psnr(one: np.ndarray, other: np.ndarray, border: int) -> float:
    inner = slice(border, -border)
    return float(10 * np.log10(255**2 / np.mean((one[inner, inner] - other[inner, inner]) ** 2)))


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_imdn_checkpoint_reproduces_its_paper(checkpoints: Path, shared: Path, scale: int) -> None:
    for score in scores_of("imdn", scale, checkpoints, shared / "data" / "eval"):
        assert score.psnr_y == pytest.approx(score.printed_psnr_y, abs=0.02)
        assert score.ssim_y == pytest.approx(score.printed_ssim_y, abs=3e-4)


@pytest.mark.parametrize("name", ["falsr-a", "falsr-b", "falsr-c"])
def test_falsr_checkpoint_by_the_protocol_of_its_authors(checkpoints: Path, shared: Path, name: str) -> None:
    """The protocol truncates the enlargement instead of rounding it, and rounds luma before the comparison."""
    network = convert_network(checkpoints / CHECKPOINTS[name][0], name=name, scale=2)
    upscaler = open_network_engine(network, threads=None)
    for data in SETS:
        found = []
        for item in load_set(shared / "data" / "eval" / data, scale=2):
            sr = np.floor(upscaler(item.lr.astype(np.float32) / np.float32(255)).clip(0, 1) * 255)
            found.append(psnr(np.around(rgb_to_y(sr)), np.around(rgb_to_y(item.hr)), 2))
        assert np.mean(found) == pytest.approx(published_scores(name, 2)[data][0], abs=0.02)


def shrunk(image: np.ndarray, scale: int) -> np.ndarray:
    """Imresize without rounding."""
    for _ in range(2):
        weights, rows = _taps(image.shape[0], image.shape[0] // scale, 1 / scale)
        image = np.einsum("nk,nkw->wn", weights, image[rows])
    return image


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_idn_checkpoint_by_the_protocol_of_its_authors(checkpoints: Path, shared: Path, scale: int) -> None:
    """The protocol makes LR images from rounded luma instead of RGB, and rounds luma before the comparison.

    The grey file `bridge` of Set14 is used directly as luma from 0 to 255.
    """
    name = CHECKPOINTS["idn"][0].format(scale)
    luma = convert_network(checkpoints / name, name="idn", scale=scale).module.eval().network
    assert isinstance(luma, torch.nn.Module)
    for data in SETS:
        found = []
        for item in load_set(shared / "data" / "eval" / data, scale=scale):
            y = item.hr[..., 0].astype(float) if item.name == "bridge" else np.floor(rgb_to_y(item.hr) + 0.5)
            lr = torch.from_numpy(shrunk(y / 255, scale).astype(np.float32))
            with torch.inference_mode():
                sr = luma(lr[None, None])[0, 0].numpy()
            found.append(psnr(np.floor(sr.clip(0, 1) * 255 + 0.5), y, scale))
        assert np.mean(found) == pytest.approx(published_scores("idn", scale)[data][0], abs=0.02)


@pytest.mark.parametrize(("name", "scale"), [("carn-m", 4), ("fsrcnn-shuffle", 4), ("vdsr", 3)])
def test_other_checkpoints_match_the_page(checkpoints: Path, shared: Path, name: str, scale: int) -> None:
    """These checkpoints are not those of the printed figures."""
    (score,) = scores_of(name, scale, checkpoints, shared / "data" / "eval", sets=("Set5",))
    kept = {(s["network"], s["scale"], s["data"]): s for s in json.loads(KEPT.read_text(encoding="utf-8"))}
    assert score.psnr_y == pytest.approx(kept[name, scale, "Set5"]["psnr_y"], abs=0.002)
    assert score.ssim_y == pytest.approx(kept[name, scale, "Set5"]["ssim_y"], abs=2e-4)
