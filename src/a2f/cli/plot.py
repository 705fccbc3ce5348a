"""``a2f plot``."""

from pathlib import Path

import click

from a2f.cli.parameters import check_output

EPILOG = """\b
Examples:
  a2f plot runs/sd_x4                          RUN/curves.png
  a2f plot runs/a runs/b sd.safetensors -o compared.svg
"""


@click.command(epilog=EPILOG)
@click.argument("runs", nargs=-1, required=True, type=Path, metavar="RUN...")
@click.option(
    "-o", "--output", type=Path, metavar="FILE", help="The plot: .png, .svg or .pdf.  [default: RUN/curves.png]"
)
@click.option("--overwrite", is_flag=True, help="Replace an existing FILE. RUN/curves.png is always replaced.")
def plot(runs: tuple[Path, ...], output: Path | None, overwrite: bool) -> None:
    """Plot the curves of training runs, and the λ of each block (Figure 3 of the paper).

    RUN is the folder of a run of `a2f train`, or a weights file, whose λ are plotted. Several runs are plotted
    together; they need -o. Needs the extra `train`.
    """
    sources = list(dict.fromkeys(runs))
    if output is None and (len(sources) > 1 or sources[0].is_file()):
        raise click.UsageError("give an output: -o OUT.png, OUT.svg or OUT.pdf")
    from a2f.figures.curves import plot_runs
    from a2f.figures.style import SUFFIXES
    from a2f.sheets import distinct_labels

    if output is not None:
        check_output(output, *SUFFIXES, overwrite=overwrite)
    target = output or sources[0] / "curves.png"
    labels = distinct_labels([source.resolve() for source in sources])
    for note in plot_runs(dict(zip(labels, sources, strict=True)), output=target):
        click.echo(note, err=True)
    click.echo(f"{target}", err=True)
