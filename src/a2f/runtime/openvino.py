"""OpenVINO: fp32, bfloat16 and 8-bit integers, with one `openvino.Core` per process.

Images that do not fit into the memory run in pieces, with sampled gates. Block by block, copies between the memory
layouts would take as much time as OpenVINO saves.
"""

import functools
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from a2f.errors import Cancelled, EngineError, Hint, MissingExtraError, count_of
from a2f.export.fold import fold
from a2f.export.graph import export_onnx
from a2f.export.int8 import Range, ranges_of
from a2f.machine import usable_cores
from a2f.runtime.engine import A2FEngine, WholeRunner
from a2f.runtime.memory import Memory
from a2f.runtime.onnx import KEPT_PX, onnx_steps
from a2f.runtime.options import EngineOptions
from a2f.runtime.pieces import PieceRunner
from a2f.runtime.plan import whole_bytes
from a2f.runtime.tiled import Array
from a2f.upscaler import CANCEL_POLL_S, Control
from a2f.weights import Weights

CAPABILITIES = {"float32": "FP32", "bfloat16": "BF16", "int8": "INT8"}
HINTS = {"float32": "f32", "bfloat16": "bf16", "int8": "f32"}

_LOCK = threading.Lock()


def open_openvino(weights: Weights, options: EngineOptions, memory: Memory) -> A2FEngine:
    """Open OpenVINO on the CPU.

    Args:
        weights: weights of an A2F network; for int8 with ranges (`a2f calibrate`).
        options: the device "cpu"; the dtype "float32", "bfloat16" or "int8" (only the 3x3 convolutions of the blocks);
            threads, tile and gates.
        memory: the memory that all runs share.

    Raises:
        MissingExtraError: if OpenVINO is not installed.
        EngineError: for another device, for instructions that the CPU does not have, for int8 without ranges, or for
            exact gates.
    """
    try:
        openvino = import_openvino()
    except ImportError as error:
        raise MissingExtraError("engine openvino is not installed: pip install 'a2f[openvino]'") from error
    dtype, threads = options.dtype, options.threads or usable_cores()
    if options.device != "cpu":
        cpu = Hint(text="use {option}", option="device", value="cpu")
        raise EngineError(f"openvino runs on the CPU here, not on {options.device!r}", cpu)
    ranges = ranges_of(weights) if dtype == "int8" else None
    _check(weights, options, ranges)
    settings = {"INFERENCE_PRECISION_HINT": HINTS[dtype], "INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1}
    description = (
        f"openvino {openvino.__version__.split('-')[0]}, {weights.label}, cpu, {dtype}, {count_of(threads, 'thread')}"
    )

    @functools.cache
    def graph(*, gates_given: bool) -> CompiledGraph:
        return CompiledGraph(export_onnx(weights, ranges=ranges, gates_given=gates_given), settings)

    def piece(x: Array, gates: Mapping[str, Array], control: Control, last: bool) -> Array:
        return graph(gates_given=True)(x, gates, control, releases=last)

    cut = PieceRunner(piece, onnx_steps(fold(weights)), threads=threads, tile_px=options.tile)
    whole = None
    if not options.tile:
        network = graph(gates_given=False)

        def run(x: Array, control: Control) -> Array:
            return network(x, {}, control, releases=memory.releases or x.shape[2] * x.shape[3] > KEPT_PX)

        whole = WholeRunner(run=run, needed_bytes=functools.partial(whole_bytes, weights.config))
    return A2FEngine(scale=weights.config.scale, description=description, memory=memory, whole=whole, cut=cut)


class CompiledGraph:
    """A compiled graph, safe to share between threads. It has one stream, so runs wait for each other.

    Args:
        blob: an ONNX file.
        options: options of OpenVINO.
    """

    def __init__(self, blob: bytes, options: Mapping[str, Any]) -> None:
        self._blob, self._options = blob, dict(options)
        self._lock = threading.Lock()
        self._compile()

    def _compile(self) -> None:
        """Compile the graph; also after a cancelled run, which leaves the shapes of its image in some nodes."""
        core = openvino_core()
        self._model: Any = core.compile_model(core.read_model(self._blob), "CPU", self._options)
        self._request: Any = (
            self._model.create_infer_request()
        )  # None while it runs, and after a run that was cancelled

    def __call__(self, x: Array, gates: Mapping[str, Array], control: Control, *, releases: bool) -> Array:
        """Run.

        Args:
            x: [1, 3, H, W].
            gates: inputs by name.
            control: cancels the run, or the waiting for other runs.
            releases: release the memory of the run; OpenVINO allows this only between runs.
        """
        while not self._lock.acquire(timeout=CANCEL_POLL_S):
            control.check()
        try:
            control.check()
            if self._request is None:
                self._compile()
            request, self._request = self._request, None
            request.start_async({"lr": x, **gates})
            _wait(request, control)
            large = np.array(request.get_tensor("sr").data, dtype=np.float32)
            if releases:
                del request  # it keeps the tensors of its last run
                self._model.release_memory()
                request = self._model.create_infer_request()
            self._request = request
            return large
        finally:
            self._lock.release()


def _wait(request: Any, control: Control) -> None:
    """Wait until a run is done or cancelled."""
    while control.cancelled is not None and not request.wait_for(int(1000 * CANCEL_POLL_S)):
        if control.cancelled():
            request.cancel()
            with suppress(RuntimeError):  # it reports the cancellation
                request.wait()
            raise Cancelled("stopped")
    request.wait()  # raises the error of the run


def _check(weights: Weights, options: EngineOptions, ranges: tuple[Range, ...] | None) -> None:
    if not computes(options.dtype):
        exact = Hint(text="use {option}", option="dtype", value="float32")
        raise EngineError(f"this CPU cannot compute in {options.dtype}", exact)
    if options.dtype == "int8" and ranges is None:
        raise EngineError(
            f"{weights.label} has no ranges for int8",
            Hint(text="make them with `a2f calibrate`"),
            Hint(text="use another {option}", option="dtype"),
        )
    if options.gates == "exact":
        raise EngineError(
            "openvino has no exact gates for images that do not fit into the memory",
            Hint(text="use {option}", option="gates", value="sampled"),
            Hint(text="use {option}", option="engine", value="onnxruntime"),
        )


def import_openvino() -> Any:
    """Import OpenVINO without its telemetry.

    The package openvino_telemetry sends usage data and stores an identifier on the disk, unless it cannot be imported.
    If another part of the program has imported OpenVINO before, nothing is changed.

    Raises:
        ImportError: if OpenVINO is not installed.
    """
    with _LOCK:
        hidden = "openvino" not in sys.modules and "openvino_telemetry" not in sys.modules
        if hidden:
            sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]  # which makes its import fail
        try:
            import openvino
        finally:
            if hidden:
                del sys.modules["openvino_telemetry"]
        return openvino


def openvino_core() -> Any:
    """The one `openvino.Core` of this process; it is never freed.

    The CPU plugin sets another stack for signal handlers in the thread that loads it. When the plugin is freed, it
    unmaps this stack, but it resets the handler only if it is freed in the same thread. If another thread frees it, for
    example by garbage collection, the first thread has a stack that does not exist, and the next Ctrl-C kills the
    process.

    Raises:
        ImportError: if OpenVINO is not installed.
    """
    openvino = import_openvino()
    with _LOCK:
        return _core(openvino)


@functools.cache
def _core(openvino: Any) -> Any:
    return openvino.Core()


def computes(dtype: str) -> bool:
    """Whether this CPU has instructions for "float32", "bfloat16" or "int8", according to OpenVINO.

    Raises:
        ImportError: if OpenVINO is not installed.
    """
    return CAPABILITIES[dtype] in openvino_core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


@functools.cache
def has_amx() -> bool:
    """Whether this CPU multiplies matrices of bfloat16 in hardware (Intel AMX), as Xeons do since 2023.

    There bfloat16 is at least as fast as int8 (docs/benchmarks/engine.md), and it loses less. Only Linux tells it;
    elsewhere the answer is False.
    """
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return False
    return "amx_bf16" in flags.split()
