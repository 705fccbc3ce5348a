"""Compares tiled runs with one graph on the whole image: the tiles must be invisible.

    python -m benchmarks.exactness [--photographs DIR] [--write]

All networks (untrained if no weights are shipped) run on a bundled photograph, cropped to several sizes, with several
tile sizes, and with the features in memory and in a file. Then the time of the possible methods is measured. With a
folder of large photographs, the effect of sampled gates at x2 is measured too: in onnxruntime against exact gates, and
in the fast mode against its run on the whole image.
"""

import argparse
import statistics
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from a2f.export.fold import fold
from a2f.export.graph import export_onnx, gate_names
from a2f.export.session import make_session
from a2f.imageio import read_image
from a2f.imageio.formats import is_image_name
from a2f.model.a2f import A2F, to_weights
from a2f.runtime import load_engine
from a2f.runtime.onnx import onnx_steps
from a2f.runtime.plan import Tiles
from a2f.runtime.tiled import rows_of, run_tiles
from a2f.variants import VARIANTS, A2FConfig, config_of
from a2f.weights import Weights, find_shipped, read_weights, shipped_models
from benchmarks.engine import timed
from benchmarks.machine import describe
from benchmarks.markdown import ROOT, fill, table

LARGE_BYTES = 10**12  # more memory than any whole image needs

SIZES = ((256, 256), (251, 127), (64, 65), (1, 256))  # height and width; the photograph has 256 x 256
TILES = (16, 64, 100)


def levels(sr: np.ndarray) -> np.ndarray:
    """Round to 8-bit grey levels."""
    return np.floor(sr.clip(0, 1) * 255 + 0.5).astype(np.int16)


def tiled(weights: Weights, image: np.ndarray, tile: int, *, in_file: bool) -> np.ndarray:
    """Enlarge an image in tiles: [sH, sW, 3]."""
    height, width = image.shape[:2]
    plan = Tiles(tile_height=tile, tile_width=tile, band_rows=tile, in_file=in_file)
    with ThreadPoolExecutor(2) as pool:
        steps = onnx_steps(fold(weights))
        run = run_tiles(steps, rows_of(image), size=(width, height), plan=plan, over=pool.map)
        return np.concatenate(list(run), axis=1).transpose(1, 2, 0)


def every_network() -> Iterator[tuple[str, Weights]]:
    """The name and the weights of each A2F network."""
    trained = {(model.name, model.scale): read_weights(model.path) for model in shipped_models()}
    for variant in VARIANTS:
        for scale in (2, 3, 4):
            torch.manual_seed(0)
            known = trained.get((variant, scale))
            name = f"{variant} x{scale}" + ("" if known else ", untrained")
            yield name, known or to_weights(A2F(config_of(variant, scale=scale)))


def photo() -> np.ndarray:
    """The bundled photograph, [256, 256, 3] in [0, 1]."""
    return read_image(ROOT / "examples" / "photos" / "astronaut.png").pixels.astype(np.float32) / np.float32(255)


def exactness() -> list[list[str]]:
    """One row for each network and size."""
    image = photo()
    cuts = [f"tiles of {tile}" for tile in TILES] + ["pieces of 100, gates sampled"]
    rows = [["model", "LR size", *cuts, "grey levels, at most", "bits of all tiles, in memory and in a file"]]
    for name, weights in every_network():
        session = make_session(export_onnx(weights), threads=2)
        for height, width in SIZES:
            part = np.ascontiguousarray(image[:height, :width])
            whole = session.run(None, {"lr": part.transpose(2, 0, 1)[None].copy()})[0][0].transpose(1, 2, 0)
            in_tiles = [tiled(weights, part, tile, in_file=in_file) for tile in TILES for in_file in (False, True)]
            same = "the same" if all((sr == in_tiles[0]).all() for sr in in_tiles) else "differ"
            pieces = load_engine(weights, tile=100, gates="sampled")(part)
            cells, most = [], 0
            for sr in [*in_tiles[::2], pieces]:
                apart = np.abs(levels(sr) - levels(whole)).max(axis=2)
                cells.append(f"{np.abs(sr - whole).max():.0e}, {(apart > 0).mean() * 1e6:.0f}")
                most = max(most, apart.max())
            rows.append([name, f"{width} x {height}", *cells, str(most), same])
    return rows


def ways() -> list[list[str]]:
    """Seconds of each method to run an image of 256 x 256 in tiles of 128 with the gates of the whole image."""
    rows = [["model", "one graph, whole", "(a), (c): block by block", "(b): L+1 passes", "gates given"]]
    image = photo()
    for variant in ("sd", "l"):
        config = config_of(variant, scale=2)
        weights = to_weights(A2F(config))
        whole = load_engine(weights, threads=2)
        passes = [piecewise(replace(config, blocks=depth), image) for depth in range(1, config.blocks + 1)]
        took = [
            seconds(partial(whole, image)),
            seconds(partial(tiled, weights, image, 128, in_file=False)),
            sum(passes),
            passes[-1],
        ]
        rows.append([f"{variant} x2", *(f"{t:.2f} s, {t / took[0]:.2f}x" for t in took)])
    return rows


def piecewise(config: A2FConfig, image: np.ndarray) -> float:
    """Seconds of one pass in which each tile of 128 has all pixels that it depends on."""
    session = make_session(export_onnx(to_weights(A2F(config)), gates_given=True), threads=2)
    gates = {name: np.zeros((1, config.channels, 1, 1), np.float32) for name in gate_names(config)}
    padded = np.pad(image.transpose(2, 0, 1), ((0, 0), *[(config.receptive_radius_px,) * 2] * 2))
    reach = 128 + 2 * config.receptive_radius_px

    def run() -> None:
        for top in range(0, image.shape[0], 128):
            for left in range(0, image.shape[1], 128):
                lr = np.ascontiguousarray(padded[None, :, top : top + reach, left : left + reach])
                session.run(None, {"lr": lr, **gates})

    return seconds(run)


def seconds(run: Callable[[], object], rounds: int = 3) -> float:
    """The median of some runs, after one run that is not counted."""
    once = timed(run)
    once()
    return statistics.median(once() for _ in range(rounds))


def sampled(folder: Path) -> list[list[str]]:
    """One row for each of up to three photographs."""
    head = [
        "photograph, LR",
        "gates sampled: grey levels",
        "pixels changed",
        "fast mode: grey levels",
        "pixels changed",
    ]
    rows = [head]
    weights = read_weights(find_shipped("sd", scale=2).path)
    for path in sorted(p for p in folder.iterdir() if is_image_name(p))[:3]:
        pixels = read_image(path).pixels[:1200, :1600, :3]
        image = np.ascontiguousarray(pixels.astype(np.float32) / np.float32(np.iinfo(pixels.dtype).max))
        cells = []
        for dtype in ("float32", "fast"):
            whole = load_engine(weights, dtype=dtype, max_memory=LARGE_BYTES)(image)
            pieces = load_engine(weights, dtype=dtype, tile=400, gates="sampled", max_memory=LARGE_BYTES)(image)
            apart = np.abs(levels(pieces) - levels(whole)).max(axis=2)
            cells += [str(apart.max()), f"{(apart > 0).mean() * 1e6:.1f} in a million"]
        rows.append([f"{image.shape[1]} x {image.shape[0]}", *cells])
    return rows


def main() -> None:
    """Compare, print, and write on request."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photographs", type=Path, help="folder of photographs of some megapixels")
    parser.add_argument("--write", action="store_true", help="update docs/decisions/tiling.md")
    a = parser.parse_args()
    text = f"{table(exactness())}\n\n{describe()}."
    times = f"{table(ways())}\n\n{describe()}; 2 threads, medians of 3."
    print(text, times, sep="\n\n")
    if a.photographs:
        of_photographs = f"{table(sampled(a.photographs))}\n\n{describe()}."
        print(of_photographs)
        if a.write:
            fill(ROOT / "docs" / "decisions" / "tiling.md", "sampled", of_photographs)
    if a.write:
        fill(ROOT / "docs" / "decisions" / "tiling.md", "exactness", text)
        fill(ROOT / "docs" / "decisions" / "tiling.md", "ways", times)


if __name__ == "__main__":
    main()
