"""``a2f upscale`` with a journal, and ``a2f batch``."""

import csv
import io
import json
import os
import signal
import subprocess
import sys
import time
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from a2f.batch.journal import Journal
from a2f.errors import JournalError

DEADLINE_S = 300


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


def photo(path: Path, size: tuple[int, int] = (9, 7)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(size)
    Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3)).astype(np.uint8)).save(path)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number, name in enumerate(("a.png", "deep/b.jpg", "c & <c>.png")):
        photo(tmp_path / "in" / name, (9 + number, 7))
    (tmp_path / "in/bad.png").write_bytes(b"no image")
    return tmp_path / "in"


UPSCALE = ("upscale", "in", "-r", "-o", "out", "-s", 2)


def test_resume_makes_missing_results(run, folder: Path, tmp_path: Path) -> None:
    code, _, said = run(*UPSCALE, "--resume")
    assert code == 1
    assert "3 done, 1 failed:" in said
    assert sorted(path.name for path in (tmp_path / "out").rglob("*") if not path.name.startswith(".")) == [
        "a_x2.png",
        "b_x2.jpg",
        "c & <c>_x2.png",
        "deep",
    ]
    code, _, said = run(*UPSCALE, "--resume")
    assert code == 1, "a bad file is left"
    journal = Path("out/.a2f-journal.sqlite")
    assert said.splitlines() == [
        f"{journal}: 3 done, 1 quarantined, 0 to do; --retry-failed retries failed files",
        f"1 file of earlier runs still failed, so the exit code is not 0: a2f batch status {journal} lists them, "
        "--retry-failed retries them",
    ]
    photo(folder / "bad.png")
    (tmp_path / "out/a_x2.png").unlink()
    code, out, _ = run(*UPSCALE, "--resume", "--json")
    assert code == 0
    assert {json.loads(line)["input"]: json.loads(line)["status"] for line in out.splitlines()} == {
        "in/bad.png": "done",
        "in/a.png": "done",
    }


def test_changed_options_repeat_all_work_but_engine_options_do_not(run, folder: Path) -> None:
    (folder / "bad.png").unlink()
    run(*UPSCALE, "--resume")
    assert "0 to do" in run(*UPSCALE, "--resume", "-j", 1, "--threads", 1, "--max-memory", "2GB")[2]
    assert "3 done" in run(*UPSCALE, "--resume", "--strip")[2].splitlines()[-1]


def test_skip_existing_and_a_journal(run, folder: Path, tmp_path: Path) -> None:
    (folder / "bad.png").unlink()
    assert run(*UPSCALE)[0] == 0
    assert not list((tmp_path / "out").glob(".a2f*")), "no journal unless one is asked for"
    code, _, said = run(*UPSCALE, "--journal", "j.sqlite", "--skip-existing")
    assert (code, said.splitlines()[0]) == (0, "kept 3 results of earlier runs")
    code, _, said = run(*UPSCALE, "--journal", "j.sqlite")
    assert code == 2
    assert (
        "belongs to an earlier run (3 skipped): continue it with --resume, or process all files again with --overwrite"
        in said
    )
    code, _, said = run(*UPSCALE, "--journal", "j.sqlite", "--overwrite")
    assert "3 done" in said.splitlines()[-1]


def test_shards_share_the_work(run, folder: Path, tmp_path: Path) -> None:
    (folder / "bad.png").unlink()
    done = [run(*UPSCALE, "--shard", f"{number}/3", "--json")[1].splitlines() for number in (1, 2, 3)]
    assert sorted(json.loads(line)["input"] for part in done for line in part) == [
        "in/a.png",
        "in/c & <c>.png",
        "in/deep/b.jpg",
    ]
    journals = sorted(path.name for path in (tmp_path / "out").glob("*.sqlite"))
    assert journals == [f".a2f-journal-{number}-of-3.sqlite" for number in (1, 2, 3)]
    code, out, _ = run("batch", "status", "out", "--json")
    assert code == 0
    assert sum(json.loads(line)["done"] for line in out.splitlines()) == 3


def test_status(run, folder: Path) -> None:
    run(*UPSCALE, "--resume")
    code, out, _ = run("batch", "status", "out")
    assert code == 0
    first, *rest = out.splitlines()
    assert first == "out/.a2f-journal.sqlite: 4 files, the last run is finished"
    assert rest[0].split() == ["3", "done"]
    assert rest[1].split() == ["1", "quarantined"]
    assert rest[-1].startswith("  quarantined: in/bad.png is not an image")
    told = json.loads(run("batch", "status", "out/.a2f-journal.sqlite", "--json")[1])
    assert (told["done"], told["quarantined"], told["in_use"], told["seconds_left"]) == (3, 1, False, None)
    assert told["failures"][0]["source"] == str(folder / "bad.png")


class Page(HTMLParser):
    """The texts and pictures of a page, in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.texts, self.pictures, self.links = list[str](), list[str](), list[str]()
        self.feed(text)

    def handle_starttag(self, tag, attrs) -> None:
        told = dict(attrs)
        if tag == "img":
            self.pictures.append(told["src"])
        if tag == "a":
            self.links.append(told["href"])

    def handle_data(self, data) -> None:
        self.texts.append(data.strip())


def test_reports(run, folder: Path, tmp_path: Path) -> None:
    run(*UPSCALE, "--resume")
    assert run("batch", "report", "out", "-o", "report.html")[0] == 0
    page = Page((tmp_path / "report.html").read_text())
    assert page.texts.index("bad.png") < page.texts.index("a_x2.png") < page.texts.index("c & <c>_x2.png")
    assert len(page.pictures) == 3
    assert all(picture.startswith("data:image/jpeg;base64,") for picture in page.pictures)
    assert (folder / "bad.png").as_uri() in page.links
    assert any(text.startswith("in/bad.png is not an image") for text in page.texts)
    code, _, said = run("batch", "report", "out", "-o", "report.html")
    assert (code, said) == (3, "error: report.html exists: --overwrite replaces it, or choose another output\n")

    assert run("batch", "report", "out", "-o", "report.csv")[0] == 0
    rows = list(csv.DictReader(io.StringIO((tmp_path / "report.csv").read_text())))
    assert [row["state"] for row in rows] == ["quarantined", "done", "done", "done"]
    assert rows[1]["source"] == str(folder / "a.png")
    assert (rows[1]["width"], rows[1]["height"], rows[1]["model"]) == ("18", "14", "sd")
    assert len(rows[1]["output_sha256"]) == len(rows[1]["source_sha256"]) == 64
    assert len(rows[1]["model_sha256"]) == 64


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--shard", "3"], "write it as 3/8"),
        (["--watch", "--dry-run"], "leave out one of them"),
        (["--resume", "-o", "-"], "give a folder with -o"),
        (["--resume", "-o", "a.png"], "-o a.png is a file, but --resume needs a folder: give a folder with -o"),
        (["--resume", "-o", "s3://bucket"], "name a file on this machine with --journal"),
        (["--journal", "j.sqlite", "-o", "https://x.org/"], "can only be read"),
    ],
)
def test_contradictory_options(run, folder: Path, options: list[str], said: str) -> None:
    code, _, told = run("upscale", "in", *options)
    assert code == 2
    assert said in told


@pytest.mark.parametrize(
    ("words", "needed_by"),
    [
        (["in", "--quarantine", "q"], "--quarantine"),
        (["in", "--watch"], "--watch"),
        (["in", "--shard", "1/2"], "--shard"),
        (["in", "--journal", "j.sqlite"], "--journal"),
        (["in", "--ray"], "--ray"),
        (["s3://bucket/x.png"], "s3://bucket/x.png"),
    ],
)
def test_output_that_is_a_file_is_refused_with_option_names(
    run, folder: Path, words: list[str], needed_by: str
) -> None:
    code, _, said = run("upscale", "-o", "o.png", *words)
    assert code == 2
    assert said == f"error: -o o.png is a file, but {needed_by} needs a folder: give a folder with -o\n"


def test_own_files_are_not_counted_as_skipped(run, folder: Path) -> None:
    (folder / "bad.png").unlink()
    (folder / "clip.mkv.a2f-parts").mkdir()
    for words in (("--resume",), ("--skip-existing",), ("--journal", "in/mine.db", "--resume")):
        for _ in range(2):
            said = run("upscale", "in", "-s", 2, *words)[2]
            assert [line for line in said.splitlines() if "skipped 1 folder" in line] == [
                "in: skipped 1 folder (-r includes them)"
            ]
    (folder / ".mine").touch()
    assert "1 hidden file" in run("upscale", "in", "-s", 2, "--resume")[2]


@pytest.mark.parametrize(
    "words",
    [
        ("in", "-o", "out", "--resume", "-m", "none.safetensors"),
        ("in", "-o", "out", "--resume", "-s", "3", "-m", "sd-robust"),
        ("empty", "-o", "out", "--resume"),
        ("in", "in/deep/../a.png", "-o", "out", "--resume", "--ray", "127.0.0.1:1"),
    ],
)
def test_batch_that_cannot_start_leaves_no_journal(run, folder: Path, words: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    before = sorted(tmp_path.rglob("*"))
    assert run("upscale", *words)[0] >= 2
    assert sorted(tmp_path.rglob("*")) == before


def test_earlier_failures_are_reported_at_the_end(run, folder: Path) -> None:
    run(*UPSCALE, "--resume")
    photo(folder / "new.png")
    code, _, said = run(*UPSCALE, "--resume")
    assert code == 1
    assert said.splitlines()[-1].startswith("1 file of earlier runs still failed, so the exit code is not 0: a2f batch")


def test_a_folder_without_images(run, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    code, _, said = run("upscale", "empty", "-o", "out", "--resume")
    assert (code, said) == (3, "error: empty: no images (-r includes subfolders)\n")


@pytest.mark.parametrize("given", ["nowhere.sqlite", "in"])
def test_no_journal(run, folder: Path, given: str) -> None:
    code, _, said = run("batch", "status", given)
    assert code == 3
    assert "a2f upscale --resume" in said


@pytest.mark.integration
@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGINT for one process")
def test_watch(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    words = ["upscale", "in", "-o", "out", "-s", "2", "--watch", "--settle", "0.2"]
    process = subprocess.Popen([sys.executable, "-m", "a2f", *words], cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    try:
        for number, name in enumerate(("a.png", "b.png"), 1):
            photo(tmp_path / name).rename(tmp_path / "in" / name)
            _wait_for(number, tmp_path / "out/.a2f-journal.sqlite", process)
    finally:
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=DEADLINE_S)[1]
    assert process.returncode == 130, said
    for name in ("a_x2.png", "b_x2.png"):
        with Image.open(tmp_path / "out" / name) as made:
            assert made.size == (18, 14)
    with Journal(tmp_path / "out/.a2f-journal.sqlite", read_only=True) as journal:
        assert journal.rows("SELECT tries FROM items") == [(1,), (1,)]


def _wait_for(done: int, path: Path, process: "subprocess.Popen[str]") -> None:
    end = time.monotonic() + DEADLINE_S
    while not path.exists() or _done(path) < done:
        assert process.poll() is None, process.stderr and process.stderr.read()
        assert time.monotonic() < end
        time.sleep(0.05)


def _done(path: Path) -> int:
    try:
        with Journal(path, read_only=True) as journal:
            return journal.counts()["done"]
    except JournalError:  # it is not finished yet
        return 0


@pytest.mark.skipif(sys.platform != "linux", reason="other file systems hold names of Unicode text alone")
def test_report_with_undecodable_names_and_brackets(run, tmp_path: Path) -> None:
    photo(tmp_path / "in" / "photo[1].png")
    photo(tmp_path / "in" / "b.png").rename(os.fsdecode(os.fsencode(tmp_path / "in") + b"/\xff.png"))
    assert run(*UPSCALE, "--resume")[0] == 0
    assert run("batch", "report", "out", "-o", "report.html")[0] == 0
    page = (tmp_path / "report.html").read_text()
    assert page.count("data:image/jpeg;base64,") == 2
    assert r"\udcff_x2.png" in page
