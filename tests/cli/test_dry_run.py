"""``a2f upscale --dry-run`` reports the planned work and writes nothing."""

import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from a2f.cli.dry_run import time_text
from a2f.imageio import FORMATS, Picture, encode_image
from a2f.imageio.header import size_of_file


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


@pytest.mark.integration
def test_folder(run, tmp_path: Path) -> None:
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
    assert last.startswith("2 of 3 images to enlarge, 1 would fail: 4,000 pixels, less than a second here, 12 kB")
    assert last.endswith("MB are free on the disk of the results")
    assert sorted(os.listdir(tmp_path)) == ["in"]


@pytest.mark.integration
def test_exact_sizes_and_existing_results(run, tmp_path: Path) -> None:
    for name in ("a.png", "a_w100.png"):
        Image.new("RGB", (30, 20)).save(tmp_path / name)
    code, out, _ = run("upscale", "a.png", "--width", 100, "--dry-run", "--overwrite")
    assert code == 0
    assert out.splitlines()[0] == "a.png -> a_w100.png (30 x 20 -> 100 x 67) (replaces an existing file)"


@pytest.mark.parametrize(
    ("options", "ends", "told"),
    [
        (["-s", 2], 3, "a_x2.png exists: --overwrite replaces it, --skip-existing skips it"),
        (["-s", 2, "--skip-existing"], 0, "a_x2.png exists, skipped"),
        (["--max-side", 20, "--never-shrink", "-o", "b.png"], 0, "a.png: 30 x 20 is larger than 20 x 13: skipped"),
        (["--width", 999, "-o", "b.png"], 2, "at most 16 times is possible"),
    ],
)
def test_exit_code_equals_that_of_the_run(run, tmp_path: Path, options: list, ends: int, told: str) -> None:
    for name in ("a.png", "a_x2.png"):
        Image.new("RGB", (30, 20)).save(tmp_path / name)
    code, out, _ = run("upscale", "a.png", *options, "--dry-run")
    assert (code, told in out.splitlines()[0]) == (ends, True), out
    assert run("upscale", "a.png", *options)[0] == ends


@pytest.mark.integration
def test_json_and_the_models(run, tmp_path: Path) -> None:
    Image.new("RGB", (30, 20)).save(tmp_path / "a.png")
    Image.effect_noise((30, 20), 80).convert("RGB").save(tmp_path / "b.jpg", quality=20)
    (tmp_path / "c.png").write_bytes(b"no image")
    code, out, err = run("upscale", "a.png", "b.jpg", "c.png", "--dry-run", "--json")
    assert code == 1
    first, second, third = map(json.loads, out.splitlines())
    assert first == {
        "input": "a.png", "output": "a_x4.png", "status": "planned", "width": 120, "height": 80, "model": "sd",
        "jpeg_quality": None, "error": None, "notes": [],
    }  # fmt: skip
    assert (second["model"], second["jpeg_quality"]) == ("sd-robust", 20)
    assert (third["status"], third["output"], "not an image" in third["error"]) == ("failed", None, True)
    assert "error: c.png" in err
    assert "2 of 3 images to enlarge" in err
    code, out, err = run("upscale", "a.png", "b.jpg", "--dry-run", "-v")
    assert out.splitlines()[0].endswith("(30 x 20 -> 120 x 80, sd x4)")
    assert out.splitlines()[1].endswith("(30 x 20 -> 120 x 80, sd-robust x4)")
    assert "onnxruntime" in err


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "less than a second"), (1.2, "about 1 second"), (42.3, "about 42 seconds"), (600, "about 10 minutes"),
     (9000, "about 2.5 hours")],
)  # fmt: skip
def test_times_have_a_suitable_unit(seconds: float, text: str) -> None:
    assert time_text(seconds) == text


def test_standard_input_is_refused(run) -> None:
    code, _, err = run("upscale", "-", "-o", "a.png", "--dry-run")
    assert code == 2
    assert "--dry-run needs files" in err


@pytest.mark.parametrize("format", list(FORMATS))
def test_sizes_are_read_from_the_header(format: str, tmp_path: Path) -> None:
    path = tmp_path / "image"
    path.write_bytes(encode_image(Picture(pixels=np.zeros((20, 30, 3), np.uint8)), format=format))
    assert size_of_file(path) == (30, 20)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_sizes_respect_the_orientation(format: str, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (30, 20)).save(tmp_path / "image", format, exif=exif.tobytes())
    assert size_of_file(tmp_path / "image") == (20, 30)


def snapshot(folder: Path) -> dict[str, bytes]:
    """All files except those that SQLite makes beside a database for readers."""
    files = [path for path in folder.rglob("*") if path.is_file() and not path.name.endswith(("-shm", "-wal"))]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.mark.integration
def test_journal_reports_remaining_items_and_reasons(run, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for number, name in enumerate(("a.png", "b.png", "c.png", "d.png")):
        Image.new("RGB", (8 + number, 6)).save(tmp_path / "in" / name)
    (tmp_path / "in/bad.png").write_bytes(b"no image")
    command = ("upscale", "in", "-s", 2, "-o", "out", "--resume")
    code, out, _ = run(*command, "--dry-run")
    assert [line.rpartition(": ")[2] for line in out.splitlines() if " -> " in line] == ["new"] * 4
    assert code == 1  # the bad file
    assert sorted(os.listdir(tmp_path)) == ["in"]
    assert run(*command)[0] == 1
    (tmp_path / "out/a_x2.png").unlink()
    Image.new("RGB", (5, 5)).save(tmp_path / "in/b.png")
    Image.new("RGB", (3, 3)).save(tmp_path / "in/e.png")
    before = snapshot(tmp_path)
    code, out, err = run(*command, "--dry-run", "--json")
    told = {record["input"]: record["reason"] for record in map(json.loads, out.splitlines())}
    assert told == {"in/a.png": "result missing", "in/b.png": "changed", "in/e.png": "new"}
    assert "2 done, 1 quarantined, 3 to do" in err
    assert code == 0
    assert snapshot(tmp_path) == before
    os.utime(tmp_path / "in/d.png", (1e9, 1e9))  # a new time with the old content
    code, out, err = run(*command, "--dry-run")
    assert "in/d.png" not in out
    assert "in/b.png -> out/b_x2.png (5 x 5 -> 10 x 10) (replaces its earlier result): changed" in out
    assert "out/.a2f-journal.sqlite: 2 done, 1 quarantined, 3 to do; --retry-failed retries failed files" in err
    os.utime(tmp_path / "in/d.png")
    _, out, _ = run(*command, "--dry-run", "--retry-failed", "--quality", 50)
    assert out.count("other options or weights") == 4
    assert run(*command)[0] == 1
    code, out, _ = run(*command, "--dry-run")
    assert (code, out) == (1, "nothing is left to do\n")


@pytest.mark.integration
def test_dry_run_needs_local_files_and_no_watch(run, tmp_path: Path) -> None:
    Image.new("RGB", (8, 6)).save(tmp_path / "a.png")
    code, _, err = run("upscale", ".", "-o", "out", "--watch", "--dry-run")
    assert code == 2
    assert "--watch waits" in err
    code, _, err = run("upscale", "s3://bucket/photos", "-o", "out", "--dry-run")
    assert code == 2
    assert "files of this machine" in err
