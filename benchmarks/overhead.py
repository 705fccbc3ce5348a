"""The time outside the network: start-up, reading and writing files, folders of small images.

python -m benchmarks.overhead [--write]
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import a2f
from a2f.imageio import Picture, read_image, write_image
from benchmarks.machine import describe, suffix
from benchmarks.markdown import ROOT, fill, table

SMALL, COUNT, ROUNDS = 128, 200, 5


def photo(side: int) -> np.ndarray:
    """Resize the bundled photograph to [side, side, 3] uint8."""
    from PIL import Image

    pixels = read_image(ROOT / "examples" / "photos" / "astronaut.png").pixels[..., :3]
    return np.asarray(Image.fromarray(pixels).resize((side, side), Image.Resampling.LANCZOS))


def command(*arguments: str | Path) -> float:
    """Seconds of `a2f upscale`, from the start of the process to the file on the disk."""
    began = time.perf_counter()
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    asked = [sys.executable, "-m", "a2f", "upscale", "-q", "--overwrite", *map(str, arguments)]
    subprocess.run(asked, check=True, env=environment)
    return time.perf_counter() - began


def network(side: int, scale: int, runs: int) -> float:
    """Median seconds of the network alone on an image in memory, without the first run."""
    upscaler, image = a2f.load("sd", scale=scale), photo(side).astype(np.float32) / np.float32(255)
    seconds = []
    for _ in range(runs + 1):
        began = time.perf_counter()
        upscaler(image)
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds[1:])


def main() -> None:
    """Measure, print, and write on request."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="update docs/benchmarks/overhead.md")
    a = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for side in (256, 1000):
            write_image(Picture(pixels=photo(side)), folder / f"{side}.jpg")
        (folder / "small").mkdir()
        for number in range(COUNT):
            write_image(Picture(pixels=photo(SMALL)), folder / "small" / f"{number}.jpg")
        command(folder / "256.jpg", "-s", "2", "-o", folder / "x.jpg")  # so that Python has compiled all modules
        start = statistics.median(command(folder / "256.jpg", "-s", "2", "-o", folder / "x.jpg") for _ in range(ROUNDS))
        large, alone = [], []
        for _ in range(ROUNDS):  # in turns
            large.append(command(folder / "1000.jpg", "-s", "2", "-o", folder / "y.jpg"))
            alone.append(network(1000, 2, 1))
        outside = 1 - statistics.median(alone) / statistics.median(large)
        batch = command(folder / "small", "-s", "2", "-o", folder / "out") - start
        bare = network(SMALL, 2, COUNT)
    rows = [
        ["what", "measured"],
        ["256 x 256 JPEG, x2, process start to file", f"{start:.2f} s"],
        ["1000 x 1000 JPEG, x2, process start to file", f"{statistics.median(large):.2f} s"],
        ["of which outside the network", f"{100 * outside:.0f} %"],
        [f"{COUNT} JPEG of {SMALL} x {SMALL}, x2, less the start: images/s", f"{COUNT / batch:.1f}"],
        ["the network alone, images/s", f"{1 / bare:.1f}"],
        ["ratio", f"{COUNT / batch * bare:.2f}"],
    ]
    text = f"{table(rows)}\n\n{describe()}; A²F-SD, medians of {ROUNDS}."
    print(text)
    if a.write:
        fill(ROOT / "docs" / "benchmarks" / "overhead.md", f"overhead{suffix()}", text)


if __name__ == "__main__":
    main()
