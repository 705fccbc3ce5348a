"""The default engine: onnxruntime."""

import numpy as np
from numpy.typing import NDArray

from a2f.errors import EngineError
from a2f.export.graph import export_onnx
from a2f.export.session import make_session
from a2f.runtime.arrays import to_batch, to_image
from a2f.runtime.memory import check_memory
from a2f.weights import Weights

PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}


class OnnxEngine:
    """Runs the graph of `export_onnx` in onnxruntime, fp32.

    Args:
        weights: of any network of the family.
        device: "cpu" or "cuda".
        threads: of one run on the CPU.

    Raises:
        EngineError: if the device is unknown or this onnxruntime has no provider for it.
    """

    def __init__(self, weights: Weights, *, device: str, threads: int) -> None:
        import onnxruntime

        provider = PROVIDERS.get(device)
        if provider is None:
            raise EngineError(f"engine onnxruntime has no device {device!r}: choose cpu or cuda")
        if provider not in onnxruntime.get_available_providers():
            raise EngineError("this onnxruntime has no CUDA provider: install onnxruntime-gpu, or use --device cpu")
        self.scale, self._config, self._device = weights.config.scale, weights.config, device
        self.description = (
            f"onnxruntime {onnxruntime.__version__}, {weights.label}, {device}, float32, "
            f"{threads} thread{'s' if threads > 1 else ''}"
        )
        self._session = make_session(export_onnx(weights), threads=threads, providers=[provider])

    def __call__(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        """Enlarge one image, as `Upscaler` says; EngineError if the memory does not suffice."""
        x = to_batch(image)
        if self._device == "cpu":
            check_memory(self._config, height=x.shape[2], width=x.shape[3])
        (sr,) = self._session.run(None, {"lr": x})
        return to_image(sr)
