"""Training runs: learning, resuming, and equal results with one and two processes."""

import dataclasses
import hashlib
import io
import math
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from a2f.cli.main import cli
from a2f.cli.train import progress_line
from a2f.data.degrade import Degradation, jpeg
from a2f.data.patches import Patches
from a2f.errors import InputError, WeightsError
from a2f.export.graph import export_onnx
from a2f.figures.curves import plot_runs
from a2f.metrics import psnr_y
from a2f.resize import imresize
from a2f.training.checkpoint import list_checkpoints, load_checkpoint, step_of
from a2f.training.interrupts import Interrupts
from a2f.training.log import Log, read_log
from a2f.training.loop import NonFiniteLossError, Progress, Run, transfer_weights
from a2f.training.recipe import Optimiser, Recipe, Stage, parse_recipe
from a2f.training.step import loss_of
from a2f.training.validation import enlarged
from a2f.variants import A2FConfig, config_of
from a2f.weights import find_shipped, lambdas, read_weights

SMALL = A2FConfig(variant="tiny", scale=2, channels=4, blocks=2, hidden=8)
RECIPE = Recipe(
    steps=12, ema=0.9, busiest_of=2, evaluate_every=4, keep=2,
    optimiser=Optimiser(lr=5e-3, schedule="cosine", warmup=2, clip=1.0),
    stages=(Stage(until=0.6, batch=4, patch=8), Stage(until=1, batch=2, patch=12)),
)  # fmt: skip


def images(count: int = 3) -> list[tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(0)
    made = []
    for _ in range(count):
        y, x = np.mgrid[0:48, 0:64]
        wave = 127 + 100 * np.sin(x / rng.uniform(2, 6)) * np.cos(y / rng.uniform(2, 6))
        hr = np.stack([wave, wave.T[:48, :48].repeat(2, 1)[:, :64], 255 - wave], axis=-1).clip(0, 255).astype(np.uint8)
        made.append((hr, imresize(hr, scale=1 / 2)))
    return made


class StopError(Exception):
    """Raised by a report to end a run."""


def make_run(folder: Path, recipe: Recipe = RECIPE, config: A2FConfig = SMALL, **options: object) -> Run:
    folder.mkdir(exist_ok=True)
    patches = Patches(images(), scale=2, seed=recipe.seed, device=torch.device("cpu"), degradation=recipe.degradation)
    return Run(
        config, recipe, patches=patches, validation=images(1), folder=folder, device=torch.device("cpu"), **options
    )


def state_of(run: Run) -> dict[str, torch.Tensor]:
    both = {f"now.{k}": v for k, v in run.network.parameters.items()}
    for number, values in enumerate(run.averages.values):
        both |= {f"average {number}.{k}": v for k, v in values.items()}
    return {name: value.detach().clone() for name, value in both.items()}


def assert_same_weights(one: Path, other: Path) -> None:
    """Check that two states are equal bit for bit."""
    a, b = read_weights(one).tensors, read_weights(other).tensors
    for name, value in a.items():
        assert value.tobytes() == b[name].tobytes(), name


@pytest.mark.integration
def test_training_improves_psnr_and_writes_the_reported_weights(tmp_path: Path) -> None:
    recipe = dataclasses.replace(RECIPE, steps=150, evaluate_every=50)
    reports: list[Progress] = []
    run = make_run(tmp_path, recipe)
    before = run.score(0).psnr_y
    run.train(reports.append)
    assert [r.step for r in reports] == [50, 100, 150]
    assert reports[-1].loss < reports[0].loss
    assert run.best > before + 3
    weights = read_weights(tmp_path / "best.safetensors")
    assert weights.config == SMALL
    again = make_run(tmp_path / "again", recipe, init=weights)
    assert again.score(0).psnr_y == pytest.approx(run.best, abs=1e-3)


@pytest.mark.integration
@pytest.mark.parametrize(
    ("kind", "degradation"), [("adam", None), ("muon", None), ("muon", Degradation(blur=0.5, noise=0.5))]
)
def test_resumed_run_equals_an_uninterrupted_run_exactly(kind, degradation, tmp_path: Path) -> None:
    optimiser = dataclasses.replace(RECIPE.optimiser, kind=kind)
    recipe = dataclasses.replace(RECIPE, optimiser=optimiser, degradation=degradation)
    whole = make_run(tmp_path / "whole", recipe)
    whole.train(lambda p: None)

    def stop_at(step: int):
        def report(p: Progress) -> None:
            if p.step == step:
                raise StopError

        return report

    parts = make_run(tmp_path / "parts", recipe)
    with pytest.raises(StopError):
        parts.train(stop_at(4))
    for last in (8, 12):
        parts = make_run(tmp_path / "parts", recipe)
        torch.manual_seed(last)  # nothing may hang on the state of the process
        parts.resume()
        assert parts.step == last - 4
        if last == 12:
            parts.train(lambda p: None)
        else:
            with pytest.raises(StopError):
                parts.train(stop_at(last))
    expected, found = state_of(whole), state_of(parts)
    for name, value in expected.items():
        assert torch.equal(value, found[name]), name
    assert_same_weights(tmp_path / "whole/last.safetensors", tmp_path / "parts/last.safetensors")


def test_checkpoints_are_also_written_by_time(tmp_path: Path) -> None:
    recipe = dataclasses.replace(RECIPE, steps=6, evaluate_every=100, save_minutes=1e-9, keep=9)
    saved: list[int] = []
    run = make_run(tmp_path, recipe)
    real = run.save
    run.save = lambda: saved.append(run.step) or real()
    run.train(lambda p: None)
    assert saved == [1, 2, 3, 4, 5, 6, 6]  # after each step, and at the end


def test_several_averages_resume_and_the_best_is_written(tmp_path: Path) -> None:
    recipe = dataclasses.replace(RECIPE, ema=0.0, averages=(0.05, 0.2), steps=8)
    reports: list[Progress] = []
    make_run(tmp_path / "whole", recipe).train(reports.append)
    scores = {}
    again = make_run(tmp_path / "whole", recipe)
    again.resume()
    for number, kind in enumerate(again.averages.kinds):
        scores[kind.width] = again.score(number).psnr_y
    assert len(set(scores.values())) == 2
    assert reports[-1].width == max(scores, key=lambda width: scores[width])
    written = read_weights(tmp_path / "whole/last.safetensors").tensors
    network: Any = again.network
    chosen = network.weights(again.averages.values[again.chosen]).tensors
    assert all(np.array_equal(value, chosen[name]) for name, value in written.items())

    def stop(progress: Progress) -> None:
        raise StopError

    with pytest.raises(StopError):
        make_run(tmp_path / "parts", recipe).train(stop)
    parts = make_run(tmp_path / "parts", recipe)
    parts.resume()
    assert parts.step == 4
    parts.train(lambda p: None)
    assert_same_weights(tmp_path / "whole/last.safetensors", tmp_path / "parts/last.safetensors")


def test_endless_run_continues_until_interrupted(tmp_path: Path) -> None:
    optimiser = Optimiser(schedule="anytime", anytime_steps=3, lr=1e-3)
    recipe = dataclasses.replace(RECIPE, steps=0, optimiser=optimiser, stages=(Stage(batch=2, patch=8),))
    run = make_run(tmp_path, recipe)
    seen: list[Progress] = []

    def report(progress: Progress) -> None:
        seen.append(progress)
        if progress.step == 12:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(KeyboardInterrupt):
        run.train(report)
    assert [p.step for p in seen] == [4, 8, 12]
    assert {p.done for p in seen} == {0.0}
    assert step_of(list_checkpoints(tmp_path)[0]) == 13


def test_old_checkpoints_are_deleted_except_the_best(tmp_path: Path) -> None:
    run = make_run(tmp_path, dataclasses.replace(RECIPE, steps=20, keep=2))
    run.train(lambda p: None)
    steps = [step_of(p) for p in list_checkpoints(tmp_path)]
    assert steps[:2] == [20, 16]
    assert set(steps) - {20, 16} <= {run.best_step}


def test_damaged_checkpoint_error_names_the_previous_one(tmp_path: Path) -> None:
    make_run(tmp_path).train(lambda p: None)
    last, before = list_checkpoints(tmp_path)[:2]
    blob = bytearray(last.read_bytes())
    for spoiled in (blob[: len(blob) // 2], blob[:500] + b"\xff" + blob[501:], b""):
        last.write_bytes(spoiled)
        with pytest.raises(WeightsError, match=f"damaged.*the checkpoint before it is .*{before.name}"):
            load_checkpoint(last)
    with pytest.raises(WeightsError, match="names are step_"):
        load_checkpoint(tmp_path / "last.safetensors")
    run = make_run(tmp_path)
    run.resume(before)
    assert run.step == step_of(before)


def test_another_recipe_or_network_is_refused(tmp_path: Path) -> None:
    make_run(tmp_path).train(lambda p: None)
    with pytest.raises(WeightsError, match="another network or recipe"):
        make_run(tmp_path, dataclasses.replace(RECIPE, seed=1)).resume()
    with pytest.raises(WeightsError, match="another network or recipe"):
        make_run(tmp_path, config=dataclasses.replace(SMALL, channels=8)).resume()
    with pytest.raises(WeightsError, match="no checkpoint"):
        make_run(tmp_path / "new").resume()


def test_a_run_without_a_planned_end_may_get_another_length(tmp_path: Path) -> None:
    anytime = dataclasses.replace(RECIPE.optimiser, schedule="anytime")
    stages = (Stage(batch=2, patch=8),)
    recipe = dataclasses.replace(RECIPE, steps=4, optimiser=anytime, stages=stages)
    make_run(tmp_path / "parts", recipe).train(lambda p: None)
    longer = dataclasses.replace(recipe, steps=8, evaluate_every=8)
    parts = make_run(tmp_path / "parts", longer)
    parts.resume()
    parts.train(lambda p: None)
    make_run(tmp_path / "whole", longer).train(lambda p: None)
    assert_same_weights(tmp_path / "whole/last.safetensors", tmp_path / "parts/last.safetensors")


def test_error_lists_only_the_differences_from_the_run(tmp_path: Path) -> None:
    make_run(tmp_path).train(lambda p: None)
    other = dataclasses.replace(RECIPE, steps=13, optimiser=dataclasses.replace(RECIPE.optimiser, lr=1e-3))
    with pytest.raises(WeightsError) as error:
        make_run(tmp_path, other).resume()
    changes = [line.strip() for line in str(error.value).splitlines()[1:-1]]
    assert changes == ["steps: 12, now 13", "optimiser.lr: 0.005, now 0.001"]
    assert "recipe.toml" in str(error.value)


def test_nan_stops_the_run_and_keeps_the_state(tmp_path: Path) -> None:
    run = make_run(tmp_path, dataclasses.replace(RECIPE, steps=100, optimiser=Optimiser(lr=1e20)))
    with pytest.raises(NonFiniteLossError, match=r"lower optimiser\.lr"):
        run.train(lambda p: None)
    for path in list_checkpoints(tmp_path):
        assert load_checkpoint(path).step == step_of(path)


@pytest.mark.integration
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupt_saves_after_the_step_and_resumes_exactly(number, tmp_path: Path) -> None:
    whole: list[Progress] = []
    make_run(tmp_path / "whole").train(whole.append)
    run = make_run(tmp_path / "parts")
    patches = run.patches
    real = patches.batch

    def interrupted(step: int, **options: object) -> object:
        if step == 6:
            os.kill(os.getpid(), number)
        return real(step, **options)

    patches.batch = interrupted
    before = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]
    parts: list[Progress] = []
    with pytest.raises(KeyboardInterrupt):
        run.train(parts.append)
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)] == before
    assert step_of(list_checkpoints(tmp_path / "parts")[0]) == 7
    again = make_run(tmp_path / "parts")
    again.resume()
    again.train(parts.append)
    assert [p.loss for p in parts] == [p.loss for p in whole]  # the mean since the report before, not since the resume
    assert_same_weights(tmp_path / "whole/last.safetensors", tmp_path / "parts/last.safetensors")


def test_checkpoint_without_losses_can_be_resumed(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    run.train(lambda p: None)
    path = list_checkpoints(tmp_path)[0]
    old = torch.load(path, weights_only=True)
    del old["losses"], old["reported"]
    buffer = io.BytesIO()
    torch.save(old, buffer)
    older = tmp_path / f"step_00000012_{hashlib.sha256(buffer.getvalue()).hexdigest()[:12]}.pt"
    path.unlink()
    older.write_bytes(buffer.getvalue())
    again = make_run(tmp_path)
    again.resume()
    assert (again.step, again.reported, float(again.losses)) == (12, 12, 0.0)


def recorded_precision(folder: Path) -> str:
    """The precision of the first stage in the last weights of a run."""
    return parse_recipe(read_weights(folder / "last.safetensors").metadata["recipe"]).stages[0].precision


@pytest.mark.parametrize(
    ("capabilities", "dtype"),
    [({"avx512_bf16": False}, torch.float32), ({"avx512_bf16": True}, torch.bfloat16), ({}, torch.bfloat16)],
)
def test_bf16_becomes_fp32_on_cpus_without_bf16(capabilities, dtype, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    recipe = dataclasses.replace(RECIPE, steps=1, stages=(Stage(batch=2, patch=8, precision="bf16"),))
    run, seen = make_run(tmp_path, recipe), []
    real = run.network.forward

    def forward(x: torch.Tensor, *, dtype: torch.dtype) -> torch.Tensor:
        seen.append(dtype)
        return real(x, dtype=dtype)

    monkeypatch.setattr(run.network, "forward", forward)
    run.train(lambda p: None)
    assert seen == [dtype]
    assert recorded_precision(tmp_path) == ("fp32" if dtype == torch.float32 else "bf16")


@pytest.mark.parametrize(("begun", "then"), [(True, False), (False, True)])
def test_run_resumes_on_cpus_with_and_without_bf16(begun: bool, then: bool, tmp_path, monkeypatch) -> None:
    """A run in fp32 stays in fp32, and the weights name the precision of the last steps."""

    def stop(progress: Progress) -> None:
        raise StopError

    recipe = dataclasses.replace(RECIPE, steps=4, evaluate_every=2, stages=(Stage(batch=2, patch=8, precision="bf16"),))
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": begun}, raising=False)
    run = make_run(tmp_path, recipe)
    with pytest.raises(StopError):
        run.train(stop)
    assert recorded_precision(tmp_path) == ("bf16" if begun else "fp32")
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": then}, raising=False)
    again = make_run(tmp_path, recipe)
    again.resume()
    again.train(lambda p: None)
    assert again.step == 4
    assert recorded_precision(tmp_path) == "fp32"


def test_run_started_in_fp32_stays_in_fp32(tmp_path, monkeypatch) -> None:
    def stop(progress: Progress) -> None:
        raise StopError

    recipe = dataclasses.replace(RECIPE, steps=4, evaluate_every=2, stages=(Stage(batch=2, patch=8, precision="bf16"),))
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": False}, raising=False)
    with pytest.raises(StopError):
        make_run(tmp_path, recipe).train(stop)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True}, raising=False)
    again = make_run(tmp_path, recipe)
    again.resume()
    seen, real = [], again.network.forward

    def forward(x: torch.Tensor, *, dtype: torch.dtype) -> torch.Tensor:
        seen.append(dtype)
        return real(x, dtype=dtype)

    monkeypatch.setattr(again.network, "forward", forward)
    again.train(lambda p: None)
    assert seen == [torch.float32] * 2


@pytest.mark.integration
@pytest.mark.parametrize("at", [3, 7, 11])  # the steps 4, 8 and 12 are evaluated, the last ends the run
def test_interrupt_in_an_evaluated_step_loses_no_evaluation(at: int, tmp_path: Path) -> None:
    whole: list[Progress] = []
    make_run(tmp_path / "whole").train(whole.append)
    parts: list[Progress] = []
    run = make_run(tmp_path / "parts")
    patches, real = run.patches, run.patches.batch

    def interrupted(step: int, **options: object) -> object:
        if step == at:
            os.kill(os.getpid(), signal.SIGINT)
        return real(step, **options)

    patches.batch = interrupted
    if at < 11:
        with pytest.raises(KeyboardInterrupt):
            run.train(parts.append)
        again = make_run(tmp_path / "parts")
        again.resume()
        again.train(parts.append)
    else:
        run.train(parts.append)
    assert [(p.step, p.psnr_y, p.best) for p in parts] == [(p.step, p.psnr_y, p.best) for p in whole]
    assert_same_weights(tmp_path / "whole/best.safetensors", tmp_path / "parts/best.safetensors")


def test_interrupt_never_saves_nan(tmp_path: Path) -> None:
    run = make_run(tmp_path, dataclasses.replace(RECIPE, steps=30, keep=1))
    patches, real = run.patches, run.patches.batch

    def spoiled(step: int, **options: object) -> object:
        if step == 5:
            with torch.no_grad():
                run.network.parameters["head.bias"].fill_(float("nan"))
            os.kill(os.getpid(), signal.SIGINT)
        return real(step, **options)

    patches.batch = spoiled
    with pytest.raises(NonFiniteLossError, match="the weights became NaN"):
        run.train(lambda p: None)
    assert [step_of(p) for p in list_checkpoints(tmp_path)] == [4]


@pytest.mark.integration
def test_cuda_checkpoint_resumes_on_a_cpu(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    run.train(lambda p: None)
    state = run.optimisers.state_dict()
    state["adam"]["param_groups"][0]["capturable"] = True
    again = make_run(tmp_path / "again")
    again.optimisers.load_state_dict(state)
    again.train(lambda p: None)
    assert again.step == 12


def test_too_small_validation_images_are_refused_at_once(tmp_path: Path) -> None:
    tiny = [(np.zeros((4, 20, 3), np.uint8), np.zeros((2, 10, 3), np.uint8))]
    patches = Patches(images(), scale=2, seed=0, device=torch.device("cpu"))
    with pytest.raises(InputError, match="smaller than 3 LR pixels"):
        Run(SMALL, RECIPE, patches=patches, validation=tiny, folder=tmp_path, device=torch.device("cpu"))


def test_another_precision_is_another_recipe(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True}, raising=False)
    recipe = dataclasses.replace(RECIPE, stages=(Stage(batch=2, patch=8, precision="bf16"),))
    make_run(tmp_path, recipe).train(lambda p: None)
    with pytest.raises(WeightsError, match="another network or recipe"):
        make_run(tmp_path, dataclasses.replace(RECIPE, stages=(Stage(batch=2, patch=8),))).resume()


def test_second_interrupt_stops_at_once() -> None:
    with Interrupts() as interrupts:
        os.kill(os.getpid(), signal.SIGINT)
        assert interrupts.requested
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.integration
def test_initial_weights_of_another_scale_give_head_and_blocks() -> None:
    init = read_weights(find_shipped("sd", scale=4).path)
    start, fresh = transfer_weights(init, config_of("sd", scale=3))
    assert {name.split(".")[0] for name in fresh} == {"tail", "skip"}
    np.testing.assert_array_equal(start.tensors["head.weight"], init.tensors["head.weight"])
    with pytest.raises(WeightsError, match="cannot start m x4"):
        transfer_weights(init, config_of("m", scale=4))


def test_losses() -> None:
    a, b = torch.zeros(1, 12, 2, 2), torch.full((1, 3, 4, 4), 0.5)
    assert loss_of(a, b, Stage(loss="l1"), scale=2).item() == pytest.approx(0.5)
    assert loss_of(a, b, Stage(loss="l2"), scale=2).item() == pytest.approx(0.25)
    assert loss_of(a, b, Stage(loss="charbonnier"), scale=2).item() == pytest.approx(0.5, abs=1e-5)
    # a constant difference of 0.5 has one non-zero coefficient, 0.5 * 16 / 4, in the 4 x 3 real spectrum
    assert loss_of(a, b, Stage(frequency=1.0), scale=2).item() == pytest.approx(0.5 + 2 / 12)


@pytest.mark.integration
def test_log_and_plot(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    run.train(Log(tmp_path, run=run))
    rows = read_log(tmp_path / "log.csv")
    assert [row["step"] for row in rows] == [4, 8, 12]
    Log(tmp_path)(Progress(step=8, seconds=1, done=0.5, loss=1, lr=1, steps_per_second=1, psnr_y=30, best=30))
    assert [row["step"] for row in read_log(tmp_path / "log.csv")] == [4, 8]
    events = EventAccumulator(str(tmp_path / "tensorboard"), size_guidance={"images": 0}).Reload()
    assert {"loss", "lr", "psnr_y", "blocks.1.lambda_att"} <= set(events.Tags()["scalars"])
    shown = [Image.open(io.BytesIO(e.encoded_image_string)) for e in events.Images("sample 1")]
    hr, lr = run.validation[0]
    expected = np.concatenate([imresize(lr, scale=2), enlarged(run.model(), lr), hr], axis=1)
    assert len(shown) == 3
    np.testing.assert_array_equal(np.asarray(shown[-1]), expected)
    assert {name: len(values) for name, values in lambdas(read_weights(tmp_path / "last.safetensors")).items()} == {
        "res": 2,
        "att": 2,
        "x": 2,
    }
    plot_runs({"run": tmp_path}, output=tmp_path / "again.svg")
    assert CliRunner().invoke(cli, ["plot", str(tmp_path)]).exit_code == 0
    with Image.open(tmp_path / "curves.png") as picture:
        assert picture.width > 800


def test_changed_images_are_reported_after_a_resume(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    run.train(lambda p: None)
    again = make_run(tmp_path)
    assert again.resume() == []
    assert again.best == run.best > 0
    again.patches.pairs = images(2)
    again = Run(SMALL, RECIPE, patches=again.patches, validation=images(2), folder=tmp_path, device=torch.device("cpu"))
    first, second = again.resume()
    assert "training images are not those" in first
    assert "validation images are not those" in second
    assert again.best == -math.inf


@pytest.mark.integration
def test_degradation_adds_validation_on_jpeg_files(tmp_path: Path) -> None:
    reports: list[Progress] = []
    run = make_run(tmp_path, dataclasses.replace(RECIPE, degradation=Degradation()))
    log = Log(tmp_path)
    run.train(lambda progress: (reports.append(progress), log(progress))[0])
    hr, lr = run.validation[0]
    last = reports[-1]
    assert last.psnr_y == psnr_y(enlarged(run.model(), lr), hr, border=2)
    assert last.psnr_y_jpeg == psnr_y(enlarged(run.model(), jpeg(lr, quality=50)), hr, border=2) != last.psnr_y
    assert run.best == max((r.psnr_y + r.psnr_y_jpeg) / 2 for r in reports)
    assert [row["psnr_y_jpeg"] for row in read_log(tmp_path / "log.csv")] == [r.psnr_y_jpeg for r in reports]
    assert f"of JPEG files {last.psnr_y_jpeg:.3f} dB" in progress_line(last)
    assert "JPEG" not in progress_line(dataclasses.replace(last, psnr_y_jpeg=math.nan))


def test_log_without_a_new_column_is_continued(tmp_path: Path) -> None:
    progress = Progress(step=4, seconds=1, done=0.5, loss=1, lr=1, steps_per_second=1, psnr_y=30, best=30)
    old = {name: value for name, value in dataclasses.asdict(progress).items() if name != "psnr_y_jpeg"}
    (tmp_path / "log.csv").write_text(",".join(old) + "\n" + ",".join(map(str, old.values())) + "\n")
    Log(tmp_path)(dataclasses.replace(progress, step=8))
    rows = read_log(tmp_path / "log.csv")
    assert [row["step"] for row in rows] == [4, 8]
    assert all(math.isnan(row["psnr_y_jpeg"]) for row in rows)


def photographs(folder: Path) -> Path:
    folder.mkdir()
    for number, (hr, _) in enumerate(images(4)):
        Image.fromarray(hr).save(folder / f"{number}.png")
    return folder


def recipe_file(path: Path, steps: int, batch: int) -> Path:
    path.write_text(
        f"steps = {steps}\nevaluate_every = 2\nema = 0.9\nkeep = 2\n"
        f"[optimiser]\nlr = 1e-3\n[[stages]]\nbatch = {batch}\npatch = 8\n"
    )
    return path


TRAIN = ["train", "s", "-s", "2"]


KILLED = """
import os, signal, sys
from a2f.cli.main import main
from a2f.training import checkpoint, loop
step, when = int(sys.argv.pop(1)), sys.argv.pop(1)
save, write = loop.Run.save, checkpoint.write_bytes_atomic
def kill(*words, **options):
    os.kill(os.getpid(), signal.SIGKILL)
def saved(run):
    if run.step == step:
        if when == "before":
            kill()
        if when == "within":  # last.safetensors is there, and a part of the checkpoint
            checkpoint.write_bytes_atomic = lambda path, blob: write(path, (kill() if n else blob[:99] for n in (0, 1)))
    save(run)
    if run.step == step:
        kill()
loop.Run.save = saved
main()
"""


@pytest.mark.integration
def test_run_killed_many_times_equals_an_uninterrupted_run(tmp_path: Path) -> None:
    data, recipe = photographs(tmp_path / "photos"), recipe_file(tmp_path / "r.toml", 10, 2)
    words = [*TRAIN, "--data", str(data), "--recipe", str(recipe)]
    assert CliRunner().invoke(cli, [*words, "-o", str(tmp_path / "whole")]).exit_code == 0
    folder = tmp_path / "killed"
    for step, when, kept in ((4, "before", 2), (6, "within", 4), (8, "behind", 8)):
        resume = ["--resume"] if list_checkpoints(folder) else []
        program = [sys.executable, "-c", KILLED, str(step), when, *words, "-o", str(folder), *resume]
        process = subprocess.run(program, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True)
        assert process.returncode == -signal.SIGKILL, process.stderr
        assert step_of(list_checkpoints(folder)[0]) == kept
    assert CliRunner().invoke(cli, [*words, "-o", str(folder), "--resume"]).exit_code == 0
    assert_same_weights(tmp_path / "whole/last.safetensors", folder / "last.safetensors")


@pytest.mark.integration
def test_images_smaller_than_a_patch_are_refused_before_writing(tmp_path: Path) -> None:
    from click.testing import CliRunner

    from a2f.cli.main import cli

    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(3):
        Image.fromarray(np.full((100, 120, 3), number, np.uint8)).save(folder / f"{number}.png")
    words = ["train", "s", "-s", "4", "--data", str(folder), "-o", str(tmp_path / "run")]
    told = str(CliRunner().invoke(cli, words).exception)
    assert "has 192 x 192 pixels" in told
    assert "patch = 48" in told
    assert not (tmp_path / "run").exists()


@pytest.mark.integration
def test_resume_uses_the_recipe_of_the_run(tmp_path: Path, monkeypatch, capsys) -> None:
    from a2f.cli.main import main

    data, recipe = photographs(tmp_path / "photos"), recipe_file(tmp_path / "r.toml", 4, 2)
    common = ["a2f", "train", "s", "-s", "2", "--data", str(data), "--val", str(data), "-o", str(tmp_path / "run")]
    for words in ([*common, "--recipe", str(recipe)], [*common, "--resume"]):
        monkeypatch.setattr(sys, "argv", words)
        with pytest.raises(SystemExit) as end:
            main()
        assert end.value.code == 0
    said = capsys.readouterr().err
    assert "resuming from step 4" in said
    assert "s x2: 319,648 parameters; training on cpu" in said
    assert re.search(r"PSNR-Y on the validation images: bicubic \d+\.\d{3} dB, the network now \d+\.\d{3} dB", said)


@pytest.mark.integration
def test_speed_is_reported_after_the_first_steps(tmp_path: Path) -> None:
    recipe = dataclasses.replace(RECIPE, steps=30, evaluate_every=15)
    said: list[str] = []
    make_run(tmp_path, recipe).train(lambda p: None, tell=said.append)
    assert len(said) == 1
    assert re.fullmatch(r"\d+\.\d steps/s; next evaluation in 5 steps, about \d+ min", said[0])


@pytest.mark.integration
@pytest.mark.parametrize(("steps", "left"), [(26, "1 step"), (28, "3 steps")])
def test_next_evaluation_is_not_after_the_end(tmp_path: Path, steps: int, left: str) -> None:
    """The last step is evaluated, also if it is no multiple of `evaluate_every`."""
    said: list[str] = []
    recipe = dataclasses.replace(RECIPE, steps=steps, evaluate_every=500)
    make_run(tmp_path, recipe).train(lambda p: None, tell=said.append)
    assert f"; next evaluation in {left}, about " in said[0]


@pytest.mark.integration
def test_two_processes_equal_one_with_the_same_batch(tmp_path: Path) -> None:
    data, recipe = photographs(tmp_path / "photos"), recipe_file(tmp_path / "r.toml", 8, 4)
    options = ["--data", str(data), "--recipe", str(recipe)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    assert CliRunner().invoke(cli, [*TRAIN, *options, "-o", str(tmp_path / "one")]).exit_code == 0
    torchrun = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        "2",
        "-m",
        "a2f",
        *TRAIN,
    ]
    done = subprocess.run(
        [*torchrun, *options, "-o", str(tmp_path / "two")], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    one, two = (read_log(tmp_path / name / "log.csv") for name in ("one", "two"))
    assert [row["loss"] for row in two] == pytest.approx([row["loss"] for row in one], rel=1e-5)
    a, b = (read_weights(tmp_path / name / "last.safetensors").tensors for name in ("one", "two"))
    for name, value in a.items():
        np.testing.assert_allclose(b[name], value, atol=2e-5, err_msg=name)


@pytest.mark.integration
def test_teacher_has_its_share_of_the_loss_and_runs_once(tmp_path: Path) -> None:
    from a2f.training.start import teacher_images

    class White:
        scale, description, calls = 2, "white", 0

        def __call__(self, image: np.ndarray) -> np.ndarray:
            self.calls += 1
            return np.ones((2 * image.shape[0], 2 * image.shape[1], 3), np.float32)

    teacher, lines = White(), []
    for _ in range(2):
        taught = teacher_images(images(), teacher, tmp_path / "kept", tell=lines.append)
    assert teacher.calls == 3
    assert lines[0].startswith("3 images made")
    assert lines[1].startswith("0 images made")
    assert all((image == 255).all() for image in taught)
    bright = {}
    for share in (0.0, 1.0):
        recipe = dataclasses.replace(
            RECIPE, steps=120, teacher_share=share, evaluate_every=120, stages=(Stage(patch=8),)
        )
        patches = Patches(images(), scale=2, seed=0, device=torch.device("cpu"), teacher=taught)
        folder = tmp_path / str(share)
        folder.mkdir()
        run = Run(SMALL, recipe, patches=patches, validation=[], folder=folder, device=torch.device("cpu"))
        run.train(lambda p: None)
        lr = torch.from_numpy(images()[0][1].copy()).permute(2, 0, 1)[None].float() / 255
        with torch.inference_mode():
            bright[share] = float(run.model()(lr).mean())
    photograph = images()[0][0].mean() / 255
    assert abs(bright[0.0] - photograph) < 0.1  # without a share the photograph is what is learnt
    assert bright[1.0] > photograph + 0.3  # with the whole share, the teacher's white


@pytest.mark.integration
def test_teacher_from_a_file_of_another_network(tmp_path: Path) -> None:
    data, recipe = photographs(tmp_path / "photos"), recipe_file(tmp_path / "r.toml", 4, 2)
    recipe.write_text("teacher_share = 0.5\n" + recipe.read_text())
    (tmp_path / "teacher.onnx").write_bytes(export_onnx(read_weights(find_shipped("sd", scale=2).path)))
    arguments = ["train", "s", "-s", "2", "--data", data, "--recipe", recipe, "-o", tmp_path / "run"]
    teacher = ["--teacher", tmp_path / "teacher.onnx"]
    done = CliRunner().invoke(cli, [str(a) for a in [*arguments, *teacher]])
    assert done.exit_code == 0, done.output
    assert "3 images made by the teacher, 0 kept" in done.stderr
    assert len(list((tmp_path / "run/teacher").glob("*.png"))) == 3
    done = CliRunner().invoke(cli, [str(a) for a in [*arguments[:-1], tmp_path / "b", *teacher, "--input-range", 255]])
    assert "state the values that it takes" in str(done.exception)


@pytest.mark.integration
def test_command_line_errors(tmp_path: Path, monkeypatch, capsys) -> None:
    from a2f.cli.main import main

    data = photographs(tmp_path / "photos")
    (tmp_path / "run").mkdir()
    (tmp_path / "run/step_00000004_0123456789ab.pt").write_bytes(b"")
    for arguments, message in [
        (["train", "sd"], "missing --data and -o"),
        (["train", "sd", "--data", data, "-o", tmp_path / "n", "--teacher", "sd"], "go together"),
        (["plot", tmp_path / "none"], "is not the folder of a training run"),
        (["plot"], "Missing argument 'RUN...'"),
        (["train", "sd", "m"], "unexpected extra argument (m)"),
        (["train", "xl", "--data", data, "-o", tmp_path / "n"], "choose one of s, sd, m, l, baseline"),
        (["train", "sd", "--data", data, "-o", data / "0.png/n"], "cannot make the folder"),
        (
            ["train", "sd", "--data", data, "-o", tmp_path / "n", "--recipe", "quick"],
            "choose anytime, fast, paper or robust",
        ),
        (["train", "sd", "--data", data, "-o", tmp_path / "n", "--steps", 1, "--minutes", 1], "choose one of them"),
        (["train", "sd", "--data", data, "-o", tmp_path / "run"], "resume it with --resume"),
        (["train", "sd", "--data", tmp_path / "none", "-o", tmp_path / "n"], "is not a folder"),
        (["train", "sd", "--data", data, "-o", tmp_path / "n", "--device", "gpu"], "'gpu': choose cpu, cuda"),
        (["train", "sd", "--data", data, "-o", tmp_path / "n", "--device", "cuda"], "has no CUDA"),
    ]:
        if arguments[-1] == "cuda" and torch.cuda.is_available():
            continue
        monkeypatch.setattr(sys, "argv", ["a2f", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            main()
        assert stop.value.code in (2, 3)
        said = capsys.readouterr().err
        assert message in said
        assert "Traceback" not in said
