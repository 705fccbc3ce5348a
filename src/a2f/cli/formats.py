"""``a2f formats``."""

from typing import TYPE_CHECKING

import click

from a2f.cli.console import print_table

if TYPE_CHECKING:
    from a2f.imageio.formats import Format

EPILOG = """\b
Columns:
  bits     largest number per channel; float: floating point, also brighter than white
  alpha    on/off: a pixel is fully transparent or not
  colours  icc: a profile is kept; cicp: code points too, with HDR (PQ, HLG);
           icc8: a profile is kept with 8 bits per channel, otherwise colours become sRGB
  EXIF, XMP, IPTC, dpi
           whether they are kept; dpi is the resolution
  also     aspect: pixels that are not square; comments; gain map: of Ultra HDR;
           tags: names and GeoTIFF; texts: tEXt, zTXt and iTXt;
           data: a channel that is not alpha
  loss     default quality, from 1 to 100; 100!: lossless at 100
  side     the longest possible side, in pixels; -: 2 billion
  needs    the extra to install with pip: a2f[formats]

\b
Examples:
  a2f formats
  a2f formats --markdown      the table of docs/formats.md
"""
HEAD = ("format", "suffixes", "bits", "alpha", "colours", "EXIF", "XMP", "IPTC", "dpi", "also", "loss", "side", "needs")


@click.command(epilog=EPILOG)
@click.option("--markdown", is_flag=True, help="Print a Markdown table.")
def formats(markdown: bool) -> None:
    """List the supported file formats and the properties that each can store.

    If a format cannot store a property, a2f stops with an error or prints a note.
    """
    from a2f.imageio.formats import FORMATS

    rows = [_row(entry) for entry in FORMATS.values()]
    if markdown:
        for row in [HEAD, ("---",) * len(HEAD), *rows]:
            click.echo(f"| {' | '.join(row)} |")
        return
    print_table(HEAD, rows)


def _row(entry: "Format") -> tuple[str, ...]:
    bits = f"{entry.bits}, float" if entry.floats else str(entry.bits)
    alpha = "-" if not entry.alpha else "yes" if entry.soft else "on/off"
    profile = "-" if not entry.icc else "icc" if entry.deep_icc else "icc8"
    colours = f"{profile}, cicp" if entry.cicp else profile
    kept = ["yes" if kind in entry.metadata else "-" for kind in ("exif", "xmp", "iptc")]
    loss = "-" if entry.quality is None else f"{entry.quality}, 100!" if entry.lossless else str(entry.quality)
    side = f"{entry.max_side:,}" if entry.max_side < 2**31 - 1 else "-"
    needs = "formats" if entry.extra else "-"
    dpi = "yes" if entry.dpi else "-"
    also = ", ".join([*entry.also, *(["data"] if entry.data_band else [])]) or "-"
    return entry.name, " ".join(entry.suffixes), bits, alpha, colours, *kept, dpi, also, loss, side, needs
