"""A worker of a batch: it processes items with the code of one machine, and sends journal entries to the driver.

A result needs two calls, because the journal is with the driver. `Bench.enlarge` ends when the result is complete, and
returns its checksum. `Bench.place` renames it, after the driver has recorded the checksum. So a worker that has lost
its connection to the driver cannot write a result.
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
    """The work of a front end in a worker."""

    def do(self, item: Item, notes: Notes) -> E_co:
        """Process one item like `a2f.batch.work.Keeper.do`. It may run in several threads at a time."""

    def stop(self) -> None:
        """Stop the work in progress soon."""


@dataclass(frozen=True, kw_only=True)
class Whole:
    """A complete result that waits to be renamed.

    Attributes:
        output_sha256: its checksum.
        facts: the source and the options of the result.
    """

    output_sha256: str
    facts: Facts


@dataclass(frozen=True, kw_only=True)
class End(Generic[E]):
    """The end of the work on an item.

    Attributes:
        note: records the end in the journal; None if there is nothing to record.
        outcome: the outcome for the front end; None if `fatal`.
        bad_file: what is wrong with the file; None if it is good.
        fatal: the error that ends the whole batch.
    """

    note: Callable[[Journal], None] | None
    outcome: E | None = None
    bad_file: str | None = None
    fatal: A2FError | None = None


Report = Whole | End[E]


class Relay:
    """`Notes` for a worker: it receives the entries of a `Keeper` about one item for the driver.

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
        """Do nothing: the driver has recorded the start."""

    def placing(self, item: Item, output_sha256: str, facts: Facts) -> None:
        """Wait until the driver has recorded the checksum.

        Raises:
            Cancelled: if the driver refuses the result.
        """
        self.reports.put(Whole(output_sha256=output_sha256, facts=facts))
        self._answered.wait()
        if self._refused:
            raise Cancelled(f"{item.source}: cancelled")

    def answer(self, *, refused: bool = False) -> None:
        """Allow or refuse the renaming of the result."""
        self._refused = refused
        self._answered.set()

    def done(self, item: Item, output: tuple[int, str], *, seconds: float) -> None:
        """Record that the result has its name."""
        self.note = partial(Journal.done, item=item, output=output, seconds=seconds)

    def skipped(self, item: Item, note: str, *, recipe: int | None, sha256: str | None) -> None:
        """Record that the item is skipped, and why."""
        self.note = partial(Journal.skipped, item=item, note=note, recipe=recipe, sha256=sha256)

    def failed(self, item: Item, error: str, *, bad_file: bool, recipe: int, seconds: float) -> None:
        """Record the failure of the item."""
        self.bad_file = error if bad_file else None
        self.note = partial(Journal.failed, item=item, error=error, bad_file=bad_file, recipe=recipe, seconds=seconds)

    def put_back(self, item: Item) -> None:
        """Mark the item as to do."""
        self.note = partial(Journal.put_back, item=item)


class Bench(Generic[E]):
    """Processes several items at a time: one is read or written while another is enlarged.

    Args:
        hands: the work of the front end.
        recipe: number of the options, in the journal of the driver.
        slots: number of items at a time.
    """

    def __init__(self, hands: Hands[E], *, recipe: int, slots: int) -> None:
        self.hands, self.recipe = hands, recipe
        self._pool = ThreadPoolExecutor(slots, thread_name_prefix="a2f")
        self._relays: dict[int, Relay] = {}

    def enlarge(self, item: Item) -> Report[E]:
        """Process an item until its result is complete, or until the work on it has ended.

        Returns:
            `Whole` if the result waits for `place`.
        """
        relay = self._relays[item.id] = Relay(self.recipe)
        self._pool.submit(self._do, item, relay)
        return self._next(item.id)

    def place(self, number: int) -> Report[E]:
        """Rename the result of an item.

        Args:
            number: number of the item.
        """
        self._relays[number].answer()
        return self._next(number)

    def stop(self) -> None:
        """Stop all work in progress, without results."""
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
        except BaseException as error:  # sent to the driver, which raises it
            relay.reports.put(error)

    def _next(self, number: int) -> Report[E]:
        report = self._relays[number].reports.get()
        if not isinstance(report, Whole):
            del self._relays[number]
        if isinstance(report, BaseException):
            raise report
        return report
