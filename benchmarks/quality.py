"""PSNR-Y and SSIM-Y of the shipped models in the ONNX engine.

    python -m benchmarks.quality [--data DIR] [--sets Set5 Set14 B100] [--write]

This needs the `eval` extra and the benchmark sets: DIR/Set5/HR/*.png, and optionally DIR/Set5/LR_bicubic/X4/*.png;
without LR images, LR is made by bicubic. If ../shared/official has the checkpoints of the paper's authors, they run
too.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

from a2f.evaluation.published import METHODS, published
from a2f.evaluation.score import score_set
from a2f.evaluation.sets import load_set
from a2f.export.int8 import ranges_of
from a2f.runtime import load_engine
from a2f.upscaler import Upscaler
from a2f.weights import read_weights, shipped_models
from benchmarks.cards import read_index, write_index
from benchmarks.markdown import ROOT, fill, table


@dataclass(frozen=True)
class Score:
    """The mean PSNR-Y and SSIM-Y on a set."""

    psnr: float
    ssim: float


def score(folder: Path, scale: int, upscaler: Upscaler | None) -> Score:
    """Measure an upscaler, or bicubic for None, on a set."""
    result = score_set(upscaler, load_set(folder, scale=scale), model="", data=folder.name, scale=scale)
    return Score(result.mean("psnr_y"), result.mean("ssim_y"))


def figures_of(variant: str, scale: int, sets: list[str]) -> dict[str, tuple[float, float]]:
    """The PSNR-Y and SSIM-Y of the paper, for the sets in its tables."""
    row = published(variant, scale=scale)
    return {name: row.figures[name] for name in sets if row and name in row.figures}


def printed(paper: dict[str, tuple[float, float]], sets: list[str]) -> list[str]:
    """One cell per set, as printed in the paper."""
    return [f"{paper[name][0]:.2f}/{paper[name][1]:.4f}" if name in paper else "-" for name in sets]


def cells(scores: dict[str, Score]) -> list[str]:
    """One cell per set: PSNR/SSIM."""
    return [f"{s.psnr:.3f}/{s.ssim:.4f}" for s in scores.values()]


def differences(scores: dict[str, Score], paper: dict[str, tuple[float, float]]) -> list[str]:
    """One cell per set: our figures minus those of the paper."""
    pairs = [(scores[name], paper.get(name)) for name in scores]
    return [f"{s.psnr - p[0]:+.2f}/{s.ssim - p[1]:+.4f}" if p else "-" for s, p in pairs]


def main() -> None:
    """Measure, print, and write on request."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--data", type=Path, default=ROOT.parent / "shared" / "data" / "eval", help="folder of the sets"
    )
    parser.add_argument("--sets", nargs="+", default=["Set5", "Set14", "B100"])
    parser.add_argument("--write", action="store_true", help="update RESULTS.md, README, index.json, model cards")
    a = parser.parse_args()
    rows = [["model", *a.sets]]
    short = [["model", "parameters", *a.sets, "the paper"]]
    measured: dict[str, dict[str, Score]] = {}
    in_integers: dict[str, dict[str, Score]] = {}
    for scale in sorted({m.scale for m in shipped_models()}):
        bicubic = {name: score(a.data / name, scale, None) for name in a.sets}
        rows.append([f"bicubic x{scale}", *cells(bicubic)])
        short.append([f"bicubic x{scale}", "", *(f"{s.psnr:.2f}" for s in bicubic.values()), ""])
        for model in (m for m in shipped_models() if m.scale == scale):
            engine, paper = load_engine(read_weights(model.path)), figures_of(model.name, scale, a.sets)
            scores = {name: score(a.data / name, scale, engine) for name in a.sets}
            measured[model.file] = scores
            weights = read_weights(model.path)
            if ranges_of(weights) is not None:
                quick = load_engine(weights, engine="openvino", dtype="int8")
                in_integers[model.file] = {name: score(a.data / name, scale, quick) for name in a.sets}
            name = f"**a2f {model.name} x{scale}**"
            rows.append([name, *cells(scores)])
            if paper:
                rows.append([f"the paper's {METHODS[model.variant]} x{scale}", *printed(paper, a.sets)])
                rows.append(["difference", *differences(scores, paper)])
            if model.file in in_integers:
                rows.append([f"a2f {model.name} x{scale}, `--dtype fast` (int8)", *cells(in_integers[model.file])])
            if model.kind == "robust":  # README shows them with JPEG input, for which they are made
                continue
            figures = [f"{s.psnr:.2f}" for s in scores.values()]
            short.append([name, f"{model.parameters:,}", *figures, " / ".join(f"{p:.2f}" for p, _ in paper.values())])
    for path in sorted((ROOT.parent / "shared" / "official").glob("*.pt")):
        from a2f.model.official import convert_official

        weights = convert_official(path)
        engine, config = load_engine(weights), weights.config
        scores = {name: score(a.data / name, config.scale, engine) for name in a.sets}
        name = f"the authors' checkpoint {config.variant} x{config.scale} (not shipped)"
        rows.append([name, *cells(scores)])
        rows.append(
            ["difference from the paper", *differences(scores, figures_of(config.variant, config.scale, a.sets))]
        )
    print(table(rows))
    if a.write:
        write(rows, short, measured, in_integers)


def write(
    rows: list[list[str]],
    short: list[list[str]],
    measured: dict[str, dict[str, Score]],
    in_integers: dict[str, dict[str, Score]],
) -> None:
    """Write the figures into the pages, the index and the model cards."""
    fill(ROOT / "RESULTS.md", "quality", table(rows))
    fill(ROOT / "README.md", "quality", table(short))
    index = read_index()
    for entry in index["models"]:
        scores = measured[entry["file"]]
        entry["psnr_y"] = {name: round(s.psnr, 4) for name, s in scores.items()}
        entry["ssim_y"] = {name: round(s.ssim, 4) for name, s in scores.items()}
        quick = in_integers.get(entry["file"], {})
        entry["int8_loss_db"] = {name: round(scores[name].psnr - s.psnr, 4) for name, s in quick.items()}
    write_index(index)


if __name__ == "__main__":
    main()
