"""Put a trained weights file into the package, with a description in its metadata.

python tools/ship_weights.py TRAINED.safetensors --photographs DIR --runs "what ran" --hours 1.2 [--teacher "..."]
python tools/ship_weights.py TRAINED.safetensors --kind robust ...    weights for JPEG input, shipped as sd-robust

Afterwards, run `python -m benchmarks.quality --write` and `python -m benchmarks.jpeg --write`, which measure the file
and write the model card. For robust weights, the second command also measures for which JPEGs `-m auto` uses them.
`make paper` updates docs/paper.md. `python tests/pixels/make.py` makes the golden pixels of the tests again. These are
small results of each model; look at the changes before you commit them.
"""

import argparse
import hashlib
import json
import subprocess
from pathlib import Path
from typing import get_args

from a2f.evaluation.int8_loss import calibrated
from a2f.variants import VARIANTS, count_parameters
from a2f.weights import Kind, Weights, model_name, read_weights, rounded_to_half, write_weights

PICTURES = Path(__file__).resolve().parents[1] / "docs" / "training-photos.tsv"
FOLDER = Path(__file__).resolve().parents[1] / "src" / "a2f" / "weights_data"
JPEG_QUALITY: dict[Kind, int | None] = {"clean": None, "robust": 75}  # JPEG quality of the images for the int8 ranges


def entry_of(weights: Weights, file: str, sha256: str, kind: Kind) -> dict[str, object]:
    """The entry in index.json, without figures, which are measured later."""
    config = weights.config
    return {
        "variant": config.variant,
        "kind": kind,
        "scale": config.scale,
        "file": file,
        "parameters": count_parameters(config),
        "sha256": sha256,
        "licence": "Apache-2.0",
        "psnr_y": {},
        "ssim_y": {},
    }


def count_pictures() -> int:
    """Count the listed training pictures."""
    listed = PICTURES.read_text(encoding="utf-8").splitlines()
    return sum(line.endswith("\ttraining") for line in listed)


def present_commit() -> str:
    """The current commit."""
    asked = ["git", "rev-parse", "--short=12", "HEAD"]
    return subprocess.run(asked, cwd=FOLDER, check=True, capture_output=True, text=True).stdout.strip()


def main() -> None:
    """Set the metadata, write the file, and update the index."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trained", type=Path, help="safetensors file of one of the 12 networks, weight norm folded")
    parser.add_argument("--kind", choices=get_args(Kind), default="clean", help="robust: trained on JPEG input")
    parser.add_argument("--runs", required=True, help="all runs in order: steps, batch, patch, learning rate, loss")
    parser.add_argument("--hours", required=True, type=float, help="wall-clock hours of all runs")
    parser.add_argument("--hardware", default="two Zen 4 cores")
    parser.add_argument("--teacher", default="none", help="teacher network in the loss, and its licence")
    parser.add_argument("--commit", help="commit of the training code (default: the current commit)")
    parser.add_argument("--photographs", type=Path, required=True, help="folder of photographs for the int8 ranges")
    a = parser.parse_args()
    trained = read_weights(a.trained)
    metadata = {
        "licence": "Apache-2.0",
        "data": f"{count_pictures()} pictures, docs/training-photos.tsv",
        "runs": a.runs,
        "hours": f"{a.hours:g}",
        "hardware": a.hardware,
        "teacher": a.teacher,
        "commit": a.commit or present_commit(),
        "kind": a.kind,
    }
    if "recipe" in trained.metadata:
        metadata["recipe"] = trained.metadata["recipe"]
    # All twelve networks fit into the wheel because their files hold float16; the rounding costs less than 0.001 dB.
    weights = rounded_to_half(Weights(config=trained.config, tensors=trained.tensors, metadata=metadata))
    blob = write_weights(calibrated(weights, a.photographs, tell=print, jpeg_quality=JPEG_QUALITY[a.kind]), half=True)
    file = f"a2f_{model_name(trained.config.variant, a.kind)}_x{trained.config.scale}.safetensors"
    (FOLDER / file).write_bytes(blob)
    index = FOLDER / "index.json"
    models = json.loads(index.read_text(encoding="utf-8"))["models"] if index.exists() else []
    models = [m for m in models if m["file"] != file]
    models.append(entry_of(trained, file, hashlib.sha256(blob).hexdigest(), a.kind))
    models.sort(key=lambda m: (list(VARIANTS).index(m["variant"]), m.get("kind", "clean"), m["scale"]))
    index.write_text(json.dumps({"models": models}, indent=2) + "\n", encoding="utf-8")
    print(f"{FOLDER / file}: {len(blob):,} bytes")
    print("next: python -m benchmarks.quality --write, python -m benchmarks.jpeg --write, python tests/pixels/make.py")


if __name__ == "__main__":
    main()
