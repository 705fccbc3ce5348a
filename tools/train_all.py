"""Train many networks at the same time on one device, each from the best available weights, in a given time.

python tools/train_all.py --device cuda --minutes 25 DATA OUT
python tools/train_all.py --device cpu --minutes 2 --networks sd:2 s:2 DATA OUT

DATA is a folder tree of HR pictures. OUT gets one folder per network: checkpoints, last.safetensors (each minute),
best.safetensors, log.csv, output.txt. A table of all networks is printed at the end and written to OUT/table.md. The
tool downloads nothing and reads no other files. Run it again with the same OUT to resume.

The time of a network is proportional to its importance and the cost of a step. Networks run in the order of their
importance, several at a time, so that a scale of a variant can start from the body of an earlier scale.
"""

import argparse
import math
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

from a2f.training.checkpoint import list_checkpoints
from a2f.training.log import read_log
from a2f.training.recipe import Recipe, read_recipe, recipe_toml
from a2f.variants import config_of, count_parameters
from a2f.weights import shipped_models

# Most important first; the number is the importance.
NETWORKS = {
    "sd:4": 4.0, "sd:2": 3.0, "sd:3": 2.0, "l:4": 2.0, "l:2": 1.5, "l:3": 1.0,
    "m:4": 1.5, "m:2": 1.0, "m:3": 0.7, "s:4": 1.0, "s:2": 0.7, "s:3": 0.5,
}  # fmt: skip

# Patches per step on a GPU. More patches use it better, but with fewer pixels a network needs more steps.
BATCH, NEW_BATCH = {"sd": 64}, 16
EVALUATE_EVERY = 5000  # steps


@dataclass(frozen=True, kw_only=True)
class Task:
    """One network to train.

    Attributes:
        variant: "s", "sd", "m" or "l".
        scale: 2, 3 or 4.
        minutes: training time.
        folder: folder of the run.
    """

    variant: str
    scale: int
    minutes: float
    folder: Path


def tasks_of(networks: list[str], *, minutes: float, at_once: int, out: Path) -> list[Task]:
    """Divide the time of all slots among the networks.

    Args:
        networks: keys of `NETWORKS`, "variant:scale".
        minutes: wall-clock minutes for all of them.
        at_once: number of runs at the same time.
        out: the folder of the runs.
    """
    weights = {}
    for name in networks:
        variant, scale = name.split(":")
        cost = count_parameters(config_of(variant, scale=int(scale))) / count_parameters(config_of("sd", scale=4))
        weights[name] = NETWORKS[name] * cost**0.5
    # No network gets more than the given minutes; its excess time is divided among the others.
    shares = {name: at_once * minutes * weight / sum(weights.values()) for name, weight in weights.items()}
    capped = {name: min(minutes, share) for name, share in shares.items()}
    return [
        Task(variant=v, scale=int(s), minutes=capped[f"{v}:{s}"], folder=out / f"{v}_x{s}")
        for v, s in (name.split(":") for name in networks)
    ]


def recipe_of(task: Task, *, batch: int, patch: int, precision: str, new: bool) -> Recipe:
    """The recipe of a task, saved each minute.

    Args:
        task: the task.
        batch: patches per step.
        patch: side of an LR patch, pixels.
        precision: precision of the convolutions.
        new: whether the network starts from random weights.
    """
    recipe = read_recipe("anytime")
    (stage,) = recipe.stages
    # The length is known, so the rate falls to almost 0. New networks start with doubled rates.
    times = 2 if new else 1
    optimiser = replace(
        recipe.optimiser,
        schedule="cosine",
        floor=0.002,
        lr=times * recipe.optimiser.lr,
        kernel_lr=times * recipe.optimiser.kernel_lr,
    )
    return replace(
        recipe,
        minutes=task.minutes,
        save_minutes=1.0,
        averages=(0.03, 0.08),
        evaluate_every=EVALUATE_EVERY,
        optimiser=optimiser,
        stages=(replace(stage, batch=batch, patch=patch, precision=precision),),  # type: ignore[arg-type]
    )


def first_weights(task: Task, *, out: Path) -> Path | None:
    """The best initial weights: shipped; else trained here at another scale; else shipped at another scale."""
    shipped = {(m.variant, m.scale): m.path for m in shipped_models() if m.kind == "clean"}
    here = [out / f"{task.variant}_x{scale}" / "last.safetensors" for scale in (4, 2, 3)]
    others = [shipped.get((task.variant, scale)) for scale in (4, 2, 3)]
    candidates = [shipped.get((task.variant, task.scale)), *here, *others]
    return next((path for path in candidates if path is not None and path.exists()), None)


def command(task: Task, a: argparse.Namespace) -> list[str]:
    """Write the recipe of a run, and return its command line. An existing run resumes with its own recipe."""
    task.folder.mkdir(parents=True, exist_ok=True)
    recipe, resumed = task.folder / "asked.toml", bool(list_checkpoints(task.folder))
    start = first_weights(task, out=a.out)
    if not resumed:
        batch = a.batch or BATCH.get(task.variant, NEW_BATCH)
        made = recipe_of(task, batch=batch, patch=a.patch, precision=a.precision, new=start is None)
        recipe.write_text(recipe_toml(made), encoding="utf-8")
    words = [sys.executable, "-m", "a2f", "train", task.variant, "-s", str(task.scale), "--data", str(a.data)]
    words += ["--recipe", str(recipe), "--device", a.device, "-o", str(task.folder)]
    words += ["--val", str(a.val)] if a.val else []
    words += ["--compile"] if a.compile else []
    if resumed:
        words += ["--resume"]
    elif start is not None:
        words += ["--init", str(start)]
    return words


def run(tasks: list[Task], a: argparse.Namespace) -> bool:
    """Run all tasks, several at a time; True if none failed."""
    waiting = list(tasks)
    running: dict[subprocess.Popen[bytes], Task] = {}
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    try:
        return _run_all(waiting, running, a)
    finally:
        for process in running:  # each saves its state
            process.terminate()
        for process in running:
            process.wait()


def _run_all(waiting: list[Task], running: dict[subprocess.Popen[bytes], Task], a: argparse.Namespace) -> bool:
    failed = False
    environment = {**os.environ, "OMP_NUM_THREADS": "1"} if a.device == "cpu" else dict(os.environ)
    while waiting or running:
        while waiting and len(running) < a.at_once:
            task = waiting.pop(0)
            output = (task.folder.parent / f"{task.folder.name}.txt").open("ab")
            process = subprocess.Popen(command(task, a), stdout=output, stderr=output, env=environment)
            running[process] = task
            print(f"{task.variant} x{task.scale}: {task.minutes:.1f} minutes, process {process.pid}", flush=True)
        time.sleep(0.2)
        for process in [p for p in running if p.poll() is not None]:
            task = running.pop(process)
            failed |= process.returncode != 0
            how = "done" if process.returncode == 0 else f"failed, see {a.out / task.folder.name}.txt"
            print(f"{task.variant} x{task.scale}: {how}", flush=True)
    return not failed


def table(tasks: list[Task]) -> str:
    """Steps, time, speed and validation PSNR of each run, as Markdown."""
    lines = ["| network | steps | minutes | steps/s | validation PSNR-Y, dB | best |", "|---|---|---|---|---|---|"]
    for task in tasks:
        log = task.folder / "log.csv"
        if not log.exists():
            lines.append(f"| {task.variant} x{task.scale} | no evaluation yet | | | | |")
            continue
        row = read_log(log)[-1]
        lines.append(
            f"| {task.variant} x{task.scale} | {row['step']:,.0f} | {row['seconds'] / 60:.1f} | "
            f"{row['steps_per_second']:.1f} | {row['psnr_y']:.3f} | {row['best']:.3f} |"
        )
    return "\n".join(lines) + "\n"


def count(text: str) -> int:
    """Parse a whole number over 0 for argparse."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number over 0")
    return int(text)


def minutes(text: str) -> float:
    """Parse a finite number over 0 for argparse."""
    value = float(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of minutes over 0")
    return value


def main() -> int:
    """Read the arguments, train, write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, metavar="DATA", help="folder tree of HR pictures")
    parser.add_argument("out", type=Path, metavar="OUT", help="folder of the runs")
    parser.add_argument("--device", default="cuda", help="cuda, cuda:1, mps or cpu (default: cuda)")
    parser.add_argument("--minutes", type=minutes, default=25, help="total minutes for all networks (default: 25)")
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), choices=list(NETWORKS), metavar="NAME:SCALE")
    parser.add_argument("--at-once", type=count, help="runs at the same time (default: 5; cpu: number of cores)")
    parser.add_argument("--batch", type=count, help="patches per step (default: 64 for sd, 16 for others; cpu: 8)")
    parser.add_argument("--patch", type=count, help="side of an LR patch (default: 64; cpu: 32)")
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="bf16")
    parser.add_argument("--val", type=Path, help="validation pictures, as in a2f train")
    parser.add_argument("--compile", action="store_true", help="use torch.compile")
    a = parser.parse_args()
    on_cpu = a.device == "cpu"
    a.at_once = a.at_once or ((os.cpu_count() or 1) if on_cpu else 5)
    a.batch, a.patch = a.batch or (8 if on_cpu else None), a.patch or (32 if on_cpu else 64)
    a.out.mkdir(parents=True, exist_ok=True)
    tasks = tasks_of(a.networks, minutes=a.minutes, at_once=a.at_once, out=a.out)
    well = run(tasks, a)
    text = table(tasks)
    (a.out / "table.md").write_text(text, encoding="utf-8")
    print(text)
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
