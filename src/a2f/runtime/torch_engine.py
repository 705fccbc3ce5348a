"""PyTorch: CPU, CUDA and MPS."""

import functools
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from a2f.errors import EngineError
from a2f.export.fold import fold
from a2f.runtime.memory import arrays_bytes, torch_whole_bytes
from a2f.runtime.plan import Limits
from a2f.runtime.tiled_engine import TiledEngine
from a2f.runtime.whole_or_tiled import WholeOrTiled
from a2f.upscaler import BandUpscaler
from a2f.weights import Weights

Array = NDArray[np.float32]

TILE_PX = 512  # on other devices than the CPU: large enough to fill them, small enough for any of them


def open_torch_engine(
    weights: Weights, *, device: str, dtype: str, threads: int | None, compile: bool, limits: Limits
) -> BandUpscaler:
    """Images whole where they fit into the memory, that of the device too, otherwise tile by tile.

    Args:
        weights: of any network of the family.
        device: "cpu", "cuda", "cuda:1" or "mps".
        dtype: "float32", "bfloat16" or "float16".
        threads: of the whole process, as torch counts them; None leaves torch's own choice.
        compile: fuse the network by torch.compile, once for all sizes, at the first image, which takes half a minute;
            on CUDA each size is then recorded as a graph and launched at once. Tiles are not compiled.
        limits: what a run may take of the memory of the process.

    Raises:
        EngineError: if torch is not installed or has no such device, or sampled gates are asked for.
    """
    try:
        import torch
    except ImportError as error:
        raise EngineError("engine torch is not installed: pip install 'a2f[train]'") from error
    from a2f.runtime.torch_steps import TorchSteps

    kind = device.partition(":")[0]
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not there.get(kind, False):
        have = ", ".join(name for name, here in there.items() if here)
        raise EngineError(f"this torch has no device {device!r}: there is {have}")
    if limits.gates == "sampled":
        raise EngineError("engine torch computes exact gates only: leave out --gates, or use onnxruntime")
    if threads is not None:
        torch.set_num_threads(threads)
    description = (
        f"torch {torch.__version__}, {weights.label}, {device}, {dtype}, {torch.get_num_threads()} threads"
        f"{', compiled' if compile else ''}"
    )
    steps = TorchSteps(fold(weights), device=torch.device(device), dtype=getattr(torch, dtype))
    in_tiles = limits if kind == "cpu" else replace(limits, tile_px=limits.tile_px or TILE_PX)
    tiled = TiledEngine(steps, description=description, threads=1, limits=in_tiles)  # each on all threads of torch
    if limits.tile_px:
        return tiled
    network = _Network(weights, device=device, dtype=dtype, compile=compile)
    takes = functools.partial(torch_whole_bytes if kind == "cpu" else arrays_bytes, weights.config)
    return WholeOrTiled(network, tiled, takes=takes, limits=limits, halt=network.halt)


class _Network:
    """The network of `a2f.model`, safe to share between threads."""

    def __init__(self, weights: Weights, *, device: str, dtype: str, compile: bool) -> None:
        import torch

        from a2f.model.a2f import from_weights

        self._torch, self._device, self._dtype = torch, torch.device(device), getattr(torch, dtype)
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
        """End what is under way, before its next block, with EngineError; compiled, before the next image."""
        self._halted.set()

    def _go_on(self) -> None:
        if self._halted.is_set():
            raise EngineError("stopped")

    def _run(self, batch: Array) -> Array:
        from a2f.runtime.torch_steps import is_out_of_memory

        torch = self._torch
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
