"""The memory limit that the runs of an upscaler share."""

import math
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from a2f.errors import Hint, MemoryLimitError
from a2f.machine import available_bytes, resident_bytes
from a2f.upscaler import CANCEL_POLL_S, NO_CONTROL, Control

UNBOUNDED = 2**62
KEPT_SHARE = 16  # of a limit that several engines share, one part in so many may stay taken between images
MEASURED_EVERY_S = 1.0


class Memory:
    """The memory that all runs of an upscaler share, in all threads. Several upscalers may share one.

    Each run is planned for the whole memory. A run waits while other runs leave too little of it.

    Args:
        max_bytes: limit of the whole process; None: half of the free memory.
        jobs: number of images at a time; each is planned for an equal share.
        alone: whether only one engine uses this memory. Otherwise, with a limit, engines keep little memory between
            images, because other engines may need it.
    """

    def __init__(self, max_bytes: int | None = None, *, jobs: int = 1, alone: bool = True) -> None:
        self.max_bytes, self.jobs = max_bytes, jobs
        self.releases = max_bytes is not None and not alone
        self._changed = threading.Condition()
        self._taken: dict[object, tuple[int, int]] = {}  # bytes and thread of each run
        self._measured = 0  # without runs: memory of the process, or free memory if there is no limit
        self._measured_at = -math.inf  # time of the last measurement; small images take less time than one

    def keeps(self, count: int) -> bool:
        """Whether an engine may keep the memory of a run for the next image: taking it again costs time.

        Args:
            count: bytes of the run.
        """
        return not self.releases or self.max_bytes is None or count <= self.max_bytes // KEPT_SHARE

    def budget(self) -> int:
        """Bytes that one image may use, in addition to the memory of the idle process; negative if there are none."""
        with self._changed:
            return self._total() // self.jobs

    @contextmanager
    def take(self, count: int, control: Control = NO_CONTROL) -> Iterator[None]:
        """Reserve bytes; wait until they are free.

        A thread that has reserved bytes already does not wait, because it would wait for itself.

        Args:
            count: bytes of a plan for the `budget`.
            control: cancellation of the waiting.

        Raises:
            Cancelled: if the run is cancelled.
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
        """Bytes for all current runs; measured again whenever there are none."""
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

    def error(self, what: str, short_bytes: int, *, memory_hints: tuple[Hint, ...] = ()) -> MemoryLimitError:
        """The error for an image that does not fit; the message has the smallest limit that works.

        Args:
            what: description of the image.
            short_bytes: bytes that the budget lacks.
            memory_hints: advice that needs less memory.
        """
        allowed = self.max_bytes or resident_bytes() + self.jobs * self.budget()
        # the memory of the idle process varies a little between runs
        total = ((allowed + short_bytes * self.jobs) // 10**7 + 2) * 10**7
        fewer_jobs = (Hint(text="run fewer {option}", option="jobs"),) if self.jobs > 1 else ()
        return MemoryLimitError(
            f"{what} do not fit into the allowed memory: at least {total / 1e6:.0f} MB are needed",
            Hint(text="raise {option}", option="max_memory"),
            *memory_hints,
            *fewer_jobs,
        )
