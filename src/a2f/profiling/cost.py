"""Operations and activations of a network, computed from its configuration."""

from typing import Literal

from a2f.variants import A2FConfig

Convention = Literal["convolutions", "table5", "table6"]

OUTPUT = (1280, 720)  # standard output size for Multi-Adds


def lr_size(scale: int) -> tuple[int, int]:
    """Width and height of the LR image of the standard output, rounded down to whole pixels."""
    return OUTPUT[0] // scale, OUTPUT[1] // scale


def multi_adds(config: A2FConfig, *, width: int, height: int, convention: Convention = "convolutions") -> int:
    """Multiply-accumulate operations for one image.

    Args:
        config: the network.
        width: width of the LR image, pixels.
        height: height of the LR image, pixels.
        convention: "convolutions" counts only convolutions; "table5" adds one per output with a bias, as the GFLOPs in
            Table 5 of the paper; "table6" also adds one per ReLU and per pooled value, as the Multi-Adds in Table 6.
    """
    c, hidden, out = config.channels, config.hidden, 3 * config.scale**2
    per_pixel = 3 * c * config.head_kernel**2 + 27 * out + 9 * c * out
    once = 0
    for i in range(1, config.blocks + 1):
        per_pixel += 18 * c * hidden
        per_pixel += i * c * c if config.projection else 0
        once += 2 * c * c if config.attention else 0
    gated = config.blocks if config.attention else 0
    if convention != "convolutions":
        per_pixel += c + 2 * out + config.blocks * (hidden + c)
        once += gated * 2 * c
    if convention == "table6":
        per_pixel += config.blocks * hidden + gated * c
        once += gated * c
    return per_pixel * width * height + once


def activations(config: A2FConfig, *, width: int, height: int) -> int:
    """Output elements of all convolutions ("activations" in the NTIRE efficiency challenges).

    Args:
        config: the network.
        width: width of the LR image, pixels.
        height: height of the LR image, pixels.
    """
    c, out = config.channels, 3 * config.scale**2
    per_pixel = c + 2 * out + config.blocks * (config.hidden + c + (c if config.projection else 0))
    return per_pixel * width * height + (2 * c * config.blocks if config.attention else 0)
