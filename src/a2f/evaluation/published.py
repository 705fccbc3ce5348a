"""Figures as the paper prints them: Table 6 of Wang et al., ACCV 2020, all methods."""

from dataclasses import dataclass
from functools import cache
from importlib.resources import files

METHODS = {"s": "A²F-S", "sd": "A²F-SD", "m": "A²F-M", "l": "A²F-L"}
SETS = ("Set5", "Set14", "B100", "Urban100", "Manga109")
SOURCE = "Table 6 of Wang et al., ACCV 2020"


@dataclass(frozen=True, kw_only=True, eq=False)
class Published:
    """One row of the table.

    Attributes:
        scale: 2, 3 or 4.
        method: as printed, e.g. "CARN-M".
        parameters_k: thousands of parameters.
        multi_adds_g: Multi-Adds to 1280x720, 10^9; None where the table has none.
        figures: set -> PSNR-Y in dB and SSIM-Y; without the sets that the table leaves out.
    """

    scale: int
    method: str
    parameters_k: int
    multi_adds_g: float | None
    figures: dict[str, tuple[float, float]]

    @property
    def label(self) -> str:
        """For a table: name, parameters, Multi-Adds."""
        cost = "" if self.multi_adds_g is None else f", {self.multi_adds_g:g}G"
        return f"{self.method} x{self.scale} ({self.parameters_k}K{cost})"


@cache
def table_6() -> tuple[Published, ...]:
    """All rows, in the order of the table."""
    lines = (files("a2f.evaluation") / "table6.tsv").read_text(encoding="utf-8").splitlines()
    head, *rows = (line.split("\t") for line in lines if not line.startswith("#"))
    return tuple(_row(dict(zip(head, row, strict=True))) for row in rows)


def _row(cells: dict[str, str]) -> Published:
    pairs = {name: cells[name].split("/") for name in SETS if cells[name] != "-"}
    return Published(
        scale=int(cells["scale"]),
        method=cells["method"],
        parameters_k=int(cells["parameters_k"]),
        multi_adds_g=None if cells["multi_adds_g"] == "-" else float(cells["multi_adds_g"]),
        figures={name: (float(psnr), float(ssim)) for name, (psnr, ssim) in pairs.items()},
    )


def published(variant: str, *, scale: int) -> Published | None:
    """The paper's row of one of its own networks, "s", "sd", "m" or "l"; None for another name."""
    found = (row for row in table_6() if (row.method, row.scale) == (METHODS.get(variant), scale))
    return next(found, None)
