"""Pictures for the pixel tests, what the command line makes of them, and how far the browser's are from that.

``references.py make FOLDER`` writes <name>.in.<format>, <name>.ref.png and cases.json; ``references.py compare FOLDER``
reads <name>.out.png and prints, as JSON, the largest difference of each, the share of values that differ, and what the
file says: format, maker, orientation, and whether it has the colour profile.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from click.testing import CliRunner
from PIL import Image, ImageCms

from a2f.cli.main import cli
from a2f.export.browser import browser_model
from a2f.weights import find_shipped, read_weights

ROOT = Path(__file__).resolve().parents[2]

WHITE = ["--format", "jpeg", "--quality", "100", "--force"]
OWN = str(find_shipped("s", scale=3).path)  # a network that is not in the package
ORIENTATION, MAKE = 0x0112, 0x010F

# name, suffix, options of the package, options of the command line
CASES: list[tuple[str, str, dict[str, Any], list[str]]] = [
    ("photo_x2_tiles", "png", {"scale": 2, "tile": 24}, ["-s", "2"]),
    ("photo_x3_whole", "png", {"scale": 3, "tile": 400}, ["-s", "3"]),
    ("photo_x4_file", "png", {"scale": 4, "tile": 7, "maxMemory": 200_000}, ["-s", "4"]),
    ("robust_x4", "jpg", {"scale": 4, "format": "image/png"}, ["-s", "4", "-m", "auto"]),
    ("fine_jpeg_x2", "jpg", {"scale": 2, "format": "image/png"}, ["-s", "2", "-m", "auto"]),
    ("one_pixel", "png", {"scale": 4}, ["-s", "4"]),
    ("column", "png", {"scale": 3}, ["-s", "3"]),
    ("alpha_x4", "png", {"scale": 4}, ["-s", "4"]),
    ("alpha_width", "png", {"size": {"width": 150}}, ["--width", "150"]),
    ("grey_x4", "png", {"scale": 4}, ["-s", "4"]),
    ("grey_jpeg_x2", "jpg", {"scale": 2, "format": "image/png"}, ["-s", "2", "-m", "auto"]),
    ("two_passes", "png", {"scale": 6}, ["--width", "120"]),
    ("reduced", "png", {"size": {"maxSide": 40}}, ["--max-side", "40"]),
    ("upright", "jpg", {"scale": 2, "format": "image/png"}, ["-s", "2"]),
    ("kept_in_png", "jpg", {"scale": 2, "format": "image/png"}, ["-s", "2"]),
    ("kept_in_jpeg", "png", {"scale": 2, "format": "image/jpeg", "quality": 100}, ["-s", "2"]),
    ("alpha_on_white", "png", {"scale": 2, "format": "image/jpeg", "quality": 100, "force": True}, ["-s", "2", *WHITE]),
    ("own_model", "png", {"model": "s_x3.a2f"}, ["-m", OWN]),
    ("own_model_width", "png", {"model": "s_x3.a2f", "size": {"width": 90}}, ["--width", "90", "-m", OWN]),
    ("kept_in_webp", "jpg", {"scale": 2, "format": "image/webp", "quality": 100}, ["-s", "2"]),
]


def picture(name: str) -> Image.Image:
    """The LR picture of a case: parts of the bundled photograph with odd sides."""
    with Image.open(ROOT / "examples" / "photos" / "astronaut.png") as image:
        photo = image.convert("RGB")
    if name == "one_pixel":
        return photo.crop((100, 90, 101, 91))
    if name == "column":
        return photo.crop((80, 20, 81, 60))
    if name == "two_passes":
        return photo.crop((90, 50, 110, 67))
    part = photo.crop((60, 40, 127, 93))
    if name.startswith("grey"):
        return part.convert("L")
    if name.startswith("alpha"):
        return with_alpha(part)
    return part


def with_alpha(part: Image.Image) -> Image.Image:
    """A disc with a soft edge, a faint corner, and a loud colour under full transparency."""
    y, x = np.mgrid[: part.height, : part.width]
    alpha = np.clip((24 - np.hypot(y - 26, x - 33)) * 60, 0, 255).astype(np.uint8)
    alpha[:6, :9] = 3
    pixels = np.dstack([np.asarray(part), alpha])
    pixels[alpha == 0, :3] = (255, 0, 200)
    return Image.fromarray(pixels)


def save(image: Image.Image, path: Path) -> None:
    """Write the LR picture of a case."""
    options: dict[str, Any] = {}
    if path.suffix == ".jpg":
        options = {"quality": 60 if "robust" in path.name else 95, "subsampling": 0}
    if path.name.startswith(("upright", "kept")):
        exif = Image.Exif()
        exif[ORIENTATION], exif[MAKE] = 6, "a camera"  # turned by 90 degrees
        options |= {"exif": exif, "icc_profile": profile()}
    image.save(path, **options)


def profile() -> bytes:
    """A colour profile that no encoder writes by itself, of more than one JPEG segment."""
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes() + bytes(70_000)


def reference(folder: Path, name: str) -> Path:
    """What the command line makes of a case."""
    return folder / f"{name}.ref.{'jpg' if name.endswith('on_white') else 'png'}"


def make(folder: Path) -> None:
    """Write pictures, references, a model that is not in the package, and cases.json."""
    (folder / "s_x3.a2f").write_bytes(browser_model(read_weights(Path(OWN))))
    cases = []
    for name, suffix, options, arguments in CASES:
        source = folder / f"{name}.in.{suffix}"
        save(picture(name), source)
        command = ["upscale", str(source), "-o", str(reference(folder, name)), *arguments, "--overwrite"]
        done = CliRunner().invoke(cli, command)
        if done.exit_code:
            sys.exit(f"a2f {' '.join(command)} failed: {done.output} {done.exception}")
        cases.append({"name": name, "file": source.name, "options": options})
    (folder / "cases.json").write_text(json.dumps(cases), encoding="utf-8")


def compare(folder: Path) -> None:
    """Print the differences; other sizes or channels count as 255."""
    found = {}
    for name, suffix, *_ in CASES:
        with Image.open(folder / f"{name}.in.{suffix}") as given:
            icc = given.info.get("icc_profile")
        with Image.open(reference(folder, name)) as a, Image.open(folder / f"{name}.out.png") as b:
            ours, theirs = (np.asarray(image).astype(int) for image in (a, b))
            told = b.format, b.getexif().get(MAKE), b.getexif().get(ORIENTATION), icc == b.info.get("icc_profile")
        same = ours.shape == theirs.shape
        difference = np.abs(ours - theirs) if same else np.array([255])
        found[name] = {"largest": int(difference.max()), "changed": float((difference > 0).mean()), "told": told}
    print(json.dumps(found))


if __name__ == "__main__":
    {"make": make, "compare": compare}[sys.argv[1]](Path(sys.argv[2]))
