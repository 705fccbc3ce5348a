"""The whole network on PyTorch, for images that fit."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch

from a2f.errors import Cancelled
from a2f.model.a2f import from_weights
from a2f.runtime.tiled import Array
from a2f.runtime.torch_steps import is_out_of_memory
from a2f.weights import Weights


class TorchNetwork:
    """The network of `a2f.model`, safe to share between threads; arguments as `open_torch_engine`."""

    def __init__(self, weights: Weights, *, device: str, dtype: str, compile: bool) -> None:
        self._device, self._dtype = torch.device(device), getattr(torch, dtype)
        self._halted = threading.Event()
        model = from_weights(weights).eval().to(device=self._device, dtype=self._dtype)
        for module in model.modules():
            if isinstance(module, torch.nn.Conv2d):
                module.weight.data = module.weight.data.contiguous(memory_format=torch.channels_last)
        self._network: Callable[[Any], Any] = model
        self._own_thread: ThreadPoolExecutor | None = None
        if compile:
            mode = "reduce-overhead" if self._device.type == "cuda" else "default"
            self._network = torch.compile(model, dynamic=True, mode=mode)
            self._own_thread = ThreadPoolExecutor(1, "a2f-torch")  # recorded graphs belong to the thread that made them
        else:
            for block in model.blocks:
                block.register_forward_pre_hook(lambda module, given: self._go_on())

    def __call__(self, batch: Array) -> Array:
        """[1, 3, H, W] -> [1, 3, sH, sW]; MemoryError where the device has too little."""
        return self._own_thread.submit(self._run, batch).result() if self._own_thread else self._run(batch)

    def halt(self) -> None:
        """End what is under way, before its next block, with Cancelled; compiled, before the next image."""
        self._halted.set()

    def _go_on(self) -> None:
        if self._halted.is_set():
            raise Cancelled("stopped")

    def _run(self, batch: Array) -> Array:
        self._go_on()
        try:
            with torch.inference_mode():
                x = torch.from_numpy(batch).to(self._device, self._dtype, memory_format=torch.channels_last)
                sr: Array = self._network(x).float().cpu().contiguous().numpy()
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            if self._device.type == "cuda":
                torch.cuda.empty_cache()
            raise MemoryError(f"no memory on {self._device} for {batch.shape[3]} x {batch.shape[2]} pixels") from error
        return sr
