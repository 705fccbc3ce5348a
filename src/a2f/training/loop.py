"""The training loop."""

import math
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

import a2f
from a2f.data.patches import Patches
from a2f.errors import A2FError, InputError, WeightsError, count_of
from a2f.files import write_bytes_atomic
from a2f.model.a2f import A2F, to_weights
from a2f.peers.files import Network
from a2f.resize import imresize
from a2f.training.checkpoint import Checkpoint, list_checkpoints, load_checkpoint, save_checkpoint
from a2f.training.general import GeneralNetwork, Trainable
from a2f.training.interrupts import Interrupts
from a2f.training.network import TrainingNetwork
from a2f.training.precision import for_device, without_bf16
from a2f.training.processes import Agreement, Processes
from a2f.training.recipe import Recipe, parse_recipe, recipe_toml
from a2f.training.step import Step
from a2f.training.validation import Image, Pair, Score, enlarged, fingerprint, score
from a2f.variants import A2FConfig
from a2f.weights import Weights

FREE = {"evaluate_every", "save_minutes", "keep"}  # settings that may change when a run is resumed
LENGTH = {"steps", "minutes"}
ADVICE = "; earlier checkpoints are kept: lower optimiser.lr, set optimiser.clip, or use fp32"
MIN_VALIDATION_PX = 3  # one LR pixel is cut from each border before the PSNR

PACE_STEPS = 5, 25  # the speed is first measured between these two steps


class NonFiniteLossError(A2FError):
    """The loss became NaN or infinite; the earlier checkpoints are kept."""


@dataclass(frozen=True, kw_only=True)
class Progress:
    """The report after each evaluation of a run.

    Attributes:
        step: number of steps.
        seconds: training time so far.
        done: fraction of the run that is done.
        loss: mean loss since the last report.
        lr: learning rate.
        steps_per_second: speed since the last report.
        psnr_y: PSNR-Y on the validation set, dB; NaN without one.
        best: highest PSNR-Y so far; with a degradation, the highest mean of psnr_y and psnr_y_jpeg.
        psnr_y_jpeg: PSNR-Y on the validation set with JPEG files as LR images (quality 50, 4:2:0), dB; NaN without a
            degradation.
        width: `Average.width` of the best average; 0 for a constant decay.
        bicubic: PSNR-Y of bicubic interpolation on the validation set, dB; NaN without one.
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
    width: float = 0.0
    bicubic: float = math.nan


class Run:
    """One training run: its model, averaged weights, optimisers and position.

    Args:
        config: an A²F network; or another network with its initial weights.
        recipe: the recipe.
        patches: the training images.
        validation: (hr, lr) pairs, whole images, uint8.
        folder: folder for checkpoints, best.safetensors and last.safetensors.
        init: initial weights; the tensors with a matching name and shape are used.
        device: "cpu", "cuda", "mps" or "cuda:1".
        compiled: whether to use torch.compile for the forward pass.
        processes: this process among several.
    """

    def __init__(
        self,
        config: A2FConfig | Network,
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
        self.recipe = for_device(recipe, device)
        self.patches, self.validation = patches, validation
        if any(min(lr.shape[:2]) < MIN_VALIDATION_PX for _, lr in validation):
            raise InputError(f"a validation image is smaller than {MIN_VALIDATION_PX} LR pixels per side: leave it out")
        self._fingerprints = fingerprint(patches.pairs), fingerprint(validation)
        self.folder, self.device = folder, device
        self.processes = processes or Processes()
        self._agreement = Agreement(self.processes, device)
        torch.manual_seed(recipe.seed)
        self.network = _trainable(config, init=init, device=device)
        self.config = self.network.config
        self._take = Step(self.network, self.recipe, patches=patches, processes=self.processes, compiled=compiled)
        self.averages, self.optimisers = self._take.averages, self._take.optimisers
        self.step, self.seconds, self.best, self.best_step = 0, 0.0, -math.inf, 0
        self.losses, self.reported = torch.zeros((), device=device), 0  # sum of the losses after step `reported`
        self._bicubic: Score | None = None
        self.chosen = len(self.averages.kinds) // 2  # index of the average to write, chosen by the validation images

    @property
    def done(self) -> float:
        """The fraction of the run that is done, in [0, 1]; 0 in a run without an end."""
        r = self.recipe
        if not r.steps and not r.minutes:
            return 0.0
        return min(1.0, self.step / r.steps if r.steps else self.seconds / (60 * r.minutes))

    def resume(self, path: Path | None = None) -> list[str]:
        """Resume from a checkpoint, by default the latest.

        Returns:
            Notes for the user about differences from the run so far that do not prevent resuming.

        Raises:
            WeightsError: if there is no checkpoint, it is damaged, or it belongs to another network or recipe.
        """
        found = list_checkpoints(self.folder)
        if path is None and not found:
            raise WeightsError(f"{self.folder} has no checkpoint to resume from")
        state = load_checkpoint(path or found[0])
        recipe = for_device(parse_recipe(state.recipe), self.device)
        if recipe == without_bf16(self.recipe):
            self.recipe = self._take.recipe = recipe  # it started on a device without bfloat16: it stays in fp32
        # The length of a run without a planned end and the interval of checkpoints do not change the steps.
        free = FREE | (LENGTH if recipe.optimiser.schedule == "anytime" else set())
        begun, now = flat(asdict(recipe) | state.config), flat(asdict(self.recipe) | asdict(self.config))
        other = [name for name in begun | now if begun.get(name) != now.get(name) and name not in free]
        if other:
            changes = "".join(f"\n  {name}: {begun.get(name)}, now {now.get(name)}" for name in other)
            raise WeightsError(
                f"{path or found[0]} belongs to another network or recipe:{changes}\nResume with the network and the "
                f"recipe of the run, {self.folder / 'recipe.toml'}, or start a new folder from its weights (--init)"
            )
        with torch.no_grad():
            for into, values in zip(
                (self.network.state(), *self.averages.values), (state.parameters, *state.averages), strict=True
            ):
                for name, value in values.items():
                    into[name].copy_(value)
        self.optimisers.load_state_dict(state.optimisers)
        self.step, self.seconds, self.best, self.best_step = state.step, state.seconds, state.best, state.best_step
        self.chosen = state.chosen
        self.losses.fill_(state.losses)
        self.reported = self.step if state.reported is None else state.reported
        return self._changed_images(state)

    def _changed_images(self, state: Checkpoint) -> list[str]:
        """Notes about images that differ from those of the checkpoint; a best PSNR of other images is reset."""
        notes = []
        if state.images not in ("", self._fingerprints[0]):
            notes.append("the training images are not those of the run so far: the run continues with the new ones")
        if state.validation not in ("", self._fingerprints[1]):
            notes.append(
                "the validation images are not those of the run so far: their PSNR cannot be compared with earlier "
                "figures, and the next evaluation becomes the best"
            )
            self.best = -math.inf
        return notes

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
            chosen=self.chosen,
            losses=float(self.losses),
            reported=self.reported,
            images=self._fingerprints[0],
            validation=self._fingerprints[1],
            parameters={name: value.detach() for name, value in self.network.state().items()},
            averages=self.averages.values,
            optimisers=self.optimisers.state_dict(),
            versions={"a2f": a2f.__version__, "torch": str(torch.__version__), "python": platform.python_version()},
        )
        return save_checkpoint(state, self.folder, keep=self.recipe.keep)

    def release(self) -> None:
        """Wait for all processes before leaving: a process that leaves early would close shared resources."""
        if self.processes.count > 1:
            dist.barrier()

    def train(self, report: Callable[[Progress], None], *, tell: Callable[[str], None] = lambda line: None) -> None:
        """Train to the end of the recipe.

        Args:
            report: called after each evaluation.
            tell: called after the first steps with a line for the user about the speed.

        Raises:
            NonFiniteLossError: if the loss is NaN or infinite.
            KeyboardInterrupt: after Ctrl-C or SIGTERM, when the step is finished and the state is saved; after a second
                signal at once, with the last checkpoint kept.
        """
        pace = _Pace(self, tell)
        with Interrupts() as interrupts:
            while self.done < 1:
                self._train_until_report(report, interrupts, pace)

    def _train_until_report(self, report: Callable[[Progress], None], interrupts: Interrupts, pace: "_Pace") -> None:
        """Train until the next evaluation, evaluate, save, report."""
        began, first, saved = time.monotonic(), self.step, time.monotonic()
        base, lr, interrupted = self.seconds, 0.0, False
        while self.done < 1:
            lr = self.recipe.optimiser.lr * self.recipe.optimiser.lr_factor(step=self.step, done=self.done)
            self.losses += self._take(self.step, done=self.done)
            self.step += 1
            self.seconds, interrupted = self._agreement.after_step(
                base + time.monotonic() - began, interrupts.requested
            )
            pace.after_step()
            if self.step % self.recipe.evaluate_every == 0:
                break
            if interrupted and self.done < 1:
                self._agreement.finish_step()
                self._save_if_sound()
                raise KeyboardInterrupt
            if time.monotonic() - saved > 60 * self.recipe.save_minutes:
                self._save_if_sound()
                saved = time.monotonic()
        rate = (self.step - first) / (time.monotonic() - began)
        agreed = self._agreement.finish_step()
        if agreed is not None:
            self.seconds, interrupted = agreed
        mean = float(self.losses) / (self.step - self.reported)
        if not math.isfinite(mean):
            raise NonFiniteLossError(f"the loss became {mean} between steps {self.reported} and {self.step}{ADVICE}")
        self.losses, self.reported = torch.zeros_like(self.losses), self.step
        if self.processes.rank == 0:
            self._report(report, loss=mean, lr=lr, rate=rate)
        if interrupted and self.done < 1:
            raise KeyboardInterrupt

    def _save_if_sound(self) -> None:
        """Save between two evaluations; a state with NaN is never saved.

        Raises:
            NonFiniteLossError: if a parameter is NaN or infinite.
        """
        if not all(bool(value.isfinite().all()) for value in self.network.parameters.values()):
            raise NonFiniteLossError(f"the weights became NaN or infinite before step {self.step}{ADVICE}")
        if self.processes.rank == 0:
            self.save()

    def _report(self, report: Callable[[Progress], None], *, loss: float, lr: float, rate: float) -> None:
        """Evaluate, save and report."""
        scores = [self.score(number) for number in range(len(self.averages.kinds))]
        if self.validation:
            self.chosen = max(range(len(scores)), key=lambda number: scores[number].decisive)
        score = scores[self.chosen]
        if score.decisive > self.best or not self.validation:
            self.best, self.best_step = score.decisive, self.step
            write_bytes_atomic(self.folder / "best.safetensors", self._weights())
        self.save()
        report(
            Progress(
                step=self.step,
                seconds=self.seconds,
                done=self.done,
                loss=loss,
                lr=lr,
                steps_per_second=rate,
                psnr_y=score.psnr_y,
                best=self.best,
                psnr_y_jpeg=score.psnr_y_jpeg,
                width=self.averages.kinds[self.chosen].width,
                bicubic=self.bicubic().psnr_y,
            )
        )

    def score(self, number: int | None = None) -> Score:
        """Measure an average on the validation images.

        Args:
            number: index of the average; None for the chosen one.
        """
        return self._score(partial(enlarged, self.model(number)))

    def bicubic(self) -> Score:
        """Measure bicubic interpolation on the validation images, once."""
        if self._bicubic is None:
            self._bicubic = self._score(partial(imresize, scale=self.config.scale))
        return self._bicubic

    def _score(self, enlarge: Callable[[Image], Image]) -> Score:
        return score(enlarge, self.validation, scale=self.config.scale, jpegs=self.recipe.degradation is not None)

    def model(self, number: int | None = None) -> nn.Module:
        """The network with averaged weights, for evaluation.

        Args:
            number: index of the average; None for the chosen one.
        """
        return self.network.model(self.averages.values[self.chosen if number is None else number]).to(self.device)

    def _weights(self) -> bytes:
        metadata = {"steps": str(self.step), "seconds": f"{self.seconds:.0f}", "recipe": recipe_toml(self.recipe)}
        return self.network.file(self.averages.values[self.chosen], metadata=metadata)


class _Pace:
    """Reports the speed of a run after its first steps.

    Args:
        run: the run.
        tell: called with the line.
    """

    def __init__(self, run: Run, tell: Callable[[str], None]) -> None:
        self.run, self.tell, self.first, self.began = run, tell, run.step, 0.0

    def after_step(self) -> None:
        """Count a step; the first steps are slower and are not measured."""
        taken, (low, high) = self.run.step - self.first, PACE_STEPS
        if taken == low:
            self.began = time.monotonic()
        if taken == high:
            rate = (high - low) / (time.monotonic() - self.began)
            self.tell(f"{rate:.1f} steps/s; {self._next(rate)}")

    def _next(self, rate: float) -> str:
        """When the next evaluation is: after `evaluate_every` steps, or at the end of the run if that is earlier."""
        run, recipe = self.run, self.run.recipe
        end = recipe.steps - run.step if recipe.steps else math.ceil(rate * (60 * recipe.minutes - run.seconds))
        left = min(recipe.evaluate_every - run.step % recipe.evaluate_every, end)
        if left <= 0:
            return "the run ends with this step"
        return f"next evaluation in {count_of(left, 'step')}, about {left / rate / 60:.0f} min"


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten nested tables and lists of tables: {"optimiser": {"lr": 1}} -> {"optimiser.lr": 1}."""
    result: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            result |= flat(value, f"{prefix}{name}.")
        elif isinstance(value, (list, tuple)) and value and isinstance(value[0], Mapping):
            for number, item in enumerate(value):
                result |= flat(item, f"{prefix}{name}[{number}].")
        else:
            result[f"{prefix}{name}"] = list(value) if isinstance(value, tuple) else value
    return result


def _trainable(config: A2FConfig | Network, *, init: Weights | None, device: torch.device) -> Trainable:
    if isinstance(config, Network):
        return GeneralNetwork(config, device=device)
    start = to_weights(A2F(config)) if init is None else transfer_weights(init, config)[0]
    return TrainingNetwork(start, device=device)


def transfer_weights(init: Weights, config: A2FConfig) -> tuple[Weights, list[str]]:
    """Initial weights, copied from other weights as far as they fit.

    Args:
        init: weights of the same network, or of the same variant at another scale.
        config: the network to train.

    Returns:
        The weights, and the names of the tensors with new initial values (`tail` and `skip` at another scale).

    Raises:
        WeightsError: if another tensor does not fit.
    """
    fresh = to_weights(A2F(config))
    fits = {
        name: value
        for name, value in init.tensors.items()
        if name in fresh.tensors and fresh.tensors[name].shape == value.shape
    }
    missing = [name for name in fresh.tensors if name not in fits]
    if any(not name.startswith(("tail.", "skip.")) for name in missing):
        raise WeightsError(
            f"weights of {init.config.variant} x{init.config.scale} cannot start {config.variant} x{config.scale}: "
            f"{missing[0]} has another shape; give weights of the same variant"
        )
    return replace(fresh, tensors={**fresh.tensors, **fits}), missing
