"""An upscaler that runs tile by tile, on any engine that opens the steps of a network."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from a2f.export.fold import Folded
from a2f.runtime.arrays import check_image
from a2f.runtime.plan import Limits, Plan, make_plan
from a2f.runtime.sampled import WINDOW_PX, sampled_gates
from a2f.runtime.tiled import Array, Rows, Steps, TiledRun
from a2f.upscaler import Described


class TiledEngine(Described):
    """Runs the steps of a network; safe to share between threads.

    Args:
        steps: of the network.
        description: one line for people.
        threads: tiles at a time.
        limits: what a run may take.
    """

    def __init__(self, steps: Steps, *, description: str, threads: int, limits: Limits) -> None:
        self._steps, self._threads, self._limits = steps, threads, limits
        self.scale, self.description = steps.net.config.scale, description
        self._stopped = threading.Event()
        self.on_progress: Callable[[float], None] = lambda share: None
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="a2f-tile")

    def __call__(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        """Enlarge one image, as `Upscaler` says; EngineError if the memory does not suffice."""
        height, width = check_image(image).shape[:2]
        s = self.scale
        out = np.empty((s * height, s * width, 3), np.float32)
        top = 0
        for band in self._bands(image, out.nbytes):
            out[top : top + band.shape[0]] = band
            top += band.shape[0]
        return out

    def stop(self) -> None:
        """As `BandUpscaler.stop`."""
        self._stopped.set()

    def bands(self, image: NDArray[Any]) -> Iterator[NDArray[np.float32]]:
        """Enlarge one image band by band, as `BandUpscaler` says."""
        yield from self._bands(check_image(image, integers=True), 0)

    def _bands(self, image: NDArray[Any], held_bytes: int) -> Iterator[NDArray[np.float32]]:
        for band in self._run(image, image.nbytes + held_bytes):
            yield band.transpose(1, 2, 0)

    def _run(self, image: NDArray[Any], taken: int) -> Iterator[Array]:
        height, width = image.shape[:2]
        net, rows = self._steps.net, rows_of(image)
        sampled = self._limits.gates == "sampled" and net.config.attention and min(height, width) >= WINDOW_PX
        part = min(height, strip_rows(net) + 2 * net.config.receptive_radius_px) if sampled else height
        plan = make_plan(net, height=part, width=width, threads=self._threads, limits=self._limits, taken_bytes=taken)
        if not sampled:
            return iter(self._tiled(rows, height, width, plan))
        return self._strips(rows, height, width, plan)

    def _tiled(self, rows: Rows, height: int, width: int, plan: Plan, gates: list[Array] | None = None) -> TiledRun:
        return TiledRun(
            self._steps,
            rows,
            height=height,
            width=width,
            plan=plan,
            pool=self._pool,
            gates=gates,
            stopped=self._stopped.is_set,
            progress=self.on_progress if gates is None else lambda share: None,
        )

    def _strips(self, rows: Rows, height: int, width: int, plan: Plan) -> Iterator[Array]:
        """Each strip of the image for itself, with all the rows that it depends on: the gates are known before."""
        gates = sampled_gates(self._steps, rows, height=height, width=width)
        s, halo = self.scale, self._steps.net.config.receptive_radius_px
        step = strip_rows(self._steps.net)
        for top in range(0, height, step):
            bottom = min(height, top + step)
            above, below = max(0, top - halo), min(height, bottom + halo)
            inside = partial(_shifted, rows, above)
            run = self._tiled(inside, below - above, width, plan, gates)
            strip = np.concatenate(list(run), axis=1)
            self.on_progress(bottom / height)
            yield strip[:, s * (top - above) : s * (bottom - above)]


def _shifted(rows: Rows, above: int, top: int, bottom: int) -> Array:
    return rows(above + top, above + bottom)


def strip_rows(net: Folded) -> int:
    """Rows of a strip when the gates are sampled: enough that what is computed twice is about a tenth."""
    return 5 * net.config.receptive_radius_px


def rows_of(image: NDArray[Any]) -> Rows:
    """Rows of an image [H, W, 3] as the networks take them, converted when they are asked for."""
    top_value = np.float32(np.iinfo(image.dtype).max) if image.dtype.kind == "u" else None

    def rows(top: int, bottom: int) -> Array:
        part = image[top:bottom].transpose(2, 0, 1)
        values: Array = part if top_value is None else part.astype(np.float32) / top_value
        return values

    return rows
