"""The default engine: onnxruntime, fp32."""

import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from a2f.errors import Cancelled, EngineError, Hint, count_of
from a2f.export.builder import Sides
from a2f.export.fold import Folded, fold
from a2f.export.graph import export_onnx
from a2f.export.session import make_session
from a2f.export.steps import step_graph
from a2f.machine import usable_cores
from a2f.runtime.engine import A2FEngine, PlainEngine, WholeRunner, to_batch, to_image
from a2f.runtime.memory import Memory
from a2f.runtime.options import EngineOptions
from a2f.runtime.pieces import PieceRunner
from a2f.runtime.plan import whole_bytes
from a2f.runtime.tiled import Array, Step, Steps, Tiler
from a2f.upscaler import Control
from a2f.weights import Weights

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

KEPT_PX = 250_000
WATCHED_PX = 30_000  # smaller images are done before a cancellation is noticed
PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}


def open_onnx(weights: Weights, options: EngineOptions, memory: Memory) -> A2FEngine:
    """Open onnxruntime on the CPU. Images that fit into the memory run whole, others in tiles or pieces.

    Args:
        weights: weights of an A2F network.
        options: threads, tile and gates.
        memory: the memory that all runs share.
    """
    import onnxruntime

    threads, tile_px = options.threads or usable_cores(), options.tile
    description = f"onnxruntime {onnxruntime.__version__}, {weights.label}, cpu, float32, {count_of(threads, 'thread')}"
    steps = onnx_steps(fold(weights))
    cut: Tiler | PieceRunner
    if options.gates == "sampled":

        @functools.cache
        def with_gates() -> "InferenceSession":
            return make_session(export_onnx(weights, gates_given=True), threads=threads, shared_memory=True)

        def graph(x: Array, gates: Mapping[str, Array], control: Control, last: bool) -> Array:
            return _run(with_gates(), x, gates, control, releases=last or memory.releases)

        exact = (Hint(text="use {option}", option="gates", value="exact"),)
        cut = PieceRunner(graph, steps, threads=threads, tile_px=tile_px, memory_hints=exact)
    else:
        cut = Tiler(steps, threads=threads, tile_px=tile_px)
    whole = None
    if not tile_px:
        session = make_session(export_onnx(weights), threads=threads, shared_memory=memory.releases)
        needed_bytes = functools.partial(whole_bytes, weights.config)

        def run(x: Array, control: Control) -> Array:
            releases = not memory.keeps(needed_bytes(height=x.shape[2], width=x.shape[3]))
            return _run(session, x, {}, control, releases=releases)

        whole = WholeRunner(run=run, needed_bytes=needed_bytes)
    return A2FEngine(scale=weights.config.scale, description=description, memory=memory, whole=whole, cut=cut)


def open_onnx_on_device(weights: Weights, *, device: str) -> PlainEngine:
    """Open onnxruntime on a device other than the CPU. All images run whole.

    Args:
        weights: weights of an A2F network.
        device: "cuda".

    Raises:
        EngineError: if the device is unknown, or this onnxruntime has no provider for it.
    """
    import onnxruntime

    provider = PROVIDERS.get(device)
    if provider is None:
        choice = Hint(text="choose cpu or cuda with {option}", option="device")
        raise EngineError(f"onnxruntime has no device {device!r}", choice)
    if provider not in onnxruntime.get_available_providers():
        raise EngineError(
            "this onnxruntime has no CUDA provider",
            Hint(text="install onnxruntime-gpu"),
            Hint(text="use {option}", option="device", value="cpu"),
        )
    description = f"onnxruntime {onnxruntime.__version__}, {weights.label}, {device}, float32"
    return PlainEngine(WholeGraph(weights, provider=provider, description=description))


class WholeGraph:
    """An `Upscaler` that runs the graph of `export_onnx` on whole images.

    Args:
        weights: weights of an A2F network.
        provider: provider of onnxruntime.
        description: one readable line.
    """

    def __init__(self, weights: Weights, *, provider: str, description: str) -> None:
        self.scale, self.description = weights.config.scale, description
        self._session = make_session(export_onnx(weights), threads=1, providers=[provider])

    def __call__(self, image: Array) -> Array:
        """Enlarge one image, see `Upscaler`."""
        (sr,) = self._session.run(None, {"lr": to_batch(image)})
        return to_image(sr)


def _run(
    session: "InferenceSession", x: Array, gates: Mapping[str, Array], control: Control, *, releases: bool
) -> Array:
    """Run a graph; MemoryError if there is too little memory, Cancelled soon after the run is cancelled."""
    import onnxruntime

    options, size_px = onnxruntime.RunOptions(), x.shape[2] * x.shape[3]
    # release the memory of a large image; for small images this would cost too much time
    if releases or size_px > KEPT_PX:
        options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")

    def end() -> None:
        options.terminate = True

    try:
        with (control if size_px > WATCHED_PX else Control()).ending(end):
            (sr,) = session.run(None, {"lr": x, **gates}, options)
    except Exception as error:  # onnxruntime does not export its exception types
        if options.terminate:
            raise Cancelled("stopped") from error
        if "bad_alloc" in str(error) or "Failed to allocate" in str(error):
            raise MemoryError(f"no memory for {x.shape[3]} x {x.shape[2]} pixels at a time") from error
        raise
    return np.asarray(sr, dtype=np.float32)


def onnx_steps(net: Folded) -> Steps:
    """The steps of a network, each a graph of onnxruntime with one thread."""

    def make(kind: str, number: int, sides: Sides) -> Step:
        graph = step_graph(net, kind, number=number, sides=sides)
        session = make_session(graph.to_onnx("step"), threads=1, shared_memory=True)
        names = [output.name for output in session.get_outputs()]

        def step(inputs: Mapping[str, Array]) -> dict[str, Array]:
            return dict(zip(names, session.run(names, dict(inputs)), strict=True))

        return step

    return Steps(net, make)
