"""Learning curves: PSNR over the LR pixels that a training has seen, and two trainers over the same time.

    python -m benchmarks.learning [--authors FILE --train DIR] [--write]

This reads the logs in docs/runs (copies of log.csv of a run) and draws docs/images/learning.svg and
docs/images/trainers.svg, each also as PNG. With --authors and --train, it first measures the checkpoint of the paper's
authors (made by `a2f convert`) on the validation images of DIR, with the same code as a training, and stores the figure
in docs/runs/authors.json.
"""

import argparse
import csv
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from a2f.data.pairs import central_crop, find_images, load_pairs, read_image_list
from a2f.figures.style import BLACK, BLUE, FAINT, GREEN, ORANGE, PURPLE, RED
from a2f.model.a2f import from_weights
from a2f.training.start import VALIDATION_LR_PX
from a2f.training.validation import enlarged, score
from a2f.weights import read_weights
from benchmarks.markdown import ROOT, fill, table
from benchmarks.pictures import picture

RUNS = ROOT / "docs" / "runs"
AUTHORS = RUNS / "authors.json"
VALIDATION = ROOT / "docs" / "validation-pictures.txt"
COLORS = (BLUE, RED, GREEN, PURPLE, ORANGE)
PAPER_PX = 1_000_000 * 16 * 48**2  # LR pixels that the paper's training sees
NEW_IMAGES_PX = 60_006 * 8 * 48**2  # LR pixels of x4 at which its training images changed


@dataclass(frozen=True)
class Curve:
    """The steps, minutes and PSNR-Y of a run."""

    name: str
    steps: np.ndarray
    minutes: np.ndarray
    psnr: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Campaign:
    """A run that measures PSNR on the 24 validation images.

    Attributes:
        file: name of its log in docs/runs, without the suffix.
        label: name in the picture.
        scale: s.
        step_px: LR pixels per step.
        before_px: LR pixels that the initial weights had seen in an earlier run.
    """

    file: str
    label: str
    scale: int
    step_px: int
    before_px: int = 0

    def points(self) -> tuple[np.ndarray, np.ndarray]:
        """The LR pixels seen, and PSNR-Y in dB."""
        curve = read_curve(RUNS / f"{self.file}.csv")
        return self.before_px + curve.steps * self.step_px, curve.psnr


CAMPAIGN = (
    Campaign(file="anytime_x4", label="anytime", scale=4, step_px=8 * 48**2),
    Campaign(file="anytime_x4_half_rates", label="half the rates, twice the batch", scale=4, step_px=16 * 48**2,
             before_px=NEW_IMAGES_PX),
    Campaign(file="gpu_sd_x4", label="on a GPU", scale=4, step_px=64 * 64**2, before_px=80_000 * 8 * 48**2),
    Campaign(file="anytime_x2", label="anytime", scale=2, step_px=8 * 48**2),
    Campaign(file="gpu_sd_x2", label="on a GPU", scale=2, step_px=64 * 64**2, before_px=86_000 * 8 * 48**2),
)  # fmt: skip


def read_curve(path: Path) -> Curve:
    """Read a log.csv; its file name is the name of the curve."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    names = ("step", "seconds", "psnr_y")
    steps, seconds, psnr = (np.array([float(row[name]) for row in rows]) for name in names)
    return Curve(path.stem, steps, seconds / 60, psnr)


def measure_authors(file: Path, folder: Path) -> None:
    """Measure a converted checkpoint of the authors on the validation images, and store the figure."""
    weights = read_weights(file)
    scale = weights.config.scale
    paths = read_image_list(VALIDATION, folder=folder, among=find_images(folder))
    pairs = [
        central_crop(pair, side_px=VALIDATION_LR_PX) for _, pair in load_pairs(paths, scale=scale, on_error=_raise)
    ]
    torch.set_num_threads(1)
    model = from_weights(weights).eval()
    psnr = score(lambda lr: enlarged(model, lr), pairs, scale=scale, jpegs=False).psnr_y
    kept = json.loads(AUTHORS.read_text(encoding="utf-8")) if AUTHORS.exists() else {}
    AUTHORS.write_text(json.dumps(kept | {f"x{scale}": round(psnr, 4)}, indent=2) + "\n", encoding="utf-8")


def _raise(error: Exception) -> None:
    raise error


def gains_per_doubling(seen: np.ndarray, psnr: np.ndarray) -> list[float]:
    """The gain of each doubling of the LR pixels, in dB, backwards from the end of a run."""
    gains, end = [], seen[-1]
    while end / 2 >= seen[0]:
        later, earlier = np.interp([end, end / 2], seen, psnr)
        gains.append(float(later - earlier))
        end /= 2
    return gains[::-1]


def rows_of_campaign(authors: dict[str, float]) -> list[list[str]]:
    """One row for each run and for each checkpoint of the authors."""
    rows = [["run", "LR pixels seen", "validation PSNR-Y", "each doubling gave"]]
    for run in CAMPAIGN:
        seen, psnr = run.points()
        gains = " ".join(f"{gain:+.3f}" for gain in gains_per_doubling(seen, psnr))
        rows.append([f"SD x{run.scale}, {run.label}", f"{seen[-1] / 1e9:.2f} billion", f"{psnr[-1]:.3f}", gains or "-"])
    for scale, figure in authors.items():
        rows.append([f"SD {scale}, the authors", f"{PAPER_PX / 1e9:.0f} billion", f"{figure:.3f}", "-"])
    return rows


def draw_learning(authors: dict[str, float]) -> None:
    """Draw PSNR over LR pixels, one panel per scale."""
    with picture("learning", height_in=3.6) as figure:
        for axis, scale in zip(figure.subplots(1, 2), (4, 2), strict=True):
            runs = [run for run in CAMPAIGN if run.scale == scale]
            for run, color, marker in zip(runs, COLORS, "os^Dv", strict=False):
                seen, psnr = run.points()
                axis.plot(seen, psnr, marker=marker, markersize=3, linewidth=1, color=color, label=run.label)
            if scale == 4:
                axis.axvline(NEW_IMAGES_PX, color=BLACK, linewidth=0.6, linestyle=":", label="other mix of images")
            if f"x{scale}" in authors:
                axis.plot(PAPER_PX, authors[f"x{scale}"], "*", color=BLACK, markersize=9, label="the authors")
            axis.set(xscale="log", xlabel="LR pixels seen", title=f"A²F-SD x{scale}")
            axis.set_ylabel("PSNR-Y of 24 validation images, dB" if scale == 4 else "")
            axis.grid(color=FAINT, linewidth=0.4)
            axis.legend(loc="lower right", fontsize=7, frameon=True, framealpha=1, edgecolor="none")


def draw_trainers(curves: list[Curve]) -> None:
    """Draw two trainers over the same time."""
    with picture("trainers", height_in=3.6) as figure:
        axis = figure.subplots()
        for curve, color, marker in zip(curves, COLORS, "os^Dv", strict=False):
            name = curve.name.removeprefix("trainer_").replace("_", " ")
            label = f"{name}: {curve.psnr[-1]:.2f} dB"
            axis.plot(curve.minutes, curve.psnr, marker=marker, markersize=4, color=color, label=label)
        axis.set(
            xlabel="minutes, one core each, side by side", ylabel="Set5 PSNR-Y, dB", title="A²F-SD x4 from scratch"
        )
        axis.grid(color=FAINT, linewidth=0.4)
        axis.legend()


def main() -> None:
    """Read, print, draw, and write on request."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--authors", type=Path, metavar="FILE", help="converted checkpoint of the paper's authors")
    parser.add_argument("--train", type=Path, metavar="DIR", help="folder of the training images")
    parser.add_argument("--write", action="store_true", help="draw the pictures and update RESULTS.md")
    a = parser.parse_args()
    if (a.authors is None) != (a.train is None):
        parser.error("give --authors and --train together")
    if a.authors is not None:
        measure_authors(a.authors, a.train)
    authors = json.loads(AUTHORS.read_text(encoding="utf-8"))
    text = table(rows_of_campaign(authors))
    print(text)
    trainers = [read_curve(path) for path in sorted(RUNS.glob("trainer_*.csv"))]
    for c in trainers:
        print(f"{c.name}: {c.psnr[-1]:.3f} dB after {c.minutes[-1]:.1f} minutes, {c.steps[-1]:.0f} steps")
    if a.write:
        draw_learning(authors)
        draw_trainers(trainers)
        fill(ROOT / "RESULTS.md", "learning", text)


if __name__ == "__main__":
    main()
