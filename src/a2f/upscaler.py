"""The protocol of everything that enlarges an image, and how a caller watches and ends a run."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from a2f.errors import Cancelled

HEARD_AFTER_S = 0.05  # a cancelled run, at the latest, where somebody has to ask


@runtime_checkable
class Upscaler(Protocol):
    """Anything that enlarges an RGB image by a fixed factor.

    Implementations are safe to share between threads. Networks of this project answer `a2f.runtime.engine.Engine` as
    well, which plans a run before it starts.
    """

    @property
    def scale(self) -> int:
        """The factor by which both sides grow."""
        ...

    @property
    def description(self) -> str:
        """One line for people: engine, model, device, precision, threads."""
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
    """How a caller watches one run, and ends it; other runs of the same upscaler go on.

    Attributes:
        progress: called with the share of the work that is done, in [0, 1], from any thread.
        cancelled: asked now and then, from any thread; once it is true, the run raises `Cancelled`. The `is_set` of a
            `threading.Event` will do.
    """

    progress: Callable[[float], None] | None = None
    cancelled: Callable[[], bool] | None = None

    def check(self) -> None:
        """Go on, or raise Cancelled."""
        if self.cancelled is not None and self.cancelled():
            raise Cancelled("stopped")

    def tell(self, share: float) -> None:
        """Tell the share of the work that is done."""
        if self.progress is not None:
            self.progress(min(1.0, share))

    def part(self, first: float, last: float) -> "Control":
        """The control of a part of the work, which begins at the share `first` and ends at `last`."""
        if self.progress is None:
            return self
        return Control(progress=lambda share: self.tell(first + share * (last - first)), cancelled=self.cancelled)

    @contextmanager
    def ending(self, end: Callable[[], None]) -> Iterator[None]:
        """Call `end`, from another thread, soon after what runs inside is cancelled.

        Args:
            end: makes what runs inside return or raise; it may be called after that, too.
        """
        if self.cancelled is None:
            yield
            return
        cancelled, over = self.cancelled, threading.Event()

        def watch() -> None:
            while not over.wait(HEARD_AFTER_S):
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


UNWATCHED = Control()
