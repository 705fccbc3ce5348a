"""The style of the pictures of the benchmark pages: SVG, and PNG for programs that cannot show SVG."""

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
    """Yield a figure, then write it as name.svg and name.png.

    Args:
        name: name of the files in docs/images, without suffix.
        height_in: height in inches; the width is that of a page.
    """
    with drawing(width_in=WIDTH_IN, height_in=height_in) as figure:
        yield figure
        for kind in KINDS:
            save(figure, IMAGES / Path(name + kind))
