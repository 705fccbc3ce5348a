"""``a2f eval``."""

from pathlib import Path

import click

EPILOG = """\b
Examples:
  a2f eval sd -s 4 --data benchmarks/Set5 benchmarks/Set14 --published
  a2f eval bicubic sd mine.safetensors -s 4 --data Set5 --json
  a2f eval sd -s 2 --data Set5 --metrics psnr_y --save out/

\b
A set is a folder: Set5/HR/*.png, and Set5/LR_bicubic/X4/*x4.png where there are any.
"""


class Words(click.Command):
    """Lets --data and --metrics take several words, as people write them."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Turn "--data A B" into "--data A --data B"."""
        flat: list[str] = []
        option = ""
        for word in args:
            if word.startswith("-") and word != "-":
                option = word if word in ("--data", "--metrics") else ""
            elif option and flat[-1] != option:
                flat.append(option)
            flat.append(word)
        return super().parse_args(ctx, flat)


@click.command(cls=Words, name="eval", epilog=EPILOG)
@click.argument("models", nargs=-1, required=True, metavar="MODEL...")
@click.option("-s", "--scale", type=int, default=4, show_default=True, help="2, 3 or 4.")
@click.option("--data", multiple=True, required=True, type=Path, metavar="SET...", help="Folders of benchmark sets.")
@click.option("--metrics", multiple=True, metavar="NAME...", help="psnr_y, ssim_y, psnr_rgb.  [default: psnr_y ssim_y]")
@click.option("--markdown", "form", flag_value="markdown", default=True, help="A Markdown table (default).")
@click.option("--csv", "form", flag_value="csv", help="Each image and the means, as CSV.")
@click.option("--json", "form", flag_value="json", help="Each image and the means, as JSON.")
@click.option("--latex", "form", flag_value="latex", help="A LaTeX table.")
@click.option("--published", is_flag=True, help="The paper's row under ours.")
@click.option("--save", type=Path, metavar="DIR", help="Keep the enlargements as DIR/model/set/*.png.")
@click.option(
    "--engine", default="onnxruntime", show_default=True, metavar="NAME", help="onnxruntime, openvino or torch."
)
@click.option("--device", default="cpu", show_default=True, metavar="NAME", help="cpu, cuda or mps.")
@click.option("--dtype", default="float32", show_default=True, metavar="NAME", help="float32, bfloat16 or float16.")
def eval(
    models: tuple[str, ...],
    scale: int,
    data: tuple[Path, ...],
    metrics: tuple[str, ...],
    form: str,
    published: bool,
    save: Path | None,
    engine: str,
    device: str,
    dtype: str,
) -> None:
    """Measure models (s, sd, m, l, a weights file, or bicubic) on benchmark sets, by the paper's protocol."""
    from a2f.api import is_file_name, load
    from a2f.evaluation import tables
    from a2f.evaluation.score import score_set
    from a2f.evaluation.sets import load_set

    wanted = metrics or ("psnr_y", "ssim_y")
    scores = []
    for model in models:
        upscaler = (
            None if model == "bicubic" else load(model, scale=scale, engine=engine, device=device, dtype=dtype)  # type: ignore[arg-type]
        )
        name = Path(model).stem if is_file_name(model) else model
        for folder in data:
            kept = None if save is None else save / name / folder.name
            items = load_set(folder, scale=scale)
            scores.append(
                score_set(upscaler, items, model=name, data=folder.name, scale=scale, metrics=wanted, save=kept)
            )
    rows = tables.rows_of(scores, wanted, published=published)
    text = {
        "markdown": lambda: tables.as_markdown(rows),
        "latex": lambda: tables.as_latex(rows),
        "csv": lambda: tables.as_csv(scores, wanted).rstrip(),
        "json": lambda: tables.as_json(scores, wanted),
    }[form]()
    click.echo(text)
