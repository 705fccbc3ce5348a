"""OpenVINO, from the same steps as onnxruntime: fp32, bfloat16, and 8-bit integers."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from a2f.errors import EngineError
from a2f.export.fold import fold
from a2f.export.graph import export_onnx
from a2f.export.int8 import ranges_of
from a2f.runtime.plan import Limits
from a2f.runtime.tiled import Array, Step, Steps
from a2f.runtime.tiled_engine import TiledEngine
from a2f.runtime.whole_or_tiled import WholeOrTiled
from a2f.upscaler import BandUpscaler
from a2f.weights import Weights

HINTS = {"float32": "f32", "bfloat16": "bf16", "int8": "f32"}
CAPABILITIES = {"bfloat16": "BF16", "int8": "INT8"}


def open_openvino_engine(weights: Weights, *, device: str, dtype: str, threads: int, limits: Limits) -> BandUpscaler:
    """On the CPU.

    Args:
        weights: of any network of the family; for int8 with ranges (`a2f calibrate`).
        device: "cpu".
        dtype: "float32", "bfloat16" or "int8", which is for the 3x3 convolutions of the blocks.
        threads: tiles at a time.
        limits: what a run may take.

    Raises:
        EngineError: if OpenVINO is not installed, the device is another, the CPU has no such instructions, or the
            weights have no ranges.
    """
    try:
        import openvino
    except ImportError as error:
        raise EngineError("engine openvino is not installed: pip install 'a2f[openvino]'") from error
    if device != "cpu":
        raise EngineError(f"engine openvino runs on cpu here, not on {device!r}")
    core = openvino.Core()
    if dtype in CAPABILITIES and CAPABILITIES[dtype] not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        raise EngineError(f"this CPU does not compute in {dtype}: use --dtype float32")
    ranges = ranges_of(weights) if dtype == "int8" else None
    if dtype == "int8" and ranges is None:
        raise EngineError(
            f"{weights.label} has no ranges for int8: make them with `a2f calibrate`, or use another --dtype"
        )
    options = {"INFERENCE_PRECISION_HINT": HINTS[dtype], "INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": threads}
    description = (
        f"openvino {openvino.__version__.split('-')[0]}, {weights.label}, cpu, {dtype}, "
        f"{threads} thread{'s' if threads > 1 else ''}"
    )

    def open_step(blob: bytes) -> Step:
        return _open_step(core.compile_model(core.read_model(blob), "CPU", options))

    tiled = TiledEngine(
        Steps(fold(weights), open_step, ranges=ranges), description=description, threads=threads, limits=limits
    )
    if limits.tile_px or limits.gates != "exact":
        return tiled
    model = core.compile_model(
        core.read_model(export_onnx(weights, ranges=ranges)), "CPU", {**options, "NUM_STREAMS": 1}
    )

    def whole(x: Array) -> Array:
        # a request each: they are what OpenVINO does not share between threads
        return np.asarray(model.create_infer_request().infer({"lr": x})["sr"], dtype=np.float32)

    return WholeOrTiled(whole, tiled, config=weights.config, limits=limits)


def _open_step(model: Any) -> Step:
    names = [output.any_name for output in model.outputs]
    idle: list[Any] = []  # requests, which must not be shared and take long to make; append and pop are atomic

    def step(inputs: Mapping[str, Array]) -> dict[str, Array]:
        try:
            request = idle.pop()
        except IndexError:
            request = model.create_infer_request()
        try:
            request.infer(dict(inputs), share_inputs=True)
            return {name: np.array(request.get_tensor(name).data) for name in names}
        finally:
            idle.append(request)

    return step
