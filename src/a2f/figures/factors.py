"""Figure 3: the three feature factors λ of each block, one panel per network."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from a2f.errors import UsageError, WeightsError
from a2f.evaluation.published import METHODS
from a2f.figures.style import BLACK, FACTOR_LINES, FACTOR_NAMES, PAGE_IN, draw_grid, drawing, save
from a2f.variants import FACTORS
from a2f.weights import Weights, lambdas

PANEL_IN = 1.55
MAX_COLUMNS = 4


@dataclass(frozen=True, kw_only=True)
class Panel:
    """The panel of one network.

    Attributes:
        network: name of the network, e.g. "A²F-SD".
        title: title of the panel, e.g. "A²F-SD ×4, authors".
        values: "res", "att", "x" -> λ of each block, in order (Eq. 9).
    """

    network: str
    title: str
    values: dict[str, list[float]]


def panel_of(weights: Weights, *, whose: str) -> Panel:
    """Make the panel of a weights file.

    Args:
        weights: weights of a network with all three factors.
        whose: origin of the weights, e.g. "authors".

    Raises:
        WeightsError: for a network without all three factors.
    """
    config = weights.config
    if set(config.factors) != set(FACTORS) or not config.projection:
        raise WeightsError(f"{config.variant} x{config.scale} has not all factors: Figure 3 needs λ of res, att and x")
    name = METHODS.get(config.variant, config.variant)
    return Panel(network=name, title=f"{name} ×{config.scale}, {whose}", values=lambdas(weights))


def rows_of(panels: Sequence[Panel]) -> list[list[Panel]]:
    """Arrange panels: one row if it can hold all of them, otherwise a new row for each network."""
    if len(panels) <= MAX_COLUMNS:
        return [list(panels)]
    rows: list[list[Panel]] = []
    for network in dict.fromkeys(panel.network for panel in panels):
        mine = [panel for panel in panels if panel.network == network]
        rows += [mine[n : n + MAX_COLUMNS] for n in range(0, len(mine), MAX_COLUMNS)]
    return rows


def block_ticks(blocks: int) -> list[int]:
    """The blocks with a number on the axis: all of a short network, else the first and each fourth."""
    return list(range(1, blocks + 1)) if blocks <= 8 else [1, *range(4, blocks + 1, 4)]


def draw_factors(panels: Sequence[Panel], *, output: Path) -> None:
    """Draw Figure 3.

    Args:
        panels: the panels of a network from left to right. More than four panels get a row for each network.
        output: .svg, .pdf or .png.

    Raises:
        UsageError: if there is no panel, or for a suffix that cannot be written.
        MissingExtraError: if matplotlib is not installed.
        ImageWriteError: if the file cannot be written.
    """
    if not panels:
        raise UsageError("Figure 3 needs a network: give a model or a weights file")
    rows = rows_of(panels)
    across = max(len(row) for row in rows)
    with drawing(width_in=PAGE_IN, height_in=0.45 + PANEL_IN * len(rows)) as figure:
        axes = figure.subplots(len(rows), across, sharey=True, squeeze=False)
        for row, places in zip(rows, axes, strict=True):
            places[0].set_ylabel("λ")
            for panel, axis in zip(row, places, strict=False):
                _draw(axis, panel)
            for axis in places[len(row) :]:
                axis.set_axis_off()
        for axis in axes[-1]:
            axis.set_xlabel("block")
        figure.legend(*axes.flat[0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
        save(figure, output)


def _draw(axis: Any, panel: Panel) -> None:
    for name, (color, marker, dashes) in FACTOR_LINES.items():
        values = panel.values[name]
        axis.plot(
            range(1, len(values) + 1),
            values,
            dashes,
            color=color,
            marker=marker,
            markersize=3,
            label=FACTOR_NAMES[name],
        )
    axis.set_xticks(block_ticks(len(panel.values["res"])))
    axis.set_title(panel.title)
    axis.axhline(0, color=BLACK, linewidth=0.5)
    draw_grid(axis)
