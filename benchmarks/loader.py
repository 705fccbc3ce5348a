"""Whether the training waits for its patches: steps a second with the loader and with one fixed batch.

    python -m benchmarks.loader [--device cpu] [--rounds 6] [--write]

Random images take the place of photographs (the work is the same). The two take turns, so that a machine whose speed
drifts is slow for both.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from a2f.data.patches import Batch, Patches
from a2f.training.loop import Run
from a2f.training.precision import dtype_of
from a2f.training.recipe import Recipe, read_recipe
from a2f.variants import VARIANTS, config_of
from benchmarks.machine import describe
from benchmarks.markdown import ROOT, fill, table


class Fixed:
    """The first batch, again and again."""

    def __init__(self, patches: Patches) -> None:
        self.patches, self.made = patches, {}

    def batch(self, step: int, **shape: object) -> Batch:
        """That of step 0, whatever the step."""
        key = repr(shape)
        if key not in self.made:
            self.made[key] = self.patches.batch(0, **shape)  # type: ignore[arg-type]
        return self.made[key]


def photographs(scale: int, count: int = 60) -> list[tuple[np.ndarray, np.ndarray]]:
    """Pairs of noise, LR 320 x 240."""
    rng = np.random.default_rng(0)
    sizes = (240 * scale, 320 * scale, 3), (240, 320, 3)
    return [tuple(rng.integers(0, 256, size, dtype=np.uint8) for size in sizes) for _ in range(count)]  # type: ignore[misc]


def measure(recipe: Recipe, variant: str, scale: int, device: torch.device, rounds: int) -> tuple[float, float]:
    """Median seconds of a step, with the loader and with a fixed batch."""
    patches = Patches(photographs(scale), scale=scale, seed=0, device=device)
    with tempfile.TemporaryDirectory() as folder:
        run = Run(
            config_of(variant, scale=scale), recipe, patches=patches, validation=[], folder=Path(folder), device=device
        )
        sources = (patches, Fixed(patches))
        seconds: tuple[list[float], list[float]] = ([], [])
        for turn in range(rounds + 1):
            for source, times in zip(sources, seconds, strict=True):
                run.patches = source  # type: ignore[assignment]
                began = time.perf_counter()
                for _ in range(10):
                    float(run._one_step(0.1))  # reading the loss waits for the device
                if turn > 0:
                    times.append((time.perf_counter() - began) / 10)
    return statistics.median(seconds[0]), statistics.median(seconds[1])


def main() -> None:
    """Measure, print, and write where asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--models", nargs="+", default=["sd"], choices=list(VARIANTS))
    parser.add_argument("--write", action="store_true", help="update docs/benchmarks/loader.md")
    a = parser.parse_args()
    device = torch.device(a.device)
    rows = [["model", "recipe", "first stage", "with the loader, steps/s", "one fixed batch, steps/s", "ratio"]]
    for variant in a.models:
        for scale in (2, 4):
            for name in ("fast", "paper"):
                recipe = read_recipe(name).bounded(steps=10**6)
                stage = recipe.stage(0.0)
                loader, fixed = measure(recipe, variant, scale, device, a.rounds)
                shape = f"{stage.batch} x {stage.patch}, {str(dtype_of(stage, device)).removeprefix('torch.')}"
                rates = f"{1 / loader:.2f}", f"{1 / fixed:.2f}", f"{fixed / loader:.3f}"
                rows.append([f"{variant} x{scale}", name, shape, *rates])
    text = f"{table(rows)}\n\n{describe()}; torch {torch.__version__}; {a.device}, {torch.get_num_threads()} threads."
    print(text)
    if a.write:
        fill(ROOT / "docs" / "benchmarks" / "loader.md", "loader", text)


if __name__ == "__main__":
    main()
