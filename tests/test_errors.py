"""The tree of errors: drawn as it is, each with its exit code."""

import pickle
import re

import pytest

from a2f import errors
from a2f.errors import A2FError

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
