"""The A²F family and the paper's ablations, as data."""

from dataclasses import dataclass

from a2f.errors import UnknownModelError, UsageError

SCALES = (2, 3, 4)


@dataclass(frozen=True, kw_only=True)
class A2FConfig:
    """Everything that fixes the shape of one network (Table 1).

    Attributes:
        variant: name, e.g. "sd" or "baseline-mp".
        scale: enlargement of each side: 2, 3 or 4.
        channels: C, the width of x_0 .. x_L.
        blocks: L, the number of attentive auxiliary feature blocks.
        hidden: channels between the two convolutions of `res`.
        head_kernel: side of the `head` convolution (Table 3), odd.
        projection: whether a block has `proj`, the auxiliary features (column PU of Table 2).
        attention: whether a block has `att`, the channel gates (column CA of Table 2); needs `projection`.
    """

    variant: str
    scale: int
    channels: int
    blocks: int
    hidden: int = 128
    head_kernel: int = 3
    projection: bool = True
    attention: bool = True

    def __post_init__(self) -> None:
        if self.scale not in SCALES:
            raise UsageError(f"scale {self.scale} is not supported: choose one of 2, 3, 4")
        if min(self.channels, self.blocks, self.hidden) < 1 or self.head_kernel % 2 == 0:
            raise UsageError(f"not a network: {self}: channels, blocks and hidden are at least 1, head_kernel is odd")
        if self.attention and not self.projection:
            raise UsageError("attention without projection: the gates act on the projected features (Eq. 7)")

    @property
    def receptive_radius_px(self) -> int:
        """How far, in LR pixels, an output pixel looks (leaving aside the gates, which pool over the whole image)."""
        return self.head_kernel // 2 + 2 * self.blocks + 1


@dataclass(frozen=True, kw_only=True)
class _Shape:
    channels: int
    blocks: int
    title: str


VARIANTS = {
    "s": _Shape(channels=32, blocks=4, title="A²F-S"),
    "sd": _Shape(channels=16, blocks=8, title="A²F-SD"),
    "m": _Shape(channels=32, blocks=12, title="A²F-M"),
    "l": _Shape(channels=32, blocks=16, title="A²F-L"),
}


def config_of(variant: str, *, scale: int) -> A2FConfig:
    """The configuration of one of the 12 published networks.

    Args:
        variant: "s", "sd", "m" or "l".
        scale: 2, 3 or 4.

    Raises:
        UnknownModelError: for any other variant.
        UsageError: for any other scale.
    """
    if variant not in VARIANTS:
        raise UnknownModelError(f"unknown model {variant!r}: choose one of {', '.join(VARIANTS)}")
    shape = VARIANTS[variant]
    return A2FConfig(variant=variant, scale=scale, channels=shape.channels, blocks=shape.blocks)
