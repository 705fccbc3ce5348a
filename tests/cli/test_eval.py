"""``a2f eval``: compared models, required inputs, and output."""

import json
import shutil
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from a2f.cli.main import cli
from a2f.errors import A2FError, ImageReadError, OutputExistsError, WriteError
from a2f.evaluation.report import json_schema
from a2f.export.graph import export_onnx
from a2f.peers.files import open_network, write_network
from a2f.resize import imresize
from a2f.weights import find_shipped, read_weights


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Sets Set5 and Set14 of two pictures each."""
    monkeypatch.chdir(tmp_path)
    y, x = np.mgrid[0:66, 0:80]
    for number, name in enumerate(("Set5/HR/baby", "Set5/HR/bird", "Set14/HR/man", "Set14/HR/zebra")):
        path = tmp_path / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        wave = (127 + 90 * np.sin(x / (3 + number)) * np.cos(y / 4)).astype(np.uint8)
        Image.fromarray(np.stack([wave, 255 - wave, wave // 2], axis=-1)).save(path)
    return tmp_path


def test_save_below_a_file_is_an_error(here: Path) -> None:
    (here / "file").write_bytes(b"")
    done = run("bicubic", "-s", "2", "--data", "Set5", "--save", "file/out")
    assert isinstance(done.exception, WriteError)
    assert "cannot make the folder file/out" in str(done.exception)


def run(*words: object) -> Result:
    return CliRunner().invoke(cli, ["eval", *map(str, words)])


def scores(*words: object) -> list[dict]:
    done = run(*words, "--json")
    assert done.exit_code == 0, done.exception
    told = json.loads(done.stdout)
    jsonschema.validate(told, json.loads(json_schema()), cls=jsonschema.Draft202012Validator)
    return told["scores"]


def means(*words: object) -> dict[tuple[str, str], dict]:
    return {(s["model"], s["set"]): s["mean"] for s in scores(*words)}


@pytest.mark.integration
def test_finished_enlargements_score_like_their_model(here: Path) -> None:
    made = means("bicubic", "sd", "-s", "4", "--data", "Set5", "Set14", "--save", "out")
    read = means("out/sd", "--data", "Set5", "Set14")  # the file names have the scale
    for name in ("Set5", "Set14"):
        assert read["sd", name] == pytest.approx(made["sd", name], rel=1e-12)
    flat = here / "flat"
    flat.mkdir()
    for path in (here / "out" / "sd").rglob("*.png"):
        shutil.copy(path, flat / f"{path.stem.removesuffix('x4')}_MINE.png")
    assert means("flat", "-s", "4", "--data", "Set14")["flat", "Set14"] == read["sd", "Set14"]


def test_saved_enlargements_are_replaced_only_on_request(here: Path) -> None:
    words = ["bicubic", "-s", "2", "--data", "Set5", "--save", "out"]
    assert run(*words).exit_code == 0
    kept = here / "out" / "bicubic" / "Set5" / "babyx2.png"
    kept.write_bytes(b"mine")
    refused = run(*words)
    assert isinstance(refused.exception, OutputExistsError)
    assert "out/bicubic/Set5/babyx2.png exists" in str(refused.exception)
    assert kept.read_bytes() == b"mine"
    assert run(*words, "--overwrite").exit_code == 0
    assert kept.read_bytes() != b"mine"
    assert run("bicubic", "-s", "2", "--data", "Set14", "--save", "out").exit_code == 0  # this set has no files


def test_missing_folders_are_usage_errors(here: Path) -> None:
    for words in (["--data", "nothere"], ["--data", "Set5", "--lr-data", "nothere"]):
        missing = run("bicubic", *words)
        assert isinstance(missing.exception, ImageReadError)
        assert str(missing.exception) == "there is no folder nothere"
        (here / "nothere").touch()
        refused = run("bicubic", *words)
        assert refused.exit_code == 2
        assert "nothere is not a folder" in refused.output
        (here / "nothere").unlink()


def test_enlargements_with_wrong_names_or_sizes_are_refused(here: Path) -> None:
    made = here / "made"
    made.mkdir()
    large = imresize(np.asarray(Image.open("Set5/HR/baby.png"))[:64], scale=1.0)
    Image.fromarray(large).save(made / "baby.png")
    silent = run("made", "--data", "Set5")
    assert "have no scale: add -s" in str(silent.exception)
    lacking = run("made", "-s", "4", "--data", "Set5")
    assert "no enlargement for 1 of the 2 images of Set5: bird" in str(lacking.exception)
    Image.fromarray(large[:, :76]).save(made / "bird.png")
    small = run("made", "-s", "4", "--data", "Set5")
    assert "bird.png has 76 x 64 pixels; the enlargement of bird has 80 x 64" in str(small.exception)
    Image.fromarray(large[..., 0]).save(made / "bird.png")
    assert "is grey and its original is not" in str(run("made", "-s", "4", "--data", "Set5").exception)
    Image.fromarray(large).save(made / "bird.png")
    Image.fromarray(large).save(made / "other.png")
    Image.fromarray(large).save(made / "bird_LR.png")
    told = run("made", "-s", "4", "--data", "Set5")
    assert told.exit_code == 0
    assert "made: 1 image without an image of the sets: other.png" in told.stderr
    assert "are finished" in run("made", "-s", "4", "--data", "Set5", "--jpeg", "75").output


def test_infinite_psnr_gives_valid_json(here: Path) -> None:
    told = scores("same=Set5/HR", "-s", "2", "--data", "Set5")
    assert told[0]["mean"]["psnr_y"] is None
    assert told[0]["mean"]["ssim_y"] == 1


@pytest.mark.integration
def test_scale_is_read_from_file_names(here: Path) -> None:
    weights = read_weights(find_shipped("sd", scale=2).path)
    shutil.copy(find_shipped("sd", scale=3).path, "three.safetensors")
    (here / "two.onnx").write_bytes(export_onnx(weights))
    (here / "srcnn.safetensors").write_bytes(write_network(open_network("srcnn", scale=2)))
    found = scores("bicubic", "sd", "two.onnx", "srcnn.safetensors", "--data", "Set5", "--metrics", "psnr_y")
    assert [s["scale"] for s in found] == [2, 2, 2, 2]
    assert found[1]["images"] == found[2]["images"]
    assert [s["network"] for s in found] == [None, "sd", None, "srcnn"]
    assert [s["parameters"] for s in found] == [None, 313_372, None, 57_281]
    different = run("two.onnx", "three.safetensors", "--data", "Set5")
    assert isinstance(different.exception, A2FError)
    assert (str(different.exception), different.exception.exit_code) == (
        "two.onnx enlarges 2 times and three.safetensors enlarges 3 times. Measure one scale at a time.",
        2,
    )
    assert "three.safetensors enlarges 3 times, not 4. Leave out -s, or measure this file separately." in str(
        run("three.safetensors", "-s", "4", "--data", "Set5").exception
    )
    assert scores("bicubic", "--data", "Set5")[0]["scale"] == 4


def test_own_lr_images(here: Path) -> None:
    ready = scores("bicubic", "-s", "2", "--data", "Set5", "Set14")
    for name in ("Set5/baby", "Set5/bird", "Set14/man", "Set14/zebra"):
        data, _, stem = name.partition("/")
        hr = np.asarray(Image.open(f"{data}/HR/{stem}.png"))
        folder = here / "lr" / data
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(imresize(hr, scale=1 / 2)).save(folder / f"{stem}x2_mine.png")
    words = ["bicubic", "-s", "2", "--data", "Set5", "Set14", "--lr-data", "lr"]
    assert [s["images"] for s in scores(*words)] == [s["images"] for s in ready]
    assert "LR images from lr. a2f-y/1" in run(*words).stdout
    dark = Image.open("lr/Set5/babyx2_mine.png").point(lambda value: value // 2)
    dark.save("lr/Set5/babyx2_mine.png")
    assert scores(*words)[0]["images"]["baby"] != ready[0]["images"]["baby"]
    Path("lr/Set5/babyx2_mine.png").unlink()
    assert "no LR image for 1 of the 2 images of Set5: baby" in str(run(*words).exception)
    refused = run(*words[:-1], "none")
    assert str(refused.exception) == "there is no folder none"


@pytest.mark.integration
def test_own_names_in_tables(here: Path) -> None:
    run("sd", "-s", "2", "--data", "Set5", "--save", "out")
    text = run("carn-m=out/sd", "my net=sd", "-s", "2", "--data", "Set5", "--published").stdout
    assert "Set5 here has 2 pictures, the set of the paper has 5: not comparable." in text
    assert "| carn-m x2 |" in text
    assert "the paper's CARN-M x2 (412K, 91.2G)" in text
    assert "| my net x2 |" in text
    assert "the paper's A²F-SD x2" in text
    assert scores("carn-m=out/sd", "--data", "Set5")[0]["parameters"] == 257_027
    assert "both named a" in str(run("a=sd", "a=bicubic", "-s", "2", "--data", "Set5").exception)


@pytest.mark.integration
def test_paper_row_appears_once_and_only_with_figures(here: Path) -> None:
    shutil.copy(find_shipped("sd", scale=4).path, "aaf_sd_x4.safetensors")
    text = run("sd", "aaf_sd_x4.safetensors", "--data", "Set5", "Set14", "--published").stdout
    assert [line.split(" | ")[0] for line in text.splitlines()[2:5]] == [
        "| sd x4", "| the paper's A²F-SD x4 (320K, 18.2G)", "| aaf_sd_x4",
    ]  # fmt: skip
    assert "| 32.06/0.8928 | 28.47/0.7790 |" in text
    Path("Set5").rename("Mine")
    text = run("aaf_sd_x4.safetensors", "--data", "Mine", "--published-all").stdout
    assert "the paper's" not in text
    assert "The paper has no figures of these networks for these sets" in text
    (row,) = scores("aaf_sd_x4.safetensors", "--data", "Mine")
    assert (row["network"], row["parameters"], round(row["multi_adds"] / 1e9, 2)) == ("sd", 319_672, 18.15)


@pytest.mark.integration
def test_significance_and_error_maps(here: Path) -> None:
    words = ["bicubic", "sd", "blur=out", "-s", "2", "--data", "Set5", "Set14"]
    run("bicubic", "-s", "2", "--data", "Set5", "Set14", "--save", "out")
    (here / "out" / "bicubic").rename(here / "moved")
    words[2] = "same=moved"
    done = run(*words, "--significance", "--error-maps", "maps")
    assert done.exit_code == 0, done.exception
    assert (
        "| bicubic | same | all sets | psnr_y | 4 | +0.000 | [+0.000, +0.000] | no clear difference | 0:0 |"
        in done.stdout
    )
    assert "fewer than 20 images" in done.stdout
    pairs = json.loads(run(*words, "--significance", "--json").stdout)["comparisons"]["pairs"]
    assert len(pairs) == 3 * 3 * 2
    drawn = sorted(path.stem for path in (here / "maps").iterdir())
    assert drawn == sorted({f"{p['set']}_{p['largest']['image']}" for p in pairs
                            if p["metric"] == "psnr_y" and p["set"] != "all sets"})  # fmt: skip
    again = run(*words, "--error-maps", "maps")
    assert "--overwrite replaces" in again.output
    chosen = run(*words, "--error-maps", "maps", "--overwrite", "--pictures", "zebra")
    assert chosen.exit_code == 0
    assert (here / "maps" / "Set14_zebra.png").exists()
    assert "no picture 'fox'" in run(*words, "--error-maps", "m", "--pictures", "fox").output
    assert "give two or more" in run("sd", "--data", "Set5", "--significance").output
    assert "leave out --csv" in run(*words, "--significance", "--csv").output


@pytest.mark.integration
def test_the_json_follows_its_schema(here: Path) -> None:
    schema = json.loads(run("--json-schema").stdout)
    jsonschema.Draft202012Validator.check_schema(schema)
    words = ["bicubic", "sd", "-s", "4", "--data", "Set5", "--jpeg", "clean,50", "--ensemble", "2"]
    for more in (["--published"], ["--published-all", "--significance"]):
        told = json.loads(run(*words, *more, "--json").stdout)
        jsonschema.validate(told, schema, cls=jsonschema.Draft202012Validator)
    assert len(told["published"]["rows"]) == 24
    assert told["published"]["not_comparable"] == ["Set5"]
    told["scores"][0]["extra"] = 1
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(told, schema, cls=jsonschema.Draft202012Validator)


def test_latex(here: Path) -> None:
    done = run("bicubic", "sd", "-s", "4", "--data", "Set5", "--latex", "--published-all", "--significance")
    assert done.stdout.count(r"\begin{tabular}") == 2
    assert "fewer than 1000K parameters" in done.stdout


@pytest.mark.parametrize(
    ("words", "message", "code"),
    [
        (["carnm"], "unknown model 'carnm' (did you mean 'carn-m'?)", 2),
        (["carn-m"], "made by a2f convert --as carn-m", 2),
        (["carn"], "trained by a2f train carn", 2),
        (["l-noca-mp"], "l-noca-mp cannot be built: the paper prints its size", 2),
        (["moremnas-a"], "moremnas-a cannot be built: its paper (arXiv:1901.01074) shows its structure only in", 2),
        (["sd", "--network", "my.py"], "'my.py' has no class: write it as my.py:Net", 2),
        (["sd", "--metrics", "psnry"], "unknown metric 'psnry' (did you mean 'psnr_y'?)", 2),
        (["none.safetensors"], "cannot read weights none.safetensors", 3),
        (["sd", "--engine", "onnx"], "'onnx' is not one of 'onnxruntime', 'openvino', 'torch'", 2),
        (["sd", "--dtype", "float8"], "'float8' is not one of", 2),
        (["sd", "--device", "gpu"], "'gpu': choose cpu, cuda", 2),
        (["sd", "-s", "5"], "sd has no weights for x5", 2),
        (["sd", "--pictures", "baby"], "add --sheet FILE or --error-maps DIR", 2),
    ],
)
def test_errors_and_their_exit_codes(words: list[str], message: str, code: int, here: Path) -> None:
    done = run(*words, "--data", "Set5")
    error = done.exception
    assert message in done.output + str(error)
    assert getattr(error, "exit_code", done.exit_code) == code
