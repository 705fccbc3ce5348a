"""OpenVINO: fp32, bfloat16, and 8-bit integers; and the one OpenVINO of this process.

Images that do not fit into the memory run in pieces, with sampled gates: block by block, copies between its layout and
ours would eat up what it gains.
"""

import functools
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import numpy as np

from a2f.errors import Cancelled, EngineError, Hint, MissingExtraError
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
    """On the CPU.

    Args:
        weights: of any network of the family; for int8 with ranges (`a2f calibrate`).
        options: the device "cpu"; the dtype "float32", "bfloat16" or "int8", which is for the 3x3 convolutions of the
            blocks; threads, tile and gates.
        memory: what all runs may take together.

    Raises:
        MissingExtraError: if OpenVINO is not installed.
        EngineError: if the device is another, the CPU has no such instructions, the weights
            have no ranges, or exact gates were asked for.
    """
    try:
        openvino = import_openvino()
    except ImportError as error:
        raise MissingExtraError("engine openvino is not installed: pip install 'a2f[openvino]'") from error
    dtype, threads = options.dtype, options.threads or usable_cores()
    if options.device != "cpu":
        cpu = Hint(text="use {option}", option="device", value="cpu")
        raise EngineError(f"engine openvino runs on the CPU here, not on {options.device!r}", cpu)
    ranges = ranges_of(weights) if dtype == "int8" else None
    _check(weights, options, ranges)
    settings = {"INFERENCE_PRECISION_HINT": HINTS[dtype], "INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1}
    description = (
        f"openvino {openvino.__version__.split('-')[0]}, {weights.label}, cpu, {dtype}, "
        f"{threads} thread{'s' if threads > 1 else ''}"
    )

    @functools.cache
    def graph(*, gates_given: bool) -> CompiledGraph:
        return CompiledGraph(export_onnx(weights, ranges=ranges, gates_given=gates_given), settings)

    def piece(x: Array, gates: Mapping[str, Array], control: Control, last: bool) -> Array:
        return graph(gates_given=True)(x, gates, control, gives_back=last)

    cut = PieceRunner(piece, onnx_steps(fold(weights)), threads=threads, tile_px=options.tile)
    whole = None
    if not options.tile:
        network = graph(gates_given=False)

        def run(x: Array, control: Control) -> Array:
            return network(x, {}, control, gives_back=memory.gives_back or x.shape[2] * x.shape[3] > KEPT_PX)

        whole = WholeRunner(run=run, takes=functools.partial(whole_bytes, weights.config))
    return A2FEngine(scale=weights.config.scale, description=description, memory=memory, whole=whole, cut=cut)


class CompiledGraph:
    """A compiled graph, safe to share between threads: it has one stream, so that runs wait for each other anyway.

    Args:
        blob: an ONNX file.
        options: of OpenVINO.
    """

    def __init__(self, blob: bytes, options: Mapping[str, Any]) -> None:
        self._blob, self._options = blob, dict(options)
        self._lock = threading.Lock()
        self._compile()

    def _compile(self) -> None:
        """Compile anew: a run that was cancelled leaves the shapes of its image with some of the nodes."""
        core = openvino_core()
        self._model: Any = core.compile_model(core.read_model(self._blob), "CPU", self._options)
        self._request: Any = (
            self._model.create_infer_request()
        )  # None while it runs, and after a run that was cancelled

    def __call__(self, x: Array, gates: Mapping[str, Array], control: Control, *, gives_back: bool) -> Array:
        """Run.

        Args:
            x: [1, 3, H, W].
            gates: inputs by name.
            control: ends the run, or the waiting for others, with Cancelled.
            gives_back: what the run took goes back to the system, which OpenVINO allows only between runs.
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
            if gives_back:
                del request  # holds the tensors of its last run
                self._model.release_memory()
                request = self._model.create_infer_request()
            self._request = request
            return large
        finally:
            self._lock.release()


def _wait(request: Any, control: Control) -> None:
    """Until a run is done, or is cancelled."""
    while control.cancelled is not None and not request.wait_for(int(1000 * CANCEL_POLL_S)):
        if control.cancelled():
            request.cancel()
            with suppress(RuntimeError):  # which says that it was cancelled
                request.wait()
            raise Cancelled("stopped")
    request.wait()  # raises what went wrong


def _check(weights: Weights, options: EngineOptions, ranges: tuple[Range, ...] | None) -> None:
    if not computes(options.dtype):
        exact = Hint(text="use {option}", option="dtype", value="float32")
        raise EngineError(f"this CPU does not compute in {options.dtype}", exact)
    if options.dtype == "int8" and ranges is None:
        raise EngineError(
            f"{weights.label} has no ranges for int8",
            Hint(text="make them with `a2f calibrate`"),
            Hint(text="use another {option}", option="dtype"),
        )
    if options.gates == "exact":
        raise EngineError(
            "engine openvino runs images that do not fit into the memory whole with sampled gates",
            Hint(text="use {option}", option="gates", value="sampled"),
            Hint(text="use {option}", option="engine", value="onnxruntime"),
        )


def import_openvino() -> Any:
    """OpenVINO, without the package that tells its maker of each import.

    That package (openvino_telemetry) sends and keeps an identifier on the disk unless it cannot be imported. Where
    another part of the program has imported OpenVINO before, that is left as it is.

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
    """The one `openvino.Core` of this process, which lives as long as it.

    Its CPU plugin gives the thread that loads it another stack for signal handlers, and unmaps that stack when the
    plugin goes, but takes it back only if it goes in the same thread. So a core let go elsewhere (by another thread, or
    by the garbage collector at work in one) leaves the first thread with a stack that is not there: the next Ctrl-C
    kills the process. A core that stays cannot.

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
    """Whether this CPU has instructions for "float32", "bfloat16" or "int8", as far as OpenVINO knows.

    Raises:
        ImportError: if OpenVINO is not installed.
    """
    return CAPABILITIES[dtype] in openvino_core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
