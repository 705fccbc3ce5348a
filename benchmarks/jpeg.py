"""PSNR-Y, SSIM-Y and LPIPS for LR images from JPEG files: bicubic, clean and robust weights at x2 and x4.

    python -m benchmarks.jpeg [--data DIR] [--lpips FILE] [--write]

This needs Kodak24 in DIR (Kodak24/HR/*) and the `eval` extra. LPIPS is measured if --lpips or $A2F_LPIPS names its
weights. With --write, the table goes into RESULTS.md, the sheet of crops to docs/images/jpeg.png, and the figures into
the index of shipped weights and the model cards. For shipped robust weights, the JPEG quality up to which they are
better is measured too. It is `jpeg_below` in the index, which `a2f upscale -m auto` uses.
"""

import argparse
import os
import textwrap
from pathlib import Path

import numpy as np

from a2f.api import load
from a2f.evaluation import tables
from a2f.evaluation.crops import cells_of, draw_crops, sheet_rows
from a2f.evaluation.jpeg import Quality, compressed
from a2f.evaluation.score import SetScore, protocol, score_set
from a2f.evaluation.sets import Item, load_set
from a2f.imageio import Picture, write_image
from a2f.upscaler import Upscaler
from a2f.weights import AUTO_CLEAN, AUTO_ROBUST, shipped_models
from benchmarks.cards import read_index, write_index
from benchmarks.markdown import ROOT, fill

SET = "Kodak24"
SCALES = (2, 4)
QUALITIES: tuple[Quality, ...] = (None, 90, 75, 50, 30)
SHEET = ROOT / "docs" / "images" / "jpeg.png"
SHEET_SCALE = 4
SHEET_QUALITIES: tuple[Quality, ...] = (75, 50, 30)
SHEET_PICTURES = ("19", "23")


def models_of(scale: int) -> dict[str, Upscaler | None]:
    """The measured models: name -> upscaler, None for bicubic. Robust weights are included if they are shipped."""
    shipped = {m.name for m in shipped_models() if m.scale == scale}
    return {"bicubic": None, **{n: load(n, scale=scale).engine for n in (AUTO_CLEAN, AUTO_ROBUST) if n in shipped}}


def psnr(upscaler: Upscaler | None, items: list[Item], *, scale: int, quality: Quality) -> float:
    """The mean PSNR-Y of a model at a JPEG quality, dB."""
    found = score_set(upscaler, compressed(items, quality), model="", data=SET, scale=scale, metrics=["psnr_y"])
    return found.mean("psnr_y")


def crossing(models: dict[str, Upscaler | None], items: list[Item], *, scale: int) -> int:
    """The lowest JPEG quality at which the clean weights are at least as good as the robust ones; 101 if none.

    The search is a bisection. It assumes a single crossing, because the gain of robust weights falls as the quality
    rises.
    """
    low, high = 1, 101  # robust weights are better below `low`; clean ones are as good from `high`
    while low < high:
        middle = (low + high) // 2
        clean, robust = (psnr(models[m], items, scale=scale, quality=middle) for m in (AUTO_CLEAN, AUTO_ROBUST))
        print(f"x{scale}, quality {middle}: {AUTO_ROBUST} {robust - clean:+.3f} dB")
        low, high = (middle + 1, high) if robust > clean else (low, middle)
    return low


def sheet_of(items: list[Item], models: dict[str, Upscaler | None]) -> Picture:
    """Make the sheet of crops at `SHEET_SCALE`."""
    shown = [item.name for item in items if item.name.removeprefix("kodim") in SHEET_PICTURES]
    scenes = sheet_rows(items, scale=SHEET_SCALE, qualities=SHEET_QUALITIES, pictures=shown)
    columns = {f"{name} x{SHEET_SCALE}": cells_of(scenes, m, scale=SHEET_SCALE) for name, m in models.items()}
    note = f"{SET}; PSNR-Y of the whole picture. {protocol(['psnr_y'], SHEET_QUALITIES)}"
    return Picture(pixels=np.asarray(draw_crops(scenes, columns, scale=SHEET_SCALE, note=note)))


def text_of(scores: list[SetScore], metrics: list[str], crossings: dict[int, int]) -> str:
    """The table, the protocol, and the qualities from which clean weights are better."""
    rows = tables.rows_of(scores, metrics)
    note = textwrap.fill(protocol(metrics, QUALITIES), 118)
    text = tables.as_markdown(rows, note)
    for scale, quality in crossings.items():
        text += f"\n\nx{scale}: {AUTO_ROBUST} has the higher PSNR-Y on JPEGs of a quality below {quality}."
    return text


def record(scores: list[SetScore], crossings: dict[int, int]) -> None:
    """Write PSNR-Y and crossings into the index, and write the model cards."""
    index = read_index()
    for entry in index["models"]:
        name = next(m.name for m in shipped_models() if m.file == entry["file"])
        mine = [s for s in scores if (s.model, s.scale) == (name, entry["scale"])]
        if mine:
            found = {"clean" if s.jpeg_quality is None else str(s.jpeg_quality): s.mean("psnr_y") for s in mine}
            entry["jpeg_psnr_y"] = {condition: round(value, 4) for condition, value in found.items()}
        if name == AUTO_ROBUST and entry["scale"] in crossings:
            entry["jpeg_below"] = crossings[entry["scale"]]
    write_index(index)


def main() -> None:
    """Measure, print, and write on request."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data" / "eval", help="folder of Kodak24")
    parser.add_argument("--lpips", type=Path, default=os.environ.get("A2F_LPIPS"), help="alexnet.ckpt")
    parser.add_argument("--write", action="store_true", help="update RESULTS.md, the sheet, index.json, model cards")
    a = parser.parse_args()
    metrics = ["psnr_y", "ssim_y", *(["lpips"] if a.lpips else [])]
    scores: list[SetScore] = []
    crossings: dict[int, int] = {}
    for scale in SCALES:
        items, models = load_set(a.data / SET, scale=scale), models_of(scale)
        for name, upscaler in models.items():
            for quality in QUALITIES:
                scores.append(
                    score_set(
                        upscaler,
                        compressed(items, quality),
                        model=name,
                        data=SET,
                        scale=scale,
                        metrics=metrics,
                        lpips=a.lpips,
                        jpeg_quality=quality,
                    )
                )
        if AUTO_ROBUST in models:
            crossings[scale] = crossing(models, items, scale=scale)
        if a.write and scale == SHEET_SCALE:
            write_image(sheet_of(items, models), SHEET)
    text = text_of(scores, metrics, crossings)
    print(text)
    if a.write:
        fill(ROOT / "RESULTS.md", "jpeg", text)
        record(scores, crossings)


if __name__ == "__main__":
    main()
