"""Latency and PSNR of our networks and of published peers, measured in one run, like the paper's Figure 1.

    python -m benchmarks.latency [--threads 2] [--rounds 3] [--write]
    python -m benchmarks.latency --draw      make the tables and pictures from the stored measurements

The size is 320x180 to 1280x720 at x4. Each network runs in onnxruntime fp32 and in its fastest OpenVINO precision: the
fast mode for our networks (8-bit integers, or bfloat16 on CPUs with AMX); bfloat16 for the others, or fp32 on CPUs
without it. The figures of CPUs with AMX and of CPUs without bfloat16 go into separate tables and pictures. All networks
take turns, as in `benchmarks.engine`. The weights do not change the time. The PSNR is the published one, of weights
trained on DIV2K, and also the PSNR of the shipped weights; `--draw` uses the weights that are shipped now.
"""

import argparse
import json
import math
import statistics
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from matplotlib.ticker import NullLocator
from numpy.typing import NDArray

from a2f.evaluation.published import METHODS, published
from a2f.export.graph import export_onnx
from a2f.export.int8 import ranges_of
from a2f.figures.labels import Label, draw_labels
from a2f.figures.style import BLUE, FAINT, GREEN, GREY, RED
from a2f.peers.files import open_network
from a2f.peers.onnx_file import export_network
from a2f.runtime.openvino import computes, has_amx, import_openvino, openvino_core
from a2f.variants import VARIANTS
from a2f.weights import shipped_models
from benchmarks import peers
from benchmarks.engine import HEIGHT, SCALE, WIDTH, Run, an_image, measure, onnxruntime_run, timed, weights_of
from benchmarks.machine import KINDS, describe, engine_suffix
from benchmarks.markdown import ROOT, fill, table, write_json
from benchmarks.pictures import picture

PAGES = ROOT / "docs" / "benchmarks"
SIZES_K = (150, 500, 1400)  # parameters of the dots in the key, thousands
POINTS_PER_K = 0.12  # area of a dot, square points
OWN_PT = 4.5  # size of the mark of the weights of a2f
EXACT, FAST = "onnxruntime fp32", "openvino, its quickest"


@dataclass(frozen=True)
class Row:
    """The cost of a network, and its PSNR-Y on Set5 at x4, dB."""

    name: str
    ours: bool
    parameters_k: int
    published: float | None
    shipped: float | None
    exact: float = 0.0  # median seconds in onnxruntime, fp32
    fast: float = 0.0  # median seconds in OpenVINO


def openvino_run(blob: bytes, x: NDArray[np.float32], precision: str, threads: int) -> Run:
    """Open an ONNX file in OpenVINO, to run it on x."""
    core = openvino_core()
    options = {"INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1}
    request = core.compile_model(core.read_model(blob), "CPU", options).create_infer_request()
    return timed(lambda: request.infer({"lr": x}))


def rows_of(threads: int, rounds: int) -> list[Row]:
    """Time all networks in turns."""
    x = np.ascontiguousarray(an_image().transpose(2, 0, 1)[None])
    rows: list[Row] = []
    runs: dict[str, Run] = {}
    for variant in VARIANTS:
        weights, paper = weights_of(variant), published(variant, scale=SCALE)
        row = Row(
            name=METHODS[variant],
            ours=True,
            parameters_k=sum(tensor.size for tensor in weights.tensors.values()) // 1000,
            published=paper.figures["Set5"][0] if paper else None,
            shipped=shipped_psnr(METHODS[variant]),
        )
        rows.append(row)
        runs[row.name + EXACT] = onnxruntime_run(export_onnx(weights), x, threads)
        if has_amx():
            runs[row.name + FAST] = openvino_run(export_onnx(weights), x, "bf16", threads)
        else:
            runs[row.name + FAST] = openvino_run(export_onnx(weights, ranges=ranges_of(weights)), x, "f32", threads)
    for peer in peers.PEERS_AT_X4:
        blob = export_network(open_network(peer.network, scale=SCALE), lr_size=(WIDTH, HEIGHT))
        rows.append(Row(peer.name, ours=False, parameters_k=peer.parameters_k, published=peer.set5, shipped=None))
        runs[peer.name + EXACT] = onnxruntime_run(blob, x, threads)
        runs[peer.name + FAST] = openvino_run(blob, x, "bf16" if computes("bfloat16") else "f32", threads)
    middle = {name: statistics.median(values) for name, values in measure(runs, rounds).items()}
    return [replace(row, exact=middle[row.name + EXACT], fast=middle[row.name + FAST]) for row in rows]


def read_rows(after: str) -> tuple[str, list[Row]]:
    """Read the machine and the rows of a kind of CPU (`engine_suffix`), with the PSNR of the shipped weights."""
    kept = json.loads((PAGES / f"latency{after}.json").read_text(encoding="utf-8"))
    rows = [Row(**row) for row in kept["rows"]]
    return kept["machine"], [replace(row, shipped=shipped_psnr(row.name)) for row in rows]


def shipped_psnr(method: str) -> float | None:
    """PSNR-Y of the shipped weights on Set5, dB; None for a network that is not shipped."""
    found = (m for m in shipped_models() if (METHODS.get(m.name), m.scale) == (method, SCALE))
    return next((m.psnr_y["Set5"] for m in found), None)


def text_of(rows: list[Row], where: str) -> str:
    """The table, and the machine below it."""
    lines = [["network", "parameters, K", "Set5, published", "Set5, a2f ships", EXACT + ", ms", FAST + ", ms"]]
    for row in rows:
        psnr = [f"{value:.2f}" if value else "-" for value in (row.published, row.shipped)]
        name = f"**{row.name}**" if row.ours else row.name
        lines.append([name, str(row.parameters_k), *psnr, f"{1000 * row.exact:.0f}", f"{1000 * row.fast:.0f}"])
    return f"{table(lines)}\n\n{where}"


def write(rows: list[Row], where: str, after: str) -> None:
    """Keep the rows; draw the picture and fill the page."""
    write_json(PAGES / f"latency{after}.json", where, rows)
    draw(rows, after)
    fill(PAGES / "latency.md", f"latency{after}", text_of(rows, where))


def draw(rows: list[Row], after: str) -> None:
    """Draw a panel for each engine. Colours separate our networks from peers; the area of a dot is the parameters."""
    ways = {"": "A²F int8, peers bfloat16", "_amx": "bfloat16", "_without_bfloat16": "A²F int8, peers fp32"}
    titles = ("exact: onnxruntime, fp32", f"quickest: OpenVINO, {ways[after]}")
    with picture(f"latency{after}", height_in=4.0) as figure:
        panels = figure.subplots(1, 2, sharey=True)
        for axis, way, title in zip(panels, ("exact", "fast"), titles, strict=True):
            _panel(axis, rows, way)
            axis.set_title(title)
        panels[0].set_ylabel("Set5 PSNR-Y at x4, dB")
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
        sizes = [panels[1].scatter([], [], s=POINTS_PER_K * k, color=GREY, label=f"{k:,}K") for k in SIZES_K]
        panels[1].legend(handles=sizes, loc="lower right", title="parameters", labelspacing=0.9, borderpad=0.8)
        for axis, way in zip(panels, ("exact", "fast"), strict=True):
            draw_labels(axis, _labels(rows, way), size_pt=6.5)


def _labels(rows: list[Row], way: str) -> list[Label]:
    """The names of all marks of a panel: ours as published, peers, the weights of a2f."""
    published = [row for row in sorted(rows, key=lambda row: not row.ours) if row.published is not None]
    labels = [
        Label(
            x=1000 * getattr(row, way),
            y=row.published or 0,
            text=row.name,
            color=RED if row.ours else BLUE,
            bold=row.ours,
            mark_pt=2 * (POINTS_PER_K * row.parameters_k / math.pi) ** 0.5,
        )
        for row in published
    ]
    own = [row for row in rows if row.shipped is not None]
    return labels + [
        Label(x=1000 * getattr(row, way), y=row.shipped or 0, text=f"{row.name}, a2f", color=GREEN, mark_pt=OWN_PT + 1)
        for row in own
    ]


def _panel(axis: Any, rows: list[Row], way: str) -> None:
    for ours, color, label in ((True, RED, "A²F, as published"), (False, BLUE, "peers, as published")):
        shown = [row for row in rows if row.ours == ours and row.published is not None]
        times = [1000 * getattr(row, way) for row in shown]
        sizes = [POINTS_PER_K * row.parameters_k for row in shown]
        axis.scatter(times, [row.published for row in shown], s=sizes, color=color, label=label, zorder=3)
    own = [row for row in rows if row.shipped is not None]
    times = [1000 * getattr(row, way) for row in own]
    how = {"markersize": OWN_PT, "color": GREEN, "markerfacecolor": "none", "label": "weights of a2f"}
    axis.plot(times, [row.shipped for row in own], "D", zorder=3, **how)
    shortest_ms, longest_ms = 1000 * min(row.fast for row in rows), 1000 * max(row.exact for row in rows)
    axis.set(
        xscale="log",
        xlim=(min(60, 0.75 * shortest_ms), max(1500, 1.5 * longest_ms)),
        ylim=(31.5, 32.45),
        xlabel=f"milliseconds, {WIDTH}x{HEIGHT} to 1280x720",
    )
    shortest_ms, longest_ms = axis.get_xlim()
    ticks = [37.5, 75, 150, 300, 600, 1200, 2400]
    axis.set_xticks([tick for tick in ticks if shortest_ms < tick < longest_ms], minor=False)
    axis.xaxis.set_major_formatter("{x:g}")
    axis.xaxis.set_minor_locator(NullLocator())
    axis.grid(color=FAINT, linewidth=0.4)
    axis.set_axisbelow(True)


def main() -> None:
    """Measure, print, and write on request."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--write", action="store_true", help="update docs/benchmarks/latency.md and .json, and the picture"
    )
    parser.add_argument("--draw", action="store_true", help="only make tables and pictures from the JSON file")
    a = parser.parse_args()
    if a.draw:
        for after in KINDS:
            where, rows = read_rows(after)
            write(rows, where, after)
        return
    rows = sorted(rows_of(a.threads, a.rounds), key=lambda row: row.exact)
    import onnxruntime

    openvino = import_openvino()

    versions = f"onnxruntime {onnxruntime.__version__}, openvino {openvino.__version__[:8]}"
    where = f"{describe()}; {versions}; {a.threads} threads; medians of {2 * a.rounds} runs in turns."
    print(text_of(rows, where))
    if a.write:
        write(rows, where, engine_suffix())


if __name__ == "__main__":
    main()
