"""Super-resolution small enough to run anywhere: the A²F networks."""

import os
from typing import TYPE_CHECKING, Any

# onnxruntime from 1.29 on sends usage data to its maker and keeps an identifier on the disk, unless this is set before
# its import. Who wants that sets the variable to 0.
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

# all others are errors
_HOME = {"LoadedUpscaler": "a2f.api", "Upscaler": "a2f.upscaler", "load": "a2f.api", "upscale": "a2f.api"}


def __getattr__(name: str) -> Any:
    """Import the public names when first asked for: ``import a2f`` alone costs nothing (PEP 562)."""
    if name not in __all__:
        raise AttributeError(f"module 'a2f' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOME.get(name, "a2f.errors")), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
