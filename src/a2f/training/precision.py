"""The precision of the forward pass on a device."""

from collections.abc import Mapping
from dataclasses import replace

import torch

from a2f.training.recipe import Recipe

BF16 = ("avx512_bf16", "amx_bf16", "bf16")  # names of torch.cpu.get_capabilities on x86 and ARM


def supports_bf16(device: torch.device) -> bool:
    """Whether the device has bfloat16 instructions; without them a step takes about ten times as long as in fp32.

    True if this is unknown: on devices other than the CPU, and with a torch that does not list capabilities.
    """
    if device.type != "cpu":
        return True
    capabilities: Mapping[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return not capabilities or any(capabilities.get(name) for name in BF16)


def for_device(recipe: Recipe, device: torch.device) -> Recipe:
    """Adapt a recipe to a device: replace bf16 by fp32 if the device has no bf16 instructions."""
    return recipe if supports_bf16(device) else without_bf16(recipe)


def without_bf16(recipe: Recipe) -> Recipe:
    """Replace bf16 by fp32 in all stages of a recipe."""
    stages = tuple(replace(s, precision="fp32") if s.precision == "bf16" else s for s in recipe.stages)
    return replace(recipe, stages=stages)
