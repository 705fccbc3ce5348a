"""Scores as tables: Markdown, CSV, LaTeX and JSON, the protocol on each."""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Literal

from a2f.evaluation.jpeg import Quality
from a2f.evaluation.published import SOURCE, Published, published, table_6
from a2f.evaluation.score import SetScore, protocol

DIGITS = {"psnr_y": 3, "psnr_rgb": 3, "ssim_y": 4, "ms_ssim": 4, "lpips": 4}
Shown = Literal["none", "own", "all"]


def rows_of(scores: Sequence[SetScore], metrics: Sequence[str], *, shown: Shown = "none") -> list[list[str]]:
    """A row a model: its name, then each set's metrics joined by "/"; the first row is the head.

    A set has a column for each JPEG quality that its LR images went through.

    Args:
        scores: any models on any sets; a missing combination is a dash.
        metrics: in the order in which they stand in a cell.
        shown: which rows of the paper follow: "own", under each of its networks that row; "all", at the end every
            method of the scales. What the paper does not print is a dash.
    """
    sets = list(dict.fromkeys(s.column for s in scores))
    rows = [["model", *(f"{name} {'/'.join(metrics)}" for name in sets)]]
    for model, scale in dict.fromkeys((s.model, s.scale) for s in scores):
        mine = {s.column: s for s in scores if (s.model, s.scale) == (model, scale)}
        label = next(iter(mine.values())).label(f"{model} x{scale}")
        rows.append([label, *(_cell(mine.get(name), metrics) for name in sets)])
        row = published(model, scale=scale) if shown == "own" else None
        if row:
            rows.append([f"the paper's {row.label}", *_printed(row, sets, metrics)])
    if shown == "all":
        scales = {s.scale for s in scores}
        rows += [[row.label, *_printed(row, sets, metrics)] for row in table_6() if row.scale in scales]
    return rows


def _printed(row: Published, sets: Sequence[str], metrics: Sequence[str]) -> list[str]:
    cells = []
    for name in sets:
        psnr, ssim = row.figures.get(name, (None, None))
        known = {"psnr_y": psnr and f"{psnr:.2f}", "ssim_y": ssim and f"{ssim:.4f}"}
        cells.append("/".join(known.get(metric) or "-" for metric in metrics))
    return cells


def qualities_of(scores: Sequence[SetScore]) -> list[Quality]:
    """The JPEG qualities that LR went through, None for untouched LR, each once."""
    return list(dict.fromkeys(s.jpeg_quality for s in scores))


def footnote(metrics: Sequence[str], *, shown: Shown = "none", qualities: Sequence[Quality] = (None,)) -> str:
    """The protocol, and where the printed figures are from."""
    source = "" if shown == "none" else f"\n\nRows of the paper: {SOURCE}, as printed."
    return protocol(metrics, qualities) + source


def _cell(score: SetScore | None, metrics: Sequence[str]) -> str:
    return "/".join(f"{score.mean(m):.{DIGITS[m]}f}" for m in metrics) if score else "-"


def as_markdown(rows: Sequence[Sequence[str]], note: str) -> str:
    """A Markdown table and a note under it."""
    head, *body = rows
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in body), "", note])


def as_csv(scores: Sequence[SetScore], metrics: Sequence[str]) -> str:
    """A line an image and one for each mean; the protocol in a column of its own."""
    out, told = io.StringIO(), protocol(metrics, qualities_of(scores))
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["model", "scale", "set", "jpeg_quality", "image", *metrics, "protocol"])
    for s in scores:
        start = [s.label(s.model), s.scale, s.data, s.jpeg_quality]
        for image, values in s.images.items():
            writer.writerow([*start, image, *(values[m] for m in metrics), told])
        writer.writerow([*start, "mean", *(s.mean(m) for m in metrics), told])
    return out.getvalue()


def as_json(scores: Sequence[SetScore], metrics: Sequence[str], *, shown: Shown = "none") -> str:
    """Everything: means, images, and the rows of the paper that are asked for."""
    entries = [
        {
            "model": s.model,
            "ensemble": s.ensemble,
            "scale": s.scale,
            "set": s.data,
            "jpeg_quality": s.jpeg_quality,
            "mean": {m: s.mean(m) for m in metrics},
            "images": s.images,
        }
        for s in scores
    ]
    told: dict[str, Any] = {"protocol": protocol(metrics, qualities_of(scores)), "scores": entries}
    if shown != "none":
        scales, models = {s.scale for s in scores}, {(s.model, s.scale) for s in scores}
        own = {published(model, scale=scale) for model, scale in models}
        rows = [row for row in table_6() if row.scale in scales and (shown == "all" or row in own)]
        told["published"] = {"source": SOURCE, "rows": [asdict(row) for row in rows]}
    return json.dumps(told, indent=2, ensure_ascii=False)


def as_latex(rows: Sequence[Sequence[str]], note: str) -> str:
    """A tabular in the style of booktabs, a note as comments."""
    escaped = [
        [cell.replace("_", r"\_").replace("%", r"\%").replace("²", r"\textsuperscript{2}") for cell in row]
        for row in rows
    ]
    head, *body = (" & ".join(row) + r" \\" for row in escaped)
    columns = "l" + "c" * (len(rows[0]) - 1)
    comments = [f"% {line}" for line in note.splitlines() if line]
    lines = [*comments, rf"\begin{{tabular}}{{{columns}}}", r"\toprule", head, r"\midrule", *body]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"])
