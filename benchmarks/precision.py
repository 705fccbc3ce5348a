"""Precision against loss: what each mode of the shipped x4 models gains in time and loses in PSNR, in one run.

    python -m benchmarks.precision [--data DIR] [--threads 2] [--rounds 3] [--write]

The time is that of 320x180 to 1280x720, all modes in turns; the loss is the PSNR-Y of onnxruntime fp32 less that of the
mode, on Set5 and B100 (folders as for `benchmarks.quality`). CPUs without bfloat16 leave that out and have a table of
their own.
"""

import argparse
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from a2f.runtime import load_engine
from a2f.runtime.openvino_core import computes
from a2f.runtime.options import EngineName
from a2f.weights import read_weights, shipped_models
from benchmarks.engine import SCALE, an_image, measure, timed
from benchmarks.machine import describe, suffix
from benchmarks.markdown import ROOT, fill, table, write_json
from benchmarks.quality import score

PAGES, IMAGES = ROOT / "docs" / "benchmarks", ROOT / "docs" / "images"
SETS = ("Set5", "B100")
MODES = (
    ("onnxruntime", "float32"),
    ("openvino", "float32"),
    ("openvino", "bfloat16"),
    ("openvino", "int8"),
    ("torch", "bfloat16"),
)


@dataclass(frozen=True)
class Row:
    """A mode of a model: median seconds, and the loss on each set, dB."""

    model: str
    mode: str
    seconds: float
    loss: dict[str, float]


def rows_of(data: Path, threads: int, rounds: int) -> list[Row]:
    """All modes of all shipped models at x4."""
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


def draw(rows: list[Row]) -> None:
    """Loss over time; one colour a mode."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4.5), layout="constrained")
    axis = figure.subplots()
    for number, row in enumerate(rows):
        axis.plot([], [], "D", color=f"C{number}", label=f"{row.model}, {row.mode}")
        for name, marker in zip(SETS, "os", strict=True):
            axis.plot(1000 * row.seconds, row.loss[name], marker, color=f"C{number}", alpha=0.8)
    axis.axhline(0.01, color="grey", linestyle="--", linewidth=0.8)
    axis.axhline(0, color="black", linewidth=0.8)
    axis.plot([], [], "o", color="grey", label="Set5")
    axis.plot([], [], "s", color="grey", label="B100")
    axis.set(xlabel="milliseconds, 320x180 to 1280x720", ylabel="PSNR-Y lost, dB", xlim=(0, None))
    axis.margins(x=0.1, y=0.2)
    axis.grid(alpha=0.3)
    axis.legend(loc="center left", fontsize=9)
    figure.savefig(IMAGES / f"precision{suffix()}.png", dpi=110)


def main() -> None:
    """Measure, print, and write where asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data" / "eval")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--write", action="store_true", help="update docs/benchmarks/precision.md and .json, and the picture"
    )
    a = parser.parse_args()
    rows = rows_of(a.data, a.threads, a.rounds)
    lines = [["model", "mode", "ms", *(f"lost on {name}, dB" for name in SETS)]]
    for row in rows:
        lines.append([row.model, row.mode, f"{1000 * row.seconds:.0f}", *(f"{row.loss[name]:+.4f}" for name in SETS)])
    text = f"{table(lines)}\n\n{describe()}; {a.threads} threads; medians of {2 * a.rounds} runs in turns."
    print(text)
    if a.write:
        write_json(PAGES / f"precision{suffix()}.json", text.splitlines()[-1], rows)
        draw(rows)
        fill(PAGES / "precision.md", f"precision{suffix()}", text)


if __name__ == "__main__":
    main()
