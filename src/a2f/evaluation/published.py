"""Figures printed in the paper: Tables 5 (LPIPS) and 6 of Wang et al., ACCV 2020, all methods."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.resources import files

from a2f.peers import PEERS

METHODS = {"s": "A²F-S", "sd": "A²F-SD", "m": "A²F-M", "l": "A²F-L"}
SETS = ("Set5", "Set14", "B100", "Urban100", "Manga109")
PICTURES = {
    "Set5": 5,
    "Set14": 14,
    "B100": 100,
    "Urban100": 100,
    "Manga109": 109,
}  # number of pictures in each set of the paper
OTHER_NAMES = {"bsd100": "B100", "bsds100": "B100"}  # common folder names -> name of the set
SOURCE = "Tables 5 (LPIPS) and 6 of Wang et al., ACCV 2020"
LPIPS_SCALE = 4  # scale of Table 5


@dataclass(frozen=True, kw_only=True, eq=False)
class Published:
    """The printed row of a method at a scale.

    Attributes:
        scale: 2, 3 or 4.
        method: printed name, e.g. "CARN-M".
        parameters_k: thousands of parameters.
        multi_adds_g: Multi-Adds for 1280x720 output, 10^9; an int if printed without decimals, so that `str` gives
            the printed text; None if the table has none.
        figures: set -> PSNR-Y in dB and SSIM-Y; only the sets in the table.
        lpips: set -> LPIPS; only the sets in Table 5.
    """

    scale: int
    method: str
    parameters_k: int
    multi_adds_g: float | None
    figures: dict[str, tuple[float, float]]
    lpips: Mapping[str, float] = field(default_factory=dict)

    def value(self, data: str, metric: str) -> float | None:
        """A printed figure; None if there is none.

        Args:
            data: name of a set, or of its folder: "Set5", "bsd100".
            metric: "psnr_y", "ssim_y" or "lpips"; other metrics have no figures.
        """
        name = set_name(data)
        psnr, ssim = self.figures.get(name, (None, None))
        return {"psnr_y": psnr, "ssim_y": ssim, "lpips": self.lpips.get(name)}.get(metric)

    @property
    def label(self) -> str:
        """The label for a table: name, parameters, Multi-Adds."""
        cost = "" if self.multi_adds_g is None else f", {self.multi_adds_g}G"
        return f"{self.method} x{self.scale} ({self.parameters_k}K{cost})"


def set_name(data: str) -> str:
    """The paper's name of a set, e.g. "B100" for the folder "bsd100"; other names are returned unchanged."""
    plain = {name.lower(): name for name in SETS} | OTHER_NAMES
    return plain.get(data.lower(), data)


def why_not_comparable(data: str, pictures: int) -> str | None:
    """Why the figures of the paper are not comparable with those of a set.

    Args:
        data: name of the set, or of its folder.
        pictures: number of pictures in the set.

    Returns:
        A readable reason; None if the set has as many pictures as in the paper, or is not in `SETS`.
    """
    expected = PICTURES.get(set_name(data), pictures)
    if pictures == expected:
        return None
    have = f"{pictures} picture" + ("" if pictures == 1 else "s")
    return f"{data} here has {have}, the set of the paper has {expected}: not comparable"


@cache
def table_6() -> tuple[Published, ...]:
    """The rows of Table 6, in the printed order."""
    return tuple(_row(cells) for cells in _cells("table6.tsv"))


@cache
def printed() -> tuple[Published, ...]:
    """The rows of Table 6 with the LPIPS of Table 5, then the rows that are only in Table 5 (IMDN)."""
    lpips = {cells["method"]: {name: float(cells[name]) for name in SETS if cells[name] != "-"} for cells in _table_5()}
    rows = [replace(row, lpips=lpips.get(row.method, {}) if row.scale == LPIPS_SCALE else {}) for row in table_6()]
    known = {row.method for row in rows if row.scale == LPIPS_SCALE}
    alone = [
        Published(
            scale=LPIPS_SCALE,
            method=cells["method"],
            parameters_k=int(cells["parameters_k"]),
            multi_adds_g=None,
            figures={},
            lpips=lpips[cells["method"]],
        )
        for cells in _table_5()
        if cells["method"] not in known
    ]
    return (*rows, *alone)


def _table_5() -> list[dict[str, str]]:
    return _cells("table5.tsv")


def _cells(file: str) -> list[dict[str, str]]:
    lines = (files("a2f.evaluation") / file).read_text(encoding="utf-8").splitlines()
    head, *rows = (line.split("\t") for line in lines if not line.startswith("#"))
    return [dict(zip(head, row, strict=True)) for row in rows]


def _row(cells: dict[str, str]) -> Published:
    pairs = {name: cells[name].split("/") for name in SETS if cells[name] != "-"}
    return Published(
        scale=int(cells["scale"]),
        method=cells["method"],
        parameters_k=int(cells["parameters_k"]),
        multi_adds_g=_as_printed(cells["multi_adds_g"]),
        figures={name: (float(psnr), float(ssim)) for name, (psnr, ssim) in pairs.items()},
    )


def _as_printed(text: str) -> float | None:
    """Read a number so that `str` gives its text again; None for a dash."""
    return None if text == "-" else float(text) if "." in text else int(text)


def published(network: str | None, *, scale: int) -> Published | None:
    """The paper's row of a network.

    Args:
        network: "s", "sd", "m", "l" or a key of `PEERS`; None and other names have no row.
        scale: 2, 3 or 4.
    """
    name = network or ""
    method = METHODS.get(name) or (PEERS[name].title if name in PEERS else None)
    return next((row for row in printed() if (row.method, row.scale) == (method, scale)), None)
