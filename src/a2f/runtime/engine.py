"""The protocol of engines: an image is planned for a number of bytes, then run by that plan.

`A2FEngine` answers it for the networks of this project, on any back end; `PlainEngine` for everything that is only
called with an image.
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
from a2f.upscaler import UNWATCHED, Control, Upscaler

Array = NDArray[np.float32]

BEYOND = 0.5  # [0, 1]: what other filters overshoot is taken, another range of values is not


@runtime_checkable
class Engine(Protocol):
    """An `Upscaler` that plans a run before it starts, and gives the result from the top, band by band.

    Implementations are safe to share between threads. Their runs share one `memory`.
    """

    @property
    def scale(self) -> int:
        """The factor by which both sides grow."""
        ...

    @property
    def description(self) -> str:
        """One line for people: engine, model, device, precision, threads."""
        ...

    @property
    def memory(self) -> Memory:
        """What all runs of this engine may take together."""
        ...

    @property
    def ways_out(self) -> tuple[Hint, ...]:
        """What would need less memory, for people."""
        ...

    def plan(self, size: Size, budget: int) -> Plan:
        """Decide how an image runs.

        Args:
            size: width and height of the LR image.
            budget: bytes that the run may take; `memory.budget()`, less what the caller holds meanwhile.

        Returns:
            The quickest way that fits.

        Raises:
            MemoryLimitError: if none does; says the least that works.
        """
        ...

    def least_bytes(self, size: Size) -> int:
        """The smallest budget for which there is a plan."""
        ...

    def run(self, image: NDArray[Any], plan: Any, control: Control = UNWATCHED) -> Iterator[Array]:
        """Enlarge one image.

        Args:
            image: [H, W, 3] RGB; float32 in [0, 1], or uint8 or uint16, which are converted as they are needed.
            plan: of `plan`, for this size.
            control: watches the run, and ends it within a tile's time.

        Returns:
            [rows, scale * W, 3] at a time, consecutive, as `Upscaler` gives them.

        Raises:
            InputError: for another shape or dtype.
            MemoryLimitError: if there is less memory than the plan needs.
            Cancelled: once the run is cancelled.
        """
        ...

    def __call__(self, image: Array, /) -> Array:
        """Enlarge one image, as `Upscaler` says; MemoryLimitError if the memory does not suffice."""
        ...


@dataclass(frozen=True, kw_only=True)
class WholeRunner:
    """One graph for whole images.

    Attributes:
        run: [1, 3, H, W] -> [1, 3, sH, sW], watched; safe to share between threads; MemoryError where an image does
            not fit after all.
        takes: bytes that a whole image takes, of its `height` and `width`.
    """

    run: Callable[[Array, Control], Array]
    takes: Callable[..., int]


class A2FEngine:
    """One network on one back end: images run whole where they fit, which is quickest, all others in tiles or pieces.

    Args:
        scale: of the network.
        description: one line for people.
        memory: what all runs may take together.
        whole: runs images that fit; None runs none whole.
        cut: runs all others.
    """

    def __init__(
        self, *, scale: int, description: str, memory: Memory, whole: WholeRunner | None, cut: Tiler | PieceRunner
    ) -> None:
        self.scale, self.description, self.memory = scale, description, memory
        self._whole, self._cut = whole, cut

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.description}>"

    @property
    def ways_out(self) -> tuple[Hint, ...]:
        """As `Engine.ways_out`: of images that do not run whole."""
        return self._cut.ways_out

    def plan(self, size: Size, budget: int) -> Whole | Tiles | Pieces:
        """Decide how an image runs, as `Engine.plan` says."""
        cut = self._cut.plan(size, budget)
        if self._whole is not None:
            takes = self._whole.takes(height=size[1], width=size[0])
            if takes <= budget:
                return Whole(needed_bytes=takes, otherwise=cut or self._cut.smallest(size))
        if cut is None:
            raise self.memory.error(told(size, self.scale), self.least_bytes(size) - budget, ways_out=self.ways_out)
        return cut

    def least_bytes(self, size: Size) -> int:
        """The smallest budget for which there is a plan."""
        least = self._cut.least_bytes(size)
        return least if self._whole is None else min(least, self._whole.takes(height=size[1], width=size[0]))

    def run(self, image: NDArray[Any], plan: Whole | Tiles | Pieces, control: Control = UNWATCHED) -> Iterator[Array]:
        """Enlarge one image by a plan, as `Engine.run` says."""
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
        yield from self._cut.run(image, plan, control)  # type: ignore[arg-type]  # of its own planning

    def __call__(self, image: Array, /) -> Array:
        """Enlarge one image, as `Upscaler` says; MemoryLimitError if the memory does not suffice."""
        return enlarge(self, image)


class PlainEngine:
    """Makes an `Engine` of what is only called with whole images, and whose memory nobody knows.

    Args:
        upscaler: enlarges an image.
    """

    ways_out: tuple[Hint, ...] = ()

    def __init__(self, upscaler: Upscaler) -> None:
        self._upscaler = upscaler
        self.memory = Memory(UNBOUNDED)

    @property
    def scale(self) -> int:
        """The factor by which both sides grow."""
        return self._upscaler.scale

    @property
    def description(self) -> str:
        """One line for people."""
        return getattr(self._upscaler, "description", type(self._upscaler).__name__)

    def plan(self, size: Size, budget: int) -> Whole:
        """All images run whole."""
        return Whole()

    def least_bytes(self, size: Size) -> int:
        """Nothing is known."""
        return 0

    def run(self, image: NDArray[Any], plan: Whole, control: Control = UNWATCHED) -> Iterator[Array]:
        """Enlarge one image; a call that is under way is not ended."""
        control.check()
        yield self._upscaler(np.ascontiguousarray(floats_of(check_image(image, integers=True))))
        control.tell(1.0)

    def __call__(self, image: Array, /) -> Array:
        """Enlarge one image, as `Upscaler` says."""
        return enlarge(self, image)


def engine_of(upscaler: Upscaler) -> Engine:
    """The upscaler itself if it plans its runs, otherwise an engine around it."""
    return upscaler if isinstance(upscaler, Engine) else PlainEngine(upscaler)


def enlarge(engine: Engine, image: Array, *, control: Control = UNWATCHED) -> Array:
    """Enlarge one image within the memory of an engine, and give the whole result.

    Args:
        engine: plans and runs it.
        image: [H, W, 3] float32 RGB in [0, 1].
        control: watches the run, and ends it.

    Raises:
        InputError, MemoryLimitError, Cancelled: as `Engine.plan` and `Engine.run`.
    """
    height, width = check_image(image).shape[:2]
    s = engine.scale
    result_bytes = 12 * s * s * height * width
    plan = engine.plan((width, height), engine.memory.budget() - result_bytes)
    with engine.memory.take(plan.needed_bytes + result_bytes, control):
        bands = engine.run(image, plan, control)
        first = next(bands)
        if len(first) == s * height:
            for _ in bands:  # the run ends, and what it holds is let go
                pass
            return first
        large = np.empty((s * height, s * width, 3), np.float32)
        large[: len(first)], top = first, len(first)
        for band in bands:
            large[top : top + len(band)] = band
            top += len(band)
    return large


def told(size: Size, scale: int) -> str:
    """An image and its enlargement, for errors."""
    return f"{size[0]} x {size[1]} pixels at x{scale}"


def check_image(image: NDArray[Any], *, integers: bool = False) -> NDArray[Any]:
    """Give an image back if an upscaler takes it.

    Args:
        image: [H, W, 3] float32, finite, in [0, 1] or little beyond, H and W at least 1.
        integers: whether uint8 and uint16 are taken too, which stand for [0, 1].

    Raises:
        InputError: for anything else.
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
    if low < -BEYOND or high > 1 + BEYOND:
        raise InputError(
            f"an upscaler takes values in [0, 1], not in [{low:g}, {high:g}]: divide by the value of white, often 255"
        )
    return image


def floats_of(image: NDArray[Any]) -> Array:
    """An image of any dtype that engines take, as float32 in [0, 1]."""
    return rows_of(image)(0, len(image)).transpose(1, 2, 0)


def to_batch(image: Array) -> Array:
    """[H, W, 3] -> [1, 3, H, W], contiguous; checked as `check_image` does."""
    return _batch(check_image(image))


def _batch(image: Array) -> Array:
    return np.ascontiguousarray(image.transpose(2, 0, 1)[None])


def to_image(x: Array) -> Array:
    """[1, 3, H, W] -> [H, W, 3]."""
    image: Array = x[0].transpose(1, 2, 0)
    return image
