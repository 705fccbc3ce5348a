"""Tables 2 to 5 as printed in the paper; Table 6 is in `a2f.evaluation.published`."""

from functools import cache
from importlib.resources import files
from pathlib import Path

FOLDER = Path(__file__).with_name("as_printed")
Row = dict[str, str]


@cache
def printed_table(number: int) -> tuple[Row, ...]:
    """The rows of a table, with cells as text; "-" for an empty cell.

    Args:
        number: 2, 3, 4 or 5.
    """
    source = files("a2f.evaluation") / "table5.tsv" if number == 5 else FOLDER / f"table{number}.tsv"
    lines = source.read_text(encoding="utf-8").splitlines()
    head, *rows = (line.split("\t") for line in lines if line and not line.startswith("#"))
    return tuple(dict(zip(head, row, strict=True)) for row in rows)
