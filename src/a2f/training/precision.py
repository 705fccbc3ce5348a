"""The precision that a device computes the forward pass in."""

from collections.abc import Mapping
from dataclasses import replace

import torch

from a2f.training.recipe import Recipe

BF16 = ("avx512_bf16", "amx_bf16", "bf16")  # as torch.cpu.get_capabilities names them, on x86 and on ARM


def computes_bf16(device: torch.device) -> bool:
    """Whether the device has instructions for bfloat16; without them a step takes some ten times as long as in fp32.

    True where this cannot be told: on devices other than the CPU, and in a torch that does not list capabilities.
    """
    if device.type != "cpu":
        return True
    capabilities: Mapping[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return not capabilities or any(capabilities.get(name) for name in BF16)


def as_computed(recipe: Recipe, device: torch.device) -> Recipe:
    """The recipe as the device computes it: with fp32 for bf16 where it has no instructions for that."""
    return recipe if computes_bf16(device) else without_bf16(recipe)


def without_bf16(recipe: Recipe) -> Recipe:
    """The recipe with fp32 in all stages that ask for bf16."""
    stages = tuple(replace(s, precision="fp32") if s.precision == "bf16" else s for s in recipe.stages)
    return replace(recipe, stages=stages)
