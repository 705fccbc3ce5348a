"""How the pictures of the benchmark pages look: SVG for the reader, PNG beside it for what shows no SVG."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from a2f.figures.style import drawing, save
from benchmarks.markdown import ROOT

IMAGES = ROOT / "docs" / "images"
KINDS = (".svg", ".png")
WIDTH_IN = 7.0


@contextmanager
def picture(name: str, *, height_in: float) -> Iterator[Any]:
    """A figure that is written as name.svg and name.png when it is drawn.

    Args:
        name: of the files in docs/images.
        height_in: inches; the width is that of a page.
    """
    with drawing(width_in=WIDTH_IN, height_in=height_in) as figure:
        yield figure
        for kind in KINDS:
            save(figure, IMAGES / Path(name + kind))
