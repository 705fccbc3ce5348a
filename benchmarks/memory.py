"""Time and peak memory of `a2f upscale` over the size of the image, from file to file, each in a process of its own.

    python -m benchmarks.memory [--sizes 160 500 1000 2000 5000] [--write]

Beside it the plain way, the whole image in one graph in onnxruntime, where that fits into the memory.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from a2f.imageio import Picture, write_image
from a2f.runtime.memory import available_bytes, whole_bytes
from a2f.variants import config_of
from benchmarks.machine import describe
from benchmarks.markdown import ROOT, fill, table, write_json

JSON = ROOT / "docs" / "benchmarks" / "memory.json"
PICTURE = ROOT / "docs" / "images" / "cost.png"
TILED = ["-m", "a2f", "upscale", "-q", "-s", "2", "--overwrite"]
FAST_LIMIT = "1GB"  # OpenVINO itself takes more
PLAIN = """
import sys
import numpy as np
from a2f.export.graph import export_onnx
from a2f.export.session import make_session
from a2f.imageio import Picture, read_image, write_image
from a2f.weights import find_shipped, read_weights
session = make_session(export_onnx(read_weights(find_shipped("sd", scale=2).path)), threads=2)
lr = read_image(sys.argv[1]).pixels.astype(np.float32).transpose(2, 0, 1)[None] / np.float32(255)
sr = session.run(None, {"lr": lr})[0][0].transpose(1, 2, 0)
write_image(Picture(pixels=np.floor(sr.clip(0, 1) * 255 + 0.5).astype(np.uint8)), sys.argv[2])
"""


@dataclass(frozen=True)
class Row:
    """One run: which way, the side of the LR image, seconds, peak memory."""

    way: str
    side: int
    seconds: float
    peak_bytes: int

    @property
    def megapixels(self) -> float:
        """Of the result."""
        return (2 * self.side) ** 2 / 1e6


def photo(side: int, path: Path) -> None:
    """The bundled photograph, enlarged to a side by Lanczos, with grain: JPEG of LR."""
    from PIL import Image

    with Image.open(ROOT / "examples" / "photos" / "astronaut.png") as small:
        large = np.asarray(small.convert("RGB").resize((side, side), Image.Resampling.LANCZOS)).astype(np.int16)
    grain = np.random.default_rng(0).integers(-4, 5, size=large.shape, dtype=np.int16)
    write_image(Picture(pixels=(large + grain).clip(0, 255).astype(np.uint8)), path)


def run(arguments: list[str]) -> tuple[float, int]:
    """Seconds, and the largest resident memory in bytes, of a Python process."""
    began = time.perf_counter()
    process = subprocess.Popen([sys.executable, *arguments], cwd=ROOT)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(arguments[:4])} ended with {process.returncode}")
    return time.perf_counter() - began, usage.ru_maxrss * 1024


def measure(sides: list[int], limit: str) -> list[Row]:
    """One row a side and way."""
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "lr.jpg", Path(folder) / "sr.jpg"
        for side in sides:
            photo(side, source)
            files = [*TILED, str(source), "-o", str(target)]
            ways = {
                f"a2f, --max-memory {limit}": [*files, "--max-memory", limit],
                f"a2f, --max-memory {FAST_LIMIT} --dtype fast": [*files, "--max-memory", FAST_LIMIT, "--dtype", "fast"],
            }
            free = available_bytes()
            if free is None or whole_bytes(config_of("sd", scale=2), height=side, width=side) < free:
                ways["whole image in one graph"] = ["-c", PLAIN, str(source), str(target)]
            for name, arguments in ways.items():
                seconds, peak = run(arguments)
                rows.append(Row(name, side, round(seconds, 3), peak))
                print(rows[-1], flush=True)
    return rows


def draw(rows: list[Row]) -> None:
    """Time and memory over megapixels of the result, log-log."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.5), layout="constrained")
    axes = figure.subplots(1, 2)
    kinds = (("seconds", 1, "seconds, file to file"), ("peak_bytes", 1e-9, "peak memory, GB"))
    for axis, (key, factor, label) in zip(axes, kinds, strict=True):
        for way in dict.fromkeys(row.way for row in rows):
            mine = [row for row in rows if row.way == way]
            axis.plot([row.megapixels for row in mine], [getattr(row, key) * factor for row in mine], "o-", label=way)
        axis.set(xscale="log", yscale="log", xlabel="megapixels of the result", ylabel=label)
        axis.grid(alpha=0.3, which="both")
    axes[0].legend()
    figure.suptitle("A²F-SD x2, JPEG to JPEG")
    figure.savefig(PICTURE, dpi=110)


def main() -> None:
    """Measure, print, and write where asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--sizes", type=int, nargs="+", default=[160, 500, 1000, 2000, 5000], help="sides of the LR image"
    )
    parser.add_argument("--max-memory", default="900MB")
    parser.add_argument(
        "--write", action="store_true", help="update docs/benchmarks/memory.md and .json, draw the picture"
    )
    a = parser.parse_args()
    rows = measure(a.sizes, a.max_memory)
    lines = [["result", "way", "seconds", "seconds a megapixel", "peak memory"]]
    for row in rows:
        size = f"{2 * row.side} x {2 * row.side} ({row.megapixels:.1f} MP)"
        times = f"{row.seconds:.1f}", f"{row.seconds / row.megapixels:.2f}"
        lines.append([size, row.way, *times, f"{row.peak_bytes / 1e9:.2f} GB"])
    text = f"{table(lines)}\n\n{describe()}; A²F-SD x2, 2 threads, JPEG to JPEG."
    print(text)
    if a.write:
        write_json(JSON, describe(), rows)
        draw(rows)
        fill(ROOT / "docs" / "benchmarks" / "memory.md", "memory", text)


if __name__ == "__main__":
    main()
