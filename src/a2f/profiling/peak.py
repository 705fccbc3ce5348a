"""Measure the peak memory of one run on this machine."""

import functools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from a2f.errors import UsageError
from a2f.external import open_network_engine
from a2f.peers.files import open_network
from a2f.runtime import load_engine
from a2f.runtime.options import EngineName
from a2f.upscaler import Upscaler
from a2f.weights import Weights
from a2f.workers import worker_processes

SMALL_PX = 16  # side of the first image; the spatial attention of some networks needs at least this size


def measure_peak_memory(
    weights: Weights, *, width: int, height: int, engine: EngineName, device: str, dtype: str, threads: int | None
) -> int:
    """Measure the increase of peak memory by one run, after the engine is open and a 16 x 16 image has run.

    The run is in a new process. On CUDA the result is the peak of torch's allocator, including the weights; otherwise
    it is the resident memory reported by the system.

    Args:
        weights: weights of any A²F network.
        width: of the LR image, pixels.
        height: of the LR image, pixels.
        engine: engine of `a2f.runtime.load_engine`.
        device: device of the engine.
        dtype: precision of the engine.
        threads: number of threads; None for the default of the engine.

    Returns:
        Bytes.

    Raises:
        UsageError: if the system does not report it (Windows), or for onnxruntime on CUDA.
    """
    opened = functools.partial(load_engine, weights, engine=engine, device=device, dtype=dtype, threads=threads)
    return _measured(opened, width, height, engine=engine, device=device)


def measure_network_memory(
    name: str, *, scale: int, width: int, height: int, engine: EngineName, device: str, dtype: str, threads: int | None
) -> int:
    """Measure the increase of peak memory by one run of a network that is not A²F, with random weights.

    Args:
        name: a key of `a2f.peers.PEERS`, or "file.py:Class".
        scale: s.
        width: of the LR image, pixels.
        height: of the LR image, pixels.
        engine: engine of `a2f.external.open_network_engine`.
        device: device of the engine.
        dtype: precision of the engine.
        threads: number of threads; None for the default of the engine.

    Returns:
        Bytes.

    Raises:
        UsageError: if the system does not report it (Windows), for onnxruntime on CUDA, or for another engine.
    """
    how = {"engine": engine, "device": device, "dtype": dtype, "threads": threads}
    return _measured(functools.partial(_opened_network, name, scale, how), width, height, engine=engine, device=device)


def _opened_network(name: str, scale: int, how: dict[str, Any]) -> Upscaler:
    return open_network_engine(open_network(name, scale=scale), **how)


def _measured(opened: Callable[[], Upscaler], width: int, height: int, *, engine: str, device: str) -> int:
    if sys.platform == "win32":
        raise UsageError("the peak memory of a process cannot be read on this system: leave out --memory")
    if device.startswith("cuda") and engine != "torch":
        raise UsageError("the peak memory on CUDA is measured with --engine torch only")
    with worker_processes(1) as pool:
        return pool.submit(_peak_of_this_process, opened, width, height, device).result()


def _peak_of_this_process(opened: Callable[[], Upscaler], width: int, height: int, device: str) -> int:
    upscaler = opened()
    image = np.random.default_rng(0).random((height, width, 3), dtype=np.float32)
    upscaler(image[:SMALL_PX, :SMALL_PX])
    before = _resident_peak()
    upscaler(image)
    if device.startswith("cuda"):
        import torch

        return int(torch.cuda.max_memory_allocated(device))
    return _resident_peak() - before


def _resident_peak() -> int:
    status = Path("/proc/self/status")
    if status.exists():  # getrusage also counts the memory before exec
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # bytes on macOS
