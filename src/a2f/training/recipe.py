"""Recipes: all settings of a training run, typed, validated, read from TOML."""

import difflib
import json
import math
import tomllib
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from importlib.resources import files
from pathlib import Path
from types import UnionType
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from a2f.data.degrade import Degradation
from a2f.errors import UsageError, did_you_mean

BUILT_IN = ("anytime", "fast", "paper", "robust")

T = TypeVar("T")
MAX_WARMUP = 0.1  # share of a run with a planned end
MAX_RATE = 1e30  # larger values are infinite in float32


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise UsageError(message)


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A section of the run with its own batch, patch and loss.

    Attributes:
        until: end of the stage as a fraction of the run in (0, 1]; the last stage ends at 1.
        until_step: end of the stage in steps, instead of `until`, for a run without an end. 0 for the last stage.
        batch: patches per step, over all processes.
        patch: side of an LR patch, pixels.
        loss: "l1", "l2" or "charbonnier", on RGB in [0, 1].
        frequency: weight of an L1 loss between the 2-D Fourier spectra, added to the loss.
        precision: precision of the convolutions, "fp32" or "bf16"; CPUs without bf16 instructions use fp32 instead.
    """

    until: float = 1.0
    until_step: int = 0
    batch: int = 16
    patch: int = 48
    loss: Literal["l1", "l2", "charbonnier"] = "l1"
    frequency: float = 0.0
    precision: Literal["fp32", "bf16"] = "fp32"

    def __post_init__(self) -> None:
        _require(0 < self.until <= 1, f"until = {self.until}: a fraction of the run, over 0 and at most 1")
        _require(self.until_step >= 0, f"until_step = {self.until_step}: at least 0")
        _require(1 <= self.batch <= 65536, f"batch = {self.batch}: from 1 to 65,536")
        _require(8 <= self.patch <= 4096, f"patch = {self.patch}: from 8 to 4,096 LR pixels")
        _require(self.frequency >= 0, f"frequency = {self.frequency}: at least 0")


@dataclass(frozen=True, kw_only=True)
class Optimiser:
    """The optimiser and its learning rate over the run.

    Attributes:
        kind: "adam"; or "muon" for the kernels with weight normalisation and Adam for all other parameters.
        lr: highest learning rate of Adam.
        kernel_lr: highest learning rate of Muon; it follows the same schedule.
        momentum: momentum of Muon.
        schedule: "cosine" falls from `lr` to `lr * floor`; "halving" halves it every `halve_every` steps; "anytime" is
            `lr / sqrt(1 + step / anytime_steps)` and needs no planned end.
        warmup: steps in which the rate rises from 0; at most a tenth of a run with a planned end.
        floor: the last rate as a fraction of `lr` (cosine).
        halve_every: steps between two halvings (halving).
        anytime_steps: T0, the step at which the rate is `lr / sqrt(2)` (anytime).
        beta1, beta2, eps: parameters of Adam.
        clip: largest gradient norm; 0 disables clipping.
    """

    kind: Literal["adam", "muon"] = "adam"
    lr: float = 1e-3
    kernel_lr: float = 0.02
    momentum: float = 0.95
    schedule: Literal["cosine", "halving", "anytime"] = "halving"
    warmup: int = 0
    floor: float = 0.005
    halve_every: int = 200_000
    anytime_steps: int = 10_000
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    clip: float = 0.0

    def __post_init__(self) -> None:
        rates = f"lr = {self.lr}, kernel_lr = {self.kernel_lr}"
        _require(0 < self.lr <= MAX_RATE and 0 < self.kernel_lr <= MAX_RATE, f"{rates}: over 0, up to {MAX_RATE:g}")
        _require(0 <= self.momentum < 1, f"momentum = {self.momentum}: at least 0 and below 1")
        _require(self.warmup >= 0, f"warmup = {self.warmup}: at least 0")
        _require(0 <= self.floor <= 1, f"floor = {self.floor}: between 0 and 1")
        _require(self.halve_every >= 1, f"halve_every = {self.halve_every}: at least 1")
        _require(self.anytime_steps >= 1, f"anytime_steps = {self.anytime_steps}: at least 1")
        _require(0 <= self.beta1 < 1 and 0 <= self.beta2 < 1, "beta1 and beta2: at least 0 and below 1")
        _require(self.eps > 0 and self.clip >= 0, "eps over 0, clip at least 0")

    def lr_factor(self, *, step: int, done: float) -> float:
        """The learning rate of a step as a fraction of the highest rate, in [0, 1].

        Args:
            step: number of steps before this one.
            done: the fraction of the run that is done, in [0, 1]; 0 in a run without an end.
        """
        # A short run could end before its warm-up, so the warm-up is at most a tenth of the run.
        warm = min(1.0, max((step + 1) / self.warmup, done / MAX_WARMUP)) if self.warmup else 1.0
        if self.schedule == "anytime":
            return float(warm / math.sqrt(1 + step / self.anytime_steps))
        if self.schedule == "halving":
            return float(warm * 0.5 ** (step // self.halve_every))
        return warm * (self.floor + (1 - self.floor) * 0.5 * (1 + math.cos(math.pi * done)))


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """The settings of a training run.

    Attributes:
        steps: optimiser steps of the run; 0 if `minutes` limits it.
        minutes: wall-clock minutes of the run; 0 if `steps` limits it. A run in minutes is not repeatable. With the
            schedule "anytime" both may be 0: the run continues until it is interrupted.
        seed: seed of all random numbers.
        ema: decay of the averaged weights, which are evaluated and saved; 0 uses the current weights.
        averages: widths of power-law averages instead of `ema`, each greater than 0 and at most 0.25 of the run so far.
            All are kept; the best on the validation images is written.
        busiest_of: number of random positions per patch; the one with the most detail is used.
        teacher_share: share of the loss against the teacher's images instead of the photographs.
        evaluate_every: steps between evaluations, which also write a checkpoint.
        save_minutes: wall-clock minutes between checkpoints between two evaluations.
        keep: number of latest checkpoints to keep, besides the best.
        optimiser: the optimiser and its schedule.
        stages: the stages in order; the last one ends at 1.
        degradation: degradation of the LR patches; None for no degradation.
    """

    steps: int = 0
    minutes: float = 0.0
    seed: int = 0
    ema: float = 0.0
    averages: tuple[float, ...] = ()
    busiest_of: int = 1
    teacher_share: float = 0.0
    evaluate_every: int = 1000
    save_minutes: float = 10.0
    keep: int = 3
    optimiser: Optimiser = field(default_factory=Optimiser)
    stages: tuple[Stage, ...] = (Stage(),)
    degradation: Degradation | None = None

    def __post_init__(self) -> None:
        endless = self.optimiser.schedule == "anytime" and self.steps == self.minutes == 0
        _require(endless or (self.steps > 0) != (self.minutes > 0), "exactly one of steps and minutes is over 0")
        _require(self.steps >= 0 and self.minutes >= 0, "steps and minutes: at least 0")
        _require(math.isfinite(self.minutes), f"minutes = {self.minutes}: must be a finite number")
        _require(0 <= self.seed < 2**63, f"seed = {self.seed}: at least 0 and below 2^63")
        _require(0 <= self.ema < 1, f"ema = {self.ema}: at least 0 and below 1")
        _require(
            all(0 < width <= 0.25 for width in self.averages), f"averages = {list(self.averages)}: over 0, up to 0.25"
        )
        _require(not (self.ema and self.averages), "ema and averages both given: choose one")
        _require(1 <= self.busiest_of <= 16, f"busiest_of = {self.busiest_of}: from 1 to 16")
        _require(0 <= self.teacher_share <= 1, f"teacher_share = {self.teacher_share}: between 0 and 1")
        _require(self.save_minutes > 0, f"save_minutes = {self.save_minutes}: over 0")
        _require(self.evaluate_every >= 1 and self.keep >= 1, "evaluate_every and keep: at least 1")
        ends = [stage.until for stage in self.stages]
        if any(stage.until_step for stage in self.stages):
            steps = [stage.until_step for stage in self.stages]
            rising = sorted(set(steps[:-1])) == steps[:-1] and steps[-1] == 0
            _require(rising and set(ends) == {1.0}, f"stages end at steps {steps}: rising, the last 0, and no `until`")
        else:
            _require(not endless or len(ends) < 2, "the stages of a run without an end have `until_step`, not `until`")
            _require(
                bool(ends) and ends[-1] == 1 and sorted(set(ends)) == ends,
                f"stages end at {ends}: rising, the last at 1",
            )

    def stage(self, *, step: int, done: float) -> Stage:
        """The stage of a step.

        Args:
            step: number of steps before this one.
            done: the fraction of the run that is done, in [0, 1]; 0 in a run without an end.
        """
        if any(stage.until_step for stage in self.stages):
            return next((stage for stage in self.stages if step < stage.until_step), self.stages[-1])
        return next((stage for stage in self.stages if done < stage.until), self.stages[-1])

    def bounded(self, *, steps: int | None = None, minutes: float | None = None) -> "Recipe":
        """A copy of the recipe with another length; at most one of the two may be given."""
        if steps is not None and minutes is not None:
            raise UsageError("steps and minutes are both given: choose one of them")
        if steps is not None:
            return replace(self, steps=steps, minutes=0.0)
        return self if minutes is None else replace(self, steps=0, minutes=minutes)


def built_in_text(name: str) -> str:
    """The TOML text of a built-in recipe.

    Raises:
        UsageError: for any other name.
    """
    if name not in BUILT_IN:
        hint, names = did_you_mean(name, BUILT_IN), f"{', '.join(BUILT_IN[:-1])} or {BUILT_IN[-1]}"
        raise UsageError(f"unknown recipe {name!r}{hint}: choose {names}, or give a .toml file")
    return (files("a2f.training") / "recipes" / f"{name}.toml").read_text(encoding="utf-8")


def read_recipe(source: str | Path) -> Recipe:
    """Read a built-in recipe by its name, or a recipe from a TOML file.

    Raises:
        UsageError: for a missing file, broken TOML, an unknown key (the message names the most similar key) or a bad
            value.
    """
    if str(source) in BUILT_IN:
        return parse_recipe(built_in_text(str(source)), name=f"recipe {source}")
    path = Path(source)
    if path.suffix != ".toml":
        built_in_text(str(source))
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read recipe {path}: {error}") from error
    return parse_recipe(text, name=str(path))


def parse_recipe(text: str, *, name: str = "recipe") -> Recipe:
    """Read a recipe from TOML text.

    Raises:
        UsageError: for broken TOML, an unknown key or a bad value.
    """
    try:
        return _build(Recipe, tomllib.loads(text), where="")
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{name}: not TOML: {error}") from error
    except UsageError as error:
        raise UsageError(f"{name}: {error}") from error


def recipe_toml(recipe: Recipe) -> str:
    """The TOML text of a recipe; `parse_recipe` is the inverse."""
    given = asdict(recipe)
    optimiser, stages, degradation = given.pop("optimiser"), given.pop("stages"), given.pop("degradation")
    parts = [_lines(given), "[optimiser]", _lines(optimiser)]
    for stage in stages:
        parts += ["[[stages]]", _lines(stage)]
    if degradation is not None:
        parts += ["[degradation]", _lines(degradation)]
    return "\n".join(parts)


def _lines(values: dict[str, Any]) -> str:
    return "".join(f"{key} = {json.dumps(value)}\n" for key, value in values.items())


def _build(kind: type[T], given: dict[str, Any], *, where: str) -> T:
    hints = get_type_hints(kind)
    known = [f.name for f in fields(kind)]  # type: ignore[arg-type]
    for key in given:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            hint = f", did you mean {near[0]}?" if near else f": known are {', '.join(known)}"
            raise UsageError(f"unknown key {where}{key}{hint}")
    return kind(**{key: _value(hints[key], value, where=f"{where}{key}") for key, value in given.items()})


def _value(hint: Any, value: Any, *, where: str) -> Any:
    if get_origin(hint) is tuple:
        inner = f"tables, [[{where}]]" if is_dataclass(get_args(hint)[0]) else "numbers"
        _require(isinstance(value, list), f"{where}: a list of {inner}")
        return tuple(_value(get_args(hint)[0], item, where=f"{where}[{i}]") for i, item in enumerate(value))
    if get_origin(hint) is UnionType:  # an optional table
        return _value(get_args(hint)[0], value, where=where)
    if is_dataclass(hint):
        _require(isinstance(value, dict), f"{where}: a table, [{where}]")
        return _build(hint, value, where=f"{where}.")  # type: ignore[arg-type]
    if get_origin(hint) is Literal:
        _require(value in get_args(hint), f"{where} = {value!r}: one of {', '.join(map(repr, get_args(hint)))}")
        return value
    wanted: type | UnionType = (int | float) if hint is float else hint
    _require(isinstance(value, wanted) and not isinstance(value, bool), f"{where} = {value!r}: must be {hint.__name__}")
    _require(not isinstance(value, float) or math.isfinite(value), f"{where} = {value!r}: must be a finite number")
    return hint(value)
