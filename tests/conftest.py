"""What many tests share."""

import os
import sys
from pathlib import Path

import pytest
from hypothesis import settings

# Tests are small: threads of torch only wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# `make test` tries the same examples each time, so that it fails for what was changed; `make nightly` tries new ones.
settings.register_profile("fixed", derandomize=True, deadline=None)
settings.register_profile("nightly", deadline=None, print_blob=True)
settings.load_profile("fixed")  # unless --hypothesis-profile names another

SEED = 0

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder beside the checkout with benchmark sets and the authors' checkpoints; no part of the project."""
    folder = ROOT.parent / "shared"
    if not (folder / "data" / "eval").is_dir():
        pytest.skip("needs ../shared with the benchmark sets (data/eval) and the authors' checkpoints (official)")
    return folder


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Seed PyTorch before each test and its fixtures: what is random in them is the same whatever ran before."""
    torch = sys.modules.get("torch")  # the modules of all tests that make networks import it at their top
    if torch is not None:
        torch.manual_seed(SEED)
