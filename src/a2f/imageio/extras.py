"""Libraries for file formats that not everybody needs: the extra `formats`."""

import importlib
from typing import Any

from a2f.errors import Hint, MissingExtraError

PACKAGES = {
    "pillow_heif": "pillow-heif",
    "imagecodecs": "imagecodecs",
    "pylibjxl": "pylibjxl",
    "OpenEXR": "OpenEXR",
}  # modules, and what pip calls them


NEEDED = {"heic": ("pillow_heif",), "jxl": ("pylibjxl", "imagecodecs"), "exr": ("OpenEXR",)}  # by format


def check_extra(format: str) -> None:
    """Make sure that a format can be written; errors as `library`."""
    for module in NEEDED.get(format, ()):
        library(module, f"writing {format}")


def library(module: str, what: str) -> Any:
    """An optional library.

    Args:
        module: a key of `PACKAGES`.
        what: what it is needed for, e.g. "HEIC".

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
