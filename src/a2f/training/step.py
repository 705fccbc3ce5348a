"""One optimiser step: patches, forward, backward, clipping, optimisers, averages. On CUDA it is one recorded graph."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from a2f.data.patches import Batch, Patches, Spots
from a2f.training.averages import Average, Averages
from a2f.training.general import Trainable
from a2f.training.muon import Muon
from a2f.training.processes import Processes
from a2f.training.recipe import Optimiser, Recipe, Stage

DTYPE = {"fp32": torch.float32, "bf16": torch.bfloat16}
EAGER_STEPS = 3  # before a step is recorded: libraries choose their algorithms, optimisers make their state


class Optimisers:
    """Muon for the kernels with weight normalisation where the recipe asks for it, Adam for all other parameters.

    Args:
        network: whose parameters are trained.
        recipe: which optimisers.
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
            # a tensor can be changed between two replays of a graph
            torch.tensor(recipe.lr, device=others[0].device) if self.on_cuda else recipe.lr,
            betas=(recipe.beta1, recipe.beta2),
            eps=recipe.eps,
            capturable=self.on_cuda,
        )

    def zero_gradients(self) -> None:
        """Forget the gradients."""
        for parameter in self.parameters:
            parameter.grad = None

    def step(self, share: float | Tensor) -> None:
        """Clip the gradients and take a step.

        Args:
            share: of the highest learning rates, in [0, 1].
        """
        if self.recipe.clip:
            nn.utils.clip_grad_norm_(self.parameters, self.recipe.clip)
        if self.muon.kernels:
            self.muon.step(share * self.recipe.kernel_lr)
        for group in self.adam.param_groups:
            if isinstance(group["lr"], Tensor):
                group["lr"].copy_(torch.as_tensor(share * self.recipe.lr))
            else:
                group["lr"] = share * self.recipe.lr
        self.adam.step()

    def state_dict(self) -> dict[str, object]:
        """The state of both."""
        return {"muon": self.muon.state_dict(), "adam": self.adam.state_dict()}

    def load_state_dict(self, state: dict[str, dict[str, list[Tensor]]]) -> None:
        """Go on from a state."""
        rates = [group["lr"] for group in self.adam.param_groups]
        self.muon.load_state_dict(state["muon"])
        self.adam.load_state_dict(state["adam"])
        for group, rate in zip(self.adam.param_groups, rates, strict=True):
            group["lr"] = rate  # the tensor that a graph reads
            group["capturable"] = self.on_cuda  # whatever device the state is from


class Step:
    """What a run does again and again.

    Args:
        network: that learns.
        recipe: what is computed.
        patches: the training images.
        processes: this process among several.
        compiled: whether the forward pass and the loss go through torch.compile.
    """

    def __init__(
        self, network: Trainable, recipe: Recipe, *, patches: Patches, processes: Processes, compiled: bool
    ) -> None:
        self.network, self.recipe, self.patches, self.processes = network, recipe, patches, processes
        self.optimisers = Optimisers(network, recipe.optimiser)
        kinds = [Average(width=width) for width in recipe.averages] or [Average(decay=recipe.ema)]
        self.averages = Averages(network.parameters, kinds)
        self.loss: Callable[[Batch, Stage], Tensor] = torch.compile(self._loss) if compiled else self._loss
        # A graph needs everything on the card: no other processes, and patches that are cut there.
        on_card = patches.home.type == "cuda" and patches.degradation is None and processes.count == 1
        self._graph = _Graph(self) if on_card else None

    def __call__(self, step: int, *, done: float) -> Tensor:
        """Take a step.

        Args:
            step: steps taken so far.
            done: the fraction of the run that is over, in [0, 1]; 0 in a run without an end.

        Returns:
            The loss, one number on the device; its mean over all processes.
        """
        stage = self.recipe.stage(step=step, done=done)
        share = self.recipe.optimiser.share(step=step, done=done)
        decays = self.averages.decays(step + 1)
        part, busiest = self.processes.part(stage.batch), self.recipe.busiest_of
        if self._graph is not None:
            spots = self.patches.candidates(step, batch=stage.batch, patch=stage.patch, busiest_of=busiest)
            return self._graph(spots, stage, share, decays)
        batch = self.patches.batch(step, batch=stage.batch, patch=stage.patch, busiest_of=busiest, part=part)
        return self.on_batch(batch, stage, share, decays)

    def on_batch(self, batch: Batch, stage: Stage, share: float | Tensor, decays: list[float] | Tensor) -> Tensor:
        """Take a step with given patches: forward, backward, clipping, optimisers, averages."""
        self.optimisers.zero_gradients()
        loss = self.loss(batch, stage)
        loss.backward()  # type: ignore[no-untyped-call]
        if self.processes.count > 1:
            loss = self.processes.average(self.optimisers.parameters, loss)
        self.optimisers.step(share)
        self.averages.update(self.network.parameters, decays)
        return loss.detach()

    def _loss(self, batch: Batch, stage: Stage) -> Tensor:
        lr, hr, taught = batch
        sr = self.network.forward(lr, dtype=DTYPE[stage.precision])
        loss = loss_of(sr, hr, stage, scale=self.network.config.scale)
        if taught is None:
            return loss
        share = self.recipe.teacher_share
        return (1 - share) * loss + share * loss_of(sr, taught, stage, scale=self.network.config.scale)


class _Graph:
    """A step recorded on CUDA and replayed: nothing waits for the host.

    The host draws the spots, the rate and the decays of a step and sends them ahead; all else stays on the card.
    """

    def __init__(self, step: Step) -> None:
        self.step, self.eager = step, 0
        self.stage: Stage | None = None
        self.graph: torch.cuda.CUDAGraph | None = None

    def __call__(self, spots: Spots, stage: Stage, share: float, decays: list[float]) -> Tensor:
        """Take a step; the first ones of a stage are taken as they are, then one is recorded."""
        rates = torch.tensor([share, *decays])
        if self.stage != stage:
            self.stage, self.eager, self.graph = stage, 0, None
            self.spots, self.rates = spots.to(self.step.patches.home), rates.to(self.step.patches.home)
        for held, value in zip(self.spots.fields(), spots.fields(), strict=True):
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
        batch = self.step.patches.cut(self.spots, patch=stage.patch)
        return self.step.on_batch(batch, stage, self.rates[0], self.rates[1:])


def subpixels(image: Tensor, scale: int) -> Tensor:
    """[N, 3, sH, sW] -> [N, 3 s², H, W] with channels last: what `pixel_shuffle` undoes."""
    return F.pixel_unshuffle(image, scale).contiguous(memory_format=torch.channels_last)


def loss_of(sr: Tensor, hr: Tensor, stage: Stage, *, scale: int) -> Tensor:
    """The loss of a stage.

    Args:
        sr: [N, 3 s², H, W], before the pixel shuffle.
        hr: [N, 3, sH, sW] in [0, 1].
        stage: which loss.
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
