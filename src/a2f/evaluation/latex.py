"""Scores as a LaTeX table of methods and sets, in the style of booktabs, with marks for the best and second best."""

import math
import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from operator import itemgetter
from typing import Literal

from a2f.evaluation.differences import Comparison, comparison_note, comparison_rows
from a2f.evaluation.tables import LOWER_IS_BETTER, PRINTED_DIGITS, Row

Marks = Literal["colour", "bold", "none"]
NAMES = {"psnr_y": "PSNR", "ssim_y": "SSIM", "psnr_rgb": "PSNR-RGB", "ms_ssim": "MS-SSIM", "lpips": "LPIPS"}
MARKS = {
    "colour": (r"\textcolor{red}{#1}", r"\textcolor{blue}{#1}"),  # as in Table 6 of the paper
    "bold": (r"\textbf{#1}", r"\underline{#1}"),
}
COUNTED = (
    "Params: with biases and the gains of weight normalisation.",
    "Multi-Adds: for 1280x720 output, counted as for A2F in Table 6 of the paper: with biases, ReLUs, pooled values.",
)
COUNTED_ELSEWHERE = "Rows (paper): both as printed; the paper counts other methods in other ways than A2F."
PACKAGES = {"colour": "booktabs and xcolor", "bold": "booktabs", "none": "booktabs"}
# Upper limits of the groups of Table 6 of the paper by scale, in thousands of parameters. At x2 the last group is
# printed as "< 5000K" but contains MSRN with 5930K.
GROUPS_K = {2: (500, 1000, 2000, 10000), 3: (1000, 2000, 10000), 4: (1000, 2000, 10000)}
SPECIAL = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "²": r"\textsuperscript{2}", "<": r"\textless{}",
    ">": r"\textgreater{}", "|": r"\textbar{}",
}  # fmt: skip

Best = dict[tuple[str, str], tuple[str, str | None]]  # column, metric -> text of the best and the second best


def as_latex(
    rows: Sequence[Row], columns: Sequence[str], metrics: Sequence[str], note: str, *, marks: Marks, grouped: bool
) -> str:
    r"""Make a tabular, with the note as comments.

    Figures have the digits of the paper: PSNR 2, all others 4. A figure that is printed like the best one gets the same
    mark. Figures of the paper are not ranked if its set has other pictures (`Row.not_comparable`). Multi-Adds of the
    paper are as printed.

    Args:
        rows: rows of `table_rows`.
        columns: columns of `columns_of`; each has one column per metric.
        metrics: names of metrics, in the order of the columns.
        note: the protocol.
        marks: marks of the best and second best of a group: "colour" (red and blue as in the paper), "bold" (bold and
            underlined) or "none". The macros ``\best`` and ``\second`` define the marks and can be redefined.
        grouped: group the rows by size, as in Table 6 of the paper; otherwise all rows are one group.
    """
    count = 3 + len(columns) * len(metrics)
    body = []
    for number, (title, group) in enumerate(_groups(rows, grouped=grouped)):
        body += [r"\midrule"] if number else []
        body += [rf"\multicolumn{{{count}}}{{l}}{{\textit{{{title}}}}} \\"] if title else []
        found = {} if marks == "none" else _best(group, columns, metrics)
        body += [_line(row, columns, metrics, found) for row in group]
    lines = [
        *_comments(rows, note, marks),
        *_macros(marks),
        rf"\begin{{tabular}}{{lrr{'c' * (count - 3)}}}",
        r"\toprule",
        *_head(columns, metrics),
    ]
    return "\n".join([*lines, r"\midrule", *body, r"\bottomrule", r"\end{tabular}"])


def _comments(rows: Sequence[Row], note: str, marks: Marks) -> list[str]:
    """The comments above the table: protocol, scale, packages, and what the columns of the size count."""
    scales = " and ".join(f"x{scale}" for scale in sorted({row.scale for row in rows}))
    lines = [*filter(None, note.splitlines()), f"Scale: {scales}. Packages: {PACKAGES[marks]}.", *COUNTED]
    if any(row.source == "printed" for row in rows):
        lines.append(COUNTED_ELSEWHERE)
    return [f"% {line}" for line in lines]


def _macros(marks: Marks) -> list[str]:
    if marks == "none":
        return []
    best, second = MARKS[marks]
    return [rf"\providecommand{{\best}}[1]{{{best}}}", rf"\providecommand{{\second}}[1]{{{second}}}"]


def comparisons_as_latex(comparisons: Sequence[Comparison]) -> str:
    """Make a tabular of paired differences, with the method as a comment."""
    head, *body = ([_signed(escaped(NAMES.get(cell, cell))) for cell in row] for row in comparison_rows(comparisons))
    lines = [
        f"% {comparison_note(comparisons)}",
        rf"\begin{{tabular}}{{{'l' * len(head)}}}",
        r"\toprule",
        " & ".join(head) + r" \\",
        r"\midrule",
    ]
    return "\n".join([*lines, *(" & ".join(row) + r" \\" for row in body), r"\bottomrule", r"\end{tabular}"])


def _signed(text: str) -> str:
    """Put signed numbers into math mode, so that the minus sign is not a hyphen."""
    return re.sub(r"(?<![\w.-])[+-]\d+\.\d+", r"$\g<0>$", text)


def escaped(text: str) -> str:
    """Escape the special characters of LaTeX."""
    return "".join(SPECIAL.get(letter, letter) for letter in text)


def _head(columns: Sequence[str], metrics: Sequence[str]) -> list[str]:
    """The header: names of the sets above names of the metrics; one line if there is one metric."""
    start = ["Method", "Params, K", "Multi-Adds, G"]
    if len(metrics) == 1:
        return [" & ".join([*start, *(escaped(f"{name} {NAMES[metrics[0]]}") for name in columns)]) + r" \\"]
    spans = [rf"\multicolumn{{{len(metrics)}}}{{c}}{{{escaped(name)}}}" for name in columns]
    ends = [3 + len(metrics) * (number + 1) for number in range(len(columns))]
    rules = " ".join(rf"\cmidrule(lr){{{end - len(metrics) + 1}-{end}}}" for end in ends)
    second = ["", "", "", *(NAMES[m] for _ in columns for m in metrics)]
    return [" & ".join([*start, *spans]) + r" \\", rules, " & ".join(second) + r" \\"]


def _groups(rows: Sequence[Row], *, grouped: bool) -> Iterator[tuple[str, list[Row]]]:
    """Group the rows by size, each group with its title; rows of unknown size are last."""
    if not grouped:
        yield "", list(rows)
        return
    sized = sorted(((row.parameters_k, row) for row in rows if row.parameters_k is not None), key=itemgetter(0))
    ends = GROUPS_K.get(rows[0].scale, GROUPS_K[4])
    for least, most in pairwise((0, *ends, math.inf)):
        group = [row for size, row in sized if least <= size < most]
        title = f"fewer than {most}K" if least == 0 else f"{least}K to {most}K" if most < math.inf else f"over {least}K"
        if group:
            yield f"{title} parameters", group
    unknown = [row for row in rows if row.parameters_k is None]
    if unknown:
        yield "size not known", unknown


def _best(rows: Sequence[Row], columns: Sequence[str], metrics: Sequence[str]) -> Best:
    """The best and second best text of each column and metric, if at least two rows can be compared."""
    found: Best = {}
    for column in columns:
        for metric in metrics:
            alike = [row for row in rows if column not in row.not_comparable]
            known = [row for row in alike if metric in row.figures.get(column, {})]
            by_value = sorted(known, key=lambda row: row.figures[column][metric], reverse=metric not in LOWER_IS_BETTER)
            ranked = list(dict.fromkeys(_text(row, column, metric) for row in by_value))
            if ranked and len(alike) > 1:
                found[column, metric] = ranked[0], ranked[1] if len(ranked) > 1 else None
    return found


def _line(row: Row, columns: Sequence[str], metrics: Sequence[str], best: Best) -> str:
    name, _, rest = row.label.partition(f" x{row.scale}")
    cells = [escaped(f"{name} (paper)" if row.source == "printed" else name + rest)]
    cells += ["-" if row.parameters_k is None else f"{row.parameters_k:.0f}"]
    cells.append(_operations(row))
    for column in columns:
        known = {} if column in row.not_comparable else best
        cells += [_marked(_text(row, column, m), known.get((column, m), ("", None))) for m in metrics]
    return " & ".join(cells) + r" \\"


def _operations(row: Row) -> str:
    """Multi-Adds with one decimal; those of the paper as printed."""
    if row.multi_adds_g is None:
        return "-"
    return str(row.multi_adds_g) if row.source == "printed" else f"{row.multi_adds_g:.1f}"


def _text(row: Row, column: str, metric: str) -> str:
    value = row.figures.get(column, {}).get(metric)
    return "-" if value is None else r"$\infty$" if math.isinf(value) else f"{value:.{PRINTED_DIGITS[metric]}f}"


def _marked(text: str, best: tuple[str, str | None]) -> str:
    return rf"\best{{{text}}}" if text == best[0] else rf"\second{{{text}}}" if text == best[1] else text
