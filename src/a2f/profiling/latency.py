"""Measure the time of one run on this machine."""

import os
import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from a2f.errors import UsageError
from a2f.machine import keep_freed_memory
from a2f.runtime import default_threads
from a2f.upscaler import Upscaler


@dataclass(frozen=True, kw_only=True)
class Latency:
    """The measured times of a run.

    Attributes:
        median_s: median time, seconds.
        fastest_s: shortest time, seconds.
        slowest_s: longest time, seconds.
        runs: number of measured runs.
    """

    median_s: float
    fastest_s: float
    slowest_s: float
    runs: int


def threads_of_run(threads: int | None) -> int:
    """The number of threads of a timed run, equal for all engines, whose own defaults differ.

    Args:
        threads: the requested number; None uses $OMP_NUM_THREADS, or all cores of the process if it is not set.

    Raises:
        UsageError: if the variable is not a valid number of threads.
    """
    told = os.environ.get("OMP_NUM_THREADS", "")
    if threads is None and told:
        if not told.isdecimal() or int(told) < 1:
            raise UsageError(f"OMP_NUM_THREADS={told}: set it to a whole number greater than 0, or give --threads N")
        return int(told)
    return threads or default_threads()


def measure_latency(
    upscalers: Mapping[str, Upscaler], *, width: int, height: int, rounds: int = 5
) -> dict[str, Latency]:
    """Measure upscalers in turns of three runs; the first run of a turn is not counted.

    glibc is configured to keep freed memory, for the whole process.

    Args:
        upscalers: name -> upscaler.
        width: of the LR image, pixels.
        height: of the LR image, pixels.
        rounds: number of turns of each upscaler.
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
