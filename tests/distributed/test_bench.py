"""A worker without a cluster: a result is renamed when the driver asks for it."""

import pickle
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.distributed.copying import RECIPE, Copying, Ended, begin

from a2f.batch.journal import Item, Journal
from a2f.batch.work import Keeper, Notes, Work
from a2f.distributed.bench import Bench, End, Whole
from a2f.errors import ImageReadError, WriteError


@dataclass
class Failing:
    """Hands that raise."""

    error: BaseException

    def do(self, item: Item, notes: Notes) -> Ended:
        def enlarge(work: Work) -> Ended:
            raise self.error

        return Keeper(notes, RECIPE, overwrite=False).do(item, enlarge, lambda error: Ended("failed", error))

    def stop(self) -> None:
        pass


@pytest.fixture
def journal(tmp_path: Path):
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "in" / "a.png").write_bytes(b"content")
    with Journal(tmp_path / "journal.sqlite") as journal:
        begin(journal, tmp_path / "in", tmp_path / "out")
        yield journal


def test_result_is_renamed_only_after_it_is_recorded(tmp_path: Path, journal: Journal) -> None:
    bench, target = Bench(Copying(tmp_path / "out"), recipe=journal.recipe, slots=1), tmp_path / "out" / "a.png"
    (item,) = journal.todo()
    journal.start(item)
    whole = bench.enlarge(item)
    assert isinstance(whole, Whole)
    assert not target.exists()
    journal.placing(item, whole.output_sha256, whole.facts)
    end = pickle.loads(pickle.dumps(bench.place(item.id)))  # as between machines
    assert target.read_bytes() == 2 * b"content"
    end.note(journal)
    done = journal.find(item.source)
    assert (done.state, done.output_sha256) == ("done", whole.output_sha256)
    bench.stop()


def test_placed_result_of_a_lost_worker_is_kept(tmp_path: Path, journal: Journal) -> None:
    bench = Bench(Copying(tmp_path / "out"), recipe=journal.recipe, slots=1)
    (item,) = journal.todo()
    journal.start(item)
    whole = bench.enlarge(item)
    journal.placing(item, whole.output_sha256, whole.facts)
    bench.place(item.id)  # the answer is lost
    again = bench.enlarge(journal.find(item.source))
    assert isinstance(again, End)
    assert again.outcome.status == "skipped"
    again.note(journal)
    assert journal.find(item.source).state == "done"
    bench.stop()


def test_unwanted_result_is_not_written(tmp_path: Path, journal: Journal) -> None:
    bench = Bench(Copying(tmp_path / "out"), recipe=journal.recipe, slots=1)
    (item,) = journal.todo()
    assert isinstance(bench.enlarge(item), Whole)
    bench.stop()
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(
    ("error", "state", "bad"),
    [(ImageReadError("damaged"), "quarantined", "damaged"), (WriteError("no such folder"), "failed", None)],
)
def test_failures_of_files_and_of_the_machine(journal: Journal, error: Exception, state: str, bad: str | None) -> None:
    (item,) = journal.todo()
    end = Bench(Failing(error), recipe=journal.recipe, slots=1).enlarge(item)
    assert (end.bad_file, end.fatal, end.outcome.error) == (bad, None, error)
    end.note(journal)
    assert journal.find(item.source).state == state


def test_full_disk_ends_the_batch(journal: Journal) -> None:
    (item,) = journal.todo()
    error = WriteError("cannot write")
    error.__cause__ = OSError(28, "No space left on device")
    end = Bench(Failing(error), recipe=journal.recipe, slots=1).enlarge(item)
    assert "The batch ends here" in str(end.fatal)
    end.note(journal)
    assert journal.find(item.source).state == "failed"


def test_a_bug_is_not_hidden(journal: Journal) -> None:
    (item,) = journal.todo()
    with pytest.raises(ZeroDivisionError):
        Bench(Failing(ZeroDivisionError()), recipe=journal.recipe, slots=1).enlarge(item)


def test_grouped_journal_entries_are_one_transaction(journal: Journal) -> None:
    (item,) = journal.todo()
    with Journal(journal.path, read_only=True) as other:
        with journal.together():
            journal.start(item)
            assert other.find(item.source).state == "todo"
        assert other.find(item.source).state == "running"


def test_failed_group_of_journal_entries_is_rolled_back(journal: Journal) -> None:
    (item,) = journal.todo()

    def half() -> None:
        with journal.together():
            journal.start(item)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        half()
    assert journal.find(item.source).state == "todo"
    journal.start(item)
    assert journal.find(item.source).state == "running"
