"""Open an engine for a network."""

import os
import warnings
import weakref
from dataclasses import replace

from a2f.errors import EngineError, Hint
from a2f.export.int8 import METADATA_KEY
from a2f.machine import usable_cores
from a2f.runtime.engine import A2FEngine, Engine, PlainEngine
from a2f.runtime.memory import Memory
from a2f.runtime.openvino import computes, has_amx
from a2f.runtime.options import FAST, EngineName, EngineOptions
from a2f.runtime.plan import Gates
from a2f.weights import Weights


def load_engine(
    weights: Weights,
    *,
    engine: EngineName | None = None,
    device: str = "cpu",
    dtype: str = "float32",
    threads: int | None = None,
    tile: int = 0,
    max_memory: int | None = None,
    gates: Gates = "auto",
    compile: bool = False,
) -> Engine:
    """Open one engine for given weights, with its own memory limit.

    Args:
        weights: weights of an A2F network.
        engine: "onnxruntime", "openvino" or "torch"; None: onnxruntime.
        device: "cpu"; "cuda" for onnxruntime and torch; "mps" for torch.
        dtype: precision of the computation, see `DTYPES`; "fast" warns if the machine or the weights have no fast mode.
        threads: threads of one run on the CPU; None: all cores.
        tile: side of the tiles, LR pixels; 0 chooses it.
        max_memory: limit of the whole process, bytes; None: half of the free memory.
        gates: for images that do not fit into the memory, see `EngineOptions`.
        compile: torch only: run torch.compile.

    Returns:
        A thread-safe engine. Its `description` names device and precision; there is no silent fallback.

    Raises:
        UsageError: for an unknown engine, or a number outside its range.
        EngineError: for a device, precision or limit that the engine or this machine does not support.
        MissingExtraError: for an engine that is not installed.
    """
    asked = EngineOptions(
        engine=engine,
        device=device,
        dtype=dtype,
        threads=threads,
        tile=tile,
        max_memory=max_memory,
        gates=gates,
        compile=compile,
    )
    options, note = settle_fast(asked, weights)
    if note:
        warnings.warn(note, stacklevel=2)
    return open_engine(weights, options, Memory(max_memory))


def open_engine(weights: Weights, options: EngineOptions, memory: Memory) -> A2FEngine | PlainEngine:
    """Open one engine; for the errors see `load_engine`.

    Args:
        weights: weights of an A2F network.
        options: engine options without the fast mode (see `settle_fast`); the ensemble is not applied here
            (`a2f.ensemble`).
        memory: the memory that all runs share; several engines may share one.
    """
    opened = _opened(weights, options, memory)
    _open_ones.add(opened)
    return opened


def settle_fast(options: EngineOptions, weights: Weights) -> tuple[EngineOptions, str]:
    """Replace the fast mode by the fastest mode of this machine whose loss was measured.

    This is bfloat16 with OpenVINO on a CPU with AMX, otherwise 8-bit integers or bfloat16 if the weights and the CPU
    support it, otherwise exact computation.

    Args:
        options: options with or without the fast mode.
        weights: weights of an A2F network.

    Returns:
        The options, and a note if a faster mode is missing; an empty note otherwise.
    """
    if options.dtype != FAST:
        return options, ""
    exact = replace(options, engine="onnxruntime", dtype="float32")
    try:
        int8, bfloat16 = computes("int8"), computes("bfloat16")
    except ImportError:
        return exact, "fast mode needs the extra openvino (pip install 'a2f[openvino]'): computing exactly instead"
    if bfloat16 and has_amx():
        return replace(options, engine="openvino", dtype="bfloat16"), ""
    if int8 and METADATA_KEY in weights.metadata:
        return replace(options, engine="openvino", dtype="int8"), ""
    if bfloat16:
        note = f"{weights.label} has no ranges for int8 (a2f calibrate): bfloat16 instead" if int8 else ""
        return replace(options, engine="openvino", dtype="bfloat16"), note
    missing = "neither int8 nor bfloat16" if not int8 else "no bfloat16, and the weights no ranges for int8"
    return exact, f"this CPU has {missing}: computing exactly instead"


def _opened(weights: Weights, options: EngineOptions, memory: Memory) -> A2FEngine | PlainEngine:
    if options.engine == "torch":
        from a2f.runtime.torch import open_torch

        return open_torch(weights, options, memory)
    options = replace(options, threads=options.threads or usable_cores())
    if options.engine == "openvino":
        from a2f.runtime.openvino import open_openvino

        return open_openvino(weights, options, memory)
    from a2f.runtime.onnx import open_onnx, open_onnx_on_device

    if options.device == "cpu":
        return open_onnx(weights, options, memory)
    if options.is_limited:
        raise EngineError(
            f"onnxruntime on {options.device} runs images whole, without limits of tile, memory and gates",
            Hint(text="use {option}", option="engine", value="torch"),
        )
    return open_onnx_on_device(weights, device=options.device)


_open_ones: weakref.WeakSet[A2FEngine | PlainEngine] = weakref.WeakSet()


def _never_close() -> None:
    """Hold in a forked process what its parent has opened: closing it would wait for threads that stayed there."""
    import ctypes

    for opened in list(_open_ones):
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(opened))  # not even the end of the process closes it then


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_never_close)
