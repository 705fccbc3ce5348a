"""The effect of smoothing the gates over neighbouring frames.

    python -m benchmarks.flicker [--data DIR] [--frames 24] [--photos 4] [--write]

A camera pans and zooms over photographs of Kodak24, with new sensor noise in each frame. Each frame is enlarged alone
and with temporal gates. The warping error compares a result, moved like the camera, with the next result, in grey
levels inside the frames. The warping error of the photographs themselves is the part that the motion alone causes. A
second measure needs no motion: the change from frame to frame of a still picture with new noise in each frame.
"""

import argparse
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from a2f.metrics import psnr_y
from a2f.video.temporal import TemporalUpscaler
from a2f.weights import find_weights
from benchmarks.machine import describe
from benchmarks.markdown import ROOT, fill, table

Array = NDArray[np.float32]
WIDTH, HEIGHT, SCALE, MARGIN = 160, 90, 4, 16
NOISE = 4.0  # standard deviation, grey levels
SHARES = (1.0, 0.5, 0.25, 0.1)
PHOTOS = ("4", "8", "19", "23")


@dataclass(frozen=True, kw_only=True)
class Row:
    """The results for one share of own gates.

    Attributes:
        share: the weight of a frame's own gates; 1 disables the smoothing.
        warping: warping error, grey levels.
        still: change from frame to frame of a still picture with noise, grey levels.
        low: change from frame to frame after blurring over 32 x 32 pixels, which is visible as flicker.
        psnr: PSNR of the results against the photographs, dB.
    """

    share: float
    warping: float
    still: float
    low: float
    psnr: float


def box_at(step: int, width: int, height: int) -> tuple[float, float, float, float]:
    """The view of the camera: left, top, right, bottom, in pixels of the photograph."""
    wide = 640 - 1.5 * step
    left, top = 8 + 2.3 * step, 20 + 1.1 * step
    return left, top, min(left + wide, width), min(top + wide * HEIGHT / WIDTH, height)


def seen(photo: Image.Image, step: int, size: tuple[int, int]) -> Array:
    """The frame at a step, [H, W, 3] in [0, 1]."""
    frame = photo.resize(size, Image.Resampling.BICUBIC, box=box_at(step, *photo.size))
    return np.asarray(frame, np.float32) / np.float32(255)


def noisy(frame: Array, rng: np.random.Generator) -> Array:
    """Add sensor noise to a frame, and round it to 8 bits."""
    made = np.clip(np.round(frame * 255 + rng.normal(0, NOISE, frame.shape)), 0, 255) / 255
    return made.astype(np.float32)


def moved(frame: Array, step: int, photo: Image.Image) -> Array:
    """Move a result to the view of the camera one step later."""
    now, later = box_at(step, *photo.size), box_at(step + 1, *photo.size)
    height, width = frame.shape[:2]
    per = width / (now[2] - now[0]), height / (now[3] - now[1])
    box = tuple((later[n] - now[n % 2]) * per[n % 2] for n in range(4))
    planes = [
        Image.fromarray(frame[..., c]).transform((width, height), Image.Transform.EXTENT, box, Image.Resampling.BICUBIC)
        for c in range(3)
    ]
    return np.stack([np.asarray(plane) for plane in planes], axis=2)


def inside(image: Array) -> Array:
    """Remove the border, because a moved frame does not have all of it."""
    return image[MARGIN:-MARGIN, MARGIN:-MARGIN]


def blurred(image: Array) -> Array:
    """Compute means over 32 x 32 pixels."""
    height, width = (side // 32 * 32 for side in image.shape[:2])
    means: Array = image[:height, :width].reshape(height // 32, 32, width // 32, 32, -1).mean((1, 3))
    return means


def changes(results: list[Array], of: Callable[[Array], Array] = lambda image: image) -> float:
    """The mean difference of neighbouring results, grey levels."""
    return float(np.mean([np.abs(of(b) - of(a)).mean() for a, b in pairwise(results)]) * 255)


def measured(share: float, photos: dict[str, Image.Image], frames: int, threads: int) -> Row:
    """Measure one share; the means over the photographs."""
    weights = find_weights("sd", scale=SCALE)
    found: list[tuple[float, float, float, float]] = []
    for photo in photos.values():
        upscaler, rng = TemporalUpscaler(weights, threads=threads, share=share), np.random.default_rng(0)
        small, large = (WIDTH, HEIGHT), (SCALE * WIDTH, SCALE * HEIGHT)
        moving = [upscaler(noisy(seen(photo, n, small), rng)).clip(0, 1) for n in range(frames)]
        errors = [np.abs(inside(moved(a, n, photo) - moving[n + 1])).mean() for n, a in enumerate(moving[:-1])]
        upscaler.reset()
        still = [upscaler(noisy(seen(photo, 0, small), rng)).clip(0, 1) for _ in range(frames)]
        quality = [psnr_y(_bytes(frame), _bytes(seen(photo, n, large)), border=SCALE) for n, frame in enumerate(moving)]
        values = float(np.mean(errors)) * 255, changes(still), changes(still, blurred), float(np.mean(quality))
        found.append(values)
    warping, alike, low, psnr = (float(np.mean([values[n] for values in found])) for n in range(4))
    return Row(share=share, warping=warping, still=alike, low=low, psnr=psnr)


def _bytes(image: Array) -> NDArray[np.uint8]:
    return np.round(image.clip(0, 1) * 255).astype(np.uint8)


def _wide(photo: Image.Image) -> Image.Image:
    return photo if photo.width > photo.height else photo.transpose(Image.Transpose.ROTATE_90)


def rows_of(rows: list[Row]) -> Iterator[list[str]]:
    """The table."""
    yield ["share of own gates", "warping error", "still picture: change", "in 32 x 32 means", "PSNR-Y, dB"]
    for row in rows:
        name = "1 (off)" if row.share == 1 else f"{row.share:g}"
        yield [name, f"{row.warping:.4f}", f"{row.still:.4f}", f"{row.low:.5f}", f"{row.psnr:.4f}"]


def main() -> None:
    """Measure, print, and write on request."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data" / "eval" / "Kodak24" / "HR")
    parser.add_argument("--frames", type=int, default=24)
    parser.add_argument("--photos", type=int, default=len(PHOTOS), help="number of photographs")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--write", action="store_true", help="update docs/video.md")
    a = parser.parse_args()
    photos = {name: _wide(Image.open(next(a.data.glob(f"{name}.*"))).convert("RGB")) for name in PHOTOS[: a.photos]}
    rows = []
    for share in SHARES:
        rows.append(measured(share, photos, a.frames, a.threads))
        print(asdict(rows[-1]), flush=True)
    text = f"{table(list(rows_of(rows)))}\n\nGrey levels of 255, means of {len(photos)} photographs, {a.frames} frames."
    print(text)
    if a.write:
        fill(ROOT / "docs" / "video.md", "flicker", text)
        kept = {"machine": describe(), "rows": [asdict(row) for row in rows]}
        (ROOT / "docs" / "benchmarks" / "flicker.json").write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
