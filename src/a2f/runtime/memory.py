"""The memory that the runs of an upscaler share."""

import math
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from a2f.errors import Hint, MemoryLimitError
from a2f.machine import available_bytes, resident_bytes
from a2f.upscaler import CANCEL_POLL_S, UNWATCHED, Control

UNBOUNDED = 2**62
MEASURED_EVERY_S = 1.0


class Memory:
    """What the runs of an upscaler may take together, in all threads; an upscaler has one, several may share it.

    A run is planned for the whole of it. A run that finds too little left of it, since others are under way, waits.

    Args:
        max_bytes: limit of the whole process; None takes up to half of what is free.
        jobs: images at a time; each is planned for an equal share.
        alone: whether one engine has it for itself; what an engine keeps between images, for speed, another one cannot
            take.
    """

    def __init__(self, max_bytes: int | None = None, *, jobs: int = 1, alone: bool = True) -> None:
        self.max_bytes, self.jobs = max_bytes, jobs
        self.gives_back = max_bytes is not None and not alone  # engines keep nothing between images
        self._changed = threading.Condition()
        self._taken: dict[object, tuple[int, int]] = {}  # bytes, and the thread that took them
        self._measured = 0  # when nothing was under way: what the process had, or without a limit what was free
        self._measured_at = -math.inf  # what was free; small images take less time than asking the system

    def budget(self) -> int:
        """Bytes that one image may take, besides what the process has while nothing is under way; below 0 if none."""
        with self._changed:
            return self._total() // self.jobs

    @contextmanager
    def take(self, count: int, control: Control = UNWATCHED) -> Iterator[None]:
        """Hold bytes; wait until they are free.

        A thread that holds some already does not wait, since it would wait for itself.

        Args:
            count: bytes, of a plan for the `budget`.
            control: ends the waiting.

        Raises:
            Cancelled: if it is cancelled meanwhile.
        """
        key, thread = object(), threading.get_ident()
        with self._changed:
            while not self._has_room(count, thread):
                control.check()
                self._changed.wait(CANCEL_POLL_S)
            self._taken[key] = count, thread
        try:
            yield
        finally:
            with self._changed:
                del self._taken[key]
                self._changed.notify_all()

    def _has_room(self, count: int, thread: int) -> bool:
        held = [bytes_ for bytes_, _ in self._taken.values()]
        mine = any(owner == thread for _, owner in self._taken.values())
        return not held or mine or sum(held) + count <= self._total()

    def _total(self) -> int:
        """Bytes for all that is under way; measured anew whenever that is nothing."""
        held = sum(count for count, _ in self._taken.values())
        if self.max_bytes is None:
            if time.monotonic() - self._measured_at > MEASURED_EVERY_S:
                free = available_bytes() + held
                self._measured = free if not held else min(self._measured, free)
                self._measured_at = time.monotonic()
            return self._measured // 2
        if self.max_bytes >= UNBOUNDED:
            return self.max_bytes
        has = resident_bytes() - held
        self._measured = has if not held else max(self._measured, has)
        return self.max_bytes - self._measured

    def error(self, what: str, short_bytes: int, *, ways_out: tuple[Hint, ...] = ()) -> MemoryLimitError:
        """The error for what does not fit, which says the least that works.

        Args:
            what: does not fit.
            short_bytes: missing from the budget.
            ways_out: what would need less.
        """
        allowed = self.max_bytes or resident_bytes() + self.jobs * self.budget()
        # what the process has already changes a little from run to run
        total = ((allowed + short_bytes * self.jobs) // 10**7 + 2) * 10**7
        fewer_jobs = (Hint(text="run fewer {option}", option="jobs"),) if self.jobs > 1 else ()
        return MemoryLimitError(
            f"{what} do not fit into the memory allowed: at least {total / 1e6:.0f} MB are needed",
            Hint(text="raise {option}", option="max_memory"),
            *ways_out,
            *fewer_jobs,
        )
