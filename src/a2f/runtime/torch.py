"""The PyTorch engine for CPU, CUDA and MPS. No other file of this package imports torch."""

import functools
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from a2f.errors import EngineError, Hint, MemoryLimitError, MissingExtraError, count_of

try:
    import torch
    import torch.nn.functional as F
    from torch import Tensor
except ImportError as missing:
    raise MissingExtraError("engine torch is not installed: pip install 'a2f[train]'") from missing

from a2f.export.builder import Graph, Node, Sides
from a2f.export.fold import Folded, fold
from a2f.export.steps import step_graph
from a2f.model.a2f import from_weights
from a2f.runtime.engine import A2FEngine, WholeRunner
from a2f.runtime.memory import Memory
from a2f.runtime.options import EngineOptions
from a2f.runtime.plan import arrays_bytes, torch_whole_bytes
from a2f.runtime.tiled import Array, Step, Steps, Tiler
from a2f.upscaler import Control
from a2f.weights import Weights

TILE_PX = 512  # tile side on GPUs: large enough for full speed, small enough for the memory of any GPU


def open_torch(weights: Weights, options: EngineOptions, memory: Memory) -> A2FEngine:
    """Open the PyTorch engine. An image that fits into memory runs as a whole, others run in tiles.

    Args:
        weights: weights of an A2F network.
        options: the options of the engine. Devices are "cpu", "cuda", "cuda:1" and "mps". `threads` applies to the
            whole process; None keeps the default of torch. With `compile`, torch.compile fuses the network at the first
            image, which takes half a minute; on CUDA, each image size is then recorded as a CUDA graph. Tiles are not
            compiled.
        memory: the memory limit that all runs share.

    Raises:
        EngineError: if the device is not available, or if sampled gates are requested.
    """
    device, dtype, threads, compile = options.device, options.dtype, options.threads, options.compile
    kind = device.partition(":")[0]
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not available.get(kind, False):
        have = ", ".join(name for name, present in available.items() if present)
        raise EngineError(
            f"this torch has no device {device!r}; available: {have}",
            Hint(text="choose another {option}", option="device"),
        )
    if options.gates == "sampled":
        raise EngineError(
            "engine torch computes exact gates only",
            Hint(text="use {option}", option="gates", value="exact"),
            Hint(text="use {option}", option="engine", value="onnxruntime"),
        )
    if threads is not None:
        torch.set_num_threads(threads)
    description = (
        f"torch {torch.__version__}, {weights.label}, {device}, {dtype}, {count_of(torch.get_num_threads(), 'thread')}"
        f"{', compiled' if compile else ''}"
    )
    steps = torch_steps(fold(weights), device=torch.device(device), dtype=getattr(torch, dtype))
    tile_px = options.tile or (0 if kind == "cpu" else TILE_PX)
    cut = Tiler(steps, threads=1, tile_px=tile_px)  # torch runs each tile on all its threads
    whole = None
    if not options.tile:
        network = TorchNetwork(weights, device=device, dtype=dtype, compile=compile)
        needed = functools.partial(torch_whole_bytes if kind == "cpu" else arrays_bytes, weights.config)
        whole = WholeRunner(run=network, needed_bytes=needed)
    return A2FEngine(scale=weights.config.scale, description=description, memory=memory, whole=whole, cut=cut)


class TorchNetwork:
    """Runs whole images with the network of `a2f.model`. Threads can share it.

    Args:
        weights: weights of an A2F network.
        device: "cpu", "cuda", "cuda:1" or "mps".
        dtype: "float32", "bfloat16" or "float16".
        compile: whether to use torch.compile.
    """

    def __init__(self, weights: Weights, *, device: str, dtype: str, compile: bool) -> None:
        self._device, self._dtype = torch.device(device), getattr(torch, dtype)
        self._watched = threading.local()  # the control of the current run, per thread
        model = from_weights(weights).eval().to(device=self._device, dtype=self._dtype)
        for module in model.modules():
            if isinstance(module, torch.nn.Conv2d):
                module.weight.data = module.weight.data.contiguous(memory_format=torch.channels_last)
        self._network: Callable[[Any], Any] = model
        self._own_thread: ThreadPoolExecutor | None = None
        if compile:
            mode = "reduce-overhead" if self._device.type == "cuda" else "default"
            self._network = torch.compile(model, dynamic=True, mode=mode)
            self._own_thread = ThreadPoolExecutor(1, "a2f-torch")  # only the thread that recorded a graph can use it
        else:
            for block in model.blocks:
                block.register_forward_pre_hook(lambda module, given: self._watched.control.check())

    def __call__(self, batch: Array, control: Control) -> Array:
        """Enlarge an image.

        Args:
            batch: [1, 3, H, W].
            control: checked before each block; with `compile`, only before the run.

        Returns:
            [1, 3, sH, sW].

        Raises:
            MemoryError: if the device has too little memory.
            Cancelled: if the run is cancelled.
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
    """Make the steps of a network, for images that run in tiles.

    Args:
        net: the folded network.
        device: the device of the computation. Inputs and outputs are in main memory.
        dtype: the precision of the computation.
    """

    def make(kind: str, number: int, sides: Sides) -> Step:
        return TorchGraph(step_graph(net, kind, number=number, sides=sides), device=device, dtype=dtype)

    return Steps(net, make)


class TorchGraph:
    """Executes a graph. Threads can share it.

    Args:
        graph: a graph of `step_graph`.
        device: the device of the computation.
        dtype: the precision of the computation.
    """

    def __init__(self, graph: Graph, *, device: torch.device, dtype: torch.dtype) -> None:
        self._device, self._dtype, self._outputs = device, dtype, tuple(graph.outputs)
        self._constants = {name: self._constant(value) for name, value in graph.constants.items()}
        uses = {name: number for number, node in enumerate(graph.nodes) for name in node.inputs}
        self._nodes = [
            (node, [name for name in node.inputs if uses[name] == number and name not in self._constants])
            for number, node in enumerate(graph.nodes)
        ]

    def __call__(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Compute the outputs from the inputs, both by name.

        Raises:
            MemoryLimitError: if the device has too little memory.
        """
        try:
            with torch.inference_mode():
                outputs = self._run({name: self._here(x) for name, x in inputs.items()})
                return {name: outputs[name].float().cpu().contiguous().numpy() for name in self._outputs}
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            raise MemoryLimitError(
                f"no memory on {self._device} for a tile", Hint(text="choose a smaller {option}", option="tile")
            ) from error

    def _run(self, tensors: dict[str, Any]) -> dict[str, Any]:
        for node, done in self._nodes:
            given = [tensors[name] if name in tensors else self._constants[name] for name in node.inputs]
            tensors[node.output] = _OPERATORS[node.kind](node, *given)
            for name in set(done).difference(self._outputs):
                del tensors[name]
        return tensors

    def _constant(self, value: NDArray[Any]) -> Any:
        """Convert a constant: integers to a list, a single number to a float, all others to a tensor."""
        if value.dtype == np.int64:
            return value.tolist()
        return float(value.item()) if value.size == 1 else self._here(value)

    def _here(self, x: Array) -> Tensor:
        layout = torch.channels_last if x.ndim == 4 else torch.preserve_format
        return torch.from_numpy(x).to(self._device, self._dtype, memory_format=layout)


def _conv(node: Node, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    pads = node.attributes["pads"]
    assert isinstance(pads, list)
    top, left, bottom, right = pads
    if top == left == bottom == right:
        return F.conv2d(x, weight, bias, padding=top)
    return F.conv2d(F.pad(x, (left, right, top, bottom)), weight, bias)


def _slice(node: Node, x: Tensor, starts: list[int], ends: list[int], axes: list[int]) -> Tensor:
    for axis, start, end in zip(axes, starts, ends, strict=True):
        x = x.narrow(axis, start, min(end if end >= 0 else x.shape[axis] + end, x.shape[axis]) - start)
    return x


_OPERATORS: dict[str, Callable[..., Tensor]] = {
    "Conv": _conv,
    "Slice": _slice,
    "Relu": lambda node, x: F.relu(x),
    "Add": lambda node, a, b: a + b,
    "Sub": lambda node, a, b: a - b,
    "Mul": lambda node, a, b: a * b,
    "DepthToSpace": lambda node, x: F.pixel_shuffle(x, node.attributes["blocksize"]),
}


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether an error of torch means too little memory. On a CPU, torch has no error type for this."""
    return isinstance(error, torch.OutOfMemoryError) or "not enough memory" in str(error)
