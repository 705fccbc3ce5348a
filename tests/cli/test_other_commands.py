"""models, compare, export, convert, completion, and the group itself."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import numpy as np
import onnxruntime
import pytest
import torch
from click.shell_completion import BashComplete
from click.testing import CliRunner, Result
from PIL import Image

import a2f
from a2f.cli import parameters
from a2f.cli.main import COMMANDS, cli, main
from a2f.export.check import Difference
from a2f.model.a2f import A2F
from a2f.model.official import official_name
from a2f.peers.checkpoints import READERS
from a2f.runtime import options as engines
from a2f.runtime.plan import Gates
from a2f.training.recipe import BUILT_IN
from a2f.variants import config_of
from a2f.video.encoder import CODECS
from a2f.weights import read_weights, shipped_models


@pytest.fixture
def here(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: Any) -> Result:
    return CliRunner().invoke(cli, [str(a) for a in arguments])


def fails(monkeypatch, capsys, *arguments: Any) -> tuple[int, str]:
    monkeypatch.setattr(sys, "argv", ["a2f", *map(str, arguments)])
    with pytest.raises(SystemExit) as stop:
        main()
    return int(stop.value.code), capsys.readouterr().err


@pytest.mark.parametrize("command", list(COMMANDS))
def test_every_help_has_an_example(command: str) -> None:
    text = run(command, "--help").output
    assert "Example" in text
    assert f"a2f {command}" in text
    assert max(len(line) for line in text.splitlines()) <= 100


def test_group_help_and_version() -> None:
    text = run("--help").output
    for name, line in COMMANDS.items():
        assert name in text
        assert line[:40] in text
    assert run("--version").output == f"a2f {a2f.__version__}\n"
    assert run("nothing").exit_code == 2


def test_models() -> None:
    text = run("models").output
    for model in shipped_models():
        assert f"{model.parameters:,}" in text
        assert f"{model.psnr_y['Set5']:.2f}" in text
    listed = json.loads(run("models", "--json").output)
    assert [entry["file"] for entry in listed] == [m.file for m in shipped_models()]
    assert all(Path(entry["path"]).is_file() for entry in listed)


def test_export(here: Path, monkeypatch, capsys) -> None:
    done = run("export", "sd", "-s", 2, "-o", "a.onnx")
    assert done.exit_code == 0
    assert "sd x2" in done.stderr
    assert "differs from the reference by at most" in done.stderr
    session = onnxruntime.InferenceSession("a.onnx")
    assert session.run(None, {"lr": np.zeros((2, 3, 5, 4), np.float32)})[0].shape == (2, 3, 10, 8)
    assert fails(monkeypatch, capsys, "export", "sd", "-s", 2, "-o", "a.onnx") == (
        3,
        "error: a.onnx exists: --overwrite replaces it, or choose another output\n",
    )
    assert fails(monkeypatch, capsys, "export", "sd", "-o", "a.txt")[0] == 2
    code, said = fails(monkeypatch, capsys, "export", "sd-robust", "-s", 3, "-o", "b.onnx")
    assert (code, "sd-robust has no weights for x3. Choose one of: s x2" in said) == (2, True)
    Path("torn.safetensors").write_bytes(shipped_models()[0].path.read_bytes()[:1000])
    code, said = fails(monkeypatch, capsys, "export", "torn.safetensors", "-o", "b.onnx")
    assert (code, "not a complete safetensors file" in said) == (3, True)
    assert not Path("b.onnx").exists()


def test_export_with_a_fixed_size(here: Path) -> None:
    done = run("export", "sd", "-s", 2, "--size", "20x14", "-o", "fixed.onnx")
    assert done.exit_code == 0, done.output
    assert "sd x2 for 20x14" in done.stderr
    session = onnxruntime.InferenceSession("fixed.onnx")
    assert (session.get_inputs()[0].shape, session.get_outputs()[0].shape) == ([1, 3, 14, 20], [1, 3, 28, 40])
    lr = np.random.default_rng(0).random((14, 20, 3), dtype=np.float32)
    (sr,) = session.run(None, {"lr": lr.transpose(2, 0, 1)[None]})
    np.testing.assert_allclose(sr[0].transpose(1, 2, 0), a2f.load("sd", scale=2).engine(lr), atol=1e-5)


def test_differing_file_of_fixed_size_is_not_written(here: Path, monkeypatch) -> None:
    off = Difference(height=7, width=9, largest=1.0, allowed=1e-6)
    monkeypatch.setattr("a2f.export.check.check_fixed", lambda fixed, free, lr_size: off)
    result = run("export", "sd", "-s", 2, "--size", "9x7", "-o", "a.onnx")
    assert "differs from the graph for any size" in str(result.exception)
    assert not (here / "a.onnx").exists()


def test_convert(here: Path, monkeypatch, capsys) -> None:
    state = {official_name(n): t for n, t in A2F(config_of("s", scale=3)).state_dict().items()}
    torch.save(state, "theirs.pt")
    done = run("convert", "theirs.pt", "ours.safetensors")
    assert done.exit_code == 0
    assert "s x3" in done.stderr
    assert read_weights("ours.safetensors").config == config_of("s", scale=3)
    Image.new("RGB", (5, 4)).save("a.png")
    assert run("upscale", "a.png", "-m", "ours.safetensors").exit_code == 0
    with Image.open("a_x3.png") as image:
        assert image.size == (15, 12)
    code, said = fails(monkeypatch, capsys, "convert", "a.png", "b.safetensors")
    assert (code, said.count("\n"), "a.png" in said) == (3, 1, True)
    assert not Path("b.safetensors").exists()


def test_compare(here: Path, monkeypatch, capsys) -> None:
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (40, 60, 3)).astype(np.uint8)).save("hr.png")
    with Image.open("hr.png") as image:
        image.resize((15, 10)).save("lr.png")
    assert run("compare", "lr.png", "hr.png", "--hr", "hr.png", "-o", "sheet.png").exit_code == 0
    with Image.open("sheet.png") as sheet:
        assert sheet.width > 3 * 360
    for arguments, message in [
        (["lr.png", "-o", "lr.png", "--overwrite"], "one of the pictures"),
        (["lr.png", "-o", "s.xyz"], "unknown image format"),
        (["lr.png", "--label", "a", "--label", "b", "-o", "s.png"], "2 labels for 1 pictures"),
        (["lr.png", "--crop", "1,2", "-o", "s.png"], "not a crop"),
    ]:
        code, said = fails(monkeypatch, capsys, "compare", *arguments)
        assert (code, message in said) == (2, True), said
    code, said = fails(monkeypatch, capsys, "compare", "none.png", "-o", "s.png")
    assert (code, said) == (3, "error: cannot read none.png: No such file or directory\n")
    assert sorted(p.name for p in here.iterdir()) == ["hr.png", "lr.png", "sheet.png"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(shell: str) -> None:
    text = run("completion", shell).output
    assert "_A2F_COMPLETE" in text
    if shutil.which(shell):
        assert subprocess.run([shell, "-n"], input=text, text=True, check=False).returncode == 0


@pytest.mark.integration
def test_completion_answers() -> None:
    environment = {"_A2F_COMPLETE": "bash_complete", "COMP_WORDS": "a2f up", "COMP_CWORD": "1", "PATH": "/usr/bin:/bin"}
    code = "import sys; sys.argv = ['a2f']; from a2f.cli.main import main; main()"
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert "upscale" in done.stdout


def test_unexpected_errors_are_one_line(monkeypatch, capsys) -> None:
    def broken() -> None:
        raise RuntimeError("surprise")

    monkeypatch.setattr("a2f.weights.shipped_models", broken)
    code, said = fails(monkeypatch, capsys, "models")
    assert code == 3
    assert said == "error: unexpected RuntimeError: surprise (this is a bug: set A2F_DEBUG=1 for a traceback)\n"


@pytest.mark.parametrize("largest", [1.0, float("nan")])
def test_graph_that_differs_from_the_reference_is_not_written(largest: float, here: Path, monkeypatch) -> None:
    fine = Difference(height=1, width=1, largest=0.0, allowed=1e-6)
    off = Difference(height=7, width=9, largest=largest, allowed=1e-6)
    monkeypatch.setattr("a2f.export.check.check_onnx", lambda blob, weights: [fine, off, fine])
    result = run("export", "sd", "-s", 2, "-o", "a.onnx")
    assert "at 9 x 7" in str(result.exception)
    assert not (here / "a.onnx").exists()


@pytest.mark.parametrize(
    ("words", "begun", "offered"),
    [
        (["upscale", "--dtype"], "", {"float32", "bfloat16", "float16", "int8", "fast"}),
        (["upscale", "--engine"], "o", {"onnxruntime", "openvino"}),
        (["upscale", "--device"], "", {"cpu", "cuda", "mps"}),
        (["upscale", "--gates"], "", {"auto", "exact", "sampled"}),
        (["upscale", "-s"], "", {"2", "3", "4"}),
        (["upscale", "-m"], "sd", {"sd", "sd-robust"}),
        (["upscale", "-f"], "we", {"webp"}),
        (["video", "--codec"], "", set(CODECS)),
        (["eval", "--metrics"], "psnr", {"psnr_y", "psnr_rgb"}),
        (["profile", "--dtype"], "f", {"float32", "float16"}),
        (["train", "--recipe"], "", set(BUILT_IN)),
        (["convert", "--as"], "", set(READERS)),
    ],
)
def test_the_shell_completes_choices(words: list[str], begun: str, offered: set[str]) -> None:
    found = BashComplete(cli, {}, "a2f", "_A2F_COMPLETE").get_completions(words, begun)
    assert {item.value for item in found} == offered


def test_choices_match_the_engines() -> None:
    assert parameters.ENGINES == engines.ENGINES
    assert set(parameters.DTYPES) == {dtype for dtypes in engines.DTYPES.values() for dtype in dtypes}
    assert parameters.FAST == engines.FAST
    assert set(parameters.GATES) == set(get_args(Gates))
