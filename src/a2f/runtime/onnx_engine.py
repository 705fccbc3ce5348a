"""The default engine: onnxruntime, fp32."""

import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from a2f.errors import Cancelled, EngineError
from a2f.export.builder import Sides
from a2f.export.fold import fold
from a2f.export.graph import export_onnx
from a2f.export.session import make_session
from a2f.export.steps import block_step, exchange_step, head_step, tail_step
from a2f.runtime.arrays import to_batch, to_image
from a2f.runtime.memory import whole_bytes
from a2f.runtime.pieces import PiecesEngine
from a2f.runtime.plan import Limits
from a2f.runtime.tiled import Array, Step, Steps
from a2f.runtime.tiled_engine import TiledEngine
from a2f.runtime.whole_or_tiled import WholeOrTiled
from a2f.upscaler import BandUpscaler, Described, Upscaler
from a2f.weights import Weights

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

KEPT_PX = 250_000
PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}


def open_onnx_engine(weights: Weights, *, device: str, threads: int, limits: Limits) -> Upscaler:
    """On the CPU, images whole where they fit into the memory, otherwise tile by tile; on CUDA, whole.

    Args:
        weights: of any network of the family.
        device: "cpu" or "cuda".
        threads: tiles at a time.
        limits: what a run may take, on the CPU.

    Raises:
        EngineError: if the device is unknown or this onnxruntime has no provider for it.
    """
    import onnxruntime

    provider = PROVIDERS.get(device)
    if provider is None:
        raise EngineError(f"engine onnxruntime has no device {device!r}: choose cpu or cuda")
    if provider not in onnxruntime.get_available_providers():
        raise EngineError("this onnxruntime has no CUDA provider: install onnxruntime-gpu, or use --device cpu")
    description = f"onnxruntime {onnxruntime.__version__}, {weights.label}, {device}, float32"
    if device != "cpu":
        return WholeOnnxEngine(weights, provider=provider, description=description)
    description += f", {threads} thread{'s' if threads > 1 else ''}"
    plain, give_back = onnxruntime.RunOptions(), onnxruntime.RunOptions()
    give_back.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")

    shared = limits.max_memory_bytes is not None and not limits.alone

    def run(session: "InferenceSession", x: Array, gates: Mapping[str, Array], *, last: bool = False) -> Array:
        # what a large image took goes back to the system; for small ones that would cost more than it is worth
        options = give_back if last or shared or x.shape[2] * x.shape[3] > KEPT_PX else plain
        try:
            (sr,) = session.run(None, {"lr": x, **gates}, options)
        except Exception as error:  # of a kind that onnxruntime does not export
            if plain.terminate:
                raise Cancelled("stopped") from error
            if "bad_alloc" in str(error) or "Failed to allocate" in str(error):
                raise MemoryError(f"no memory for {x.shape[3]} x {x.shape[2]} pixels at a time") from error
            raise
        return np.asarray(sr, dtype=np.float32)

    def halt() -> None:
        plain.terminate = give_back.terminate = True

    @functools.cache
    def session_for_pieces() -> "InferenceSession":
        return make_session(export_onnx(weights, gates_given=True), threads=threads, shared_memory=True)

    steps = OnnxSteps(fold(weights))
    rest: BandUpscaler
    if limits.gates == "sampled":
        rest = PiecesEngine(
            lambda x, gates, last: run(session_for_pieces(), x, gates, last=last),
            steps,
            description=description,
            threads=threads,
            limits=limits,
        )
    else:
        rest = TiledEngine(steps, description=description, threads=threads, limits=limits)
    if limits.tile_px:
        return rest
    session = make_session(export_onnx(weights), threads=threads)
    takes = functools.partial(whole_bytes, weights.config)
    return WholeOrTiled(lambda x: run(session, x, {}), rest, takes=takes, limits=limits, halt=halt)


class OnnxSteps(Steps):
    """Each step a graph of onnxruntime, on one thread."""

    def make(self, kind: str, number: int, sides: Sides) -> Step:
        """As `Steps`."""
        session = make_session(self._drawn(kind, number, sides), threads=1, shared_memory=True)
        names = [output.name for output in session.get_outputs()]

        def step(inputs: Mapping[str, Array]) -> dict[str, Array]:
            return dict(zip(names, session.run(names, dict(inputs)), strict=True))

        return step

    def _drawn(self, kind: str, number: int, sides: Sides) -> bytes:
        if kind == "head":
            return head_step(self.net, sides=sides)
        if kind == "block":
            return block_step(self.net, number, sides=sides)
        return exchange_step(self.net) if kind == "exchange" else tail_step(self.net, sides=sides)


class WholeOnnxEngine(Described):
    """Runs the graph of `export_onnx` on whole images.

    Args:
        weights: of any network of the family.
        provider: of onnxruntime.
        description: one line for people.
    """

    def __init__(self, weights: Weights, *, provider: str, description: str) -> None:
        self.scale, self.description = weights.config.scale, description
        self._session = make_session(export_onnx(weights), threads=1, providers=[provider])

    def __call__(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        """Enlarge one image, as `Upscaler` says."""
        (sr,) = self._session.run(None, {"lr": to_batch(image)})
        return to_image(sr)
