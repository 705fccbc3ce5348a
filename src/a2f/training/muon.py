"""Muon: momentum whose direction, as a matrix, is made orthogonal."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

# The quintic a x + b x³ + c x⁵ brings singular values from (0, 1] near 1 within five turns.
QUINTIC = (3.4445, -4.7750, 2.0315)
TURNS = 5


def orthogonal(matrices: Tensor) -> Tensor:
    """About the nearest matrices with orthonormal rows or columns, whichever are fewer, by Newton-Schulz iteration.

    Args:
        matrices: [N, rows, columns].

    Returns:
        The same shape; singular values between 0.7 and 1.2, but for those that were next to nothing.
    """
    a, b, c = QUINTIC
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if tall else matrices
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(TURNS):
        gram: Tensor = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    result: Tensor = x.mT if tall else x
    return result


class Muon(torch.optim.Optimizer):
    """Updates convolution kernels as matrices [out, in · k · k] (K. Jordan et al., 2024), with Nesterov momentum.

    An update is scaled so that the rows, one an output channel, have a norm of 1 in the mean: with weight normalisation
    the rate is then about the angle, in radians, by which a step turns them.

    Args:
        kernels: parameters of two or more dimensions.
        lr: the rate.
        momentum: decay of the averaged gradient.
    """

    def __init__(self, kernels: Iterable[Tensor], lr: float, *, momentum: float = 0.95) -> None:
        super().__init__(kernels, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Take one step; kernels of one shape go together."""
        for group in self.param_groups:
            shapes: dict[Any, list[Tensor]] = {}
            for kernel in group["params"]:
                if kernel.grad is not None:
                    shapes.setdefault(kernel.shape, []).append(kernel)
            for kernels in shapes.values():
                self._step_together(kernels, lr=group["lr"], momentum=group["momentum"])

    def _step_together(self, kernels: list[Tensor], *, lr: float, momentum: float) -> None:
        gradients = [kernel.grad for kernel in kernels if kernel.grad is not None]
        averages = []
        for kernel in kernels:
            if "average" not in self.state[kernel]:
                self.state[kernel]["average"] = torch.zeros_like(kernel)
            averages.append(self.state[kernel]["average"])
        torch._foreach_lerp_(averages, gradients, 1 - momentum)
        ahead = torch._foreach_lerp(gradients, averages, momentum)
        update = orthogonal(torch.stack([x.flatten(1).float() for x in ahead]))
        rows = update.shape[1]
        update *= rows**0.5 / (update.norm(dim=(1, 2), keepdim=True) + 1e-7)
        torch._foreach_add_(kernels, [u.view_as(k) for u, k in zip(update, kernels, strict=True)], alpha=-lr)
