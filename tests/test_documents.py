"""README and examples work as described."""

import json
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import av
import jsonschema
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from a2f.cli.main import cli

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [ROOT / "README.md", ROOT / "RESULTS.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def write_film(path: Path) -> None:
    """Three small frames."""
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 32, 24, "yuv420p"
        for level in (50, 100, 150):
            pixels = np.full((24, 32, 3), level, np.uint8)
            file.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, "rgb24")))
        file.mux(stream.encode(None))


@pytest.fixture
def desk(tmp_path: Path, monkeypatch) -> Path:
    """The folder that the README assumes: a photo and a folder of photos."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    (tmp_path / "holiday").mkdir()
    for name in ("photo.jpg", "holiday/a.jpg"):
        Image.fromarray(rng.integers(0, 256, (60, 300, 3)).astype(np.uint8)).save(name)
    write_film(tmp_path / "film.mkv")
    return tmp_path


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


@pytest.mark.integration
def test_commands_of_the_readme(desk: Path) -> None:
    lines = [
        line for block in blocks("sh") for line in block.splitlines() if "a2f " in line and "examples/" not in line
    ]
    assert len(lines) >= 7
    shim = desk / "a2f"
    shim.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m a2f "$@"\n')
    shim.chmod(0o755)
    for line in lines:
        done = subprocess.run(
            ["bash", "-c", line], env={"PATH": f"{desk}:/usr/bin:/bin"}, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{line}\n{done.stderr}"
    made = {"photo_x4.jpg", "photo_x2.png", "photo_w3840.jpg", "large.jpg", "sheet.png", "large"}
    assert made <= {p.name for p in desk.iterdir()}


@pytest.mark.integration
def test_python_of_the_readme(desk: Path) -> None:
    code = "".join(blocks("python"))
    with Image.open("photo.jpg") as image:
        image.load()
        names: dict[str, Any] = {"image": image}
        exec(compile(code, "README.md", "exec"), names)
    assert (desk / "photo_x4.jpg").exists()
    assert names["large"].size == (1200, 240)


@pytest.mark.integration
@pytest.mark.parametrize("name", ["python_api.py", "threads.py", "demo.py"])
def test_examples(name: str, tmp_path: Path) -> None:
    arguments = ["--output", str(tmp_path)] if name == "demo.py" else []
    done = subprocess.run(
        [sys.executable, ROOT / "examples" / name, *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "->" in done.stdout + done.stderr
    if name == "demo.py":
        with Image.open(tmp_path / "astronaut_x4.png") as large:
            assert large.size == (1024, 1024)


@pytest.mark.integration
def test_training_demo(tmp_path: Path) -> None:
    demo = [sys.executable, ROOT / "examples" / "train_demo.py", "--output", tmp_path, "--minutes", "0.03"]
    done = subprocess.run(demo, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert re.search(r"\| bicubic x2 \| 29\.\d+/0\.\d+ \|\n\| best x2 \| \d+", done.stdout)
    for picture in ("samples.png", "run/curves.png"):
        with Image.open(tmp_path / picture) as image:
            assert image.width > 800
    again = subprocess.run(demo, capture_output=True, text=True, check=False)
    assert again.returncode == 1
    assert "already exists" in again.stderr


@pytest.mark.integration
def test_page_about_own_networks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (ROOT / "docs" / "own-network.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    (commands,) = re.findall(r"```sh\n(.*?)```", page, re.DOTALL)
    (tmp_path / "my.py").write_text(code)
    rng = np.random.default_rng(0)
    for folder, names in (("photos", "abc"), ("sets/Set5/HR", ("baby",))):
        (tmp_path / folder).mkdir(parents=True)
        for name in names:
            pixels = rng.integers(0, 256, (300, 320, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / folder / f"{name}.png")
    monkeypatch.chdir(tmp_path)
    for line in commands.splitlines():
        program, *words = shlex.split(line)
        done = CliRunner().invoke(cli, words)
        assert (program, done.exit_code) == ("a2f", 0), f"{line}\n{done.output}\n{done.exception}"
    assert (tmp_path / "mine.onnx").exists()


@pytest.mark.integration
def test_page_about_fair_comparison(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (ROOT / "docs" / "fair-comparison.md").read_text(encoding="utf-8")
    (commands,) = re.findall(r"```sh\n(.*?)```", page, re.DOTALL)
    rng = np.random.default_rng(0)
    for name in ("Set5/HR/baby", "Set5/HR/bird", "Set14/HR/man"):
        path = tmp_path / "sets" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (48, 64, 3)).astype(np.uint8)).save(path)
    (tmp_path / "lr").mkdir()
    for name in ("baby", "bird"):
        Image.fromarray(rng.integers(0, 256, (12, 16, 3)).astype(np.uint8)).save(tmp_path / "lr" / f"{name}x4.png")
    monkeypatch.chdir(tmp_path)
    for line in commands.splitlines():
        command, _, file = line.partition(" > ")
        program, *words = shlex.split(command)
        done = CliRunner().invoke(cli, words)
        assert (program, done.exit_code) == ("a2f", 0), f"{line}\n{done.output}\n{done.exception}"
        if file:
            (tmp_path / file).write_text(done.stdout, encoding="utf-8")
    scores = json.loads((tmp_path / "scores.json").read_text(encoding="utf-8"))
    jsonschema.validate(scores, json.loads((tmp_path / "eval.schema.json").read_text(encoding="utf-8")))
    assert r"\begin{tabular}" in (tmp_path / "table.tex").read_text(encoding="utf-8")
    assert len(list((tmp_path / "maps").glob("*.png"))) == 2


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_are_valid(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), target


def test_code_map_matches_the_files() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    for path in sorted((ROOT / "src" / "a2f").iterdir()):
        if path.name.startswith("_") or path.name == "py.typed":
            continue
        assert re.search(rf"^  {re.escape(path.name)}", page, re.MULTILINE), path.name


def test_development_requirements_are_the_dependency_groups() -> None:
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["dependency-groups"]
    listed = [
        line for line in (ROOT / "requirements-dev.txt").read_text().splitlines() if line and not line.startswith("#")
    ]
    assert sorted(listed) == sorted(groups["test"] + groups["lint"])


def test_make_targets_of_the_readme_exist() -> None:
    if shutil.which("make") is None:
        pytest.skip("no make here")
    for target in re.findall(r"^make ([\w-]+)", "\n".join(blocks("sh")), re.MULTILINE):
        subprocess.run(["make", "-n", target], cwd=ROOT, check=True, capture_output=True)
