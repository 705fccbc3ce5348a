"""Time and peak memory of `a2f upscale` from file to file, for several image sizes, each in its own process.

    python -m benchmarks.memory [--sizes 160 500 1000 2000 5000] [--write]
    python -m benchmarks.memory --draw       draw the picture from the stored measurements

For comparison, the whole image also runs in one onnxruntime graph, if that fits into memory.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from a2f.cli.parameters import BytesType
from a2f.figures.style import BLUE, FAINT, GREEN, RED
from a2f.imageio import Picture, write_image
from a2f.machine import available_bytes
from a2f.runtime.plan import whole_bytes
from a2f.variants import config_of
from benchmarks.machine import describe
from benchmarks.markdown import ROOT, fill, table, write_json
from benchmarks.pictures import picture

JSON = ROOT / "docs" / "benchmarks" / "memory.json"
LOOKS = ((RED, "o"), (BLUE, "s"), (GREEN, "^"))
TILED = ["-m", "a2f", "upscale", "-q", "-s", "2", "--overwrite"]
FAST_LIMIT = "1GB"  # OpenVINO itself needs more
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
    """One run: its method, the side of the LR image, seconds and peak memory."""

    way: str
    side: int
    seconds: float
    peak_bytes: int

    @property
    def megapixels(self) -> float:
        """Of the result."""
        return (2 * self.side) ** 2 / 1e6


def photo(side: int, path: Path) -> None:
    """Write an LR image as JPEG: the bundled photograph, resized by Lanczos, with grain."""
    from PIL import Image

    with Image.open(ROOT / "examples" / "photos" / "astronaut.png") as small:
        large = np.asarray(small.convert("RGB").resize((side, side), Image.Resampling.LANCZOS)).astype(np.int16)
    grain = np.random.default_rng(0).integers(-4, 5, size=large.shape, dtype=np.int16)
    write_image(Picture(pixels=(large + grain).clip(0, 255).astype(np.uint8)), path)


def run(arguments: list[str]) -> tuple[float, int]:
    """Run a Python process; its seconds and its peak resident memory in bytes."""
    began = time.perf_counter()
    process = subprocess.Popen([sys.executable, *arguments], cwd=ROOT)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(arguments[:4])} ended with {process.returncode}")
    return time.perf_counter() - began, usage.ru_maxrss * 1024


def measure(sides: list[int], limit: str) -> list[Row]:
    """One row for each side and method."""
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
            if whole_bytes(config_of("sd", scale=2), height=side, width=side) < available_bytes():
                ways["whole image in one graph"] = ["-c", PLAIN, str(source), str(target)]
            for name, arguments in ways.items():
                seconds, peak = run(arguments)
                rows.append(Row(name, side, round(seconds, 3), peak))
                print(rows[-1], flush=True)
    return rows


def read_rows() -> list[Row]:
    """Read the stored rows."""
    return [Row(**row) for row in json.loads(JSON.read_text(encoding="utf-8"))["rows"]]


def limit_of(way: str) -> int | None:
    """The --max-memory of a method, bytes; None without a limit."""
    words = way.replace(",", "").split()
    if "--max-memory" not in words:
        return None
    return BytesType().convert(words[words.index("--max-memory") + 1], None, None)


def draw(rows: list[Row]) -> None:
    """Draw time and memory over megapixels of the result, log-log; dashed lines show the memory limits."""
    kinds = (("seconds", 1, "seconds, file to file"), ("peak_bytes", 1e-9, "peak memory, GB"))
    ways = list(dict.fromkeys(row.way for row in rows))
    with picture("cost", height_in=3.6) as figure:
        axes = figure.subplots(1, 2)
        for axis, (key, factor, label) in zip(axes, kinds, strict=True):
            for way, (color, marker) in zip(ways, LOOKS, strict=False):
                mine = [row for row in rows if row.way == way]
                values = [getattr(row, key) * factor for row in mine]
                axis.plot([row.megapixels for row in mine], values, color=color, marker=marker, markersize=4, label=way)
            axis.set(xscale="log", yscale="log", xlabel="megapixels of the result", ylabel=label)
            axis.grid(color=FAINT, linewidth=0.4)
            axis.set_axisbelow(True)
        for way, (color, _) in zip(ways, LOOKS, strict=False):
            limit = limit_of(way)
            if limit is not None:
                axes[1].axhline(limit * 1e-9, color=color, linestyle="--", linewidth=0.8)
                axes[1].annotate(
                    f"limit {limit * 1e-9:g} GB",
                    (0.01, limit * 1e-9),
                    xycoords=axes[1].get_yaxis_transform(),
                    xytext=(0, 2 if limit == max(filter(None, map(limit_of, ways))) else -8),
                    textcoords="offset points",
                    color=color,
                )
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=3)


def main() -> None:
    """Measure, print, and write on request."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--sizes", type=int, nargs="+", default=[160, 500, 1000, 2000, 5000], help="sides of the LR image"
    )
    parser.add_argument("--max-memory", default="900MB")
    parser.add_argument(
        "--write", action="store_true", help="update docs/benchmarks/memory.md and .json, draw the picture"
    )
    parser.add_argument("--draw", action="store_true", help="only draw the picture from the JSON file")
    a = parser.parse_args()
    if a.draw:
        draw(read_rows())
        return
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
