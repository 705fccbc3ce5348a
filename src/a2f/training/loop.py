"""The training loop."""

import copy
import math
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

import a2f
from a2f.data.degrade import jpeg
from a2f.data.patches import Patches
from a2f.errors import A2FError, WeightsError
from a2f.imageio import write_bytes_atomic
from a2f.metrics import psnr_y
from a2f.model.a2f import A2F, from_weights, to_weights, with_weight_norm
from a2f.training.checkpoint import Checkpoint, list_checkpoints, load_checkpoint, save_checkpoint
from a2f.training.interrupts import Interrupts
from a2f.training.muon import Muon
from a2f.training.precision import AUTOCAST, as_computed, without_bf16
from a2f.training.recipe import Optimiser, Recipe, Stage, parse_recipe, recipe_toml
from a2f.variants import A2FConfig
from a2f.weights import Weights, write_weights

JPEG_QUALITY = 50  # of the validation of a run with a degradation: files as the web makes them, seen by all runs alike

Pair = tuple[NDArray[np.uint8], NDArray[np.uint8]]


class NonFiniteLossError(A2FError):
    """The loss became NaN or infinite; the state before that step is kept."""


@dataclass(frozen=True, kw_only=True)
class Progress:
    """What a run tells after each evaluation.

    Attributes:
        step: steps taken.
        seconds: of training so far.
        done: fraction of the run that is over.
        loss: mean since the last report.
        lr: learning rate.
        steps_per_second: since the last report.
        psnr_y: of the validation set, dB; NaN without one.
        best: highest so far; with a degradation, of the mean of psnr_y and psnr_y_jpeg.
        psnr_y_jpeg: of the validation set when its LR images are JPEG files (quality 50, 4:2:0), dB; NaN without a
            degradation.
    """

    step: int
    seconds: float
    done: float
    loss: float
    lr: float
    steps_per_second: float
    psnr_y: float
    best: float
    psnr_y_jpeg: float = math.nan


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


class Run:
    """One training run: its model, averaged weights, optimiser and place.

    Args:
        config: the network.
        recipe: what is computed.
        patches: the training images.
        validation: (hr, lr) pairs, whole images, uint8.
        folder: where checkpoints, best.safetensors and last.safetensors go.
        init: weights to start from; those tensors that have the right name and shape are taken.
        device: "cpu", "cuda", "mps" or "cuda:1".
        compiled: whether the forward pass goes through torch.compile.
        processes: this process among several.
    """

    def __init__(
        self,
        config: A2FConfig,
        recipe: Recipe,
        *,
        patches: Patches,
        validation: Sequence[Pair],
        folder: Path,
        init: Weights | None = None,
        device: torch.device,
        compiled: bool = False,
        processes: Processes | None = None,
    ) -> None:
        self.config, self.recipe = config, as_computed(recipe, device)
        self.patches, self.validation = patches, validation
        self.folder, self.device, self.processes = folder, device, processes or Processes()
        torch.manual_seed(recipe.seed)
        plain = A2F(config) if init is None else transferred(init, config)[0]
        self.model = with_weight_norm(plain).to(device)
        self.ema = copy.deepcopy(self.model).eval()
        self.parameters: list[Tensor] = list(self.model.parameters())
        self.averages: list[Tensor] = list(self.ema.parameters())
        self.optimisers = optimisers_of(self.model, recipe.optimiser)
        fp16 = any(stage.precision == "fp16" for stage in recipe.stages)
        self.scaler = torch.amp.GradScaler(device.type, enabled=fp16)
        wrapped = DistributedDataParallel(self.model) if self.processes.count > 1 else self.model
        self.forward: Callable[[Tensor], Tensor] = torch.compile(wrapped) if compiled else wrapped
        self.step, self.seconds, self.best, self.best_step = 0, 0.0, -math.inf, 0

    @property
    def done(self) -> float:
        """The fraction of the run that is over, in [0, 1]."""
        r = self.recipe
        return min(1.0, self.step / r.steps if r.steps else self.seconds / (60 * r.minutes))

    def resume(self, path: Path | None = None) -> None:
        """Go on from a checkpoint, the latest by default.

        Raises:
            WeightsError: if there is none, it is damaged, or belongs to another network or recipe.
        """
        found = list_checkpoints(self.folder)
        if path is None and not found:
            raise WeightsError(f"{self.folder} holds no checkpoint to go on from")
        state = load_checkpoint(path or found[0])
        recipe = as_computed(parse_recipe(state.recipe), self.device)
        if recipe == without_bf16(self.recipe):
            self.recipe = recipe  # begun on a device without bfloat16: what is in fp32 stays so
        begun = asdict(recipe) | state.config
        now = asdict(self.recipe) | asdict(self.config)
        other = [f"{key} {begun.get(key)!r}, now {value!r}" for key, value in now.items() if begun.get(key) != value]
        if other:
            raise WeightsError(
                f"{path or found[0]} belongs to another network or recipe ({'; '.join(other)}): start a new folder, "
                "from these weights with --init"
            )
        self.model.load_state_dict(state.model)
        self.ema.load_state_dict(state.ema)
        for name, (optimiser, _) in self.optimisers.items():
            optimiser.load_state_dict(state.optimisers[name])
        self.scaler.load_state_dict(state.scaler)
        set_rng_states(state.rng)
        self.step, self.seconds, self.best, self.best_step = state.step, state.seconds, state.best, state.best_step

    def save(self) -> Path:
        """Write a checkpoint and last.safetensors, atomically."""
        write_bytes_atomic(self.folder / "last.safetensors", self._weights())
        state = Checkpoint(
            step=self.step,
            seconds=self.seconds,
            best=self.best,
            best_step=self.best_step,
            config=asdict(self.config),
            recipe=recipe_toml(self.recipe),
            model=self.model.state_dict(),
            ema=self.ema.state_dict(),
            optimisers={name: optimiser.state_dict() for name, (optimiser, _) in self.optimisers.items()},
            scaler=self.scaler.state_dict(),
            rng=rng_states(),
            versions={"a2f": a2f.__version__, "torch": str(torch.__version__), "python": platform.python_version()},
        )
        return save_checkpoint(state, self.folder, keep=self.recipe.keep)

    def release(self) -> None:
        """Let go of the other processes, all at once: one that leaves early would tear down what the rest still use."""
        self.forward = self.model
        if self.processes.count > 1:
            dist.barrier()

    def train(self, report: Callable[[Progress], None]) -> None:
        """Train to the end of the recipe.

        Args:
            report: called after each evaluation.

        Raises:
            NonFiniteLossError: if the loss is NaN or infinite.
            KeyboardInterrupt: after Ctrl-C or SIGTERM, once the step is finished and the state saved; after a second
                one at once, and what was saved before stays.
        """
        with Interrupts() as interrupts:
            while self.done < 1:
                self._stretch(report, interrupts)

    def _stretch(self, report: Callable[[Progress], None], interrupts: Interrupts) -> None:
        """Train until the next evaluation, evaluate, save, report."""
        began, first, losses = time.monotonic(), self.step, torch.zeros((), device=self.device)
        base, lr = self.seconds, 0.0
        while self.done < 1:
            share = self.recipe.optimiser.share(step=self.step, done=self.done)
            lr = share * self.recipe.optimiser.lr
            losses += self._one_step(share)
            self.seconds = base + time.monotonic() - began
            if self._agreed(interrupts.asked):
                if self.processes.rank == 0:
                    self.save()
                raise KeyboardInterrupt
            if self.step % self.recipe.evaluate_every == 0:
                break
        if self.processes.count > 1:  # each process has seen its part of the batches
            dist.all_reduce(losses)
        mean = float(losses) / (self.step - first) / self.processes.count
        if not math.isfinite(mean):
            raise NonFiniteLossError(
                f"the loss became {mean} between steps {first} and {self.step}; "
                f"the checkpoints up to step {first} are kept: lower optimiser.lr, set optimiser.clip, or use fp32"
            )
        rate = (self.step - first) / (time.monotonic() - began)
        if self.processes.rank == 0:
            robust = self.recipe.degradation is not None
            psnr, psnr_jpeg = self.evaluate(), self.evaluate(quality=JPEG_QUALITY) if robust else math.nan
            judged = (psnr + psnr_jpeg) / 2 if robust else psnr
            if judged > self.best or not self.validation:
                self.best, self.best_step = judged, self.step
                write_bytes_atomic(self.folder / "best.safetensors", self._weights())
            self.save()
            report(
                Progress(
                    step=self.step,
                    seconds=self.seconds,
                    done=self.done,
                    loss=mean,
                    lr=lr,
                    steps_per_second=rate,
                    psnr_y=psnr,
                    best=self.best,
                    psnr_y_jpeg=psnr_jpeg,
                )
            )

    def _one_step(self, share: float) -> Tensor:
        recipe, stage = self.recipe, self.recipe.stage(self.done)
        part = self.processes.part(stage.batch)
        x, hr, taught = self.patches.batch(
            self.step, batch=stage.batch, patch=stage.patch, busiest_of=recipe.busiest_of, part=part
        )
        dtype = AUTOCAST[stage.precision]
        with torch.autocast(self.device.type, dtype, enabled=dtype != torch.float32):
            sr = self.forward(x)
        loss = loss_of(sr.float(), hr, stage)
        if taught is not None:
            loss = (1 - recipe.teacher_share) * loss + recipe.teacher_share * loss_of(sr.float(), taught, stage)
        self._optimise(loss, share)
        self.step += 1
        self._average()
        return loss.detach()

    def _optimise(self, loss: Tensor, share: float) -> None:
        self.model.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        clip = self.recipe.optimiser.clip
        if clip:
            for optimiser, _ in self.optimisers.values():
                self.scaler.unscale_(optimiser)
            nn.utils.clip_grad_norm_(self.parameters, clip)
        for optimiser, highest in self.optimisers.values():
            for group in optimiser.param_groups:
                group["lr"] = highest * share
            self.scaler.step(optimiser)
        self.scaler.update()

    @torch.no_grad()
    def _average(self) -> None:
        # Early on the average follows closely, or it would remember the start for thousands of steps.
        decay = min(self.recipe.ema, (1 + self.step) / (10 + self.step)) if self.recipe.ema else 0.0
        torch._foreach_lerp_(self.averages, self.parameters, 1 - decay)

    def _agreed(self, interrupted: bool) -> bool:
        """Whether any process was interrupted; all see the same clock too, or one would stop while the others wait."""
        if self.processes.count > 1:
            both = torch.tensor([self.seconds, float(interrupted)], dtype=torch.float64, device=self.device)
            dist.all_reduce(both, dist.ReduceOp.MAX)
            self.seconds, interrupted = float(both[0]), bool(both[1])
        return interrupted

    @torch.inference_mode()
    def evaluate(self, *, quality: int | None = None) -> float:
        """Mean PSNR-Y of the averaged weights over the validation images, dB; NaN without any.

        Args:
            quality: of the JPEG files with 4:2:0 that the LR images become first; None leaves them as they are.
        """
        values = [
            psnr_y(self.enlarged(lr if quality is None else jpeg(lr, quality=quality)), hr, border=self.config.scale)
            for hr, lr in self.validation
        ]
        return float(np.mean(values)) if values else math.nan

    @torch.inference_mode()
    def enlarged(self, lr: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """An image through the averaged weights: [H, W, 3] uint8 in, [sH, sW, 3] out."""
        x = torch.from_numpy(lr.copy()).to(self.device).permute(2, 0, 1)[None].float() / 255  # [1, 3, H, W]
        sr = self.ema(x)[0].permute(1, 2, 0).clamp(0, 1) * 255
        image: NDArray[np.uint8] = sr.round().byte().cpu().numpy()
        return image

    def _weights(self) -> bytes:
        metadata = {"steps": str(self.step), "seconds": f"{self.seconds:.0f}", "recipe": recipe_toml(self.recipe)}
        return write_weights(to_weights(self.ema, metadata=metadata))


def optimisers_of(model: A2F, recipe: Optimiser) -> dict[str, tuple[torch.optim.Optimizer, float]]:
    """Each optimiser of a recipe by its name, with its highest learning rate.

    Args:
        model: with weight normalisation; "original0" is a gain, "original1" the direction of a kernel.
        recipe: which ones.
    """
    named = dict(model.named_parameters())
    kernels = [p for name, p in named.items() if p.dim() == 4 and not name.endswith("original0")]
    others = list(named.values())
    made: dict[str, tuple[torch.optim.Optimizer, float]] = {}
    if recipe.kind == "muon":
        made["muon"] = Muon(kernels, recipe.kernel_lr, momentum=recipe.momentum), recipe.kernel_lr
        taken = {id(p) for p in kernels}
        others = [p for p in others if id(p) not in taken]
    adam = torch.optim.Adam(others, recipe.lr, betas=(recipe.beta1, recipe.beta2), eps=recipe.eps)
    return made | {"adam": (adam, recipe.lr)}


def rng_states() -> dict[str, Tensor]:
    """The states of torch's generators, "cpu" and one for each card, "cuda:0"; nothing of a run draws from another."""
    cards = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return {"cpu": torch.get_rng_state()} | {f"cuda:{i}": state for i, state in enumerate(cards)}


def set_rng_states(states: dict[str, Tensor]) -> None:
    """Set the generators to kept states; those of cards that are not there are left out."""
    torch.set_rng_state(states["cpu"])
    for i in range(torch.cuda.device_count()):
        if f"cuda:{i}" in states:
            torch.cuda.set_rng_state(states[f"cuda:{i}"], i)


def transferred(init: Weights, config: A2FConfig) -> tuple[A2F, list[str]]:
    """A network that starts from other weights.

    Args:
        init: of the same network or of the same variant at another scale.
        config: the network to make.

    Returns:
        The network, and the names of the tensors that start fresh (`tail` and `skip` from another scale).

    Raises:
        WeightsError: if nothing but those fits.
    """
    fresh = A2F(config)
    own = fresh.state_dict()
    old = from_weights(init).state_dict()
    fits = {name: value for name, value in old.items() if name in own and own[name].shape == value.shape}
    missing = [name for name in own if name not in fits]
    if any(not name.startswith(("tail.", "skip.")) for name in missing):
        raise WeightsError(
            f"weights of {init.config.variant} x{init.config.scale} cannot start {config.variant} x{config.scale}: "
            f"{missing[0]} has another shape; take weights of the same variant"
        )
    fresh.load_state_dict({**own, **fits})
    return fresh, missing


def loss_of(sr: Tensor, hr: Tensor, stage: Stage) -> Tensor:
    """The loss of a stage.

    Args:
        sr: [N, 3, H, W] in [0, 1].
        hr: the same.
        stage: which loss.
    """
    if stage.loss == "l1":
        loss = F.l1_loss(sr, hr)
    elif stage.loss == "l2":
        loss = F.mse_loss(sr, hr)
    else:
        loss = ((sr - hr) ** 2 + 1e-6).sqrt().mean()
    if stage.frequency:
        spectra = torch.fft.rfft2(sr - hr, norm="ortho")
        loss = loss + stage.frequency * spectra.abs().mean()
    return loss
