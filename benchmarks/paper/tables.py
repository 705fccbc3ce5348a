"""Tables 1, 4, 5 and 6 of the paper, compared with our code and our measurements."""

import json
from functools import cache
from typing import Any

from torch import nn

from a2f.evaluation.published import METHODS, SETS, Published
from a2f.evaluation.published import table_6 as printed_rows
from a2f.model.a2f import A2F
from a2f.peers import PEERS
from a2f.profiling.cost import lr_size, multi_adds
from a2f.variants import config_of, count_parameters
from benchmarks.conventions import CONVENTIONS, built, counted
from benchmarks.markdown import table
from benchmarks.paper.measure import AUTHORS, CONVERTED, OURS, Measured, read_kept
from benchmarks.paper.printed import printed_table
from benchmarks.paper.timing import KEPT as TIMES
from benchmarks.paper.timing import NETWORKS as TIMED

WHOSE = {AUTHORS: 0, CONVERTED: 1, OURS: 2, "": 3}
GROUPS = {2: (500, 1000, 2000, 10_000), 3: (1000, 2000, 10_000), 4: (1000, 2000, 10_000)}  # thousands of parameters
DETAILS = (  # part, what it is, kernel and channels as printed, name in the code
    ("head", "convolution", "3x3", "(3, 32)", "head"),
    ("skip", "convolution", "3x3", "(3, p·p·3)", "skip"),
    ("skip", "PixelShuffle", "-", "-", None),
    ("proj", "convolution", "1x1", "(i·32, 32)", "blocks.2.proj"),
    ("att", "average over the image", "-", "-", None),
    ("att", "convolution", "1x1", "(32, 32)", "blocks.2.att.conv1"),
    ("att", "ReLU", "-", "-", None),
    ("att", "convolution", "1x1", "(32, 32)", "blocks.2.att.conv2"),
    ("att", "sigmoid", "-", "-", None),
    ("res", "convolution", "3x3", "(32, 128)", "blocks.2.res.conv1"),
    ("res", "ReLU", "-", "-", None),
    ("res", "convolution", "3x3", "(128, 32)", "blocks.2.res.conv2"),
    ("tail", "convolution", "3x3", "(32, p·p·3)", "tail"),
    ("tail", "PixelShuffle", "-", "-", None),
)


@cache
def _convolutions(variant: str) -> dict[str, nn.Conv2d]:
    network = A2F(config_of(variant, scale=4))
    return {name: module for name, module in network.named_modules() if isinstance(module, nn.Conv2d)}


def table_1() -> str:
    """The configuration in the code, for p = 4 and i = 3."""
    rows = [["part", "what", "kernel", "channels, printed", "S, M, L here", "SD here"]]
    for part, what, kernel, channels, name in DETAILS:
        cells = ["-", "-"]
        if name:
            own = [_convolutions(variant)[name] for variant in ("s", "sd")]
            for conv in own:
                if "x".join(map(str, conv.kernel_size)) != kernel:
                    raise SystemExit(f"Table 1 prints {kernel} for {name}, the code has {conv.kernel_size}")
            cells = [f"({conv.in_channels}, {conv.out_channels})" for conv in own]
        rows.append([part, what, kernel, channels, *cells])
    shape = [["network", "blocks", "channels"]]
    for variant, title in METHODS.items():
        config = config_of(variant, scale=4)
        shape.append([title, str(config.blocks), f"{{{config.channels}, {config.hidden}, {config.channels}}}"])
    return f"{table(rows)}\n\n{table(shape)}"


def table_4() -> str:
    """The running times, and the ratios to A²F-SD."""
    kept: dict[str, Any] = (
        json.loads(TIMES.read_text(encoding="utf-8")) if TIMES.exists() else {"machine": "", "rows": []}
    )
    times = {(row["way"], row["model"]): row["median_s"] for row in kept["rows"]}
    ways = [way for way in ("torch", "onnxruntime", "cuda") if any(w == way for w, _ in times)]
    titles = {"torch": "PyTorch, CPU", "onnxruntime": "onnxruntime, CPU", "cuda": "PyTorch, CUDA"}
    printed: dict[str, Any] = {row["model"]: row for row in printed_table(4)}
    base = float(printed["A²F-SD"]["seconds"])
    head = ["network", "parameters, K", "Multi-Adds, G", "PSNR, Urban100 x4, printed", "s, printed", "ratio, printed"]
    rows = [[*head, *(f"{titles[way]}: {what}" for way in ways for what in ("s", "ratio"))]]
    for model in TIMED:
        row = printed[model]
        cells = [model, row["parameters_k"], row["multi_adds_g"], row["psnr_y"], row["seconds"]]
        cells.append(f"{float(row['seconds']) / base:.1f}")
        for way in ways:
            seconds = times[way, model]
            cells += [f"{seconds:.3f}", f"{seconds / times[way, 'A²F-SD']:.1f}"]
        rows.append(cells)
    here = f"Here: {kept['machine']}." if ways else "Not measured here yet."
    return f"{table(rows)}\n\nThe printed seconds are means over the images of Urban100 at x4. {here}"


def _gflops(method: str) -> str:
    """GFLOPs for Table 5 on a 32x32 input: convolutions, and for A²F also biases."""
    variants = {title: variant for variant, title in METHODS.items()}
    if method in variants:
        config = config_of(variants[method], scale=4)
        return f"{multi_adds(config, width=32, height=32, convention='table5') / 1e9:.3f}"
    name = next(key for key, peer in PEERS.items() if peer.title == method)
    return f"{counted(name, 4).multi_adds * 32 * 32 / (320 * 180) / 1e9:.3f}"


def table_5() -> str:
    """The printed and the measured LPIPS."""
    found = [r for r in read_kept() if r.scale == 4 and r.lpips is not None]
    rows = [["method", "weights", "parameters, K", "GFLOPs, printed", "counted", *SETS]]
    printed = printed_table(5)
    told = GFLOPS_PRINTED
    for row in printed:
        method = row["method"]
        costs = [row["parameters_k"], told[method], _gflops(method)]
        rows.append([method, "printed", *costs, *(row[name] for name in SETS)])
        for whose in (w for w in WHOSE if any(r.method == method and r.weights == w for r in found)):
            mine = {r.data: r for r in found if r.method == method and r.weights == whose}
            rows.append([method, whose, "", "", "", *(_lpips_cell(mine.get(n), row[n]) for n in SETS)])
    others = dict.fromkeys((r.method, r.weights) for r in found if r.method not in {row["method"] for row in printed})
    for method, whose in others:
        mine = {r.data: r for r in found if (r.method, r.weights) == (method, whose)}
        cells = [_lpips_cell(mine.get(name), "-") for name in SETS]
        rows.append([method, whose or "-", "", "", "", *cells])
    return table(rows)


GFLOPS_PRINTED = {
    "AWSRN": "1.620",
    "AWSRN-SD": "-",
    "CARN": "1.620",
    "CARN-M": "0.445",
    "SRFBN-S": "0.323",
    "IMDN": "0.729",
    "A²F-SD": "0.321",
    "A²F-L": "1.370",
}


def _lpips_cell(row: Measured | None, printed: str) -> str:
    if row is None or row.lpips is None:
        return "-"
    off = "" if printed == "-" else f" ({row.lpips - float(printed):+.4f})"
    return f"{row.lpips:.4f}{off}"


def table_6(scale: int) -> str:
    """All rows of a scale: printed, counted, and measured for available weights."""
    rows = [["network", "parameters, K: printed", "counted", "Multi-Adds, G: printed", "counted", *SETS]]
    kept = [r for r in read_kept() if r.scale == scale]
    for limit, group in _groups([row for row in printed_rows() if row.scale == scale], scale):
        rows.append([f"**under {limit:,}K**", "", "", "", "", *[""] * len(SETS)])
        for row in group:
            parameters, operations = _counted(row)
            printed = "-" if row.multi_adds_g is None else str(row.multi_adds_g)
            cells = [_marked(row, name, group) for name in SETS]
            rows.append([row.method, str(row.parameters_k), parameters, printed, operations, *cells])
            rows += _measured_rows(row, kept)
    bicubic = {r.data: r for r in kept if r.method == "bicubic"}
    rows.append(["bicubic, measured here", "", "", "", "", *(_cell(bicubic.get(n), None) for n in SETS)])
    return table(rows)


def _groups(rows: list[Published], scale: int) -> list[tuple[int, list[Published]]]:
    """The rows in the paper's groups by parameters."""
    found, low = [], 0
    for limit in GROUPS[scale]:
        found.append((limit, [row for row in rows if low <= row.parameters_k < limit]))
        low = limit
    return found


def _counted(row: Published) -> tuple[str, str]:
    """Parameters and Multi-Adds of our network, counted by the rule of the row."""
    variants = {title: variant for variant, title in METHODS.items()}
    if row.method in variants:
        config = config_of(variants[row.method], scale=row.scale)
        width, height = lr_size(config.scale)
        operations = multi_adds(config, width=width, height=height, convention="table6")
        return f"{count_parameters(config) / 1000:.1f}", f"{operations / 1e9:.2f}"
    name = next((key for key, peer in PEERS.items() if peer.title == row.method and row.scale in peer.scales), None)
    if name is None:
        return "-", "-"
    rules, network = CONVENTIONS[name], built(name, row.scale)
    parameters, total = rules.parameters(network, row.scale), rules.multi_adds(network, row.scale)
    return f"{parameters / 1000:.1f}", f"{total / 1e9:.2f}"


def _marked(row: Published, data: str, group: list[Published]) -> str:
    """A printed cell. The best PSNR of the group is bold, the second best italic, for red and blue in the paper."""
    if data not in row.figures:
        return "-"
    psnr, ssim = row.figures[data]
    values = sorted({other.figures[data][0] for other in group if data in other.figures}, reverse=True)
    place = values.index(psnr)
    around = "**" if place == 0 else "*" if place == 1 else ""
    return f"{around}{psnr:.2f}/{ssim:.4f}{around}"


def _measured_rows(row: Published, kept: list[Measured]) -> list[list[str]]:
    found = []
    for whose in (w for w in WHOSE if w and any(r.method == row.method and r.weights == w for r in kept)):
        mine = {r.data: r for r in kept if r.method == row.method and r.weights == whose}
        cells = [_cell(mine.get(name), row.figures.get(name)) for name in SETS]
        found.append([f"— {whose}", "", "", "", "", *cells])
    return found


def _cell(row: Measured | None, printed: tuple[float, float] | None) -> str:
    if row is None:
        return "-"
    off = "" if printed is None else f" ({row.psnr_y - printed[0]:+.2f})"
    return f"{row.psnr_y:.2f}/{row.ssim_y:.4f}{off}"
