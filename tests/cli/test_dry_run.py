"""``a2f upscale --dry-run``: what would be done, and nothing of it."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from a2f.imageio import FORMATS, Picture, encode_image
from a2f.imageio.read import size_of_file


@pytest.fixture
def run(tmp_path: Path, monkeypatch, capfd):
    from a2f.cli.main import main

    monkeypatch.chdir(tmp_path)

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["a2f", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            main()
        said = capfd.readouterr()
        return int(stop.value.code or 0), said.out, said.err

    return call


def test_a_folder(run, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name, size in (("a.png", (30, 20)), ("b.jpg", (10, 40))):
        Image.new("RGB", size).save(tmp_path / "in" / name)
    (tmp_path / "in/c.png").write_bytes(b"no image")
    code, out, _ = run("upscale", "in", "-s", 2, "-o", "out", "--dry-run")
    assert code == 1
    first, second, third, last = out.splitlines()
    assert first == f"{Path('in/a.png')} -> {Path('out/a_x2.png')} (30 x 20 -> 60 x 40)"
    assert second.endswith("(10 x 40 -> 20 x 80)")
    assert "not an image" in third
    assert "3 image(s), 0.0 million pixels: about 0.0 minutes" in last
    assert "MB are free in this folder" in last
    assert sorted(os.listdir(tmp_path)) == ["in"]


def test_exact_sizes_and_what_is_there(run, tmp_path: Path) -> None:
    for name in ("a.png", "a_w100.png"):
        Image.new("RGB", (30, 20)).save(tmp_path / name)
    code, out, _ = run("upscale", "a.png", "--width", 100, "--dry-run")
    assert code == 0
    assert out.splitlines()[0] == "a.png -> a_w100.png (30 x 20 -> 100 x 67) (exists)"


def test_standard_input_is_no_file(run) -> None:
    code, _, err = run("upscale", "-", "-o", "a.png", "--dry-run")
    assert code == 2
    assert "--dry-run looks at files" in err


@pytest.mark.parametrize("format", list(FORMATS))
def test_sizes_by_the_header_alone(format: str, tmp_path: Path) -> None:
    path = tmp_path / "image"
    path.write_bytes(encode_image(Picture(pixels=np.zeros((20, 30, 3), np.uint8)), format=format))
    assert size_of_file(path) == (30, 20)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_sizes_are_upright(format: str, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (30, 20)).save(tmp_path / "image", format, exif=exif.tobytes())
    assert size_of_file(tmp_path / "image") == (20, 30)
