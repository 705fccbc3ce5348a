"""Write models for the browser and their index: ``python tools/export_web.py FOLDER [WEIGHTS ...]``.

Without weights files, the shipped SD networks are written; all networks would make the site about 32 MB larger. The
build of web/ runs this tool. Its output is not committed.
"""

import hashlib
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from a2f.export.browser import browser_model
from a2f.weights import read_weights, shipped_models

VARIANT = "sd"


def export(folder: Path, files: list[Path]) -> None:
    """Write the models and index.json. The index has the scale, kind, file, bytes and SHA-256 of each model."""
    folder.mkdir(parents=True, exist_ok=True)
    below = {model.path: model.jpeg_below for model in shipped_models()}
    entries = []
    for path in files or [model.path for model in shipped_models() if model.variant == VARIANT]:
        weights = read_weights(path)
        blob = browser_model(weights)
        name = f"{weights.name}_x{weights.config.scale}.a2f"
        (folder / name).write_bytes(blob)
        entries.append(
            {
                "name": weights.name,
                "scale": weights.config.scale,
                "kind": weights.metadata.get("kind", "clean"),
                "jpeg_below": below.get(path, 0),
                "file": name,
                "bytes": len(blob),
                "sha256": hashlib.sha256(blob).hexdigest(),
            }
        )
        print(f"{folder / name}: {len(blob) / 1e6:.2f} MB")
    (folder / "index.json").write_text(json.dumps({"models": entries}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    export(Path(sys.argv[1]), [Path(name) for name in sys.argv[2:]])
