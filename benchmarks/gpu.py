"""Speed of torch on a GPU: milliseconds of the 12 networks, and ratios to the network of the paper.

    python -m benchmarks.gpu [--device cuda] [--rounds 20] [--models s sd m l] [--write]
    python -m benchmarks.gpu --kept     print the page from docs/benchmarks/gpu.json

The outputs are 1280x720 and 3840x2160 at batch 1, and 1280x720 at batch 16 for the throughput. The weights are random,
which takes the same time. "eager fp32" is the network of the paper. The others use channels_last; on CUDA they are
compiled with CUDA graphs. cuDNN chooses the fastest algorithm for each size.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch

from a2f.model.a2f import A2F
from a2f.variants import SCALES, VARIANTS, config_of
from benchmarks.machine import describe
from benchmarks.markdown import ROOT, fill, table, write_json

JSON = ROOT / "docs" / "benchmarks" / "gpu.json"
PAGE = "# Speed on a GPU\n\nMade by `python -m benchmarks.gpu --write`.\n\n<!-- gpu -->\n<!-- /gpu -->\n"
OUTPUTS = ((1280, 720, 1), (3840, 2160, 1), (1280, 720, 16))
WARM_UP = 3

Contender = tuple[Callable[[torch.Tensor], torch.Tensor], torch.dtype]  # a network, the precision of its input


@dataclass(frozen=True)
class Row:
    """Median milliseconds of one way to run one network."""

    model: str
    output: str
    batch: int
    way: str
    ms: float
    ratio: float  # eager fp32 over this


def contenders(model: A2F, device: torch.device) -> dict[str, Contender]:
    """All variants of a network: name -> network and precision of its input."""
    made: dict[str, Contender] = {"eager fp32": (model, torch.float32)}
    half = torch.float16 if device.type == "cuda" else torch.bfloat16
    quick = A2F(model.config).eval().to(device=device, dtype=half, memory_format=torch.channels_last)  # type: ignore[call-overload]
    made[f"eager {str(half).removeprefix('torch.')}"] = (quick, half)
    if device.type == "cuda":
        torch._dynamo.reset()  # compile each size separately
        made["compiled float16, CUDA graphs"] = (torch.compile(quick, mode="reduce-overhead", dynamic=False), half)
    return made


def milliseconds(run: Callable[[], object], device: torch.device, rounds: int) -> float:
    """The median time of a run, with synchronisation of the device."""

    def wait() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize()

    taken = []
    for turn in range(WARM_UP + rounds):
        wait()
        began = time.perf_counter()
        run()
        wait()
        if turn >= WARM_UP:
            taken.append(1000 * (time.perf_counter() - began))
    return statistics.median(taken)


def measure(
    name: str, scale: int, device: torch.device, rounds: int, outputs: Sequence[tuple[int, int, int]]
) -> list[Row]:
    """One row for each output size and variant."""
    model = A2F(config_of(name, scale=scale)).eval().to(device)
    rows: list[Row] = []
    for width, height, batch in outputs:
        x = torch.rand(batch, 3, height // scale, width // scale, device=device)
        base = None
        for way, (network, dtype) in contenders(model, device).items():
            given = x if dtype == torch.float32 else x.to(dtype).contiguous(memory_format=torch.channels_last)
            ms = milliseconds(partial(network, given), device, rounds)
            base = base or ms
            rows.append(Row(f"{name} x{scale}", f"{width}x{height}", batch, way, ms, base / ms))
    return rows


def text_of(rows: list[Row], machine: str) -> str:
    """The table of the page."""
    lines = [["model", "output", "batch", "way", "ms", "images/s", "times eager fp32"]]
    for row in rows:
        speed = f"{row.ms:.2f}", f"{1000 * row.batch / row.ms:.1f}", f"{row.ratio:.2f}"
        lines.append([row.model, row.output, str(row.batch), row.way, *speed])
    return f"{table(lines)}\n\n{machine}."


def write_page(text: str) -> None:
    """Write docs/benchmarks/gpu.md."""
    page = ROOT / "docs" / "benchmarks" / "gpu.md"
    if not page.exists():
        page.write_text(PAGE, encoding="utf-8")
    fill(page, "gpu", text)


def main() -> None:
    """Measure, print, and write on request."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--models", nargs="+", default=list(VARIANTS), choices=list(VARIANTS))
    parser.add_argument("--small", action="store_true", help="output of 128x72 only, to try the script")
    parser.add_argument("--kept", action="store_true", help="do not measure: use docs/benchmarks/gpu.json")
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks/gpu.md and .json")
    a = parser.parse_args()
    if a.kept:
        kept = json.loads(JSON.read_text(encoding="utf-8"))
        rows, machine = [Row(**row) for row in kept["rows"]], kept["machine"]
    else:
        rows, machine = measured(torch.device(a.device), a.models, rounds=a.rounds, small=a.small)
    text = text_of(rows, machine)
    print(text)
    if a.write:
        if not a.kept:
            write_json(JSON, machine, rows)
        write_page(text)


def measured(device: torch.device, models: list[str], *, rounds: int, small: bool) -> tuple[list[Row], str]:
    """Measure all networks; the rows, and the name of the machine."""
    torch.backends.cudnn.benchmark = True
    rows: list[Row] = []
    with torch.inference_mode():
        for name in models:
            for scale in SCALES:
                rows += measure(name, scale, device, rounds, ((128, 72, 1),) if small else OUTPUTS)
    card = torch.cuda.get_device_name(device) if device.type == "cuda" else describe()
    return rows, f"{card}; torch {torch.__version__}"


if __name__ == "__main__":
    main()
