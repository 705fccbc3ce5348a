"""The precision that a device computes the forward pass in."""

from collections.abc import Mapping

import torch

from a2f.training.recipe import Stage

AUTOCAST = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
BF16 = ("avx512_bf16", "amx_bf16", "bf16")  # as torch.cpu.get_capabilities names them, on x86 and on ARM


def computes_bf16(device: torch.device) -> bool:
    """Whether the device has instructions for bfloat16; without them a step takes some ten times as long as in fp32.

    True where this cannot be told: on devices other than the CPU, and in a torch that does not list capabilities.
    """
    if device.type != "cpu":
        return True
    capabilities: Mapping[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return not capabilities or any(capabilities.get(name) for name in BF16)


def dtype_of(stage: Stage, device: torch.device) -> torch.dtype:
    """Of the forward pass: what the stage asks for, but fp32 for bf16 where the device has no instructions for it."""
    if stage.precision == "bf16" and not computes_bf16(device):
        return torch.float32
    return AUTOCAST[stage.precision]
