"""Trains one network of Table 2 or 3 with a small budget and measures it.

    python -m benchmarks.paper.train --table 2 --network s-noca --seed 1 [--data DIR] [--runs DIR]
    python -m benchmarks.paper.train --list

The recipe is `fast`: an equal number of steps, a rate that falls to almost zero, averaged weights. The weights of the
last step are measured, so no choice depends on a picture. An interrupted run resumes. A run with a stored result is not
repeated. The result is a small file in docs/runs/ablation with the PSNR-Y and SSIM-Y of each picture of the sets.
`python -m benchmarks.paper` reads it.
"""

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from a2f.evaluation.score import VERSION, score_set
from a2f.evaluation.sets import load_set
from a2f.runtime import load_engine
from a2f.training.checkpoint import list_checkpoints
from a2f.training.loop import Progress, Run
from a2f.training.recipe import Recipe, read_recipe
from a2f.training.start import TrainingJob, start
from a2f.variants import ABLATIONS, A2FConfig, ablation_of, config_of
from a2f.weights import read_weights
from benchmarks.markdown import ROOT

SCALE = 4
NETWORKS = {
    2: ("s-baseline", "s-baseline-mp", "s-noca", "s-noca-mp", "s"),
    3: ("sd-head1", "sd-head3", "sd-head5", "sd-head7"),
}
SEEDS, STEPS, RECIPE = (0, 1, 2), 2000, "fast"
RESULTS = ROOT / "docs" / "runs" / "ablation"
VALIDATION = ROOT / "docs" / "validation-pictures.txt"
SETS = ("Set5", "Set14", "B100", "Urban100", "Manga109")  # available sets are measured
SHARED = ROOT.parent / "shared" / "data"


def config_named(network: str) -> A2FConfig:
    """The x4 configuration of a network of `NETWORKS`."""
    return ablation_of(network, scale=SCALE) if network in ABLATIONS else config_of(network, scale=SCALE)


def result_file(folder: Path, network: str, *, seed: int) -> Path:
    """The path of the result of a run."""
    return folder / f"{network}_x{SCALE}_seed{seed}.json"


def recipe_for(*, seed: int, steps: int) -> Recipe:
    """The recipe of all runs: `fast` with a number of steps."""
    recipe = read_recipe(RECIPE).bounded(steps=steps)
    return replace(recipe, seed=seed, evaluate_every=max(1, steps // 6), keep=1)


def trained(network: str, a: argparse.Namespace) -> tuple[Path, Run]:
    """Train or resume a run; the weights of the last step, and the run."""
    folder = a.runs / f"{network}_seed{a.seed}"

    def report(progress: Progress) -> None:
        print(f"step {progress.step}: loss {progress.loss:.5f}, validation {progress.psnr_y:.3f} dB", flush=True)

    job = TrainingJob(
        config=config_named(network),
        recipe=recipe_for(seed=a.seed, steps=a.steps),
        data=a.data,
        validation=a.val,
        folder=folder,
        device=a.device,
        resume=bool(list_checkpoints(folder)),
    )
    run = start(job, report=lambda run: report, tell=lambda line: print(line, flush=True))
    return folder / "last.safetensors", run


def measured(weights: Path, sets: Path) -> dict[str, dict[str, list[float]]]:
    """Measure PSNR-Y and SSIM-Y of each picture of each available set."""
    engine = load_engine(read_weights(weights))
    found: dict[str, dict[str, list[float]]] = {}
    for name in (n for n in SETS if (sets / n).is_dir()):
        score = score_set(engine, load_set(sets / name, scale=SCALE), model="", data=name, scale=SCALE)
        found[name] = {k: [round(v["psnr_y"], 5), round(v["ssim_y"], 6)] for k, v in sorted(score.images.items())}
    if not found:
        raise SystemExit(f"{sets} has none of {', '.join(SETS)}: give the folder of the sets with --sets")
    return found


def result(network: str, a: argparse.Namespace) -> dict[str, Any]:
    """Train and measure a run; the stored result."""
    weights, run = trained(network, a)
    return {
        "network": network,
        "scale": SCALE,
        "seed": a.seed,
        "steps": run.step,
        "recipe": RECIPE,
        "protocol": VERSION,
        "minutes": round(run.seconds / 60, 1),
        "images": measured(weights, a.sets),
    }


def arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", type=int, choices=list(NETWORKS), help="all networks of a table, one by one")
    parser.add_argument("--network", choices=[n for names in NETWORKS.values() for n in names], help="only this one")
    parser.add_argument("--seed", type=int, help="seed of this run; the table uses 0, 1 and 2")
    parser.add_argument("--steps", type=int, default=STEPS, help=f"length of a run (default: {STEPS})")
    parser.add_argument("--data", type=Path, default=SHARED / "train", help="training pictures")
    parser.add_argument("--val", type=Path, default=VALIDATION, help="validation pictures for the log")
    parser.add_argument("--sets", type=Path, default=SHARED / "eval", help="folder of the benchmark sets")
    parser.add_argument("--runs", type=Path, default=Path("runs") / "ablation", help="checkpoints of the runs")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the results")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--list", action="store_true", help="print which runs are done and which are not, and stop")
    a = parser.parse_args()
    if not a.list and (a.seed is None or (a.table is None and a.network is None)):
        parser.error("give --network NAME or --table N, and --seed N")
    return a


def show(results: Path) -> None:
    """Print one line per run: done or not."""
    for table, names in NETWORKS.items():
        for name in names:
            for seed in SEEDS:
                state = "done" if result_file(results, name, seed=seed).exists() else "missing"
                print(f"table {table}  {name:14} seed {seed}  {state}")


def main() -> int:
    """Run the named runs that have no result yet."""
    a = arguments()
    if a.list:
        show(a.results)
        return 0
    for network in [a.network] if a.network else NETWORKS[a.table]:
        file = result_file(a.results, network, seed=a.seed)
        if file.exists():
            print(f"{file} is there", flush=True)
            continue
        try:
            found = result(network, a)
        except KeyboardInterrupt:
            print("interrupted; run the same command to resume", flush=True)
            return 130
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(found, separators=(",", ":")) + "\n", encoding="utf-8")
        print(f"{file}: written", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
