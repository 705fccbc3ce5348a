"""The plan of a batch: the found files, their order, shards, and the paths of results."""

import os
import resource
import sys
from pathlib import Path

import pytest

from a2f.batch.journal import Journal
from a2f.batch.places import joined, sibling
from a2f.batch.plan import Layout, ResumeOptions, plan
from a2f.batch.sources import Found, Scan, Shard
from a2f.errors import UsageError

PNG = b"\x89PNG\r\n\x1a\n" + bytes(40)


def test_the_largest_comes_first(batch) -> None:
    for name, size in {"small.png": 10, "large.png": 3000, "middle.png": 200}.items():
        batch.put(name, bytes(size))
    batch.put("many-pixels.jpg", bytes(1000))  # a byte of a JPEG holds more pixels
    batch.run()
    assert batch.worked == ["many-pixels.jpg", "large.png", "middle.png", "small.png"]


def test_unfinished_items_come_last(batch) -> None:
    batch.put("large.png", bytes(900))
    batch.put("small.png", bytes(9))

    class Crash(BaseException):
        pass

    def crash(work):
        raise Crash

    batch.fails = crash
    with pytest.raises(Crash):
        batch.run()
    batch.fails = lambda work: None
    batch.run()
    assert batch.worked == ["small.png", "large.png"]


def test_shards_are_disjoint_complete_and_stable(batch) -> None:
    names = [f"{'deep/' if i % 2 else ''}{i}.png" for i in range(60)]
    for name in names:
        batch.put(name)
    parts = []
    for number in (1, 2, 3):
        found = list(Scan(recursive=True, shard=Shard(number=number, count=3)).files([str(batch.given)]))
        parts.append({one.below for one in found})
    assert sorted(name for part in parts for name in part) == sorted(names)
    assert all(8 <= len(part) <= 32 for part in parts)
    with_result = Found(source="/x/7_x4.jpg", below="deep/7_x4.jpg", bytes=1, version="1")
    number = next(n for n, part in enumerate(parts, 1) if "deep/7.png" in part)
    assert Shard(number=number, count=3).has(with_result), "a result beside its source is not taken for a source"
    elsewhere = Found(source="/mnt/other/deep/1.png", below="deep/1.png", bytes=1, version="1")
    assert [Shard(number=n, count=3).has(elsewhere) for n in (1, 2, 3)] == ["deep/1.png" in part for part in parts]


@pytest.mark.parametrize("numbers", [(0, 3), (4, 3), (1, 0)])
def test_invalid_shards(numbers: tuple[int, int]) -> None:
    with pytest.raises(UsageError, match="--shard"):
        Shard(number=numbers[0], count=numbers[1])


def test_clashing_results_are_refused(batch) -> None:
    batch.put("a.png", PNG)
    batch.put("a.PNG" if (batch.given / "A.png").exists() is False else "x.png", PNG)
    if len(list(batch.given.iterdir())) == 1:
        pytest.skip("this file system takes a.png and a.PNG for one")
    with pytest.raises(UsageError, match="would both be written to"):
        batch.run()


def test_an_input_is_never_a_target(batch) -> None:
    sources = [str(batch.put(name, PNG)) for name in ("a.png", "deep/a_x4.png")]
    layout = Layout(mark="_x4", output=str(batch.given / "deep"))
    with Journal(batch.journal_path) as journal, pytest.raises(UsageError, match=r"a_x4\.png is itself an input"):
        plan(journal, Scan().files(sources), layout, ResumeOptions(), recipe="{}")


def test_results_of_earlier_runs_are_not_sources(batch) -> None:
    for name in ("a.png", "a_x4.png", "b_x2.png", "c_w800.png", "c.png"):
        batch.put(name, PNG)
    notes = batch.run()
    assert sorted(batch.worked) == ["a.png", "b_x2.png", "c.png"]
    assert notes[0].startswith("skipped 2 earlier results (names ending in _x4 or similar)")


def test_skipped_files_are_reported(tmp_path: Path) -> None:
    for name in ("a.png", ".hidden.png", "notes.txt", "more.txt", "scan"):
        (tmp_path / name).write_bytes(PNG)
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep/b.png").write_bytes(PNG)
    (tmp_path / "gone.png").symlink_to("nowhere")
    scan = Scan()
    assert [found.below for found in scan.files([str(tmp_path)])] == ["a.png"]
    assert scan.notes() == [
        f"{tmp_path}: skipped 2 .txt files, 1 broken link or special file, 1 file without a suffix, "
        "1 folder (-r includes them), 1 hidden file"
    ]


def test_a_folder_that_cannot_be_read_does_not_end_the_search(tmp_path: Path, monkeypatch) -> None:
    for name in ("open", "closed"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.png").write_bytes(PNG)
    scandir = os.scandir

    def closed(path):
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", closed)
    scan = Scan(recursive=True)
    assert [found.below for found in scan.files([str(tmp_path)])] == ["open/a.png"]
    assert scan.notes() == [f"{tmp_path}: skipped 1 folder that cannot be read (Permission denied)"]


def test_output_folder_is_not_searched(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    for name in ("a.png", "out/a_x4.png"):
        (tmp_path / name).write_bytes(PNG)
    scan = Scan(recursive=True, output=os.path.realpath(tmp_path / "out"))
    assert [found.below for found in scan.files([str(tmp_path)])] == ["a.png"]
    assert scan.notes() == []


@pytest.mark.parametrize(
    ("folder", "address"),
    [
        ("s3://bucket", "s3://bucket/deep/a.png"),
        ("s3://bucket/large/", "s3://bucket/large/deep/a.png"),
        ("zip://::photos.zip", "zip://deep/a.png::photos.zip"),
        ("zip://x::s3://bucket/photos.zip", "zip://x/deep/a.png::s3://bucket/photos.zip"),
    ],
)
def test_addresses(folder: str, address: str) -> None:
    assert joined(folder, "deep/a.png") == address
    assert sibling(address, "b.png") == joined(folder, "deep/b.png")


@pytest.mark.integration
@pytest.mark.skipif(sys.platform != "linux", reason="the unit of ru_maxrss differs elsewhere")
def test_memory_does_not_grow_with_the_number_of_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("a2f.batch.database.CACHE_KIB", 1_000)  # what the database may take is bounded by itself

    def files(count: int):
        for i in range(count):
            name = f"{i % 7}/a-photo-with-a-long-name-{i}.png"
            yield Found(source=f"/nowhere/{name}", below=name, bytes=i, version=str(i))

    layout = Layout(mark="_x4", output=str(tmp_path / "out"))

    def grown(count: int) -> int:
        with Journal(tmp_path / f"{count}.sqlite") as journal:
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            plan(journal, files(count), layout, ResumeOptions(resume=True), recipe="{}")
            assert sum(1 for _ in journal.todo()) == count
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before

    grown(2_000)  # what SQLite and the interpreter take anyway
    assert grown(20_000) < 8_000, "kilobytes; the names alone are 2,000"


def test_refused_batch_leaves_no_journal_entries(batch) -> None:
    for name in ("a.png", "b/e\u0301.png"):
        batch.put(name)
    batch.run()
    batch.put("A.png")
    with pytest.raises(UsageError, match="would both be written"):
        batch.run()
    assert set(batch.states().values()) == {"done"}
    assert len(batch.states()) == 2


@pytest.mark.skipif(sys.platform != "linux", reason="other file systems take the two names for one")
def test_names_with_different_unicode_normalisation_clash(batch) -> None:
    batch.put("e\u0301.png")
    batch.put("\u00e9.png")
    with pytest.raises(UsageError, match="would both be written"):
        batch.run()


@pytest.mark.skipif(sys.platform != "linux", reason="other file systems take the two names for one")
def test_clashing_files_are_quarantined_on_request(batch) -> None:
    for name in ("a.png", "A.png", "b.png"):
        batch.put(name)
    notes = batch.run(ResumeOptions(resume=True, quarantine_clashes=True))
    states = batch.states()
    assert sorted(states.values()) == ["done", "done", "quarantined"]
    assert states["b.png"] == "done"
    (bad,) = [name for name, state in states.items() if state == "quarantined"]
    assert f"in/{bad}: its result would be written to" in notes[0]
    assert "rename it" in str(batch.item(bad).error)
    assert batch.run(ResumeOptions(resume=True, quarantine_clashes=True)) == []
    assert batch.worked == []
