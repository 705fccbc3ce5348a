"""Find new files in a folder, each once, when they no longer change."""

from collections.abc import Callable, Iterable, Iterator

from a2f.batch.journal import Journal
from a2f.batch.plan import key_of
from a2f.batch.sources import MISSING, Found

_ENDED = ("done", "skipped", "quarantined")


class Arrivals:
    """Finds files that have arrived completely, as far as this is visible.

    A file has settled if its size and time are equal in two scans at least `settle_s` apart. The file times alone are
    not sufficient: copies keep old times, and clocks differ. If a copy pauses for longer, its file is processed too
    early. Then it fails as truncated, or it changes while it is read, so nothing is written. When the copy continues,
    the file changes and is processed again.

    Files that failed because of a disk or a network are retried once by each new object. A folder that cannot be
    reached counts as empty.

    Args:
        look: finds all files.
        journal: the journal, which knows the finished files.
        settle_s: time without changes, seconds.
    """

    def __init__(self, look: Callable[[], Iterable[Found]], journal: Journal, *, settle_s: float) -> None:
        self.look, self.journal, self.settle_s = look, journal, settle_s
        self._waiting: dict[str, tuple[Found, float]] = {}
        self._given: set[str] = set()

    def settled(self, now: float) -> Iterator[Found]:
        """Scan once.

        Args:
            now: seconds of a monotonic clock such as `time.monotonic`.

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
        """The number of files that have not settled yet or were just returned."""
        return len(self._waiting)

    def _has_ended(self, found: Found) -> bool:
        item = self.journal.find(found.source)
        if item is None:
            return self.journal.is_result(key_of(found.source))
        ended = item.state in _ENDED or (item.state == "failed" and found.source in self._given)
        return ended and (item.bytes, item.version) == (found.bytes, found.version)
