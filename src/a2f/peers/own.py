"""Networks of the user: a class in a Python file, called with the scale and tested before it is used."""

import importlib.util
import traceback
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from a2f.errors import A2FError, MissingExtraError, UsageError, did_you_mean

if TYPE_CHECKING:
    from torch import nn

TEST_PX = 64  # side of the test image: a multiple of common window sizes and strides
FORM = "FILE.py:CLASS"


def is_own(name: str) -> bool:
    """Whether a network name is a class in a file, "file.py:Class"."""
    return ".py:" in name


def own_network(name: str, *, scale: int) -> "nn.Module":
    """Build a network from a Python file and test it on a small image.

    Args:
        name: "file.py:Class", a class or a function that is called with the scale and returns a module.
        scale: s.

    Raises:
        UsageError: if the file or the class cannot be used, or the network does not map [1, 3, H, W] to [1, 3, sH, sW].
            The message has the line of the file.
        MissingExtraError: if torch is not installed.
    """
    file, _, class_name = name.rpartition(":")
    path = Path(file)
    if not path.is_file():
        raise UsageError(f"network {name!r}: there is no file {path}; give {FORM}")
    try:
        from torch import nn
    except ModuleNotFoundError as error:
        raise MissingExtraError(f"{name} needs torch: pip install 'a2f[train]'") from error
    maker = _maker(_imported(path, name), class_name, name)
    try:
        network = maker(scale)
    except A2FError:
        raise
    except (Exception, SystemExit) as error:  # a class of the user may raise anything, also SystemExit
        raise UsageError(
            f"network {name!r}: {class_name}({scale}) failed{at_line(error, path)}: {reason(error)}; it is called "
            "with the scale only"
        ) from error
    if not isinstance(network, nn.Module):
        raise UsageError(f"network {name!r}: {class_name}({scale}) is a {type(network).__name__}, not a torch module")
    _try(network, name, path, scale)
    return network


def reason(error: BaseException) -> str:
    """An error of the user's code on one line: its type and the first line of its text."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def at_line(error: BaseException, path: Path) -> str:
    """The place of an error in a file, e.g. " in my.py, line 7"; only the file if the line is unknown."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if Path(frame.filename).resolve() == path.resolve()]
    if isinstance(error, SyntaxError):
        lines.append(error.lineno)
    return f" in {path}, line {lines[-1]}" if lines else f" in {path}"


def _imported(path: Path, name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"a2f_own_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise UsageError(f"network {name!r}: {path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise UsageError(
            f"network {name!r}: the file cannot be imported{at_line(error, path)}: {reason(error)}"
        ) from error
    return module


def _maker(module: ModuleType, class_name: str, name: str) -> Any:
    """Find a class or function by name."""
    maker = getattr(module, class_name, None) if class_name else None
    if callable(maker):
        return maker
    there = [key for key, value in vars(module).items() if getattr(value, "__module__", "") == module.__name__]
    listed = f"it has {', '.join(there)}" if there else "it defines none"
    raise UsageError(
        f"network {name!r}: the file has no class or function {class_name!r}{did_you_mean(class_name, there)}; {listed}"
    )


def _try(network: "nn.Module", name: str, path: Path, scale: int) -> None:
    """Run the network once, in evaluation mode; its state is restored."""
    import torch

    training = network.training
    x = torch.full((1, 3, TEST_PX, TEST_PX), 0.5)
    wanted = [1, 3, TEST_PX * scale, TEST_PX * scale]
    try:
        with torch.no_grad():
            y = network.eval()(x)
    except (Exception, SystemExit) as error:
        raise UsageError(
            f"network {name!r}: forward failed on an image of {list(x.shape)}{at_line(error, path)}: {reason(error)}"
        ) from error
    finally:
        network.train(training)
    if not isinstance(y, torch.Tensor):
        raise UsageError(f"network {name!r}: forward returns a {type(y).__name__}; it must return one tensor {wanted}")
    if list(y.shape) != wanted:
        raise UsageError(
            f"network {name!r}: {list(x.shape)} became {list(y.shape)}; at scale {scale} it must be {wanted}"
        )
