"""OpenVINO, from the same graph as onnxruntime."""

import numpy as np
from numpy.typing import NDArray

from a2f.errors import EngineError
from a2f.export.graph import export_onnx
from a2f.runtime.arrays import to_batch, to_image
from a2f.runtime.memory import check_memory
from a2f.weights import Weights

HINTS = {"float32": "f32", "bfloat16": "bf16"}


class OpenVinoEngine:
    """Runs the graph of `export_onnx` in OpenVINO on the CPU.

    Args:
        weights: of any network of the family.
        device: "cpu".
        dtype: "float32" or "bfloat16".
        threads: of one run.

    Raises:
        EngineError: if OpenVINO is not installed, the device is another, or the CPU has no bfloat16.
    """

    def __init__(self, weights: Weights, *, device: str, dtype: str, threads: int) -> None:
        try:
            import openvino
        except ImportError as error:
            raise EngineError("engine openvino is not installed: pip install 'a2f[openvino]'") from error
        if device != "cpu":
            raise EngineError(f"engine openvino runs on cpu here, not on {device!r}")
        core = openvino.Core()
        if dtype == "bfloat16" and "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            raise EngineError("this CPU does not compute in bfloat16: use --dtype float32")
        options = {"INFERENCE_PRECISION_HINT": HINTS[dtype], "INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1}
        self.scale, self._config = weights.config.scale, weights.config
        self.description = (
            f"openvino {openvino.__version__.split('-')[0]}, {weights.label}, cpu, {dtype}, "
            f"{threads} thread{'s' if threads > 1 else ''}"
        )
        self._model = core.compile_model(core.read_model(export_onnx(weights)), "CPU", options)

    def __call__(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        """Enlarge one image, as `Upscaler` says; EngineError if the memory does not suffice."""
        x = to_batch(image)
        check_memory(self._config, height=x.shape[2], width=x.shape[3])
        # a request each: they are what OpenVINO does not share between threads
        sr = self._model.create_infer_request().infer({"lr": x})["sr"]
        return to_image(np.asarray(sr, dtype=np.float32))
