"""The journal: only missing or changed files are processed, and no other file is replaced."""

import errno
import os
import sqlite3
from pathlib import Path

import pytest

from a2f.batch import database
from a2f.batch.journal import MAX_STARTS, Journal
from a2f.batch.plan import ResumeOptions
from a2f.errors import ImageReadError, JournalError, MemoryLimitError, OutputExistsError, UsageError, WriteError


def test_only_missing_results_are_made(batch) -> None:
    batch.put("a.png")
    batch.put("deep/b.png")
    batch.run()
    assert sorted(batch.worked) == ["a.png", "b.png"]
    batch.put("c.png")
    (batch.out / "deep/b_x4.png").unlink()
    batch.run()
    assert sorted(batch.worked) == ["b.png", "c.png"]
    batch.run()
    assert batch.worked == []


def test_journal_records_sources_and_results(batch) -> None:
    path = batch.put("a.png", b"abc")
    batch.run()
    item = batch.item("a.png")
    status = path.stat()
    assert (item.bytes, item.version) == (3, str(status.st_mtime_ns))
    assert item.sha256 == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert item.target == str(batch.out / "a_x4.png")
    assert (item.state, item.output_bytes, item.error, item.tries) == ("done", 5, None, 1)
    assert item.output_sha256 is not None
    assert item.seconds is not None


def test_a_changed_file_replaces_its_own_result(batch) -> None:
    batch.put("a.png", b"old")
    batch.put("b.png", b"old")
    batch.run()
    batch.put("a.png", b"newer")
    batch.run()
    assert batch.worked == ["a.png"]
    assert (batch.out / "a_x4.png").read_bytes() == b"newer{}"


def test_touched_file_is_not_repeated(batch) -> None:
    path = batch.put("a.png")
    batch.run()
    os.utime(path, ns=(1, 1))
    batch.run()
    assert batch.worked == []
    assert batch.item("a.png").state == "done"


def test_changed_options_repeat_all_items(batch) -> None:
    batch.put("a.png", b"x")
    batch.run()
    batch.options = '{"quality": 3}'
    batch.run()
    assert batch.worked == ["a.png"]
    assert (batch.out / "a_x4.png").read_bytes() == b'x{"quality": 3}'


def test_failure_with_new_options_is_not_hidden_by_the_old_result(batch) -> None:
    batch.put("a.png", b"x")
    batch.run()
    batch.options = "[2]"
    batch.fails = lambda work: MemoryLimitError("too little")
    batch.run()
    batch.fails = lambda work: None
    batch.run()
    assert batch.worked == ["a.png"]
    assert (batch.out / "a_x4.png").read_bytes() == b"x[2]"


def test_existing_file_is_never_replaced(batch) -> None:
    batch.put("a.png")
    batch.run()
    batch.put("b.png")
    (batch.out / "b_x4.png").write_bytes(b"mine")
    batch.run()
    assert batch.states() == {"a.png": "done", "b.png": "failed"}
    assert "exists" in str(batch.item("b.png").error)
    assert (batch.out / "b_x4.png").read_bytes() == b"mine"
    batch.run(ResumeOptions(resume=True, overwrite=True))
    assert sorted(batch.worked) == ["a.png", "b.png"]
    assert (batch.out / "b_x4.png").read_bytes() == b"content{}"


def test_edited_result_is_kept_and_reported(batch) -> None:
    batch.put("a.png")
    batch.run()
    (batch.out / "a_x4.png").write_bytes(b"edited by hand")
    assert "kept 1 result edited after the run" in batch.run()[0]
    batch.put("a.png", b"changed too")
    batch.run()
    assert batch.item("a.png").state == "failed"
    assert (batch.out / "a_x4.png").read_bytes() == b"edited by hand"


def test_results_of_a_run_without_a_journal_are_kept(batch) -> None:
    batch.put("a.png")
    batch.put("b.png")
    batch.out.mkdir()
    (batch.out / "a_x4.png").write_bytes(b"there before")
    assert batch.run() == ["kept 1 result of earlier runs"]
    assert batch.worked == ["b.png"]
    assert batch.states() == {"a.png": "skipped", "b.png": "done"}
    (batch.out / "a_x4.png").unlink()
    batch.run()
    assert batch.worked == ["a.png"]


def test_bad_files_stay_in_quarantine_until_they_change(batch) -> None:
    batch.put("a.png", b"bad")
    batch.put("b.png")
    batch.fails = lambda work: ImageReadError("no image") if work.source.read_bytes() == b"bad" else None
    batch.run()
    assert batch.states() == {"a.png": "quarantined", "b.png": "done"}
    number = batch.item("a.png").id
    assert (batch.root / f"bad/{number}-a.png").read_bytes() == b"bad"
    assert (batch.root / f"bad/{number}-a.png.txt").read_text() == "no image\n"
    assert batch.put("a.png", b"bad").exists(), "the source stays"
    os.utime(batch.given / "a.png", ns=(5, int(batch.item("a.png").version)))
    batch.run()
    assert batch.worked == []
    batch.run(ResumeOptions(retry_failed=True))
    assert batch.worked == ["a.png"]
    batch.put("a.png", b"good now")
    batch.run()
    assert batch.worked == ["a.png"]
    assert batch.item("a.png").error is None


def test_other_failures_are_retried(batch) -> None:
    batch.put("a.png")
    batch.fails = lambda work: MemoryLimitError("too little memory")
    batch.run()
    assert batch.states() == {"a.png": "failed"}
    batch.run()
    assert batch.worked == ["a.png"]


def test_full_disk_ends_the_batch_without_loss(batch) -> None:
    for name in ("a.png", "b.png", "c.png"):
        batch.put(name, name.encode())
    full = WriteError("cannot write: No space left on device")
    full.__cause__ = OSError(errno.ENOSPC, "No space left on device")
    batch.fails = lambda work: full if work.source.name == "b.png" else None
    with pytest.raises(WriteError, match="The batch ends here: free some space, then continue with resume=True"):
        batch.run()
    batch.fails = lambda work: None
    batch.run()
    assert "b.png" in batch.worked
    assert set(batch.states().values()) == {"done"}
    with Journal(batch.journal_path, read_only=True) as journal:
        assert [tries for (tries,) in journal.rows("SELECT tries FROM items ORDER BY tries")] == [1, 1, 2]


def test_journal_on_a_full_disk_raises_an_error_and_stays_valid(batch) -> None:
    batch.put("a.png")
    batch.run()
    with Journal(batch.journal_path) as journal:
        (pages,) = journal.rows("PRAGMA page_count")[0]
        journal.rows(f"PRAGMA max_page_count = {pages}")  # the effect of a full disk on SQLite
        with (
            pytest.raises(JournalError, match="full: free some space, then continue with resume=True"),
            journal.writing() as base,
        ):
            base.executemany("INSERT INTO recipes (text) VALUES (?)", [(f"{i}" * 999,) for i in range(99)])
    batch.put("b.png")
    batch.run()
    assert batch.worked == ["b.png"]


@pytest.mark.parametrize("placed", [True, False])
def test_kill_right_before_or_after_the_rename(batch, monkeypatch, placed: bool) -> None:
    batch.put("a.png", b"x")
    done = Journal.done

    class Killed(BaseException):
        pass

    def kill(self, *args, **kwargs):
        if not placed:
            (batch.out / "a_x4.png").unlink()
        raise Killed

    monkeypatch.setattr(Journal, "done", kill)
    with pytest.raises(Killed):
        batch.run()
    monkeypatch.setattr(Journal, "done", done)
    assert batch.item("a.png").state == "running"
    batch.run()
    assert batch.worked == ([] if placed else ["a.png"])
    item = batch.item("a.png")
    assert item.state == "done"
    assert item.placing is None
    assert item.output_sha256 is not None
    assert (batch.out / "a_x4.png").read_bytes() == b"x{}"


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.ENOENT, errno.EACCES])
def test_disk_error_quarantines_no_file(batch, number: int) -> None:
    batch.put("a.png")

    def fails(work) -> ImageReadError:
        try:
            raise OSError(number, os.strerror(number))
        except OSError as error:
            told = ImageReadError(f"cannot read {work.source}")
            told.__cause__ = error
            return told

    batch.fails = fails
    batch.run()
    assert batch.states() == {"a.png": "failed"}
    batch.fails = lambda work: None
    batch.run()
    assert batch.states() == {"a.png": "done"}


def test_file_that_crashes_the_program_repeatedly_is_quarantined(batch) -> None:
    batch.put("poison.png", b"a large file comes first, but not this one")
    batch.put("b.png")

    class Crash(BaseException):
        pass

    def crash(work):
        if work.source.name == "poison.png":
            raise Crash
        return

    batch.fails = crash
    for number in range(MAX_STARTS):
        with pytest.raises(Crash):
            batch.run()
        assert batch.states()["b.png"] == ("todo" if number == 0 else "done"), "the others come first"
    batch.run()
    assert batch.worked == []
    assert batch.states() == {"poison.png": "quarantined", "b.png": "done"}
    assert f"the program ended {MAX_STARTS} times" in str(batch.item("poison.png").error)


def test_file_that_changes_while_it_is_read_makes_no_result(batch) -> None:
    path = batch.put("a.png", b"half")
    batch.fails = lambda work: path.write_bytes(b"half and more") and None
    batch.run()
    assert batch.states() == {"a.png": "failed"}
    assert "changed while it was read" in str(batch.item("a.png").error)
    assert not (batch.out / "a_x4.png").exists()
    batch.fails = lambda work: None
    batch.run()
    assert (batch.out / "a_x4.png").read_bytes() == b"half and more{}"


def test_a_journal_is_for_one_run_at_a_time(batch, tmp_path: Path) -> None:
    batch.put("a.png")
    with Journal(batch.journal_path) as journal:
        assert journal.is_in_use()
        with Journal(batch.journal_path, read_only=True) as other:
            assert other.is_in_use()
        with pytest.raises(JournalError, match="another run is using it"):
            Journal(batch.journal_path)
    batch.run()
    with Journal(batch.journal_path, read_only=True) as other:
        assert not other.is_in_use()


def test_journal_on_a_read_only_disk_can_be_read(batch, monkeypatch: pytest.MonkeyPatch) -> None:
    batch.put("a.png")
    batch.run()
    before = sorted(path.name for path in batch.root.iterdir())
    opened = database.open_database

    def on_a_disk_for_reading(path: Path, *, read_only: bool) -> sqlite3.Connection:
        if path.parent == batch.root:  # SQLite cannot make its files beside the database here
            raise JournalError("unable to open database file")
        return opened(path, read_only=read_only)

    monkeypatch.setattr(database, "open_database", on_a_disk_for_reading)
    with pytest.raises(JournalError, match="unable to open"):
        Journal(batch.journal_path, read_only=True)
    monkeypatch.setattr("os.access", lambda path, mode: False)
    assert batch.states() == {"a.png": "done"}
    assert sorted(path.name for path in batch.root.iterdir()) == before


def test_an_earlier_journal_is_not_ignored(batch) -> None:
    batch.put("a.png")
    batch.run(ResumeOptions())
    with pytest.raises(UsageError, match=r"belongs to an earlier run \(1 done\): continue it with resume=True"):
        batch.run(ResumeOptions())


def test_files_that_are_not_journals(tmp_path: Path) -> None:
    other = tmp_path / "other.sqlite"
    other.write_bytes(b"this is no database, whatever its name says" * 99)
    with pytest.raises(JournalError, match="cannot open the journal"):
        Journal(other)
    newer = tmp_path / "newer.sqlite"
    with Journal(newer):
        pass
    with sqlite3.connect(newer) as base:
        base.execute("UPDATE about SET value = '99'")
    base.close()
    with pytest.raises(JournalError, match="is a journal of another a2f"):
        Journal(newer)
    with pytest.raises(JournalError, match=r"missing\.sqlite' does not exist: give the file"):
        Journal(tmp_path / "missing.sqlite", read_only=True)


def test_names_that_are_not_unicode(batch) -> None:
    name = os.fsdecode(b"caf\xe9.png")
    try:
        batch.put(name)
    except OSError:
        pytest.skip("this file system takes Unicode names only")
    batch.run()
    batch.run()
    assert batch.worked == []
    with Journal(batch.journal_path, read_only=True) as journal:
        (item,) = journal.items("done")
    assert item.source == str(batch.given / name)


def test_existing_output_does_not_quarantine_the_file() -> None:
    from a2f.batch.work import BAD_FILE

    assert not issubclass(OutputExistsError, BAD_FILE)
