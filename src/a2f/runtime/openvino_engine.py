"""OpenVINO, from the same steps as onnxruntime: fp32, bfloat16, and 8-bit integers."""

import threading
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from a2f.errors import EngineError
from a2f.export.fold import fold
from a2f.export.graph import export_onnx
from a2f.export.int8 import ranges_of
from a2f.runtime.arrays import check_image, to_batch, to_image
from a2f.runtime.memory import whole_bytes
from a2f.runtime.plan import Limits, budget_bytes
from a2f.runtime.tiled import Array, Step, Steps
from a2f.runtime.tiled_engine import TiledEngine, rows_of
from a2f.upscaler import BandUpscaler
from a2f.variants import A2FConfig
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
    whole = core.read_model(export_onnx(weights, ranges=ranges))
    return WholeOpenVinoEngine(
        core.compile_model(whole, "CPU", {**options, "NUM_STREAMS": 1}), tiled, config=weights.config, limits=limits
    )


class WholeOpenVinoEngine:
    """Runs images whole where they fit into the memory, which is quicker here, and all others tile by tile.

    Args:
        model: compiled.
        tiled: for all others.
        config: the network.
        limits: what a run may take.
    """

    def __init__(self, model: Any, tiled: TiledEngine, *, config: A2FConfig, limits: Limits) -> None:
        self._model, self._tiled, self._config, self._limits = model, tiled, config, limits
        self._stopped = threading.Event()
        self.scale, self.description = tiled.scale, tiled.description

    def __call__(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        """Enlarge one image, as `Upscaler` says; EngineError if the memory does not suffice."""
        return self._whole(check_image(image)) if self._fits(image) else self._tiled(image)

    def stop(self) -> None:
        """As `BandUpscaler.stop`; a whole image that is under way is finished."""
        self._stopped.set()
        self._tiled.stop()

    def bands(self, image: NDArray[Any]) -> Iterator[NDArray[np.float32]]:
        """Enlarge one image band by band, as `BandUpscaler` says."""
        if not self._fits(check_image(image, integers=True)):
            yield from self._tiled.bands(image)
            return
        yield self._whole(rows_of(image)(0, image.shape[0]).transpose(1, 2, 0))

    def _whole(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        if self._stopped.is_set():
            raise EngineError("stopped")
        # a request each: they are what OpenVINO does not share between threads
        sr = self._model.create_infer_request().infer({"lr": to_batch(image)})["sr"]
        return to_image(np.asarray(sr, dtype=np.float32))

    def _fits(self, image: NDArray[Any]) -> bool:
        budget = budget_bytes(self._limits, image.nbytes)
        return budget is None or whole_bytes(self._config, height=image.shape[0], width=image.shape[1]) <= budget


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
