"""``a2f upscale``: output files, messages and exit codes."""

import io
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import a2f
from a2f.errors import WriteError
from a2f.files import write_all
from a2f.imageio import read_image
from a2f.weights import find_shipped

A2F = [sys.executable, "-m", "a2f"]


@pytest.fixture
def here(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


class Done:
    """The output and the exit code of a run."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err


@pytest.fixture
def run(capfd, monkeypatch):
    """Run the command in this process."""
    from a2f.cli.main import main

    def call(*arguments: Any) -> Done:
        monkeypatch.setattr(sys, "argv", ["a2f", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            main()
        said = capfd.readouterr()
        return Done(int(stop.value.code or 0), said.out, said.err)

    return call


def photo(path: Path, size: tuple[int, int] = (9, 7), mode: str = "RGB") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(len(path.name))
    Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3)).astype(np.uint8)).convert(mode).save(path)
    return path


def size_of(path: Path) -> tuple[int, int]:
    return read_image(path).size


def test_default_name_and_scale(here: Path, run) -> None:
    photo(here / "photo.jpg")
    done = run("upscale", "photo.jpg")
    assert (done.code, done.out) == (0, "")
    assert "photo.jpg -> photo_x4.jpg (36 x 28" in done.err
    assert size_of(here / "photo_x4.jpg") == (36, 28)


@pytest.mark.parametrize("name", ["ein Bild mit Lücken.png", "写真.png", "a [1].png", "[abc].png", "it's.png"])
def test_odd_names(here: Path, run, name: str) -> None:
    path = photo(here / name)
    assert run("upscale", name, "-s", 2).code == 0
    assert size_of(path.with_stem(path.stem + "_x2")) == (18, 14)


def test_name_that_starts_with_a_dash(here: Path, run) -> None:
    photo(here / "-v.png")
    assert run("upscale", "-s", 2, "--", "-v.png").code == 0
    assert (here / "-v_x2.png").exists()


def test_output_file_folder_format_and_suffix(here: Path, run) -> None:
    photo(here / "a.png")
    assert run("upscale", "a.png", "-s", 2, "-o", "b.webp").code == 0
    assert read_image(here / "b.webp").format == "webp"
    assert run("upscale", "a.png", "-s", 2, "-o", "new/folder").code == 0
    assert (here / "new/folder/a_x2.png").exists()
    assert run("upscale", "a.png", "-s", 2, "-f", "tiff", "--suffix", "-large").code == 0
    assert read_image(here / "a-large.tif").format == "tiff"


def test_folders_keep_their_structure_and_equal_names_do_not_clash(here: Path, run) -> None:
    for name in ("in/a.png", "in/x/a.png", "in/x/y/a.jpg", "in/notes.txt"):
        photo(here / name) if not name.endswith("txt") else (here / name).write_text("no image")
    assert run("upscale", "in", "-s", 2, "-o", "flat").code == 0
    assert sorted(p.name for p in (here / "flat").rglob("*")) == ["a_x2.png"]
    assert run("upscale", "in", "-r", "-s", 2, "-o", "out").code == 0
    found = sorted(str(p.relative_to(here / "out")) for p in (here / "out").rglob("*") if p.is_file())
    assert found == ["a_x2.png", "x/a_x2.png", "x/y/a_x2.jpg"]


def test_skipped_files_of_a_folder_are_reported(here: Path, run) -> None:
    photo(here / "in/a.png")
    photo(here / "other/b.png")
    for name in ("raw.CR2", "x.psd", "y.psd", "scan", ".DS_Store", "notes.txt"):
        (here / "in" / name).write_bytes(b"x")
    (here / "in/link").symlink_to(here / "other")
    (here / "in/gone.png").symlink_to(here / "nowhere")
    (here / "in/below").mkdir()
    done = run("upscale", "in", "-s", 2, "-o", "out")
    assert done.code == 0
    for part in ("1 .cr2 file,", "2 .psd files", "1 .txt file", "1 file without a suffix",
                 "1 hidden file", "1 link to folders", "1 broken link or special file",
                 "1 folder (-r includes them)"):  # fmt: skip
        assert part in done.err
    done = run("upscale", "in", "-r", "-s", 2, "-o", "out2")
    assert "1 link to folders" in done.err
    assert "(-r looks" not in done.err


def test_second_run_skips_its_own_outputs(here: Path, run) -> None:
    photo(here / "in/a.png")
    assert run("upscale", "in", "-s", 2).code == 0
    done = run("upscale", "in", "-s", 2, "--skip-existing")
    assert done.code == 0
    assert "skipped 1 earlier result (names ending in _x2)" in done.err
    assert sorted(p.name for p in (here / "in").iterdir()) == ["a.png", "a_x2.png"]


def test_patterns(here: Path, run) -> None:
    for name in ("a1.png", "a2.png", "b.png"):
        photo(here / name)
    assert run("upscale", "a*.png", "-s", 2, "-o", "out").code == 0
    assert sorted(p.name for p in (here / "out").iterdir()) == ["a1_x2.png", "a2_x2.png"]


@pytest.mark.parametrize(
    ("options", "size", "name"),
    [
        (["--width", 50], (50, 39), "a_w50.png"),
        (["--height", 21], (27, 21), "a_h21.png"),
        (["--size", "33x20"], (33, 20), "a_33x20.png"),
        (["--max-side", 10], (10, 8), "a_max10.png"),
        (["--width", 5], (5, 4), "a_w5.png"),
    ],
)
def test_exact_sizes(here: Path, run, options: list, size: tuple[int, int], name: str) -> None:
    photo(here / "a.png")
    done = run("upscale", "a.png", *options)
    assert done.code == 0
    assert size_of(here / name) == size
    assert ("runs twice" in done.err) == (size[0] > 36)
    assert ("only resized" in done.err) == (size[0] < 9)


def test_existing_files_are_not_overwritten_by_default(here: Path, run) -> None:
    photo(here / "a.png")
    (here / "a_x2.png").write_bytes(b"mine")
    done = run("upscale", "a.png", "-s", 2)
    assert done.code == 3
    assert "a_x2.png exists: --overwrite replaces it, --skip-existing skips it" in done.err
    done = run("upscale", "a.png", "-s", 2, "--skip-existing")
    assert done.code == 0
    assert (here / "a_x2.png").read_bytes() == b"mine"
    assert run("upscale", "a.png", "-s", 2, "--overwrite").code == 0
    assert size_of(here / "a_x2.png") == (18, 14)


@pytest.mark.parametrize("link", ["same", "symlink", "hardlink"])
def test_the_input_is_never_overwritten(here: Path, run, link: str) -> None:
    path = photo(here / "a.png")
    before = path.read_bytes()
    target = here / ("a.png" if link == "same" else "b.png")
    if link == "symlink":
        target.symlink_to(path)
    elif link == "hardlink":
        target.hardlink_to(path)
    done = run("upscale", "a.png", "-o", target.name, "--overwrite")
    assert done.code == 2
    assert "an input is never overwritten" in done.err
    assert path.read_bytes() == before


def test_two_inputs_with_one_output_are_refused_before_the_work(here: Path, run) -> None:
    photo(here / "x/a.png")
    photo(here / "y/a.png")
    done = run("upscale", "x/a.png", "y/a.png", "-o", "out")
    assert done.code == 2
    assert "x/a.png and y/a.png would both be written to out/a_x4.png" in done.err
    assert not (here / "out").exists()
    photo(here / "x/A.png")
    assert run("upscale", "x", "-o", "out").code == 2


def test_a_bad_file_does_not_stop_the_rest(here: Path, run) -> None:
    photo(here / "in/a.png")
    (here / "in/b.png").write_text("text")
    (here / "in/c.png").write_bytes(b"")
    photo(here / "in/d.png")
    done = run("upscale", "in", "-s", 2, "-o", "out")
    assert done.code == 1
    assert "in/b.png is not an image of a known format" in done.err
    assert "in/c.png is empty (0 bytes)" in done.err
    assert done.err.endswith("2 done, 2 failed:\n  in/b.png\n  in/c.png\n")
    assert sorted(p.name for p in (here / "out").iterdir()) == ["a_x2.png", "d_x2.png"]


def test_json_lines(here: Path, run) -> None:
    photo(here / "a.png")
    done = run("upscale", "a.png", "none.png", "-s", 2, "--json", "-q")
    assert done.code == 1
    good, bad = (json.loads(line) for line in done.out.splitlines())
    assert (good["status"], good["output"], good["width"], good["height"]) == ("done", "a_x2.png", 18, 14)
    assert (bad["status"], bad["output"]) == ("failed", None)
    assert "none.png" in bad["error"]


def test_quiet_and_verbose(here: Path, run) -> None:
    photo(here / "a.png")
    assert run("upscale", "a.png", "-s", 2, "-q").err == ""
    done = run("upscale", "a.png", "-s", 2, "-v", "--overwrite", "--threads", 1)
    for word in ("onnxruntime", "sd x2", "cpu", "float32", "1 thread"):
        assert word in done.err


def test_metadata_depth_and_alpha_survive(here: Path, run) -> None:
    rng = np.random.default_rng(0)
    from a2f.imageio import Metadata, Picture, write_image

    deep = Picture(pixels=rng.integers(0, 65536, (7, 9, 4)).astype(np.uint16), metadata=Metadata(dpi=(300, 300)))
    write_image(deep, here / "a.png")
    assert run("upscale", "a.png", "-s", 2).code == 0
    large = read_image(here / "a_x2.png")
    assert (large.pixels.dtype, large.pixels.shape) == (np.uint16, (14, 18, 4))
    assert large.metadata.dpi == pytest.approx((300, 300), rel=1e-3)
    assert run("upscale", "a.png", "-s", 2, "--strip", "-o", "b.png").code == 0
    assert read_image(here / "b.png").metadata == Metadata()
    done = run("upscale", "a.png", "-s", 2, "-f", "jpg")
    assert done.code == 2
    assert "jpeg cannot hold transparency" in done.err
    assert not (here / "a_x2.jpg").exists()
    assert run("upscale", "a.png", "-s", 2, "-f", "jpg", "--force").code == 0


def test_too_long_metadata_is_refused_before_the_work(here: Path, run, monkeypatch) -> None:
    from a2f import pipeline
    from a2f.imageio import Metadata, Picture, write_image

    long = Picture(pixels=np.zeros((7, 9, 3), np.uint8), metadata=Metadata(xmp=b"<x>" + b"a" * 70_000))
    write_image(long, here / "a.png")
    for options in (["--strip"], ["--force"]):
        assert run("upscale", "a.png", "-s", 2, "-f", "jpg", "--overwrite", *options).code == 0
        assert read_image(here / "a_x2.jpg").metadata == Metadata()
    monkeypatch.setattr(pipeline, "encode_enlarged", lambda *arguments, **options: pytest.fail("it was enlarged"))
    done = run("upscale", "a.png", "-s", 2, "-f", "jpg", "--overwrite")
    assert done.code == 2
    assert "jpeg cannot hold 70,003 bytes of XMP" in done.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a.png", "-s", 5], "choose 2, 3 or 4"),
        (["a.png", "-m", "xl"], "unknown model 'xl' (did you mean 'l'?). Choose one of: s x2"),
        (["a.png", "-f", "xyz"], "unknown image format 'xyz': choose one of jpg, png"),
        (["a.png", "-f", "jpgg"], "(did you mean 'jpg'?)"),
        (["a.png", "-m", "sd-robst"], "unknown model 'sd-robst' (did you mean 'sd-robust'?)"),
        (["a.png", "--width", 5, "--height", 5], "exclude each other"),
        (["a.png", "-s", 2, "--width", 5], "exclude each other"),
        (["a.png", "--width", 0], "--width"),
        (["a.png", "--size", "12"], "write it as 1920x1080"),
        (["a.png", "--quality", 101], "--quality"),
        (["a.png", "--max-pixels", "many"], "write it as 100000000 or 100M"),
        (["a.png", "--engine", "magic"], "'magic' is not one of 'onnxruntime', 'openvino', 'torch'"),
        (["a.png", "--overwrite", "--skip-existing"], "exclude each other"),
        (["a.png", "b.png", "-o", "c.png"], "give a folder"),
        (["a.png", "b.png", "-o", "-"], "give a folder"),
        (["-", "a.png"], "give no other inputs"),
        (["-", "-o", "folder"], "is a folder: for standard input give a file name"),
        (["a.png", "-o", "-", "--json"], "both use standard output"),
        (["a.png", "-o", "plain"], "file without an image suffix"),
        (["a.png", "-o", "c.webp", "-f", "png"], "name two formats"),
        (["-", "-o", "c.webp", "-f", "png"], "name two formats"),
        (["-", "-o", "c.xyz"], "unknown image format"),
        (["a.png", "--suffix", "/../x"], "has a folder separator"),
        (["a.png", "--suffix", ""], "never overwritten"),
        ([], "Missing argument"),
        (["a.png", "--widht", 3], "No such option"),
        (["a.png", "--width", 999], "at most 16 times is possible"),
    ],
)
def test_usage_errors(here: Path, run, arguments: list, message: str) -> None:
    photo(here / "a.png")
    photo(here / "b.png")
    (here / "folder").mkdir()
    (here / "plain").write_text("")
    before = sorted(here.rglob("*"))
    done = run("upscale", *arguments)
    assert done.code == 2
    assert message in done.err
    assert "Traceback" not in done.err
    assert sorted(here.rglob("*")) == before


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: None, "No such file or directory"),
        (lambda p: p.write_bytes(b""), "is empty (0 bytes)"),
        (lambda p: p.write_text("just text"), "not an image of a known format"),
        (lambda p: p.mkdir(), "has no images"),
        (lambda p: p.write_bytes(photo(p.with_name("whole.png"), (90, 90)).read_bytes()[:9000]), "--allow-truncated"),
    ],
)
def test_bad_inputs(here: Path, run, make, message: str) -> None:
    make(here / "bad.png")
    done = run("upscale", "bad.png")
    assert done.code == 3
    assert message in done.err
    assert done.err.count("\n") == 1
    assert not list(here.glob("bad_x4*"))


def test_truncated_files_are_read_on_request(here: Path, run) -> None:
    whole = photo(here / "whole.png", (90, 90)).read_bytes()
    (here / "cut.png").write_bytes(whole[: len(whole) // 2])
    assert run("upscale", "cut.png", "-s", 2, "--allow-truncated").code == 0
    assert size_of(here / "cut_x2.png") == (180, 180)


def test_pixel_limit(here: Path, run) -> None:
    photo(here / "a.png", (20, 20))
    done = run("upscale", "a.png", "--max-pixels", 399)
    assert done.code == 3
    assert "20 x 20 = 400 pixels, more than the limit of 399" in done.err
    assert run("upscale", "a.png", "--max-pixels", "1K", "-s", 2).code == 0


@pytest.mark.parametrize("size", [(1, 1), (1, 30), (30, 1)])
def test_tiny_images_work(here: Path, run, size: tuple[int, int]) -> None:
    photo(here / "a.png", size)
    assert run("upscale", "a.png").code == 0
    assert size_of(here / "a_x4.png") == (4 * size[0], 4 * size[1])


def test_output_folder_cannot_be_made(here: Path, run) -> None:
    photo(here / "a.png")
    (here / "file").write_text("")
    done = run("upscale", "a.png", "-o", "file/below")
    assert done.code == 3
    assert "cannot" in done.err
    assert done.err.count("\n") == 1


@pytest.mark.integration
def test_permissions(here: Path) -> None:
    prefix: list[str] = []
    if os.getuid() == 0:  # root ignores permissions unless it drops these capabilities
        prefix = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--"]
        if shutil.which("setpriv") is None:
            pytest.skip("root reads everything, and there is no setpriv here to give that up")
    photo(here / "secret.png").chmod(0)
    photo(here / "locked/a.png")
    (here / "locked").chmod(0o555)
    one = subprocess.run([*prefix, *A2F, "upscale", "secret.png"], capture_output=True, text=True, check=False)
    assert (one.returncode, one.stderr) == (3, "error: cannot read secret.png: Permission denied\n")
    two = subprocess.run([*prefix, *A2F, "upscale", "locked/a.png"], capture_output=True, text=True, check=False)
    assert (two.returncode, two.stderr) == (3, "error: cannot write locked/a_x4.png: Permission denied\n")


@pytest.mark.integration
def test_disk_full(here: Path) -> None:
    mount = here / "small"
    mount.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", mount], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"cannot mount a small tmpfs here: {done.stderr.strip()}")
    try:
        photo(here / "a.png", (100, 100))
        run = subprocess.run(
            [*A2F, "upscale", "a.png", "-o", mount / "b.png"], capture_output=True, text=True, check=False
        )
        assert run.returncode == 3
        assert "No space left on device; no partial file remains" in run.stderr
        assert list(mount.iterdir()) == []
    finally:
        subprocess.run(["umount", mount], check=True)


@pytest.mark.integration
def test_streams(here: Path) -> None:
    blob = photo(here / "a.png").read_bytes()
    done = subprocess.run([*A2F, "upscale", "-", "-s", "2"], input=blob, capture_output=True, check=False)
    assert done.returncode == 0
    assert read_image(done.stdout).size == (18, 14)
    assert done.stderr.startswith(b"standard input -> standard output (18 x 14")
    done = subprocess.run(
        [*A2F, "upscale", "-", "-s", "2", "-f", "jpg", "-q"], input=blob, capture_output=True, check=False
    )
    assert read_image(done.stdout).format == "jpeg"
    assert done.stderr == b""
    done = subprocess.run([*A2F, "upscale", "-"], input=b"", capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (3, b"", b"error: standard input is empty (0 bytes)\n")
    done = subprocess.run([*A2F, "upscale", "a.png", "-s", "2", "-o", "-"], capture_output=True, check=False)
    assert read_image(done.stdout).size == (18, 14)


CTRL_C = """
import os, signal
from a2f.cli.main import main
link, asked = os.link, []
def linked(source, target, **options):
    link(source, target, **options)
    if str(target).endswith(".png") and not asked:
        asked.append(target)  # once: two files may end together, and a second Ctrl-C ends the program at once
        os.kill(os.getpid(), signal.SIGINT)  # as Ctrl-C when the first file is there
os.link = linked
main()
"""


@pytest.mark.integration
def test_ctrl_c_leaves_no_incomplete_file(here: Path) -> None:
    for i in range(6):
        photo(here / f"in/{i}.png", (500, 400))
    command = [sys.executable, "-c", CTRL_C, "upscale", "in", "-o", "out", "-j", "2"]
    process = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False)
    said = process.stderr
    assert process.returncode == 130
    assert said.endswith("interrupted\n")
    assert re.search(r"\d of 6 done; run the same command with --skip-existing to continue", said)
    assert "Traceback" not in said
    written = list((here / "out").iterdir())
    assert 1 <= len(written) < 6
    for path in written:
        assert size_of(path) == (2000, 1600)


@pytest.mark.integration
def test_progress_bar_on_a_terminal(here: Path) -> None:
    import fcntl
    import pty
    import struct
    import termios

    for i in range(3):
        photo(here / f"in/{i}.png")
    controller, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    process = subprocess.Popen([*A2F, "upscale", "in", "-s", "2", "-o", "out"], stderr=terminal)
    os.close(terminal)
    said = b""
    try:
        while chunk := os.read(controller, 4096):
            said += chunk
    except OSError:  # the other end has closed
        pass
    finally:
        os.close(controller)
    assert process.wait() == 0
    assert b"3/3" in said
    assert b"image/s" in said or b"s/image" in said
    assert b"3 done" in said


@pytest.mark.integration
def test_closed_pipe_prints_no_traceback(here: Path) -> None:
    photo(here / "a.png")
    line = f"'{sys.executable}' -m a2f upscale a.png none.png -s 2 --json -q | true"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr
    assert "Exception" not in done.stderr


def test_run_at_another_scale_skips_earlier_results(here: Path, run) -> None:
    photo(here / "in/a.png")
    assert run("upscale", "in", "-s", 2).code == 0
    assert run("upscale", "in", "--width", 12).code == 0
    done = run("upscale", "in", "-s", 3)
    assert "skipped 2 earlier results (names ending in _w12, _x2)" in done.err
    assert sorted(p.name for p in (here / "in").iterdir()) == ["a.png", "a_w12.png", "a_x2.png", "a_x3.png"]


def test_scale_that_differs_from_the_weights(here: Path, run) -> None:
    shutil.copy(find_shipped("sd", scale=4).path, here / "mine.safetensors")
    photo(here / "a.png")
    done = run("upscale", "a.png", "-m", "mine.safetensors", "-s", 2)
    assert done.code == 2
    assert "enlarge 4 times" in done.err
    assert not (here / "a_x2.png").exists()
    assert run("upscale", "a.png", "-m", "mine.safetensors").code == 0
    assert (here / "a_x4.png").exists()


def test_dropped_metadata_is_reported(here: Path, run) -> None:
    exif = Image.Exif()
    exif[0x010E] = "a title"
    Image.new("RGB", (9, 7)).save(here / "a.jpg", exif=exif)
    assert "bmp has no place for EXIF: left out" in run("upscale", "a.jpg", "-f", "bmp").err
    assert "EXIF" not in run("upscale", "a.jpg", "-f", "bmp", "--overwrite", "--strip").err
    assert "EXIF" not in run("upscale", "a.jpg", "-f", "png").err


def test_damaged_files_are_reported_when_read(here: Path, run) -> None:
    Image.effect_noise((64, 64), 80).save(here / "whole.png")
    (here / "cut.png").write_bytes((here / "whole.png").read_bytes()[:2000])
    done = run("upscale", "cut.png", "whole.png", "--allow-truncated", "-s", 2)
    assert done.code == 0
    assert "cut.png is truncated or damaged: the missing part is grey or black" in done.err
    assert "whole.png is truncated" not in done.err


@pytest.mark.parametrize(
    "options", [["--dtype", "float16"], ["--compile"], ["--engine", "torch", "--device", "cuda:9"]]
)
def test_unavailable_options_are_usage_errors(options: list[str], here: Path, run) -> None:
    photo(here / "a.png")
    done = run("upscale", "a.png", *options)
    assert done.code == 2
    assert done.err.startswith("error: ")
    assert not (here / "a_x4.png").exists()


@pytest.mark.integration
@pytest.mark.parametrize("runs", [2, 4, 8])
def test_ensemble(runs: int, here: Path, run) -> None:
    given = np.asarray(Image.open(photo(here / "a.png")))
    done = run("upscale", "a.png", "-s", 2, "--ensemble", runs, "-v")
    assert done.code == 0
    assert f", ensemble of {runs}\n" in done.err
    large = read_image(here / "a_x2.png").pixels
    np.testing.assert_array_equal(large, a2f.upscale(given, scale=2, ensemble=runs))
    np.testing.assert_array_equal(large, a2f.upscale(given, model=a2f.load(scale=2, ensemble=runs)))
    assert (large != a2f.upscale(given, scale=2)).any()
    sized = run("upscale", "a.png", "--width", 25, "--ensemble", runs, "-v")
    assert (sized.code, f"ensemble of {runs}\n" in sized.err) == (0, True)
    np.testing.assert_array_equal(
        read_image(here / "a_w25.png").pixels, a2f.upscale(given, size=(25, 19), ensemble=runs)
    )


@pytest.mark.parametrize("options", [["--ensemble", 3], ["--ensemble", 0, "--width", 20]])
def test_invalid_ensembles(options: list[object], here: Path, run) -> None:
    photo(here / "a.png")
    done = run("upscale", "a.png", *options)
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert f"error: an ensemble of {options[1]} runs is not possible: choose 1 (off), 2 (mirrored), 4 (all" in done.err
    assert [p.name for p in here.iterdir()] == ["a.png"]


def test_quality_for_a_lossless_format_is_reported(here: Path, run) -> None:
    photo(here / "a.png")
    assert "a.png: png is lossless: --quality has no effect" in run("upscale", "a.png", "--quality", 50).err


def test_output_folder_inside_the_input_is_skipped(here: Path, run) -> None:
    (here / "tree" / "deep").mkdir(parents=True)
    photo(here / "tree" / "a.png")
    photo(here / "tree" / "deep" / "b.png")
    arguments = ["upscale", "tree", "-r", "-s", 2, "-o", "tree/out", "--suffix", ""]
    assert run(*arguments).code == 0
    again = run(*arguments, "--skip-existing")
    assert again.code == 0
    assert "skipped 2 files in the output folder tree/out" in again.err
    assert "2 skipped" in again.err
    assert sorted(p.name for p in (here / "tree" / "out").rglob("*.png")) == ["a.png", "b.png"]


@pytest.mark.parametrize("output", [".", "tree", "other"])
def test_output_folder_outside_the_input_skips_no_file(output: str, here: Path, run) -> None:
    (here / "tree").mkdir()
    photo(here / "tree" / "a.png")
    assert run("upscale", "tree", "-s", 2, "-o", output).code == 0
    assert (here / output / "a_x2.png").exists()


@pytest.mark.integration
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no /dev/full")
def test_full_standard_output(here: Path) -> None:
    photo(here / "a.png")
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "a2f", "upscale", "a.png", "-o", "-"], stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert done.returncode == 3
    assert "No space left on device" in done.stderr


def test_stream_with_short_writes_gets_all_bytes() -> None:
    class Narrow(io.RawIOBase):
        def __init__(self) -> None:
            self.got = b""

        def write(self, data) -> int:
            self.got += bytes(data[:7])
            return min(7, len(data))

    class Full(io.RawIOBase):
        def write(self, data) -> int:
            raise OSError(28, "No space left on device")

    narrow = Narrow()
    write_all(narrow, bytes(range(100)))
    assert narrow.got == bytes(range(100))
    with pytest.raises(WriteError, match="standard output: No space left"):
        write_all(Full(), b"abc")


@pytest.mark.integration
def test_progress_of_a_large_image_rises_to_all() -> None:
    for how in ({"tile": 16}, {"tile": 16, "gates": "sampled"}):
        upscaler, told = a2f.load(scale=2, threads=1, **how), []
        upscaler(np.zeros((40, 50, 3), np.float32), progress=told.append)
        assert told == sorted(told)
        assert told[-1] == pytest.approx(1)
        assert len(told) >= 12


@pytest.mark.parametrize("option", [None, "--skip-existing", "--overwrite"])
def test_file_that_appears_while_the_network_runs_is_kept(here: Path, run, monkeypatch, option: str | None) -> None:
    photo(here / "a.png")
    from a2f import pipeline
    from a2f.pixels import encode_enlarged

    def slow(*arguments: Any, **options: Any):
        (here / "a_x2.png").write_bytes(b"theirs")
        yield from encode_enlarged(*arguments, **options)

    monkeypatch.setattr(pipeline, "encode_enlarged", slow)
    done = run("upscale", "a.png", "-s", 2, *([option] if option else []))
    assert done.code == (0 if option else 3)
    kept = (here / "a_x2.png").read_bytes() == b"theirs"
    assert kept == (option != "--overwrite")
    assert (option or "exists") in ("--overwrite", "exists") or "skipped" in done.err
    assert sorted(p.name for p in here.iterdir()) == ["a.png", "a_x2.png"]


@pytest.mark.integration
@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8", "utf-8:strict"])
@pytest.mark.parametrize("as_json", [True, False])
def test_unprintable_file_names(here: Path, encoding: str, as_json: bool) -> None:
    names = [
        b"a.png",
        "\u5199\u771f.png".encode(),
        "\U0001f600 \u00e9.png".encode(),
        b"\xff\xfe.png",
        b"line\nend\x1b[31m.png",
    ]
    photo(here / "in" / "a.png")
    for name in names[1:]:
        shutil.copy(here / "in/a.png", os.fsencode(here / "in") + b"/" + name)
    (here / "in" / os.fsdecode(b"bad\xff.jpg")).write_bytes(b"no image")
    command = [*A2F, "upscale", "in", "-s", "2", "-o", "out", *(["--json", "-q"] if as_json else [])]
    environment = {**os.environ, "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}
    done = subprocess.run(command, env=environment, capture_output=True, check=False)
    assert done.returncode == 1, done.stderr
    assert b"no image" not in done.stderr
    assert len(os.listdir(here / "out")) == 5
    if as_json:
        records = [json.loads(line) for line in done.stdout.decode(encoding.partition(":")[0]).splitlines()]
        read = {os.fsencode(record["input"]) for record in records}
        assert read == {b"in/" + name for name in [*names, b"bad\xff.jpg"]}
    else:
        assert b"\x1b" not in done.stderr
        assert b"line\\nend\\x1b[31m.png" in done.stderr


def test_output_with_a_trailing_slash_is_a_folder(here: Path, run) -> None:
    photo(here / "a.png")
    photo(here / "in/b.png")
    assert run("upscale", "a.png", "-s", 2, "-o", "out.v2/").code == 0
    assert (here / "out.v2/a_x2.png").exists()
    assert run("upscale", "a.png", "-s", 2, "-o", "large.png/").code == 0
    assert (here / "large.png/a_x2.png").exists()
    assert run("upscale", "a.png", "-s", 3, "-o", "out.v2").code == 0  # the output of the first run
    assert (here / "out.v2/a_x3.png").exists()
    (here / "file").write_bytes(b"x")
    for name in ("file/", "a.png/"):
        done = run("upscale", "in", "-s", 2, "-o", name)
        assert done.code == 2
        assert "is a file" in done.err


def test_output_of_a_folder_is_a_folder_with_any_name(here: Path, run) -> None:
    for name in ("in/b.png", "in/x/c.png"):
        photo(here / name)
    for name in ("new.2024", "v1.5", "ünï.cødé"):
        assert run("upscale", "in", "-r", "-s", 2, "-o", name).code == 0
        assert (here / name / "x/c_x2.png").exists()
    done = run("upscale", "in", "-s", 2, "-o", "all.png")
    assert done.code == 2
    assert "a folder or several images: give a folder" in done.err


def test_unknown_output_suffix_error_lists_the_alternatives(here: Path, run) -> None:
    photo(here / "a.png")
    done = run("upscale", "a.png", "-s", 2, "-o", "new.2024")
    assert done.code == 2
    assert "'.2024' is no image format; for a folder of this name add / at its end" in done.err
    assert sorted(p.name for p in here.iterdir()) == ["a.png"]


@pytest.mark.parametrize("arguments", [[""], ["a.png", ""], ["a.png", "-o", ""]])
def test_empty_argument_is_refused(here: Path, run, arguments: list[str]) -> None:
    photo(here / "a.png")
    done = run("upscale", *arguments, "-s", 2)
    assert done.code == 2
    assert "empty" in done.err
    assert sorted(p.name for p in here.iterdir()) == ["a.png"]


def test_file_with_a_trailing_slash_is_refused(here: Path, run) -> None:
    photo(here / "a.png")
    done = run("upscale", "a.png/", "-s", 2)
    assert done.code == 2
    assert "ends with /, but is a file" in done.err


def test_standard_input_into_a_new_folder_is_refused(here: Path, run) -> None:
    done = run("upscale", "-", "-o", "new.png/")
    assert done.code == 2
    assert "is a folder" in done.err


def test_file_times_are_kept_on_request(here: Path, run) -> None:
    path = photo(here / "a.png")
    os.utime(path, ns=(10**18, 11 * 10**17))
    assert run("upscale", "a.png", "-s", 2).code == 0
    assert (here / "a_x2.png").stat().st_mtime_ns != 11 * 10**17
    os.utime(path, ns=(10**18, 11 * 10**17))
    assert run("upscale", "a.png", "-s", 2, "--overwrite", "--preserve-times").code == 0
    status = (here / "a_x2.png").stat()
    assert (status.st_atime_ns, status.st_mtime_ns) == (10**18, 11 * 10**17)
    assert run("upscale", "a.png", "-s", 2, "-o", "-", "--preserve-times").code == 0


@pytest.mark.integration
def test_tileable_textures(here: Path, run) -> None:
    photo(here / "a.png", mode="RGBA")
    assert run("upscale", "a.png", "-s", 2, "--tileable", "--independent-alpha").code == 0
    given = np.asarray(Image.open(here / "a.png"))
    expected = a2f.upscale(given, scale=2, tileable=True, independent_alpha=True)
    np.testing.assert_array_equal(np.asarray(Image.open(here / "a_x2.png")), expected)
    pillow = a2f.upscale(Image.open(here / "a.png"), scale=2, tileable=True, independent_alpha=True)
    np.testing.assert_array_equal(np.asarray(pillow), expected)


@pytest.mark.parametrize(("format", "suffix"), [("JPEG", ".jpg"), ("TIFF", ".tif"), ("PNG", ".png")])
def test_file_without_suffix_keeps_its_format(here: Path, run, format: str, suffix: str) -> None:
    Image.new("RGB", (9, 7)).save(here / "scan", format)
    assert run("upscale", "scan", "-s", 2).code == 0
    assert read_image(here / f"scan_x2{suffix}").format == read_image(here / "scan").format


def test_two_network_passes_are_reported_once(here: Path, run) -> None:
    for name in ("in/a.png", "in/b.png", "in/c.png"):
        photo(here / name)
    done = run("upscale", "in", "--width", 50, "-o", "out")
    assert done.code == 0
    assert done.err.count("the network runs twice") == 1
    assert "(printed once" in done.err


def test_hints_suggest_working_options(here: Path, run) -> None:
    photo(here / "a.png")
    photo(here / "a.jpg")
    done = run("upscale", "a.png", "a.jpg", "-f", "webp", "-s", 2)
    assert done.code == 2
    assert "enlarge them separately" in done.err
    done = run("upscale", "a.png", "-o", "a.png", "-s", 2, "--overwrite")
    assert done.code == 2
    assert "choose another -o" in done.err
    assert "--suffix" not in done.err


def test_never_shrink_does_not_change_larger_pictures(here: Path, run) -> None:
    photo(here / "in/small.png", (20, 10))
    photo(here / "in/large.png", (90, 60))
    done = run("upscale", "in", "--width", 40, "-o", "out", "--never-shrink")
    assert done.code == 0
    assert "large.png: 90 x 60 is larger than 40 x 27: skipped" in done.err
    assert "exists" not in done.err
    assert "1 done, 1 skipped" in done.err
    assert [p.name for p in (here / "out").iterdir()] == ["small_w40.png"]


@pytest.mark.parametrize("size", [["-s", 2], [], ["--width", 20]])
@pytest.mark.parametrize(
    ("options", "code"),
    [
        (["--device", "mps"], 2),
        (["--engine", "torch", "--device", "cuda:9"], 2),
        (["-m", "broken.safetensors"], 2),
        (["-m", "none.safetensors"], 2),
        (["-m", "xl"], 2),
        (["--dtype", "int8"], 2),
    ],
)
def test_unavailable_options_fail_equally_at_any_size(
    here: Path, run, size: list[object], options: list[object], code: int
) -> None:
    photo(here / "a.png")
    (here / "broken.safetensors").write_bytes(b"x" * 100)
    done = run("upscale", "a.png", *size, *options)
    assert done.code == code
    assert done.err.count("\n") == 1
    assert "Traceback" not in done.err


@pytest.mark.integration
@pytest.mark.parametrize("more", [[], ["--dry-run"]])
@pytest.mark.parametrize(
    ("names", "code"), [(["a.png"], 2), (["none.png"], 3), (["a.png", "large.png"], 1), (["a.png", "none.png"], 3)]
)
def test_dry_run_has_the_exit_code_of_the_run(here: Path, run, names: list[str], code: int, more: list[str]) -> None:
    photo(here / "a.png", (9, 7))
    photo(here / "large.png", (90, 70))
    assert run("upscale", *names, "--width", 200, "-o", "out/", *more).code == code


def test_skipped_and_refused_files_give_exit_code_1(here: Path, run) -> None:
    photo(here / "a.png", mode="RGBA")
    photo(here / "b.png")
    (here / "b_x2.jpg").write_bytes(b"mine")
    image = Image.open(here / "a.png")
    image.putpixel((0, 0), (0, 0, 0, 0))
    image.save(here / "a.png")
    done = run("upscale", "a.png", "b.png", "-s", 2, "-f", "jpg", "--skip-existing")
    assert done.code == 1
    assert "1 skipped, 1 failed" in done.err


def test_file_with_a_wrong_suffix_keeps_its_format(here: Path, run) -> None:
    Image.new("RGB", (9, 7)).save(here / "photo.jpg", "WEBP", lossless=True)
    assert run("upscale", "photo.jpg", "-s", 2).code == 0
    assert read_image(here / "photo_x2.webp").format == "webp"
    assert a2f.upscale(here / "photo.jpg", scale=2, overwrite=True) == here / "photo_x2.webp"
