"""Contact sheets: pairs of pictures from two folders (before, after), as a PDF, as images or as an HTML page."""

import base64
import html
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from a2f.errors import InputError
from a2f.lettering import draw_text
from a2f.sheets import (
    CELL_PX,
    FAINT,
    FRAMES,
    GAP,
    INK,
    MARGIN,
    PAPER,
    Crop,
    detailed_crops,
    draw_crop,
    draw_whole,
    fit_text,
)
from a2f.sizes import OWN_SUFFIX

if TYPE_CHECKING:
    from PIL.Image import Image as Sheet

Image = NDArray[np.uint8]

PAGE_PX = (1240, 1754)  # A4 at 150 dots per inch
DPI = 150
TITLE, TEXT = 28, 18  # height of the letters, pixels
ROW_PX, HEAD_PX, CAPTION_PX, FOOT_PX = 378, 70, 52, 30
PICTURE_PX = ROW_PX - CAPTION_PX - GAP
ROWS = (PAGE_PX[1] - 2 * MARGIN - HEAD_PX - FOOT_PX) // ROW_PX
WEB_PX, WEB_QUALITY = 1200, 85  # the longer side and the JPEG quality of a picture in HTML


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A picture before and after enlargement.

    Attributes:
        name: for display: the path of `before`, relative to its folder.
        before: the original file.
        after: the enlarged file.
    """

    name: str
    before: Path
    after: Path


@dataclass(frozen=True, kw_only=True)
class Pairing:
    """The files of two folders, in pairs.

    Attributes:
        pairs: sorted by name.
        alone_before: files of the first folder without a partner.
        alone_after: files of the second folder without a partner.
    """

    pairs: tuple[Pair, ...]
    alone_before: tuple[Path, ...]
    alone_after: tuple[Path, ...]


@dataclass(frozen=True, kw_only=True)
class Scene:
    """The pixels of a pair.

    Attributes:
        name: for display.
        before: [h, w, 3].
        after: [H, W, 3], at least as large as `before`.
    """

    name: str
    before: Image
    after: Image

    def __post_init__(self) -> None:
        (h, w), (high, wide) = self.before.shape[:2], self.after.shape[:2]
        if high < h or wide < w:
            raise InputError(
                f"{self.name}: {wide} x {high} pixels after, {w} x {h} before: give the folder of enlargements second"
            )
        if abs(w * high - h * wide) > max(wide, high) * 2 * max(1, wide // w):
            raise InputError(
                f"{self.name}: the pictures have different proportions ({w} x {h} and {wide} x {high}). "
                "Compare pictures of the same scene."
            )


def pair_up(before: Sequence[Path], after: Sequence[Path], *, folders: tuple[Path, Path]) -> Pairing:
    """Pair files by name; the second may have a suffix of a2f, for example ``_x4`` or ``_w3840``.

    Args:
        before: files of the first folder.
        after: files of the second.
        folders: the two folders; names are compared relative to them.
    """
    by_stem: dict[tuple[Path, str], list[Path]] = {}
    for path in before:
        by_stem.setdefault((path.parent.relative_to(folders[0]), path.stem), []).append(path)
    pairs, alone = [], []
    for path in after:
        below = path.parent.relative_to(folders[1])
        stems = path.stem, OWN_SUFFIX.sub("", path.stem)
        found = next((by_stem[below, stem] for stem in stems if (below, stem) in by_stem), None)
        if found is None:
            alone.append(path)
            continue
        partner = next((p for p in found if p.suffix.lower() == path.suffix.lower()), found[0])
        pairs.append(Pair(name=str(partner.relative_to(folders[0])), before=partner, after=path))
    taken = {pair.before for pair in pairs}
    pairs.sort(key=lambda pair: (pair.name, str(pair.after)))
    rest = tuple(path for path in before if path not in taken)
    return Pairing(pairs=tuple(pairs), alone_before=rest, alone_after=tuple(alone))


def pages(scenes: Iterable[Scene], *, title: str, count: int) -> Iterator["Sheet"]:
    """Draw the pages of a contact sheet, each as soon as its scenes are read.

    Args:
        scenes: the pairs to show, `ROWS` on a page.
        title: printed at the top of each page.
        count: the expected number of scenes; it may be larger than the real number, because some pairs may fail to be
            read.

    Returns:
        PIL images in RGB of `PAGE_PX`.
    """
    of, kept = -(-count // ROWS), list[Scene]()
    number = 0
    for scene in scenes:
        kept.append(scene)
        if len(kept) == ROWS:
            number += 1
            yield _page(kept, f"{title}, page {number} of {of}")
            kept = []
    if kept:
        yield _page(kept, f"{title}, page {number + 1} of {of}")


def pdf(sheets: Iterable["Sheet"]) -> bytes:
    """Write the pages as a PDF file; one page at a time is in memory."""
    out = io.BytesIO()
    for number, sheet in enumerate(sheets):
        out.seek(0)
        if number:
            sheet.save(out, "PDF", resolution=DPI, quality=90, append=True)
        else:
            sheet.save(out, "PDF", resolution=DPI, quality=90)
    return out.getvalue()


def page_of_html(scenes: Iterable[Scene], *, title: str) -> Iterator[bytes]:
    """Write an HTML page with a slider over each scene; the pictures are embedded in it.

    Args:
        scenes: the pairs to show.
        title: title of the page.

    Returns:
        The page in parts, as bytes.
    """
    yield HTML_HEAD.substitute(title=html.escape(title)).encode()
    for scene in scenes:
        small, large = (f"{image.shape[1]} x {image.shape[0]}" for image in (scene.before, scene.after))
        crop = detailed_crops(scene.after)[0]
        crops = [_detail(image, crop, scene.after) for image in (scene.before, scene.after)]
        yield HTML_SCENE.substitute(
            name=html.escape(scene.name),
            small=small,
            large=large,
            after=_embedded(scene.after),
            before=_embedded(scene.before),
            crops="".join(f'<img alt="" src="{_embedded(crop)}">' for crop in crops),
        ).encode()
    yield b"</main></body></html>\n"


def read_scenes(
    pairs: Iterable[Pair], read: Callable[[Path], Image], failed: Callable[[Pair, Exception], None]
) -> Iterator[Scene]:
    """Read pairs, one at a time.

    Args:
        pairs: the pairs to read.
        read: reads a file as [H, W, 3].
        failed: called with each pair that cannot be shown, and the error.
    """
    from a2f.errors import A2FError

    for pair in pairs:
        try:
            yield Scene(name=pair.name, before=read(pair.before), after=read(pair.after))
        except A2FError as error:
            failed(pair, error)


def _page(scenes: Sequence[Scene], title: str) -> "Sheet":
    from PIL import Image as Pillow
    from PIL import ImageDraw

    sheet = Pillow.new("RGB", PAGE_PX, PAPER)
    pen = ImageDraw.Draw(sheet)
    draw_text(pen, (MARGIN, MARGIN), fit_text(title, TITLE, PAGE_PX[0] - 2 * MARGIN), size=TITLE, fill=INK)
    for row, scene in enumerate(scenes):
        _draw_row(sheet, scene, MARGIN + HEAD_PX + row * ROW_PX)
    note = "left: the whole picture; middle: a crop before (bicubic); right: the crop after"
    draw_text(pen, (MARGIN, PAGE_PX[1] - MARGIN), note, size=TEXT, fill=FAINT, anchor="ls")
    return sheet


def _draw_row(sheet: "Sheet", scene: Scene, top: int) -> None:
    from PIL import ImageDraw

    pen = ImageDraw.Draw(sheet)
    lefts = [MARGIN + column * (PAGE_PX[0] - 2 * MARGIN - CELL_PX) // 2 for column in range(3)]
    height, width = scene.after.shape[:2]
    before = f"before: {scene.before.shape[1]} x {scene.before.shape[0]}"
    for left, text in zip(lefts, (scene.name, before, f"after: {width} x {height}"), strict=True):
        draw_text(pen, (left, top + 18), fit_text(text, TEXT, CELL_PX), size=TEXT, fill=INK)
    top += CAPTION_PX
    crop = detailed_crops(scene.after)[0]
    size = _inside(width, height)
    draw_whole(sheet, scene.after, size, [crop], (lefts[0], top + (PICTURE_PX - size[1]) // 2))
    cell = _inside(*crop[2:])
    for left, image in zip(lefts[1:], (scene.before, scene.after), strict=True):
        part = _detail(image, crop, scene.after)
        whole = 0, 0, part.shape[1], part.shape[0]
        draw_crop(sheet, part, whole, cell, (left, top + (PICTURE_PX - cell[1]) // 2), FRAMES[0])


def _inside(width: int, height: int) -> tuple[int, int]:
    """Width and height of a picture that is fitted into a cell of a row."""
    scale = min(CELL_PX / width, PICTURE_PX / height)
    return max(1, round(width * scale)), max(1, round(height * scale))


def _detail(image: Image, crop: Crop, largest: Image) -> Image:
    """Cut out a crop, given in pixels of the largest picture; a smaller picture is enlarged by bicubic."""
    from PIL import Image as Pillow

    x, y, w, h = crop
    if image.shape == largest.shape:
        return image[y : y + h, x : x + w]
    across, down = image.shape[1] / largest.shape[1], image.shape[0] / largest.shape[0]
    box = x * across, y * down, (x + w) * across, (y + h) * down
    return np.asarray(Pillow.fromarray(image).resize((w, h), Pillow.Resampling.BICUBIC, box=box))


def _embedded(image: Image) -> str:
    """The picture as a data URL, its longer side at most `WEB_PX`."""
    from PIL import Image as Pillow

    picture = Pillow.fromarray(np.ascontiguousarray(image))
    picture.thumbnail((WEB_PX, WEB_PX), Pillow.Resampling.LANCZOS)
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=WEB_QUALITY, subsampling=0)
    return "data:image/jpeg;base64," + base64.b64encode(out.getvalue()).decode()


HTML_HEAD = Template("""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>$title</title>
<style>
body { margin: 0; font: 16px/1.5 system-ui, sans-serif; color: #1c1c1e; background: #fafaf8 }
main { max-width: 1000px; margin: auto; padding: 24px }
figure { margin: 0 0 48px }
figcaption { margin-bottom: 8px }
figcaption span { color: #6e6e73 }
.pair { position: relative; display: grid; --at: 50% }
.pair img { grid-area: 1 / 1; width: 100%; display: block }
.pair .before { clip-path: inset(0 calc(100% - var(--at)) 0 0) }
.pair::after { content: ""; position: absolute; inset: 0 auto 0 var(--at); border-left: 2px solid #ffbe00 }
.pair input { grid-area: 1 / 1; width: 100%; margin: 0; opacity: 0; cursor: ew-resize; z-index: 1 }
.pair input:focus-visible { opacity: 0.4 }
.crops { display: grid; grid-template-columns: 1fr 1fr; gap: 12px; margin-top: 12px }
.crops img { width: 100%; image-rendering: pixelated }
</style></head><body><main><h1>$title</h1>
<p>Left of the line: the photo before, enlarged to the same size. Right: after. Move the line with the mouse.
Below: a crop before (bicubic) and after.</p>
""")
HTML_SCENE = Template("""<figure><figcaption>$name <span>$small before, $large after</span></figcaption>
<div class="pair"><img alt="after" src="$after"><img class="before" alt="before" src="$before">
<input type="range" min="0" max="100" value="50" aria-label="share of the picture before: $name"
 oninput="this.parentNode.style.setProperty('--at', this.value + '%')"></div>
<div class="crops">$crops</div></figure>
""")
