"""PyTorch: CPU, CUDA and MPS."""

import functools
from dataclasses import replace

from a2f.errors import EngineError, MissingExtraError
from a2f.export.fold import fold
from a2f.runtime.memory import arrays_bytes, torch_whole_bytes
from a2f.runtime.plan import Limits
from a2f.runtime.tiled_engine import TiledEngine
from a2f.runtime.whole_or_tiled import WholeOrTiled
from a2f.upscaler import BandUpscaler
from a2f.weights import Weights

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
        MissingExtraError: if torch is not installed.
        EngineError: if it has no such device, or sampled gates are asked for.
    """
    try:
        import torch
    except ImportError as error:
        raise MissingExtraError("engine torch is not installed: pip install 'a2f[train]'") from error
    from a2f.runtime.torch_network import TorchNetwork
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
    network = TorchNetwork(weights, device=device, dtype=dtype, compile=compile)
    takes = functools.partial(torch_whole_bytes if kind == "cpu" else arrays_bytes, weights.config)
    return WholeOrTiled(network, tiled, takes=takes, limits=limits, halt=network.halt)
