"""Small images in one call of the network, compared with one call per image.

    python -m benchmarks.small_images [--threads 1] [--rounds 15] [--write]

Both take turns. The time is CPU time, because other programs on the machine hardly change it.
"""

import argparse
import statistics
import time

import numpy as np

from a2f.export.graph import export_onnx
from a2f.export.session import make_session
from a2f.weights import find_weights
from benchmarks.machine import describe
from benchmarks.markdown import ROOT, fill, table

SIDES_PX, IMAGES = (16, 32, 64, 128), 8
PAGE = ROOT / "docs" / "onnx.md"


def measure(side: int, *, threads: int, rounds: int) -> tuple[float, float]:
    """Median milliseconds of CPU time per image of SD x4: one at a time, and in a batch."""
    session = make_session(export_onnx(find_weights("sd", scale=4)), threads=threads)
    lr = np.random.default_rng(0).random((IMAGES, 3, side, side), dtype=np.float32)
    calls = {"one": [lr[i : i + 1] for i in range(IMAGES)], "batch": [lr]}
    found: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds + 1):
        for name, inputs in calls.items():
            began = time.process_time()
            for x in inputs:
                session.run(None, {"lr": x})
            found[name].append((time.process_time() - began) * 1000 / IMAGES)
    one, batch = (statistics.median(values[1:]) for values in found.values())  # the first round warms up
    return one, batch


def main() -> None:
    """Measure and print the table; write it into docs/onnx.md on request."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--write", action="store_true", help="update docs/onnx.md")
    a = parser.parse_args()
    rows = [["LR image", "one at a time, ms of CPU", f"in a batch of {IMAGES}, ms of CPU", "times as fast"]]
    for side in SIDES_PX:
        one, batch = measure(side, threads=a.threads, rounds=a.rounds)
        rows.append([f"{side} x {side}", f"{one:.2f}", f"{batch:.2f}", f"{one / batch:.2f}"])
    text = f"{table(rows)}\n\n{describe()}; A²F-SD x4, {a.threads} thread(s), per image, medians of {a.rounds}."
    print(text)
    if a.write:
        fill(PAGE, "batch", text)


if __name__ == "__main__":
    main()
