"""``a2f figure``: draw the figures of the paper."""

import math
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from a2f.cli.parameters import (
    among,
    check_output,
    compared_scale_option,
    complete_model,
    complete_scale,
    convention_options,
    own_network_option,
)

if TYPE_CHECKING:
    from a2f.figures.cost import Point
    from a2f.figures.factors import Panel
    from a2f.sheets import Crop

EPILOG = """\b
Examples:
  a2f figure cost -o figure1.svg               PSNR against cost, Manga109 x2
  a2f figure cost --set Set5 -s 4 --measured sd=31.86 --point Mine=31.9,250,14.2 -o set5.pdf
  a2f figure network s -s 4 -o figure2.svg     the architecture
  a2f figure factors sd runs/mine/best.safetensors -o figure3.svg
  a2f figure crops bicubic sd IDN=idn_x4.safetensors --data sets/Set14 --picture barbara -o f4.pdf
  a2f figure crops sd CARN=carn/ -s 4 --data Set14 --picture barbara:560,40,120,80 -o f4.svg
"""
_SCALE = click.option(
    "-s",
    "--scale",
    type=int,
    default=4,
    show_default=True,
    metavar="N",
    shell_complete=complete_scale,
    help="2, 3 or 4.",
)


def _output_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add -o and --overwrite; the output is checked before anything is drawn."""

    @wraps(command)
    def checked(*, output: Path, overwrite: bool, **given: Any) -> None:
        from a2f.figures.style import SUFFIXES

        check_output(output, *SUFFIXES, overwrite=overwrite)
        command(output=output, **given)

    replaced = click.option("--overwrite", is_flag=True, help="Replace an existing output.")(checked)
    written = click.option(
        "-o", "--output", type=Path, required=True, metavar="FILE", help="The file to write: .svg, .pdf or .png."
    )
    return written(replaced)


@click.group(epilog=EPILOG)
def figure() -> None:
    """Draw the figures of the paper: SVG and PDF for print. Needs the extra `train`."""


class MeasuredType(click.ParamType):  # type: ignore[type-arg,unused-ignore]
    """MODEL=DB."""

    name = "MODEL=DB"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, float]:
        """Read sd=31.86."""
        from a2f.variants import VARIANTS

        model, _, psnr = str(value).partition("=")
        try:
            number = float(psnr)
        except ValueError:
            number = -1.0
        if model not in VARIANTS or not 0 < number < 100:
            self.fail(f"{value!r}: write it as sd=31.86, with one of {', '.join(VARIANTS)}", param, ctx)
        return model, number


class PointType(click.ParamType):  # type: ignore[type-arg,unused-ignore]
    """NAME=DB,K[,G]."""

    name = "NAME=DB,K[,G]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> "Point":
        """Read Mine=31.9,250,14.2."""
        from a2f.figures.cost import ADDED, Point

        label, _, text = str(value).partition("=")
        try:
            numbers = [float(number) for number in text.split(",")]
        except ValueError:
            numbers = []
        if not label or len(numbers) not in (2, 3) or not all(0 < number < math.inf for number in numbers):
            told = "PSNR-Y in dB, thousands of parameters, and 10^9 Multi-Adds if known"
            self.fail(f"{value!r}: write it as Mine=31.9,250,14.2 ({told})", param, ctx)
        operations = numbers[2] if len(numbers) == 3 else None
        return Point(name=label, psnr_y=numbers[0], parameters_k=numbers[1], multi_adds_g=operations, kind=ADDED)


class PictureType(click.ParamType):  # type: ignore[type-arg,unused-ignore]
    """NAME or NAME:X,Y,W,H."""

    name = "NAME[:X,Y,W,H]"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> "tuple[str, Crop | None]":
        """Read barbara:560,40,120,80."""
        picture, colon, numbers = str(value).partition(":")
        if not colon:
            return picture, None
        parts = numbers.split(",")
        if len(parts) != 4 or not all(part.strip().isdecimal() for part in parts):
            self.fail(f"{value!r}: write it as barbara:560,40,120,80 (x, y, width, height in HR pixels)", param, ctx)
        x, y, w, h = (int(part) for part in parts)
        return picture, (x, y, w, h)


@figure.command()
@click.option(
    "--set",
    "data",
    default="Manga109",
    show_default=True,
    shell_complete=among("Set5", "Set14", "B100", "Urban100", "Manga109"),
    help="Set5, Set14, B100, Urban100 or Manga109.",
)
@click.option(
    "-s",
    "--scale",
    type=int,
    default=2,
    show_default=True,
    metavar="N",
    shell_complete=complete_scale,
    help="2, 3 or 4.",
)
@click.option("--measured", type=MeasuredType(), multiple=True, help="Add weights of s, sd, m or l: PSNR-Y in dB.")
@click.option(
    "--point",
    "added",
    type=PointType(),
    multiple=True,
    help="Add a network: PSNR-Y in dB, thousands of parameters, 10^9 Multi-Adds (a2f profile).",
)
@_output_options
def cost(
    data: str, scale: int, measured: tuple[tuple[str, float], ...], added: "tuple[Point, ...]", output: Path
) -> None:
    """Draw Figure 1: PSNR against cost.

    The methods are those of Table 6 of the paper, with their printed figures: PSNR against parameters, and against
    Multi-Adds. `--measured` and `--point` add your own.
    """
    from a2f.figures.cost import draw_cost

    draw_cost(data, scale=scale, measured=dict(measured), added=added, output=output)
    click.echo(f"{output}", err=True)


@figure.command()
@click.argument("model", default="s")
@_SCALE
@_output_options
def network(model: str, scale: int, output: Path) -> None:
    """Draw Figure 2: the architecture of s, sd, m or l.

    For deep networks, the first two blocks and the last are drawn.
    """
    from a2f.figures.network import draw_network
    from a2f.variants import config_of

    draw_network(config_of(model, scale=scale), output=output)
    click.echo(f"{output}", err=True)


@figure.command()
@click.argument("models", nargs=-1, metavar="[MODEL...]")
@_output_options
def factors(models: tuple[str, ...], output: Path) -> None:
    """Draw Figure 3: the three λ of each block.

    MODEL is a weights file of A²F (.safetensors), a checkpoint of the authors (.pt), or the name of a shipped model,
    for all its scales. Without MODEL, all shipped models are drawn. Other networks have no λ.
    """
    from a2f.figures.factors import draw_factors
    from a2f.weights import shipped_models

    names = models or tuple(dict.fromkeys(m.name for m in shipped_models() if m.kind == "clean"))
    panels = [panel for name in names for panel in _panels(name)]
    draw_factors(panels, output=output)
    click.echo(f"{output}", err=True)


def _panels(name: str) -> "list[Panel]":
    from a2f.errors import UnknownModelError, WeightsError
    from a2f.figures.factors import panel_of
    from a2f.peers.files import network_in
    from a2f.weights import read_weights, shipped_models

    if Path(name).suffix == ".pt":
        from a2f.model.official import convert_official

        return [panel_of(convert_official(Path(name)), whose="authors")]
    if Path(name).suffix == ".safetensors":
        if (other := network_in(name)) is not None:
            raise WeightsError(
                f"{name} holds {other}, and only A²F has the three λ that Figure 3 shows: give a weights file of A²F"
                " (.safetensors), a checkpoint of the authors (.pt), or the name of a shipped model (a2f models)"
            )
        return [panel_of(read_weights(Path(name)), whose=Path(name).stem)]
    shipped = {m.name: [n for n in shipped_models() if n.name == m.name] for m in shipped_models()}
    if name not in shipped:
        raise UnknownModelError(f"unknown model {name!r}: give a weights file, or one of {', '.join(shipped)}")
    return [panel_of(read_weights(model.path), whose="a2f") for model in shipped[name]]


@figure.command()
@click.argument("models", nargs=-1, required=True, metavar="MODEL...", shell_complete=complete_model)
@compared_scale_option
@click.option("--data", type=Path, required=True, metavar="DIR", help="Folder of the set, as for `a2f eval`.")
@click.option("--picture", "pictures", type=PictureType(), multiple=True, required=True, help="Picture and crop.")
@own_network_option
@convention_options
@_output_options
def crops(
    models: tuple[str, ...],
    scale: int | None,
    data: Path,
    pictures: "tuple[tuple[str, Crop | None], ...]",
    network: str | None,
    output: Path,
    **convention: Any,
) -> None:
    """Draw Figure 4: crops of pictures, enlarged by each method.

    MODEL is what `a2f eval` takes: bicubic, a shipped model, a weights file, the file of another network, a folder of
    finished enlargements, or NAME=MODEL. A frame in the picture shows the position of the crop. The numbers are PSNR-Y
    in dB and SSIM-Y of the whole picture; bold marks the best PSNR-Y of the picture. Without X,Y,W,H the part with the
    most detail is shown.
    """
    from a2f.cli.entrants import names_of, open_entrant, scale_of
    from a2f.errors import UsageError
    from a2f.evaluation.sets import load_set
    from a2f.figures.crops import draw_crops, scene_of

    named = names_of(models)
    scale = scale_of(list(named.values()), scale, **convention)
    items = {item.name: item for item in load_set(data, scale=scale)}
    unknown = [name for name, _ in pictures if name not in items]
    if unknown:
        raise UsageError(f"{data} has no picture {unknown[0]!r}: choose from {', '.join(items)}")
    title = data.resolve().name
    methods = {
        name: open_entrant(name, model, scale=scale, network=network, **convention).method(
            list(items.values()), data=title, scale=scale
        )
        for name, model in named.items()
    }
    scenes = [scene_of(items[name], methods, data=title, scale=scale, crop=crop) for name, crop in pictures]
    draw_crops(scenes, scale=scale, output=output)
    click.echo(f"{output}", err=True)
