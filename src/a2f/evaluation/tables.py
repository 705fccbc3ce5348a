"""Scores as table rows, and the rows as Markdown and CSV, each with the protocol."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from a2f.evaluation.jpeg import Quality
from a2f.evaluation.published import SOURCE, Published, printed, published, why_not_comparable
from a2f.evaluation.score import SetScore, protocol

DIGITS = {"psnr_y": 3, "psnr_rgb": 3, "ssim_y": 4, "ms_ssim": 4, "lpips": 4}
PRINTED_DIGITS = {**DIGITS, "psnr_y": 2, "psnr_rgb": 2}  # digits in papers
LOWER_IS_BETTER = ("lpips",)
ShownRows = Literal["none", "own", "all"]


@dataclass(frozen=True, kw_only=True)
class Row:
    """The row of a method in a table.

    Attributes:
        label: name of the method.
        parameters_k: thousands of parameters; None if unknown.
        multi_adds_g: Multi-Adds for 1280x720 output, 10^9, printed ones as in `Published`; None if unknown.
        figures: column -> metric -> value; unknown values are left out.
        source: whether the figures were measured here or printed in the paper.
        scale: s.
        not_comparable: column -> why its figures are not comparable with the measured figures.
    """

    label: str
    parameters_k: float | None
    multi_adds_g: float | None
    figures: Mapping[str, Mapping[str, float]]
    source: Literal["measured", "printed"]
    scale: int
    not_comparable: Mapping[str, str] = field(default_factory=dict)

    def cell(self, column: str, metrics: Sequence[str], digits: Mapping[str, int]) -> str:
        """The metrics of a column, joined by "/"; an unknown value is a dash."""
        values = self.figures.get(column, {})
        if not values:
            return "-"
        return "/".join(f"{values[m]:.{digits[m]}f}" if m in values else "-" for m in metrics)


def columns_of(scores: Sequence[SetScore]) -> list[str]:
    """The columns of a table: each set in each JPEG quality of its LR images."""
    return list(dict.fromkeys(s.column for s in scores))


def table_rows(scores: Sequence[SetScore], metrics: Sequence[str], *, shown: ShownRows = "none") -> list[Row]:
    """Make one row per model.

    Args:
        scores: scores of any models on any sets.
        metrics: names of metrics.
        shown: rows of the paper to add: "none"; "own" adds the row of each network below its first model; "all" adds
            every method of the scales at the end. Rows without any figure for these sets and metrics are left out.
    """
    sets = {s.column: s for s in scores if s.jpeg_quality is None}
    rows: list[Row] = []
    text: list[Published] = []
    for model, scale in dict.fromkeys((s.model, s.scale) for s in scores):
        mine = {s.column: s for s in scores if (s.model, s.scale) == (model, scale)}
        rows.append(_measured(mine, metrics))
        row = published(rows_network(mine), scale=scale) if shown == "own" else None
        if row and row not in text:
            text.append(row)
            rows.append(_printed(row, sets, metrics))
    if shown == "all":
        scales = {s.scale for s in scores}
        rows += [_printed(row, sets, metrics) for row in printed() if row.scale in scales]
    return [row for row in rows if row.source == "measured" or row.figures]


def with_scale(model: str, scale: int) -> str:
    """Add the scale to a model's name, unless it ends with it."""
    return model if model.endswith(f"x{scale}") else f"{model} x{scale}"


def rows_network(scores: Mapping[str, SetScore]) -> str | None:
    """The network of a model's scores, or the model name if the network is unknown."""
    first = next(iter(scores.values()))
    return first.about.network or first.model


def _measured(scores: Mapping[str, SetScore], metrics: Sequence[str]) -> Row:
    first = next(iter(scores.values()))
    about = first.about
    return Row(
        label=first.label(with_scale(first.model, first.scale)),
        parameters_k=None if about.parameters is None else about.parameters / 1e3,
        multi_adds_g=None if about.multi_adds is None else about.multi_adds / 1e9,
        figures={column: {m: score.mean(m) for m in metrics} for column, score in scores.items()},
        source="measured",
        scale=first.scale,
    )


def _printed(row: Published, sets: Mapping[str, SetScore], metrics: Sequence[str]) -> Row:
    figures: dict[str, dict[str, float]] = {}
    unlike: dict[str, str] = {}
    for column, score in sets.items():
        values = {m: value for m in metrics if (value := row.value(score.data, m)) is not None}
        if values:
            figures[column] = values
            if why := why_not_comparable(score.data, len(score.images)):
                unlike[column] = why
    return Row(
        label=row.label,
        parameters_k=row.parameters_k,
        multi_adds_g=row.multi_adds_g,
        figures=figures,
        source="printed",
        scale=row.scale,
        not_comparable=unlike,
    )


def rows_of(scores: Sequence[SetScore], metrics: Sequence[str], *, shown: ShownRows = "none") -> list[list[str]]:
    """The rows of `table_rows` as text; the first row is the header."""
    return text_rows(table_rows(scores, metrics, shown=shown), columns_of(scores), metrics)


def text_rows(rows: Sequence[Row], columns: Sequence[str], metrics: Sequence[str]) -> list[list[str]]:
    """Convert rows to text; the first row is the header.

    Args:
        rows: rows of `table_rows`.
        columns: columns of `columns_of`; a missing value is a dash.
        metrics: names of metrics, in the order inside a cell.
    """
    text = [["model", *(f"{name} {'/'.join(metrics)}" for name in columns)]]
    for row in rows:
        label = f"the paper's {row.label}" if row.source == "printed" else row.label
        digits = PRINTED_DIGITS if row.source == "printed" else DIGITS
        text.append([label, *(row.cell(name, metrics, digits) for name in columns)])
    return text


def qualities_of(scores: Sequence[SetScore]) -> list[Quality]:
    """The JPEG qualities of the LR images without duplicates, None for no JPEG."""
    return list(dict.fromkeys(s.jpeg_quality for s in scores))


def footnote(
    metrics: Sequence[str],
    rows: Sequence[Row] = (),
    *,
    shown: ShownRows = "none",
    qualities: Sequence[Quality] = (None,),
    lr_data: str | None = None,
) -> str:
    """The text below a table: the protocol and the source of the printed figures.

    Args:
        metrics: names of metrics.
        rows: rows of the table.
        shown: the requested rows of the paper.
        qualities: JPEG qualities of the LR images.
        lr_data: name of the folder of LR images, if they are not those of the set or made by bicubic.
    """
    text = protocol(metrics, qualities, lr_data=lr_data)
    if shown == "none":
        return text
    if any(row.source == "printed" for row in rows):
        why = dict.fromkeys(f" {why}." for row in rows for why in row.not_comparable.values())
        return f"{text}\n\nRows of the paper: {SOURCE}, as printed.{''.join(why)}"
    return f"{text}\n\nThe paper has no figures of these networks for these sets and metrics ({SOURCE})."


def as_markdown(rows: Sequence[Sequence[str]], note: str) -> str:
    """A Markdown table with a note below it."""
    return "\n".join([*markdown_table(rows), "", note])


def markdown_table(rows: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a Markdown table; the first row is the header. Bars in names are escaped."""
    head, *body = ([cell.replace("|", r"\|") for cell in row] for row in rows)
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return [*lines, *("| " + " | ".join(row) + " |" for row in body)]


def as_csv(scores: Sequence[SetScore], metrics: Sequence[str], *, lr_data: str | None = None) -> str:
    """Scores as CSV: one line per image and one per mean; the last column is the protocol."""
    out, text = io.StringIO(), protocol(metrics, qualities_of(scores), lr_data=lr_data)
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["model", "scale", "set", "jpeg_quality", "image", *metrics, "protocol"])
    for s in scores:
        start = [s.label(s.model), s.scale, s.data, s.jpeg_quality]
        for image, values in s.images.items():
            writer.writerow([*start, image, *(values[m] for m in metrics), text])
        writer.writerow([*start, "mean", *(s.mean(m) for m in metrics), text])
    return out.getvalue()
