"""``a2f eval``."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from a2f.cli.entrants import Entrant, is_folder, is_single, kept_as, names_of, open_entrant, scale_of
from a2f.cli.eval_pictures import Crops, Maps
from a2f.cli.parameters import (
    CONVENTION,
    RUNS,
    QualitiesType,
    among,
    compared_scale_option,
    complete_model,
    convention_options,
    engine_options,
    own_network_option,
)
from a2f.errors import ImageReadError, count_of
from a2f.files import output_exists

if TYPE_CHECKING:
    from a2f.evaluation.jpeg import Quality
    from a2f.evaluation.latex import Marks
    from a2f.evaluation.score import SetScore
    from a2f.evaluation.sets import Item
    from a2f.evaluation.tables import ShownRows

HELP = """Measure models on benchmark sets with the paper's protocol, and compare them.

MODEL is one of:

\b
- a model of this package: sd, sd-robust, ... (a2f models lists them)
- bicubic
- a weights file (.safetensors) of A²F, of a network of another paper (a2f convert --as),
  or of your own network (--network)
- the file of any other network: ONNX, TorchScript (.pt) or torch.export (.pt2)
- a folder of finished enlargements

NAME=MODEL sets the name in tables. Enlargements with the name of a network
(carn-m=results/run7/) get its size and its figures in the paper.
"""
EPILOG = """\b
Examples:
  One model on two sets, with the paper's figures:
    a2f eval sd -s 4 --data sets/Set5 sets/Set14 --published
  Weights files; each has its own scale:
    a2f eval bicubic runs/mine/best.safetensors carn_m_x4.safetensors --data sets/Set5
  Enlargements by another program, and a model:
    a2f eval sd results/carn/ --data sets/Set5 sets/Set14
  Is the difference significant? Where is it?
    a2f eval sd results/carn/ --data sets/B100 --significance --error-maps maps/
  A LaTeX table, and JSON for another program:
    a2f eval bicubic sd results/carn/ --data sets/Set5 sets/Set14 --latex > table.tex
    a2f eval bicubic sd results/carn/ --data sets/Set5 --significance --json > scores.json
  Your own LR images; LPIPS; your own network; an ONNX file with BGR input in 0..255:
    a2f eval sd -s 4 --data sets/Set5 --lr-data lr/
    a2f eval sd -s 4 --data sets/Set5 --metrics psnr_y lpips --lpips sets/lpips/alexnet.ckpt
    a2f eval own.safetensors --network my.py:Net --data sets/Set5
    a2f eval other.onnx --data sets/Set5 --input-range 255 --channels bgr
  LR images with JPEG compression, and a sheet of crops:
    a2f eval bicubic sd -s 2 --data sets/Kodak24 --jpeg clean,75,50 --sheet crops.png

\b
Files:
  A set is a folder: Set5/HR/*.png, with Set5/LR_bicubic/X4/*x4.png if there are LR images.
  The enlargement of HR/baby.png is baby.png, babyx4.png or baby_x4.png, or one of these with
  more words after _ or -: baby_CARN.png, babyx4_SR.png. It is in the folder itself or
  in a subfolder with the name of the set (results/carn/Set5/) or the scale (x4/).
"""


class Words(click.Command):
    """A command whose options --data and --metrics accept several words."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Change "--data A B" to "--data A --data B"."""
        flat: list[str] = []
        option = ""
        for word in args:
            if word.startswith("-") and word != "-":
                option = word if word in ("--data", "--metrics") else ""
            elif option and flat[-1] != option:
                flat.append(option)
            flat.append(word)
        return super().parse_args(ctx, flat)


def _print_schema(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value:
        from a2f.evaluation.report import json_schema

        click.echo(json_schema(), nl=False)
        ctx.exit()


@dataclass(frozen=True, kw_only=True)
class Report:
    """The printed report.

    Attributes:
        form: format of the report.
        metrics: names of metrics.
        shown: rows of the paper to add.
        marks: marks of the best figures in LaTeX.
        significance: whether to compare models in pairs.
        lr_data: name of the folder of LR images, if they are the user's own.
    """

    form: Literal["markdown", "csv", "json", "latex"]
    metrics: tuple[str, ...]
    shown: "ShownRows"
    marks: "Marks"
    significance: bool
    lr_data: str | None

    def check(self, models: Sequence[str], qualities: "Sequence[Quality]") -> None:
        """Raise UsageError for contradictory options."""
        if self.significance and self.form == "csv":
            raise click.UsageError("--significance works with Markdown, --json and --latex: leave out --csv")
        if self.significance and len(models) < 2:
            raise click.UsageError("--significance compares models: give two or more")
        finished = [model for model in models if is_folder(model)]
        if finished and tuple(qualities) != (None,):
            raise click.UsageError(
                f"--jpeg changes LR images, but the enlargements in {finished[0]} are finished: leave it out"
            )

    def text(self, scores: "Sequence[SetScore]") -> str:
        """The text of the report."""
        from a2f.evaluation import differences, latex, tables
        from a2f.evaluation.report import as_json

        pairs = differences.compare(scores, self.metrics) if self.significance else None
        if self.form == "csv":
            return tables.as_csv(scores, self.metrics, lr_data=self.lr_data).rstrip()
        if self.form == "json":
            return as_json(scores, self.metrics, shown=self.shown, comparisons=pairs, lr_data=self.lr_data)
        qualities = tables.qualities_of(scores)
        rows, columns = tables.table_rows(scores, self.metrics, shown=self.shown), tables.columns_of(scores)
        note = tables.footnote(self.metrics, rows, shown=self.shown, qualities=qualities, lr_data=self.lr_data)
        if self.form == "latex":
            grouped = self.shown == "all"
            text = latex.as_latex(rows, columns, self.metrics, note, marks=self.marks, grouped=grouped)
            return text if pairs is None else f"{text}\n\n{latex.comparisons_as_latex(pairs)}"
        text = tables.as_markdown(tables.text_rows(rows, columns, self.metrics), note)
        return text if pairs is None else f"{text}\n\n{differences.as_markdown(pairs)}"


@click.command(cls=Words, name="eval", help=HELP, epilog=EPILOG)
@click.argument("models", nargs=-1, required=True, metavar="MODEL...", shell_complete=complete_model)
@compared_scale_option
@click.option("--data", multiple=True, required=True, type=Path, metavar="SET...", help="Folders of benchmark sets.")
@click.option(
    "--lr-data", type=Path, metavar="DIR", help="Your own LR images; for several sets in DIR/Set5, DIR/Set14, ..."
)
@click.option(
    "--metrics",
    multiple=True,
    metavar="NAME...",
    shell_complete=among("psnr_y", "ssim_y", "psnr_rgb", "ms_ssim", "lpips"),
    help="psnr_y, ssim_y, psnr_rgb, ms_ssim, lpips.  [default: psnr_y ssim_y]",
)
@click.option("--markdown", "form", flag_value="markdown", default=True, help="Print a Markdown table (default).")
@click.option("--csv", "form", flag_value="csv", help="Print each image and the means as CSV.")
@click.option("--json", "form", flag_value="json", help="Print each image and the means as JSON (see --json-schema).")
@click.option("--latex", "form", flag_value="latex", help="Print a LaTeX table.")
@click.option(
    "--marks",
    type=click.Choice(["colour", "bold", "none"]),
    default="colour",
    show_default=True,
    help="Marks of best and second best in LaTeX: red and blue as in the paper, or bold and underlined.",
)
@click.option("--published", "shown", flag_value="own", help="Add the paper's figures of each network.")
@click.option("--published-all", "shown", flag_value="all", help="Add all methods of the paper's tables 5 and 6.")
@click.option(
    "--significance",
    is_flag=True,
    help="Compare models in pairs: mean difference over the images, with a 95 % bootstrap interval.",
)
@click.option("--error-maps", type=Path, metavar="DIR", help="Draw the errors of each model, one sheet per picture.")
@click.option(
    "--jpeg",
    "qualities",
    type=QualitiesType(),
    default="clean",
    show_default=True,
    help="Compress LR as JPEG with these qualities (4:2:0), one column each; clean: no JPEG.",
)
@click.option("--save", type=Path, metavar="DIR", help="Save the enlargements as DIR/model/set/*.png.")
@click.option("--sheet", type=Path, metavar="FILE.png", help="Draw crops of the first SET: LR, each MODEL, original.")
@click.option(
    "--pictures",
    metavar="NAME,NAME",
    help="Pictures of the sheet and of the error maps.  [default: two of the set; those where models differ most]",
)
@click.option("--overwrite", is_flag=True, help="Replace existing enlargements, sheet and error maps.")
@engine_options
@click.option(
    "--ensemble",
    type=int,
    default=1,
    show_default=True,
    metavar="N",
    shell_complete=among(*RUNS),
    help="Mean of 2, 4 or 8 runs; not for bicubic.",
)
@click.option("--lpips", type=Path, metavar="FILE", help="alexnet.ckpt for lpips.  [default: $A2F_LPIPS]")
@own_network_option
@convention_options
@click.option(
    "--json-schema",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_schema,
    help="Print the JSON Schema of --json, and exit.",
)
def eval(
    models: tuple[str, ...],
    scale: int | None,
    data: tuple[Path, ...],
    lr_data: Path | None,
    metrics: tuple[str, ...],
    form: Any,
    shown: Any,
    marks: Any,
    significance: bool,
    error_maps: Path | None,
    qualities: tuple["Quality", ...],
    save: Path | None,
    sheet: Path | None,
    pictures: str | None,
    overwrite: bool,
    lpips: Path | None,
    ensemble: int,
    **how: Any,
) -> None:
    """Measure models on benchmark sets."""
    from a2f.evaluation.score import metric_functions
    from a2f.runtime.options import check_ensemble

    check_ensemble(ensemble)
    output = Report(
        form=form,
        metrics=metrics or ("psnr_y", "ssim_y"),
        shown=shown or "none",
        marks=marks,
        significance=significance,
        lr_data=None if lr_data is None else lr_data.resolve().name,
    )
    if pictures is not None and sheet is None and error_maps is None:
        raise click.UsageError("--pictures needs a sheet or error maps: add --sheet FILE or --error-maps DIR")
    named = names_of(models)
    output.check(list(named.values()), qualities)
    metric_functions(output.metrics, lpips=lpips)  # report missing packages before anything runs
    scale = scale_of(list(named.values()), scale, **{key: how[key] for key in CONVENTION})
    sets = _sets(data, scale, lr_data)
    crops = Crops(sheet, sets, scale=scale, qualities=qualities, pictures=pictures, overwrite=overwrite)
    _check_save(save, named, sets, qualities, scale=scale, ensemble=ensemble, overwrite=overwrite)
    maps = Maps(error_maps, sets, scale=scale, pictures=pictures, overwrite=overwrite)
    _check_folders(named.values(), sets, scale)

    def opened(name: str) -> Entrant:
        return open_entrant(name, named[name], scale=scale, ensemble=ensemble, **how)

    scores = []
    for entrant in map(opened, named):
        scores += _scores(entrant, sets, scale, qualities, output.metrics, save=save, lpips=lpips)
        crops.add(entrant)
    click.echo(output.text(scores))
    crops.write()
    maps.write(scores, opened, metric=output.metrics[0])


def _sets(data: Sequence[Path], scale: int, lr_data: Path | None) -> "dict[str, list[Item]]":
    """Read the sets: name -> items."""
    from a2f.evaluation.sets import load_set
    from a2f.sheets import distinct_labels

    folders = list(dict.fromkeys(data))
    for folder in (*folders, *([] if lr_data is None else [lr_data])):
        if not folder.exists():
            raise ImageReadError(f"there is no folder {folder}")
        if not folder.is_dir():
            raise click.UsageError(f"{folder} is not a folder: --data and --lr-data take folders of images")
    titles = distinct_labels([folder.resolve() for folder in folders])
    return {t: load_set(f, scale=scale, lr_data=lr_data) for t, f in zip(titles, folders, strict=True)}


def _check_folders(models: Iterable[str], sets: "Mapping[str, Sequence[Item]]", scale: int) -> None:
    """Find all finished enlargements before anything runs, and report files that belong to no image of the sets."""
    from a2f.evaluation.finished import find_finished

    for model in filter(is_folder, models):
        found = [find_finished(Path(model), items, data=title, scale=scale) for title, items in sets.items()]
        used = {path for finished in found for path in finished.files.values()}
        left = sorted({path for finished in found for path in finished.left} - used)
        if left:
            names = ", ".join(path.name for path in left[:3]) + (", ..." if len(left) > 3 else "")
            click.echo(f"{model}: {count_of(len(left), 'image')} without an image of the sets: {names}", err=True)


def _folder_of(title: str, quality: "Quality") -> str:
    """The subfolder for the enlargements of a set."""
    return title.replace("/", "_") + ("" if quality is None else f"_jpeg{quality}")


def _check_save(
    save: Path | None,
    named: Mapping[str, str],
    sets: "Mapping[str, Sequence[Item]]",
    qualities: "Sequence[Quality]",
    *,
    scale: int,
    ensemble: int,
    overwrite: bool,
) -> None:
    """Raise OutputExistsError if enlargements of an earlier run would be replaced."""
    if save is None or overwrite:
        return
    for (name, model), (title, items), quality in product(named.items(), sets.items(), qualities):
        folder = save / kept_as(name, 1 if is_single(model) else ensemble) / _folder_of(title, quality)
        for path in (folder / f"{item.name}x{scale}.png" for item in items):
            if path.exists():
                raise output_exists(path)


def _scores(
    entrant: Entrant,
    sets: "Mapping[str, Sequence[Item]]",
    scale: int,
    qualities: "Sequence[Quality]",
    metrics: Sequence[str],
    *,
    save: Path | None,
    lpips: Path | None,
) -> "list[SetScore]":
    """Measure a model on all sets, in each JPEG quality."""
    from a2f.evaluation.jpeg import compressed
    from a2f.evaluation.score import score_set

    scores = []
    for (title, items), quality in product(sets.items(), qualities):
        score = score_set(
            entrant.method(items, data=title, scale=scale),
            compressed(items, quality),
            model=entrant.name,
            data=title,
            scale=scale,
            metrics=metrics,
            save=None if save is None else save / kept_as(entrant.name, entrant.runs) / _folder_of(title, quality),
            lpips=lpips,
            jpeg_quality=quality,
        )
        scores.append(replace(score, ensemble=entrant.runs, about=entrant.about))
    return scores
