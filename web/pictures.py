"""Make the pictures of the pages from the bundled photograph: ``python web/pictures.py``; what it writes is committed.

before.webp is a part of the photograph, after.webp is what `sd` x4 makes of it; the icons are for the installed site.
"""

import sys
from pathlib import Path

from PIL import Image, ImageDraw

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

import a2f

ROOT = Path(__file__).resolve().parents[1]

PUBLIC = ROOT / "web" / "packages" / "ui" / "public"
SITE = ROOT / "web" / "site" / "public"


def main() -> None:
    """Write both pictures, and the icons of the site."""
    with Image.open(ROOT / "examples" / "photos" / "astronaut.png") as image:
        photo = image.convert("RGB")
    part = photo.crop((46, 4, 178, 136))
    part.save(PUBLIC / "before.webp", lossless=True, method=6)
    a2f.upscale(part, scale=4).save(PUBLIC / "after.webp", quality=86, method=6)
    for side in (192, 512):
        icon(side).save(SITE / f"icon-{side}.png", optimize=True)


def icon(side: int) -> Image.Image:
    """The shapes of icon.svg, without round corners: systems cut icons in their own way."""
    unit = 4 * side / 64
    image = Image.new("RGB", (4 * side, 4 * side), "#0a665f")
    draw = ImageDraw.Draw(image)
    draw.rounded_rectangle([17 * unit, 34 * unit, 30 * unit, 47 * unit], 3 * unit, fill="white")
    for line in ([34, 31, 46, 18], [36, 17, 47, 17], [47, 17, 47, 28]):
        x0, y0, x1, y1 = (value * unit for value in line)
        draw.line([x0, y0, x1, y1], fill="white", width=round(4.5 * unit))
        for x, y in ((x0, y0), (x1, y1)):
            draw.circle((x, y), 2.25 * unit, fill="white")
    return image.resize((side, side), Image.Resampling.LANCZOS)


if __name__ == "__main__":
    main()
