"""Error maps: the luma error of each enlargement, with one colour scale for all models."""

import math
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from a2f.color import rgb_to_y
from a2f.evaluation.sets import Image, Item
from a2f.lettering import draw_text
from a2f.metrics import psnr_y
from a2f.sheets import FAINT, GAP, INK, MARGIN, PAPER, SMALL, fit_text

MAX_WIDTH_PX = 480  # largest width of a picture; larger pictures are reduced by a whole factor (mean of pixels)
MIN_WIDTH_PX = 160
TITLE, HEAD_PX, FOOT_PX, BAR_PX = 16, 50, 22, 16
CHARACTER_PX = 8  # approximate width of a character of the small font
SHARE = 0.995  # share of the pixels whose error is inside the colour scale
# From black to light yellow, with uniformly increasing lightness, suitable for colour-blind readers.
COLOURS = np.array(
    [(0, 0, 4), (31, 12, 72), (85, 15, 109), (136, 34, 106), (186, 54, 85), (227, 89, 51), (249, 140, 10),
     (249, 201, 50), (252, 255, 164)], np.float64,
)  # fmt: skip


NEARER = np.array(
    [(33, 102, 172), (247, 247, 247), (217, 95, 2)], np.float64
)  # first model better, equal, second model better


@dataclass(frozen=True, kw_only=True)
class ErrorMap:
    """One picture of a sheet.

    Attributes:
        image: [H, W, 3] uint8.
        title: text above it.
        detail: text below the title.
    """

    image: Image
    title: str
    detail: str


def error_of(sr: Image, hr: Image) -> NDArray[np.float64]:
    """The absolute luma error |Y(sr) - Y(hr)| in grey levels, [H, W]."""
    error: NDArray[np.float64] = np.abs(rgb_to_y(sr) - rgb_to_y(hr))
    return error


def colour_of(error: NDArray[np.float64], *, limit: float) -> Image:
    """Convert errors to colours.

    Args:
        error: [H, W], grey levels.
        limit: the error with the last colour; larger errors have this colour too.

    Returns:
        [H, W, 3] uint8.
    """
    return _coloured(error / limit, COLOURS)


def _coloured(share: NDArray[np.float64], colours: NDArray[np.float64]) -> Image:
    """Convert values from 0 to 1 to colours between the first and the last colour."""
    place = np.clip(share, 0, 1) * (len(colours) - 1)
    channels = [np.interp(place, range(len(colours)), colours[:, channel]) for channel in range(3)]
    image: Image = np.stack(channels, axis=-1).round().astype(np.uint8)
    return image


def draw_error_maps(item: Item, enlargements: Mapping[str, Image], *, scale: int) -> "NDArray[np.uint8]":
    """Draw the original, then the error map of each model, with a colour bar.

    With two models, a last map shows which one is closer to the original: blue for the first, orange for the second.

    Args:
        item: the picture.
        enlargements: name of a model -> its image, [sH, sW, 3] uint8.
        scale: s.

    Returns:
        The sheet, [H, W, 3] uint8.
    """
    factor = max(1, -(-item.hr.shape[1] // MAX_WIDTH_PX))
    errors = {name: _reduced(error_of(sr, item.hr), factor) for name, sr in enlargements.items()}
    limit = max(4, 4 * math.ceil(max(float(np.quantile(e, SHARE)) for e in errors.values()) / 4))
    small = np.stack([_reduced(item.hr[..., c].astype(np.float64), factor) for c in range(3)], axis=-1)
    maps = [ErrorMap(image=small.round().astype(np.uint8), title=item.name, detail="original")]
    for name, sr in enlargements.items():
        psnr = psnr_y(sr, item.hr, border=scale)
        told = f"PSNR-Y {psnr:.2f} dB, mean error {error_of(sr, item.hr).mean():.2f}"
        maps.append(ErrorMap(image=colour_of(errors[name], limit=limit), title=name, detail=told))
    if len(errors) == 2:
        (first, a), (second, b) = errors.items()
        most = max(1, math.ceil(np.quantile(np.abs(a - b), SHARE)))
        image = _coloured((a - b) / most / 2 + 0.5, NEARER)
        nearer = (
            f" The last map: white where both errors are equal; full colour where one error is {most} levels smaller."
        )
        maps.append(ErrorMap(image=image, title="closer to the original", detail=f"blue {first}, orange {second}"))
    else:
        nearer = ""
    reduced = "" if factor == 1 else f" Reduced 1 : {factor}, each pixel is the mean of {factor} x {factor}."
    note = f"Absolute error of Y (16 to 235), grey levels; lightest colour: {limit} and above.{nearer}{reduced}"
    return _draw(maps, limit, note)


def _reduced(plane: NDArray[np.float64], factor: int) -> NDArray[np.float64]:
    """Means of squares of `factor` x `factor` pixels; a remainder at the right and lower edge is cut."""
    height, width = (side // factor for side in plane.shape)
    parts = plane[: height * factor, : width * factor].reshape(height, factor, width, factor)
    mean: NDArray[np.float64] = parts.mean((1, 3))
    return mean


def _draw(maps: list[ErrorMap], limit: int, note: str) -> Image:
    from PIL import Image as Pillow
    from PIL import ImageDraw

    height, shown = maps[0].image.shape[:2]
    width = max(shown, MIN_WIDTH_PX)
    across = 2 * MARGIN + len(maps) * (width + GAP) - GAP
    lines = textwrap.wrap(note, max(20, (across - 2 * MARGIN) // CHARACTER_PX))
    foot = BAR_PX + (len(lines) + 1) * FOOT_PX
    sheet = Pillow.new("RGB", (across, 2 * MARGIN + HEAD_PX + height + GAP + foot), PAPER)
    pen = ImageDraw.Draw(sheet)
    for number, entry in enumerate(maps):
        left = MARGIN + number * (width + GAP)
        draw_text(pen, (left, MARGIN), fit_text(entry.title, TITLE, width), size=TITLE, fill=INK)
        draw_text(pen, (left, MARGIN + 24), fit_text(entry.detail, SMALL, width), size=SMALL, fill=FAINT)
        sheet.paste(Pillow.fromarray(entry.image), (left, MARGIN + HEAD_PX))
    top = MARGIN + HEAD_PX + height + GAP
    ramp = np.tile(np.linspace(0, limit, width), (BAR_PX, 1))
    sheet.paste(Pillow.fromarray(colour_of(ramp, limit=limit)), (MARGIN, top))
    draw_text(pen, (MARGIN, top + BAR_PX + 4), "0", size=SMALL, fill=INK)
    last = f"{limit}+"
    pen_left = MARGIN + width - CHARACTER_PX * len(last)
    draw_text(pen, (pen_left, top + BAR_PX + 4), last, size=SMALL, fill=INK)
    for number, line in enumerate(lines):
        draw_text(pen, (MARGIN, top + BAR_PX + (number + 1) * FOOT_PX + 4), line, size=SMALL, fill=FAINT)
    return np.asarray(sheet)
