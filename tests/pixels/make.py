"""Write the golden pixels of all shipped models: ``python tests/pixels/make.py``. Run it after weights were shipped.

input.png is a small picture with smooth shading, edges at several angles, fine texture and noise. For each model, the
file with its name is the result of `a2f.load(...)` in the exact mode: onnxruntime, float32, one thread. weights.json
has the SHA-256 of the weights of each file. The fast mode has no golden pixels, because its integers and bfloat16 give
other values on other CPUs.
"""

import json
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "src"))

import a2f
from a2f.weights import ShippedModel, shipped_models

FOLDER = Path(__file__).resolve().parent
INPUT = FOLDER / "input.png"
WEIGHTS = FOLDER / "weights.json"
WIDTH, HEIGHT = 48, 40  # px


def drawn() -> NDArray[np.uint8]:
    """Draw a sky, a hill, a striped wall, a disc and leaves: [HEIGHT, WIDTH, 3]."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float64)
    image = np.stack([120 + 1.6 * y, 150 + 1.2 * y, 235 - 1.4 * y], axis=-1)  # the sky
    hill = y > 22 + 5 * np.sin(x / 7)
    image[hill] = np.stack([60 + x, 95 + 1.5 * (HEIGHT - y), 45 + 0.4 * x], axis=-1)[hill]
    wall = (x > 27) & (y > 8 + 0.35 * (x - 27)) & (y < 33)
    stripes = 40 * (np.sin(1.9 * x + 0.6 * y) > 0)
    image[wall] = np.stack([175 - stripes, 140 - stripes, 110 - 0.6 * stripes], axis=-1)[wall]
    disc = np.clip(7.5 - np.hypot(x - 12.3, y - 10.7), 0, 1)[..., None]  # its edge is smooth
    image = image * (1 - disc) + disc * np.array([250.0, 214.0, 70.0])
    rng = np.random.default_rng(7)
    leaves = hill & ~wall & (rng.random((HEIGHT, WIDTH)) < 0.25)
    image[leaves] += rng.integers(-45, 46, (int(leaves.sum()), 1))
    image += rng.integers(-3, 4, image.shape)
    return np.floor(image.clip(0, 255) + 0.5).astype(np.uint8)


def enlarged(image: NDArray[np.uint8], model: ShippedModel, *, tile: int = 0) -> NDArray[np.uint8]:
    """Enlarge the picture in the exact mode: [scale * HEIGHT, scale * WIDTH, 3]."""
    return a2f.load(model.name, scale=model.scale, threads=1, tile=tile)(image)


def golden(model: ShippedModel) -> Path:
    """The path of the golden pixels of a model."""
    return FOLDER / f"{model.path.stem}.png"


def main() -> None:
    """Write the input, the result of each model, and the checksums of their weights."""
    for path in FOLDER.glob("*.png"):
        path.unlink()
    Image.fromarray(drawn()).save(INPUT)
    for model in shipped_models():
        Image.fromarray(enlarged(drawn(), model)).save(golden(model))
        print(golden(model))
    sums = {golden(model).name: model.sha256 for model in shipped_models()}
    WEIGHTS.write_text(json.dumps(sums, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
