"""Several processes that train one model, started by torchrun: parts of a batch, mean gradients, shared decisions."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

from a2f.errors import A2FError


@dataclass(frozen=True, kw_only=True)
class Processes:
    """The rank of this process and the number of processes that torchrun started; (0, 1) without torchrun."""

    rank: int = 0
    count: int = 1

    def part(self, batch: int) -> slice:
        """The patches of a batch that this process computes.

        Raises:
            A2FError: if the batch cannot be divided evenly.
        """
        if batch % self.count:
            raise A2FError(f"a batch of {batch} cannot be divided over {self.count} processes: choose a multiple")
        return slice(self.rank, None, self.count)

    def average(self, parameters: Iterable[Tensor], loss: Tensor) -> Tensor:
        """Replace gradients by their mean over all processes, in one message.

        Args:
            parameters: parameters with gradients.
            loss: loss of this process, a scalar.

        Returns:
            The mean loss.
        """
        with_gradients = [parameter for parameter in parameters if parameter.grad is not None]
        parts = [loss.detach(), *(parameter.grad for parameter in with_gradients if parameter.grad is not None)]
        flat = torch.cat([part.reshape(-1) for part in parts]).div_(self.count)
        dist.all_reduce(flat)
        mean, *gradients = torch.split(flat, [part.numel() for part in parts])
        for parameter, gradient in zip(with_gradients, gradients, strict=True):
            parameter.grad = gradient.view_as(parameter)
        return mean[0]


class Agreement:
    """One clock and one interrupt for all processes, so that they all stop at the same step.

    The result for a step is read after the next step, so that no process has to wait for it.

    Args:
        processes: this process among all.
        device: the training device.
    """

    def __init__(self, processes: Processes, device: torch.device) -> None:
        self.processes, self.device = processes, device
        self._asked: tuple[Tensor, dist.Work | None] | None = None

    def after_step(self, seconds: float, interrupted: bool) -> tuple[float, bool]:
        """Tell the other processes about a step.

        Args:
            seconds: training time so far.
            interrupted: whether this process was asked to stop.

        Returns:
            The longest time of all processes, and whether any was interrupted: after the step before, or after this
            step if it is the first.
        """
        if self.processes.count == 1:
            return seconds, interrupted
        before = self.finish_step()
        values = torch.tensor([seconds, float(interrupted)], dtype=torch.float64, device=self.device)
        self._asked = values, dist.all_reduce(values, dist.ReduceOp.MAX, async_op=True)
        return before or self.finish_step() or (seconds, interrupted)

    def finish_step(self) -> tuple[float, bool] | None:
        """The result of all processes for the last step; None if there was no step since the last call."""
        if self._asked is None:
            return None
        values, work = self._asked
        self._asked = None
        if work is not None:
            work.wait()
        return float(values[0]), bool(values[1])
