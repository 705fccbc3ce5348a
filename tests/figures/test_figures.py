"""The figures of the paper have the right content."""

import itertools
import re
from pathlib import Path

import numpy as np
import pytest

from a2f.errors import InputError, UsageError, WeightsError
from a2f.evaluation.published import METHODS, table_6
from a2f.evaluation.sets import Item
from a2f.figures.cost import draw_cost, points_of
from a2f.figures.crops import draw_crops, scene_of
from a2f.figures.factors import Panel, block_ticks, draw_factors, panel_of, rows_of
from a2f.figures.network import draw_network, shown_blocks
from a2f.resize import imresize
from a2f.variants import ablation_of, config_of
from a2f.weights import find_shipped, read_weights


def texts(path: Path) -> list[str]:
    """The texts of an SVG: matplotlib writes each text as a comment beside its outlines."""
    return re.findall(r"<!-- (.*?) -->", path.read_text(encoding="utf-8"))


@pytest.mark.integration
@pytest.mark.parametrize(("data", "scale", "measured"), [("Manga109", 2, {}), ("Set5", 4, {"sd": 31.7})])
def test_figure_1_has_every_method_and_no_overlapping_labels(data: str, scale: int, measured, tmp_path: Path) -> None:
    path = tmp_path / "figure.svg"
    boxes = draw_cost(data, scale=scale, measured=measured, output=path)
    rows = [row for row in table_6() if row.scale == scale and data in row.figures]
    said = texts(path)
    for row in rows:
        assert said.count(row.method) == (1 if row.multi_adds_g is None else 2), row.method
    assert said.count("A²F-SD, a2f") == 2 * len(measured)
    assert f"PSNR-Y on {data} ×{scale}, dB" in said
    for half in boxes:
        assert all(one.overlap(other) == 0 for one, other in itertools.combinations(half, 2))


def test_points_of_figure_1() -> None:
    points = {p.name: p for p in points_of("Manga109", scale=2)}
    assert set(METHODS.values()) < set(points)
    assert (points["A²F-SD"].parameters_k, points["A²F-SD"].multi_adds_g, points["A²F-SD"].psnr_y) == (313, 71.2, 38.52)
    with pytest.raises(UsageError, match="choose one of Set5"):
        points_of("Kodak24", scale=2)


@pytest.mark.integration
def test_figures_are_deterministic(tmp_path: Path) -> None:
    for kind in (".svg", ".pdf"):
        first, second = tmp_path / f"a{kind}", tmp_path / f"b{kind}"
        for path in (first, second):
            draw_network(config_of("s", scale=4), output=path)
        assert first.read_bytes() == second.read_bytes()
    with pytest.raises(UsageError, match=r"\.svg, \.pdf, \.png"):
        draw_network(config_of("s", scale=4), output=tmp_path / "a.eps")


def test_figure_2_shows_the_configuration(tmp_path: Path) -> None:
    path = tmp_path / "figure.svg"
    draw_network(config_of("sd", scale=3), output=path)
    said = " ".join(texts(path))
    for text in ("A²F block 1", "A²F block 8", "3→16", "res: 3×3 conv 16→128", "16→27", "PixelShuffle ×3", "sigmoid"):
        assert text in said, text
    assert "A²F block 5" not in said
    assert shown_blocks(4) == [1, 2, 3, 4]
    assert shown_blocks(16) == [1, 2, None, 16]


def test_figure_3_shows_the_factors_of_the_file(tmp_path: Path) -> None:
    weights = read_weights(find_shipped("sd", scale=4).path)
    panel = panel_of(weights, whose="a2f")
    assert panel.title == "A²F-SD ×4, a2f"
    assert panel.values["att"][2] == float(weights.tensors["blocks.2.lambda_att"][0])
    path = tmp_path / "figure.svg"
    draw_factors([panel, Panel(network="mine", title="another", values=panel.values)], output=path)
    assert {"A²F-SD ×4, a2f", "another", "block"} <= set(texts(path))
    with pytest.raises(UsageError, match="give a model"):
        draw_factors([], output=path)


def test_figure_3_has_a_row_for_each_network() -> None:
    def panel(network: str, number: int) -> Panel:
        return Panel(network=network, title=f"{network}{number}", values={})

    few = [panel("s", 2), panel("s", 3), panel("sd", 2)]
    assert rows_of(few) == [few]
    many = [panel(network, n) for network in ("s", "sd") for n in (2, 3, 4)]
    assert rows_of([many[0], *many[3:], *many[1:3]]) == [many[:3], many[3:]]
    assert [len(row) for row in rows_of([panel("s", n) for n in range(6)])] == [4, 2]


@pytest.mark.parametrize(("blocks", "ticks"), [(4, [1, 2, 3, 4]), (8, [*range(1, 9)]), (16, [1, 4, 8, 12, 16])])
def test_ticks_of_blocks_begin_with_the_first_and_end_with_the_last(blocks: int, ticks: list[int]) -> None:
    assert block_ticks(blocks) == ticks


@pytest.mark.integration
def test_figure_3_needs_all_factors() -> None:
    from a2f.model.a2f import A2F, to_weights

    with pytest.raises(WeightsError, match="has not all factors"):
        panel_of(to_weights(A2F(ablation_of("baseline-mp", scale=2))), whose="x")


@pytest.fixture
def item() -> Item:
    hr = np.random.default_rng(0).integers(0, 256, (96, 128, 3)).astype(np.uint8)
    return Item(name="noise", hr=hr, lr=imresize(hr, scale=1 / 4))


class Grey:
    """An upscaler whose result is grey."""

    scale = 4
    description = "grey"

    def __call__(self, image):
        return np.full((image.shape[0] * 4, image.shape[1] * 4, 3), 0.5, np.float32)


@pytest.mark.integration
def test_figure_4_shows_each_method_with_its_scores(item: Item, tmp_path: Path) -> None:
    scene = scene_of(item, {"bicubic": None, "grey": Grey()}, data="Noise", scale=4, crop=(8, 4, 60, 40))
    assert [s.name for s in scene.shown] == ["bicubic", "grey"]
    path = tmp_path / "figure.svg"
    draw_crops([scene], scale=4, output=path)
    said = texts(path)
    assert "noise (Noise), ×4" in said
    for shown in scene.shown:
        assert {shown.name, f"{shown.psnr_y:.2f} / {shown.ssim_y:.4f}"} <= set(said)
    assert path.read_text(encoding="utf-8").count("<image") == 4  # the picture, HR, and two crops
    draw_crops([scene], scale=4, output=tmp_path / "figure.pdf")
    assert (tmp_path / "figure.pdf").read_bytes().startswith(b"%PDF")


@pytest.mark.parametrize("crop", [(100, 0, 40, 20), (0, 90, 10, 10), (0, 0, 0, 5)])
def test_figure_4_refuses_a_crop_outside(item: Item, crop: tuple[int, int, int, int]) -> None:
    with pytest.raises(UsageError, match="is not inside a picture of 128 x 96"):
        scene_of(item, {"bicubic": None}, data="Noise", scale=4, crop=crop)


def test_figure_4_refuses_nan(item: Item) -> None:
    class Broken(Grey):
        def __call__(self, image):
            return super().__call__(image) * np.nan

    with pytest.raises(InputError, match="NaN"):
        scene_of(item, {"broken": Broken()}, data="Noise", scale=4)
