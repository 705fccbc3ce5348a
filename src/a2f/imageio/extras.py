"""Optional libraries for file formats: the extra `formats`."""

import importlib
from typing import Any

from a2f.errors import Hint, MissingExtraError

PACKAGES = {
    "pillow_heif": "pillow-heif",
    "imagecodecs": "imagecodecs",
    "pylibjxl": "pylibjxl",
    "OpenEXR": "OpenEXR",
}  # module -> name for pip


NEEDED = {"heic": ("pillow_heif",), "jxl": ("pylibjxl", "imagecodecs"), "exr": ("OpenEXR",)}  # by format


def check_extra(format: str) -> None:
    """Check that the library for a format is installed; raises MissingExtraError."""
    for module in NEEDED.get(format, ()):
        library(module, f"writing {format}")


def library(module: str, what: str) -> Any:
    """Import an optional library.

    Args:
        module: a key of `PACKAGES`.
        what: the purpose, e.g. "HEIC", for the message.

    Raises:
        MissingExtraError: if it is not installed or does not load.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = PACKAGES[module]
        if error.name == module:
            missing, install = "which is not installed", Hint(text="pip install 'a2f[formats]'")
            raise MissingExtraError(f"{what} needs the package {package}, {missing}", install) from error
        raise MissingExtraError(f"{what} needs the package {package}, which does not load here ({error})") from error
