"""A sheet of crops: one row per picture and LR condition, one column per model, LR first, the original last."""

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from a2f.errors import UsageError
from a2f.evaluation.jpeg import Quality, compressed, condition
from a2f.evaluation.score import Method, enlarged
from a2f.evaluation.sets import Image, Item
from a2f.lettering import draw_text
from a2f.metrics import psnr_y
from a2f.sheets import FAINT, GAP, INK, MARGIN, PAPER, SMALL, Crop, detailed_crops, fit_text

if TYPE_CHECKING:
    from PIL.Image import Image as Sheet
    from PIL.ImageDraw import ImageDraw as Pen

CROP_PX = (80, 60)  # pixels of the original
CELL_PX = (240, 180)
TITLE, TITLE_PX, FOOT_PX = 16, 30, 22
CHARACTER_PX = 8  # approximate width of a character of the small font
PICTURES = 2  # default number of pictures


@dataclass(frozen=True, kw_only=True)
class SheetRow:
    """A row of the sheet.

    Attributes:
        item: the picture, with its LR image in the condition of the row.
        quality: JPEG quality of the LR image.
        crop: x, y, width and height of the crop in HR pixels, all multiples of the scale.
    """

    item: Item
    quality: Quality
    crop: Crop


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A crop [h, w, 3] uint8, and the caption below it."""

    image: Image
    foot: str


def sheet_rows(
    items: Sequence[Item], *, scale: int, qualities: Sequence[Quality], pictures: Sequence[str] = ()
) -> list[SheetRow]:
    """Make the rows of a sheet: each picture in each condition, with one crop where the original has much detail.

    Args:
        items: images of `load_set`.
        scale: s.
        qualities: JPEG qualities of LR, in order.
        pictures: names of items; by default two items spread over the set.

    Raises:
        UsageError: for a name that the set does not have.
    """
    by_name = {item.name: item for item in items}
    unknown = [name for name in pictures if name not in by_name]
    if unknown:
        raise UsageError(f"the set has no picture {unknown[0]!r}: choose from {', '.join(by_name)}")
    spread = dict.fromkeys((2 * k + 1) * len(items) // (2 * PICTURES) for k in range(PICTURES))
    chosen = [by_name[name] for name in pictures] or [items[i] for i in spread]
    crops = {item.name: _crop_of(item.hr, scale) for item in chosen}
    return [
        SheetRow(item=made, quality=quality, crop=crops[item.name])
        for item in chosen
        for quality in qualities
        for made in compressed([item], quality)
    ]


def _crop_of(hr: Image, scale: int) -> Crop:
    """A crop around the most detailed part, aligned to LR pixels."""
    x, y, w, h = detailed_crops(hr)[0]
    width, height = (min(most, side) // scale * scale for most, side in zip(CROP_PX, hr.shape[1::-1], strict=True))
    left = min(max(0, x + (w - width) // 2), hr.shape[1] - width) // scale * scale
    top = min(max(0, y + (h - height) // 2), hr.shape[0] - height) // scale * scale
    return left, top, width, height


def cells_of(rows: Sequence[SheetRow], method: Method, *, scale: int) -> list[Cell]:
    """Make a column of the sheet: the crop of the enlargement of each row, and the PSNR-Y of the whole picture.

    Args:
        rows: rows of `sheet_rows`.
        method: the model, or its finished enlargements; None is bicubic.
        scale: s.

    Raises:
        InputError: if the upscaler gives NaN.
    """
    cells = []
    for row in rows:
        sr = enlarged(row.item, method, scale=scale)
        psnr = psnr_y(sr, row.item.hr, border=scale)
        cells.append(Cell(image=_cut(sr, row.crop), foot=f"{psnr:.2f} dB"))
    return cells


def _cut(image: Image, crop: Crop) -> Image:
    x, y, w, h = crop
    return image[y : y + h, x : x + w].copy()  # a copy, so that the whole image is not kept in memory


def draw_crops(rows: Sequence[SheetRow], columns: Mapping[str, Sequence[Cell]], *, scale: int, note: str) -> "Sheet":
    """Draw the sheet.

    Args:
        rows: rows of `sheet_rows`.
        columns: model -> its cells from `cells_of`, from left to right.
        scale: s.
        note: text at the bottom, wrapped into lines.

    Returns:
        A PIL image in RGB.
    """
    from PIL import Image as Pillow
    from PIL import ImageDraw

    lr = [_lr_cell(row, scale) for row in rows]
    hr = [Cell(image=_cut(row.item.hr, row.crop), foot="") for row in rows]
    every = {f"LR, each pixel shown {scale} x {scale}": lr, **columns, "original": hr}
    across, down = CELL_PX[0] + GAP, CELL_PX[1] + FOOT_PX + GAP
    width = 2 * MARGIN + len(every) * across - GAP
    lines = textwrap.wrap(note, (width - 2 * MARGIN) // CHARACTER_PX)
    total = width, 2 * MARGIN + TITLE_PX + len(rows) * down + len(lines) * FOOT_PX
    sheet = Pillow.new("RGB", total, PAPER)
    pen = ImageDraw.Draw(sheet)
    for column, (name, cells) in enumerate(every.items()):
        left = MARGIN + column * across
        draw_text(pen, (left, MARGIN), fit_text(name, TITLE, CELL_PX[0]), size=TITLE, fill=INK)
        for row, cell in enumerate(cells):
            _draw_cell(sheet, pen, cell, (left, MARGIN + TITLE_PX + row * down))
    for number, line in enumerate(reversed(lines)):
        draw_text(pen, (MARGIN, total[1] - MARGIN - (number + 1) * FOOT_PX), line, size=SMALL, fill=FAINT)
    return sheet


def _lr_cell(row: SheetRow, scale: int) -> Cell:
    x, y, w, h = (side // scale for side in row.crop)
    large = _cut(row.item.lr, (x, y, w, h)).repeat(scale, 0).repeat(scale, 1)
    return Cell(image=large, foot=f"{row.item.name}, {condition(row.quality)}")


def _draw_cell(sheet: "Sheet", pen: "Pen", cell: Cell, at: tuple[int, int]) -> None:
    """Draw a crop, enlarged by a whole factor if it fits, and its caption."""
    from PIL import Image as Pillow

    height, width = cell.image.shape[:2]
    factor = max(1, min(CELL_PX[0] // width, CELL_PX[1] // height))
    large = Pillow.fromarray(cell.image).resize((width * factor, height * factor), Pillow.Resampling.NEAREST)
    sheet.paste(large, at)
    foot = fit_text(cell.foot, SMALL, CELL_PX[0])
    draw_text(pen, (at[0], at[1] + CELL_PX[1] + 3), foot, size=SMALL, fill=FAINT)
