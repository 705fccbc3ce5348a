"""Published networks: their costs by the rules of their tables and of a2f, and the scores of their checkpoints.

    python -m benchmarks.peers [--checkpoints ../shared/peers] [--data ../shared/data/eval] [--write]

`--write` updates docs/peers.md. The checkpoints take half an hour on two cores. Without `--checkpoints`, the page uses
the stored scores (docs/benchmarks/peers.json).
"""

import argparse
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import nn

from a2f.evaluation.published import SETS, table_6
from a2f.evaluation.score import score_set
from a2f.evaluation.sets import load_set
from a2f.external import open_network_engine
from a2f.peers import PEERS, build_peer
from a2f.peers.checkpoints import convert_network
from a2f.profiling.counted import folded_parameters
from benchmarks.conventions import CONVENTIONS, built, counted, every, printed
from benchmarks.markdown import ROOT, fill, table

PAGE, KEPT = ROOT / "docs" / "peers.md", ROOT / "docs" / "benchmarks" / "peers.json"
CHECKPOINTS = {  # network -> file of each scale
    "carn-m": ("CARN-M_x2x3x4.pth", (2, 3, 4)),
    "imdn": ("IMDN_x{}.pth", (2, 3, 4)),
    "idn": ("IDN_x{}.caffemodel", (2, 3, 4)),
    "falsr-a": ("FALSR-A_x2.pb", (2,)),
    "falsr-b": ("FALSR-B_x2.pb", (2,)),
    "falsr-c": ("FALSR-C_x2.pb", (2,)),
    "fsrcnn-shuffle": ("FSRCNN_x{}_saafke.pb", (2, 3, 4)),
    "vdsr": ("VDSR_twtygqyy.pth", (2, 3, 4)),
}
IMDN = {  # scores from its paper; Table 6 has no IMDN
    2: {"Set5": (38.00, 0.9605), "Set14": (33.63, 0.9177)},
    3: {"Set5": (34.36, 0.9270), "Set14": (30.32, 0.8417)},
    4: {"Set5": (32.21, 0.8948), "Set14": (28.58, 0.7811)},
}


@dataclass(frozen=True, kw_only=True)
class Peer:
    """A recent network at x4, and its published quality.

    Attributes:
        name: name in the picture.
        network: a key of `a2f.peers.PEERS`.
        parameters_k: published parameters, thousands.
        set5: published PSNR-Y on Set5 at x4, dB; None if not found.
        source: source of these figures.
    """

    name: str
    network: str
    parameters_k: int
    set5: float | None = None
    source: str

    def build(self) -> nn.Module:
        """Build the network, [N, 3, H, W] -> [N, 3, 4H, 4W], with the same weights each time."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return build_peer(self.network, scale=4).eval().requires_grad_(False)


# "as reprinted" names the paper where the figures were read. The challenges print dB on DIV2K only.
# fmt: off
PEERS_AT_X4: tuple[Peer, ...] = (
    Peer(name="CARN-M", network="carn-m", parameters_k=412, set5=31.92,
         source="arXiv:1803.08664, in Table 6 of Wang et al., ACCV 2020"),
    Peer(name="IMDN", network="imdn", parameters_k=715, set5=32.21,
         source="arXiv:1909.11856, as reprinted for SwinIR (arXiv:2108.10257) and CFSR (arXiv:2401.05633)"),
    Peer(name="RFDN", network="rfdn", parameters_k=550, set5=32.24,
         source="arXiv:2009.11551, Table 3, as reprinted for CFSR"),
    Peer(name="RFDN (AIM 2020)", network="rfdn-aim", parameters_k=433,
         source="its authors' code, github.com/njulj/RFDN"),
    Peer(name="PAN", network="pan", parameters_k=272, set5=32.13, source="arXiv:2010.01073, as reprinted for CFSR"),
    Peer(name="RLFN", network="rlfn", parameters_k=543, set5=32.24, source="arXiv:2205.07514, Table 1"),
    Peer(name="RLFN (NTIRE 2022)", network="rlfn-ntire", parameters_k=317,
         source="its authors' README, github.com/bytedance/RLFN; arXiv:2205.05675"),
    Peer(name="BSRN", network="bsrn", parameters_k=352, set5=32.35, source="arXiv:2205.05996, as reprinted for LKDN"),
    Peer(name="SPAN (NTIRE 2024)", network="span-ntire", parameters_k=151, source="arXiv:2404.10343, Table 1"),
    Peer(name="SPAN-S", network="span-s", parameters_k=426, set5=32.20, source="arXiv:2311.12770, Table 1"),
)
# fmt: on


@dataclass(frozen=True, kw_only=True)
class Score:
    """The measured score of a checkpoint on a set, and the printed score of its network."""

    network: str
    scale: int
    data: str
    psnr_y: float
    ssim_y: float
    printed_psnr_y: float | None
    printed_ssim_y: float | None


def published_scores(name: str, scale: int) -> dict[str, tuple[float, float]]:
    """The printed PSNR-Y and SSIM-Y of a network, by set."""
    if name == "imdn":
        return IMDN[scale]
    title = "FSRCNN" if name == "fsrcnn-shuffle" else PEERS[name].title
    return next((row.figures for row in table_6() if (row.method, row.scale) == (title, scale)), {})


def scores_of(name: str, scale: int, checkpoints: Path, data: Path, *, sets: tuple[str, ...] = SETS[:2]) -> list[Score]:
    """Measure one checkpoint by the protocol of `a2f eval`."""
    network = convert_network(checkpoints / CHECKPOINTS[name][0].format(scale), name=name, scale=scale)
    upscaler = open_network_engine(network, threads=None)
    found = []
    for folder in sets:
        score = score_set(upscaler, load_set(data / folder, scale=scale), model=name, data=folder, scale=scale)
        told = published_scores(name, scale).get(folder, (None, None))
        found.append(
            Score(
                network=name,
                scale=scale,
                data=folder,
                psnr_y=round(score.mean("psnr_y"), 3),
                ssim_y=round(score.mean("ssim_y"), 4),
                printed_psnr_y=told[0],
                printed_ssim_y=told[1],
            )
        )
    return found


def costs() -> str:
    """One row for each network and scale: printed and counted costs."""
    head = ["network", "printed", "by its convention", "parameters", "folded", "Multi-Adds, G", "counted how"]
    rows = [head]
    for name, convention in CONVENTIONS.items():
        for scale in PEERS[name].scales:
            told = printed(name, scale)
            network, cost = built(name, scale), counted(name, scale)
            parameters, operations = convention.parameters(network, scale), convention.multi_adds(network, scale)
            by = f"{parameters / 1000:.1f}K, {operations / 1e9:.2f}G"
            multi_adds = f", {told.multi_adds_g:g}G" if told and told.multi_adds_g else ""
            source = f" ({told.source})" if told and told.source != "Table 6" else ""
            rows.append(
                [
                    f"`{name}` x{scale}",
                    f"{told.parameters_k:g}K{multi_adds}{source}" if told else "-",
                    by if told else "-",
                    f"{every(network, scale):,}",
                    f"{folded_parameters(network):,}",
                    f"{cost.multi_adds / 1e9:.2f}",
                    convention.told if told else "",
                ]
            )
    return table(rows)


def quality(scores: list[Score]) -> str:
    """One row for each checkpoint and set: measured and printed scores."""
    rows = [["checkpoint", "set", "measured", "printed", "difference, dB"]]
    for s in scores:
        known = s.printed_psnr_y is not None and s.printed_ssim_y is not None
        told = f"{s.printed_psnr_y:.2f}/{s.printed_ssim_y:.4f}" if known else "-"
        off = f"{s.psnr_y - s.printed_psnr_y:+.3f}" if s.printed_psnr_y is not None else "-"
        rows.append([f"`{s.network}` x{s.scale}", s.data, f"{s.psnr_y:.3f}/{s.ssim_y:.4f}", told, off])
    return table(rows)


def main() -> None:
    """Count, measure, print, and write on request."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoints", type=Path, help="folder of the published checkpoints")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data" / "eval")
    parser.add_argument("--write", action="store_true", help="update docs/peers.md")
    a = parser.parse_args()
    if a.checkpoints:
        scores = []
        for name, (_, scales) in CHECKPOINTS.items():
            for scale in scales:
                scores += scores_of(name, scale, a.checkpoints, a.data)
                print(scores[-1], flush=True)
        if a.write:
            KEPT.write_text(json.dumps([asdict(s) for s in scores], indent=1) + "\n", encoding="utf-8")
    else:
        scores = [Score(**kept) for kept in json.loads(KEPT.read_text(encoding="utf-8"))]
    print(costs(), quality(scores), sep="\n\n")
    if a.write:
        fill(PAGE, "costs", costs())
        fill(PAGE, "quality", quality(scores))


if __name__ == "__main__":
    main()
