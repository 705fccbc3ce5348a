"""Comparison sheets: pictures of one scene side by side, with enlarged crops."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from a2f.errors import InputError
from a2f.lettering import draw_text, text_width
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
MARGIN, GAP, CELL_PX, TITLE_PX, FOOT_PX = 36, 16, 360, 58, 30
LARGE, SMALL = 20, 14  # height of the letters, pixels
MAX_CELL_HEIGHT_PX = 540  # of a cell: a picture of 1 x 1000 pixels must not give a sheet of 360,000 rows


@dataclass(frozen=True, kw_only=True)
class _Entry:
    """One picture on the sheet, resized to the common size; PSNR-Y in dB if it can be measured."""

    label: str
    detail: str
    image: Image
    psnr: float | None = None


def distinct_labels(paths: Sequence[Path]) -> list[str]:
    """A label for each file: its name, and as many of its parent folders as needed to distinguish equal names."""
    whole = [path.absolute().parts for path in paths]
    labels = []
    for parts in whole:
        others = [other for other in whole if other != parts]
        depth = next((n for n in range(1, len(parts)) if all(o[-n:] != parts[-n:] for o in others)), len(parts))
        labels.append("/".join(parts[-depth:]))
    return labels


def compare_sheet(
    pictures: Sequence[tuple[str, Image]], *, hr: Image | None = None, crops: Sequence[Crop] = ()
) -> "Sheet":
    """Draw a comparison sheet.

    Args:
        pictures: label and [H, W, 3] uint8 of each picture of the scene; smaller pictures are shown enlarged by
            bicubic.
        hr: the original, [H, W, 3] uint8, shown last. The label of each picture of this size has its PSNR-Y. A picture
            that is smaller by a whole factor has the PSNR-Y of its bicubic enlargement. An original that is up to 3
            pixels larger is cut at its right and lower edge, as benchmarks cut it to a multiple of the scale.
        crops: x, y, width and height in pixels of the largest picture; by default two crops with much detail.

    Returns:
        A PIL image in RGB.

    Raises:
        InputError: if there is no picture, the proportions differ, or a crop is outside the picture.
    """
    if not pictures:
        raise InputError("nothing to compare: give at least one picture")
    for label, image in [*pictures, *([("the original", hr)] if hr is not None else [])]:
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
            raise InputError(f"{label}: a sheet takes non-empty [H, W, 3] uint8, not {image.dtype} {image.shape}")
    height, width = max((image.shape[:2] for _, image in pictures), key=lambda s: s[0] * s[1])
    original = None if hr is None else _cut(hr, (width, height))
    if original is not None and original.size > height * width * 3:
        height, width = original.shape[:2]
    entries = [_entry(label, image, (width, height), original) for label, image in pictures]
    if hr is not None and original is not None:
        entry = _entry("original", original, (width, height), None)
        cut = "" if hr is original else f", cut from {hr.shape[1]} x {hr.shape[0]}"
        entries.append(replace(entry, detail=entry.detail + cut))
    shown = list(crops) or detailed_crops(entries[-1].image)
    for x, y, w, h in shown:
        if min(x, y) < 0 or w < 1 or h < 1 or x + w > width or y + h > height:
            raise InputError(f"crop {x},{y},{w},{h} lies outside the {width} x {height} pixels of the largest picture")
    return _draw(entries, shown)


def _cut(hr: Image, size: tuple[int, int]) -> Image:
    """Cut the original to `size` if it is at most 3 pixels larger; otherwise return it unchanged."""
    more = hr.shape[1] - size[0], hr.shape[0] - size[1]
    return hr[: size[1], : size[0]] if max(more) > 0 and all(0 <= m < 4 for m in more) else hr


def _entry(label: str, image: Image, size: tuple[int, int], hr: Image | None) -> _Entry:
    own = (image.shape[1], image.shape[0])
    if abs(own[0] * size[1] - own[1] * size[0]) > max(size) * 2 * max(1, size[0] // own[0]):
        raise InputError(
            f"{label}: the pictures have different proportions ({own[0]} x {own[1]} and {size[0]} x {size[1]}). "
            "Compare pictures of the same scene."
        )
    detail = f"{own[0]} x {own[1]}"
    shown = image
    if own != size:
        shown = _bicubic(image, size)
        detail += f", shown at {size[0] / own[0]:.3g}x (bicubic)"
    psnr = None if hr is None else _psnr(image, hr)
    if hr is not None:
        told = "no PSNR" if psnr is None else "equal" if psnr == float("inf") else f"PSNR-Y {psnr:.2f} dB"
        detail += f", {told}"
    return _Entry(label=label, detail=detail, image=shown, psnr=psnr)


def _psnr(image: Image, hr: Image) -> float | None:
    """PSNR-Y of a picture, or of its bicubic enlargement by a whole factor; None if the sizes do not match."""
    (height, width), (h, w) = hr.shape[:2], image.shape[:2]
    if (h * (width // w), w * (width // w)) != (height, width):
        return None
    large = image if w == width else _bicubic(image, (width, height))
    return psnr_y(large, hr, border=_border(hr))


def _border(hr: Image) -> int:
    return 4 if min(hr.shape[:2]) > 16 else 0


def _bicubic(image: Image, size: tuple[int, int]) -> Image:
    from PIL import Image as Pillow

    return np.asarray(Pillow.fromarray(image).resize(size, Pillow.Resampling.BICUBIC))


def detailed_crops(image: Image) -> list[Crop]:
    """Two separate 4:3 crops with much fine detail; their size divides the cell by a whole number if possible."""
    height, width = image.shape[:2]
    whole = [CELL_PX // k for k in (6, 5, 4, 3, 2, 1) if CELL_PX // k <= max(width // 5, 60)]
    w = min(width, whole[-1])
    h = max(1, min(height, w * 3 // 4))
    grey = image.astype(np.float64).mean(2)
    energy = np.abs(np.diff(grey, axis=1, prepend=grey[:, :1])) + np.abs(np.diff(grey, axis=0, prepend=grey[:1]))
    sums = np.pad(np.minimum(energy, 60), ((1, 0), (1, 0))).cumsum(0).cumsum(1)
    boxes = sums[h:, w:] - sums[:-h, w:] - sums[h:, :-w] + sums[:-h, :-w]
    crops: list[Crop] = []
    for _ in range(2):
        y, x = np.unravel_index(int(boxes.argmax()), boxes.shape)
        crops.append((int(x), int(y), w, h))
        boxes = boxes.copy()
        boxes[max(0, y - h) : y + h, max(0, x - w) : x + w] = -1
        if boxes.max() < 0:
            break
    return crops


def _draw(entries: list[_Entry], crops: list[Crop]) -> "Sheet":
    from PIL import Image, ImageDraw

    height, width = entries[0].image.shape[:2]
    whole, rows = fitted(width, height), [fitted(w, h) for _, _, w, h in crops]
    measured = any(entry.psnr is not None for entry in entries)
    total = (
        2 * MARGIN + len(entries) * CELL_PX + (len(entries) - 1) * GAP,
        2 * MARGIN + TITLE_PX + sum(row[1] for row in [whole, *rows]) + len(crops) * GAP + measured * FOOT_PX,
    )
    sheet = Image.new("RGB", total, PAPER)
    pen = ImageDraw.Draw(sheet)
    for column, entry in enumerate(entries):
        left, top = MARGIN + column * (CELL_PX + GAP), MARGIN
        draw_text(pen, (left, top - 4), fit_text(entry.label, LARGE, CELL_PX), size=LARGE, fill=INK)
        draw_text(pen, (left, top + 24), fit_text(entry.detail, SMALL, CELL_PX), size=SMALL, fill=FAINT)
        top += TITLE_PX
        draw_whole(sheet, entry.image, whole, crops, (left, top))
        top += whole[1] + GAP
        for number, (crop, row) in enumerate(zip(crops, rows, strict=True)):
            draw_crop(sheet, entry.image, crop, row, (left, top), FRAMES[number % len(FRAMES)])
            top += row[1] + GAP
    if measured:
        note = f"PSNR-Y: BT.601 luma of 8-bit RGB, {_border(entries[-1].image)} pixels cut from each side"
        note = fit_text(note, SMALL, total[0] - 2 * MARGIN)
        draw_text(pen, (MARGIN, total[1] - MARGIN), note, size=SMALL, fill=FAINT, anchor="ls")
    return sheet


def fitted(width: int, height: int) -> tuple[int, int]:
    """Width and height of a picture that is fitted into a cell."""
    scale = min(CELL_PX / width, MAX_CELL_HEIGHT_PX / height)
    return max(1, round(width * scale)), max(1, round(height * scale))


def draw_whole(sheet: "Sheet", image: Image, size: tuple[int, int], crops: list[Crop], at: tuple[int, int]) -> None:
    """Draw the whole picture, centred in its cell, with a frame around each crop."""
    from PIL import Image as Pillow
    from PIL import ImageDraw

    left, top = at[0] + (CELL_PX - size[0]) // 2, at[1]
    sheet.paste(Pillow.fromarray(image).resize(size, Pillow.Resampling.LANCZOS), (left, top))
    across, down = size[0] / image.shape[1], size[1] / image.shape[0]
    for number, (x, y, w, h) in enumerate(crops):
        box = [left + x * across, top + y * down, left + (x + w) * across - 1, top + (y + h) * down - 1]
        box[2:] = max(box[0], box[2]), max(box[1], box[3])
        ImageDraw.Draw(sheet).rectangle(box, outline=FRAMES[number % len(FRAMES)], width=3)


def draw_crop(
    sheet: "Sheet", image: Image, crop: Crop, size: tuple[int, int], at: tuple[int, int], colour: tuple[int, int, int]
) -> None:
    """Draw one crop, centred in its cell, with a frame of its colour."""
    from PIL import Image as Pillow
    from PIL import ImageDraw

    x, y, w, h = crop
    left, top = at[0] + (CELL_PX - size[0]) // 2, at[1]
    # nearest neighbour when enlarging: the sheet must show the pixels without smoothing
    method = Pillow.Resampling.NEAREST if size[0] >= w else Pillow.Resampling.LANCZOS
    sheet.paste(Pillow.fromarray(image[y : y + h, x : x + w]).resize(size, method), (left, top))
    frame = [left - 3, top - 3, left + size[0] + 2, top + size[1] + 2]
    ImageDraw.Draw(sheet).rectangle(frame, outline=colour, width=3)


def fit_text(text: str, size: int, width: int) -> str:
    """Shorten a text in the middle until it fits the width."""
    shown, keep = text, len(text)
    while keep > 2 and text_width(shown, size) > width:
        keep -= 1
        shown = f"{text[: keep // 2]}…{text[-(keep // 2) :]}"
    return shown
