"""Model cards: one page beside each shipped weights file, from its metadata and its measured figures."""

from a2f.variants import VARIANTS
from a2f.weights import ShippedModel, read_weights

CARD = """# {title} x{scale}

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

**Made for** photographs that were made smaller: the network undoes a clean bicubic reduction. It invents no detail as
generative upscalers do, and it does not remove noise or JPEG blocks; it will sharpen those too.
**Not derived** from weights of the paper's authors.
{recipe}"""
RECIPE = """
## Recipe of the last run

```toml
{text}
```
"""


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
