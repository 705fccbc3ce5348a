"""Training steps per second of `a2f train` and of plain PyTorch, and of two processes compared with one.

    python -m benchmarks.steps [--rounds 12] [--write]

Plain PyTorch is the network of the paper with weight normalisation by parametrisation, autocast, and optimisers and
averages that handle each tensor separately. Both compute the same step: the same loss, Muon for the same kernels, Adam,
clipping, one average. They take turns in one process with one thread, so a change in the speed of the machine affects
both. The time is processor time, because other programs change it less.

Two processes that share one model are measured in wall-clock time, with the same batch and with a batch twice as large.
Two independent runs at the same time show the limit of the machine, because they share caches and memory. Other
programs can only make a run slower, so the rate of a run is that of the fastest tenth of its blocks of 5 steps.
"""

import argparse
import copy
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from a2f.data.patches import Patches
from a2f.machine import keep_freed_memory, use_huge_pages
from a2f.model.a2f import A2F, to_weights, with_weight_norm
from a2f.training.log import read_log
from a2f.training.muon import orthogonalised
from a2f.training.network import TrainingNetwork
from a2f.training.precision import for_device
from a2f.training.processes import Processes
from a2f.training.recipe import Optimiser, Recipe, Stage
from a2f.training.step import Step
from a2f.variants import config_of
from benchmarks.loader import photographs
from benchmarks.machine import describe
from benchmarks.markdown import ROOT, fill, table

OPTIMISER = Optimiser(kind="muon", lr=1e-4, kernel_lr=1e-3, clip=1.0)
CPU = torch.device("cpu")


class Plain:
    """A step in plain PyTorch.

    Args:
        model: the network with weight normalisation.
        patches: the training images.
        stage: the batch, the patch and the precision.
    """

    def __init__(self, model: A2F, patches: Patches, stage: Stage) -> None:
        self.model, self.patches, self.stage = model, patches, stage
        self.average = copy.deepcopy(model)
        self.kernels = [p for name, p in model.named_parameters() if name.endswith("original1")]
        self.momenta = [torch.zeros_like(kernel) for kernel in self.kernels]
        taken = {id(kernel) for kernel in self.kernels}
        self.adam = torch.optim.Adam([p for p in model.parameters() if id(p) not in taken], lr=OPTIMISER.lr)

    def __call__(self, number: int) -> Tensor:
        """Take a step."""
        stage = self.stage
        lr, hr, _ = self.patches.batch(number, batch=stage.batch, patch=stage.patch, busiest_of=2)
        with torch.autocast("cpu", torch.bfloat16, enabled=stage.precision == "bf16"):
            sr = self.model(lr)
        loss = F.l1_loss(sr.float(), hr)
        self.model.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.model.parameters(), OPTIMISER.clip)
        self.muon()
        self.adam.step()
        with torch.no_grad():
            torch._foreach_lerp_(list(self.average.parameters()), list(self.model.parameters()), 0.001)
        return loss.detach()

    @torch.no_grad()
    def muon(self) -> None:
        """Update the kernels with Muon; kernels of one shape are one batch."""
        shapes: dict[torch.Size, list[int]] = {}
        for number, kernel in enumerate(self.kernels):
            shapes.setdefault(kernel.shape, []).append(number)
        for numbers in shapes.values():
            kernels, momenta = ([values[n] for n in numbers] for values in (self.kernels, self.momenta))
            gradients = [kernel.grad for kernel in kernels if kernel.grad is not None]
            torch._foreach_lerp_(momenta, gradients, 1 - OPTIMISER.momentum)
            ahead = torch._foreach_lerp(gradients, momenta, OPTIMISER.momentum)
            update = orthogonalised(torch.stack([x.flatten(1) for x in ahead]))
            update *= update.shape[1] ** 0.5 / (update.norm(dim=(1, 2), keepdim=True) + 1e-7)
            changes = [u.view_as(k) for u, k in zip(update, kernels, strict=True)]
            torch._foreach_add_(kernels, changes, alpha=-OPTIMISER.kernel_lr)


def both(scale: int, *, batch: int, patch: int, rounds: int) -> tuple[float, float]:
    """Median processor seconds of a step of plain PyTorch and of `a2f train`."""
    stage = Stage(batch=batch, patch=patch, precision="bf16")
    recipe = for_device(Recipe(steps=1, ema=0.999, busiest_of=2, optimiser=OPTIMISER, stages=(stage,)), CPU)
    torch.manual_seed(0)
    model = A2F(config_of("sd", scale=scale))
    patches = Patches(photographs(scale, 20), scale=scale, seed=0, device=CPU)
    network = TrainingNetwork(to_weights(model), device=CPU)
    ours = Step(network, recipe, patches=patches, processes=Processes(), compiled=False)
    plain = Plain(with_weight_norm(model), patches, recipe.stages[0])
    steps: list[Callable[[int], Tensor]] = [plain, lambda number: ours(number, done=0.0)]
    seconds: tuple[list[float], list[float]] = ([], [])
    for number in range(rounds + 3):
        for step, times in zip(steps, seconds, strict=True):
            began = time.process_time()
            float(step(number))
            times.append(time.process_time() - began)
    return statistics.median(seconds[0][3:]), statistics.median(seconds[1][3:])


def several(folder: Path, *, batch: int, patch: int, steps: int) -> list[list[str]]:
    """Rows of a table: patches per second of `a2f train` with one thread per process, and the ratio to one process.

    Args:
        folder: folder for the runs.
        batch: batch of one process.
        patch: side of an LR patch, pixels.
        steps: steps of each run.
    """
    data = folder / "data"
    data.mkdir()
    for number, (hr, _) in enumerate(photographs(4, 4)):
        Image.fromarray(hr).save(data / f"{number}.png")

    def started(name: str, *, processes: int, batch: int) -> subprocess.Popen[bytes]:
        recipe = folder / f"{batch}.toml"
        recipe.write_text(
            f'steps = {steps}\nevaluate_every = 5\nema = 0.999\nbusiest_of = 2\n[optimiser]\nkind = "muon"\n'
            f'clip = 1.0\n[[stages]]\nbatch = {batch}\npatch = {patch}\nprecision = "bf16"\n'
        )
        torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
        words = ["-m", "a2f", "train", "sd", "-s", "4", "--data", str(data), "--recipe", str(recipe)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        line = [sys.executable, *torchrun, *words, "-o", str(folder / name)]
        return subprocess.Popen(line, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def rate(name: str, batch: int) -> float:
        rates = [row["steps_per_second"] for row in read_log(folder / name / "log.csv")]
        return batch * float(np.quantile(rates[2:-2], 0.9))  # at both ends the other runs may be idle

    rows = [["runs at once", "processes a run", "patches a step of a run", "patches/s in all", "ratio"]]
    first = 0.0
    for runs, processes, size in ((1, 1, batch), (1, 2, batch), (1, 2, 2 * batch), (2, 1, batch)):
        names = [f"{runs}_{processes}_{size}_{number}" for number in range(runs)]
        if any(process.wait() for process in [started(n, processes=processes, batch=size) for n in names]):
            raise SystemExit(f"a2f train failed: {names}")
        total = sum(rate(name, size) for name in names)
        first = first or total
        rows.append([str(runs), str(processes), str(size), f"{total:.1f}", f"{total / first:.2f}"])
    return rows


def steps_table(rounds: int) -> str:
    """The table of plain PyTorch and `a2f train`."""
    rows = [["network", "batch x LR patch", "plain PyTorch, ms", "`a2f train`, ms", "ratio"]]
    for scale, batch, patch in ((4, 8, 32), (4, 8, 48), (2, 8, 48)):
        plain, ours = both(scale, batch=batch, patch=patch, rounds=rounds)
        rows.append(
            [f"SD x{scale}", f"{batch} x {patch}", f"{1e3 * plain:.0f}", f"{1e3 * ours:.0f}", f"{plain / ours:.2f}"]
        )
    return f"{table(rows)}\n\n{machine()}; one thread, bfloat16, processor time of a step, median."


def processes_table(rounds: int) -> str:
    """The table of two processes on one model compared with one."""
    with tempfile.TemporaryDirectory() as folder:
        rows = several(Path(folder), batch=16, patch=48, steps=10 * rounds)
    how = "SD x4, LR patches of 48, one thread a process, bfloat16, wall clock, the fastest tenth of blocks of 5 steps"
    return f"{table(rows)}\n\n{machine()}; {how}."


def machine() -> str:
    """Describe the machine."""
    return f"{describe()}; torch {torch.__version__}"


def main() -> None:
    """Measure, print, and write on request."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--write", action="store_true", help="update docs/benchmarks/training.md")
    a = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    use_huge_pages()
    for mark, measured in (("steps", steps_table), ("processes", processes_table)):
        text = measured(a.rounds)
        print(text, flush=True)
        if a.write:
            fill(ROOT / "docs" / "benchmarks" / "training.md", mark, text)


if __name__ == "__main__":
    main()
