"""Scores as tables: Markdown, CSV, LaTeX and JSON, the protocol on each."""

import csv
import io
import json
from collections.abc import Sequence

from a2f.evaluation.published import PAPER
from a2f.evaluation.score import PROTOCOL, SetScore

DIGITS = {"psnr_y": 3, "psnr_rgb": 3, "ssim_y": 4}


def rows_of(scores: Sequence[SetScore], metrics: Sequence[str], *, published: bool = False) -> list[list[str]]:
    """A row a model: its name, then each set's metrics joined by "/"; the first row is the head.

    Args:
        scores: any models on any sets; a missing combination is a dash.
        metrics: in the order in which they stand in a cell.
        published: after each model of the paper, the paper's own row (PSNR-Y/SSIM-Y).
    """
    sets = list(dict.fromkeys(s.data for s in scores))
    rows = [["model", *(f"{name} {'/'.join(metrics)}" for name in sets)]]
    for model, scale in dict.fromkeys((s.model, s.scale) for s in scores):
        mine = {s.data: s for s in scores if (s.model, s.scale) == (model, scale)}
        rows.append([f"{model} x{scale}", *(_cell(mine.get(name), metrics) for name in sets)])
        paper = PAPER.get((model, scale)) if published else None
        if paper:
            printed = {name: f"{paper[name][0]:.2f}/{paper[name][1]:.4f}" for name in paper}
            rows.append([f"the paper's {model} x{scale}", *(printed.get(name, "-") for name in sets)])
    return rows


def _cell(score: SetScore | None, metrics: Sequence[str]) -> str:
    return "/".join(f"{score.mean(m):.{DIGITS[m]}f}" for m in metrics) if score else "-"


def as_markdown(rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table and the protocol under it."""
    head, *body = rows
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in body), "", PROTOCOL])


def as_csv(scores: Sequence[SetScore], metrics: Sequence[str]) -> str:
    """A line an image and one for each mean; the protocol in a column of its own."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["model", "scale", "set", "image", *metrics, "protocol"])
    for s in scores:
        for image, values in s.images.items():
            writer.writerow([s.model, s.scale, s.data, image, *(values[m] for m in metrics), PROTOCOL])
        writer.writerow([s.model, s.scale, s.data, "mean", *(s.mean(m) for m in metrics), PROTOCOL])
    return out.getvalue()


def as_json(scores: Sequence[SetScore], metrics: Sequence[str]) -> str:
    """Everything, means and images."""
    entries = [
        {"model": s.model, "scale": s.scale, "set": s.data, "mean": {m: s.mean(m) for m in metrics}, "images": s.images}
        for s in scores
    ]
    return json.dumps({"protocol": PROTOCOL, "scores": entries}, indent=2)


def as_latex(rows: Sequence[Sequence[str]]) -> str:
    """A tabular in the style of booktabs, the protocol as a comment."""
    escaped = [[cell.replace("_", r"\_").replace("%", r"\%") for cell in row] for row in rows]
    head, *body = (" & ".join(row) + r" \\" for row in escaped)
    columns = "l" + "c" * (len(rows[0]) - 1)
    lines = [f"% {PROTOCOL}", rf"\begin{{tabular}}{{{columns}}}", r"\toprule", head, r"\midrule", *body]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"])
