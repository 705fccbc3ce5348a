"""Whether the training waits for its patches: steps per second with the loader and with one fixed batch.

    python -m benchmarks.loader [--device cpu] [--rounds 6] [--batches] [--write]

Random images replace photographs. They are sums of noise at all scales, so that JPEG has as much work as with
photographs. The two variants take turns, so that a change in the speed of the machine affects both. A second table has
the time of a batch on one core, without and with a degradation; `--batches` measures only this.
"""

import argparse
import statistics
import time

import numpy as np
import torch

from a2f.data.degrade import Degradation
from a2f.data.patches import Batch, Patches
from a2f.model.a2f import A2F, to_weights
from a2f.training.network import TrainingNetwork
from a2f.training.precision import for_device
from a2f.training.processes import Processes
from a2f.training.recipe import Recipe, read_recipe
from a2f.training.step import Step
from a2f.variants import VARIANTS, config_of
from benchmarks.machine import describe
from benchmarks.markdown import ROOT, fill, table


class Fixed:
    """Returns the first batch at every step."""

    def __init__(self, patches: Patches) -> None:
        self.patches = patches
        self.made: dict[str, Batch] = {}

    def batch(self, step: int, **shape: object) -> Batch:
        """The batch of step 0, for any step."""
        key = repr(shape)
        if key not in self.made:
            self.made[key] = self.patches.batch(0, **shape)  # type: ignore[arg-type]
        return self.made[key]


def photographs(scale: int, count: int = 60) -> list[tuple[np.ndarray, np.ndarray]]:
    """Make pairs of noise images, LR 320 x 240."""
    rng = np.random.default_rng(0)
    return [(noise(rng, 240 * scale, 320 * scale), noise(rng, 240, 320)) for _ in range(count)]


def noise(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Make noise that is equally strong at all scales, like photographs; [height, width, 3] uint8."""
    total = np.full((height, width, 3), 128, dtype=np.float32)
    for size in (1, 2, 4, 8, 16, 32, 64):
        positions = rng.normal(0, 12, (-(-height // size), -(-width // size), 3)).astype(np.float32)
        total += positions.repeat(size, 0).repeat(size, 1)[:height, :width]
    return total.clip(0, 255).astype(np.uint8)


def cost(scale: int, *, batch: int, patch: int, rounds: int) -> list[float]:
    """Seconds of one core for a batch without and with the default degradation, means of 40 batches.

    For each batch, the fastest round counts, because other work on the machine can only make it slower.
    """
    images, cpu = photographs(scale), torch.device("cpu")
    sources = [
        Patches(images, scale=scale, seed=0, device=cpu, degradation=degradation)
        for degradation in (None, Degradation())
    ]
    seconds = np.full((2, 40), np.inf)
    for _ in range(rounds):
        for step in range(40):
            for number, source in enumerate(sources):
                began = time.process_time()
                source._draw(step, batch=batch, patch=patch, busiest_of=2, part=slice(None))
                seconds[number, step] = min(seconds[number, step], time.process_time() - began)
    means: list[float] = seconds.mean(1).tolist()
    return means


def costs(rounds: int) -> str:
    """The table of the time of a batch."""
    rows = [["scale", "batch", "plain, ms", "degraded, ms"]]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    for scale in (2, 3, 4):
        for batch, patch in ((8, 32), (8, 48)):
            plain, worse = cost(scale, batch=batch, patch=patch, rounds=rounds)
            rows.append([f"x{scale}", f"{batch} x {patch}", f"{1e3 * plain:.2f}", f"{1e3 * worse:.2f}"])
    torch.set_num_threads(threads)
    return table(rows)


def measure(recipe: Recipe, variant: str, scale: int, device: torch.device, rounds: int) -> tuple[float, float]:
    """Median seconds of a step, with the loader and with a fixed batch."""
    patches = Patches(photographs(scale), scale=scale, seed=0, device=device, degradation=recipe.degradation)
    network = TrainingNetwork(to_weights(A2F(config_of(variant, scale=scale))), device=device)
    step = Step(network, recipe, patches=patches, processes=Processes(), compiled=False)
    sources = (patches, Fixed(patches))
    seconds: tuple[list[float], list[float]] = ([], [])
    for turn in range(rounds + 1):
        for source, times in zip(sources, seconds, strict=True):
            step.patches = source  # type: ignore[assignment]
            began = time.perf_counter()
            for number in range(10):
                float(step(10 * turn + number, done=0.0))  # reading the loss waits for the device
            if turn > 0:
                times.append((time.perf_counter() - began) / 10)
    return statistics.median(seconds[0]), statistics.median(seconds[1])


def main() -> None:
    """Measure, print, and write on request."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--models", nargs="+", default=["sd"], choices=list(VARIANTS))
    parser.add_argument("--batches", action="store_true", help="measure only the time of a batch")
    parser.add_argument("--write", action="store_true", help="update docs/benchmarks/loader.md")
    a = parser.parse_args()
    machine = f"{describe()}; torch {torch.__version__}; "
    done = {"batches": f"{costs(a.rounds)}\n\n{machine}one thread."}
    if not a.batches:
        done["loader"] = f"{rates(a)}\n\n{machine}{a.device}, {torch.get_num_threads()} threads."
    for mark, text in done.items():
        print(text)
        if a.write:
            fill(ROOT / "docs" / "benchmarks" / "loader.md", mark, text)


def rates(a: argparse.Namespace) -> str:
    """The table of steps per second."""
    device = torch.device(a.device)
    rows = [["model", "recipe", "first stage", "with the loader, steps/s", "one fixed batch, steps/s", "ratio"]]
    for variant in a.models:
        for scale in (2, 4):
            for name in ("fast", "robust", "paper"):
                recipe = for_device(read_recipe(name).bounded(steps=10**6), device)
                stage = recipe.stage(step=0, done=0.0)
                loader, fixed = measure(recipe, variant, scale, device, a.rounds)
                shape = f"{stage.batch} x {stage.patch}, {stage.precision}"
                speeds = f"{1 / loader:.2f}", f"{1 / fixed:.2f}", f"{fixed / loader:.3f}"
                rows.append([f"{variant} x{scale}", name, shape, *speeds])
    return table(rows)


if __name__ == "__main__":
    main()
