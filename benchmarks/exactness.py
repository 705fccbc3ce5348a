"""Is the tile invisible? Tiled runs against one graph on the whole image.

    python -m benchmarks.exactness [--photographs DIR] [--write]

Shipped models on a bundled photograph, cut to several sizes; tiles of several sides, features in memory and in a file.
With a folder of large photographs also what gates from a sample change in them, at x2: in onnxruntime against exact
gates, and in the fast mode against its own run of the whole image.
"""

import argparse
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from a2f.export.fold import fold
from a2f.export.graph import export_onnx
from a2f.export.session import make_session
from a2f.imageio import read_image
from a2f.imageio.formats import is_image_name
from a2f.runtime import Limits, load_engine
from a2f.runtime.onnx_engine import OnnxSteps
from a2f.runtime.plan import Plan
from a2f.runtime.tiled import TiledRun, rows_of
from a2f.weights import Weights, find_shipped, read_weights, shipped_models
from benchmarks.machine import describe
from benchmarks.markdown import ROOT, fill, table

SIZES = ((256, 256), (251, 127), (64, 65), (1, 256))
TILES = (16, 64, 100)


def levels(sr: np.ndarray) -> np.ndarray:
    """Grey levels of 8 bits."""
    return np.floor(sr.clip(0, 1) * 255 + 0.5).astype(np.int16)


def tiled(weights: Weights, image: np.ndarray, tile: int, *, in_file: bool) -> np.ndarray:
    """[sH, sW, 3], by the cut that is asked for."""
    height, width = image.shape[:2]
    plan = Plan(tile_height=tile, tile_width=tile, band_rows=tile, in_file=in_file)
    with ThreadPoolExecutor(2) as pool:
        steps = OnnxSteps(fold(weights))
        run = TiledRun(steps, rows_of(image), height=height, width=width, plan=plan, pool=pool)
        return np.concatenate(list(run), axis=1).transpose(1, 2, 0)


def every_cut(weights: Weights, image: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Name and result of each way to cut an image."""
    for tile in TILES:
        yield f"tiles of {tile}", tiled(weights, image, tile, in_file=False)
        yield f"tiles of {tile}, features in a file", tiled(weights, image, tile, in_file=True)
    yield "pieces of 100, gates sampled", load_engine(weights, limits=Limits(tile_px=100, gates="sampled"))(image)


def sampled(folder: Path) -> list[list[str]]:
    """A row for each of up to three photographs."""
    head = [
        "photograph, LR",
        "gates sampled: grey levels",
        "pixels changed",
        "fast mode: grey levels",
        "pixels changed",
    ]
    rows = [head]
    weights = read_weights(find_shipped("sd", scale=2).path)
    large = {"max_memory_bytes": 10**12}
    for path in sorted(p for p in folder.iterdir() if is_image_name(p))[:3]:
        pixels = read_image(path).pixels[:1200, :1600, :3]
        image = np.ascontiguousarray(pixels.astype(np.float32) / np.float32(np.iinfo(pixels.dtype).max))
        cells = []
        for dtype in ("float32", "fast"):
            whole = load_engine(weights, dtype=dtype, limits=Limits(**large))(image)
            pieces = load_engine(weights, dtype=dtype, limits=Limits(tile_px=400, gates="sampled", **large))(image)
            apart = np.abs(levels(pieces) - levels(whole)).max(axis=2)
            cells += [str(apart.max()), f"{(apart > 0).mean() * 1e6:.1f} in a million"]
        rows.append([f"{image.shape[1]} x {image.shape[0]}", *cells])
    return rows


def main() -> None:
    """Compare, print, and write where asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photographs", type=Path, help="folder of photographs of some megapixels")
    parser.add_argument("--write", action="store_true", help="update docs/decisions/tiling.md")
    a = parser.parse_args()
    photo = read_image(ROOT / "examples" / "photos" / "astronaut.png").pixels.astype(np.float32) / np.float32(255)
    head = [
        "model",
        "LR size",
        "cut",
        "largest difference, of 1",
        "grey levels",
        "pixels changed",
        "bits as other cuts",
    ]
    rows = [head]
    for model in shipped_models():
        weights = read_weights(model.path)
        session = make_session(export_onnx(weights), threads=2)
        for height, width in SIZES:
            image = np.ascontiguousarray(photo[:height, :width])
            whole = session.run(None, {"lr": image.transpose(2, 0, 1)[None].copy()})[0][0].transpose(1, 2, 0)
            first = None
            for name, sr in every_cut(weights, image):
                first = sr if first is None else first
                apart = np.abs(levels(sr) - levels(whole))
                share = f"{(apart.max(axis=2) > 0).mean() * 1e6:.0f} in a million"
                same = "yes" if (sr == first).all() else "no"
                what = f"{model.variant} x{model.scale}", f"{width} x {height}", name
                rows.append([*what, f"{np.abs(sr - whole).max():.1e}", str(apart.max()), share, same])
    text = f"{table(rows)}\n\n{describe()}."
    print(text)
    if a.photographs:
        of_photographs = f"{table(sampled(a.photographs))}\n\n{describe()}."
        print(of_photographs)
        if a.write:
            fill(ROOT / "docs" / "decisions" / "tiling.md", "sampled", of_photographs)
    if a.write:
        fill(ROOT / "docs" / "decisions" / "tiling.md", "exactness", text)


if __name__ == "__main__":
    main()
