"""Scores as rows, and the rows as Markdown and CSV; the protocol on each. LaTeX and JSON have files of their own."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from a2f.evaluation.jpeg import Quality
from a2f.evaluation.published import SOURCE, Published, printed, published, why_not_comparable
from a2f.evaluation.score import SetScore, protocol

DIGITS = {"psnr_y": 3, "psnr_rgb": 3, "ssim_y": 4, "ms_ssim": 4, "lpips": 4}
PRINTED_DIGITS = {**DIGITS, "psnr_y": 2, "psnr_rgb": 2}  # as papers print them
LOWER_IS_BETTER = ("lpips",)
Shown = Literal["none", "own", "all"]


@dataclass(frozen=True, kw_only=True)
class Row:
    """A method in a table.

    Attributes:
        label: its name.
        parameters_k: thousands of parameters; None if not known.
        multi_adds_g: to 1280x720, 10^9; None if not known.
        figures: column -> metric -> value; without what is not known.
        source: whether the figures were measured here or printed in the paper.
        scale: s.
        not_comparable: column -> why its figures cannot be compared with those that were measured.
    """

    label: str
    parameters_k: float | None
    multi_adds_g: float | None
    figures: Mapping[str, Mapping[str, float]]
    source: Literal["measured", "printed"]
    scale: int
    not_comparable: Mapping[str, str] = field(default_factory=dict)

    def cell(self, column: str, metrics: Sequence[str], digits: Mapping[str, int]) -> str:
        """The metrics of a column, joined by "/"; what is not known is a dash."""
        values = self.figures.get(column, {})
        if not values:
            return "-"
        return "/".join(f"{values[m]:.{digits[m]}f}" if m in values else "-" for m in metrics)


def columns_of(scores: Sequence[SetScore]) -> list[str]:
    """The columns of a table: each set, in each JPEG quality that its LR images went through."""
    return list(dict.fromkeys(s.column for s in scores))


def table_rows(scores: Sequence[SetScore], metrics: Sequence[str], *, shown: Shown = "none") -> list[Row]:
    """A row a model.

    Args:
        scores: any models on any sets.
        metrics: names of metrics.
        shown: which rows of the paper follow: "own", under the first model of each network its row; "all", at the end
            every method of the scales. Rows without any figure of these sets and metrics are left out.
    """
    sets = {s.column: s for s in scores if s.jpeg_quality is None}
    rows: list[Row] = []
    told: list[Published] = []
    for model, scale in dict.fromkeys((s.model, s.scale) for s in scores):
        mine = {s.column: s for s in scores if (s.model, s.scale) == (model, scale)}
        rows.append(_measured(mine, metrics))
        row = published(rows_network(mine), scale=scale) if shown == "own" else None
        if row and row not in told:
            told.append(row)
            rows.append(_printed(row, sets, metrics))
    if shown == "all":
        scales = {s.scale for s in scores}
        rows += [_printed(row, sets, metrics) for row in printed() if row.scale in scales]
    return [row for row in rows if row.source == "measured" or row.figures]


def with_scale(model: str, scale: int) -> str:
    """A model's name with its scale at the end, once."""
    return model if model.endswith(f"x{scale}") else f"{model} x{scale}"


def rows_network(scores: Mapping[str, SetScore]) -> str | None:
    """The network of a model's scores; that of its name where a score does not say."""
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


def rows_of(scores: Sequence[SetScore], metrics: Sequence[str], *, shown: Shown = "none") -> list[list[str]]:
    """The rows of `table_rows` as text; the first row is the head. Arguments as `table_rows`."""
    return text_rows(table_rows(scores, metrics, shown=shown), columns_of(scores), metrics)


def text_rows(rows: Sequence[Row], columns: Sequence[str], metrics: Sequence[str]) -> list[list[str]]:
    """Rows as text; the first row is the head.

    Args:
        rows: of `table_rows`.
        columns: of `columns_of`; what a row lacks is a dash.
        metrics: in the order in which they stand in a cell.
    """
    text = [["model", *(f"{name} {'/'.join(metrics)}" for name in columns)]]
    for row in rows:
        label = f"the paper's {row.label}" if row.source == "printed" else row.label
        digits = PRINTED_DIGITS if row.source == "printed" else DIGITS
        text.append([label, *(row.cell(name, metrics, digits) for name in columns)])
    return text


def qualities_of(scores: Sequence[SetScore]) -> list[Quality]:
    """The JPEG qualities that LR went through, None for untouched LR, each once."""
    return list(dict.fromkeys(s.jpeg_quality for s in scores))


def footnote(
    metrics: Sequence[str],
    rows: Sequence[Row] = (),
    *,
    shown: Shown = "none",
    qualities: Sequence[Quality] = (None,),
    lr_data: str | None = None,
) -> str:
    """The protocol, and where the printed figures are from.

    Args:
        metrics: names of metrics.
        rows: of the table.
        shown: which rows of the paper were asked for.
        qualities: of the JPEGs that LR went through.
        lr_data: as `protocol`.
    """
    told = protocol(metrics, qualities, lr_data=lr_data)
    if shown == "none":
        return told
    if any(row.source == "printed" for row in rows):
        why = dict.fromkeys(f" {why}." for row in rows for why in row.not_comparable.values())
        return f"{told}\n\nRows of the paper: {SOURCE}, as printed.{''.join(why)}"
    return f"{told}\n\nThe paper prints no figures of these networks on these sets by these metrics ({SOURCE})."


def as_markdown(rows: Sequence[Sequence[str]], note: str) -> str:
    """A Markdown table and a note under it."""
    return "\n".join([*markdown_table(rows), "", note])


def markdown_table(rows: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a Markdown table; the first row is the head. A bar in a name is escaped."""
    head, *body = ([cell.replace("|", r"\|") for cell in row] for row in rows)
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return [*lines, *("| " + " | ".join(row) + " |" for row in body)]


def as_csv(scores: Sequence[SetScore], metrics: Sequence[str], *, lr_data: str | None = None) -> str:
    """A line an image and one for each mean; the protocol in a column of its own."""
    out, told = io.StringIO(), protocol(metrics, qualities_of(scores), lr_data=lr_data)
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["model", "scale", "set", "jpeg_quality", "image", *metrics, "protocol"])
    for s in scores:
        start = [s.label(s.model), s.scale, s.data, s.jpeg_quality]
        for image, values in s.images.items():
            writer.writerow([*start, image, *(values[m] for m in metrics), told])
        writer.writerow([*start, "mean", *(s.mean(m) for m in metrics), told])
    return out.getvalue()
