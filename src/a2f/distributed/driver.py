"""The driver of a batch: it distributes items to workers, keeps the journal, and handles lost workers.

This module does not depend on Ray: `Crew` is the interface to a cluster.
"""

import math
from collections import Counter, deque
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from a2f.batch.journal import MAX_STARTS, Item, Journal
from a2f.distributed.bench import End, Report, Whole
from a2f.errors import A2FError, ImageReadError

SLOTS = 2  # items at a time in a worker: one is read or written while another one is enlarged
MAX_DEATHS = 2  # lost workers per file

E = TypeVar("E")


@dataclass(frozen=True, kw_only=True)
class Opened:
    """A worker is ready.

    Attributes:
        worker: its number.
        note: description of its machine.
    """

    worker: int
    note: str


@dataclass(frozen=True, kw_only=True)
class Answered(Generic[E]):
    """A worker has answered about an item.

    Attributes:
        worker: its number.
        item: number of the item.
        report: the report of the worker.
    """

    worker: int
    item: int
    report: Report[E]


@dataclass(frozen=True, kw_only=True)
class Lost:
    """A worker was lost.

    Attributes:
        worker: its number.
        reason: why, in a few words.
        with_machine: its machine is lost or unreachable, so a file is not the cause.
    """

    worker: int
    reason: str
    with_machine: bool


Event = Opened | Answered[Any] | Lost


class Crew(Protocol):
    """The workers of a cluster. Calls return at once; their results are events."""

    def wanted(self) -> int:
        """The number of workers that are possible now."""

    def hire(self) -> int:
        """Start a worker, and return its number. An `Opened` event follows."""

    def dismiss(self, worker: int) -> None:
        """End an idle worker."""

    def enlarge(self, worker: int, item: Item) -> None:
        """Start an item on a worker."""

    def place(self, worker: int, item: int) -> None:
        """Rename the result of an item."""

    def events(self) -> Sequence[Event]:
        """The new events; it waits for a short time if there are none."""


@dataclass(kw_only=True)
class _Worker:
    opened: bool = False
    items: dict[int, Item] = field(default_factory=dict)
    alone: bool = False  # what it has may end a worker: it gets nothing else meanwhile


class Driver(Generic[E]):
    """Processes all remaining items of a run in the journal.

    Args:
        journal: open for writing, in a run.
        crew: the workers.
        lost: makes the outcome of an item that ends its workers, for the front end.
        note: called with messages about lost workers.
        detail: called with messages about ready workers.
        copy_to_quarantine: called with a bad file and the reason.
        told: formats errors for the journal.
    """

    def __init__(
        self,
        journal: Journal,
        crew: Crew,
        *,
        lost: Callable[[Item, A2FError], E],
        note: Callable[[str], None] = lambda text: None,
        detail: Callable[[str], None] = lambda text: None,
        copy_to_quarantine: Callable[[Item, str], None] = lambda item, reason: None,
        told: Callable[[A2FError], str] = str,
    ) -> None:
        self.journal, self.crew = journal, crew
        self._lost, self._note, self._detail, self._set_apart, self._told = lost, note, detail, copy_to_quarantine, told
        self._left = journal.counts(run=journal.run)["todo"]
        self._todo = journal.todo()
        self._next: Item | None = next(self._todo, None)
        self._again: deque[str] = deque()  # sources of items whose worker was lost
        self._deaths: Counter[int] = Counter()
        self._workers: dict[int, _Worker] = {}
        self._placing: set[int] = set()

    def run(self) -> Generator[tuple[Item, E], None, None]:
        """Process all items; yield each item and its outcome when it ends.

        Raises:
            A2FError: for an error that ends the batch, for example a full disk.
        """
        try:
            while self._left:
                self._hire()
                self._give_out()
                yield from self._hear(self.crew.events())
        finally:
            self._put_back()

    @property
    def left(self) -> int:
        """The number of items that have not ended."""
        return self._left

    def _hire(self) -> None:
        waiting = (self._next is not None) or bool(self._again)
        idle = any(not worker.items for worker in self._workers.values())
        if waiting and not idle:
            for _ in range(min(self.crew.wanted(), self._left) - len(self._workers)):
                self._workers[self.crew.hire()] = _Worker()
        elif not waiting:
            for number in [n for n, worker in self._workers.items() if not worker.items]:
                del self._workers[number]
                self.crew.dismiss(number)

    def _give_out(self) -> None:
        """Start as many items as the workers have slots for, first one on each worker."""
        begun: list[tuple[int, Item]] = []
        with self.journal.together():
            for held in range(SLOTS):
                for number, worker in self._workers.items():
                    if worker.opened and not worker.alone and len(worker.items) == held:
                        item = self._take(alone=not held)
                        if item is None:
                            continue
                        worker.alone = item.starts > 0
                        worker.items[item.id] = item
                        self.journal.start(item)
                        begun.append((number, item))
        for number, item in begun:
            self.crew.enlarge(number, item)

    def _take(self, *, alone: bool) -> Item | None:
        """The next item. An item that was started before may end its worker, so only an idle worker gets it."""
        item = self._next
        if item is not None and (alone or not item.starts):
            self._next = next(self._todo, None)
            return item
        if item is None and alone and self._again:
            return self.journal.find(self._again.popleft())
        return None

    def _hear(self, events: Sequence[Event]) -> list[tuple[Item, E]]:
        outcomes: list[tuple[Item, E]] = []
        whole: list[Answered[E]] = []
        bad: list[tuple[Item, str]] = []
        fatal: A2FError | None = None
        with self.journal.together():
            for event in events:
                match event:
                    case Opened():
                        self._workers[event.worker].opened = True
                        self._detail(event.note)
                    case Lost():
                        outcomes += self._without(event, bad)
                    case Answered(report=Whole() as report):
                        item = self._workers[event.worker].items[event.item]
                        self.journal.placing(item, report.output_sha256, report.facts)
                        self._placing.add(item.id)
                        whole.append(event)
                    case Answered(report=End() as end):
                        item = self._ended(event)
                        if end.note is not None:
                            end.note(self.journal)
                        bad += [] if end.bad_file is None else [(item, end.bad_file)]
                        outcomes += [] if end.outcome is None else [(item, end.outcome)]
                        fatal = fatal or end.fatal
        for event in whole:
            self.crew.place(event.worker, event.item)
        for item, reason in bad:
            self._set_apart(item, reason)
        if fatal is not None:
            raise fatal
        return outcomes

    def _ended(self, event: Answered[E]) -> Item:
        worker = self._workers[event.worker]
        worker.alone = False
        self._placing.discard(event.item)
        self._left -= 1
        return worker.items.pop(event.item)

    def _without(self, lost: Lost, bad: list[tuple[Item, str]]) -> list[tuple[Item, E]]:
        """Handle the items of a lost worker; return the outcomes of items that are not tried again."""
        items = self._workers.pop(lost.worker).items
        if items or not lost.with_machine:
            again = ", ".join(item.source for item in items.values()) or "no file"
            self._note(f"worker {lost.worker} was lost ({lost.reason}) with {again}")
        ended: list[tuple[Item, E]] = []
        for item in items.values():
            self._placing.discard(item.id)
            self._deaths[item.id] += not lost.with_machine
            limit = self._limit(item, lost.reason)
            if limit is None:
                self._again.append(item.source)
                continue
            error = ImageReadError(f"{item.source}: {limit}")
            reason = self._told(error)
            self.journal.failed(item, reason, bad_file=True, recipe=self.journal.recipe, seconds=math.nan)
            bad.append((item, reason))
            self._left -= 1
            ended.append((item, self._lost(item, error)))
        return ended

    def _limit(self, item: Item, reason: str) -> str | None:
        """The reason why a file is not tried again; None if it is tried again."""
        if self._deaths[item.id] >= MAX_DEATHS:
            return f"{MAX_DEATHS} workers ended while they had this file ({reason}): it may be what ends them"
        if item.starts + 1 >= MAX_STARTS:
            return f"it was begun {item.starts + 1} times, and each time its worker was lost ({reason})"
        return None

    def _put_back(self) -> None:
        """Mark items in progress as to do, except results that may get renamed: the next run checks these."""
        with self.journal.together():
            for worker in self._workers.values():
                for item in worker.items.values():
                    if item.id not in self._placing:
                        self.journal.put_back(item)
