"""Make the model cards: one page for each shipped weights file, from its metadata and its measured figures."""

import json
from typing import Any

from a2f.variants import VARIANTS
from a2f.weights import ShippedModel, model_name, read_weights, shipped_models
from benchmarks.markdown import ROOT, table

INDEX = ROOT / "src" / "a2f" / "weights_data" / "index.json"
CARD = """# {title} x{scale}{purpose}

| | |
|---|---|
| file | `{file}`, {kilobytes:,.0f} kB, SHA-256 `{sha256}` |
| network | {title}, {channels} channels, {blocks} blocks |
| parameters | {parameters:,} (weight-norm gains included, as the paper counts) |
| licence | {licence} |
| training photographs | {data} |
| teacher | {teacher} |
| what ran | {runs} |
| time and hardware | {hours} h, {hardware} |
| commit | {commit} |

{figures}

Figures by `python -m benchmarks.quality`: LR by MATLAB-compatible bicubic, RGB rounded to uint8, BT.601 luma in
float, {scale} pixels cut from each border, PSNR with peak 255, SSIM 11x11 Gaussian σ 1.5, mean over the images.
{jpeg}
{made_for}
**Not derived** from weights of the paper's authors.
{recipe}"""
RECIPE = """
## Recipe of the last run

```toml
{text}
```
"""


CLEAN = """\
**Made for** photographs that were made smaller: the network undoes a clean bicubic reduction. It invents no detail as
generative upscalers do, and it does not remove noise or JPEG blocks; it will sharpen those too."""
ROBUST = """\
**Made for** photographs that were made smaller and saved as JPEG: the network was trained on such LR images and
smooths JPEG blocks away. It invents no detail as generative upscalers do. {loss}{below}"""
JPEG = """
PSNR-Y in dB on Kodak24, where LR goes through a JPEG first, by `python -m benchmarks.jpeg` (protocol in RESULTS.md):

{figures}
"""


def read_index() -> dict[str, Any]:
    """Read the index of shipped weights from the disk."""
    index: dict[str, Any] = json.loads(INDEX.read_text(encoding="utf-8"))
    return index


def write_index(index: dict[str, Any]) -> None:
    """Write the index and all model cards."""
    INDEX.write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")
    shipped_models.cache_clear()
    for model in shipped_models():
        model.path.with_suffix(".md").write_text(model_card(model), encoding="utf-8")


def _counterpart(model: ShippedModel) -> ShippedModel | None:
    """The clean weights for robust weights, and the robust ones for clean weights, if they are shipped."""
    kind = "clean" if model.kind == "robust" else "robust"
    name = model_name(model.variant, kind)
    return next((m for m in shipped_models() if (m.name, m.scale) == (name, model.scale)), None)


def _made_for(model: ShippedModel) -> str:
    if model.kind == "clean":
        return CLEAN
    clean, loss, below = _counterpart(model), "", ""
    if clean is not None:
        lost = [f"{clean.psnr_y[s] - p:.2f} dB on {s}" for s, p in model.psnr_y.items() if s in clean.psnr_y]
        loss = f"On clean LR it\nloses {', '.join(lost)} against {clean.name}." if lost else ""
    if model.jpeg_below:
        below = f"\n`-m auto` takes it for JPEGs of a quality below {model.jpeg_below}."
    return ROBUST.format(loss=loss, below=below)


def _jpeg_figures(model: ShippedModel) -> str:
    other = _counterpart(model)
    shown = [m for m in (model, other) if m is not None and m.jpeg_psnr_y]
    if not model.jpeg_psnr_y:
        return ""
    conditions = list(model.jpeg_psnr_y)
    head = ["", *(c if c == "clean" else f"JPEG {c}" for c in conditions)]
    rows = [[m.name, *(f"{m.jpeg_psnr_y[c]:.3f}" if c in m.jpeg_psnr_y else "-" for c in conditions)] for m in shown]
    return JPEG.format(figures=table([head, *rows]))


def model_card(model: ShippedModel) -> str:
    """The card of one shipped model, as Markdown."""
    weights = read_weights(model.path)
    sets = list(model.psnr_y)
    rows = [
        "| | " + " | ".join(sets) + " |",
        "|---|" + "---|" * len(sets),
        "| PSNR-Y, dB | " + " | ".join(f"{model.psnr_y[s]:.3f}" for s in sets) + " |",
        "| SSIM-Y | " + " | ".join(f"{model.ssim_y[s]:.4f}" for s in sets) + " |",
    ]
    if model.int8_loss_db:
        rows.append(
            "| lost in fast mode (int8), dB | " + " | ".join(f"{model.int8_loss_db[s]:.4f}" for s in sets) + " |"
        )
    return CARD.format(
        title=VARIANTS[model.variant].title,
        purpose=", for JPEG input" if model.kind == "robust" else "",
        jpeg=_jpeg_figures(model),
        made_for=_made_for(model),
        scale=model.scale,
        file=model.file,
        kilobytes=model.path.stat().st_size / 1000,
        sha256=model.sha256,
        channels=weights.config.channels,
        blocks=weights.config.blocks,
        parameters=model.parameters,
        licence=model.licence,
        figures="\n".join(rows),
        commit=weights.metadata.get("commit", "before they were noted"),
        recipe=RECIPE.format(text=weights.metadata["recipe"].strip()) if "recipe" in weights.metadata else "",
        **{key: weights.metadata[key] for key in ("data", "teacher", "runs", "hours", "hardware")},
    )
