"""OpenVINO: fp32, bfloat16, and 8-bit integers.

Images that do not fit into the memory run in pieces, with sampled gates: block by block, copies between its layout and
ours would eat up what it gains.
"""

import functools
import threading
from collections.abc import Mapping
from typing import Any

import numpy as np

from a2f.errors import Cancelled, EngineError, Hint, MissingExtraError
from a2f.export.fold import fold
from a2f.export.graph import export_onnx
from a2f.export.int8 import Range, ranges_of
from a2f.runtime.memory import whole_bytes
from a2f.runtime.onnx_engine import KEPT_PX, OnnxSteps
from a2f.runtime.openvino_core import computes, import_openvino, openvino_core
from a2f.runtime.pieces import PiecesEngine
from a2f.runtime.plan import Limits
from a2f.runtime.tiled import Array
from a2f.runtime.whole_or_tiled import WholeOrTiled
from a2f.upscaler import BandUpscaler
from a2f.weights import Weights

HINTS = {"float32": "f32", "bfloat16": "bf16", "int8": "f32"}


def open_openvino_engine(weights: Weights, *, device: str, dtype: str, threads: int, limits: Limits) -> BandUpscaler:
    """On the CPU.

    Args:
        weights: of any network of the family; for int8 with ranges (`a2f calibrate`).
        device: "cpu".
        dtype: "float32", "bfloat16" or "int8", which is for the 3x3 convolutions of the blocks.
        threads: of a run.
        limits: what a run may take.

    Raises:
        MissingExtraError: if OpenVINO is not installed.
        EngineError: if the device is another, the CPU has no such instructions, the weights
            have no ranges, or exact gates were asked for.
    """
    try:
        openvino = import_openvino()
    except ImportError as error:
        raise MissingExtraError("engine openvino is not installed: pip install 'a2f[openvino]'") from error
    if device != "cpu":
        raise EngineError(f"engine openvino runs on cpu here, not on {device!r}")
    ranges = ranges_of(weights) if dtype == "int8" else None
    _check(weights, dtype, ranges, limits)
    options = {"INFERENCE_PRECISION_HINT": HINTS[dtype], "INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1}
    description = (
        f"openvino {openvino.__version__.split('-')[0]}, {weights.label}, cpu, {dtype}, "
        f"{threads} thread{'s' if threads > 1 else ''}"
    )

    @functools.cache
    def graph(*, gates_given: bool) -> _Graph:
        return _Graph(export_onnx(weights, ranges=ranges, gates_given=gates_given), options)

    def piece(x: Array, gates: Mapping[str, Array], last: bool) -> Array:
        return graph(gates_given=True)(x, gates, release=last)

    steps = OnnxSteps(fold(weights))
    pieces = PiecesEngine(piece, steps, description=description, threads=threads, limits=limits)
    if limits.tile_px:
        return pieces
    network = graph(gates_given=False)
    shared = limits.max_memory_bytes is not None and not limits.alone

    def whole(x: Array) -> Array:
        return network(x, {}, release=shared or x.shape[2] * x.shape[3] > KEPT_PX)

    takes = functools.partial(whole_bytes, weights.config)
    return WholeOrTiled(whole, pieces, takes=takes, limits=limits, halt=network.halt)


class _Graph:
    """A compiled graph, safe to share between threads: it has one stream, so that runs wait for each other anyway."""

    def __init__(self, blob: bytes, options: Mapping[str, Any]) -> None:
        core = openvino_core()
        self._model = core.compile_model(core.read_model(blob), "CPU", dict(options))
        self._request = self._model.create_infer_request()
        self._lock, self._halted = threading.Lock(), threading.Event()

    def __call__(self, x: Array, gates: Mapping[str, Array], *, release: bool) -> Array:
        """Run; with `release` what that took goes back to the system, which OpenVINO allows only between runs."""
        with self._lock:
            if self._halted.is_set():
                raise Cancelled("stopped")
            try:
                self._request.start_async({"lr": x, **gates})  # unlike `infer` it can be cancelled
                if self._halted.is_set():
                    self._request.cancel()
                self._request.wait()
                return np.array(self._request.get_tensor("sr").data, dtype=np.float32)
            except RuntimeError as error:
                if self._halted.is_set():
                    raise Cancelled("stopped") from error
                raise
            finally:
                if release:
                    self._request = None  # holds the tensors of its last run
                    self._model.release_memory()
                    self._request = self._model.create_infer_request()

    def halt(self) -> None:
        """End the run that is under way, and all later ones, with Cancelled."""
        self._halted.set()
        request = self._request
        if request is not None:
            request.cancel()


def _check(weights: Weights, dtype: str, ranges: tuple[Range, ...] | None, limits: Limits) -> None:
    if not computes(dtype):
        exact = Hint(text="use {option}", option="dtype", value="float32")
        raise EngineError(f"this CPU does not compute in {dtype}", exact)
    if dtype == "int8" and ranges is None:
        raise EngineError(
            f"{weights.label} has no ranges for int8",
            Hint(text="make them with `a2f calibrate`"),
            Hint(text="use another {option}", option="dtype"),
        )
    if limits.gates == "exact":
        raise EngineError(
            "engine openvino runs images that do not fit into the memory whole with sampled gates: "
            "leave out --gates exact, or use onnxruntime"
        )
