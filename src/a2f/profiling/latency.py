"""Time of one run on this machine."""

import os
import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from a2f.errors import UsageError
from a2f.runtime import default_threads
from a2f.runtime.memory import keep_freed_memory
from a2f.upscaler import Upscaler


@dataclass(frozen=True, kw_only=True)
class Latency:
    """Seconds of one run.

    Attributes:
        median_s: median.
        fastest_s: smallest.
        slowest_s: largest.
        runs: how many counted.
    """

    median_s: float
    fastest_s: float
    slowest_s: float
    runs: int


def threads_of_run(threads: int | None) -> int:
    """How many threads a timed run gets, on each engine: engines have different defaults of their own.

    Args:
        threads: that were asked for; None takes $OMP_NUM_THREADS, or else all cores of the process.

    Raises:
        UsageError: if the variable is no number of threads.
    """
    told = os.environ.get("OMP_NUM_THREADS", "")
    if threads is None and told:
        if not told.isdecimal() or int(told) < 1:
            raise UsageError(f"OMP_NUM_THREADS={told}: a whole number over 0 is needed, or --threads N")
        return int(told)
    return threads or default_threads()


def measure_latency(
    upscalers: Mapping[str, Upscaler], *, width: int, height: int, rounds: int = 5
) -> dict[str, Latency]:
    """Time upscalers against each other, taking turns; of the three runs of a turn the first does not count.

    glibc is told to keep freed memory, for the whole process.

    Args:
        upscalers: name -> engine.
        width: of the LR image, pixels.
        height: of the LR image, pixels.
        rounds: turns of each.
    """
    keep_freed_memory()
    image = np.random.default_rng(0).random((height, width, 3), dtype=np.float32)
    seconds: dict[str, list[float]] = {name: [] for name in upscalers}
    for _ in range(rounds):
        for name, upscaler in upscalers.items():
            upscaler(image)
            for _ in range(2):
                began = time.perf_counter()
                upscaler(image)
                seconds[name].append(time.perf_counter() - began)
    return {
        name: Latency(median_s=statistics.median(s), fastest_s=min(s), slowest_s=max(s), runs=len(s))
        for name, s in seconds.items()
    }
