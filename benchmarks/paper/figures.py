"""Draws the four figures of docs/paper.md as SVG and PDF in docs/images/paper."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from a2f.errors import A2FError
from a2f.evaluation.published import METHODS
from a2f.evaluation.sets import Item, load_set
from a2f.figures.cost import draw_cost
from a2f.figures.crops import Scene, draw_crops, scene_of
from a2f.figures.factors import Panel, draw_factors, panel_of, rows_of
from a2f.figures.network import draw_network
from a2f.model.official import convert_official
from a2f.sheets import Crop
from a2f.upscaler import Upscaler
from a2f.variants import FACTORS, config_of
from a2f.weights import read_weights, shipped_models
from benchmarks.markdown import ROOT, table
from benchmarks.paper.measure import OURS, models, read_kept

IMAGES = ROOT / "docs" / "images" / "paper"
KINDS = (".svg", ".pdf")
SCALE = 4
METHODS_SHOWN = ("bicubic", "VDSR", "IDN", "CARN-M", "IMDN", METHODS["sd"])  # of Figure 4; then those of a2f
# Kodak's pictures are free to show. The pictures of the paper are only measured: barbara (Set14), img096 (Urban100).
KODAK: dict[str, Crop] = {"19": (116, 474, 120, 80), "8": (528, 296, 120, 80)}
PAPERS = {"barbara": "Set14", "img096": "Urban100"}
SCORES = ROOT / "docs" / "benchmarks" / "figure4.json"
FACTORS_KEPT = ROOT / "docs" / "benchmarks" / "figure3.json"


@dataclass(frozen=True, kw_only=True)
class Score:
    """The score of a method on a picture of Figure 4."""

    picture: str
    data: str
    method: str
    psnr_y: float
    ssim_y: float


def figure_1() -> None:
    """Draw Figure 1 as in the paper, and Set5 at x4 with our measurements."""
    variants = {title: variant for variant, title in METHODS.items()}
    measured = {
        variants[r.method]: r.psnr_y for r in read_kept() if r.weights == OURS and (r.data, r.scale) == ("Set5", SCALE)
    }
    for kind in KINDS:
        draw_cost("Manga109", scale=2, output=IMAGES / f"figure1{kind}")
        draw_cost("Set5", scale=SCALE, measured=measured, output=IMAGES / f"figure1_set5_x4{kind}")


def figure_2() -> None:
    """Draw Figure 2: A²F-S, which has four blocks as in the paper."""
    for kind in KINDS:
        draw_network(config_of("s", scale=SCALE), output=IMAGES / f"figure2{kind}")


def figure_3(official: Path) -> None:
    """Draw Figure 3: the λ of the authors' checkpoints and of the shipped weights. Store them as numbers too."""
    panels = [panel_of(read_weights(m.path), whose="a2f") for m in shipped_models() if m.kind == "clean"]
    authors = [panel_of(convert_official(path), whose="authors") for path in sorted(official.glob("*.pt"))]
    # without their files, keep the earlier panels
    panels += authors or [panel for panel in read_panels() if panel.title.endswith("authors")]
    for kind in KINDS:
        draw_factors(panels, output=IMAGES / f"figure3{kind}")
    rounded = [
        {"network": p.network, "title": p.title, "values": {k: [round(v, 4) for v in p.values[k]] for k in FACTORS}}
        for row in rows_of(panels)
        for p in row
    ]
    FACTORS_KEPT.write_text(json.dumps(rounded, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def read_panels() -> list[Panel]:
    """Read the stored λ."""
    if not FACTORS_KEPT.exists():
        return []
    return [Panel(**kept) for kept in json.loads(FACTORS_KEPT.read_text(encoding="utf-8"))]


def figure_4(sets: Path, official: Path, peers: Path) -> None:
    """Draw Figure 4 with crops of Kodak's pictures. The paper's own pictures are only measured.

    Raises:
        A2FError: if the set or the checkpoints are missing.
    """
    methods = _methods(official, peers)
    kodak = {item.name: item for item in load_set(sets / "Kodak24", scale=SCALE)}
    scenes = [_scene(kodak[name], methods, "Kodak24", crop) for name, crop in KODAK.items()]
    for kind in KINDS:
        draw_crops(scenes, scale=SCALE, output=IMAGES / f"figure4{kind}")
    for name, data in PAPERS.items():
        if (sets / data).is_dir():
            items = {item.name: item for item in load_set(sets / data, scale=SCALE)}
            found = [item for key, item in items.items() if name in key]
            scenes += [_scene(item, methods, data, None) for item in found]
    scores = [
        Score(picture=s.item.name, data=s.data, method=m.name, psnr_y=round(m.psnr_y, 3), ssim_y=round(m.ssim_y, 4))
        for s in scenes
        for m in s.shown
    ]
    lines = ",\n".join(json.dumps(asdict(score), ensure_ascii=False) for score in scores)
    SCORES.write_text(f"[\n{lines}\n]\n", encoding="utf-8")


def _scene(item: Item, methods: dict[str, Upscaler | None], data: str, crop: Crop | None) -> Scene:
    return scene_of(item, methods, data=data, scale=SCALE, crop=crop)


def _methods(official: Path, peers: Path) -> dict[str, Upscaler | None]:
    """The methods of Figure 4 with available weights."""
    found: dict[str, Upscaler | None] = {}
    every = [m for m in models(official, peers) if m.scale == SCALE and m.method in METHODS_SHOWN]
    for method in METHODS_SHOWN:
        for model in (m for m in every if m.method == method and m.weights != OURS):
            found[method] = model.open() if model.open else None
    for model in (m for m in every if m.weights == OURS):
        found[f"{model.method}, a2f"] = model.open() if model.open else None
    if len(found) < len(METHODS_SHOWN):
        raise A2FError(f"Figure 4 needs the checkpoints of {', '.join(METHODS_SHOWN)}: name --official and --peers")
    return found


def scores_text() -> str:
    """The table of PSNR-Y and SSIM-Y of each picture of Figure 4."""
    scores = [Score(**row) for row in json.loads(SCORES.read_text(encoding="utf-8"))]
    methods = list(dict.fromkeys(s.method for s in scores))
    rows = [["picture", *methods]]
    for picture, data in dict.fromkeys((s.picture, s.data) for s in scores):
        mine = {s.method: f"{s.psnr_y:.2f}/{s.ssim_y:.4f}" for s in scores if s.picture == picture}
        rows.append([f"{picture} ({data})", *(mine.get(m, "-") for m in methods)])
    return table(rows)


def factors_text() -> str:
    """The table of the paper's statements about λ, checked on these networks."""
    rows = [["network", "least λ_att", "λ_att always over 0.2", "λ_res largest in", "λ_att over λ_x in"]]
    for panel in read_panels():
        res, att, x = (panel.values[name] for name in FACTORS)
        blocks = len(res)
        most = sum(r >= max(a, b) for r, a, b in zip(res, att, x, strict=True))
        later = [str(n) for n in range(1, blocks + 1) if att[n - 1] > x[n - 1]]
        over = f"block {', '.join(later)}" if later else "no block"
        yes = "yes" if min(att) > 0.2 else "no"
        rows.append([panel.title, f"{min(att):.3f}", yes, f"{most} of {blocks} blocks", over])
    return table(rows)
