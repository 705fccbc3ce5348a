"""Make the folder of training images that the longer runs use: fewer drawn images, smaller copies of the photographs.

python tools/training_mix.py TRAIN OUT [--factors 0.7 0.5] [--drawn 3] [--rotated]

A network that sees the same 52 drawn images again and again learns these images, not how to enlarge drawings, and it
loses quality on photographs. So OUT holds every third drawn image only. Smaller copies of the photographs (Lanczos)
show the same scenes with finer detail, and their JPEG artefacts are gone. The validation images are in OUT as they are,
without copies: `a2f train --data OUT --val docs/validation-pictures.txt` takes them out of the training.
"""

import argparse
import math
import random
import shutil
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from PIL import Image

from a2f.data.pairs import find_images, read_image_list, without_photographs_of

VALIDATION = Path(__file__).resolve().parents[1] / "docs" / "validation-pictures.txt"
DRAWN = "drawn"  # the folder of drawn images in TRAIN
MIN_SIDE_PX = 240  # smaller copies have no room for the patches of x4
ROTATED_MIN_SIDE_PX = 800  # a rotated copy is the square in the middle, at 0.7 of its size


def keep(path: Path, *, source: Path, out: Path) -> None:
    """Copy an image without changes."""
    target = out / path.relative_to(source)
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(path, target)


def shrink(path: Path, *, source: Path, out: Path, factor: float) -> None:
    """Write a smaller copy as PNG, unless it would be too small."""
    with Image.open(path) as image:
        size = (round(image.width * factor), round(image.height * factor))
        if min(size) < MIN_SIDE_PX:
            return
        small = image.convert("RGB").resize(size, Image.Resampling.LANCZOS)
    write(small, out / f"smaller-{factor:g}" / path.relative_to(source))


def rotate(path: Path, *, source: Path, out: Path) -> None:
    """Write the middle of an image, rotated by 10 to 80 degrees and smaller, as PNG, unless it would be too small."""
    with Image.open(path) as image:
        if min(image.size) < ROTATED_MIN_SIDE_PX:
            return
        degrees = random.Random(path.name).uniform(10, 80)
        turned = image.convert("RGB").rotate(degrees, Image.Resampling.BICUBIC)
    radians, (width, height) = math.radians(degrees), turned.size
    side = int(min(width, height) / (math.cos(radians) + math.sin(radians)))  # the largest square without a corner
    left, top = (width - side) // 2, (height - side) // 2
    middle = turned.crop((left, top, left + side, top + side))
    small = middle.resize((round(0.7 * side),) * 2, Image.Resampling.LANCZOS)
    write(small, out / "rotated" / path.relative_to(source))


def write(image: Image.Image, path: Path) -> None:
    """Write a copy as PNG; replace the suffix by .png."""
    target = path.with_suffix(".png")
    target.parent.mkdir(parents=True, exist_ok=True)
    image.save(target, compress_level=1)


def main() -> None:
    """Fill OUT, which must be empty or missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("train", type=Path, help="folder of training images, with a subfolder drawn/")
    parser.add_argument("out", type=Path, help="empty or new folder")
    parser.add_argument("--factors", type=float, nargs="*", default=[0.7, 0.5], help="sizes of the smaller copies")
    parser.add_argument("--rotated", action="store_true", help="add a rotated copy of each large photograph")
    parser.add_argument("--drawn", type=int, default=3, metavar="N", help="keep every Nth drawn image (default: 3)")
    parser.add_argument("--validation", type=Path, default=VALIDATION, help="list of the validation images")
    a = parser.parse_args()
    if a.out.exists() and any(a.out.iterdir()):
        parser.error(f"{a.out} is not empty: give an empty or new folder")
    images = find_images(a.train)
    validation = read_image_list(a.validation, folder=a.train, among=images)
    trained = without_photographs_of(images, validation)
    drawn = [path for path in trained if path.is_relative_to(a.train / DRAWN)]
    photographs = without_photographs_of(trained, drawn)
    whole = photographs + drawn[:: a.drawn] + validation
    with ThreadPoolExecutor() as pool:
        list(pool.map(partial(keep, source=a.train, out=a.out), whole))
        for factor in a.factors:
            list(pool.map(partial(shrink, source=a.train, out=a.out, factor=factor), photographs))
        if a.rotated:
            list(pool.map(partial(rotate, source=a.train, out=a.out), photographs))
    print(f"{a.out}: {len(find_images(a.out))} images, of which {len(validation)} are for validation")


if __name__ == "__main__":
    main()
