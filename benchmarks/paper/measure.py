"""Measures Tables 5 and 6 for all available weights: the authors', those of other papers, those of a2f; and bicubic.

    python -m benchmarks.paper.measure [--lpips FILE] [--official DIR] [--peers DIR] [--sets DIR] [--again]

This measures PSNR-Y and SSIM-Y of each model on each available set, and LPIPS at x4. Each result is stored at once in
docs/benchmarks/paper.json. A stored result is not measured again, unless the shipped weights have changed. `python -m
benchmarks.paper` reads this file.
"""

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from a2f.evaluation.published import METHODS, SETS
from a2f.evaluation.score import score_set
from a2f.evaluation.sets import load_set
from a2f.external import open_network_engine
from a2f.model.official import convert_official
from a2f.peers import PEERS
from a2f.peers.checkpoints import convert_network
from a2f.runtime import load_engine
from a2f.upscaler import Upscaler
from a2f.variants import SCALES
from a2f.weights import read_weights, shipped_models
from benchmarks.markdown import ROOT
from benchmarks.peers import CHECKPOINTS

KEPT = ROOT / "docs" / "benchmarks" / "paper.json"
SHARED = ROOT.parent / "shared"
AUTHORS, CONVERTED, OURS = "the authors' checkpoint", "published checkpoint", "this project"
LPIPS_SCALE = 4  # Table 5
FOR_TABLES = {"fsrcnn-shuffle": "FSRCNN"}  # names of networks in Table 6 that differ from their titles


@dataclass(frozen=True, kw_only=True)
class Model:
    """A method to measure.

    Attributes:
        method: the name in the tables, or "bicubic".
        scale: s.
        weights: origin of the weights: `AUTHORS`, `CONVERTED`, `OURS`, or "" for bicubic.
        file: name of the weights file; our names include the start of the checksum.
        open: opens the model; None for bicubic.
    """

    method: str
    scale: int
    weights: str
    file: str
    open: Callable[[], Upscaler] | None


@dataclass(frozen=True, kw_only=True)
class Measured:
    """The scores of a model on a set, by the protocol of `a2f eval`; None for metrics that were not measured."""

    method: str
    scale: int
    weights: str
    file: str
    data: str
    psnr_y: float
    ssim_y: float
    lpips: float | None = None


def models(official: Path, peers: Path) -> Iterator[Model]:
    """All models with available weights: bicubic, those of a2f, the authors', those of other papers."""
    for scale in SCALES:
        yield Model(method="bicubic", scale=scale, weights="", file="", open=None)
    for m in (m for m in shipped_models() if m.kind == "clean"):
        yield Model(
            method=METHODS[m.variant],
            scale=m.scale,
            weights=OURS,
            file=f"{m.file} {m.sha256[:8]}",
            open=partial(_opened, m.path),
        )
    for path in sorted(official.glob("*.pt")):
        weights = convert_official(path)
        config = weights.config
        yield Model(
            method=METHODS[config.variant],
            scale=config.scale,
            weights=AUTHORS,
            file=path.name,
            open=partial(load_engine, weights),
        )
    for name, (pattern, scales) in CHECKPOINTS.items():
        for scale in scales:
            path = peers / pattern.format(scale)
            if path.exists():
                yield Model(
                    method=FOR_TABLES.get(name, PEERS[name].title),
                    scale=scale,
                    weights=CONVERTED,
                    file=path.name,
                    open=partial(_open_peer, path, name, scale),
                )


def _opened(path: Path) -> Upscaler:
    return load_engine(read_weights(path))


def _open_peer(path: Path, name: str, scale: int) -> Upscaler:
    network = convert_network(path, name=name, scale=scale)
    return open_network_engine(network, threads=int(os.environ.get("OMP_NUM_THREADS", "0")) or None)


def read_kept(file: Path = KEPT) -> list[Measured]:
    """Read the stored measurements."""
    return [Measured(**row) for row in json.loads(file.read_text(encoding="utf-8"))] if file.exists() else []


def write_kept(rows: list[Measured], file: Path = KEPT) -> None:
    """Store the results, one per line, in a fixed order."""
    order = sorted(rows, key=lambda r: (r.scale, r.method, r.weights, SETS.index(r.data)))
    lines = ",\n".join(json.dumps(asdict(row), ensure_ascii=False) for row in order)
    file.write_text(f"[\n{lines}\n]\n", encoding="utf-8")


def measure(model: Model, folder: Path, *, lpips: Path | None) -> Measured:
    """Measure one model on one set."""
    with_lpips = lpips is not None and model.scale == LPIPS_SCALE
    metrics = ["psnr_y", "ssim_y", *(["lpips"] if with_lpips else [])]
    score = score_set(
        model.open() if model.open else None,
        load_set(folder, scale=model.scale),
        model=model.method,
        data=folder.name,
        scale=model.scale,
        metrics=metrics,
        lpips=lpips,
    )
    return Measured(
        method=model.method,
        scale=model.scale,
        weights=model.weights,
        file=model.file,
        data=folder.name,
        psnr_y=round(score.mean("psnr_y"), 4),
        ssim_y=round(score.mean("ssim_y"), 5),
        lpips=round(score.mean("lpips"), 5) if with_lpips else None,
    )


def key(row: Model | Measured) -> tuple[str, int, str]:
    """The key that identifies a model."""
    return row.method, row.scale, row.weights


def main() -> int:
    """Make all missing measurements."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", type=Path, default=SHARED / "data" / "eval", help="folder of the benchmark sets")
    parser.add_argument("--official", type=Path, default=SHARED / "official", help="the authors' checkpoints")
    parser.add_argument("--peers", type=Path, default=SHARED / "peers", help="checkpoints of other papers")
    parser.add_argument("--lpips", type=Path, help="alexnet.ckpt of `a2f data download lpips`; without it no LPIPS")
    parser.add_argument("--again", action="store_true", help="repeat all measurements")
    a = parser.parse_args()
    there = [a.sets / name for name in SETS if (a.sets / name).is_dir()]
    if not there:
        raise SystemExit(f"{a.sets} has none of {', '.join(SETS)}: give the folder of the sets with --sets")
    rows = [] if a.again else read_kept()
    for model in sorted(models(a.official, a.peers), key=lambda m: -m.scale):  # LPIPS is at x4
        for folder in there:
            wanted = a.lpips is not None and model.scale == LPIPS_SCALE
            before = [r for r in rows if key(r) == key(model) and r.data == folder.name]
            if before and before[0].file == model.file and not (wanted and before[0].lpips is None):
                continue
            rows = [r for r in rows if r not in before] + [measure(model, folder, lpips=a.lpips)]
            write_kept(rows)
            print(rows[-1], flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
