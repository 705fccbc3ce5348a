"""Speed of the engines, side by side in one run: medians and ratios.

    python -m benchmarks.engine [--threads 2] [--rounds 8] [--write]

A model without shipped weights runs with random ones: the time is the same. The contenders take turns, so that a
machine whose speed drifts is slow for all of them. A turn is three runs, of which the first, which wakes the threads
and fills the caches, does not count.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import onnxruntime
import torch

from a2f.export.graph import export_onnx
from a2f.export.session import make_session
from a2f.model.a2f import A2F, from_weights, to_weights
from a2f.profiling.latency import keep_freed_memory
from a2f.variants import VARIANTS, config_of
from a2f.weights import Weights, read_weights, shipped_models
from benchmarks.machine import describe
from benchmarks.markdown import ROOT, fill, table

HEIGHT, WIDTH, SCALE = 180, 320, 4


def weights_of(variant: str) -> Weights:
    """Shipped ones, or random ones of the same shapes."""
    for model in shipped_models():
        if (model.variant, model.scale) == (variant, SCALE):
            return read_weights(model.path)
    torch.manual_seed(0)
    return to_weights(A2F(config_of(variant, scale=SCALE)))


def contenders(weights: Weights, threads: int) -> dict[str, Callable[[], object]]:
    """Name -> one run on the same image."""
    lr = np.random.default_rng(0).random((1, 3, HEIGHT, WIDTH), dtype=np.float32)
    plain = make_session(export_onnx(weights, layout="plain"), threads=threads)
    split = make_session(export_onnx(weights, layout="split"), threads=threads)
    network, x = from_weights(weights).eval(), torch.from_numpy(lr)

    def eager() -> object:
        with torch.inference_mode():
            return network(x)

    return {
        "torch eager, as the paper writes it": eager,
        "onnxruntime, plain graph": lambda: plain.run(None, {"lr": lr}),
        "onnxruntime, chosen graph": lambda: split.run(None, {"lr": lr}),
    }


def measure(runs: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each run that counts; the first round does not."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(rounds + 1):
        for name, run in runs.items():
            run()
            for _ in range(2):
                began = time.perf_counter()
                run()
                if turn > 0:
                    seconds[name].append(time.perf_counter() - began)
    return seconds


def main() -> None:
    """Measure, print, and write where asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--models", nargs="+", default=["sd", "m"], choices=list(VARIANTS))
    parser.add_argument("--write", action="store_true", help="update docs/benchmarks/engine.md and README")
    a = parser.parse_args()
    torch.set_num_threads(a.threads)
    keep_freed_memory()
    rows = [["model", "engine", "median, s", "fastest to slowest, s", "times torch eager"]]
    for variant in a.models:
        seconds = measure(contenders(weights_of(variant), a.threads), a.rounds)
        base = statistics.median(next(iter(seconds.values())))
        for name, values in seconds.items():
            middle = statistics.median(values)
            spread = f"{min(values):.3f} to {max(values):.3f}"
            rows.append([f"{variant} x{SCALE}", name, f"{middle:.3f}", spread, f"{base / middle:.2f}"])
    versions = f"torch {torch.__version__}, onnxruntime {onnxruntime.__version__}, {a.threads} threads, fp32"
    text = f"{table(rows)}\n\n{describe()}; {versions}; {WIDTH}x{HEIGHT} to {WIDTH * SCALE}x{HEIGHT * SCALE}."
    print(text)
    if a.write:
        fill(ROOT / "docs" / "benchmarks" / "engine.md", "engine", text)
        fill(ROOT / "README.md", "speed", text)


if __name__ == "__main__":
    main()
