"""Plot the curves of runs, and the λ of weights as in Figure 3 of the paper."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from a2f.errors import A2FError
from a2f.figures.factors import block_ticks
from a2f.figures.style import COLOURS, DASHES, FACTOR_LINES, FACTOR_NAMES, GREY, draw_grid, drawing, save
from a2f.peers.files import network_in
from a2f.training.log import read_log
from a2f.weights import lambdas, read_weights

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CURVES = {"loss": "training loss", "psnr_y": "validation PSNR-Y, dB", "lr": "learning rate"}
FEW_POINTS = 60  # curves with fewer points have markers
ACROSS = 3  # panels per row
PANEL_IN = (3.4, 2.5)  # width and height
PAD_IN = 0.1  # around each panel
TICKS = 5  # largest number of ticks of the step axis, so that they do not overlap


@dataclass(frozen=True, kw_only=True)
class Source:
    """The data of a run or a weights file to plot.

    Attributes:
        label: its name in the legend.
        rows: rows of log.csv; empty for a weights file.
        factors: "res", "att" and "x" -> the λ of each block; only the factors that the network has.
        notes: messages about data that cannot be drawn.
    """

    label: str
    rows: Sequence[Mapping[str, float]]
    factors: Mapping[str, Sequence[float]]
    notes: Sequence[str]

    def points(self, column: str) -> tuple[list[float], list[float]]:
        """Steps and finite values of a column of the log."""
        pairs = [(row.get("step", math.nan), row.get(column, math.nan)) for row in self.rows]
        known = [(step, value) for step, value in pairs if math.isfinite(step) and math.isfinite(value)]
        return [step for step, _ in known], [value for _, value in known]


def plot_runs(sources: Mapping[str, Path], *, output: Path) -> list[str]:
    """Plot loss, PSNR and learning rate of runs over the steps, and the λ of each run and each weights file.

    Args:
        sources: label -> folder of a run (its last weights are used), or a weights file.
        output: .png, .svg or .pdf.

    Returns:
        Messages about data that cannot be drawn: values missing in a log, or λ of a network without them.

    Raises:
        A2FError: if a folder has no log or an empty one, a file is no weights file, or nothing can be drawn.
        MissingExtraError: if matplotlib is not installed.
        UsageError: for another suffix.
        ImageWriteError: if the picture cannot be written.
    """
    drawn = [_source(path, label) for label, path in sources.items()]
    runs, with_factors = [s for s in drawn if s.rows], [s for s in drawn if s.factors]
    notes = [note for source in drawn for note in source.notes]
    panels = (len(CURVES) if runs else 0) + len(with_factors)
    if panels == 0:
        raise A2FError(f"there is nothing to draw: {'; '.join(notes)}")
    across, down = min(ACROSS, panels), -(-panels // ACROSS)
    with drawing(width_in=PANEL_IN[0] * across, height_in=PANEL_IN[1] * down) as figure:
        figure.get_layout_engine().set(w_pad=PAD_IN, h_pad=PAD_IN)
        axes = list(figure.subplots(down, across, squeeze=False).flat)
        for axis, name in zip(axes, CURVES if runs else (), strict=False):
            notes += _draw_curves(axis, name, runs)
        first = len(CURVES) if runs else 0
        for axis, source in zip(axes[first:], with_factors, strict=False):
            _draw_factors(axis, source)
        for axis in axes[panels:]:
            axis.set_axis_off()
        save(figure, output)
    return notes


def _source(path: Path, label: str) -> Source:
    """Read a run or a weights file; a run may have no weights yet, or damaged weights."""
    if path.is_file():
        factors, notes = _factors(path, label)
        return Source(label=label.removesuffix(".safetensors"), rows=(), factors=factors, notes=notes)
    rows = read_log(path / "log.csv")
    if not rows:
        raise A2FError(f"{path / 'log.csv'} has no line yet: a run writes the first line after its first evaluation")
    try:
        factors, notes = _factors(path / "last.safetensors", label)
    except A2FError as error:
        factors, notes = {}, [f"{label}: no λ: {error}"]
    return Source(label=label, rows=rows, factors=factors, notes=notes)


def _factors(path: Path, label: str) -> tuple[dict[str, list[float]], list[str]]:
    """The λ of a weights file, and a note if the network has none."""
    if network_in(path) is not None:
        return {}, [f"{label}: no λ: the network is not A²F"]
    return lambdas(read_weights(path)), []


def _draw_curves(axis: "Axes", name: str, runs: Sequence[Source]) -> list[str]:
    """Draw one curve per run, and another for the PSNR on JPEG files if measured. Returns notes."""
    from matplotlib.ticker import MaxNLocator

    notes = []
    for number, run in enumerate(runs):
        how: dict[str, Any] = {"color": COLOURS[number % len(COLOURS)], "linestyle": DASHES[number % len(DASHES)]}
        steps, values = run.points(name)
        if not values:
            notes.append(f"{run.label}: the log has no {CURVES[name]}")
            continue
        how |= {"marker": ".", "markersize": 3} if len(steps) < FEW_POINTS else {}
        axis.plot(steps, values, label=run.label, **how)
        steps, values = run.points("psnr_y_jpeg") if name == "psnr_y" else ([], [])
        if values:
            axis.plot(steps, values, label=f"{run.label}, JPEG files", linewidth=0.6, **how)
    if name == "psnr_y":
        _draw_bicubic(axis, runs)
    axis.set(xlabel="step", ylabel=CURVES[name])
    axis.xaxis.set_major_locator(MaxNLocator(TICKS, integer=True))
    draw_grid(axis)
    if name == "loss" and all(value > 0 for run in runs for value in run.points(name)[1]):
        axis.set_yscale("log")
    if len(axis.lines) > 1:
        axis.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2)  # above the panel, so that it covers no curve
    return notes


def _draw_bicubic(axis: "Axes", runs: Sequence[Source]) -> None:
    """Draw the PSNR-Y of bicubic as a dotted line; runs with other validation images or scales get lines of their own.

    A line for some of the runs has the colour of the first of them.
    """
    levels: dict[float, list[int]] = {}
    for number, run in enumerate(runs):
        _, values = run.points("bicubic")
        if values:
            levels.setdefault(values[-1], []).append(number)
    for level, numbers in levels.items():
        names = ", ".join(runs[number].label for number in numbers)
        told, colour = (
            ("bicubic", GREY) if len(levels) == 1 else (f"bicubic of {names}", COLOURS[numbers[0] % len(COLOURS)])
        )
        axis.axhline(level, color=colour, linewidth=1.0, linestyle=(0, (1, 1.5)), label=told)


def _draw_factors(axis: "Axes", source: Source) -> None:
    for name, values in source.factors.items():
        colour, marker, dashes = FACTOR_LINES[name]
        how: dict[str, Any] = {"color": colour, "marker": marker, "markersize": 3, "linestyle": dashes}
        axis.plot(range(1, len(values) + 1), values, label=FACTOR_NAMES[name], **how)
    axis.set(xlabel="block", ylabel="λ (Eq. 9)", title=source.label)
    blocks = len(next(iter(source.factors.values())))
    axis.set(xticks=block_ticks(blocks), xlim=(0.5, blocks + 0.5))
    draw_grid(axis)
    low, high = axis.get_ylim()
    axis.set_ylim(low, high + 0.15 * (high - low))  # space for the legend
    axis.legend(loc="upper center", ncols=3)
