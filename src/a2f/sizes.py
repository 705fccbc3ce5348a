"""The requested size, and the network passes that reach it."""

import itertools
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass

from a2f.errors import UsageError

Size = tuple[int, int]

OWN_SUFFIX = re.compile(r"_(x[234]|[wh]\d+|max\d+|\d+x\d+)$")  # the default suffix of an enlargement


@dataclass(frozen=True, kw_only=True)
class Target:
    """The requested size for all pictures of a run: a factor, or one of four exact sizes.

    Attributes:
        scale: the factor; ignored if an exact size is given.
        width: of the result, pixels; the height follows.
        height: of the result, pixels; the width follows.
        size: width and height of the result; the proportions may change.
        max_side: the longer side of the result, pixels; the shorter one follows.
    """

    scale: int = 4
    width: int | None = None
    height: int | None = None
    size: Size | None = None
    max_side: int | None = None

    def __post_init__(self) -> None:
        if self.is_exact:
            self.exact((1, 1))  # validates the size

    @property
    def is_exact(self) -> bool:
        """Whether an exact size is requested."""
        return any(side is not None for side in (self.width, self.height, self.size, self.max_side))

    def exact(self, given: Size) -> Size | None:
        """The exact size of the result for a picture of this width and height; None for a factor."""
        if not self.is_exact:
            return None
        return target_size(given, width=self.width, height=self.height, size=self.size, max_side=self.max_side)

    def final(self, given: Size) -> Size:
        """Width and height of the result for a picture of this width and height."""
        return self.exact(given) or (given[0] * self.scale, given[1] * self.scale)

    def scales(self, given: Size, *, available: Iterable[int]) -> tuple[int, ...]:
        """The scale of each network pass for a picture of this size; empty if the picture is not enlarged.

        Args:
            given: width and height of the picture.
            available: scales of the networks that may be used for an exact size.

        Raises:
            UsageError: if two passes do not reach the exact size.
        """
        final = self.exact(given)
        return (self.scale,) if final is None else plan_scales(given, final, available=available)

    @property
    def mark(self) -> str:
        """The default suffix of the result's name: ``_x4``, ``_w3840``, ``_1920x1080`` or similar."""
        for mark, side in (("w", self.width), ("h", self.height), ("max", self.max_side)):
            if side is not None:
                return f"_{mark}{side}"
        return f"_x{self.scale}" if self.size is None else f"_{self.size[0]}x{self.size[1]}"


def target_size(
    given: Size,
    *,
    width: int | None = None,
    height: int | None = None,
    size: Size | None = None,
    max_side: int | None = None,
) -> Size:
    """The exact output size of a request.

    Args:
        given: width and height of the input, pixels.
        width: width of the output; the height follows from the proportions.
        height: height of the output; the width follows from the proportions.
        size: both; the proportions may change.
        max_side: the longer side of the output; the shorter one follows.

    Returns:
        Width and height, at least 1 each.

    Raises:
        UsageError: unless exactly one of the four is given and greater than 0.
    """
    asked = {"width": width, "height": height, "size": size, "max_side": max_side}
    chosen = {name: value for name, value in asked.items() if value is not None}
    if len(chosen) != 1:
        raise UsageError(f"choose one of {', '.join(asked)}, not {' and '.join(chosen) or 'none'}")
    ((name, value),) = chosen.items()
    if min(value if isinstance(value, tuple) else (value,)) < 1:
        raise UsageError(f"{name} {value}: give at least 1 pixel")
    if size is not None:
        return size
    w, h = given
    if width is not None:
        return width, _follow(h, width, w)
    if height is not None:
        return _follow(w, height, h), height
    assert max_side is not None
    return (max_side, _follow(h, max_side, w)) if w >= h else (_follow(w, max_side, h), max_side)


def _follow(side: int, new: int, old: int) -> int:
    return max(1, math.floor(side * new / old + 0.5))


def plan_scales(given: Size, target: Size, *, available: Iterable[int]) -> tuple[int, ...]:
    """The scale of each network pass: the smallest sufficient scales, at most two passes.

    Args:
        given: width and height of the input.
        target: width and height of the output.
        available: scales for which there are weights.

    Returns:
        Empty if the output is not larger than the input; otherwise one or two scales. The smaller one is first, because
        the second pass runs on the result of the first.

    Raises:
        UsageError: if two passes are not enough.
    """
    factor = max(target[0] / given[0], target[1] / given[1])
    if factor <= 1:
        return ()
    scales = sorted(set(available))
    plans = [(s,) for s in scales] + list(itertools.combinations_with_replacement(scales, 2))
    enough = [plan for plan in plans if math.prod(plan) >= factor - 1e-9]
    if not enough:
        most = scales[-1] ** 2
        raise UsageError(
            f"{target[0]} x {target[1]} is too large, {factor:.1f} times {given[0]} x {given[1]}: "
            f"at most {most} times is possible, {given[0] * most} x {given[1] * most}"
        )
    return min(enough, key=lambda plan: (len(plan), math.prod(plan)))
