"""Speed of the engines, compared in one run: medians and ratios.

    python -m benchmarks.engine [--threads 2] [--rounds 5] [--models sd m l] [--write]

A model without shipped weights runs with random weights, which take the same time. The engines take turns, so that a
change in the speed of the machine affects all of them. A turn has three runs. The first is not counted, because it
wakes the threads and fills the caches. torch runs in two processes: with the default settings, and with a C library
that keeps freed memory, which is faster. The figures of CPUs with AMX and of CPUs without bfloat16 go into separate
tables.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from multiprocessing import get_context
from multiprocessing.connection import Connection

import numpy as np

from a2f.export.graph import export_onnx
from a2f.export.int8 import ranges_metadata, ranges_of
from a2f.export.ranges import calibrate
from a2f.export.session import make_session
from a2f.machine import keep_freed_memory
from a2f.runtime import load_engine
from a2f.runtime.opening import settle_fast
from a2f.runtime.openvino import computes, import_openvino
from a2f.runtime.options import EngineOptions
from a2f.variants import VARIANTS, config_of
from a2f.weights import Weights, read_weights, shipped_models
from benchmarks.machine import describe, engine_suffix
from benchmarks.markdown import ROOT, fill, table

HEIGHT, WIDTH, SCALE = 180, 320, 4
BASE = "torch eager, as it comes"
EXACT, FAST = "**exact mode** (onnxruntime fp32)", "**fast mode**"
PAGES = ROOT / "docs" / "benchmarks"

Run = Callable[[], float]  # seconds of one run


def weights_of(variant: str) -> Weights:
    """The shipped weights, or random weights with the same shapes and with ranges for int8."""
    for model in shipped_models():
        if (model.name, model.scale) == (variant, SCALE):
            weights = read_weights(model.path)
            break
    else:
        import torch

        from a2f.model.a2f import A2F, to_weights

        torch.manual_seed(0)
        weights = to_weights(A2F(config_of(variant, scale=SCALE)))
    if ranges_of(weights) is None:
        found = ranges_metadata(calibrate(weights, [an_image()]))
        weights = replace(weights, metadata={**weights.metadata, **found})
    return weights


def an_image() -> np.ndarray:
    """Make a random image, [180, 320, 3] in [0, 1]."""
    return np.random.default_rng(0).random((HEIGHT, WIDTH, 3), dtype=np.float32)


def torch_process(pipe: Connection, weights: Weights, threads: int, keep: bool) -> None:
    """Run the network of the paper once for each message of the pipe, and send back the seconds."""
    import torch

    from a2f.model.a2f import from_weights

    if keep:
        keep_freed_memory()
    torch.set_num_threads(threads)
    network, x = from_weights(weights).eval(), torch.from_numpy(an_image().transpose(2, 0, 1)[None].copy())
    with torch.inference_mode():
        while pipe.recv():
            began = time.perf_counter()
            network(x)
            pipe.send(time.perf_counter() - began)


def _one_run(pipe: Connection) -> float:
    pipe.send(True)
    return float(pipe.recv())


@contextmanager
def torch_runs(weights: Weights, threads: int) -> Iterator[dict[str, Run]]:
    """Start the two torch processes; their runs by name."""
    context, pipes = get_context("spawn"), []
    runs: dict[str, Run] = {}
    for name, keep in ((BASE, False), ("torch eager, freed memory kept", True)):
        ours, theirs = context.Pipe()
        context.Process(target=torch_process, args=(theirs, weights, threads, keep), daemon=True).start()
        pipes.append(ours)

        runs[name] = partial(_one_run, ours)
    try:
        yield runs
    finally:
        for pipe in pipes:
            pipe.send(False)


def own_runs(weights: Weights, threads: int) -> dict[str, Run]:
    """The runs of onnxruntime and OpenVINO, in this process."""
    image = an_image()
    x = image.transpose(2, 0, 1)[None].copy()
    exact = load_engine(weights, threads=threads)
    tiles = load_engine(weights, threads=threads, max_memory=10**12, tile=128)
    fast, _ = settle_fast(EngineOptions(dtype="fast"), weights)
    lower = {}
    for dtype in ("bfloat16", "int8"):
        if computes(dtype):
            engine = load_engine(weights, engine="openvino", dtype=dtype, threads=threads)
            name = f"{FAST} (openvino {dtype})" if dtype == fast.dtype else f"openvino, {dtype}"
            lower[name] = timed(partial(engine, image))
    return {
        "onnxruntime, whole image": onnxruntime_run(export_onnx(weights), x, threads),
        EXACT: timed(lambda: exact(image)),
        **lower,
        "exact mode, tiles of 128": timed(lambda: tiles(image)),
    }


def onnxruntime_run(blob: bytes, x: np.ndarray, threads: int) -> Run:
    """Open an ONNX file in onnxruntime, to run it on [1, 3, H, W]."""
    session = make_session(blob, threads=threads)
    return timed(lambda: session.run(None, {"lr": x}))


def timed(run: Callable[[], object]) -> Run:
    """Wrap a function so that it returns its run time in seconds."""

    def seconds() -> float:
        began = time.perf_counter()
        run()
        return time.perf_counter() - began

    return seconds


def measure(runs: dict[str, Run], rounds: int) -> dict[str, list[float]]:
    """Run all engines in turns; the seconds of all rounds but the first."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(rounds + 1):
        for name, run in runs.items():
            run()
            two = [run(), run()]
            seconds[name] += two if turn else []
    return seconds


def in_short(rows: list[list[str]]) -> list[list[str]]:
    """The rows of README: one model in PyTorch and in both modes of a2f, without the last column."""
    return [
        row[:-1]
        for row in rows
        if row is rows[0] or (row[0] == f"sd x{SCALE}" and row[1].startswith((BASE, EXACT, FAST)))
    ]


def main() -> None:
    """Measure, print, and write on request."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--models", nargs="+", default=list(VARIANTS), choices=list(VARIANTS))
    parser.add_argument(
        "--write",
        action="store_true",
        help="update docs/benchmarks/engine.md and .json; README too on CPUs with bfloat16, without AMX",
    )
    a = parser.parse_args()
    rows = [["model", "engine", "median, s", "fastest to slowest, s", "times torch eager", "times its best"]]
    found: dict[str, dict[str, list[float]]] = {}
    for variant in a.models:
        weights = weights_of(variant)
        with torch_runs(weights, a.threads) as theirs:
            seconds = measure({**theirs, **own_runs(weights, a.threads)}, a.rounds)
        found[f"{variant} x{SCALE}"] = seconds
        base, best = (statistics.median(values) for values in list(seconds.values())[:2])
        for name, values in seconds.items():
            middle = statistics.median(values)
            spread = f"{min(values):.3f} to {max(values):.3f}"
            rows.append(
                [f"{variant} x{SCALE}", name, f"{middle:.3f}", spread, f"{base / middle:.2f}", f"{best / middle:.2f}"]
            )
    import onnxruntime
    import torch

    openvino = import_openvino()
    versions = f"torch {torch.__version__}, onnxruntime {onnxruntime.__version__}, openvino {openvino.__version__[:8]}"
    where = f"{describe()}; {versions}; {a.threads} threads; {WIDTH}x{HEIGHT} to {WIDTH * SCALE}x{HEIGHT * SCALE}."
    text = f"{table(rows)}\n\n{where}"
    print(text)
    if a.write:
        kept = json.dumps({"machine": where, "seconds": found}, indent=1)
        (PAGES / f"engine{engine_suffix()}.json").write_text(f"{kept}\n", encoding="utf-8")
        fill(PAGES / "engine.md", f"engine{engine_suffix()}", text)
        if not engine_suffix():
            fill(ROOT / "README.md", "speed", f"{table(in_short(rows))}\n\n{where}")


if __name__ == "__main__":
    main()
