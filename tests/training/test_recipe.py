from dataclasses import fields

import pytest

from a2f.data.degrade import Degradation
from a2f.errors import UsageError
from a2f.training.recipe import (
    BUILT_IN,
    Optimiser,
    Recipe,
    Stage,
    built_in_text,
    parse_recipe,
    read_recipe,
    recipe_toml,
)


def test_paper_recipe_has_the_settings_of_the_paper() -> None:
    recipe = read_recipe("paper")
    o, (stage,) = recipe.optimiser, recipe.stages
    assert (recipe.steps, recipe.ema, o.lr, o.halve_every) == (1_000_000, 0, 1e-3, 200_000)
    assert (o.beta1, o.beta2, o.eps, o.schedule, o.clip) == (0.9, 0.999, 1e-8, "halving", 0)
    assert (stage.batch, stage.patch, stage.loss, stage.precision) == (16, 48, "l1", "fp32")
    assert o.lr_factor(step=199_999, done=0.2) == 1
    assert o.lr_factor(step=200_000, done=0.2) == 0.5


@pytest.mark.parametrize("name", BUILT_IN)
def test_toml_round_trip(name: str) -> None:
    recipe = read_recipe(name)
    assert parse_recipe(recipe_toml(recipe)) == recipe


def test_degradation_is_optional() -> None:
    """Older checkpoints have no degradation."""
    without = Recipe(steps=3)
    assert "degradation" not in recipe_toml(without)
    assert parse_recipe("steps = 3").degradation is None
    asked = Recipe(steps=3, degradation=Degradation(blur=0.5, quality_min=40))
    assert parse_recipe(recipe_toml(asked)) == asked != without
    assert parse_recipe("steps = 3\n[degradation]").degradation == Degradation()


def test_robust_recipe_sets_every_field_of_the_degradation() -> None:
    text = built_in_text("robust")
    assert read_recipe("robust").degradation == Degradation()
    assert all(f"\n{field.name} = " in text for field in fields(Degradation))
    assert [read_recipe(name).degradation for name in ("fast", "paper")] == [None, None]


def test_cosine_rises_falls_and_ends_at_its_floor() -> None:
    o = Optimiser(lr=1.0, schedule="cosine", warmup=10, floor=0.01)
    assert o.lr_factor(step=0, done=0) == pytest.approx(0.1)
    assert o.lr_factor(step=100, done=0) == pytest.approx(1.0)
    assert o.lr_factor(step=100, done=0.5) == pytest.approx(0.505)
    assert o.lr_factor(step=100, done=1) == pytest.approx(0.01)


def test_the_warm_up_takes_at_most_a_tenth_of_a_planned_run() -> None:
    o = Optimiser(lr=1.0, schedule="halving", warmup=200)
    assert [o.lr_factor(step=step, done=step / 20) for step in (0, 1, 2, 19)] == pytest.approx([0.005, 0.5, 1, 1])
    assert o.lr_factor(step=99, done=99 / 100_000) == pytest.approx(0.5)  # a long run warms up as its recipe says
    assert o.lr_factor(step=99, done=0) == pytest.approx(0.5)  # a run without an end as well


def test_stages_are_used_in_order() -> None:
    recipe = Recipe(steps=10, stages=(Stage(until=0.5, patch=16), Stage(until=1, patch=32)))
    assert [recipe.stage(step=0, done=d).patch for d in (0, 0.49, 0.5, 1)] == [16, 16, 32, 32]
    endless = Recipe(optimiser=Optimiser(schedule="anytime"), stages=(Stage(until_step=100, patch=16), Stage(patch=32)))
    assert [endless.stage(step=s, done=0).patch for s in (0, 99, 100, 10**6)] == [16, 16, 32, 32]


def test_the_anytime_rate_falls_with_the_root_of_the_step() -> None:
    o = Optimiser(schedule="anytime", anytime_steps=1000, warmup=10)
    assert o.lr_factor(step=0, done=0) == pytest.approx(0.1, rel=1e-3)
    assert o.lr_factor(step=3000, done=0) == pytest.approx(0.5)
    assert o.lr_factor(step=99_000, done=0.9) == pytest.approx(0.1)  # whatever part of the run is over


def test_only_an_anytime_recipe_may_have_no_end() -> None:
    assert read_recipe("anytime").bounded(steps=5).steps == 5
    assert (read_recipe("anytime").steps, read_recipe("anytime").minutes) == (0, 0)
    with pytest.raises(UsageError, match="exactly one of steps and minutes"):
        Recipe(optimiser=Optimiser(schedule="cosine"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("stpes = 3", "unknown key stpes, did you mean steps?"),
        ("minutes = inf", "must be a finite number"),
        ("steps = 3\nseed = -1", "seed = -1: at least 0"),
        ('[optimiser]\nschedule = "anytime"\n[[stages]]\nuntil = 0.5\n[[stages]]', "have `until_step`"),
        ("steps = 3\n[[stages]]\npatch = 5000", "from 8 to 4,096"),
        ("steps = 3\naverages = [0.3]", "over 0, up to 0.25"),
        ("steps = 3\naverages = 0.1", "a list of numbers"),
        ("steps = 3\nema = 0.9\naverages = [0.1]", "choose one"),
        ("steps = 3\n[optimiser]\nanytime_steps = 0", "anytime_steps = 0: at least 1"),
        ("steps = 3\n[[stages]]\nuntil_step = 5", "rising, the last 0"),
        ("steps = 3\n[[stages]]\nuntil = 0.5\nuntil_step = 5\n[[stages]]", "no `until`"),
        ("steps = 3\n[optimiser]\nlearning = 1", "unknown key optimiser.learning"),
        ("steps = 3\n[[stages]]\nbtach = 1", r"unknown key stages\[0\].btach, did you mean batch"),
        ("steps = 'many'", "must be int"),
        ("steps = 3.5", "must be int"),
        ("steps = true", "must be int"),
        ("steps = 3\nema = nan", "finite"),
        ("steps = 3\nema = 1.0", "below 1"),
        ("steps = 3\nminutes = 3", "exactly one of steps and minutes"),
        ("", "exactly one of steps and minutes"),
        ("steps = 3\nstages = 4", "a list of tables"),
        ("steps = 3\noptimiser = 4", "a table"),
        ("steps = 3\n[[stages]]\nloss = 'l3'", "one of 'l1', 'l2', 'charbonnier'"),
        ("steps = 3\n[[stages]]\nuntil = 0.5", "the last at 1"),
        ("steps = 3\n[optimiser]\nlr = 0", "over 0"),
        ("steps = 3\n[optimiser]\nkernel_lr = 0", "over 0"),
        ("steps = 3\n[optimiser]\nmomentum = 1", "below 1"),
        ("steps = 3\n[optimiser]\nkind = 'sgd'", "one of 'adam', 'muon'"),
        ("steps = 3\ndegradation = 4", r"a table, \[degradation\]"),
        ("steps = 3\n[degradation]\njpg = 1", "unknown key degradation.jpg, did you mean jpeg?"),
        ("steps = 3\n[degradation]\nquality_min = 30.5", "degradation.quality_min = 30.5: must be int"),
        ("steps = 3\n[degradation]\nblur = 2", "degradation: blur = 2.0: a share between 0 and 1"),
        ("steps =", "not TOML"),
    ],
)
def test_bad_recipes(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_recipe(text)


def test_missing_and_unknown_recipes(tmp_path) -> None:
    with pytest.raises(UsageError, match="choose anytime, fast, paper or robust"):
        read_recipe("quick")
    with pytest.raises(UsageError, match="cannot read recipe"):
        read_recipe(tmp_path / "none.toml")


def test_settings_outside_their_bounds_are_refused() -> None:
    recipe = read_recipe("fast")
    assert recipe.bounded(steps=5).steps == 5
    assert recipe.bounded(steps=5).minutes == 0
    assert recipe.bounded(minutes=2).minutes == 2
    assert recipe.bounded() == recipe
    with pytest.raises(UsageError, match="both"):
        recipe.bounded(steps=1, minutes=1)
