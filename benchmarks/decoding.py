"""Peak memory to decode a picture, per byte of its samples, for each format. `a2f.imageio.limits` uses these figures.

    python -m benchmarks.decoding [--write] [--side 2000]

The pictures are noise with 1, 3 and 4 channels, with 8 bits and with the largest depth of the format. Each is decoded
in its own process. The bytes of the file are read before and do not count.
"""

import argparse
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from a2f.imageio import FORMATS, Picture, encode_image, read_image
from a2f.imageio.header import header_of
from a2f.imageio.limits import DECODING
from benchmarks.machine import describe
from benchmarks.markdown import ROOT, fill, table

CHANNELS = (1, 3, 4)
QUALITIES = {"avif": 10, "heic": 10}  # with the default quality, noise takes minutes to encode
STATUS, CLEAR_REFS = Path("/proc/self/status"), Path("/proc/self/clear_refs")  # Linux only


@dataclass(frozen=True, kw_only=True)
class Measured:
    """The largest memory that was measured for a format, in bytes per byte of samples.

    Attributes:
        format: a key of `DECODING`.
        shallow: for samples of one byte; None if the format has none.
        deep: for larger samples.
    """

    format: str
    shallow: float | None
    deep: float | None


def noise(side: int, channels: int, dtype: type[np.unsignedinteger]) -> Picture:
    """Make a picture that compresses badly."""
    top = np.iinfo(dtype).max
    pixels = np.random.default_rng(0).integers(0, top, (side, side, channels), dtype=dtype, endpoint=True)
    return Picture(pixels=pixels)


def resident(what: str) -> int:
    """Memory of this process in bytes, from its status: the current memory (VmRSS) or the peak (VmHWM)."""
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith(what))
    return int(line.split()[1]) * 1024


def decode(path: Path, small: Path) -> None:
    """Print the memory to decode a file, in bytes per byte of its samples, and the bytes of a sample.

    Args:
        path: the file.
        small: a small file of the format, decoded first so that all libraries are loaded.
    """
    read_image(small.read_bytes())
    data = path.read_bytes()
    layout = header_of(data, name=path.name)
    CLEAR_REFS.write_text("5")  # reset the peak
    before = resident("VmRSS")
    read_image(data)
    samples = layout.width * layout.height * layout.channels * layout.sample_bytes
    print((resident("VmHWM") - before) / samples, layout.sample_bytes)


def measured(format: str, side: int, folder: Path) -> Measured:
    """Measure all kinds of pictures of one format."""
    found: dict[bool, list[float]] = {False: [], True: []}
    for dtype in (np.uint8, np.uint16) if FORMATS[format].deep else (np.uint8,):
        for channels in CHANNELS:
            files = [folder / f"{name}.{format}" for name in ("picture", "small")]
            for file, length in zip(files, (side, 16), strict=True):
                given, quality = noise(length, channels, dtype), QUALITIES.get(format)
                made = encode_image(given, format=format, quality=quality, force=True)
                file.write_bytes(made)
            command = [sys.executable, "-m", "benchmarks.decoding", "--decode", *map(str, files)]
            told = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
            found[int(told[1]) > 1].append(float(told[0]))
            print(f"{format}, {channels} channels, {told[1]} bytes: {float(told[0]):.2f}", flush=True)
    shallow, deep = (max(values, default=None) for values in (found[False], found[True]))
    return Measured(format=format, shallow=shallow, deep=deep)


def told(rows: list[Measured]) -> str:
    """The table of the assumed and the measured memory."""
    lines = [["format", "8 bits", "counted", "more bits", "counted"]]
    for row in rows:
        pairs = zip((row.shallow, row.deep), DECODING[row.format], strict=True)
        cells = [("", "") if value is None else (f"{value:.1f}", f"{counted}") for value, counted in pairs]
        lines.append([row.format, *cells[0], *cells[1]])
    return table(lines)


def main() -> None:
    """Measure, print, and write on request."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="update docs/benchmarks/serve.md")
    parser.add_argument("--side", type=int, default=2000, help="side of the pictures, pixels (default: 2000)")
    parser.add_argument("--decode", nargs=2, type=Path, metavar="FILE", help=argparse.SUPPRESS)
    a = parser.parse_args()
    if a.decode:
        decode(*a.decode)
    else:
        report(a.side, write=a.write)


def report(side: int, *, write: bool) -> None:
    """Measure all formats, print and write the table. Fail if decoding needs more memory than assumed."""
    with tempfile.TemporaryDirectory() as folder:
        rows = [measured(format, side, Path(folder)) for format in DECODING]
    text = f"{told(rows)}\n\n{describe()}; {side} x {side} pixels."
    print(text)
    if write:
        fill(ROOT / "docs" / "benchmarks" / "serve.md", "serve_decoding", text)
    over = [
        row.format
        for row in rows
        for value, counted in zip((row.shallow, row.deep), DECODING[row.format], strict=True)
        if value is not None and value > counted
    ]
    if over:
        raise SystemExit(f"decoding needs more memory than assumed: {', '.join(over)}; change a2f.imageio.limits")


if __name__ == "__main__":
    main()
