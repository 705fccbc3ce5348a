"""The A²F family and the paper's ablations, as data."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from a2f.errors import UnknownModelError, UsageError, did_you_mean

SCALES = (2, 3, 4)
FACTORS = ("res", "att", "x")


@dataclass(frozen=True, kw_only=True)
class A2FConfig:
    """Everything that fixes the shape of one network (Table 1).

    Attributes:
        variant: name, e.g. "sd" or "baseline-mp".
        scale: factor of each side: 2, 3 or 4.
        channels: C, the width of x_0 .. x_L.
        blocks: L, the number of attentive auxiliary feature blocks.
        hidden: channels between the two convolutions of `res`.
        head_kernel: side of the `head` convolution (Table 3), odd.
        projection: whether a block has `proj`, the auxiliary features (column PU of Table 2).
        attention: whether a block has `att`, the channel gates (column CA of Table 2); needs `projection`.
        factors: the feature factors of a block: "res", "att" and "x" (Eq. 9). An unused factor is counted too: the
            printed size of BASELINE includes λ_att, the size of BASELINE-MP does not.
    """

    variant: str
    scale: int
    channels: int
    blocks: int
    hidden: int = 128
    head_kernel: int = 3
    projection: bool = True
    attention: bool = True
    factors: tuple[str, ...] = FACTORS

    def __post_init__(self) -> None:
        if self.scale not in SCALES:
            raise UsageError(f"scale {self.scale} is not supported: choose one of 2, 3, 4")
        if min(self.channels, self.blocks, self.hidden) < 1 or self.head_kernel % 2 == 0:
            raise UsageError(f"invalid network {self}: channels, blocks and hidden are at least 1, head_kernel is odd")
        if self.attention and not self.projection:
            raise UsageError("attention without projection: the gates act on the projected features (Eq. 7)")
        needed = {"res", "x"} | ({"att"} if self.projection else set())
        if not needed <= set(self.factors) <= set(FACTORS):
            raise UsageError(f"factors {self.factors}: these blocks need {', '.join(sorted(needed))}")

    @property
    def receptive_radius_px(self) -> int:
        """Receptive radius of an output pixel in LR pixels, without the gates, which pool over the whole image."""
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
        hint = did_you_mean(variant, VARIANTS)
        raise UnknownModelError(f"unknown model {variant!r}{hint}: choose one of {', '.join(VARIANTS)}")
    shape = VARIANTS[variant]
    return A2FConfig(variant=variant, scale=scale, channels=shape.channels, blocks=shape.blocks)


def ablation_of(name: str, *, scale: int) -> A2FConfig:
    """The configuration of one of the networks of Tables 2 and 3.

    A²F-L-NOCA-MP is not among them; `CANNOT_BE_BUILT` has the reason.

    Names that begin with "s-" are the networks of Table 2 for A²F-S. The supplement of the paper has this table,
    without the shapes. "s-baseline-mp" and "s-noca-mp" have more hidden channels (136 and 132) instead of more blocks:
    their parameters are within 0.3 % of A²F-S, while a fifth block would add 24 %.

    Args:
        name: a key of `ABLATIONS`.
        scale: 2, 3 or 4.

    Raises:
        UnknownModelError: for any other name.
    """
    if name not in ABLATIONS:
        raise unknown_network(name, ABLATIONS)
    return replace(ABLATIONS[name], scale=scale)


def _ablations() -> dict[str, A2FConfig]:
    large, dense = config_of("l", scale=2), config_of("sd", scale=4)
    baseline = replace(large, variant="baseline", projection=False, attention=False)
    small = config_of("s", scale=4)
    plain = replace(small, variant="s-baseline", projection=False, attention=False)
    ungated = replace(small, variant="s-noca", attention=False)
    heads = {f"sd-head{k}": replace(dense, variant=f"sd-head{k}", head_kernel=k) for k in (1, 3, 5, 7)}
    return {
        "baseline": baseline,
        "baseline-mp": replace(baseline, variant="baseline-mp", blocks=18, factors=("res", "x")),
        "l-noca": replace(large, variant="l-noca", attention=False),
        "s-baseline": plain,
        "s-baseline-mp": replace(plain, variant="s-baseline-mp", hidden=136, factors=("res", "x")),
        "s-noca": ungated,
        "s-noca-mp": replace(ungated, variant="s-noca-mp", hidden=132),
        **heads,
    }


ABLATIONS = _ablations()
# network of the paper -> why it cannot be built; tests/test_variants.py checks the figures
CANNOT_BE_BUILT = {
    "l-noca-mp": (
        "the paper prints its size (Table 2: 1368K parameters, 315.1G Multi-Adds at x2), but not how it differs from "
        "A²F-L-NOCA (1329K, 306.0G). No simple change gives both numbers: with 132 hidden channels it is 1366K and "
        "314.5G, with 133 it is 1375K and 316.7G, with 17 blocks 1420K and 327.1G. Use l-noca, or write a network "
        "of your own"
    ),
    "moremnas-a": (
        "its paper (arXiv:1901.01074) shows its structure only in a picture, and many networks have the two printed "
        "figures (1039K parameters, 238.6G Multi-Adds at x2). Measure its enlargements instead: "
        "a2f eval MoreMNAS-A=FOLDER"
    ),
}


def unknown_network(name: str, known: Iterable[str]) -> UnknownModelError:
    """The error for an unknown network name; for a network that cannot be built it gives the reason.

    Args:
        name: what was given.
        known: names of networks.
    """
    if name in CANNOT_BE_BUILT:
        return UnknownModelError(f"{name} cannot be built: {CANNOT_BE_BUILT[name]}")
    names = list(known)
    return UnknownModelError(f"unknown network {name!r}{did_you_mean(name, names)}: choose one of {', '.join(names)}")


def count_parameters(config: A2FConfig, *, weight_norm: bool = True) -> int:
    """The number of parameters, computed from the configuration.

    Args:
        config: the network.
        weight_norm: count the gains of weight normalisation, as the paper does (Table 6), or the folded network.
    """

    def conv(n_in: int, n_out: int, kernel: int) -> int:
        return n_in * n_out * kernel**2 + n_out * (2 if weight_norm else 1)

    c, out = config.channels, 3 * config.scale**2
    total = conv(3, c, config.head_kernel) + conv(3, out, 3) + conv(c, out, 3)
    for i in range(1, config.blocks + 1):
        total += conv(c, config.hidden, 3) + conv(config.hidden, c, 3) + len(config.factors)
        total += i * c * c if config.projection else 0
        total += 2 * (c * c + c) if config.attention else 0
    return total
