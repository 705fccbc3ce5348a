"""LR images from JPEG files: pixels, tables, and the sheet of crops."""

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image, __version__

from a2f.cli.main import cli
from a2f.data.degrade import jpeg
from a2f.errors import UsageError
from a2f.evaluation.crops import CELL_PX, cells_of, draw_crops, sheet_rows
from a2f.evaluation.jpeg import compressed, condition, encoder, lr_rule
from a2f.evaluation.report import as_json
from a2f.evaluation.score import protocol, score_set, upscale_uint8
from a2f.evaluation.sets import load_set
from a2f.evaluation.tables import as_csv, as_markdown, footnote, qualities_of, rows_of
from a2f.imageio import read_image
from a2f.metrics import psnr_y

QUALITIES = (None, 75, 30)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A set of three pictures with an edge, waves and noise."""
    folder = tmp_path / "Tiny"
    (folder / "HR").mkdir(parents=True)
    rng = np.random.default_rng(0)
    y, x = np.mgrid[0:96, 0:120]
    for number, name in enumerate("abc"):
        wave = 127 + 80 * np.sin(x / (3 + number)) * np.cos(y / 4) + 30 * (x > y) + rng.normal(0, 4, x.shape)
        grey = wave.clip(0, 255).astype(np.uint8)
        Image.fromarray(np.stack([grey, 255 - grey, grey // 2], axis=-1)).save(folder / "HR" / f"{name}.png")
    return folder


def test_jpeg_has_the_stated_quality_and_subsampling(data: Path) -> None:
    lr = load_set(data, scale=2)[0].lr
    made, file = jpeg(lr, quality=30), io.BytesIO()
    Image.fromarray(lr).save(file, "JPEG", quality=30, subsampling=2)
    np.testing.assert_array_equal(made, read_image(file.getvalue()).pixels)  # the quality that `a2f upscale` detects
    assert made.shape == lr.shape
    losses = [np.abs(jpeg(lr, quality=q).astype(float) - lr).mean() for q in (90, 75, 50, 30)]
    assert losses == sorted(losses)
    assert losses[0] > 0


def test_only_lr_is_compressed(data: Path) -> None:
    items = load_set(data, scale=2)
    assert compressed(items, None) == items
    for before, after in zip(items, compressed(items, 50), strict=True):
        assert after.name == before.name
        np.testing.assert_array_equal(after.hr, before.hr)
        np.testing.assert_array_equal(after.lr, jpeg(before.lr, quality=50))


def test_rule_names_quality_subsampling_and_encoder() -> None:
    rule = lr_rule(QUALITIES)
    for part in ("a2f-jpeg/1", "MATLAB-compatible bicubic", "75, 30", "4:2:0", f"Pillow {__version__}", "clean"):
        assert part in rule
    assert "clean" not in lr_rule([75])
    assert "libjpeg" in encoder()
    assert protocol(["psnr_y"], [None]) == protocol(["psnr_y"])
    assert "a2f-y/1" in protocol(["psnr_y"], QUALITIES)
    assert [condition(q) for q in QUALITIES] == ["clean", "JPEG 75", "JPEG 30"]


def test_tables_have_a_column_for_each_quality(data: Path) -> None:
    items, metrics = load_set(data, scale=2), ("psnr_y",)
    scores = [
        score_set(None, compressed(items, q), model="sd", data="Set5", scale=2, metrics=metrics, jpeg_quality=q)
        for q in QUALITIES
    ]
    assert qualities_of(scores) == list(QUALITIES)
    means = [s.mean("psnr_y") for s in scores]
    assert means == sorted(means, reverse=True)
    rows = rows_of(scores, metrics, shown="own")
    assert rows[0] == ["model", "Set5 psnr_y", "Set5 JPEG 75 psnr_y", "Set5 JPEG 30 psnr_y"]
    assert rows[1] == ["sd x2", *(f"{mean:.3f}" for mean in means)]
    assert rows[2][1:] == ["37.91", "-", "-"]  # the paper has no JPEG
    told = protocol(metrics, QUALITIES)
    assert told in as_markdown(rows, footnote(metrics, qualities=QUALITIES))
    lines = list(csv.DictReader(io.StringIO(as_csv(scores, metrics))))
    assert [line["jpeg_quality"] for line in lines if line["image"] == "mean"] == ["", "75", "30"]
    assert {line["protocol"] for line in lines} == {told}
    whole = json.loads(as_json(scores, metrics))
    assert whole["protocol"] == told
    assert [entry["jpeg_quality"] for entry in whole["scores"]] == [None, 75, 30]


def test_sheet_shows_the_crops_to_the_pixel(data: Path) -> None:
    items = load_set(data, scale=2)
    scenes = sheet_rows(items, scale=2, qualities=(75,), pictures=("b",))
    (scene,) = scenes
    x, y, w, h = scene.crop
    assert (w, h) == (80, 60)
    assert all(side % 2 == 0 for side in scene.crop)
    (cell,) = cells_of(scenes, None, scale=2)
    sr = upscale_uint8(jpeg(items[1].lr, quality=75), None, scale=2)
    np.testing.assert_array_equal(cell.image, sr[y : y + h, x : x + w])
    assert cell.foot == f"{psnr_y(sr, items[1].hr, border=2):.2f} dB"
    sheet = np.asarray(draw_crops(scenes, {"bicubic": [cell]}, scale=2, note="how"))
    lr = jpeg(items[1].lr, quality=75)[y // 2 : (y + h) // 2, x // 2 : (x + w) // 2]
    shown = [part.repeat(factor, 0).repeat(factor, 1) for part, factor in
             ((lr, 6), (cell.image, 3), (items[1].hr[y : y + h, x : x + w], 3))]  # fmt: skip
    top, left = 36 + 30, 36
    for part in shown:
        assert part.shape[1::-1] == CELL_PX
        np.testing.assert_array_equal(sheet[top : top + CELL_PX[1], left : left + CELL_PX[0]], part)
        left += CELL_PX[0] + 16


def test_pictures_of_the_sheet(data: Path) -> None:
    items = load_set(data, scale=4)
    scenes = sheet_rows(items, scale=4, qualities=QUALITIES)
    assert [(s.item.name, s.quality) for s in scenes] == [(name, q) for name in ("a", "c") for q in QUALITIES]
    assert all(side % 4 == 0 for scene in scenes for side in scene.crop)
    with pytest.raises(UsageError, match="no picture 'd': choose from a, b, c"):
        sheet_rows(items, scale=4, qualities=QUALITIES, pictures=("d",))


@pytest.mark.integration
def test_command(data: Path, tmp_path: Path) -> None:
    def run(*arguments: object):
        return CliRunner().invoke(cli, ["eval", *map(str, arguments)])

    sheet, kept = tmp_path / "sheet.png", tmp_path / "out"
    given = ["bicubic", "sd", "-s", 2, "--data", data, "--metrics", "psnr_y", "--jpeg", "clean,90,30"]
    done = run(*given, "--sheet", sheet, "--pictures", "a,c", "--save", kept)
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith("| model | Tiny psnr_y | Tiny JPEG 90 psnr_y | Tiny JPEG 30 psnr_y |")
    assert protocol(["psnr_y"], (None, 90, 30)) in done.stdout
    assert sorted(p.name for p in (kept / "sd").iterdir()) == ["Tiny", "Tiny_jpeg30", "Tiny_jpeg90"]
    with Image.open(sheet) as drawn:
        assert drawn.width == 2 * 36 + 4 * 240 + 3 * 16
        assert drawn.height > 6 * 180
    assert run(*given, "--sheet", sheet, "--overwrite").exit_code == 0
    for more, message in [
        (["--sheet", sheet], "exists: overwrite=True replaces it"),
        (["--pictures", "a"], "add --sheet"),
        (["--jpeg", "75,best"], "'best': give qualities from 1 to 100, or clean"),
        (["--jpeg", "101"], "'101': give qualities"),
    ]:
        done = run(*given, *more)
        assert done.exit_code != 0
        assert message in done.output + str(done.exception)
