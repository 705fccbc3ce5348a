"""Write docs/paper.md: the paper's six tables and four figures, the printed numbers beside those of a2f.

    python -m benchmarks.paper [--write] [--measure] [--only table6 figure1 ...]

The tables use the stored measurements: docs/benchmarks/paper.json, table4.json and docs/runs/ablation. With
`--measure`, missing measurements are made first, if the sets and the checkpoints are available. This takes an hour or
two on two cores; after an interruption it resumes. The trainings of Tables 2 and 3 have their own command (`python -m
benchmarks.paper.train`). Without `--write`, the tables are printed.
"""

import argparse
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from benchmarks.markdown import ROOT, fill
from benchmarks.paper import ablation, figures, tables
from benchmarks.paper.measure import SHARED
from benchmarks.paper.timing import KEPT as TIMES

PAGE = ROOT / "docs" / "paper.md"
TEXTS: dict[str, Callable[[], str]] = {
    "table1": tables.table_1,
    "table2": ablation.table_2,
    "table3": ablation.table_3,
    "table4": tables.table_4,
    "table5": tables.table_5,
    "table6_x2": partial(tables.table_6, 2),
    "table6_x3": partial(tables.table_6, 3),
    "table6_x4": partial(tables.table_6, 4),
    "figure3": figures.factors_text,
    "figure4": figures.scores_text,
}
PARTS = ("table1", "table2", "table3", "table4", "table5", "table6", "figure1", "figure2", "figure3", "figure4")


def measure(parts: list[str], a: argparse.Namespace) -> None:
    """Make the missing measurements of the parts, each in its own process."""
    if {"table5", "table6"} & set(parts):
        where = ["--sets", str(a.sets), "--official", str(a.official), "--peers", str(a.peers)]
        lpips = ["--lpips", str(a.lpips)] if a.lpips else []
        subprocess.run([sys.executable, "-m", "benchmarks.paper.measure", *where, *lpips], check=True)
    if "table4" in parts and not TIMES.exists():
        subprocess.run([sys.executable, "-m", "benchmarks.paper.timing"], check=True)


def draw(parts: list[str], a: argparse.Namespace) -> None:
    """Draw the figures among the parts."""
    if "figure1" in parts:
        figures.figure_1()
    if "figure2" in parts:
        figures.figure_2()
    if "figure3" in parts:
        figures.figure_3(a.official)
    if "figure4" in parts:
        if (a.sets / "Kodak24").is_dir() and a.peers.is_dir():
            figures.figure_4(a.sets, a.official, a.peers)
        else:
            print(f"figure4 stays as it is: it needs {a.sets / 'Kodak24'} and {a.peers}", flush=True)


def main() -> None:
    """Measure, draw, print or write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="draw the figures and update docs/paper.md")
    parser.add_argument("--measure", action="store_true", help="make missing measurements first")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), help="parts; all by default")
    parser.add_argument("--sets", type=Path, default=SHARED / "data" / "eval", help="folder of the benchmark sets")
    parser.add_argument("--official", type=Path, default=SHARED / "official", help="the authors' checkpoints")
    parser.add_argument("--peers", type=Path, default=SHARED / "peers", help="checkpoints of other papers")
    parser.add_argument("--lpips", type=Path, help="alexnet.ckpt of `a2f data download lpips`, for Table 5")
    a = parser.parse_args()
    if a.measure:
        measure(a.only, a)
    if a.write:
        draw(a.only, a)
    for mark, text in TEXTS.items():
        if mark.partition("_")[0] in a.only:
            if a.write:
                fill(PAGE, mark, text())
            else:
                print(f"\n## {mark}\n\n{text()}", flush=True)


if __name__ == "__main__":
    main()
