"""PyTorch: CPU, CUDA and MPS."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from a2f.errors import EngineError
from a2f.runtime.arrays import to_batch, to_image
from a2f.upscaler import Described
from a2f.weights import Weights


class TorchEngine(Described):
    """Runs the network of `a2f.model`.

    Args:
        weights: of any network of the family.
        device: "cpu", "cuda", "cuda:1" or "mps".
        dtype: "float32", "bfloat16" or "float16".
        threads: of the whole process, as torch counts them; None leaves torch's own choice.
        compile: fuse the network by torch.compile, once for all sizes, at the first image, which takes half a minute;
            on CUDA each size is then recorded as a graph and launched at once.

    Raises:
        EngineError: if torch is not installed or has no such device.
    """

    def __init__(
        self, weights: Weights, *, device: str, dtype: str, threads: int | None, compile: bool = False
    ) -> None:
        try:
            import torch
        except ImportError as error:
            raise EngineError("engine torch is not installed: pip install 'a2f[train]'") from error
        from a2f.model.a2f import from_weights

        kind = device.partition(":")[0]
        there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
        if not there.get(kind, False):
            have = ", ".join(name for name, here in there.items() if here)
            raise EngineError(f"this torch has no device {device!r}: there is {have}")
        if threads is not None:
            torch.set_num_threads(threads)
        self.scale = weights.config.scale
        self.description = (
            f"torch {torch.__version__}, {weights.label}, {device}, {dtype}, {torch.get_num_threads()} threads"
            f"{', compiled' if compile else ''}"
        )
        self._torch, self._device, self._dtype = torch, torch.device(device), getattr(torch, dtype)
        self._model = from_weights(weights).eval().to(device=self._device, dtype=self._dtype)
        for module in self._model.modules():
            if isinstance(module, torch.nn.Conv2d):
                module.weight.data = module.weight.data.contiguous(memory_format=torch.channels_last)

        self._network: Callable[[Any], Any] = self._model
        self._own_thread: ThreadPoolExecutor | None = None
        if compile:
            mode = "reduce-overhead" if kind == "cuda" else "default"
            self._network = torch.compile(self._model, dynamic=True, mode=mode)
            self._own_thread = ThreadPoolExecutor(1, "a2f-torch")  # recorded graphs belong to the thread that made them

    def __call__(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        """Enlarge one image, as `Upscaler` says."""
        batch = to_batch(image)
        sr = self._own_thread.submit(self._run, batch).result() if self._own_thread else self._run(batch)
        return to_image(sr)

    def _run(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        torch = self._torch
        with torch.inference_mode():
            x = torch.from_numpy(batch).to(self._device, self._dtype, memory_format=torch.channels_last)
            sr: NDArray[np.float32] = self._network(x).float().cpu().contiguous().numpy()
        return sr
