"""Muon: an optimiser that orthogonalises the momentum of each kernel matrix."""

from collections.abc import Iterable

import torch
from torch import Tensor

# The quintic a x + b x³ + c x⁵ maps singular values in (0, 1] to values near 1 in five iterations.
QUINTIC = (3.4445, -4.7750, 2.0315)
ITERATIONS = 5


def orthogonalised(matrices: Tensor) -> Tensor:
    """Orthonormalise the rows or columns of matrices, whichever are fewer, approximately, by Newton-Schulz iteration.

    Args:
        matrices: [N, rows, columns].

    Returns:
        [N, rows, columns]; the singular values are between 0.7 and 1.2, except those that were close to 0.
    """
    a, b, c = QUINTIC
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if tall else matrices
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(ITERATIONS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    result: Tensor = x.mT if tall else x
    return result


class Muon:
    """Updates kernels with weight normalisation (K. Jordan et al., 2024), with Nesterov momentum.

    A kernel is a matrix [out, in · k · k]. An update is scaled so that its rows have a norm of 1 in the mean. With
    weight normalisation the length of a row has no effect, so the rate is about the angle, in radians, by which a step
    rotates the rows.

    Use it only for kernels with weight normalisation; Adam trains the others. Without weight normalisation these
    updates make a kernel grow without bound: the gates of `att` saturate at 0 within a few thousand steps, and the
    auxiliary features never recover.

    Args:
        kernels: [out, in, k, k], or [L, out, in, k, k] for L kernels in one tensor.
        momentum: decay of the averaged gradient.
    """

    def __init__(self, kernels: Iterable[Tensor], *, momentum: float = 0.95) -> None:
        self.kernels, self.momentum = list(kernels), momentum
        self.averages = [torch.zeros_like(kernel) for kernel in self.kernels]

    @torch.no_grad()
    def step(self, lr: float | Tensor) -> None:
        """Take one step with the gradients of the kernels.

        Args:
            lr: the learning rate; a tensor on the device if the step is recorded as a CUDA graph.
        """
        gradients = [kernel.grad for kernel in self.kernels if kernel.grad is not None]
        torch._foreach_lerp_(self.averages, gradients, 1 - self.momentum)
        for kernel, ahead in zip(
            self.kernels, torch._foreach_lerp(gradients, self.averages, self.momentum), strict=True
        ):
            rows = ahead.flatten(-3)  # [..., out, in · k · k]
            update = orthogonalised(rows.view(-1, *rows.shape[-2:]))
            update = update * (update.shape[1] ** 0.5 / (update.norm(dim=(1, 2), keepdim=True) + 1e-7))
            kernel -= lr * update.view_as(kernel)

    def state_dict(self) -> dict[str, list[Tensor]]:
        """The averaged gradients, in the order of the kernels."""
        return {"averages": self.averages}

    def load_state_dict(self, state: dict[str, list[Tensor]]) -> None:
        """Restore the averaged gradients."""
        for average, value in zip(self.averages, state["averages"], strict=True):
            average.copy_(value)
