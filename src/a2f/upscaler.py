"""The protocol of all upscalers, and the control of a run (progress and cancellation)."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from a2f.errors import Cancelled

CANCEL_POLL_S = 0.05  # interval at which `Control.ending` checks for cancellation


@runtime_checkable
class Upscaler(Protocol):
    """Anything that enlarges an RGB image by a fixed factor.

    Implementations are safe to share between threads. Networks of this project also implement
    `a2f.runtime.engine.Engine`, which plans a run before it starts.
    """

    @property
    def scale(self) -> int:
        """The factor by which both sides are enlarged."""
        ...

    @property
    def description(self) -> str:
        """One readable line: engine, model, device, precision, threads."""
        ...

    def __call__(self, image: NDArray[np.float32], /) -> NDArray[np.float32]:
        """Enlarge one image.

        Args:
            image: [H, W, 3] RGB, float32 in [0, 1]; H and W at least 1.

        Returns:
            [scale * H, scale * W, 3] RGB, float32; values may leave [0, 1] slightly and are not clipped.

        Raises:
            InputError: for another shape or dtype.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Control:
    """Progress and cancellation of one run; other runs of the same upscaler are not affected.

    Attributes:
        progress: called from any thread with the share of the work that is done, in [0, 1].
        cancelled: called repeatedly from any thread; when it returns True, the run raises `Cancelled`. The method
            `is_set` of a `threading.Event` is suitable.
    """

    progress: Callable[[float], None] | None = None
    cancelled: Callable[[], bool] | None = None

    def check(self) -> None:
        """Raise Cancelled if the run is cancelled."""
        if self.cancelled is not None and self.cancelled():
            raise Cancelled("stopped")

    def tell(self, share: float) -> None:
        """Report the share of the work that is done."""
        if self.progress is not None:
            self.progress(min(1.0, share))

    def part(self, first: float, last: float) -> "Control":
        """The control of a part of the work, from the share `first` to the share `last`."""
        if self.progress is None:
            return self
        return Control(progress=lambda share: self.tell(first + share * (last - first)), cancelled=self.cancelled)

    @contextmanager
    def ending(self, end: Callable[[], None]) -> Iterator[None]:
        """Call `end` from another thread soon after the work in this context is cancelled.

        Args:
            end: makes the work return or raise; it may also be called after the work has ended.
        """
        if self.cancelled is None:
            yield
            return
        cancelled, over = self.cancelled, threading.Event()

        def watch() -> None:
            while not over.wait(CANCEL_POLL_S):
                if cancelled():
                    end()
                    return

        watcher = threading.Thread(target=watch, name="a2f-cancel", daemon=True)
        watcher.start()
        try:
            yield
        finally:
            over.set()
            watcher.join()


NO_CONTROL = Control()
