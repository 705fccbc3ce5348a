"""How PSNR grows with training: ends of runs of several lengths over log steps, and two trainers over the minutes.

    python -m benchmarks.learning [--write]

Reads the logs in docs/runs, which training left (log.csv of a run, copied), and draws docs/images/learning.svg and
docs/images/trainers.svg, and PNG beside them. An extrapolation is a guess: two of them are given, and how they were
made.
"""

import argparse
import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from a2f.evaluation.published import table_6
from a2f.figures.style import BLACK, BLUE, FAINT, GREEN, GREY, ORANGE, PURPLE, RED
from benchmarks.markdown import ROOT, fill, table
from benchmarks.pictures import picture

RUNS = ROOT / "docs" / "runs"
COLORS = (BLUE, RED, GREEN, PURPLE, ORANGE)
LONGER = (100_000, 300_000, 1_000_000)
BICUBIC = 28.43  # Set5 x4, RESULTS.md
PAPER = next(row.figures["Set5"][0] for row in table_6() if (row.method, row.scale) == ("A²F-SD", 4))


@dataclass(frozen=True)
class Curve:
    """One run: its steps, minutes and Set5 PSNR-Y."""

    name: str
    steps: np.ndarray
    minutes: np.ndarray
    psnr: np.ndarray


def read_curve(path: Path) -> Curve:
    """A log.csv; its file name is what the curve is called."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    column = lambda name: np.array([float(row[name]) for row in rows])  # noqa: E731
    return Curve(path.stem, column("step"), column("seconds") / 60, column("psnr_y"))


def fits(ends: list[tuple[float, float]]) -> dict[str, np.ndarray]:
    """PSNR at `LONGER`, by two models of the ends (steps, PSNR): where it goes on as fast, and where it slows down."""
    steps, psnr = (np.array(values) for values in zip(*sorted(ends), strict=True))
    slope = (psnr[-1] - psnr[-2]) / np.log10(steps[-1] / steps[-2])
    straight = psnr[-1] + slope * np.log10(np.array(LONGER) / steps[-1])
    if len(ends) < 3:  # a curve with a limit has three unknowns
        return {"straight over log steps": straight}
    best: tuple[float, float, np.ndarray] | None = None
    for power in np.linspace(0.1, 1.5, 141):  # psnr = limit - c * steps ** -power, least squares for each power
        design = np.stack([np.ones_like(steps), -(steps**-power)], axis=1)
        (limit, c), *_ = np.linalg.lstsq(design, psnr, rcond=None)
        error = float(np.sum((design @ np.array([limit, c]) - psnr) ** 2))
        if best is None or error < best[0]:
            best = error, limit, limit - c * np.array(LONGER, float) ** -power
    assert best is not None
    return {"straight over log steps": straight, "slowing down (limit minus a power)": best[2]}


def draw_learning(curves: list[Curve], guesses: dict[str, np.ndarray]) -> None:
    """Curves and ends over log steps, the guesses dashed."""
    with picture("learning", height_in=4.0) as figure:
        axis = figure.subplots()
        for curve, color, marker in zip(curves, COLORS, "os^Dv", strict=False):
            axis.plot(curve.steps, curve.psnr, linewidth=1, alpha=0.6, color=color)
            end = curve.steps[-1], curve.psnr[-1]
            axis.plot(*end, marker, color=color, label=curve.name.replace("_", " "))
        last = max(curves, key=lambda c: c.steps[-1])
        for (name, values), style in zip(guesses.items(), ("--", ":"), strict=False):
            axis.plot([last.steps[-1], *LONGER], [last.psnr[-1], *values], style, color=GREY, label=f"guess: {name}")
        axis.axhline(PAPER, color=BLACK, linewidth=0.8)
        axis.annotate("the paper, 1,000,000 steps of 16 x 48", (600, PAPER + 0.03))
        axis.set(xscale="log", xlabel="steps", ylabel="Set5 PSNR-Y, dB", ylim=(BICUBIC, None), title="A²F-SD x4")
        axis.grid(color=FAINT, linewidth=0.4)
        axis.legend(loc="lower right")


def draw_trainers(curves: list[Curve]) -> None:
    """The same minutes, two trainers."""
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
    """Read, print, draw, and write where asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="draw the pictures and update RESULTS.md")
    a = parser.parse_args()
    scratch = [read_curve(path) for path in sorted(RUNS.glob("scratch_*.csv"))]
    trainers = [read_curve(path) for path in sorted(RUNS.glob("trainer_*.csv"))]
    guesses = fits([(c.steps[-1], c.psnr[-1]) for c in scratch])
    ends = [["run from scratch", "steps", "minutes", "Set5"]]
    ends += [
        [c.name.replace("_", " "), f"{c.steps[-1]:,.0f}", f"{c.minutes[-1]:.0f}", f"{c.psnr[-1]:.3f}"]
        for c in sorted(scratch, key=lambda c: c.steps[-1])
    ]
    ahead = [["guess for a longer run", *(f"{n:,} steps" for n in LONGER)]]
    ahead += [[name, *(f"{value:.2f}" for value in values)] for name, values in guesses.items()]
    text = f"{table(ends)}\n\n{table(ahead)}"
    print(text)
    for c in trainers:
        print(f"{c.name}: {c.psnr[-1]:.3f} dB after {c.minutes[-1]:.1f} minutes, {c.steps[-1]:.0f} steps")
    if a.write:
        draw_learning(scratch, guesses)
        draw_trainers(trainers)
        fill(ROOT / "RESULTS.md", "learning", text)


if __name__ == "__main__":
    main()
