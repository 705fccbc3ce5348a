"""Opening an engine on a network."""

import os
import warnings
import weakref
from dataclasses import dataclass, replace
from typing import Literal

from a2f.errors import EngineError, Hint
from a2f.export.int8 import ranges_of
from a2f.runtime.engine import A2FEngine, Engine, PlainEngine
from a2f.runtime.ensemble import ensemble_of
from a2f.runtime.memory import Memory, usable_cores
from a2f.runtime.openvino import computes
from a2f.runtime.options import FAST, EngineName, EngineOptions
from a2f.runtime.plan import Limits
from a2f.weights import Weights


@dataclass(frozen=True, kw_only=True)
class Opened:
    """An engine that is open.

    Attributes:
        upscaler: which enlarges, safe to share between threads.
        note: why the fast mode is not as quick as it could be, for people; empty otherwise.
    """

    upscaler: Engine
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class FastChoice:
    """What the fast mode stands for on this machine: the quickest at a loss that was measured.

    Attributes:
        engine: of `load_engine`.
        dtype: of `load_engine`.
        note: why it is not the quickest there is, for people; empty if it is.
    """

    engine: Literal["onnxruntime", "openvino"]
    dtype: str
    note: str = ""


def open_upscaler(
    weights: Weights,
    options: EngineOptions,
    *,
    jobs: int = 1,
    alone: bool = True,
    share_cores: bool = False,
    memory: Memory | None = None,
) -> Opened:
    """Open what `EngineOptions` ask for, its ensemble included.

    Args:
        weights: of any network of the family.
        options: what it runs on.
        jobs: images at a time, which share the memory.
        alone: whether no other engine of the process shares the memory, as `Limits`.
        share_cores: each job has its own share of the cores, unless `options` tell the threads. Threads that run one
            small image together wait for each other. Only for onnxruntime on the CPU.
        memory: what this engine shares with others; its own by default.

    Raises:
        EngineError: for a device, precision or limits that the engine or this machine does not have.
        MissingExtraError: for an engine that is not installed.
    """
    options, note = _settled(options, weights)
    limits = options.limits(jobs=jobs, alone=alone)
    if share_cores and options.threads is None and options.engine in (None, "onnxruntime") and options.device == "cpu":
        options = replace(options, threads=max(1, usable_cores() // jobs))
    engine = _open(weights, options, limits, memory or Memory(limits.max_memory_bytes, jobs=jobs))
    return Opened(upscaler=ensemble_of(engine, options.ensemble), note=note)


def load_engine(
    weights: Weights,
    *,
    engine: EngineName | None = None,
    device: str = "cpu",
    dtype: str = "float32",
    threads: int | None = None,
    limits: Limits | None = None,
    compile: bool = False,
) -> Engine:
    """Open one engine on given weights, with limits of its own.

    Args:
        weights: of any network of the family.
        engine: "onnxruntime", "openvino" or "torch"; None takes onnxruntime.
        device: "cpu"; "cuda" for onnxruntime and torch; "mps" for torch.
        dtype: precision of the computation, as `DTYPES` tells; "fast" warns where the machine or the weights have
            nothing quick.
        threads: of one run on the CPU; None takes all cores.
        limits: tile, memory and gates; not for onnxruntime on CUDA; half of the free memory by default.
        compile: torch only: fuse the network first.

    Returns:
        A thread-safe engine that says in its `description` what it runs on. Nothing falls back silently.

    Raises:
        UsageError: for an unknown engine, or a number of threads outside 1 to 1024.
        EngineError, MissingExtraError: as `open_upscaler`.
    """
    asked = EngineOptions(engine=engine, device=device, dtype=dtype, threads=threads, compile=compile)
    options, note = _settled(asked, weights)
    if note:
        warnings.warn(note, stacklevel=2)
    limits = limits or Limits()
    return _open(weights, options, limits, Memory(limits.max_memory_bytes, jobs=limits.jobs))


def choose_fast(weights: Weights) -> FastChoice:
    """8-bit integers or bfloat16 through OpenVINO, what the weights and the CPU allow; exact computation otherwise.

    Args:
        weights: of any network of the family.
    """
    try:
        int8, bfloat16 = computes("int8"), computes("bfloat16")
    except ImportError:
        note = "fast mode needs the extra openvino (pip install 'a2f[openvino]'): computing exactly instead"
        return FastChoice(engine="onnxruntime", dtype="float32", note=note)
    if int8 and ranges_of(weights) is not None:
        return FastChoice(engine="openvino", dtype="int8")
    if bfloat16:
        note = "" if ranges_of(weights) else f"{weights.label} has no ranges for int8 (a2f calibrate): bfloat16 instead"
        return FastChoice(engine="openvino", dtype="bfloat16", note=note)
    missing = "neither int8 nor bfloat16" if not int8 else "no bfloat16, and the weights no ranges for int8"
    note = f"this CPU has {missing}: computing exactly instead"
    return FastChoice(engine="onnxruntime", dtype="float32", note=note)


def _settled(options: EngineOptions, weights: Weights) -> tuple[EngineOptions, str]:
    """The options with the engine and the precision that the fast mode stands for, and its note."""
    if options.dtype != FAST:
        return options, ""
    choice = choose_fast(weights)
    return replace(options, engine=choice.engine, dtype=choice.dtype), choice.note


def _open(weights: Weights, options: EngineOptions, limits: Limits, memory: Memory) -> A2FEngine | PlainEngine:
    opened = _opened_engine(weights, options, limits, memory)
    _open_ones.add(opened)
    return opened


def _opened_engine(weights: Weights, options: EngineOptions, limits: Limits, memory: Memory) -> A2FEngine | PlainEngine:
    device, threads = options.device, options.threads
    if options.engine == "torch":
        from a2f.runtime.torch import open_torch

        dtype, fused = options.dtype, options.compile
        return open_torch(
            weights, device=device, dtype=dtype, threads=threads, compile=fused, limits=limits, memory=memory
        )
    threads = threads or usable_cores()
    if options.engine == "openvino":
        from a2f.runtime.openvino import open_openvino

        return open_openvino(weights, device=device, dtype=options.dtype, threads=threads, limits=limits, memory=memory)
    if device != "cpu" and limits != Limits(jobs=limits.jobs, alone=limits.alone):
        raise EngineError(
            f"onnxruntime on {device} runs images whole, without limits of tile, memory and gates",
            Hint(text="use {option}", option="engine", value="torch"),
        )
    from a2f.runtime.onnx import open_onnx, open_onnx_on_device

    if device != "cpu":
        return open_onnx_on_device(weights, device=device)
    return open_onnx(weights, threads=threads, limits=limits, memory=memory)


_open_ones: weakref.WeakSet[A2FEngine | PlainEngine] = weakref.WeakSet()


def _never_close() -> None:
    """Hold in a forked process what its parent has opened: closing it would wait for threads that stayed there."""
    import ctypes

    for opened in list(_open_ones):
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(opened))  # not even the end of the process closes it then


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_never_close)
