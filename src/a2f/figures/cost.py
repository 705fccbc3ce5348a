"""Figure 1: PSNR against parameters and against Multi-Adds, all methods of Table 6."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from a2f.errors import UsageError
from a2f.evaluation.published import METHODS, SETS, Published, table_6
from a2f.figures.labels import Box, Label, draw_labels
from a2f.figures.style import BLUE, FAINT, GREEN, PAGE_IN, PURPLE, RED, drawing, save
from a2f.variants import SCALES

LABEL_PT = 6.0
HEIGHT_IN, CROWDED_IN = 3.8, 5.0  # the second for more than `CROWDED` points
CROWDED = 20


@dataclass(frozen=True, kw_only=True)
class MarkStyle:
    """The style of a kind of point, and its label in the legend."""

    color: str
    marker: str
    size: float
    label: str
    filled: bool = True


OTHERS = MarkStyle(color=BLUE, marker="o", size=4.0, label="other methods, as printed")
AUTHORS = MarkStyle(color=RED, marker="*", size=8.0, label="A²F, as printed")
MEASURED = MarkStyle(color=GREEN, marker="D", size=4.5, label="A²F, measured weights", filled=False)
ADDED = MarkStyle(color=PURPLE, marker="s", size=4.0, label="added networks")


@dataclass(frozen=True, kw_only=True)
class Point:
    """A method in the figure.

    Attributes:
        name: label of the point.
        parameters_k: thousands of parameters.
        multi_adds_g: Multi-Adds for 1280x720 output, 10^9; None leaves it out of the right half.
        psnr_y: dB.
        kind: style of the point.
    """

    name: str
    parameters_k: float
    multi_adds_g: float | None
    psnr_y: float
    kind: MarkStyle


def points_of(
    data: str, *, scale: int, measured: Mapping[str, float] | None = None, added: Sequence[Point] = ()
) -> list[Point]:
    """The methods of Table 6 that have a figure on a set, and other networks; A²F first.

    Args:
        data: one of the five sets, e.g. "Manga109".
        scale: s.
        measured: PSNR-Y of weights of A²F, "s", "sd", "m" or "l" -> dB.
        added: networks that are not in Table 6.

    Raises:
        UsageError: for another set or scale.
    """
    if data not in SETS or scale not in SCALES:
        raise UsageError(f"Table 6 has no {data} x{scale}: choose one of {', '.join(SETS)} at x2, x3 or x4")
    rows = [row for row in table_6() if row.scale == scale and data in row.figures]
    points = [_point(row, data) for row in rows]
    by_method = {row.method: row for row in rows}
    for variant, psnr in (measured or {}).items():
        row = by_method[METHODS[variant]]
        points.append(
            Point(
                name=f"{row.method}, a2f",
                parameters_k=row.parameters_k,
                multi_adds_g=row.multi_adds_g,
                psnr_y=psnr,
                kind=MEASURED,
            )
        )
    return sorted([*points, *added], key=lambda p: (p.kind is OTHERS, p.kind is not AUTHORS))


def _point(row: Published, data: str) -> Point:
    return Point(
        name=row.method,
        parameters_k=row.parameters_k,
        multi_adds_g=row.multi_adds_g,
        psnr_y=row.figures[data][0],
        kind=AUTHORS if row.method in METHODS.values() else OTHERS,
    )


def draw_cost(
    data: str = "Manga109",
    *,
    scale: int = 2,
    measured: Mapping[str, float] | None = None,
    added: Sequence[Point] = (),
    output: Path,
) -> list[list[Box]]:
    """Draw Figure 1.

    Args:
        data: the set.
        scale: s.
        measured: PSNR-Y of weights of A²F, "s", "sd", "m" or "l" -> dB.
        added: networks that are not in Table 6.
        output: .svg, .pdf or .png.

    Returns:
        The boxes of the labels of each half, pixels.

    Raises:
        UsageError: for another set or scale, or for a suffix that cannot be written.
        MissingExtraError: if matplotlib is not installed.
        ImageWriteError: if the file cannot be written.
    """
    points = points_of(data, scale=scale, measured=measured, added=added)
    with drawing(width_in=PAGE_IN, height_in=CROWDED_IN if len(points) > CROWDED else HEIGHT_IN) as figure:
        left, right = figure.subplots(1, 2, sharey=True)
        counted = [p for p in points if p.multi_adds_g is not None]
        _dots(left, points, [p.parameters_k for p in points], "parameters, thousands")
        _dots(right, counted, [p.multi_adds_g or 0 for p in counted], "Multi-Adds for 1280x720, 10⁹")
        left.set_ylabel(f"PSNR-Y on {data} ×{scale}, dB")
        figure.legend(*left.get_legend_handles_labels(), loc="outside upper center", ncols=4)
        boxes = [
            _name(left, points, [p.parameters_k for p in points]),
            _name(right, counted, [p.multi_adds_g or 0 for p in counted]),
        ]
        save(figure, output)
    return boxes


def _dots(axis: Any, points: Sequence[Point], x: Sequence[float], label: str) -> None:
    for kind in dict.fromkeys(p.kind for p in points):
        mine = [(value, p.psnr_y) for value, p in zip(x, points, strict=True) if p.kind is kind]
        across, up = zip(*mine, strict=True)
        how = {"color": kind.color, "markersize": kind.size, "label": kind.label}
        axis.plot(across, up, kind.marker, markerfacecolor=kind.color if kind.filled else "none", zorder=3, **how)
    axis.set(xscale="log", xlabel=label, xlim=(min(x) / 1.6, max(x) * 2.8))
    low, high = min(p.psnr_y for p in points), max(p.psnr_y for p in points)
    axis.set_ylim(low - 0.06 * (high - low), high + 0.08 * (high - low))
    axis.grid(color=FAINT, linewidth=0.4)
    axis.set_axisbelow(True)


def _name(axis: Any, points: Sequence[Point], x: Sequence[float]) -> list[Box]:
    labels = [
        Label(x=value, y=p.psnr_y, text=p.name, color=p.kind.color, bold=p.kind is not OTHERS)
        for value, p in zip(x, points, strict=True)
    ]
    return draw_labels(axis, labels, size_pt=LABEL_PT)
