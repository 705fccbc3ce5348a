"""Fixtures and settings for all tests."""

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import settings

# Tests are small: more torch threads would only wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# `make test` uses fixed examples, so that only a change can make it fail. `make nightly` tries new examples.
settings.register_profile("fixed", derandomize=True, deadline=None)
settings.register_profile("nightly", deadline=None, print_blob=True)
settings.load_profile("fixed")  # unless --hypothesis-profile names another

SEED = 0
YOUNG_BYTES = 120 * 10**6  # memory of a process of `a2f upscale` before it reads a picture

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder beside the checkout with benchmark sets and the authors' checkpoints. It is not in the repository."""
    folder = ROOT.parent / "shared"
    if not (folder / "data" / "eval").is_dir():
        pytest.skip("needs ../shared with the benchmark sets (data/eval) and the authors' checkpoints (official)")
    return folder


@pytest.fixture(autouse=True)
def memory_of_a_young_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory limits include the memory of the process. Ignore the memory that earlier tests have left."""
    from a2f import machine
    from a2f.runtime import memory

    real, before = machine.resident_bytes, machine.resident_bytes()
    monkeypatch.setattr(memory, "resident_bytes", lambda: YOUNG_BYTES + max(0, real() - before))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Seed PyTorch before each test and its fixtures, so that results do not depend on earlier tests."""
    torch = sys.modules.get("torch")  # all test modules that make networks import it at their top
    if torch is not None:
        torch.manual_seed(SEED)


@pytest.fixture
def robust_shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Add robust weights: brighter copies of the clean ones, used below quality 80 (x2) and 70 (x4)."""
    import a2f.weights as weights_module

    folder, robust = tmp_path / "weights_data", {2: 80, 4: 70}
    shutil.copytree(weights_module._folder(), folder)
    index = json.loads((folder / "index.json").read_text(encoding="utf-8"))
    index["models"] = [entry for entry in index["models"] if entry.get("kind", "clean") == "clean"]
    for scale, below in robust.items():
        clean = next(entry for entry in index["models"] if (entry["variant"], entry["scale"]) == ("sd", scale))
        given = weights_module.read_weights(folder / clean["file"])
        tensors = {
            **given.tensors,
            "tail.bias": given.tensors["tail.bias"] + given.tensors["tail.bias"].dtype.type(0.02),
        }
        changed = replace(given, tensors=tensors, metadata={**given.metadata, "kind": "robust"})
        blob = weights_module.write_weights(changed)
        file = f"a2f_sd-robust_x{scale}.safetensors"
        (folder / file).write_bytes(blob)
        figures = {"psnr_y": {s: v - 0.5 for s, v in clean["psnr_y"].items()}, "jpeg_psnr_y": {"75": 29.87, "50": 28.5}}
        told = {"file": file, "kind": "robust", "sha256": hashlib.sha256(blob).hexdigest(), "jpeg_below": below}
        index["models"].append({**clean, **told, **figures})
    (folder / "index.json").write_text(json.dumps(index), encoding="utf-8")
    monkeypatch.setattr(weights_module, "_folder", lambda: folder)
    weights_module.shipped_models.cache_clear()
    yield folder
    weights_module.shipped_models.cache_clear()
