"""The tree of errors in the docstring matches the classes and their exit codes."""

import pickle
import re
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import a2f
from a2f import errors
from a2f.cli.console import error_text
from a2f.cli.upscale import upscale
from a2f.cli.video import video
from a2f.errors import A2FError, EngineError, Hint, ImageReadError, LossyFormatError, MissingExtraError
from a2f.imageio import read_image
from a2f.metrics import ssim_y
from a2f.peers import build_peer
from a2f.web.options import in_requests

BLACK = np.zeros((40, 40, 3), np.uint8)

ERRORS = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, A2FError)]


def drawn() -> dict[str, tuple[int, int]]:
    """Depth in the tree of the docstring, and exit code, by name."""
    lines = re.findall(r"^ {4}([│├└─ ]*)(\w+) +(\d+)", errors.__doc__ or "", re.MULTILINE)
    return {name: (len(branch) // 4, int(code)) for branch, name, code in lines}


@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.__name__)
def test_drawn_tree_matches_the_classes(kind: type[A2FError]) -> None:
    depth = [parent for parent in kind.__mro__ if issubclass(parent, A2FError)].index(A2FError)
    assert drawn()[kind.__name__] == (depth, kind.exit_code)


@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.__name__)
def test_errors_survive_pickling(kind: type[A2FError]) -> None:
    again = pickle.loads(pickle.dumps(kind("what, why, what to do")))
    assert type(again) is kind
    assert str(again) == "what, why, what to do"


def test_drawn_tree_has_only_existing_classes() -> None:
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
def test_missing_extra_error_has_the_pip_command(
    monkeypatch: pytest.MonkeyPatch, module: str, ask: Callable[[], object], extra: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    for loaded in [name for name in sys.modules if name.startswith(("a2f.peers.", "a2f.runtime.torch"))]:
        monkeypatch.delitem(sys.modules, loaded)
    with pytest.raises(MissingExtraError, match=rf"pip install 'a2f\[{extra}\]'"):
        ask()


SAVED = LossyFormatError(
    "jpeg cannot hold transparency",
    Hint(text="choose png"),
    Hint(text="accept the loss with {option}", option="force", value=True),
    Hint(text="raise {option}", option="max_pixels"),
    loses=("transparency",),
)
IMPRECISE = EngineError("this CPU does not compute in int8", Hint(text="use {option}", option="dtype", value="float32"))


@pytest.mark.parametrize(
    ("words", "saved", "imprecise"),
    [
        (str, "choose png, or accept the loss with force=True, or raise max_pixels", "use dtype='float32'"),
        (error_text, "choose png, or accept the loss with --force, or raise --max-pixels", "use --dtype float32"),
        (in_requests, "choose png, or accept the loss with force=true", "use dtype=float32"),  # has no max_pixels
    ],
    ids=["Python", "command line", "HTTP"],
)
def test_each_front_end_formats_options_of_hints(words: Callable[[Exception], str], saved: str, imprecise: str) -> None:
    assert words(SAVED) == f"jpeg cannot hold transparency: {saved}"
    assert words(IMPRECISE) == f"this CPU does not compute in int8: {imprecise}"
    assert words(ValueError("{option}")) == "{option}"


def test_hints_survive_pickling() -> None:
    again = pickle.loads(pickle.dumps(SAVED))
    assert (again.hints, str(again)) == (SAVED.hints, str(SAVED))
    assert again.loses == SAVED.loses == ("transparency",)


def test_message_with_braces_is_not_changed() -> None:
    assert (
        error_text(A2FError("{option} {0}.png", Hint(text="see {option}", option="strip")))
        == "{option} {0}.png: see --strip"
    )


@pytest.mark.parametrize(("words", "end"), [(str, ""), (error_text, ": a2f formats lists them"), (in_requests, "")])
def test_only_the_command_line_names_commands(words: Callable[[Exception], str], end: str) -> None:
    with pytest.raises(ImageReadError) as found:
        read_image(b"no picture", name="x.png")
    assert words(found.value) == f"x.png is not an image of a known format{end}"


def test_clients_of_a_server_are_not_told_to_install_something() -> None:
    missing = MissingExtraError("HEIC needs pillow-heif", Hint(text="pip install 'a2f[formats]'"))
    assert in_requests(missing) == "HEIC needs pillow-heif"


def test_hints_name_options_that_all_front_ends_know() -> None:
    named: dict[bool, set[str]] = {True: set(), False: set()}  # in messages about videos, and in all others
    for path in Path(a2f.__file__).parent.rglob("*.py"):
        found = re.findall(r'Hint\([^()]*option="(\w+)"', path.read_text(encoding="utf-8"))
        named[path.parent.name == "video"].update(found)
    assert {"force", "allow_truncated", "max_pixels", "overwrite", "strip"} <= named[False]
    assert named[False] <= {parameter.name for parameter in upscale.params}
    assert {"codec", "deinterlace", "end", "force"} <= named[True] <= {parameter.name for parameter in video.params}


def test_shared_code_names_no_command_line_options() -> None:
    """The messages of modules that Python and the server use; without runtime/, third-party networks and research."""
    root = Path(a2f.__file__).parent
    top = [path for path in root.glob("*.py") if path.name != "external.py"]
    shared = [*top, *(root / "imageio").rglob("*.py"), *(root / "export").rglob("*.py")]
    texts = {path: re.sub(r'"""[\s\S]*?"""', "", path.read_text(encoding="utf-8")) for path in shared}
    found = [(path.name, flag) for path, text in texts.items() for flag in re.findall(r"[\s(\"](--[a-z][a-z-]+)", text)]
    assert [(name, flag) for name, flag in found if name != "contact.py"] == []
