"""The tree of errors: drawn as it is, each with its exit code."""

import pickle
import re
import sys
from collections.abc import Callable

import numpy as np
import pytest

import a2f
from a2f import errors
from a2f.errors import A2FError, MissingExtraError
from a2f.metrics import ssim_y
from a2f.peers import build_peer

BLACK = np.zeros((40, 40, 3), np.uint8)

ERRORS = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, A2FError)]


def drawn() -> dict[str, tuple[int, int]]:
    """Depth in the tree of the docstring, and exit code, by name."""
    lines = re.findall(r"^ {4}([│├└─ ]*)(\w+) +(\d+)", errors.__doc__ or "", re.MULTILINE)
    return {name: (len(branch) // 4, int(code)) for branch, name, code in lines}


@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.__name__)
def test_the_tree_is_drawn_as_it_is(kind: type[A2FError]) -> None:
    depth = [parent for parent in kind.__mro__ if issubclass(parent, A2FError)].index(A2FError)
    assert drawn()[kind.__name__] == (depth, kind.exit_code)


@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.__name__)
def test_errors_cross_processes(kind: type[A2FError]) -> None:
    again = pickle.loads(pickle.dumps(kind("what, why, what to do")))
    assert type(again) is kind
    assert str(again) == "what, why, what to do"


def test_nothing_is_drawn_that_is_not_there() -> None:
    assert set(drawn()) == {kind.__name__ for kind in ERRORS}


@pytest.mark.parametrize(
    ("module", "ask", "extra"),
    [
        ("openvino", lambda: a2f.load(engine="openvino"), "openvino"),
        ("torch", lambda: a2f.load(engine="torch"), "train"),
        ("torch", lambda: build_peer("carn-m", scale=2), "train"),
        ("skimage.metrics", lambda: ssim_y(BLACK, BLACK, border=2), "eval"),
    ],
)
def test_what_is_not_installed_is_told_with_the_pip_command(
    monkeypatch: pytest.MonkeyPatch, module: str, ask: Callable[[], object], extra: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    for loaded in [name for name in sys.modules if name.startswith("a2f.peers.")]:
        monkeypatch.delitem(sys.modules, loaded)
    with pytest.raises(MissingExtraError, match=rf"pip install 'a2f\[{extra}\]'"):
        ask()
