"""Several processes on one model, started by torchrun: parts of a batch, mean gradients, and what they agree on."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

from a2f.errors import A2FError


@dataclass(frozen=True, kw_only=True)
class Processes:
    """This process among those that torchrun started; (0, 1) without it."""

    rank: int = 0
    count: int = 1

    def part(self, batch: int) -> slice:
        """The patches of a batch that this process takes.

        Raises:
            A2FError: if the batch does not divide.
        """
        if batch % self.count:
            raise A2FError(f"a batch of {batch} does not divide over {self.count} processes: choose a multiple")
        return slice(self.rank, None, self.count)

    def average(self, parameters: Iterable[Tensor], loss: Tensor) -> Tensor:
        """Replace gradients by their mean over all processes, in one message.

        Args:
            parameters: with gradients.
            loss: of this process, one number.

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
    """One clock and one interrupt for all processes; otherwise one would stop while the others wait for it.

    The answer for a step is asked for after the next one, so that no process waits for it.

    Args:
        processes: this process among all.
        device: that trains.
    """

    def __init__(self, processes: Processes, device: torch.device) -> None:
        self.processes, self.device = processes, device
        self._asked: tuple[Tensor, dist.Work | None] | None = None

    def after_step(self, seconds: float, interrupted: bool) -> tuple[float, bool]:
        """Tell the other processes about a step.

        Args:
            seconds: of training so far.
            interrupted: whether this process was asked to stop.

        Returns:
            The same of all processes after the step before, or after this one if none was before: the longest time, and
            whether any was interrupted.
        """
        if self.processes.count == 1:
            return seconds, interrupted
        before = self.settled()
        values = torch.tensor([seconds, float(interrupted)], dtype=torch.float64, device=self.device)
        self._asked = values, dist.all_reduce(values, dist.ReduceOp.MAX, async_op=True)
        return before or self.settled() or (seconds, interrupted)

    def settled(self) -> tuple[float, bool] | None:
        """What all processes said after the last step; None if they were not asked since this was called."""
        if self._asked is None:
            return None
        values, work = self._asked
        self._asked = None
        if work is not None:
            work.wait()
        return float(values[0]), bool(values[1])
