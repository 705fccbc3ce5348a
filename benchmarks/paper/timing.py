"""Measures Table 4: the running time of nine networks at x4 on one machine, in turns.

    python -m benchmarks.paper.timing [--size 256x196] [--threads N] [--rounds 3] [--ways torch onnxruntime cuda]

The networks run in PyTorch eager and onnxruntime on the CPU, and in PyTorch on CUDA if a GPU is available. The weights
are random, which takes the same time. Each turn of a network has two runs; the first is not counted. The paper's time
is a mean over Urban100; the default size is the mean of its LR images. On the CPU this size needs more than
24 GB of memory, because onnxruntime keeps that of SRFBN and D-DBPN, and EDSR takes half a minute per run; --size 96x72
needs less. The result is docs/benchmarks/table4.json, which `python -m benchmarks.paper` reads.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from a2f.export.graph import export_onnx
from a2f.export.session import make_session
from a2f.machine import keep_freed_memory
from a2f.model.a2f import A2F, to_weights
from a2f.peers import PEERS
from a2f.peers.files import Network, open_network
from a2f.peers.onnx_file import export_network
from a2f.runtime import default_threads
from a2f.variants import config_of
from benchmarks.machine import describe
from benchmarks.markdown import ROOT

SCALE = 4
SIZE = (256, 196)  # width and height: the mean LR image of Urban100
KEPT = ROOT / "docs" / "benchmarks" / "table4.json"
WAYS = ("torch", "onnxruntime", "cuda")
NETWORKS = {
    "RCAN": "rcan",
    "EDSR": "edsr",
    "D-DBPN": "d-dbpn",
    "SRFBN": "srfbn",
    "SRFBN-S": "srfbn-s",
    "VDSR": "vdsr",
    "CARN-M": "carn-m",
    "A²F-SD": "sd",
    "A²F-L": "l",
}

Run = Callable[[], None]


@dataclass(frozen=True, kw_only=True)
class Timed:
    """The median and the fastest run of a network, seconds."""

    model: str
    way: str
    median_s: float
    fastest_s: float
    runs: int


def network_of(name: str) -> nn.Module:
    """Make the x4 network with equal random weights each time."""
    torch.manual_seed(0)
    module = open_network(name, scale=SCALE).module if name in PEERS else A2F(config_of(name, scale=SCALE))
    return module.eval().requires_grad_(False)


def on_torch(module: nn.Module, size: tuple[int, int], device: str) -> Run:
    """A run in PyTorch eager; on CUDA it waits for the GPU."""
    module, x = module.to(device), torch.rand(1, 3, size[1], size[0], device=device)

    def run() -> None:
        with torch.inference_mode():
            module(x)
        if device == "cuda":
            torch.cuda.synchronize()

    return run


def on_onnxruntime(name: str, module: nn.Module, size: tuple[int, int], threads: int) -> Run:
    """A run in onnxruntime on the CPU."""
    if name in PEERS:
        network = Network(name=name, scale=SCALE, module=module, metadata={})
        blob = export_network(network, lr_size=size)
    else:
        blob = export_onnx(to_weights(module))  # type: ignore[arg-type]
    session = make_session(blob, threads=threads)
    x = np.random.default_rng(0).random((1, 3, size[1], size[0]), dtype=np.float32)

    def run() -> None:
        session.run(None, {"lr": x})

    return run


def measure(ways: list[str], size: tuple[int, int], *, threads: int, rounds: int) -> list[Timed]:
    """Measure all networks in all ways, in turns."""
    keep_freed_memory()
    torch.set_num_threads(threads)
    runs: dict[tuple[str, str], Run] = {}
    for title, name in NETWORKS.items():
        module = network_of(name)
        if "onnxruntime" in ways:
            runs[title, "onnxruntime"] = on_onnxruntime(name, module, size, threads)
        if "torch" in ways:
            runs[title, "torch"] = on_torch(module, size, "cpu")
        if "cuda" in ways:
            runs[title, "cuda"] = on_torch(network_of(name), size, "cuda")
    seconds: dict[tuple[str, str], list[float]] = {key: [] for key in runs}
    for number in range(rounds):
        for key, run in runs.items():
            run()
            began = time.perf_counter()
            run()
            seconds[key].append(time.perf_counter() - began)
            print(f"round {number + 1}: {' '.join(key)}: {seconds[key][-1]:.3f} s", flush=True)
    return [
        Timed(
            model=model,
            way=way,
            median_s=round(statistics.median(times), 5),
            fastest_s=round(min(times), 5),
            runs=len(times),
        )
        for (model, way), times in seconds.items()
    ]


def read_size(text: str) -> tuple[int, int]:
    """Parse a size such as 256x196 for argparse."""
    width, _, height = text.partition("x")
    if not (width.isdecimal() and height.isdecimal() and int(width) >= 8 and int(height) >= 8):
        raise argparse.ArgumentTypeError(f"{text!r}: write it as 256x196, at least 8x8")
    return int(width), int(height)


def main() -> int:
    """Measure, and store the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=read_size, default=SIZE, help="LR image (default: 256x196)")
    parser.add_argument("--threads", type=int, default=default_threads(), help="default: all cores")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--ways", nargs="+", choices=WAYS, help="default: all that this machine has")
    parser.add_argument("--output", type=Path, default=KEPT)
    a = parser.parse_args()
    here = [way for way in WAYS if way != "cuda" or torch.cuda.is_available()]
    ways = a.ways or here
    if missing := set(ways) - set(here):
        raise SystemExit(f"this machine has no {missing.pop()}: choose from {', '.join(here)}")
    rows = measure(ways, a.size, threads=a.threads, rounds=a.rounds)
    card = f"; {torch.cuda.get_device_name()}" if "cuda" in ways else ""
    where = f"{describe()}{card}; torch {torch.__version__}; LR {a.size[0]}x{a.size[1]}; threads: {a.threads}"
    kept = {"machine": where, "rows": [asdict(row) for row in rows]}
    a.output.write_text(json.dumps(kept, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
