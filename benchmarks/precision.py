"""Time and loss of PSNR of each precision of the shipped x4 models, measured in one run.

    python -m benchmarks.precision [--data DIR] [--threads 2] [--rounds 3] [--write]
    python -m benchmarks.precision --draw    draw the pictures from the stored measurements

The time is for 320x180 to 1280x720, with all modes in turns. The loss is the PSNR-Y of onnxruntime fp32 minus the
PSNR-Y of the mode, on Set5 and B100 (folders as for `benchmarks.quality`). The figures of CPUs with AMX and of CPUs
without bfloat16 go into separate tables.
"""

import argparse
import json
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from a2f.figures.labels import Label, draw_labels
from a2f.figures.style import BLACK, BLUE, FAINT, GREEN, GREY, RED
from a2f.runtime import load_engine
from a2f.runtime.openvino import computes
from a2f.runtime.options import EngineName
from a2f.weights import read_weights, shipped_models
from benchmarks.engine import SCALE, an_image, measure, timed
from benchmarks.machine import KINDS, describe, engine_suffix
from benchmarks.markdown import ROOT, fill, table, write_json
from benchmarks.pictures import picture
from benchmarks.quality import score

PAGES = ROOT / "docs" / "benchmarks"
SETS = ("Set5", "B100")
MAX_DB = 0.01  # largest allowed loss of `--dtype fast`
COLORS = {"openvino bfloat16": BLUE, "openvino int8": RED, "torch bfloat16": GREEN}  # of modes
MARKERS: dict[str, dict[str, Any]] = {  # a filled mark shows in a hollow one
    "openvino bfloat16": {"marker": "o", "markersize": 3.5},
    "openvino int8": {"marker": "s", "markersize": 6, "markerfacecolor": "none"},
    "torch bfloat16": {"marker": "^", "markersize": 6, "markerfacecolor": "none"},
}
MARK_PT = 6.0
MODES = (
    ("onnxruntime", "float32"),
    ("openvino", "float32"),
    ("openvino", "bfloat16"),
    ("openvino", "int8"),
    ("torch", "bfloat16"),
)


@dataclass(frozen=True)
class Row:
    """The median seconds of a mode of a model, and its loss on each set, dB."""

    model: str
    mode: str
    seconds: float
    loss: dict[str, float]


def rows_of(data: Path, threads: int, rounds: int) -> list[Row]:
    """Measure all modes of all shipped models at x4."""
    rows: list[Row] = []
    image = an_image()
    for model in (m for m in shipped_models() if m.scale == SCALE):
        weights = read_weights(model.path)
        engines = {}
        for engine, dtype in MODES:
            assert engine in get_args(EngineName)
            if not computes(dtype):
                continue
            engines[f"{engine} {dtype}"] = load_engine(weights, engine=engine, dtype=dtype, threads=threads)  # type: ignore[arg-type]
        psnr = {
            mode: {name: score(data / name, SCALE, engine).psnr for name in SETS} for mode, engine in engines.items()
        }
        runs = {mode: timed(lambda e=engine: e(image)) for mode, engine in engines.items()}  # type: ignore[misc]
        seconds = measure(runs, rounds)
        exact = next(iter(psnr.values()))
        for mode, values in psnr.items():
            loss = {name: round(exact[name] - value, 4) for name, value in values.items()}
            rows.append(Row(f"{model.name} x{SCALE}", mode, statistics.median(seconds[mode]), loss))
    return rows


def read_rows(after: str) -> list[Row]:
    """Read the stored rows of a kind of CPU (`engine_suffix`)."""
    kept = json.loads((PAGES / f"precision{after}.json").read_text(encoding="utf-8"))
    return [Row(**row) for row in kept["rows"]]


def draw(rows: list[Row], after: str) -> None:
    """Draw the loss over time: a panel for each set, a colour for each mode. float32 loses nothing and is left out."""
    if len({row.model for row in rows}) == 1:  # the table shows it better
        return
    shown = [row for row in rows if not row.mode.endswith("float32")]
    with picture(f"precision{after}", height_in=3.6) as figure:
        panels = figure.subplots(1, len(SETS), sharey=True)
        for axis, data in zip(panels, SETS, strict=True):
            _panel(axis, shown, data)
        panels[0].set_ylabel("PSNR-Y lost, dB")
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=len(MODES))
        for axis, data in zip(panels, SETS, strict=True):
            labels = [
                Label(
                    x=1000 * row.seconds,
                    y=row.loss[data],
                    text=row.model.removesuffix(f" x{SCALE}").upper().replace("-ROBUST", " robust"),
                    color=COLORS[row.mode],
                    mark_pt=MARK_PT,
                )
                for row in shown
            ]
            draw_labels(axis, labels, size_pt=6.5)


def _panel(axis: Any, rows: list[Row], data: str) -> None:
    for mode, color in COLORS.items():
        times = [1000 * row.seconds for row in rows if row.mode == mode]
        if times:
            loss = [row.loss[data] for row in rows if row.mode == mode]
            axis.plot(times, loss, linestyle="none", color=color, label=mode, **MARKERS[mode])
    axis.axhline(0, color=BLACK, linewidth=0.6)
    axis.axhline(MAX_DB, color=GREY, linestyle="--", linewidth=0.8)
    axis.annotate(
        f"limit of --dtype fast, {MAX_DB:g} dB",
        (0.98, MAX_DB),
        xycoords=axis.get_yaxis_transform(),
        xytext=(0, -3),
        textcoords="offset points",
        horizontalalignment="right",
        verticalalignment="top",
        fontsize=6.5,
        color=GREY,
    )
    slowest_ms = max(1000 * row.seconds for row in rows)
    axis.set(
        title=data,
        xlabel="milliseconds, 320x180 to 1280x720",
        xlim=(0, 1.35 * slowest_ms),
        ylim=(-0.001, 1.25 * max(MAX_DB, *(max(row.loss.values()) for row in rows))),
    )
    axis.grid(color=FAINT, linewidth=0.4)
    axis.set_axisbelow(True)


def main() -> None:
    """Measure, print, and write on request."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data" / "eval")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--write", action="store_true", help="update docs/benchmarks/precision.md and .json, and the picture"
    )
    parser.add_argument("--draw", action="store_true", help="only draw the pictures from the JSON file")
    a = parser.parse_args()
    if a.draw:
        for after in KINDS:
            if (PAGES / f"precision{after}.json").exists():
                draw(read_rows(after), after)
        return
    rows = rows_of(a.data, a.threads, a.rounds)
    lines = [["model", "mode", "ms", *(f"lost on {name}, dB" for name in SETS)]]
    for row in rows:
        lines.append([row.model, row.mode, f"{1000 * row.seconds:.0f}", *(f"{row.loss[name]:+.4f}" for name in SETS)])
    text = f"{table(lines)}\n\n{describe()}; {a.threads} threads; medians of {2 * a.rounds} runs in turns."
    print(text)
    if a.write:
        write_json(PAGES / f"precision{engine_suffix()}.json", text.splitlines()[-1], rows)
        draw(rows, engine_suffix())
        fill(PAGES / "precision.md", f"precision{engine_suffix()}", text)


if __name__ == "__main__":
    main()
