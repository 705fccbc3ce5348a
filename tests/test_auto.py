"""Robust and clean weights, and ``auto``, which chooses between them for each picture."""

import io
import json
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from click.testing import CliRunner
from PIL import Image

import a2f
from a2f.cli.main import cli, main
from a2f.errors import UnknownModelError
from a2f.imageio import read_image
from a2f.weights import (
    auto_model,
    available_scales,
    find_shipped,
    network_of,
    pass_models,
    read_weights,
    robust_below,
    shipped_models,
)

RNG = np.random.default_rng(0)
PHOTO = Image.fromarray(RNG.integers(60, 190, (14, 18, 3)).astype(np.uint8)).resize((36, 28), Image.Resampling.BICUBIC)


def saved(quality: int | None) -> bytes:
    """Write the photo as a JPEG of this quality, or as PNG."""
    file = io.BytesIO()
    if quality is None:
        PHOTO.save(file, "PNG")
    else:
        PHOTO.save(file, "JPEG", quality=quality)
    return file.getvalue()


@pytest.fixture
def here(tmp_path: Path, monkeypatch) -> Path:
    """A folder with files of every kind."""
    folder = tmp_path / "desk"
    folder.mkdir()
    monkeypatch.chdir(folder)
    for name, quality in (("a.jpg", 30), ("b.jpg", 95), ("c.png", None), ("d.jpg", 60), ("e.jpg", 75)):
        (folder / name).write_bytes(saved(quality))
    return folder


def run(*arguments: Any):
    return CliRunner().invoke(cli, [str(a) for a in arguments])


def records(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def pixels(path: Path | str) -> np.ndarray:
    return read_image(path).pixels


def test_names(robust_shipped: Path) -> None:
    model = find_shipped("sd-robust", scale=2)
    assert (model.name, model.variant, model.kind, model.file) == ("sd-robust", "sd", "robust", model.path.name)
    weights = read_weights(model.path)
    assert weights.label == f"sd-robust x2 {model.sha256[:8]}"
    assert weights.config == read_weights(find_shipped("sd", scale=2).path).config
    assert find_shipped("sd", scale=2).kind == "clean"
    assert [network_of(name) for name in ("sd-robust", "sd", "baseline")] == ["sd", "sd", "baseline"]
    with pytest.raises(UnknownModelError, match=r"sd-robust has no weights for x3\. Choose one of: s x2"):
        find_shipped("sd-robust", scale=3)
    assert available_scales("sd-robust") == (2, 4)
    assert available_scales("sd") == available_scales("auto") == (2, 3, 4)


def test_choice(robust_shipped: Path) -> None:
    chosen = {
        q: (auto_model(q, scale=2), auto_model(q, scale=3), auto_model(q, scale=4)) for q in (None, 1, 69, 70, 80)
    }
    assert chosen == {
        None: ("sd", "sd", "sd"),
        1: ("sd-robust", "sd", "sd-robust"),
        69: ("sd-robust", "sd", "sd-robust"),
        70: ("sd-robust", "sd", "sd"),
        80: ("sd", "sd", "sd"),
    }
    assert pass_models("auto", [2, 4], jpeg_quality=30) == ["sd-robust", "sd"]
    assert pass_models("auto", [], jpeg_quality=30) == []
    assert pass_models("sd", [2, 2], jpeg_quality=30) == ["sd", "sd"]


def test_without_robust_weights_auto_is_sd(robust_shipped: Path) -> None:
    index = json.loads((robust_shipped / "index.json").read_text())
    index["models"] = [m for m in index["models"] if m.get("kind", "clean") == "clean"]
    (robust_shipped / "index.json").write_text(json.dumps(index))
    shipped_models.cache_clear()
    assert {auto_model(q, scale=s) for q in (None, 1, 100) for s in (2, 3, 4)} == {"sd"}
    assert a2f.upscale(saved(30), scale=2, model="auto") == a2f.upscale(saved(30), scale=2, model="sd")
    with pytest.raises(UnknownModelError, match="sd-robust has no weights for x2"):
        a2f.load("sd-robust", scale=2)


def test_robust_weights_that_are_not_measured_are_never_chosen(robust_shipped: Path) -> None:
    index = json.loads((robust_shipped / "index.json").read_text())
    for entry in index["models"]:
        entry.pop("jpeg_below", None)
    (robust_shipped / "index.json").write_text(json.dumps(index))
    shipped_models.cache_clear()
    assert auto_model(1, scale=2) == "sd"


@pytest.mark.integration
def test_commands_know_robust_weights(robust_shipped: Path, here: Path) -> None:
    listed = run("models").output
    (line,) = [line for line in listed.splitlines() if line.startswith("sd-robust") and "x2" in line]
    assert f"{find_shipped('sd', scale=2).psnr_y['Set5'] - 0.5:.2f}" in line
    assert "29.87" in line
    assert "28.50" in line
    assert "A²F-SD, for JPEG input" in line
    entries = json.loads(run("models", "--json").output)
    assert [(e["variant"], e["kind"]) for e in entries if e["scale"] == 2] == [
        ("s", "clean"),
        ("sd", "clean"),
        ("m", "clean"),
        ("l", "clean"),
        ("sd", "robust"),
    ]
    assert run("export", "sd-robust", "-s", 2, "-o", "r.onnx").exit_code == 0
    image = PHOTO.crop((0, 0, 5, 4))
    (sr,) = onnxruntime.InferenceSession("r.onnx").run(
        None, {"lr": np.asarray(image, np.float32).transpose(2, 0, 1)[None] / 255}
    )
    upscaler = a2f.load("sd-robust", scale=2)
    assert "sd-robust x2" in upscaler.description
    expected = upscaler(np.asarray(image, np.float32) / 255)
    np.testing.assert_allclose(sr[0].transpose(1, 2, 0), expected, atol=1e-5)
    assert run("profile", "sd-robust", "--json").output == run("profile", "sd", "--json").output
    scores = json.loads(run("eval", "sd", "sd-robust", "-s", 2, "--data", here, "--metrics", "psnr_y", "--json").output)
    assert [s["model"] for s in scores["scores"]] == ["sd", "sd-robust"]
    assert scores["scores"][0]["mean"] != scores["scores"][1]["mean"]
    assert run("upscale", "c.png", "-s", 2, "-m", "sd-robust", "--json").exit_code == 0
    assert (pixels("c_x2.png") != a2f.upscale(np.asarray(PHOTO), scale=2)).any()


def test_auto_is_refused_by_other_commands(robust_shipped: Path, here: Path) -> None:
    with pytest.raises(UnknownModelError, match="auto chooses a model for each picture"):
        a2f.load("auto", scale=2)
    assert "auto chooses" in str(run("export", "auto", "-o", "a.onnx").exception)


@pytest.mark.integration
@pytest.mark.parametrize("jobs", [1, 2])
def test_batch_of_both_kinds(robust_shipped: Path, here: Path, jobs: int) -> None:
    done = run("upscale", ".", "-s", 2, "-m", "auto", "--json", "-j", jobs, "-f", "png", "-o", "out")
    assert done.exit_code == 0, done.output
    told = {r["input"]: (r["model"], r["jpeg_quality"]) for r in records(done.stdout)}
    assert told == {
        "a.jpg": ("sd-robust", 30),
        "b.jpg": ("sd", 95),
        "c.png": ("sd", None),
        "d.jpg": ("sd-robust", 60),
        "e.jpg": ("sd-robust", 75),
    }
    for name, (model, _) in told.items():
        assert run("upscale", name, "-s", 2, "-m", model, "-f", "png", "-o", "named").exit_code == 0
        made = Path(str(name)).stem + "_x2.png"
        np.testing.assert_array_equal(pixels(f"out/{made}"), pixels(f"named/{made}"))


def test_each_engine_is_opened_once_and_only_if_needed(robust_shipped: Path, here: Path) -> None:
    def ran(*names: str, jobs: int = 1) -> tuple[list[object], list[str]]:
        """The model of each image, and the opened networks in order."""
        given = ["-m", "auto", "-s", 2, "-f", "png", "-o", "out", "--overwrite", "--json", "-v", "-j", jobs]
        done = run("upscale", *names, *given)
        assert done.exit_code == 0, done.output
        opened = re.findall(r"^onnxruntime [^,]*, (sd\S*) x2 ", done.stderr, re.MULTILINE)
        return [record["model"] for record in records(done.stdout)], opened

    assert ran("a.jpg", "d.jpg") == (["sd-robust"] * 2, ["sd-robust"])
    assert ran("c.png", "b.jpg") == (["sd"] * 2, ["sd"])
    models, opened = ran("a.jpg", "b.jpg", "c.png", "d.jpg", "e.jpg", jobs=2)
    assert models == ["sd-robust", "sd", "sd", "sd-robust", "sd-robust"]
    assert sorted(opened) == ["sd", "sd-robust"]


@pytest.mark.parametrize(
    ("options", "alone"), [(["-s", 2, "-m", "sd"], True), (["-s", 2], False), (["--width", 99, "-m", "sd"], False)]
)
def test_engine_keeps_no_memory_that_another_engine_needs(
    here: Path, monkeypatch, options: list[object], alone: bool
) -> None:
    from a2f import upscalers

    given, open_upscaler = [], upscalers.open_upscaler

    def listening(*arguments: Any, **how: Any) -> object:
        given.append(not how["memory"].releases)
        return open_upscaler(*arguments, **how)

    monkeypatch.setattr(upscalers, "open_upscaler", listening)
    assert run("upscale", "a.jpg", *options, "--max-memory", "2GB", "-o", "large.png").exit_code == 0
    assert set(given) == {alone}


def test_scale_without_robust_weights(robust_shipped: Path, here: Path) -> None:
    done = run("upscale", "a.jpg", "-s", 3, "-m", "auto", "-v", "--json")
    assert records(done.stdout)[0]["model"] == "sd"
    assert "a.jpg: auto: JPEG quality about 30: model sd (no sd-robust is shipped at x3)\n" in done.stderr


@pytest.mark.integration
def test_verbose_output(robust_shipped: Path, here: Path) -> None:
    said = run("upscale", ".", "-s", 2, "-m", "auto", "-v", "-o", "out").stderr
    assert "a.jpg: auto: JPEG quality about 30: model sd-robust\n" in said
    assert "b.jpg: auto: JPEG quality about 95: model sd\n" in said
    assert "c.png: auto: not a JPEG: model sd\n" in said
    assert [said.count(f"{name} x2 ") for name in ("sd", "sd-robust")] == [1, 1]  # one line an engine
    quiet = run("upscale", ".", "-s", 2, "-m", "auto", "-o", "again").stderr
    assert "auto:" not in quiet
    named = run("upscale", "a.jpg", "-s", 2, "-m", "sd", "-v", "--json")
    assert "auto:" not in named.stderr
    assert (records(named.stdout)[0]["model"], records(named.stdout)[0]["jpeg_quality"]) == ("sd", 30)


def test_auto_is_the_default_of_the_command_line(robust_shipped: Path, here: Path) -> None:
    done = run("upscale", ".", "-s", 2, "--json", "-o", "out")
    models = {Path(r["input"]).name: r["model"] for r in records(done.stdout)}
    assert [models[name] for name in ("a.jpg", "b.jpg", "c.png")] == ["sd-robust", "sd", "sd"]


@pytest.mark.integration
def test_exact_sizes(robust_shipped: Path, here: Path) -> None:
    done = run("upscale", "a.jpg", "--width", 70, "-m", "auto", "--json", "-o", "auto.png")
    assert run("upscale", "a.jpg", "--width", 70, "-m", "sd-robust", "-o", "robust.png").exit_code == 0
    assert records(done.stdout)[0]["model"] == "sd-robust"
    np.testing.assert_array_equal(pixels("auto.png"), pixels("robust.png"))
    twice = run("upscale", "a.jpg", "--width", 36 * 6, "-m", "auto", "-v", "--json", "-o", "twice.png")
    assert "auto: JPEG quality about 30: model sd-robust, then sd" in twice.stderr
    assert records(twice.stdout)[0]["model"] == "sd-robust"
    first = a2f.upscale(pixels("a.jpg").astype(np.float32) / 255, scale=2, model="sd-robust")
    both = a2f.upscale(first, size=(36 * 6, 28 * 6), model="sd")
    np.testing.assert_allclose(pixels("twice.png"), both * 255, atol=0.51)
    smaller = run("upscale", "a.jpg", "--width", 9, "-m", "auto", "-v", "--json", "-o", "small.png")
    assert records(smaller.stdout)[0]["model"] is None
    assert "auto:" not in smaller.stderr


def test_standard_input(robust_shipped: Path, here: Path) -> None:
    done = CliRunner().invoke(cli, ["upscale", "-", "-s", "2", "-m", "auto", "-f", "png", "-v"], input=saved(30))
    assert done.exit_code == 0
    assert "standard input: auto: JPEG quality about 30: model sd-robust" in done.stderr
    named = run("upscale", "a.jpg", "-s", 2, "-m", "sd-robust", "-o", "named.png")  # the bytes of a.jpg are those
    assert named.exit_code == 0
    np.testing.assert_array_equal(read_image(done.stdout_bytes).pixels, pixels("named.png"))


def test_failures_are_equal_to_those_of_a_named_model(robust_shipped: Path, here: Path, monkeypatch, capsys) -> None:
    for first in ("a.jpg", "c.png", "none.jpg"):
        for more, code in ((["--device", "tpu"], 2), ([], 0 if first != "none.jpg" else 3)):
            monkeypatch.setattr(sys, "argv", ["a2f", "upscale", first, "-s", "2", "-m", "auto", "--overwrite", *more])
            with pytest.raises(SystemExit) as stop:
                main()
            assert int(stop.value.code or 0) == code, (first, more, capsys.readouterr().err)


@pytest.mark.integration
def test_fast_mode_reports_what_each_model_lacks(robust_shipped: Path, here: Path, monkeypatch) -> None:
    pytest.importorskip("openvino")
    monkeypatch.setattr("a2f.runtime.opening.has_amx", lambda: False)  # with it, fast mode needs no ranges
    from dataclasses import replace

    from a2f.weights import write_weights

    path = find_shipped("sd-robust", scale=2).path
    given = read_weights(path)
    bare = {k: v for k, v in given.metadata.items() if "int8" not in k and "range" not in k}
    path.write_bytes(write_weights(replace(given, metadata=bare)))
    done = run("upscale", "c.png", "a.jpg", "-s", 2, "-m", "auto", "--dtype", "fast", "-j", 1)
    assert done.exit_code == 0, done.output
    alone = run("upscale", "a.jpg", "-s", 2, "-m", "sd-robust", "--dtype", "fast", "--overwrite")
    note = alone.stderr.splitlines()[0]
    assert "a.jpg ->" not in note
    assert done.stderr.count(note) == 1


@pytest.mark.integration
def test_python_api(robust_shipped: Path, here: Path) -> None:
    for quality, model in ((30, "sd-robust"), (95, "sd"), (None, "sd")):
        blob = saved(quality)
        assert a2f.upscale(blob, scale=2, model="auto") == a2f.upscale(blob, scale=2, model=model)
        with Image.open(io.BytesIO(blob)) as image:
            auto, named = a2f.upscale(image, scale=2, model="auto"), a2f.upscale(image, scale=2, model=model)
        np.testing.assert_array_equal(np.asarray(auto), np.asarray(named))
    path = a2f.upscale(here / "a.jpg", scale=2, model="auto", output=here / "auto.png")
    named = a2f.upscale(here / "a.jpg", scale=2, model="sd-robust", output=here / "named.png")
    np.testing.assert_array_equal(pixels(path), pixels(named))
    array = np.asarray(PHOTO)
    np.testing.assert_array_equal(a2f.upscale(array, scale=2, model="auto"), a2f.upscale(array, scale=2, model="sd"))


def test_result_page_has_the_qualities_of_the_index() -> None:
    results = (Path(__file__).parents[1] / "RESULTS.md").read_text(encoding="utf-8")
    told = re.findall(
        r"^x(\d): sd-robust has the higher PSNR-Y on JPEGs of a quality below (\d+)\.$", results, re.MULTILINE
    )
    below = {scale: robust_below(scale) for scale in (2, 3, 4)}
    assert {int(scale): int(quality) for scale, quality in told} == {s: q for s, q in below.items() if q}


@pytest.mark.parametrize("scale", [2, 4])
def test_auto_uses_robust_weights_for_a_strongly_compressed_jpeg(scale: int, tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    PHOTO.save(path, quality=75)
    words = [str(path), "-s", str(scale), "-v", "-o", str(tmp_path / "b.png")]
    done = CliRunner().invoke(cli, ["upscale", *words], standalone_mode=False)
    assert "JPEG quality about 75: model sd-robust\n" in done.stderr
