"""Which engines there are, and opening one."""

import os
import warnings
from typing import Literal, get_args

from a2f.errors import EngineError, UsageError
from a2f.runtime.fast import choose_fast
from a2f.runtime.plan import Limits
from a2f.upscaler import Upscaler
from a2f.weights import Weights

EngineName = Literal["onnxruntime", "openvino", "torch"]
ENGINES: tuple[str, ...] = get_args(EngineName)
DTYPES = {
    "onnxruntime": ("float32",),
    "openvino": ("float32", "bfloat16", "int8"),
    "torch": ("float32", "bfloat16", "float16"),
}


FAST = "fast"
MOST_THREADS = 1024


def default_threads() -> int:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


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
    """Open an engine on given weights.

    Args:
        weights: of any network of the family.
        engine: "onnxruntime" (in the core, the default), "openvino" or "torch" (extras `openvino` and `train`).
        device: "cpu"; "cuda" for onnxruntime and torch; "mps" for torch.
        dtype: precision of the computation: "float32"; "bfloat16" for openvino and torch; "float16" for torch; "int8"
            for openvino; "fast" for the quickest here, which chooses the engine too: int8 or bfloat16, or "float32"
            with a warning where the machine or the weights have neither.
        threads: of one run on the CPU; all cores of the process by default; torch counts for the whole process.
        limits: tile, memory and gates; not for onnxruntime on CUDA; half of the free memory by default.
        compile: torch only: fuse the network by torch.compile, on CUDA with recorded graphs; for many images.

    Returns:
        A thread-safe upscaler that says in its `description` what it runs on. Nothing falls back silently.

    Raises:
        UsageError: for an unknown engine, or a number of threads outside 1 to 1024.
        EngineError: for a device, precision or limits that the engine or this machine does not have.
        MissingExtraError: for an engine that is not installed.
    """
    if dtype == FAST:
        if engine is not None or device != "cpu":
            asked = [] if engine is None else [f"engine {engine}"]
            asked += [] if device == "cpu" else [f"device {device}"]
            raise EngineError(f"fast mode is for the CPU and chooses its engine: leave out {' and '.join(asked)}")
        choice = choose_fast(weights)
        if choice.note:
            warnings.warn(choice.note, stacklevel=3)
        engine, dtype = choice.engine, choice.dtype
    engine = engine or "onnxruntime"
    if engine not in ENGINES:
        raise UsageError(f"unknown engine {engine!r}: choose one of {', '.join(ENGINES)}")
    if threads is not None and (not isinstance(threads, int) or not 1 <= threads <= MOST_THREADS):
        raise UsageError(f"{threads!r} threads: a whole number from 1 to {MOST_THREADS} is needed")
    if dtype not in DTYPES[engine]:
        others = [name for name in ENGINES if dtype in DTYPES[name]]
        elsewhere = f", or engine {' or '.join(others)}" if others else ""
        raise EngineError(
            f"engine {engine} does not compute in {dtype!r}: choose {' or '.join(DTYPES[engine])}{elsewhere}"
        )
    count = threads or default_threads()
    if (
        limits is not None
        and limits != Limits(jobs=limits.jobs, alone=limits.alone)
        and engine == "onnxruntime"
        and device != "cpu"
    ):
        raise EngineError(f"onnxruntime on {device} runs images whole: for tile, memory and gates use --engine torch")
    if compile and engine != "torch":
        raise EngineError(f"engine {engine} does not compile: use --engine torch")
    limits = limits or Limits()
    if engine == "torch":
        from a2f.runtime.torch_engine import open_torch_engine

        return open_torch_engine(weights, device=device, dtype=dtype, threads=threads, compile=compile, limits=limits)
    if engine == "openvino":
        from a2f.runtime.openvino_engine import open_openvino_engine

        return open_openvino_engine(weights, device=device, dtype=dtype, threads=count, limits=limits)
    from a2f.runtime.onnx_engine import open_onnx_engine

    return open_onnx_engine(weights, device=device, threads=count, limits=limits)
