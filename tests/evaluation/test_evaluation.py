"""Sets from disk, scores, tables, and ``a2f eval``."""

import csv
import io
import json
import math
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from a2f.cli.entrants import names_of
from a2f.cli.main import cli, main
from a2f.errors import ImageReadError, InputError, UsageError
from a2f.evaluation.report import as_json
from a2f.evaluation.score import protocol, psnr_rgb, score_set, upscale_uint8
from a2f.evaluation.sets import load_set
from a2f.evaluation.tables import as_csv, as_markdown, footnote, rows_of, table_rows
from a2f.export.graph import export_onnx
from a2f.metrics import psnr_y, ssim_y
from a2f.resize import imresize
from a2f.weights import find_shipped, read_weights


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A set of two smooth images; the second is grey with odd sides."""
    folder = tmp_path / "Tiny"
    (folder / "HR").mkdir(parents=True)
    y, x = np.mgrid[0:64, 0:80]
    for number, name in enumerate(("a", "b")):
        wave = (127 + 90 * np.sin(x / (3 + number)) * np.cos(y / 4)).astype(np.uint8)
        image = Image.fromarray(wave if number else np.stack([wave, 255 - wave, wave // 2], axis=-1))
        image.crop((0, 0, 80 - number, 64)).save(folder / "HR" / f"{name}.png")
    return folder


def test_hr_images_are_cropped_and_downscaled(data: Path) -> None:
    a, b = load_set(data, scale=4)
    assert (a.name, a.hr.shape, a.lr.shape) == ("a", (64, 80, 3), (16, 20, 3))
    assert (b.name, b.hr.shape, b.lr.shape) == ("b", (64, 76, 3), (16, 19, 3))
    np.testing.assert_array_equal(a.lr, imresize(a.hr, scale=1 / 4))
    assert [i.name for i in load_set(data / "HR", scale=2)] == ["a", "b"]


def test_existing_lr_images_are_used(data: Path) -> None:
    folder = data / "LR_bicubic" / "X4"
    folder.mkdir(parents=True)
    Image.new("RGB", (20, 16), (1, 2, 3)).save(folder / "ax4.png")
    with pytest.raises(InputError, match=r"has no LR image for 1 of the 2 .*: bx4\.png"):
        load_set(data, scale=4)
    Image.new("RGB", (19, 16)).save(folder / "bx4.png")
    np.testing.assert_array_equal(load_set(data, scale=4)[0].lr[0, 0], (1, 2, 3))
    Image.new("RGB", (20, 16), (9, 9, 9)).save(folder / "a.png")  # less exact a name
    np.testing.assert_array_equal(load_set(data, scale=4)[0].lr[0, 0], (1, 2, 3))
    Image.new("RGB", (20, 16)).save(folder / "bx4.png")
    with pytest.raises(InputError, match=r"has 20 x 16 pixels, but .*b\.png at x4 needs 19 x 16"):
        load_set(data, scale=4)


def test_invalid_sets(tmp_path: Path) -> None:
    with pytest.raises(ImageReadError, match="none is not a folder"):
        load_set(tmp_path / "none", scale=4)
    with pytest.raises(ImageReadError, match="holds no images"):
        load_set(tmp_path, scale=4)


def test_scores_are_computed_on_the_rounded_image(data: Path, tmp_path: Path) -> None:
    items = load_set(data, scale=2)
    scores = score_set(
        None,
        items,
        model="bicubic",
        data="Tiny",
        scale=2,
        metrics=("psnr_y", "ssim_y", "psnr_rgb"),
        save=tmp_path / "sr",
    )
    for item in items:
        sr = upscale_uint8(item.lr, None, scale=2)
        assert scores.images[item.name]["psnr_y"] == psnr_y(sr, item.hr, border=2)
        assert scores.images[item.name]["ssim_y"] == ssim_y(sr, item.hr, border=2)
        assert scores.images[item.name]["psnr_rgb"] == psnr_rgb(sr, item.hr, border=2)
        with Image.open(tmp_path / "sr" / f"{item.name}x2.png") as saved:
            np.testing.assert_array_equal(np.asarray(saved), sr)
    values = [v["psnr_y"] for v in scores.images.values()]
    assert scores.mean("psnr_y") == pytest.approx(sum(values) / 2)


def test_psnr_rgb() -> None:
    a = np.zeros((8, 8, 3), np.uint8)
    b = a.copy()
    b[..., 0] = 3
    assert psnr_rgb(a, b, border=2) == pytest.approx(10 * math.log10(255**2 / 3))
    assert psnr_rgb(a, a, border=0) == math.inf


def test_score_refuses_invalid_images(data: Path) -> None:
    from a2f import load

    items = load_set(data, scale=4)
    with pytest.raises(UsageError, match="choose from psnr_y, ssim_y, psnr_rgb, ms_ssim, lpips"):
        score_set(None, items, model="m", data="d", scale=4, metrics=("beauty",))
    with pytest.raises(InputError, match="enlarges 2 times"):
        score_set(load("sd", scale=2), items, model="m", data="d", scale=4)


def test_tables(data: Path) -> None:
    metrics = ("psnr_y", "ssim_y")
    items = load_set(data, scale=4)
    scores = [score_set(None, items, model=name, data="Set5", scale=4, metrics=metrics) for name in ("bicubic", "sd")]
    rows, told = rows_of(scores, metrics, shown="own"), protocol(metrics)
    assert [row[0] for row in rows] == ["model", "bicubic x4", "sd x4", "the paper's A²F-SD x4 (320K, 18.2G)"]
    assert rows[3][1] == "32.06/0.8928"
    assert rows[1][1] == f"{scores[0].mean('psnr_y'):.3f}/{scores[0].mean('ssim_y'):.4f}"
    assert told in as_markdown(rows, footnote(metrics))
    printed = table_rows(scores, metrics, shown="own")
    assert "Tables 5 (LPIPS) and 6" in footnote(metrics, printed, shown="own")
    assert "has no figures of these networks" in footnote(metrics, printed[:2], shown="own")
    every = rows_of(scores, metrics, shown="all")
    assert len(every) == 3 + 23
    assert ["the paper's CARN-M x4 (412K, 32.5G)", "31.92/0.8903"] in every
    lines = list(csv.DictReader(io.StringIO(as_csv(scores, metrics))))
    assert [line["image"] for line in lines] == ["a", "b", "mean"] * 2
    assert float(lines[2]["psnr_y"]) == scores[0].mean("psnr_y")
    assert {line["protocol"] for line in lines} == {told}
    whole = json.loads(as_json(scores, metrics, shown="own"))
    assert whole["protocol"] == told
    assert whole["scores"][1]["mean"]["psnr_y"] == scores[1].mean("psnr_y")
    assert [row["method"] for row in whole["published"]["rows"]] == ["A²F-SD"]
    assert "published" not in json.loads(as_json(scores, metrics))


def test_nan_raises_an_error(data: Path) -> None:
    class Broken:
        scale, description = 4, "broken"

        def __call__(self, image: np.ndarray) -> np.ndarray:
            sr = image.repeat(4, 0).repeat(4, 1)
            sr[3, 3, 1] = np.nan
            return sr

    with pytest.raises(InputError, match="broken: the result has NaN or infinity"):
        score_set(Broken(), load_set(data, scale=4), model="m", data="d", scale=4)


def test_models_with_equal_file_names_get_distinct_labels() -> None:
    models = ["sd", "a/best.safetensors", "b/best.safetensors", "c.onnx"]
    assert list(names_of(models)) == ["sd", "a/best", "b/best", "c"]


@pytest.mark.parametrize("name", ["../x", "a/b", "a\\b", ".."])
def test_names_that_are_paths_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match="is not a possible name"):
        names_of([f"{name}=sd"])


def test_sets_and_pictures_with_equal_names_get_distinct_labels(tmp_path: Path) -> None:
    for folder, level in (("a/Set", 10), ("b/Set", 200)):
        (tmp_path / folder).mkdir(parents=True)
        rng = np.random.default_rng(level)
        for suffix in ("png", "bmp"):
            pixels = rng.integers(0, level, (16, 16, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / folder / f"p.{suffix}")
    assert [item.name for item in load_set(tmp_path / "a/Set", scale=2)] == ["p.bmp", "p.png"]
    words = ["eval", "bicubic", "-s", "2", "--metrics", "psnr_y", "--csv", "--data", "a/Set", "b/Set"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        done = CliRunner().invoke(cli, words, catch_exceptions=False)
    lines = [line.split(",") for line in done.stdout.splitlines()[1:]]
    assert [(line[2], line[4]) for line in lines] == [
        (name, image) for name in ("a/Set", "b/Set") for image in ("p.bmp", "p.png", "mean")
    ]


@pytest.mark.integration
def test_ensembles_are_measured_and_named(data: Path, tmp_path: Path) -> None:
    from a2f import load

    data = data.rename(data.with_name("Set5"))
    run, asked = CliRunner(), ["eval", "bicubic", "sd", "-s", "4", "--data", str(data), "--ensemble", "8"]
    scores = json.loads(run.invoke(cli, [*asked, "--json"]).stdout)["scores"]
    assert [(s["model"], s["ensemble"]) for s in scores] == [("bicubic", 1), ("sd", 8)]
    items = load_set(data, scale=4)
    expected = score_set(load(scale=4, ensemble=8), items, model="sd", data="Tiny", scale=4)
    assert scores[1]["images"] == expected.images
    text = run.invoke(cli, [*asked, "--published", "--save", str(tmp_path / "out")]).stdout
    assert "| sd x4, ensemble of 8 |" in text
    assert "| bicubic x4 |" in text
    assert "the paper's A²F-SD x4" in text
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["bicubic", "sd_ensemble8"]
    lines = list(csv.DictReader(io.StringIO(run.invoke(cli, [*asked, "--csv"]).stdout)))
    assert {line["model"] for line in lines} == {"bicubic", "sd, ensemble of 8"}
    refused = run.invoke(cli, [*asked[:-1], "5"])
    assert isinstance(refused.exception, UsageError)


@pytest.mark.integration
def test_command(data: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    run = CliRunner()
    done = run.invoke(cli, ["eval", "bicubic", "sd", "-s", "4", "--data", str(data), str(data / "HR"), "--json"])
    assert done.exit_code == 0, done.output
    assert [(s["model"], s["set"]) for s in json.loads(done.stdout)["scores"]] == [
        ("bicubic", "Tiny"), ("bicubic", "HR"), ("sd", "Tiny"), ("sd", "HR"),
    ]  # fmt: skip
    done = run.invoke(
        cli,
        ["eval", "bicubic", "--data", str(data), "--metrics", "psnr_y", "psnr_rgb", "--save", str(tmp_path / "out")],
    )
    assert done.stdout.startswith("| model | Tiny psnr_y/psnr_rgb |")
    assert sorted(p.name for p in (tmp_path / "out/bicubic/Tiny").iterdir()) == ["ax4.png", "bx4.png"]
    (tmp_path / "own.onnx").write_bytes(export_onnx(read_weights(find_shipped("sd", scale=4).path)))
    done = run.invoke(cli, ["eval", "sd", str(tmp_path / "own.onnx"), "--data", str(data), "--published-all"])
    rows = [line.split("|") for line in done.stdout.splitlines()]
    assert rows[3][1] == " own x4 "
    assert rows[3][2] == rows[2][2]  # our own network, by both ways
    assert "has no figures of these networks for these sets" in done.stdout
    named = shutil.copytree(data, tmp_path / "Set5")
    done = run.invoke(cli, ["eval", "sd", "--data", str(named), "--published-all"])
    assert "MSRN x4 (6078K, 349.8G)" in done.stdout
    for arguments, code, message in [
        (["eval", "sd", "--data", tmp_path / "none"], 3, "there is no folder"),
        (["eval", "xl", "--data", data], 2, "unknown model"),
        (["eval", "sd", "--data", data, "--metrics", "beauty"], 2, "choose from psnr_y"),
        (["eval", "sd"], 2, "--data"),
        (["eval", "none.onnx", "--data", data], 3, "cannot read none.onnx"),
        (["eval", "none.onnx", "--data", data, "--input-range", "2"], 2, "choose 1, 255"),
    ]:
        monkeypatch.setattr(sys, "argv", ["a2f", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            main()
        assert stop.value.code == code
        assert message in capsys.readouterr().err
