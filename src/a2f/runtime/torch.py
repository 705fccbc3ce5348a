"""PyTorch: CPU, CUDA and MPS. The only file here that imports torch."""

import functools
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from a2f.errors import EngineError, Hint, MemoryLimitError, MissingExtraError

try:
    import torch
    import torch.nn.functional as F
    from torch import Tensor
except ImportError as missing:
    raise MissingExtraError("engine torch is not installed: pip install 'a2f[train]'") from missing

from a2f.export.builder import ALL_SIDES, Sides
from a2f.export.fold import Conv, Folded, FoldedBlock, fold
from a2f.export.steps import BLOCK_HALO_PX, middle_of
from a2f.model.a2f import from_weights
from a2f.runtime.engine import A2FEngine, WholeRunner
from a2f.runtime.memory import Memory
from a2f.runtime.plan import Limits, arrays_bytes, torch_whole_bytes
from a2f.runtime.tiled import Array, Step, Steps, Tiler
from a2f.upscaler import Control
from a2f.weights import Weights

TILE_PX = 512  # on other devices than the CPU: large enough to fill them, small enough for any of them

Layer = Callable[[Tensor], Tensor]


def open_torch(
    weights: Weights,
    *,
    device: str,
    dtype: str,
    threads: int | None,
    compile: bool,
    limits: Limits,
    memory: Memory,
) -> A2FEngine:
    """Images whole where they fit into the memory, that of the device too, otherwise tile by tile.

    Args:
        weights: of any network of the family.
        device: "cpu", "cuda", "cuda:1" or "mps".
        dtype: "float32", "bfloat16" or "float16".
        threads: of the whole process, as torch counts them; None leaves torch's own choice.
        compile: fuse the network by torch.compile, once for all sizes, at the first image, which takes half a minute;
            on CUDA each size is then recorded as a graph and launched at once. Tiles are not compiled.
        limits: what a run may take of the memory of the process.
        memory: what all runs may take of it together.

    Raises:
        EngineError: if there is no such device, or sampled gates are asked for.
    """
    kind = device.partition(":")[0]
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not there.get(kind, False):
        have = ", ".join(name for name, here in there.items() if here)
        raise EngineError(
            f"this torch has no device {device!r}: there is {have}",
            Hint(text="choose another {option}", option="device"),
        )
    if limits.gates == "sampled":
        raise EngineError(
            "engine torch computes exact gates only",
            Hint(text="use {option}", option="gates", value="exact"),
            Hint(text="use {option}", option="engine", value="onnxruntime"),
        )
    if threads is not None:
        torch.set_num_threads(threads)
    description = (
        f"torch {torch.__version__}, {weights.label}, {device}, {dtype}, {torch.get_num_threads()} threads"
        f"{', compiled' if compile else ''}"
    )
    steps = torch_steps(fold(weights), device=torch.device(device), dtype=getattr(torch, dtype))
    tile_px = limits.tile_px or (0 if kind == "cpu" else TILE_PX)
    cut = Tiler(steps, threads=1, tile_px=tile_px)  # each tile on all threads of torch
    whole = None
    if not limits.tile_px:
        network = TorchNetwork(weights, device=device, dtype=dtype, compile=compile)
        takes = functools.partial(torch_whole_bytes if kind == "cpu" else arrays_bytes, weights.config)
        whole = WholeRunner(run=network, takes=takes)
    return A2FEngine(scale=weights.config.scale, description=description, memory=memory, whole=whole, cut=cut)


class TorchNetwork:
    """The network of `a2f.model` for whole images, safe to share between threads; arguments as `open_torch`."""

    def __init__(self, weights: Weights, *, device: str, dtype: str, compile: bool) -> None:
        self._device, self._dtype = torch.device(device), getattr(torch, dtype)
        self._watched = threading.local()  # the control of the run of this thread
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
                block.register_forward_pre_hook(lambda module, given: self._watched.control.check())

    def __call__(self, batch: Array, control: Control) -> Array:
        """Enlarge an image.

        Args:
            batch: [1, 3, H, W].
            control: ends the run before its next block; compiled, before it begins.

        Returns:
            [1, 3, sH, sW].

        Raises:
            MemoryError: where the device has too little memory.
            Cancelled: once the run is cancelled.
        """
        if self._own_thread is None:
            return self._run(batch, control)
        return self._own_thread.submit(self._run, batch, control).result()

    def _run(self, batch: Array, control: Control) -> Array:
        control.check()
        self._watched.control = control
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
        finally:
            self._watched.control = Control()
        return sr


def torch_steps(net: Folded, *, device: torch.device, dtype: torch.dtype) -> Steps:
    """The steps of a network, for images that run in tiles.

    Args:
        net: folded.
        device: where the steps run; what they read and write is in the memory of the CPU.
        dtype: of their computation.
    """
    return Steps(net, _TorchSteps(net, device=device, dtype=dtype).make)


class _TorchSteps:
    """What `a2f.export.steps` draws for the other engines; arguments as `torch_steps`."""

    def __init__(self, net: Folded, *, device: torch.device, dtype: torch.dtype) -> None:
        self.net, self._device, self._dtype = net, device, dtype
        self._mean = self._here(net.mean)

    def make(self, kind: str, number: int, sides: Sides) -> Step:
        """Open a step, as `Steps` asks for it."""
        make = {"head": self._head, "exchange": self._exchange, "tail": self._tail}
        run = self._block(number, sides) if kind == "block" else make[kind](sides)

        def step(inputs: Mapping[str, Array]) -> dict[str, Array]:
            try:
                with torch.inference_mode():
                    outputs = run({name: self._here(x) for name, x in inputs.items()})
                    return {name: y.float().cpu().contiguous().numpy() for name, y in outputs.items()}
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
                raise MemoryLimitError(
                    f"no memory on {self._device} for a tile", Hint(text="choose a smaller {option}", option="tile")
                ) from error

        return step

    def _head(self, sides: Sides) -> Callable[[dict[str, Tensor]], dict[str, Tensor]]:
        head = self._layer(self.net.head, sides)
        return lambda given: {"x": head(given["lr"] - self._mean)}

    def _block(self, number: int, sides: Sides) -> Callable[[dict[str, Tensor]], dict[str, Tensor]]:
        net, block = self.net, self.net.blocks[number - 1]
        conv1, conv2 = self._layer(block.conv1, sides), self._layer(block.conv2, sides)
        auxiliary = self._auxiliary(block, number) if block.proj else None
        own = None
        if block.proj and middle_of(net) < number < len(net.blocks):
            own = self._layer(_stacked([later.proj[number] for later in net.blocks[number:]], axis=0))
        c = net.config.channels

        def run(given: dict[str, Tensor]) -> dict[str, Tensor]:
            inside = _inside(given["before"], BLOCK_HALO_PX, sides)
            x = conv2(F.relu(conv1(given["before"]))) + block.lambda_x * inside
            if auxiliary is not None:
                x = x + given["gate"] * auxiliary(inside, given)
            return {"x": x} if own is None else {"x": x, "later": own(x) + given["sums"][:, c:]}

        return run

    def _auxiliary(self, block: FoldedBlock, number: int) -> Callable[[Tensor, dict[str, Tensor]], Tensor]:
        """p_i (Eq. 6) of what a block is given."""
        c = self.net.config.channels
        if number > middle_of(self.net):
            return lambda inside, given: given["sums"][:, :c]
        last = self._layer(block.proj[-1])
        if number == 1:
            return lambda inside, given: last(inside)
        earlier = self._layer(_stacked(block.proj[:-1], axis=1))
        return lambda inside, given: earlier(given["earlier"]) + last(inside)

    def _exchange(self, sides: Sides) -> Callable[[dict[str, Tensor]], dict[str, Tensor]]:
        k = middle_of(self.net)
        rows = [_stacked(block.proj[: k + 1], axis=1) for block in self.net.blocks[k:]]
        sums = self._layer(_stacked(rows, axis=0))
        return lambda given: {"sums": sums(given["features"])}

    def _tail(self, sides: Sides) -> Callable[[dict[str, Tensor]], dict[str, Tensor]]:
        tail, skip = self._layer(self.net.tail, sides), self._layer(self.net.skip, sides)
        scale = self.net.config.scale
        return lambda given: {"sr": F.pixel_shuffle(tail(given["before"]) + skip(given["lr"] - self._mean), scale)}

    def _layer(self, conv: Conv, sides: Sides = ALL_SIDES) -> Layer:
        """A convolution that pads with zeros at those sides that are the image's own border."""
        weight = self._here(conv.weight).contiguous(memory_format=torch.channels_last)
        bias = None if conv.bias is None else self._here(conv.bias)
        radius = conv.weight.shape[-1] // 2
        if all(sides) or radius == 0:
            return lambda x: F.conv2d(x, weight, bias, padding=radius)
        top, left, bottom, right = (radius if border else 0 for border in sides)
        return lambda x: F.conv2d(F.pad(x, (left, right, top, bottom)), weight, bias)

    def _here(self, x: Array) -> Tensor:
        layout = torch.channels_last if x.ndim == 4 else torch.preserve_format
        return torch.from_numpy(x).to(self._device, self._dtype, memory_format=layout)


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether torch found no memory, on a device or, with an error that has no name of its own, on the CPU."""
    return isinstance(error, torch.OutOfMemoryError) or "not enough memory" in str(error)


def _stacked(convs: Sequence[Conv], *, axis: int) -> Conv:
    """1x1 convolutions without bias as one: over more outputs (axis 0) or inputs (1)."""
    return Conv(weight=np.concatenate([conv.weight for conv in convs], axis=axis))


def _inside(x: Tensor, halo: int, sides: Sides) -> Tensor:
    top, left, bottom, right = (0 if border else halo for border in sides)
    return x[:, :, top : x.shape[2] - bottom, left : x.shape[3] - right]
