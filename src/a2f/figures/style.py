"""The style of all figures, and how to write them."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from a2f.errors import ImageWriteError, MissingExtraError, UsageError

# Colours of Okabe and Ito for colour-blind readers; markers and dashes differ too.
BLUE, ORANGE, GREEN, RED, PURPLE, BLACK = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#000000"
GREY, FAINT = "#666666", "#DDDDDD"
COLOURS = (BLUE, RED, GREEN, PURPLE, ORANGE, BLACK)  # of curves, in order
DASHES = ("-", "--", "-.", ":")  # of curves, in order: they distinguish curves in grey
FACTOR_LINES = {"res": (RED, "o", "-"), "att": (BLUE, "s", "--"), "x": (ORANGE, "^", ":")}  # of the λ (Eq. 9)
FACTOR_NAMES = {"res": r"$\lambda^{res}$", "att": r"$\lambda^{att}$", "x": r"$\lambda^{x}$"}
COLUMN_IN, PAGE_IN = 3.4, 7.0  # widths of one and two journal columns, inches
FONT_PT = 8
SUFFIXES = (".svg", ".pdf", ".png")
DPI = 300  # of PNG
SETTINGS: Any = {  # the exact type would list every key of matplotlib
    "figure.dpi": 72,  # the resolution of SVG and PDF, so that measured sizes are correct for them
    "font.size": FONT_PT,
    "font.family": "DejaVu Sans",  # part of matplotlib, so text has one size on every machine
    "axes.linewidth": 0.6,
    "axes.titlesize": FONT_PT,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "lines.linewidth": 1.0,
    "legend.frameon": False,
    "svg.hashsalt": "a2f",  # reproducible names inside the file
    "pdf.fonttype": 42,  # TrueType fonts, because journals reject type 3
}


@contextmanager
def drawing(*, width_in: float, height_in: float) -> Iterator[Any]:
    """Open a matplotlib figure in the common style.

    Args:
        width_in: width, inches.
        height_in: height, inches.

    Raises:
        MissingExtraError: if matplotlib is not installed.
    """
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError(f"figures need matplotlib: pip install 'a2f[train]' ({error})") from error
    with rc_context(SETTINGS):
        yield Figure(figsize=(width_in, height_in), layout="constrained")


def draw_grid(axis: Any) -> None:
    """Draw a light grid behind the data."""
    axis.grid(color=FAINT, linewidth=0.4)
    axis.set_axisbelow(True)


def save(figure: Any, output: Path) -> None:
    """Write a figure; equal figures give equal bytes.

    Args:
        figure: the figure of an open `drawing`.
        output: .svg, .pdf or .png.

    Raises:
        UsageError: for another suffix.
        ImageWriteError: if the file cannot be written.
    """
    kind = output.suffix.lower()
    if kind not in SUFFIXES:
        raise UsageError(f"{output}: a figure has the suffix {', '.join(SUFFIXES)}: give such a name with -o")
    dated = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(output, dpi=DPI, metadata=dated.get(kind))
    except OSError as error:
        raise ImageWriteError(f"cannot write {output}: {error}") from error
