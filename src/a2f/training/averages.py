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
        # All averages are one tensor [kinds, numbers], so that an update is one operation.
        self._flat = _flat(parameters).repeat(len(kinds), 1)
        sizes = [value.numel() for value in parameters.values()]
        self.values = [
            {
                name: part.view_as(value)
                for (name, value), part in zip(parameters.items(), row.split(sizes), strict=True)
            }
            for row in self._flat
        ]

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
        if not isinstance(decays, Tensor):
            decays = torch.tensor(decays, dtype=self._flat.dtype, device=self._flat.device)
        self._flat.lerp_(_flat(parameters).expand_as(self._flat), (1 - decays)[:, None].expand_as(self._flat))


def _flat(parameters: Mapping[str, Tensor]) -> Tensor:
    """All values in one dimension, without gradients."""
    return torch.cat([value.detach().flatten() for value in parameters.values()])
