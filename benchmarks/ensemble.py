"""The gain and the cost of ensembles (the mean over flips and rotations).

    python -m benchmarks.ensemble [--data DIR] [--sets Set5 Set14 B100] [--rounds 5] [--parts quality time] [--write]

Measures the PSNR-Y of the shipped models with 1, 2, 4 and 8 runs in the ONNX engine, and the time for an image of 320 x
180 as a multiple of the time of one run.
"""

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from a2f.ensemble import VIEWS, ensemble_of
from a2f.evaluation.score import score_set
from a2f.evaluation.sets import load_set
from a2f.profiling.latency import measure_latency
from a2f.runtime import load_engine
from a2f.upscaler import Upscaler
from a2f.weights import ShippedModel, read_weights, shipped_models
from benchmarks.machine import describe
from benchmarks.markdown import ROOT, fill, table

Array = NDArray[np.float32]
WIDTH, HEIGHT, THREADS = 320, 180, 2


class Once:
    """Runs each image only once for all ensembles.

    Args:
        upscaler: the upscaler to run.
    """

    def __init__(self, upscaler: Upscaler) -> None:
        self.scale, self.description, self._upscaler = upscaler.scale, upscaler.description, upscaler
        self._made: dict[tuple[tuple[int, ...], bytes], Array] = {}

    def __call__(self, image: Array) -> Array:
        """Enlarge an image, or return the stored result."""
        key = image.shape, image.tobytes()
        if key not in self._made:
            self._made[key] = self._upscaler(image)
        return self._made[key].copy()


def gains(model: ShippedModel, data: Path, sets: list[str]) -> list[list[str]]:
    """One row for each number of runs of a model."""
    engine, means = load_engine(read_weights(model.path), threads=THREADS), dict[tuple[str, int], float]()
    for name in sets:
        found: dict[int, list[float]] = {runs: [] for runs in sorted(VIEWS)}
        for item in load_set(data / name, scale=model.scale):
            once = Once(engine)
            for runs, values in found.items():
                upscaler = ensemble_of(once, runs)
                score = score_set(upscaler, [item], model="", data=name, scale=model.scale, metrics=["psnr_y"])
                values.append(score.mean("psnr_y"))
        means |= {(name, runs): float(np.mean(values)) for runs, values in found.items()}
    return [
        [f"a2f {model.variant} x{model.scale}", str(runs), *(cell(means[name, runs], means[name, 1]) for name in sets)]
        for runs in sorted(VIEWS)
    ]


def cell(psnr: float, single: float) -> str:
    """The PSNR, and its gain over a single run."""
    return f"{psnr:.3f} ({psnr - single:+.3f})" if psnr != single else f"{psnr:.3f}"


def costs(rounds: int) -> list[list[str]]:
    """One row for each shipped model: multiples of the time of a single run."""
    rows = [["model", *(f"{runs} runs" for runs in sorted(VIEWS) if runs > 1)]]
    for model in shipped_models():
        engine = load_engine(read_weights(model.path), threads=THREADS)
        named = {str(runs): ensemble_of(engine, runs) for runs in sorted(VIEWS)}
        found = measure_latency(named, width=WIDTH, height=HEIGHT, rounds=rounds)
        ratios = [f"{took.median_s / found['1'].median_s:.2f}x" for runs, took in found.items() if runs != "1"]
        rows.append([f"a2f {model.variant} x{model.scale}", *ratios])
    return rows


def quality(data: Path, sets: list[str], *, write: bool) -> None:
    """Print and write the gains after each model, the fastest model first."""
    rows = [["model", "runs", *(f"{name}, dB (gain)" for name in sets)]]
    for model in sorted(shipped_models(), key=lambda m: -m.scale):
        rows += gains(model, data, sets)
        print(table(rows), flush=True)
        if write:
            fill(ROOT / "RESULTS.md", "ensemble", table(rows))


def main() -> None:
    """Measure, print, and write on request."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--data", type=Path, default=ROOT.parent / "shared" / "data" / "eval", help="folder of the sets"
    )
    parser.add_argument("--sets", nargs="+", default=["Set5", "Set14", "B100"])
    parser.add_argument("--rounds", type=int, default=5, help="turns of each")
    parser.add_argument("--parts", nargs="+", choices=["quality", "time"], default=["quality", "time"])
    parser.add_argument("--write", action="store_true", help="update RESULTS.md")
    a = parser.parse_args()
    if "quality" in a.parts:
        quality(a.data, a.sets, write=a.write)
    if "time" in a.parts:
        times = f"{table(costs(a.rounds))}\n\n{describe()}; {THREADS} threads, medians of {2 * a.rounds}."
        print(times)
        if a.write:
            fill(ROOT / "RESULTS.md", "ensemble-time", times)


if __name__ == "__main__":
    main()
