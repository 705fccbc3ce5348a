"""Watching a folder: each file is processed once, when it has stopped changing."""

from pathlib import Path

import pytest

from a2f.batch.journal import Journal
from a2f.batch.plan import Layout, ResumeOptions, plan
from a2f.batch.sources import Scan
from a2f.batch.watch import Arrivals
from a2f.batch.work import Keeper, Recipe
from a2f.errors import TruncatedImageError, WriteError

SETTLE_S = 2.0
END = b"<end>"


class Watched:
    """A watched folder with its own clock. A file is copied if it has the end mark of a complete file."""

    def __init__(self, batch, journal: Journal) -> None:
        self.batch, self.journal, self.now = batch, journal, 0.0
        self.layout = Layout(mark="_x4", output=str(batch.out))
        self.scan = Scan(recursive=True)
        self.arrivals = Arrivals(lambda: self.scan.files([str(batch.given)]), journal, settle_s=SETTLE_S)
        batch.given.mkdir()
        batch.fails = lambda work: None if work.source.read_bytes().endswith(END) else TruncatedImageError("cut off")

    def look(self, *, after: float) -> list[str]:
        """Look once after some seconds, and process the complete files."""
        self.now += after
        ready = list(self.arrivals.settled(self.now))
        self.batch.worked.clear()
        if ready:
            plan(self.journal, ready, self.layout, ResumeOptions(resume=True), recipe="{}")
            keeper = Keeper(self.journal, Recipe(text="{}", sha256={}), overwrite=False)
            for item in self.journal.todo():
                keeper.do(item, self.batch.enlarge, lambda error: pytest.fail(str(error)))
        return sorted(self.batch.worked)


@pytest.fixture
def watched(batch, tmp_path: Path):
    with Journal(batch.journal_path) as journal:
        yield Watched(batch, journal)


def test_complete_file_is_processed_once(watched) -> None:
    watched.batch.put("a.png", b"pixels" + END)
    assert watched.look(after=0) == []
    assert watched.look(after=1) == []
    watched.batch.put("b.png", b"pixels" + END)
    assert watched.look(after=1) == ["a.png"]
    assert watched.look(after=1) == []
    assert watched.look(after=1) == ["b.png"]
    assert watched.look(after=99) == []
    assert watched.arrivals.waiting == 0


def test_growing_file_waits_until_it_is_complete(watched) -> None:
    path = watched.batch.put("a.png", b"")
    for _ in range(9):
        assert watched.look(after=1.5) == []
        path.write_bytes(path.read_bytes() + b"pixels")
    path.write_bytes(path.read_bytes() + END)
    assert watched.look(after=1.5) == []
    assert watched.look(after=1.5) == []
    assert watched.look(after=0.5) == ["a.png"]
    assert (watched.batch.out / "a_x4.png").read_bytes() == 9 * b"pixels" + END + b"{}"


def test_paused_copy_is_processed_again_when_complete(watched) -> None:
    path = watched.batch.put("a.png", b"pix")
    watched.look(after=0)
    assert watched.look(after=2) == ["a.png"]
    assert watched.batch.item("a.png").state == "quarantined"
    assert not (watched.batch.out / "a_x4.png").exists()
    assert watched.look(after=9) == []
    path.write_bytes(b"pixels" + END)
    assert watched.look(after=9) == []
    assert watched.look(after=2) == ["a.png"]
    assert watched.batch.item("a.png").state == "done"


def test_file_renamed_into_the_folder(watched) -> None:
    hidden = watched.batch.put(".a.png.tmp", b"pixels" + END)
    watched.look(after=0)
    assert watched.look(after=9) == []
    hidden.rename(watched.batch.given / "a.png")
    assert watched.look(after=1) == []
    assert watched.look(after=2) == ["a.png"]


def test_file_removed_before_it_is_complete(watched) -> None:
    path = watched.batch.put("a.png", b"pixels" + END)
    watched.look(after=0)
    path.unlink()
    assert watched.look(after=2) == []
    assert watched.arrivals.waiting == 0


def test_results_beside_their_sources_are_not_sources(watched) -> None:
    watched.layout = Layout(mark="_x4")
    watched.batch.put("a.png", b"pixels" + END)
    watched.look(after=0)
    assert watched.look(after=2) == ["a.png"]
    assert (watched.batch.given / "a_x4.png").exists()
    watched.look(after=0)
    assert watched.look(after=9) == []


def test_changed_file_is_processed_again(watched) -> None:
    watched.batch.put("a.png", b"pixels" + END)
    watched.look(after=0)
    assert watched.look(after=2) == ["a.png"]
    watched.batch.put("a.png", b"other pixels" + END)
    assert watched.look(after=2) == []
    assert watched.look(after=2) == ["a.png"]
    assert (watched.batch.out / "a_x4.png").read_bytes() == b"other pixels" + END + b"{}"


def test_temporarily_missing_folder(watched) -> None:
    watched.batch.put("a.png", b"pixels" + END)
    away = watched.batch.given.rename(watched.batch.root / "away")
    assert watched.look(after=0) == watched.look(after=9) == []
    away.rename(watched.batch.given)
    assert watched.look(after=1) == []
    assert watched.look(after=2) == ["a.png"]
    assert watched.batch.states() == {"a.png": "done"}


def test_disk_failures_are_retried_by_the_next_run(watched) -> None:
    watched.batch.put("a.png", b"pixels" + END)
    watched.batch.fails = lambda work: WriteError("no such disk")
    watched.look(after=0)
    assert watched.look(after=2) == ["a.png"]
    assert watched.look(after=9) == watched.look(after=9) == []
    watched.batch.fails = lambda work: None
    watched.arrivals = Arrivals(
        lambda: watched.scan.files([str(watched.batch.given)]), watched.journal, settle_s=SETTLE_S
    )
    watched.look(after=9)
    assert watched.look(after=9) == ["a.png"]
    assert watched.look(after=9) == []
    assert watched.batch.states() == {"a.png": "done"}
