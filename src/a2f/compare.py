"""Sheets that lay pictures of one scene side by side, with crops enlarged."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from a2f.errors import InputError
from a2f.imageio import read_image
from a2f.metrics import psnr_y

if TYPE_CHECKING:
    from PIL.Image import Image as Sheet

Image = NDArray[np.uint8]
Crop = tuple[int, int, int, int]

PAPER, INK, FAINT, FRAMES = (
    (250, 250, 248),
    (28, 28, 30),
    (120, 120, 124),
    ((255, 190, 0), (52, 138, 189), (70, 160, 90)),
)
MARGIN, GAP, CELL_PX, TITLE_PX = 36, 16, 360, 58


@dataclass(frozen=True, kw_only=True)
class _Entry:
    """One picture on the sheet, brought to the common size."""

    label: str
    detail: str
    image: Image


def load_rgb(path: Path) -> Image:
    """An image file as [H, W, 3] uint8; transparency on white, 16 bits rounded to 8. Errors as `read_image`."""
    pixels = read_image(path).pixels
    top = np.iinfo(pixels.dtype).max
    values = pixels.astype(np.float64) / top
    if values.shape[2] in (2, 4):
        alpha = values[..., -1:]
        values = values[..., :-1] * alpha + 1 - alpha
    rgb = values if values.shape[2] == 3 else values.repeat(3, axis=2)
    return np.floor(rgb * 255 + 0.5).astype(np.uint8)


def compare_sheet(
    pictures: Sequence[tuple[str, Image]], *, hr: Image | None = None, crops: Sequence[Crop] = ()
) -> "Sheet":
    """Draw the sheet.

    Args:
        pictures: label and [H, W, 3] uint8, of one scene; smaller ones are enlarged by bicubic for the display.
        hr: the original, [H, W, 3] uint8; it stands last, and the label of each picture of its size tells its PSNR-Y.
        crops: x, y, width and height in pixels of the largest picture; by default two spots rich in detail.

    Returns:
        A PIL image in RGB.

    Raises:
        InputError: if there is no picture, the proportions differ, or a crop lies outside.
    """
    if not pictures:
        raise InputError("nothing to compare: give at least one picture")
    everything = [image for _, image in pictures] + ([hr] if hr is not None else [])
    height, width = max((image.shape[:2] for image in everything), key=lambda s: s[0] * s[1])
    entries = [_entry(label, image, (width, height), hr) for label, image in pictures]
    if hr is not None:
        entries.append(_entry("original", hr, (width, height), None))
    spots = list(crops) or _detailed_spots(entries[-1].image)
    for x, y, w, h in spots:
        if w < 1 or h < 1 or x + w > width or y + h > height:
            raise InputError(f"crop {x},{y},{w},{h} lies outside the {width} x {height} pixels of the largest picture")
    return _draw(entries, spots)


def _entry(label: str, image: Image, size: tuple[int, int], hr: Image | None) -> _Entry:
    from PIL import Image as Pillow

    own = (image.shape[1], image.shape[0])
    if abs(own[0] * size[1] - own[1] * size[0]) > max(size) * 2 * max(1, size[0] // own[0]):
        raise InputError(
            f"{label} has {own[0]} x {own[1]} pixels, other proportions than {size[0]} x {size[1]}: not one scene"
        )
    detail = f"{own[0]} x {own[1]}"
    if own != size:
        factor = size[0] / own[0]
        image = np.asarray(Pillow.fromarray(image).resize(size, Pillow.Resampling.BICUBIC))
        detail += f", shown {factor:.3g} times by bicubic"
    if hr is not None and hr.shape == image.shape:
        border = 4 if min(hr.shape[:2]) > 16 else 0
        detail += f", PSNR-Y {psnr_y(image, hr, border=border):.2f} dB"
    return _Entry(label=label, detail=detail, image=image)


def _detailed_spots(image: Image) -> list[Crop]:
    """Two crops with much fine detail, apart from each other."""
    height, width = image.shape[:2]
    h, w = max(1, min(height, max(height // 5, 48))), max(1, min(width, max(width // 5, 64)))
    grey = image.astype(np.float64).mean(2)
    energy = np.abs(np.diff(grey, axis=1, prepend=grey[:, :1])) + np.abs(np.diff(grey, axis=0, prepend=grey[:1]))
    sums = np.pad(np.minimum(energy, 60), ((1, 0), (1, 0))).cumsum(0).cumsum(1)
    boxes = sums[h:, w:] - sums[:-h, w:] - sums[h:, :-w] + sums[:-h, :-w]
    spots: list[Crop] = []
    for _ in range(2):
        y, x = np.unravel_index(int(boxes.argmax()), boxes.shape)
        spots.append((int(x), int(y), w, h))
        boxes = boxes.copy()
        boxes[max(0, y - h) : y + h, max(0, x - w) : x + w] = -1
        if boxes.max() < 0:
            break
    return spots


def _draw(entries: list[_Entry], spots: list[Crop]) -> "Sheet":
    from PIL import Image, ImageDraw, ImageFont

    height, width = entries[0].image.shape[:2]
    whole = (CELL_PX, max(1, round(CELL_PX * height / width)))
    rows = [whole] + [(CELL_PX, max(1, round(CELL_PX * h / w))) for _, _, w, h in spots]
    total = (
        2 * MARGIN + len(entries) * CELL_PX + (len(entries) - 1) * GAP,
        2 * MARGIN + TITLE_PX + sum(row[1] for row in rows) + len(spots) * GAP,
    )
    sheet = Image.new("RGB", total, PAPER)
    pen = ImageDraw.Draw(sheet)
    bold, small = ImageFont.load_default(20), ImageFont.load_default(14)
    for column, entry in enumerate(entries):
        left, top = MARGIN + column * (CELL_PX + GAP), MARGIN
        pen.text((left, top - 4), _fit(entry.label, bold, CELL_PX), fill=INK, font=bold)
        pen.text((left, top + 24), _fit(entry.detail, small, CELL_PX), fill=FAINT, font=small)
        top += TITLE_PX
        picture = Image.fromarray(entry.image)
        sheet.paste(picture.resize(whole, Image.Resampling.LANCZOS), (left, top))
        for number, (x, y, w, h) in enumerate(spots):
            scale = CELL_PX / width
            box = [left + x * scale, top + y * scale, left + (x + w) * scale, top + (y + h) * scale]
            pen.rectangle(box, outline=FRAMES[number % len(FRAMES)], width=3)
        top += whole[1] + GAP
        for number, ((x, y, w, h), row) in enumerate(zip(spots, rows[1:], strict=True)):
            # nearest when enlarging: the sheet must show pixels, not the sheet's own smoothing
            method = Image.Resampling.NEAREST if row[0] >= w else Image.Resampling.LANCZOS
            sheet.paste(picture.crop((x, y, x + w, y + h)).resize(row, method), (left, top))
            frame = [left - 3, top - 3, left + row[0] + 2, top + row[1] + 2]
            pen.rectangle(frame, outline=FRAMES[number % len(FRAMES)], width=3)
            top += row[1] + GAP
    return sheet


def _fit(text: str, font: "object", width: int) -> str:
    """Shorten a text in its middle until it fits."""
    from PIL.ImageFont import FreeTypeFont

    if not isinstance(font, FreeTypeFont) or font.getlength(text) <= width:
        return text
    keep = len(text) - 1
    while keep > 2 and font.getlength(f"{text[: keep // 2]}…{text[-(keep // 2) :]}") > width:
        keep -= 1
    return f"{text[: keep // 2]}…{text[-(keep // 2) :]}"
