"""Super-resolution small enough to run anywhere: the A²F networks."""

import os
from typing import TYPE_CHECKING, Any

# onnxruntime 1.29 and later sends usage data to its maker and stores an identifier on the disk, unless this variable is
# set before its import. Set it to 0 to opt in.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

__version__ = "0.1.0"

__all__ = [
    "A2FError",
    "ArchiveError",
    "Cancelled",
    "DownloadError",
    "EngineError",
    "ImageReadError",
    "ImageWriteError",
    "InputError",
    "JournalError",
    "LoadedUpscaler",
    "LossyFormatError",
    "MemoryLimitError",
    "MissingExtraError",
    "OutputExistsError",
    "PixelLimitError",
    "TruncatedImageError",
    "UnknownModelError",
    "Upscaler",
    "UsageError",
    "WeightsError",
    "WriteError",
    "load",
    "upscale",
]

if TYPE_CHECKING:
    from a2f.api import LoadedUpscaler, load, upscale
    from a2f.errors import (
        A2FError,
        ArchiveError,
        Cancelled,
        DownloadError,
        EngineError,
        ImageReadError,
        ImageWriteError,
        InputError,
        JournalError,
        LossyFormatError,
        MemoryLimitError,
        MissingExtraError,
        OutputExistsError,
        PixelLimitError,
        TruncatedImageError,
        UnknownModelError,
        UsageError,
        WeightsError,
        WriteError,
    )
    from a2f.upscaler import Upscaler

# all other public names are in a2f.errors
_MODULE_OF = {"LoadedUpscaler": "a2f.api", "Upscaler": "a2f.upscaler", "load": "a2f.api", "upscale": "a2f.api"}


def __getattr__(name: str) -> Any:
    """Import a public name at its first use, so that ``import a2f`` alone is fast (PEP 562)."""
    if name not in __all__:
        raise AttributeError(f"module 'a2f' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_MODULE_OF.get(name, "a2f.errors")), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
