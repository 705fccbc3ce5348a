"""A network for the frames of a video whose channel gates are smoothed over time.

The gates pool over the whole image (Eq. 7), so noise and cuts of the picture at its borders move them from frame to
frame, and with them the whole picture. Here the gate of a block is a mean of its own and of the one used for the frame
before. docs/video.md has what that changes.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from a2f.errors import UsageError
from a2f.export.builder import GraphBuilder
from a2f.export.fold import fold
from a2f.export.graph import LR_SHAPE, add_network
from a2f.export.session import make_session
from a2f.runtime.engine import to_batch, to_image
from a2f.weights import Weights

OWN_SHARE = 0.25  # share of the gates of the frame; the rest are the gates of the frame before
CUT = 0.08  # mean difference of two frames that starts a new scene


class TemporalUpscaler:
    """An upscaler for consecutive frames. It keeps the gates of the last frame, so it is for one video and one thread.

    Args:
        weights: weights of a network with channel attention.
        threads: threads of a run.
        share: share of the gates of the frame, in (0, 1]; at 1 frames are independent.

    Raises:
        UsageError: for a network without gates, or another share.
    """

    def __init__(self, weights: Weights, *, threads: int, share: float = OWN_SHARE) -> None:
        config = weights.config
        if not (config.attention and config.projection):
            raise UsageError(f"{weights.name} has no channel gates, so there are no temporal gates")
        if not 0 < share <= 1:
            raise UsageError(f"share {share}: choose a number above 0 and at most 1")
        self.scale, self._share, self._blocks, self._channels = config.scale, share, config.blocks, config.channels
        self.description = f"onnxruntime, {weights.label}, cpu, float32, {threads} threads, temporal gates {share:g}"
        self._session = make_session(_graph_of(weights), threads=threads)
        self._names = [output.name for output in self._session.get_outputs()]
        self.reset()

    def reset(self) -> None:
        """Forget the frames before, at the start of a scene."""
        self._before: NDArray[np.float32] | None = None
        self._gates = {f"before_{i}": np.zeros((1, self._channels, 1, 1), np.float32) for i in self._numbers}

    def __call__(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        """Enlarge the next frame, see `Upscaler`."""
        x = to_batch(image)
        if self._before is None or self._before.shape != x.shape or float(np.abs(x - self._before).mean()) > CUT:
            self.reset()
        share = 1.0 if self._before is None else self._share
        parts = {"share": _number(share), "rest": _number(1 - share)}
        made: list[Any] = self._session.run(self._names, {"lr": x, **parts, **self._gates})
        found = dict(zip(self._names, made, strict=True))
        self._gates = {f"before_{i}": found[f"used_{i}"] for i in self._numbers}
        self._before = x
        return to_image(found["sr"])

    @property
    def _numbers(self) -> range:
        return range(1, self._blocks + 1)


def _number(value: float) -> NDArray[np.float32]:
    return np.full((1, 1, 1, 1), value, np.float32)


def _graph_of(weights: Weights) -> bytes:
    graph, config = GraphBuilder(), weights.config
    add_network(graph, fold(weights), gates_mixed=True)
    gate, one = (1, config.channels, 1, 1), (1, 1, 1, 1)
    numbers = range(1, config.blocks + 1)
    made = graph.graph(
        inputs={"lr": LR_SHAPE, "share": one, "rest": one, **{f"before_{i}": gate for i in numbers}},
        outputs={"sr": ("batch", 3, f"{config.scale}*height", f"{config.scale}*width")}
        | {f"used_{i}": gate for i in numbers},
    )
    return made.to_onnx(f"a2f_{config.variant}_x{config.scale}_temporal")
