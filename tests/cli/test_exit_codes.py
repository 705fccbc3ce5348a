"""The exit codes: one table for all commands."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import numpy as np
import pytest
from PIL import Image

from a2f.cli.main import COMMANDS, EXIT_LINE, cli, main
from a2f.errors import EXIT_CODES

DOCS = Path(__file__).parents[2] / "docs"
SHIPPED = Path(__file__).parents[2] / "src/a2f/weights_data/a2f_sd_x2.safetensors"
EXISTS = {
    "upscale": ["upscale", "a.png", "-s", 2, "-o", "b.png"],
    "video": ["video", "clip.mkv", "-o", "there.mkv"],
    "compare": ["compare", "a.png", "b.png", "-o", "there.pdf"],
    "batch report": ["batch", "report", "journal.sqlite", "-o", "there.csv"],
    "export": ["export", "sd", "-o", "there.onnx"],
    "calibrate": ["calibrate", SHIPPED, "--data", ".", "-o", "there.safetensors"],
    "convert": ["convert", "a.pt", "there.safetensors"],
    "figure": ["figure", "network", "s", "-o", "there.svg"],
    "plot": ["plot", SHIPPED, "-o", "there.svg"],
}
MISSING = {
    "upscale": ["upscale", "none.png"],
    "video": ["video", "none.mkv", "-o", "new.mkv"],
    "compare": ["compare", "none.png", "a.png", "-o", "new.pdf"],
    "batch status": ["batch", "status", "none.sqlite"],
    "export": ["export", "none.safetensors", "-o", "new.onnx"],
    "calibrate": ["calibrate", "none.safetensors", "--data", ".", "-o", "new.safetensors"],
    "convert": ["convert", "none.pt", "new.safetensors"],
    "eval": ["eval", "none.safetensors", "--data", "."],
    "eval --data": ["eval", "bicubic", "--data", "none"],
    "data": ["data", "prepare", "none", "new"],
    "plot": ["plot", "none", "-o", "new.svg"],
}
SAME = {
    "upscale": ["upscale", "a.png", "-o", "a.png", "--overwrite"],
    "video": ["video", "clip.mkv", "-o", "clip.mkv", "--overwrite"],
    "compare": ["compare", "a.png", "b.png", "-o", "b.png", "--overwrite"],
}


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]):
    monkeypatch.chdir(tmp_path)
    for name in ("a.png", "b.png"):
        Image.fromarray(np.zeros((8, 9, 3), np.uint8)).save(name)

    def call(*words: object) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["a2f", *map(str, words)])
        with pytest.raises(SystemExit) as stop:
            main()
        return int(stop.value.code or 0), capfd.readouterr().err

    return call


def test_documented_table_matches_the_code() -> None:
    text = (DOCS / "architecture.md").read_text()
    told = {int(code): meaning for code, meaning in re.findall(r"^\| (\d+) \| ([^|]+) \|$", text, re.MULTILINE)}
    assert told == EXIT_CODES


def commands(group: click.Command, *, path: str = "") -> Iterator[tuple[str, click.Command]]:
    """Yield a command and all its subcommands, with their names."""
    yield path, group
    if isinstance(group, click.Group):
        context = click.Context(group)
        for name in group.list_commands(context):
            below = group.get_command(context, name)
            assert below is not None
            yield from commands(below, path=f"{path} {name}".strip())


def test_every_help_lists_the_exit_codes() -> None:
    told = dict(commands(cli))
    assert set(COMMANDS) < set(told)
    for name, command in told.items():
        assert " ".join((command.epilog or "").split()).count(EXIT_LINE) == 1, name


@pytest.mark.parametrize("name", sorted(name for name, command in commands(cli)))
def test_an_unknown_option_is_2(name: str, run) -> None:
    assert run(*name.split(), "--none")[0] == 2


def test_unknown_command_is_2_and_suggests_similar_names(run) -> None:
    code, said = run("upscael")
    assert (code, "did you mean 'upscale'?" in said) == (2, True)


@pytest.mark.parametrize("name", EXISTS)
def test_an_output_that_exists_is_3(name: str, run, tmp_path: Path) -> None:
    if name == "video":
        clip(tmp_path / "clip.mkv")
    for suffix in ("mkv", "pdf", "csv", "onnx", "safetensors", "svg"):
        (tmp_path / f"there.{suffix}").write_bytes(b"there")
    code, said = run(*EXISTS[name])
    assert (code, "exists: --overwrite replaces it" in said) == (3, True), said


@pytest.mark.parametrize("name", MISSING)
def test_an_input_that_is_missing_is_3(name: str, run) -> None:
    code, said = run(*MISSING[name])
    assert (code, "none" in said) == (3, True), said


@pytest.mark.parametrize("name", SAME)
def test_an_output_that_is_the_input_is_2(name: str, run, tmp_path: Path) -> None:
    if name == "video":
        clip(tmp_path / "clip.mkv")
    given = {path: path.read_bytes() for path in tmp_path.iterdir()}
    code, said = run(*SAME[name])
    assert (code, "error" in said.lower()) == (2, True), said
    assert given == {path: path.read_bytes() for path in tmp_path.iterdir()}


def test_some_inputs_that_fail_are_1(run) -> None:
    assert run("upscale", "a.png", "none.png", "-s", 2)[0] == 1


def clip(path: Path) -> None:
    """Two frames of FFV1."""
    av = pytest.importorskip("av")
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25, width=16, height=16, pix_fmt="yuv420p")
        for _ in range(2):
            frame = av.VideoFrame.from_ndarray(np.zeros((16, 16, 3), np.uint8), "rgb24")
            container.mux(stream.encode(frame.reformat(format="yuv420p")))
        container.mux(stream.encode(None))
