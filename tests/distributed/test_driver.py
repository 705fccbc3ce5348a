"""The driver with simulated workers: the distribution of items, and the handling of lost workers."""

from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest
from tests.distributed.copying import begin

from a2f.batch.journal import MAX_STARTS, Facts, Item, Journal
from a2f.distributed.bench import End, Whole
from a2f.distributed.driver import Answered, Driver, Event, Lost, Opened
from a2f.errors import A2FError, WriteError


@dataclass
class Played:
    """A `Crew` of simulated workers. The name of a file controls its worker."""

    journal: Journal
    room: Callable[[], int] = lambda: 2
    happens: deque[Event] = field(default_factory=deque)
    held: dict[int, list[str]] = field(default_factory=dict)
    most: Counter = field(default_factory=Counter)
    begun: list[tuple[int, str]] = field(default_factory=list)
    company: list[tuple[str, ...]] = field(default_factory=list)
    placed: list[str] = field(default_factory=list)
    dismissed: list[int] = field(default_factory=list)
    items: dict[int, Item] = field(default_factory=dict)
    turns: int = 0

    def wanted(self) -> int:
        return self.room()

    def hire(self) -> int:
        number = len(self.most) + 1
        self.held[number], self.most[number] = [], 0
        self.happens.append(Opened(worker=number, note=f"worker {number}"))
        return number

    def dismiss(self, worker: int) -> None:
        assert not self.held.pop(worker)
        self.dismissed.append(worker)

    def enlarge(self, worker: int, item: Item) -> None:
        name = Path(item.source).stem
        self.items[item.id] = item
        self.held[worker].append(name)
        self.most[worker] = max(self.most[worker], len(self.held[worker]))
        self.begun.append((worker, name))
        if name.startswith(("kill", "leave")):
            self.happens.append(Lost(worker=worker, reason="played", with_machine=name.startswith("leave")))
        elif name.startswith("bad"):
            failed = partial(Journal.failed, item=item, error="bad", bad_file=True, recipe=1, seconds=0)
            end = End(note=failed, outcome="failed", bad_file="bad")
            self.happens.append(Answered(worker=worker, item=item.id, report=end))
        elif name.startswith("full"):
            self.happens.append(Answered(worker=worker, item=item.id, report=End(note=None, fatal=WriteError("full"))))
        else:
            facts = Facts(bytes=item.bytes, version=item.version, sha256="source", recipe=self.journal.recipe)
            whole = Whole(output_sha256=f"sum of {name}", facts=facts)
            self.happens.append(Answered(worker=worker, item=item.id, report=whole))

    def place(self, worker: int, item: int) -> None:
        name = Path(self.items[item].source).stem
        with Journal(self.journal.path, read_only=True) as other:  # on the disk, not only on its way there
            assert other.find(self.items[item].source).placing == f"sum of {name}"
        self.placed.append(name)
        done = partial(Journal.done, item=self.items[item], output=(1, "1"), seconds=1)
        self.happens.append(Answered(worker=worker, item=item, report=End(note=done, outcome="done")))

    def events(self) -> Sequence[Event]:
        found: list[Event] = []
        for _ in range(len(self.happens)):
            event = self.happens.popleft()
            if event.worker not in self.held:
                continue  # of a worker that was lost
            if isinstance(event, Lost):
                self.company.append(tuple(sorted(self.held.pop(event.worker))))
            elif isinstance(event, Answered) and isinstance(event.report, End):
                self.held[event.worker].remove(Path(self.items[event.item].source).stem)
            found.append(event)
        self.turns += 1
        assert self.turns < 1000, "nothing happens any more"
        return found


@dataclass
class Run:
    """A run over files with these names; the first one is the largest."""

    root: Path
    names: Sequence[str]
    room: Callable[[], int] = lambda: 2

    def __post_init__(self) -> None:
        self.given, self.out = self.root / "in", self.root / "out"
        self.given.mkdir(exist_ok=True)
        for size, name in enumerate(reversed(self.names), start=1):
            (self.given / f"{name}.png").write_bytes(b"x" * size)
        self.apart: list[tuple[str, str]] = []
        self.notes: list[str] = []

    def __enter__(self) -> "Run":
        self.journal = Journal(self.root / "journal.sqlite")
        begin(self.journal, self.given, self.out)
        self.crew = Played(self.journal, self.room)
        self.driver = Driver(
            self.journal,
            self.crew,
            lost=lambda item, error: f"lost: {error}",
            note=self.notes.append,
            copy_to_quarantine=lambda item, reason: self.apart.append((Path(item.source).stem, reason)),
        )
        return self

    def __exit__(self, *error: object) -> None:
        self.journal.close()

    def outcomes(self) -> dict[str, str]:
        return {Path(item.source).stem: outcome for item, outcome in self.driver.run()}

    def rows(self) -> dict[str, tuple[str, int]]:
        rows = self.journal.rows("SELECT source, state, tries FROM items")
        return {Path(source).stem: (state, tries) for source, state, tries in rows}


def test_largest_items_first_and_one_per_worker_first(tmp_path: Path) -> None:
    with Run(tmp_path, list("abcdefg")) as run:
        assert run.outcomes() == dict.fromkeys("abcdefg", "done")
        assert [name for _, name in run.crew.begun] == list("abcdefg")
        assert run.crew.begun[:4] == [(1, "a"), (2, "b"), (1, "c"), (2, "d")]
        assert run.crew.most == {1: 2, 2: 2}
        assert run.rows() == dict.fromkeys("abcdefg", ("done", 1))


def test_workers_are_hired_with_free_capacity_and_dismissed_at_the_end(tmp_path: Path) -> None:
    rooms = iter([1, 1, 1])
    with Run(tmp_path, [f"{i:02d}" for i in range(20)], room=lambda: next(rooms, 3)) as run:
        run.outcomes()
        assert set(run.crew.most) == {1, 2, 3}
        assert set(run.crew.dismissed) <= {1, 2, 3}
        assert run.crew.dismissed
    other = tmp_path / "other"
    other.mkdir()
    with Run(other, ["a", "b"], room=lambda: 50) as run:
        run.outcomes()
        assert len(run.crew.most) == 2, "more workers than items"


def test_file_that_crashes_workers_is_quarantined_alone(tmp_path: Path) -> None:
    with Run(tmp_path, ["a", "kill", "b", "c", "d"], room=lambda: 1) as run:
        outcomes = run.outcomes()
        assert outcomes.pop("kill").startswith("lost: ")
        assert outcomes == dict.fromkeys("abcd", "done")
        assert len(run.crew.company) == 2
        assert run.crew.company[1] == ("kill",), "it was tried again in company"
        [(name, reason)] = run.apart
        assert name == "kill"
        assert "2 workers ended while they had this file (played)" in reason
        rows = run.rows()
        assert rows.pop("kill") == ("quarantined", 2)
        assert all(row in (("done", 1), ("done", 2)) for row in rows.values())
        assert run.journal.find(str(run.given / "kill.png")).error == reason


def test_lost_machines_count_against_a_file_only_after_many_starts(tmp_path: Path) -> None:
    with Run(tmp_path, ["leave", "a"], room=lambda: 1) as run:
        assert set(run.outcomes()) == {"leave", "a"}
        rows = run.rows()
        assert rows["leave"] == ("quarantined", MAX_STARTS)
        assert rows["a"][0] == "done"
        assert f"begun {MAX_STARTS} times" in run.journal.find(str(run.given / "leave.png")).error


def test_lost_items_are_repeated_last(tmp_path: Path) -> None:
    with Run(tmp_path, ["kill", *"abcdef"], room=lambda: 2) as run:
        run.outcomes()
        names = [name for _, name in run.crew.begun]
        assert sorted(names[:7]) == sorted(["kill", *"abcdef"]), "one of them was tried again before all were tried"
        assert "kill" in names[7:]


def test_bad_file_is_quarantined_by_the_driver(tmp_path: Path) -> None:
    with Run(tmp_path, ["a", "bad", "b"]) as run:
        assert run.outcomes() == {"a": "done", "bad": "failed", "b": "done"}
        assert run.apart == [("bad", "bad")]
        assert run.rows()["bad"] == ("quarantined", 1)


def test_full_disk_ends_the_run_and_resets_items_in_progress(tmp_path: Path) -> None:
    with Run(tmp_path, ["full", "a", "b", "c", "d", "e"]) as run:
        with pytest.raises(WriteError, match="full"):
            run.outcomes()
        states = {state for state, _ in run.rows().values()}
        assert states <= {"todo", "done", "running"}
        assert "todo" in states


def test_aborted_run_resets_all_items_but_those_in_placement(tmp_path: Path) -> None:
    names = list("abcdefgh")
    with Run(tmp_path, names) as run:
        outcomes = run.driver.run()
        next(outcomes)
        outcomes.close()
        allowed = set(run.crew.placed)
        for name, (state, _) in run.rows().items():
            assert state in (("running", "done") if name in allowed else ("todo",))
        assert len(allowed) < len(names)
    with Run(tmp_path, names) as run:  # simulated results have no files, so all items are repeated
        assert set(run.outcomes()) == set(names)
        assert {state for state, _ in run.rows().values()} == {"done"}


def test_errors_use_the_syntax_of_the_front_end(tmp_path: Path) -> None:
    with Run(tmp_path, ["kill"]) as run:
        told: list[A2FError] = []

        def spelled(error: A2FError) -> str:
            told.append(error)
            return "spelled"

        driver = Driver(run.journal, run.crew, lost=lambda item, error: "lost", told=spelled)
        assert [outcome for _, outcome in driver.run()] == ["lost"]
        assert len(told) == 1
        assert run.journal.find(str(run.given / "kill.png")).error == "spelled"
