"""Averages of the weights over the steps of a run. The averages are evaluated, saved and shipped."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Average:
    """The decay of one average.

    Attributes:
        decay: constant decay of an exponential moving average; 0 keeps the current weights.
        width: width of a power-law average (Karras et al. 2024, "Analyzing and Improving the Training Dynamics of
            Diffusion Models", Sec. 3.1): the standard deviation of its window as a fraction of the run so far, greater
            than 0 and at most 0.25. The window grows with the run. 0 for a constant decay.
    """

    decay: float = 0.0
    width: float = 0.0

    def at(self, step: int) -> float:
        """The decay of a step.

        Args:
            step: number of steps including this one; at least 1.
        """
        if self.width:
            return float((1 - 1 / step) ** (power_of(self.width) + 1))
        # A small decay at the start, so that the initial weights do not remain in the average for thousands of steps.
        return min(self.decay, (1 + step) / (10 + step)) if self.decay else 0.0


def power_of(width: float) -> float:
    """The exponent γ of a power-law average with this width (Karras et al. 2024, Eq. 125 and Algorithm 2).

    Args:
        width: the standard deviation of the window as a fraction of the run, greater than 0 and at most 0.25.
    """
    low, high = 0.0, 1e6
    for _ in range(100):  # the width falls with γ
        middle = (low + high) / 2
        if (middle + 1) / ((middle + 2) ** 2 * (middle + 3)) > width**2:
            low = middle
        else:
            high = middle
    return (low + high) / 2


class Averages:
    """Several averages of the same parameters.

    Args:
        parameters: name -> tensor; each average starts as a copy.
        kinds: the decay of each average.
    """

    def __init__(self, parameters: Mapping[str, Tensor], kinds: Sequence[Average]) -> None:
        self.kinds = kinds
        self.values = [{name: value.detach().clone() for name, value in parameters.items()} for _ in kinds]

    def decays(self, step: int) -> list[float]:
        """The decay of each average in a step."""
        return [kind.at(step) for kind in self.kinds]

    @torch.no_grad()
    def update(self, parameters: Mapping[str, Tensor], decays: Sequence[float] | Tensor) -> None:
        """Add the parameters of one more step to all averages.

        Args:
            parameters: name -> tensor.
            decays: one per average; a tensor on the device if the step is recorded as a CUDA graph.
        """
        now = list(parameters.values())
        for values, decay in zip(self.values, decays, strict=True):
            if isinstance(decay, Tensor):
                torch._foreach_lerp_(list(values.values()), now, [1 - decay] * len(now))
            else:
                torch._foreach_lerp_(list(values.values()), now, 1 - decay)
