"""``a2f eval``."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from a2f.cli.foreign import foreign_options, open_foreign
from a2f.cli.output import check_output
from a2f.cli.qualities import QualitiesType

if TYPE_CHECKING:
    from a2f.evaluation.jpeg import Quality
    from a2f.evaluation.score import SetScore
    from a2f.evaluation.sets import Item
    from a2f.upscaler import Upscaler

EPILOG = """\b
Examples:
  a2f eval sd -s 4 --data benchmarks/Set5 benchmarks/Set14 --published
  a2f eval bicubic sd mine.safetensors -s 4 --data Set5 --json
  a2f eval sd -s 2 --data Set5 --metrics psnr_y --save out/
  a2f eval sd other.onnx -s 4 --data Set5 --input-range 255 --channels bgr
  a2f eval sd -s 4 --data Set5 --metrics psnr_y lpips --lpips lpips/alexnet.ckpt
  a2f eval bicubic sd other.onnx -s 2 --data Kodak24 --jpeg clean,90,75,50,30 --sheet crops.png
  a2f eval sd carn_m_x4.safetensors -s 4 --data Set5
  a2f eval own.safetensors --network my.py:Net -s 4 --data Set5

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
@click.option(
    "--metrics",
    multiple=True,
    metavar="NAME...",
    help="psnr_y, ssim_y, psnr_rgb, ms_ssim, lpips.  [default: psnr_y ssim_y]",
)
@click.option("--markdown", "form", flag_value="markdown", default=True, help="A Markdown table (default).")
@click.option("--csv", "form", flag_value="csv", help="Each image and the means, as CSV.")
@click.option("--json", "form", flag_value="json", help="Each image and the means, as JSON.")
@click.option("--latex", "form", flag_value="latex", help="A LaTeX table.")
@click.option("--published", "shown", flag_value="own", help="The paper's row under each of its networks.")
@click.option("--published-all", "shown", flag_value="all", help="Every method of the paper's Table 6 at this scale.")
@click.option(
    "--jpeg",
    "qualities",
    type=QualitiesType(),
    default="clean",
    show_default=True,
    help="Send LR through JPEGs of these qualities (4:2:0) first, a column each; clean: through none.",
)
@click.option("--save", type=Path, metavar="DIR", help="Keep the enlargements as DIR/model/set/*.png.")
@click.option("--sheet", type=Path, metavar="FILE.png", help="Draw crops of the first SET: LR, each MODEL, original.")
@click.option("--pictures", metavar="NAME,NAME", help="Of the sheet, by their names.  [default: two of the set]")
@click.option("--overwrite", is_flag=True, help="Replace an existing sheet.")
@click.option(
    "--engine", default="onnxruntime", show_default=True, metavar="NAME", help="onnxruntime, openvino or torch."
)
@click.option("--device", default="cpu", show_default=True, metavar="NAME", help="cpu, cuda or mps.")
@click.option("--dtype", default="float32", show_default=True, metavar="NAME", help="float32, bfloat16 or float16.")
@click.option(
    "--ensemble", type=int, default=1, show_default=True, metavar="N", help="Mean of 2, 4 or 8 runs; not of bicubic."
)
@click.option("--lpips", type=Path, metavar="FILE", help="alexnet.ckpt for lpips.  [default: $A2F_LPIPS]")
@click.option("--network", metavar="FILE.py:CLASS", help="Of weights files of your own network: its class.")
@foreign_options
def eval(
    models: tuple[str, ...],
    scale: int,
    data: tuple[Path, ...],
    metrics: tuple[str, ...],
    form: str,
    shown: Literal["own", "all"] | None,
    qualities: tuple["Quality", ...],
    save: Path | None,
    sheet: Path | None,
    pictures: str | None,
    overwrite: bool,
    lpips: Path | None,
    ensemble: int,
    **how: Any,
) -> None:
    """Measure models on benchmark sets, by the paper's protocol.

    MODEL is one of `a2f models`, a weights file (.safetensors) of A²F, of a network of another paper (a2f convert --as)
    or of your own (--network), bicubic, or the file of any other network: ONNX, TorchScript (.pt) or torch.export
    (.pt2), whose values --input-range and --channels state.
    """
    from a2f.compare import names_apart
    from a2f.evaluation.jpeg import under
    from a2f.evaluation.score import metric_functions, score_set
    from a2f.evaluation.sets import load_set
    from a2f.runtime import Limits
    from a2f.runtime.ensemble import check_ensemble, ensemble_of

    check_ensemble(ensemble)
    wanted = metrics or ("psnr_y", "ssim_y")
    metric_functions(wanted, lpips=lpips)  # what is missing is said before anything runs
    sets = {folder: load_set(folder, scale=scale) for folder in data}
    titles = dict(zip(sets, names_apart([folder.resolve() for folder in sets]), strict=True))
    drawn = Crops(sheet, sets[data[0]], scale=scale, qualities=qualities, pictures=pictures, overwrite=overwrite)
    scores = []
    for name, model in names_of(models).items():
        upscaler = _open(model, scale=scale, **how)
        runs = 1 if upscaler is None else ensemble
        upscaler = upscaler and ensemble_of(upscaler, runs, limits=Limits())
        kept_as = name if runs == 1 else f"{name}_ensemble{runs}"
        for folder, quality in product(sets, qualities):
            score = score_set(
                upscaler,
                under(sets[folder], quality),
                model=name,
                data=titles[folder],
                scale=scale,
                metrics=wanted,
                save=None if save is None else save / kept_as / _folder_name(titles[folder].replace("/", "_"), quality),
                lpips=lpips,
                jpeg_quality=quality,
            )
            scores.append(replace(score, ensemble=runs))
        drawn.add(name, upscaler)
    click.echo(_table(form, scores, wanted, shown=shown or "none"))
    drawn.write()


def _folder_name(data: str, quality: "Quality") -> str:
    return data if quality is None else f"{data}_jpeg{quality}"


def _table(form: str, scores: "list[SetScore]", metrics: Sequence[str], *, shown: Literal["none", "own", "all"]) -> str:
    from a2f.evaluation import tables

    if form == "csv":
        return tables.as_csv(scores, metrics).rstrip()
    if form == "json":
        return tables.as_json(scores, metrics, shown=shown)
    rows = tables.rows_of(scores, metrics, shown=shown)
    note = tables.footnote(metrics, shown=shown, qualities=tables.qualities_of(scores))
    return tables.as_markdown(rows, note) if form == "markdown" else tables.as_latex(rows, note)


class Crops:
    """The sheet of --sheet; without it, nothing.

    Args:
        path: of the sheet; None for none.
        items: of the set.
        scale: s.
        qualities: conditions of LR.
        pictures: names with commas between them; two of the set by default.
        overwrite: replace an existing sheet.

    Raises:
        UsageError: if the sheet is there and not to be replaced, is no PNG, or the set has no such picture.
    """

    def __init__(
        self,
        path: Path | None,
        items: "list[Item]",
        *,
        scale: int,
        qualities: "Sequence[Quality]",
        pictures: str | None,
        overwrite: bool,
    ) -> None:
        from a2f.evaluation.crops import Cell, scenes_of

        if pictures is not None and path is None:
            raise click.UsageError("--pictures are those of a sheet: add --sheet FILE.png")
        self.path, self.scale = path, scale
        self.columns: dict[str, list[Cell]] = {}
        if path is not None:
            check_output(path, ".png", overwrite=overwrite)
            names = [name.strip() for name in pictures.split(",")] if pictures else []
            self.scenes = scenes_of(items, scale=scale, qualities=qualities, pictures=names)

    def add(self, name: str, upscaler: "Upscaler | None") -> None:
        """A column."""
        from a2f.evaluation.crops import cells_of

        if self.path is not None:
            self.columns[f"{name} x{self.scale}"] = cells_of(self.scenes, upscaler, scale=self.scale)

    def write(self) -> None:
        """The file."""
        import numpy as np

        from a2f.evaluation.crops import draw_crops
        from a2f.evaluation.score import protocol
        from a2f.imageio import Picture, write_image

        if self.path is not None:
            rules = protocol(["psnr_y"], [scene.quality for scene in self.scenes])
            note = f"Figures: PSNR-Y of the whole picture, dB. {rules}"
            sheet = draw_crops(self.scenes, self.columns, scale=self.scale, note=note)
            write_image(Picture(pixels=np.asarray(sheet)), self.path)
            click.echo(f"{self.path} ({sheet.width} x {sheet.height})", err=True)


def names_of(models: Sequence[str]) -> dict[str, str]:
    """A name for each model: as given, or of a file its stem, with as much of its folders as tells the files apart."""
    from a2f.compare import names_apart

    files = list(dict.fromkeys(model for model in models if _is_file(model)))
    whole = dict(zip(files, names_apart([Path(model) for model in files]), strict=True))
    bare = dict(zip(files, names_apart([Path(model).with_suffix("") for model in files]), strict=True))
    taken = Counter(bare.values())
    labels = {model: bare[model] if taken[bare[model]] == 1 else whole[model] for model in files}
    return {labels.get(model, model): model for model in models}


def _is_file(model: str) -> bool:
    from a2f.runtime.foreign import is_foreign
    from a2f.weights import is_file_name

    return is_file_name(model) or is_foreign(model)


def _open(
    model: str, *, scale: int, engine: Any, device: str, dtype: str, network: str | None, **values: Any
) -> "Upscaler | None":
    """What enlarges; None is bicubic."""
    from a2f.api import load
    from a2f.errors import UnknownModelError
    from a2f.peers import PEERS
    from a2f.peers.files import network_in, read_network
    from a2f.runtime.foreign import is_foreign
    from a2f.runtime.network_engine import open_network_engine

    if model == "bicubic":
        return None
    if is_foreign(model):
        return open_foreign(Path(model), scale=scale, **values)
    if network_in(model) is not None:
        found = read_network(model, own=network)
        return open_network_engine(found, engine=engine, device=device, dtype=dtype, threads=None)
    if model in PEERS:
        raise UnknownModelError(
            f"no weights of {model} are shipped: name a weights file, made by a2f convert --as {model}"
        )
    return load(model, scale=scale, engine=engine, device=device, dtype=dtype).engine
