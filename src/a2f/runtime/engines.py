"""Opening an engine on a network."""

import os
import warnings
import weakref
from dataclasses import dataclass, replace

from a2f.errors import EngineError
from a2f.runtime.ensemble import ensemble_of
from a2f.runtime.fast import choose_fast
from a2f.runtime.options import FAST, EngineName, EngineOptions
from a2f.runtime.plan import Limits
from a2f.upscaler import Upscaler
from a2f.weights import Weights


def default_threads() -> int:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@dataclass(frozen=True, kw_only=True)
class Opened:
    """An engine that is open.

    Attributes:
        upscaler: which enlarges, safe to share between threads.
        note: why the fast mode is not as quick as it could be, for people; empty otherwise.
    """

    upscaler: Upscaler
    note: str = ""


def open_upscaler(
    weights: Weights, options: EngineOptions, *, jobs: int = 1, alone: bool = True, share_cores: bool = False
) -> Opened:
    """Open what `EngineOptions` ask for, its ensemble included.

    Args:
        weights: of any network of the family.
        options: what it runs on.
        jobs: images at a time, which share the memory.
        alone: as `Limits`.
        share_cores: each job has its own share of the cores, unless `options` tell the threads. Threads that run one
            small image together wait for each other. Only for onnxruntime on the CPU.

    Raises:
        EngineError: for a device, precision or limits that the engine or this machine does not have.
        MissingExtraError: for an engine that is not installed.
    """
    options, note = _settled(options, weights)
    limits = options.limits(jobs=jobs, alone=alone)
    if share_cores and options.threads is None and options.engine in (None, "onnxruntime") and options.device == "cpu":
        options = replace(options, threads=max(1, default_threads() // jobs))
    return Opened(upscaler=ensemble_of(_open(weights, options, limits), options.ensemble, limits=limits), note=note)


_open_ones: weakref.WeakSet[Upscaler] = weakref.WeakSet()


def _never_close() -> None:
    """Hold in a forked process what its parent has opened: closing it would wait for threads that stayed there."""
    import ctypes

    for upscaler in list(_open_ones):
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(upscaler))  # not even the end of the process closes it then


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_never_close)


def load_engine(
    weights: Weights,
    *,
    engine: EngineName | None = None,
    device: str = "cpu",
    dtype: str = "float32",
    threads: int | None = None,
    limits: Limits | None = None,
    compile: bool = False,
) -> Upscaler:
    """Open one engine on given weights, with limits of its own.

    Args:
        weights: of any network of the family.
        engine: as `EngineOptions`, and so are all others.
        device: the same.
        dtype: the same; "fast" warns where the machine or the weights have nothing quick.
        threads: the same.
        limits: tile, memory and gates; not for onnxruntime on CUDA; half of the free memory by default.
        compile: the same.

    Returns:
        A thread-safe upscaler that says in its `description` what it runs on. Nothing falls back silently.

    Raises:
        UsageError: for an unknown engine, or a number of threads outside 1 to 1024.
        EngineError, MissingExtraError: as `open_upscaler`.
    """
    asked = EngineOptions(engine=engine, device=device, dtype=dtype, threads=threads, compile=compile)
    options, note = _settled(asked, weights)
    if note:
        warnings.warn(note, stacklevel=2)
    return _open(weights, options, limits or Limits())


def _settled(options: EngineOptions, weights: Weights) -> tuple[EngineOptions, str]:
    """The options with the engine and the precision that the fast mode stands for, and its note."""
    if options.dtype != FAST:
        return options, ""
    choice = choose_fast(weights)
    return replace(options, engine=choice.engine, dtype=choice.dtype), choice.note


def _open(weights: Weights, options: EngineOptions, limits: Limits) -> Upscaler:
    upscaler = _opened_engine(weights, options, limits)
    _open_ones.add(upscaler)
    return upscaler


def _opened_engine(weights: Weights, options: EngineOptions, limits: Limits) -> Upscaler:
    device, threads = options.device, options.threads
    if options.engine == "torch":
        from a2f.runtime.torch_engine import open_torch_engine

        return open_torch_engine(
            weights, device=device, dtype=options.dtype, threads=threads, compile=options.compile, limits=limits
        )
    threads = threads or default_threads()
    if options.engine == "openvino":
        from a2f.runtime.openvino_engine import open_openvino_engine

        return open_openvino_engine(weights, device=device, dtype=options.dtype, threads=threads, limits=limits)
    if device != "cpu" and limits != Limits(jobs=limits.jobs, alone=limits.alone):
        raise EngineError(f"onnxruntime on {device} runs images whole: for tile, memory and gates use --engine torch")
    from a2f.runtime.onnx_engine import open_onnx_engine

    return open_onnx_engine(weights, device=device, threads=threads, limits=limits)
