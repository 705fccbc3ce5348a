"""A worker's side of a batch: items are done by the code of one machine, and what the journal has to know is passed on.

A result is made in two calls, since the journal is not here. `Bench.enlarge` ends when the result is whole, and tells
its checksum. `Bench.place` lets it get its name, after the driver has noted the checksum. So a worker that nobody
listens to any more, behind a broken network, can write nothing.
"""

import queue
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, Protocol, TypeVar

from a2f.batch.journal import Facts, Item, Journal
from a2f.batch.work import Notes
from a2f.errors import A2FError, Cancelled

E_co = TypeVar("E_co", covariant=True)
E = TypeVar("E")


class Hands(Protocol[E_co]):
    """What does the work in a worker; a front end brings it along."""

    def do(self, item: Item, notes: Notes) -> E_co:
        """Do one item, as `a2f.batch.work.Keeper` does it. It may run in several threads at a time."""

    def stop(self) -> None:
        """End what is under way soon."""


@dataclass(frozen=True, kw_only=True)
class Whole:
    """A result is whole and waits for its name.

    Attributes:
        output_sha256: its checksum.
        facts: what it was made of.
    """

    output_sha256: str
    facts: Facts


@dataclass(frozen=True, kw_only=True)
class End(Generic[E]):
    """An item came to an end.

    Attributes:
        note: what the journal is to note; None if it is to note nothing.
        outcome: what the front end knows of it; None if `fatal`.
        bad_file: why the file itself is bad; None if it is not.
        fatal: why nothing else can be done either.
    """

    note: Callable[[Journal], None] | None
    outcome: E | None = None
    bad_file: str | None = None
    fatal: A2FError | None = None


Report = Whole | End[E]


class Relay:
    """Takes what a `Keeper` notes about one item, and passes it on: `Notes` for a worker.

    Args:
        recipe: number of the options, in the journal of the driver.
    """

    def __init__(self, recipe: int) -> None:
        self.recipe = recipe
        self.reports = queue.SimpleQueue[Whole | End[Any] | BaseException]()
        self.note: Callable[[Journal], None] | None = None
        self.bad_file: str | None = None
        self._answered, self._refused = threading.Event(), False

    def start(self, item: Item) -> None:
        """Nothing: the driver has noted it."""

    def placing(self, item: Item, output_sha256: str, facts: Facts) -> None:
        """Wait until the driver has noted it.

        Raises:
            Cancelled: if the driver wants it no more.
        """
        self.reports.put(Whole(output_sha256=output_sha256, facts=facts))
        self._answered.wait()
        if self._refused:
            raise Cancelled(f"{item.source}: cancelled")

    def answer(self, *, refused: bool = False) -> None:
        """Let the result get its name, or not."""
        self._refused = refused
        self._answered.set()

    def done(self, item: Item, output: tuple[int, str], *, seconds: float) -> None:
        """Note that the result is at its place."""
        self.note = partial(Journal.done, item=item, output=output, seconds=seconds)

    def skipped(self, item: Item, note: str, *, recipe: int | None, sha256: str | None) -> None:
        """Note that there is nothing to do, and why."""
        self.note = partial(Journal.skipped, item=item, note=note, recipe=recipe, sha256=sha256)

    def failed(self, item: Item, error: str, *, bad_file: bool, recipe: int, seconds: float) -> None:
        """Note that it failed."""
        self.bad_file = error if bad_file else None
        self.note = partial(Journal.failed, item=item, error=error, bad_file=bad_file, recipe=recipe, seconds=seconds)

    def put_back(self, item: Item) -> None:
        """Note that it is left to do."""
        self.note = partial(Journal.put_back, item=item)


class Bench(Generic[E]):
    """Does items, some at a time: one is read or written while another one is enlarged.

    Args:
        hands: do the work.
        recipe: number of the options, in the journal of the driver.
        slots: items at a time.
    """

    def __init__(self, hands: Hands[E], *, recipe: int, slots: int) -> None:
        self.hands, self.recipe = hands, recipe
        self._pool = ThreadPoolExecutor(slots, thread_name_prefix="a2f")
        self._relays: dict[int, Relay] = {}

    def enlarge(self, item: Item) -> Report[E]:
        """Do an item until its result is whole, or until there is nothing more to do.

        Returns:
            `Whole` if the result waits for `place`.
        """
        relay = self._relays[item.id] = Relay(self.recipe)
        self._pool.submit(self._do, item, relay)
        return self._next(item.id)

    def place(self, number: int) -> Report[E]:
        """Let the result of an item get its name.

        Args:
            number: of the item.
        """
        self._relays[number].answer()
        return self._next(number)

    def stop(self) -> None:
        """End all that is under way, without results."""
        self.hands.stop()
        for relay in list(self._relays.values()):
            relay.answer(refused=True)
        self._pool.shutdown()

    def _do(self, item: Item, relay: Relay) -> None:
        try:
            outcome = self.hands.do(item, relay)
            relay.reports.put(End(note=relay.note, outcome=outcome, bad_file=relay.bad_file))
        except A2FError as error:
            relay.reports.put(End(note=relay.note, fatal=error))
        except BaseException as error:  # given to the driver, which ends with it
            relay.reports.put(error)

    def _next(self, number: int) -> Report[E]:
        report = self._relays[number].reports.get()
        if not isinstance(report, Whole):
            del self._relays[number]
        if isinstance(report, BaseException):
            raise report
        return report
