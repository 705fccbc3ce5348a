"""Files that arrive in a folder: taken once, when they have stopped changing."""

from collections.abc import Callable, Iterable, Iterator

from a2f.batch.journal import Journal
from a2f.batch.plan import key_of
from a2f.batch.sources import MISSING, Found

_ENDED = ("done", "skipped", "quarantined")


class Arrivals:
    """Tells which files have arrived whole, as far as that can be seen from outside.

    A file has settled when two looks that are `settle_s` apart see the same size and time. The times in the file
    itself tell nothing: copies keep old ones, and clocks differ. A file that is moved into the folder waits as long.
    A copy that pauses for longer is taken too early. It then fails as truncated, or changes while it is read, so that
    nothing is written; and since it changes when the copy goes on, it is taken again.

    What a disk or a network made fail is taken once more by each new object. A folder that is away holds nothing.

    Args:
        look: finds all files that are there now.
        journal: tells which of them have come to an end already.
        settle_s: how long a file must not change, seconds.
    """

    def __init__(self, look: Callable[[], Iterable[Found]], journal: Journal, *, settle_s: float) -> None:
        self.look, self.journal, self.settle_s = look, journal, settle_s
        self._waiting: dict[str, tuple[Found, float]] = {}
        self._given: set[str] = set()

    def settled(self, now: float) -> Iterator[Found]:
        """Look once.

        Args:
            now: seconds on a clock that is never set, such as `time.monotonic`.

        Returns:
            The files that have settled, each once unless it changes.
        """
        still = {}
        for found in self.look():
            if found.version == MISSING or self._has_ended(found):
                continue
            before, since = self._waiting.get(found.source, (found, now))
            if before != found:
                since = now
            if now - since >= self.settle_s and found.source in self._waiting:
                self._given.add(found.source)
                yield found
            still[found.source] = found, since
        self._waiting = still

    @property
    def waiting(self) -> int:
        """How many files have not settled yet, or have just been given out."""
        return len(self._waiting)

    def _has_ended(self, found: Found) -> bool:
        item = self.journal.find(found.source)
        if item is None:
            return self.journal.is_result(key_of(found.source))
        ended = item.state in _ENDED or (item.state == "failed" and found.source in self._given)
        return ended and (item.bytes, item.version) == (found.bytes, found.version)
