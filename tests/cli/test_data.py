"""a2f data prepare and a2f data download: messages and exit codes."""

import hashlib
import importlib
import io
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from a2f.cli.main import cli, main
from a2f.data import sources
from a2f.data.sources import Archive, DataSet, Part


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["data", *map(str, arguments)])


def fails(monkeypatch, capsys, *arguments: object) -> tuple[int, str]:
    monkeypatch.setattr(sys, "argv", ["a2f", "data", *map(str, arguments)])
    with pytest.raises(SystemExit) as stop:
        main()
    return int(stop.value.code or 0), capsys.readouterr().err


def photo(path: Path, side: int = 70) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(side).integers(0, 256, (side, side, 3)).astype(np.uint8)).save(path)


@pytest.mark.parametrize("command", ["prepare", "download"])
def test_help_has_examples_and_loads_light_modules(command: str) -> None:
    text = run(command, "--help").output
    assert f"a2f data {command}" in text.partition("Example")[2]
    assert max(len(line) for line in text.splitlines()) <= 110
    heavy = {"numpy", "PIL", "pyvips", "torch", "tqdm"}
    code = (
        "import sys, atexit\n"
        f"atexit.register(lambda: print('HEAVY', sorted({heavy} & set(sys.modules))))\n"
        f"sys.argv = ['a2f', 'data', '{command}', '--help']\nfrom a2f.cli.main import main\nmain()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-1] == "HEAVY []"


# prepare


def test_prepare_reports_results_and_failures(tmp_path: Path, monkeypatch, capsys) -> None:
    source, folder = tmp_path / "src", tmp_path / "dst"
    photo(source / "a.png")
    photo(source / "small.png", 20)
    (source / "bad.jpg").write_text("no")
    options = ("--size", 40, "--step", 30, "--lr", "4,2", "-j", 1)
    code, text = fails(monkeypatch, capsys, "prepare", source, folder, *options)
    assert code == 1
    assert "a.png: 12 files\n" in text
    lines = text.splitlines()
    assert lines[-5] == "1 done: 12 files"
    assert lines[-4:-2] == ["1 skipped, too small:", f"  {source}/small.png has 20 x 20 pixels, less than 64"]
    assert lines[-2] == "1 failed:"
    assert lines[-1].startswith(f"  {source}/bad.jpg is not an image")
    (source / "bad.jpg").unlink()
    code, text = fails(monkeypatch, capsys, "prepare", source, folder, *options)
    assert code == 0
    assert "0 done, 1 kept from an earlier run: 12 files" in text
    assert sorted(p.name for p in (folder / "LR_bicubic/X4").iterdir())[0] == "a_s001x4.png"


def test_prepare_exit_codes(tmp_path: Path, monkeypatch, capsys) -> None:
    source = tmp_path / "src"
    source.mkdir()
    (source / "bad.jpg").write_text("no")
    assert fails(monkeypatch, capsys, "prepare", source, tmp_path / "d", "-j", 1)[0] == 3
    code, text = fails(monkeypatch, capsys, "prepare", tmp_path / "none", tmp_path / "d")
    assert (code, text) == (3, f"error: there is no folder {tmp_path}/none\n")
    assert fails(monkeypatch, capsys, "prepare", source, source / "in")[0] == 2
    code, text = fails(monkeypatch, capsys, "prepare", source, tmp_path / "d", "--lr", "2,5")
    assert code == 2
    assert "'2,5': choose from 2, 3 and 4" in text
    photo(source / "a.png")
    code, text = fails(monkeypatch, capsys, "prepare", source, tmp_path / "e", "-j", 1, "-q")
    assert code == 1
    assert "a.png" not in text
    (source / "bad.jpg").unlink()
    assert fails(monkeypatch, capsys, "prepare", source, tmp_path / "e", "-j", 1, "-q") == (0, "")


def test_interrupted_prepare_says_how_to_resume(tmp_path: Path, monkeypatch, capsys) -> None:
    photo(tmp_path / "src/a.png")
    module = importlib.import_module("a2f.data.prepare")

    def stop(*arguments: object, **more: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "_outputs", stop)
    code, text = fails(monkeypatch, capsys, "prepare", tmp_path / "src", tmp_path / "dst", "-j", 1)
    assert code == 130
    assert text == f"run the same command to continue ({tmp_path}/dst)\n\ninterrupted\n"


# download


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch) -> Iterator[str]:
    """A mirror of a host with one set, "tiny"."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *arguments: object) -> None:
            pass

    folder = tmp_path / "mirror/some.host/sets"
    folder.mkdir(parents=True)
    with tarfile.open(folder / "tiny.tar.gz", "w:gz") as tar:
        info = tarfile.TarInfo("tiny/HR/a.png")
        info.size = 3
        tar.addfile(info, io.BytesIO(b"abc"))
    sha256 = hashlib.sha256((folder / "tiny.tar.gz").read_bytes()).hexdigest()
    archive = Archive(url="https://some.host/sets/tiny.tar.gz", sha256=sha256)
    other = Archive(url="https://some.host/sets/none.tar.gz")
    for name, source in (("tiny", archive), ("none", other)):
        part = Part(archive=source, inside="tiny", target="Tiny")
        entry = DataSet(about="a test", terms="free", home="here", parts=(part,))
        monkeypatch.setitem(sources.SETS, name, entry)
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=tmp_path / "mirror")) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_download_from_a_mirror(tmp_path: Path, mirror: str, monkeypatch, capsys) -> None:
    out = tmp_path / "out"
    code, text = fails(monkeypatch, capsys, "download", "tiny", "-o", out, "--base-url", mirror, "--remove-archives")
    assert code == 0, text
    assert text.splitlines() == [
        "tiny: a test; terms: free",
        f"{mirror}/some.host/sets/tiny.tar.gz -> {out}/archives/tiny.tar.gz",
        "tiny.tar.gz: the checksum is the published one",
        f"{out}/Tiny: 1 file",
    ]
    assert (out / "Tiny/HR/a.png").read_bytes() == b"abc"
    assert [p.name for p in (out / "archives").iterdir()] == ["tiny.tar.gz.sha256"]
    code, text = fails(monkeypatch, capsys, "download", "tiny", "-o", out, "--base-url", "http://127.0.0.1:9")
    assert code == 0
    assert "exists already" in text


def test_download_failures(tmp_path: Path, mirror: str, monkeypatch, capsys) -> None:
    out = tmp_path / "out"
    code, text = fails(monkeypatch, capsys, "download", "none", "-o", out, "--base-url", mirror, "-q")
    assert code == 3
    assert text.startswith(f"error: {mirror}/some.host/sets/none.tar.gz: the server has no such file (404 ")
    (tmp_path / "mirror/some.host/sets/tiny.tar.gz").write_bytes(b"something else")
    code, text = fails(monkeypatch, capsys, "download", "tiny", "-o", out, "--base-url", mirror)
    assert code == 3
    assert "error: tiny.tar.gz has the wrong checksum: SHA-256" in text
    assert not (out / "archives/tiny.tar.gz").exists()
    assert fails(monkeypatch, capsys, "download", "nothing", "-o", out)[0] == 2
    assert fails(monkeypatch, capsys, "download", "tiny")[0] == 2
    assert fails(monkeypatch, capsys, "download", "tiny", "-o", out, "--base-url", "file:///")[0] == 2
    code, text = fails(monkeypatch, capsys, "download", "lpips", "-o", out, "--lr", "2")
    assert code == 2
    assert "not lpips" in text


def test_interrupted_download_says_how_to_resume(tmp_path: Path, mirror: str, monkeypatch, capsys) -> None:
    def stop(*arguments: object, **more: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(importlib.import_module("a2f.data.download"), "fetch", stop)
    code, text = fails(monkeypatch, capsys, "download", "tiny", "-o", tmp_path / "out", "--base-url", mirror)
    assert code == 130
    assert text.endswith(
        f"partial downloads are kept in {tmp_path}/out/archives; run the same command to continue\n\ninterrupted\n"
    )


def test_set_that_needs_a_request_to_its_owner(tmp_path: Path) -> None:
    done = run("download", "set5", "manga109", "-o", tmp_path)
    assert done.exit_code == 2
    assert "manga109 cannot be downloaded by a2f: ask for it at http://www.manga109.org/en/" in done.output
    assert "Terms: academic use only" in done.output
    assert list(tmp_path.iterdir()) == []


def test_download_list() -> None:
    text = run("download", "--list").output
    for name, entry in sources.SETS.items():
        assert f"{name}: {entry.about}\n  terms: {entry.terms}" in text
        assert (entry.by_hand or entry.parts[0].archive.url) in text
    assert "(3,531 MB, SHA-256 known)" in text
    assert "(size unknown, MD5 known)" in text


def test_progress_prints_one_line_per_tenth(capsys) -> None:
    from a2f.cli.data import Meter

    meter = Meter(quiet=False)
    for done in range(0, 10_000_001, 100_000):
        meter.report("a.zip", done, 10_000_000)
    assert capsys.readouterr().err.splitlines() == [f"a.zip: {n} of 10 MB" for n in range(1, 11)]
