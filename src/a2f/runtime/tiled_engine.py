"""An upscaler that runs tile by tile, on any engine that opens the steps of a network."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from a2f.runtime.banded import Banded
from a2f.runtime.plan import Limits, budget_bytes, least_bytes, make_plan, retained_bytes
from a2f.runtime.tiled import Steps, TiledRun, rows_of


class TiledEngine(Banded):
    """Runs the steps of a network; safe to share between threads.

    Args:
        steps: of the network.
        description: one line for people.
        threads: tiles at a time.
        limits: what a run may take.
    """

    def __init__(self, steps: Steps, *, description: str, threads: int, limits: Limits) -> None:
        super().__init__(scale=steps.net.config.scale, description=description, limits=limits)
        self._steps, self._threads = steps, threads
        self._has_run = False
        self._pool, self._pool_of = self._make_pool(), os.getpid()

    def shortage(self, *, height: int, width: int, besides: int) -> int:
        """As `BandUpscaler.shortage`."""
        net, threads, limits = self._steps.net, self._threads, self._limits
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
