"""The protocol of engines: plan an image for a memory budget, then run it by that plan.

`A2FEngine` implements it for the networks of this project, on any back end. `PlainEngine` implements it for upscalers
that are only called with an image.
"""

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from a2f.errors import Hint, InputError
from a2f.runtime.memory import UNBOUNDED, Memory
from a2f.runtime.pieces import PieceRunner
from a2f.runtime.plan import Pieces, Plan, Size, Tiles, Whole
from a2f.runtime.tiled import Tiler, rows_of
from a2f.upscaler import NO_CONTROL, Control, Upscaler

Array = NDArray[np.float32]

OVERSHOOT = 0.5  # beyond [0, 1], as filters produce; values further outside are an error


@runtime_checkable
class Engine(Protocol):
    """An `Upscaler` that plans a run before it starts, and yields the result in bands from the top.

    Implementations are safe to share between threads. Their runs share one `memory`.
    """

    @property
    def scale(self) -> int:
        """The factor by which both sides are enlarged."""
        ...

    @property
    def description(self) -> str:
        """One readable line: engine, model, device, precision, threads."""
        ...

    @property
    def memory(self) -> Memory:
        """The memory that all runs of this engine share."""
        ...

    @property
    def memory_hints(self) -> tuple[Hint, ...]:
        """Advice for images that need too much memory."""
        ...

    def plan(self, size: Size, budget: int) -> Plan:
        """Decide how an image runs.

        Args:
            size: width and height of the LR image.
            budget: bytes that the run may use: `memory.budget()` minus the memory that the caller uses.

        Returns:
            The fastest plan that fits.

        Raises:
            MemoryLimitError: if no plan fits; the message has the smallest limit that works.
        """
        ...

    def min_bytes(self, size: Size) -> int:
        """The smallest budget for which there is a plan."""
        ...

    def run(self, image: NDArray[Any], plan: Any, control: Control = NO_CONTROL) -> Iterator[Array]:
        """Enlarge one image.

        Args:
            image: [H, W, 3] RGB; float32 in [0, 1], or uint8 or uint16, which are converted in parts.
            plan: a result of `plan` for this size.
            control: progress and cancellation; a cancelled run ends after the current tile.

        Returns:
            Consecutive bands [rows, scale * W, 3] float32.

        Raises:
            InputError: for another shape or dtype.
            MemoryLimitError: if there is less memory than the plan needs.
            Cancelled: if the run is cancelled.
        """
        ...

    def __call__(self, image: Array, /) -> Array:
        """Enlarge one image, see `Upscaler`; MemoryLimitError if there is too little memory."""
        ...


@dataclass(frozen=True, kw_only=True)
class WholeRunner:
    """One graph for whole images.

    Attributes:
        run: [1, 3, H, W] -> [1, 3, sH, sW], with a control; safe to share between threads; MemoryError if an image
            does not fit.
        needed_bytes: computes the memory of a run on a whole image, bytes, from its `height` and `width`.
    """

    run: Callable[[Array, Control], Array]
    needed_bytes: Callable[..., int]


class A2FEngine:
    """One network on one back end. Images that fit into the memory run whole, others in tiles or pieces.

    Args:
        scale: scale of the network.
        description: one readable line.
        memory: the memory that all runs share.
        whole: runs images that fit; None: no image runs whole.
        cut: runs all other images.
    """

    def __init__(
        self, *, scale: int, description: str, memory: Memory, whole: WholeRunner | None, cut: Tiler | PieceRunner
    ) -> None:
        self.scale, self.description, self.memory = scale, description, memory
        self._whole, self._cut = whole, cut

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.description}>"

    @property
    def memory_hints(self) -> tuple[Hint, ...]:
        """Advice for images that do not run whole, see `Engine.memory_hints`."""
        return self._cut.memory_hints

    def plan(self, size: Size, budget: int) -> Whole | Tiles | Pieces:
        """Decide how an image runs, see `Engine.plan`."""
        cut = self._cut.plan(size, budget)
        if self._whole is not None:
            needed = self._whole.needed_bytes(height=size[1], width=size[0])
            if needed <= budget:
                return Whole(needed_bytes=needed, otherwise=cut or self._cut.smallest(size))
        if cut is None:
            raise self.memory.error(
                size_text(size, self.scale), self.min_bytes(size) - budget, memory_hints=self.memory_hints
            )
        return cut

    def min_bytes(self, size: Size) -> int:
        """The smallest budget for which there is a plan."""
        least = self._cut.min_bytes(size)
        return least if self._whole is None else min(least, self._whole.needed_bytes(height=size[1], width=size[0]))

    def run(self, image: NDArray[Any], plan: Whole | Tiles | Pieces, control: Control = NO_CONTROL) -> Iterator[Array]:
        """Enlarge one image by a plan, see `Engine.run`."""
        check_image(image, integers=True)
        control.check()
        if isinstance(plan, Whole):
            assert self._whole is not None
            assert plan.otherwise is not None
            large = None
            with suppress(MemoryError):
                large = self._whole.run(_batch(floats_of(image)), control)
            if large is not None:
                yield to_image(large)
                control.tell(1.0)
                return
            plan = plan.otherwise
        yield from self._cut.run(image, plan, control)  # type: ignore[arg-type]  # a plan of this object

    def __call__(self, image: Array, /) -> Array:
        """Enlarge one image, see `Upscaler`; MemoryLimitError if there is too little memory."""
        return enlarge(self, image)


class PlainEngine:
    """An `Engine` around an upscaler that is only called with whole images, with unknown memory use.

    Args:
        upscaler: the upscaler.
    """

    memory_hints: tuple[Hint, ...] = ()

    def __init__(self, upscaler: Upscaler) -> None:
        self._upscaler = upscaler
        self.memory = Memory(UNBOUNDED)

    @property
    def scale(self) -> int:
        """The factor by which both sides are enlarged."""
        return self._upscaler.scale

    @property
    def description(self) -> str:
        """One readable line."""
        return getattr(self._upscaler, "description", type(self._upscaler).__name__)

    def plan(self, size: Size, budget: int) -> Whole:
        """All images run whole."""
        return Whole()

    def min_bytes(self, size: Size) -> int:
        """Always 0, because the memory use is unknown."""
        return 0

    def run(self, image: NDArray[Any], plan: Whole, control: Control = NO_CONTROL) -> Iterator[Array]:
        """Enlarge one image; a call that has started cannot be cancelled."""
        control.check()
        yield self._upscaler(np.ascontiguousarray(floats_of(check_image(image, integers=True))))
        control.tell(1.0)

    def __call__(self, image: Array, /) -> Array:
        """Enlarge one image, see `Upscaler`."""
        return enlarge(self, image)


def engine_of(upscaler: Upscaler) -> Engine:
    """The upscaler itself if it plans its runs, otherwise an engine around it."""
    return upscaler if isinstance(upscaler, Engine) else PlainEngine(upscaler)


def enlarge(engine: Engine, image: Array, *, control: Control = NO_CONTROL) -> Array:
    """Enlarge one image within the memory of an engine, and return the whole result.

    Args:
        engine: the engine.
        image: [H, W, 3] float32 RGB in [0, 1].
        control: progress and cancellation.

    Raises:
        InputError, MemoryLimitError, Cancelled: see `Engine.plan` and `Engine.run`.
    """
    height, width = check_image(image).shape[:2]
    s = engine.scale
    result_bytes = 12 * s * s * height * width
    plan = engine.plan((width, height), engine.memory.budget() - result_bytes)
    with engine.memory.take(plan.needed_bytes + result_bytes, control):
        bands = engine.run(image, plan, control)
        first = next(bands)
        if len(first) == s * height:
            for _ in bands:  # so that the run ends and frees its memory
                pass
            return first
        large = np.empty((s * height, s * width, 3), np.float32)
        large[: len(first)], top = first, len(first)
        for band in bands:
            large[top : top + len(band)] = band
            top += len(band)
    return large


def size_text(size: Size, scale: int) -> str:
    """The size of an image and the scale, for error messages."""
    return f"{size[0]} x {size[1]} pixels at x{scale}"


def check_image(image: NDArray[Any], *, integers: bool = False) -> NDArray[Any]:
    """Return an image if an upscaler accepts it.

    Args:
        image: [H, W, 3] float32, finite, in [0, 1] or slightly outside, H and W at least 1.
        integers: accept uint8 and uint16 too; their range stands for [0, 1].

    Raises:
        InputError: for all other images.
    """
    dtypes = (np.float32, np.uint8, np.uint16) if integers else (np.float32,)
    if not isinstance(image, np.ndarray) or image.dtype not in dtypes or image.ndim != 3 or image.shape[2] != 3:
        got = f"{image.dtype} {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
        raise InputError(f"an upscaler takes [H, W, 3] float32 RGB in [0, 1], not {got}")
    if image.size == 0:
        raise InputError(f"an image of {image.shape[1]} x {image.shape[0]} pixels is empty")
    if image.dtype != np.float32:
        return image
    low, high = float(image.min()), float(image.max())
    if not np.isfinite(high - low):
        raise InputError("the image holds NaN or infinity")
    if low < -OVERSHOOT or high > 1 + OVERSHOOT:
        raise InputError(
            f"an upscaler takes values in [0, 1], not in [{low:g}, {high:g}]: divide by the value of white, often 255"
        )
    return image


def floats_of(image: NDArray[Any]) -> Array:
    """Convert an image of any dtype that engines accept to float32 in [0, 1]."""
    return rows_of(image)(0, len(image)).transpose(1, 2, 0)


def to_batch(image: Array) -> Array:
    """[H, W, 3] -> [1, 3, H, W], contiguous; checked by `check_image`."""
    return _batch(check_image(image))


def _batch(image: Array) -> Array:
    return np.ascontiguousarray(image.transpose(2, 0, 1)[None])


def to_image(x: Array) -> Array:
    """[1, 3, H, W] -> [H, W, 3]."""
    image: Array = x[0].transpose(1, 2, 0)
    return image
