"""One optimiser step: patches, forward, backward, clipping, optimisers, averages. On CUDA it is one CUDA graph."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from a2f.data.patches import Batch, Patches, PatchPositions
from a2f.training.averages import Average, Averages
from a2f.training.general import Trainable
from a2f.training.muon import Muon
from a2f.training.processes import Processes
from a2f.training.recipe import Optimiser, Recipe, Stage

DTYPE = {"fp32": torch.float32, "bf16": torch.bfloat16}
EAGER_STEPS = 3  # steps before recording: libraries choose algorithms, optimisers create their state


class Optimisers:
    """Muon for the kernels with weight normalisation, if the recipe says so, and Adam for all other parameters.

    Args:
        network: the network to train.
        recipe: the settings of the optimisers.
    """

    def __init__(self, network: Trainable, recipe: Optimiser) -> None:
        self.recipe = recipe
        self.parameters = list(network.parameters.values())
        names = network.kernels() if recipe.kind == "muon" else []
        self.muon = Muon([network.parameters[name] for name in names], momentum=recipe.momentum)
        others = [value for name, value in network.parameters.items() if name not in names]
        self.on_cuda = others[0].device.type == "cuda"
        self.adam = torch.optim.Adam(
            others,
            # a tensor, because it can be changed between two replays of a graph
            torch.tensor(recipe.lr, device=others[0].device) if self.on_cuda else recipe.lr,
            betas=(recipe.beta1, recipe.beta2),
            eps=recipe.eps,
            capturable=self.on_cuda,
        )

    def zero_gradients(self) -> None:
        """Remove all gradients."""
        for parameter in self.parameters:
            parameter.grad = None

    def step(self, lr_factor: float | Tensor) -> None:
        """Clip the gradients and take a step.

        Args:
            lr_factor: factor of the highest learning rates, in [0, 1].
        """
        if self.recipe.clip:
            nn.utils.clip_grad_norm_(self.parameters, self.recipe.clip)
        if self.muon.kernels:
            self.muon.step(lr_factor * self.recipe.kernel_lr)
        for group in self.adam.param_groups:
            if isinstance(group["lr"], Tensor):
                group["lr"].copy_(torch.as_tensor(lr_factor * self.recipe.lr))
            else:
                group["lr"] = lr_factor * self.recipe.lr
        self.adam.step()

    def state_dict(self) -> dict[str, object]:
        """The state of both optimisers."""
        return {"muon": self.muon.state_dict(), "adam": self.adam.state_dict()}

    def load_state_dict(self, state: dict[str, dict[str, list[Tensor]]]) -> None:
        """Restore the state of both optimisers."""
        rates = [group["lr"] for group in self.adam.param_groups]
        self.muon.load_state_dict(state["muon"])
        self.adam.load_state_dict(state["adam"])
        for group, rate in zip(self.adam.param_groups, rates, strict=True):
            group["lr"] = rate  # keep the tensor that the graph reads
            group["capturable"] = self.on_cuda  # independent of the device of the state


class Step:
    """One training step.

    Args:
        network: the network to train.
        recipe: the recipe.
        patches: the training images.
        processes: this process among several.
        compiled: whether to use torch.compile for the forward pass and the loss.
    """

    def __init__(
        self, network: Trainable, recipe: Recipe, *, patches: Patches, processes: Processes, compiled: bool
    ) -> None:
        self.network, self.recipe, self.patches, self.processes = network, recipe, patches, processes
        self.optimisers = Optimisers(network, recipe.optimiser)
        kinds = [Average(width=width) for width in recipe.averages] or [Average(decay=recipe.ema)]
        self.averages = Averages(network.parameters, kinds)
        self.loss: Callable[[Batch, Stage], Tensor] = torch.compile(self._loss) if compiled else self._loss
        # A graph needs everything on the GPU: a single process, and patches that are cut on the GPU.
        on_card = patches.home.type == "cuda" and patches.degradation is None and processes.count == 1
        self._graph = _Graph(self) if on_card else None

    def __call__(self, step: int, *, done: float) -> Tensor:
        """Take a step.

        Args:
            step: steps taken so far.
            done: the fraction of the run that is over, in [0, 1]; 0 in a run without an end.

        Returns:
            The mean loss over all processes, a scalar on the device.
        """
        stage = self.recipe.stage(step=step, done=done)
        lr_factor = self.recipe.optimiser.lr_factor(step=step, done=done)
        decays = self.averages.decays(step + 1)
        part, busiest = self.processes.part(stage.batch), self.recipe.busiest_of
        if self._graph is not None:
            positions = self.patches.candidates(step, batch=stage.batch, patch=stage.patch, busiest_of=busiest)
            return self._graph(positions, stage, lr_factor, decays)
        batch = self.patches.batch(step, batch=stage.batch, patch=stage.patch, busiest_of=busiest, part=part)
        return self.on_batch(batch, stage, lr_factor, decays)

    def on_batch(self, batch: Batch, stage: Stage, lr_factor: float | Tensor, decays: list[float] | Tensor) -> Tensor:
        """Take a step with given patches: forward, backward, clipping, optimisers, averages."""
        self.optimisers.zero_gradients()
        loss = self.loss(batch, stage)
        loss.backward()  # type: ignore[no-untyped-call]
        if self.processes.count > 1:
            loss = self.processes.average(self.optimisers.parameters, loss)
        self.optimisers.step(lr_factor)
        self.averages.update(self.network.parameters, decays)
        return loss.detach()

    def _loss(self, batch: Batch, stage: Stage) -> Tensor:
        lr, hr, teacher_image = batch
        sr = self.network.forward(lr, dtype=DTYPE[stage.precision])
        loss = loss_of(sr, hr, stage, scale=self.network.config.scale)
        if teacher_image is None:
            return loss
        share = self.recipe.teacher_share
        return (1 - share) * loss + share * loss_of(sr, teacher_image, stage, scale=self.network.config.scale)


class _Graph:
    """A step as a CUDA graph: it is recorded once and replayed, without waiting for the host.

    The host draws the positions, the rate and the decays of a step and sends them in advance; all other data stays on
    the GPU.
    """

    def __init__(self, step: Step) -> None:
        torch.backends.cudnn.benchmark = True  # all steps of a stage have the same shapes
        self.step, self.eager = step, 0
        self.stage: Stage | None = None
        self.graph: torch.cuda.CUDAGraph | None = None

    def __call__(self, positions: PatchPositions, stage: Stage, lr_factor: float, decays: list[float]) -> Tensor:
        """Take a step. The first steps of a stage run without a graph, then one is recorded."""
        rates = torch.tensor([lr_factor, *decays])
        if self.stage != stage:
            self.stage, self.eager, self.graph = stage, 0, None
            self.positions, self.rates = positions.to(self.step.patches.home), rates.to(self.step.patches.home)
        for held, value in zip(self.positions.fields(), positions.fields(), strict=True):
            held.copy_(value.pin_memory(), non_blocking=True)
        self.rates.copy_(rates.pin_memory(), non_blocking=True)
        if self.graph is None and self.eager < EAGER_STEPS:
            self.eager += 1
            return self._take(stage)
        if self.graph is None:
            self.graph = torch.cuda.CUDAGraph()
            torch.cuda.synchronize()
            with torch.cuda.graph(self.graph):
                self.loss = self._take(stage)
        self.graph.replay()
        return self.loss.clone()

    def _take(self, stage: Stage) -> Tensor:
        batch = self.step.patches.cut(self.positions, patch=stage.patch)
        return self.step.on_batch(batch, stage, self.rates[0], self.rates[1:])


def subpixels(image: Tensor, scale: int) -> Tensor:
    """[N, 3, sH, sW] -> [N, 3 s², H, W] with channels last, the inverse of `pixel_shuffle`."""
    return F.pixel_unshuffle(image, scale).contiguous(memory_format=torch.channels_last)


def loss_of(sr: Tensor, hr: Tensor, stage: Stage, *, scale: int) -> Tensor:
    """The loss of a stage.

    Args:
        sr: [N, 3 s², H, W], the values before the pixel shuffle.
        hr: [N, 3, sH, sW] in [0, 1].
        stage: the stage.
        scale: s.
    """
    target = subpixels(hr, scale)
    if stage.loss == "l1":
        loss = F.l1_loss(sr, target)
    elif stage.loss == "l2":
        loss = F.mse_loss(sr, target)
    else:
        loss = ((sr - target) ** 2 + 1e-6).sqrt().mean()
    if stage.frequency:
        spectra = torch.fft.rfft2(F.pixel_shuffle(sr - target, scale), norm="ortho")
        loss = loss + stage.frequency * spectra.abs().mean()
    return loss
