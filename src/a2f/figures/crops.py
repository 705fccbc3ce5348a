"""Figure 4: a picture with a frame, and the content of the frame enlarged by each method."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from a2f.errors import UsageError
from a2f.evaluation.score import Method, enlarged
from a2f.evaluation.sets import Image, Item
from a2f.figures.style import PAGE_IN, RED, drawing, save
from a2f.metrics import psnr_y, ssim_y
from a2f.sheets import Crop, detailed_crops

ROWS_OF_CROPS = 2
LABEL_PT = 6.5
LABEL_IN = 0.3  # below each crop
GAP_IN = 0.05
TITLE_IN = 0.2
PICTURE_DPI = 200  # resolution of the whole picture, which only shows the position of the frame


@dataclass(frozen=True, kw_only=True)
class Shown:
    """One enlargement of a picture.

    Attributes:
        name: name of the method.
        image: [sH, sW, 3] uint8, the whole picture.
        psnr_y: PSNR-Y of the whole picture, dB.
        ssim_y: SSIM-Y of the whole picture.
    """

    name: str
    image: Image
    psnr_y: float
    ssim_y: float


@dataclass(frozen=True, kw_only=True)
class Scene:
    """A picture, a crop, and the enlargements.

    Attributes:
        item: the picture.
        data: name of its set.
        crop: x, y, width and height in HR pixels.
        shown: the enlargements, from left to right.
    """

    item: Item
    data: str
    crop: Crop
    shown: tuple[Shown, ...]


def check_crop(crop: Crop, hr: Image) -> Crop:
    """Check that a crop is inside a picture, and return it.

    Raises:
        UsageError: if it is not.
    """
    x, y, w, h = crop
    height, width = hr.shape[:2]
    if min(x, y) < 0 or min(w, h) < 1 or x + w > width or y + h > height:
        raise UsageError(f"the crop {x},{y},{w},{h} is not inside a picture of {width} x {height} pixels")
    return crop


def scene_of(item: Item, methods: Mapping[str, Method], *, data: str, scale: int, crop: Crop | None = None) -> Scene:
    """Enlarge a picture with each method and measure the whole picture.

    Args:
        item: an item of `load_set`.
        methods: name -> upscaler or finished enlargements; None is bicubic.
        data: name of the set.
        scale: s.
        crop: x, y, width and height in HR pixels; by default the most detailed part.

    Raises:
        UsageError: for a crop that is not inside the picture.
        InputError: if an upscaler gives NaN, or for the reasons of `Finished.read`.
    """
    where = check_crop(crop or detailed_crops(item.hr)[0], item.hr)
    shown = []
    for name, method in methods.items():
        sr = enlarged(item, method, scale=scale)
        psnr, ssim = psnr_y(sr, item.hr, border=scale), ssim_y(sr, item.hr, border=scale)
        shown.append(Shown(name=name, image=sr, psnr_y=psnr, ssim_y=ssim))
    return Scene(item=item, data=data, crop=where, shown=tuple(shown))


def draw_crops(scenes: Sequence[Scene], *, scale: int, output: Path) -> None:
    """Draw Figure 4: one row per picture; the highest PSNR is bold.

    Args:
        scenes: results of `scene_of`, all with the same number of methods.
        scale: s.
        output: .svg, .pdf or .png.

    Raises:
        UsageError: if there is no scene, or for a suffix that cannot be written.
        MissingExtraError: if matplotlib is not installed.
        ImageWriteError: if the file cannot be written.
    """
    if not scenes:
        raise UsageError("Figure 4 needs a picture: name at least one")
    rows = [_Row.of(scene) for scene in scenes]
    height = sum(row.height_in for row in rows)
    with drawing(width_in=PAGE_IN, height_in=height) as figure:
        figure.set_layout_engine("none")
        top = height
        for row in rows:
            row.draw(figure, top_in=top, total_in=height, scale=scale)
            top -= row.height_in
        save(figure, output)


@dataclass(frozen=True, kw_only=True)
class _Row:
    """The layout of a scene in inches: the picture on the left, the crops in two rows beside it."""

    scene: Scene
    picture_in: tuple[float, float]
    crop_in: tuple[float, float]

    @classmethod
    def of(cls, scene: Scene) -> "_Row":
        across = -(-(len(scene.shown) + 1) // ROWS_OF_CROPS)
        _, _, w, h = scene.crop
        height, width = scene.item.hr.shape[:2]
        # The picture is as high as both rows of crops with their labels; solve for the width of a crop.
        ratio = width / height
        crop = (PAGE_IN - across * GAP_IN - ratio * ROWS_OF_CROPS * LABEL_IN) / (across + ratio * ROWS_OF_CROPS * h / w)
        tall = ROWS_OF_CROPS * (crop * h / w + LABEL_IN)
        return cls(scene=scene, picture_in=(tall * ratio, tall), crop_in=(crop, crop * h / w))

    @property
    def height_in(self) -> float:
        """Height of the row with the title below the picture."""
        return self.picture_in[1] + TITLE_IN

    def draw(self, figure: Any, *, top_in: float, total_in: float, scale: int) -> None:
        """Draw the scene below `top_in`, measured from the bottom of the figure."""
        x, y, w, h = self.scene.crop
        wide, tall = self.picture_in
        axis = _axis(figure, 0, top_in - tall + LABEL_IN / 2, wide, tall - LABEL_IN / 2, total_in)
        small, corners = _reduced(self.scene.item.hr, wide)
        axis.imshow(small, aspect="auto", interpolation="nearest", extent=corners)
        axis.add_patch(_frame(x, y, w, h))
        axis.set_xlabel(f"{self.scene.item.name} ({self.scene.data}), ×{scale}", fontsize=LABEL_PT)
        best = max(shown.psnr_y for shown in self.scene.shown)
        cells = [("HR", "PSNR / SSIM", self.scene.item.hr, False)]
        cells += [(s.name, f"{s.psnr_y:.2f} / {s.ssim_y:.4f}", s.image, s.psnr_y == best) for s in self.scene.shown]
        across = -(-len(cells) // ROWS_OF_CROPS)
        for n, (name, told, image, bold) in enumerate(cells):
            left = wide + GAP_IN + (n % across) * (self.crop_in[0] + GAP_IN)
            up = top_in - (n // across) * (self.crop_in[1] + LABEL_IN) - self.crop_in[1]
            cell = _axis(figure, left, up, *self.crop_in, total_in)
            cell.imshow(image[y : y + h, x : x + w], aspect="auto", interpolation="nearest")
            cell.set_xlabel(f"{name}\n{told}", fontsize=LABEL_PT, fontweight="bold" if bold else "normal", labelpad=2)


def _reduced(image: Image, width_in: float) -> tuple[Image, tuple[float, float, float, float]]:
    """Reduce a picture to the resolution of print; return it and the corners in original pixels."""
    import numpy as np
    from PIL import Image as Pillow

    height, width = image.shape[:2]
    small = Pillow.fromarray(image)
    small.thumbnail((round(width_in * PICTURE_DPI), height), Pillow.Resampling.LANCZOS)
    return np.asarray(small), (-0.5, width - 0.5, height - 0.5, -0.5)


def _axis(figure: Any, left: float, bottom: float, width: float, height: float, total: float) -> Any:
    axis = figure.add_axes((left / PAGE_IN, bottom / total, width / PAGE_IN, height / total))
    axis.set(xticks=[], yticks=[])
    for spine in axis.spines.values():
        spine.set_visible(False)
    return axis


def _frame(x: int, y: int, w: int, h: int) -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle((x - 0.5, y - 0.5), w, h, fill=False, edgecolor=RED, linewidth=1.2)
