"""What many tests share."""

import os
from pathlib import Path

import pytest

# Tests are small: threads of torch only wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder beside the checkout with benchmark sets and the authors' checkpoints; no part of the project."""
    folder = ROOT.parent / "shared"
    if not (folder / "data" / "eval").is_dir():
        pytest.skip("needs ../shared with the benchmark sets (data/eval) and the authors' checkpoints (official)")
    return folder
