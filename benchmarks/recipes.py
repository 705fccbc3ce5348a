"""The effect of single settings of the recipe `anytime` in short runs with equal initial weights and pictures.

    python -m benchmarks.recipes --data DIR --init WEIGHTS [--steps N] [--only NAME ...] [--write]

DIR has the training pictures. Those listed in docs/validation-pictures.txt are held out for the measurement. Each run
trains SD x4 on one thread and is measured at its end. Each run changes one setting: a rate, T0, the size or number of
patches, the choice of the patch position, the loss, or the set of pictures. Each result is stored at once, and a run
with a stored result is not repeated. With --write, the table goes into docs/weights.md.
"""

import argparse
import json
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch

from a2f.data.pairs import central_crop, find_images, load_pairs, read_image_list
from a2f.data.patches import Patches
from a2f.evaluation.score import score_set
from a2f.evaluation.sets import load_set
from a2f.machine import keep_freed_memory, use_huge_pages
from a2f.metrics import psnr_y
from a2f.runtime import load_engine
from a2f.training.loop import Run
from a2f.training.recipe import Recipe, Stage, read_recipe
from a2f.training.start import VALIDATION_LR_PX
from a2f.training.validation import Pair, enlarged
from a2f.variants import config_of
from a2f.weights import Weights, read_weights
from benchmarks.markdown import ROOT, fill, table

SCALE, VARIANT, STEPS = 4, "sd", 800
RESULTS = ROOT / "docs" / "runs" / "recipes.json"
VALIDATION = ROOT / "docs" / "validation-pictures.txt"
DRAWN = "drawn"  # folder of line art and text
PHOTOGRAPHS = ("structure", DRAWN)  # folders that a run on photographs alone leaves out
SETS = ("Set14", "B100")


def variants() -> dict[str, Recipe]:
    """The recipe of each run, by the name of the change."""
    base = read_recipe("anytime")
    optimiser, (stage,) = base.optimiser, base.stages

    def rates(factor: float) -> Recipe:
        return replace(
            base, optimiser=replace(optimiser, lr=optimiser.lr * factor, kernel_lr=optimiser.kernel_lr * factor)
        )

    def stages(changed: Stage) -> Recipe:
        return replace(base, stages=(changed,))

    def patches(batch: int, patch: int) -> Recipe:
        return stages(replace(stage, batch=batch, patch=patch))

    return {
        "as it is": base,
        "half the rates": rates(0.5),
        "twice the rates": rates(2.0),
        "T0 500": replace(base, optimiser=replace(optimiser, anytime_steps=500)),
        "T0 8000": replace(base, optimiser=replace(optimiser, anytime_steps=8000)),
        "8 x 32": patches(8, 32),
        "16 x 32": patches(16, 32),
        "4 x 64": patches(4, 64),
        "any spot": replace(base, busiest_of=1),
        "busiest of 4": replace(base, busiest_of=4),
        "2 x 96": patches(2, 96),
        "2 x 96, MSE": stages(replace(stage, batch=2, patch=96, loss="l2")),
        "photographs alone": base,
    }


@dataclass(frozen=True, kw_only=True)
class Result:
    """The result of one run.

    Attributes:
        name: the change.
        steps: number of steps.
        lr_pixels: LR pixels seen, millions.
        minutes: training time.
        photographs, drawn: PSNR-Y on the held-out pictures of each kind, dB.
        sets: PSNR-Y on the available benchmark sets, dB; no choice depends on them.
    """

    name: str
    steps: int
    lr_pixels: float
    minutes: float
    photographs: float
    drawn: float
    sets: dict[str, float]


@dataclass(frozen=True, kw_only=True)
class Images:
    """The training pairs and the held-out pairs, with their files."""

    training: list[tuple[Path, Pair]]
    held_out: list[tuple[Path, Pair]]


def load_images(data: Path) -> Images:
    """Decode all pictures of a folder once."""
    paths = find_images(data)
    kept = read_image_list(VALIDATION, folder=data, among=paths)
    rest = [path for path in paths if path not in set(kept)]

    def load(some: list[Path]) -> list[tuple[Path, Pair]]:
        return list(load_pairs(some, scale=SCALE, on_error=lambda error: print(f"left out: {error}")))

    held = [(path, central_crop(pair, side_px=VALIDATION_LR_PX)) for path, pair in load(kept)]
    return Images(training=load(rest), held_out=held)


def mean_psnr(run: Run, pairs: Sequence[Pair]) -> float:
    """The mean PSNR-Y of the averaged weights that the validation has chosen, dB."""
    model = run.model(run.chosen)
    return float(np.mean([psnr_y(enlarged(model, lr), hr, border=SCALE) for hr, lr in pairs]))


def measure(name: str, recipe: Recipe, images: Images, *, data: Path, init: Weights, steps: int, sets: Path) -> Result:
    """Train one run and measure it."""
    alone = name == "photographs alone"
    used = [pair for path, pair in images.training if not (alone and path.relative_to(data).parts[0] in PHOTOGRAPHS)]
    device = torch.device("cpu")
    with tempfile.TemporaryDirectory() as folder:
        run = Run(
            config_of(VARIANT, scale=SCALE),
            replace(recipe, steps=steps, evaluate_every=steps),
            patches=Patches(used, scale=SCALE, seed=recipe.seed, device=device),
            validation=[pair for _, pair in images.held_out],
            folder=Path(folder),
            init=init,
            device=device,
        )
        run.train(lambda progress: print(f"{name}: {progress.psnr_y:.3f} dB", flush=True))
        engine = load_engine(read_weights(Path(folder) / "last.safetensors"))
    drawn = [pair for path, pair in images.held_out if path.relative_to(data).parts[0] == DRAWN]
    photographs = [pair for path, pair in images.held_out if path.relative_to(data).parts[0] != DRAWN]
    on_sets = {
        s: score_set(engine, load_set(sets / s, scale=SCALE), model="", data=s, scale=SCALE, metrics=["psnr_y"])
        for s in SETS
        if (sets / s).is_dir()
    }
    (stage,) = recipe.stages
    return Result(
        name=name,
        steps=run.step,
        lr_pixels=round(run.step * stage.batch * stage.patch**2 / 1e6, 1),
        minutes=round(run.seconds / 60, 1),
        photographs=round(mean_psnr(run, photographs), 3),
        drawn=round(mean_psnr(run, drawn), 3),
        sets={s: round(score.mean("psnr_y"), 3) for s, score in on_sets.items()},
    )


def read_results() -> list[Result]:
    """Read the stored results."""
    return [Result(**row) for row in json.loads(RESULTS.read_text())] if RESULTS.exists() else []


def rows_of(results: list[Result]) -> list[list[str]]:
    """The table."""
    head = ["changed", "steps", "LR pixels, millions", "16 photographs", "8 drawn pictures", *SETS]
    return [
        head,
        *(
            [
                r.name,
                f"{r.steps:,}",
                f"{r.lr_pixels:.1f}",
                f"{r.photographs:.3f}",
                f"{r.drawn:.3f}",
                *(f"{r.sets[s]:.3f}" if s in r.sets else "" for s in SETS),
            ]
            for r in results
        ),
    ]


def main() -> None:
    """Measure the missing runs, and write on request."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="training pictures")
    parser.add_argument("--init", type=Path, help="weights file that all runs start from")
    parser.add_argument("--sets", type=Path, default=ROOT.parent / "shared" / "data" / "eval")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--only", nargs="+", choices=list(variants()), metavar="NAME", help=", ".join(variants()))
    parser.add_argument("--write", action="store_true", help="put the table into docs/weights.md")
    a = parser.parse_args()
    results = read_results()
    wanted = [name for name in a.only or variants() if name not in {r.name for r in results}]
    if wanted and a.data is not None and a.init is not None:
        keep_freed_memory()
        torch.set_num_threads(1)
        images, init = load_images(a.data), read_weights(a.init)
        use_huge_pages()
        for name in wanted:
            recipe = variants()[name]
            results.append(measure(name, recipe, images, data=a.data, init=init, steps=a.steps, sets=a.sets))
            RESULTS.write_text(json.dumps([asdict(r) for r in results], indent=1) + "\n")
    text = table(rows_of(results))
    print(text)
    if a.write:
        fill(ROOT / "docs" / "weights.md", "recipes", text)


if __name__ == "__main__":
    main()
