"""`make train-demo` runs this: train for two minutes on four bundled photos, then make curves, samples and a table.

python examples/train_demo.py [--output FOLDER] [--minutes 2]
"""

import argparse
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PHOTOS = ROOT / "examples" / "photos" / "training"
HELD_OUT = ROOT / "examples" / "photos" / "astronaut.png"
SCALE = "2"


def a2f(*arguments: str | Path) -> None:
    """Print and run a command of the command line."""
    words = [str(a.relative_to(ROOT) if isinstance(a, Path) and a.is_relative_to(ROOT) else a) for a in arguments]
    print(f"$ a2f {shlex.join(words)}", flush=True)
    subprocess.run([sys.executable, "-m", "a2f", *words], check=True, cwd=ROOT)


def main() -> None:
    """Train, plot, measure, show samples side by side, and print the paths of the results."""
    parser = argparse.ArgumentParser(description="Train for two minutes on the bundled photos.")
    parser.add_argument("--output", type=Path, default=ROOT / "train-demo", help="folder (default: train-demo)")
    parser.add_argument("--minutes", default="2", help="length of the training (default: 2)")
    a = parser.parse_args()
    folder = a.output.resolve()
    run, bench, enlarged = folder / "run", folder / "held-out", folder / "enlarged"
    if run.exists():
        raise SystemExit(f"{run} already exists: delete it, or choose another --output")
    (bench / "HR").mkdir(parents=True, exist_ok=True)
    shutil.copy(HELD_OUT, bench / "HR")
    recipe = ROOT / "examples" / "two_minutes.toml"
    a2f(
        *("train", "sd", "-s", SCALE, "--data", PHOTOS, "--val", bench / "HR", "--recipe", recipe),
        *("--minutes", a.minutes, "-o", run),
    )
    a2f("plot", run)
    best = run / "best.safetensors"
    a2f("eval", "bicubic", best, "sd", "-s", SCALE, "--data", bench, "--save", enlarged, "--overwrite")
    pictures = [next((enlarged / model / bench.name).iterdir()) for model in ("bicubic", "best", "sd")]
    names = ("bicubic", "two minutes", "the shipped weights")
    labels = [word for name in names for word in ("--label", name)]
    sheet = folder / "samples.png"
    a2f("compare", *pictures, "--hr", HELD_OUT, *labels, "-o", sheet, "--overwrite")
    print(f"\n  the curves   {run / 'curves.png'}\n  the samples  {sheet}\n  the weights  {best}")
    print(f"  go on        a2f upscale photo.jpg -m {best}")


if __name__ == "__main__":
    main()
