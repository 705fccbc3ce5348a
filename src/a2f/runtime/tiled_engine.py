"""An upscaler that runs tile by tile, on any engine that opens the steps of a network."""

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from a2f.runtime.arrays import check_image
from a2f.runtime.plan import Bounded, Limits, budget_bytes, least_bytes, make_plan, retained_bytes
from a2f.runtime.tiled import Steps, TiledRun, rows_of
from a2f.upscaler import Described


class TiledEngine(Bounded, Described):
    """Runs the steps of a network; safe to share between threads.

    Args:
        steps: of the network.
        description: one line for people.
        threads: tiles at a time.
        limits: what a run may take.
    """

    def __init__(self, steps: Steps, *, description: str, threads: int, limits: Limits) -> None:
        super().__init__(limits)
        self._steps, self._threads = steps, threads
        self.scale, self.description = steps.net.config.scale, description
        self._has_run = False
        self._stopped = threading.Event()
        self.on_progress: Callable[[float], None] = lambda share: None
        self._pool, self._pool_of = self._make_pool(), os.getpid()

    def __call__(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        """Enlarge one image, as `Upscaler` says; EngineError if the memory does not suffice."""
        height, width = check_image(image).shape[:2]
        s = self.scale
        out = np.empty((s * height, s * width, 3), np.float32)
        top = 0
        for band in self._bands(image, out.nbytes):
            out[top : top + band.shape[0]] = band
            top += band.shape[0]
        return out

    def stop(self) -> None:
        """As `BandUpscaler.stop`."""
        self._stopped.set()

    def bands(self, image: NDArray[Any]) -> Iterator[NDArray[np.float32]]:
        """Enlarge one image band by band, as `BandUpscaler` says."""
        yield from self._bands(check_image(image, integers=True), 0)

    def shortage(self, *, height: int, width: int, besides: int) -> int:
        """As `BandUpscaler.shortage`."""
        net, threads, limits = self._steps.net, self._threads, self._limits
        if height == 0:
            budget = budget_bytes(limits, besides)
            return 0 if budget is None else max(0, -budget)
        budget = budget_bytes(limits, besides - self._retained(height, width))
        least = least_bytes(net, height=height, width=width, threads=threads, limits=limits)
        return 0 if budget is None else max(0, least - budget)

    def _make_pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(self._threads, thread_name_prefix="a2f-tile")

    def _own_pool(self) -> ThreadPoolExecutor:
        """The threads of this process: a fork has none of its parent's."""
        if self._pool_of != os.getpid():
            self._pool, self._pool_of = self._make_pool(), os.getpid()
        return self._pool

    def _retained(self, height: int, width: int) -> int:
        """What earlier runs have left that this one will use again."""
        net, threads, limits = self._steps.net, self._threads, self._limits
        if not self._has_run:
            return 0
        return retained_bytes(net, height=height, width=width, threads=threads, limits=limits)

    def _bands(self, image: NDArray[Any], held_bytes: int) -> Iterator[NDArray[np.float32]]:
        height, width = image.shape[:2]
        net = self._steps.net
        plan = make_plan(
            net,
            height=height,
            width=width,
            threads=self._threads,
            limits=self._limits,
            taken_bytes=held_bytes - self._retained(height, width),
        )
        self._has_run = True
        run = TiledRun(
            self._steps,
            rows_of(image),
            height=height,
            width=width,
            plan=plan,
            pool=self._own_pool(),
            stopped=self._stopped.is_set,
            progress=self.on_progress,
        )
        for band in run:
            yield band.transpose(1, 2, 0)
