"""The tree of errors. The number is the exit code of a command that ends with the error (`EXIT_CODES`).

::

    A2FError                   3
    ├── UsageError             2  a request that can never work: unknown option values, clashing outputs
    │   └── UnknownModelError  2  no such model or scale; the message lists the models
    ├── InputError             3  an array or image object of the wrong type, shape, dtype or range
    ├── ImageReadError         3  a file that is missing, unreadable, empty or not an image
    │   ├── TruncatedImageError  3  the file ends too early
    │   └── PixelLimitError    3  more pixels than the limit allows
    ├── WriteError             3  a file that cannot be written; no partial file remains
    │   ├── OutputExistsError  3  the output exists and overwriting was not requested
    │   └── ImageWriteError    3  a picture that cannot be encoded
    │       └── LossyFormatError  2  the format would lose alpha, bit depth or metadata
    ├── DownloadError          3  a file that cannot be fetched or unpacked, or has the wrong checksum
    │   └── ArchiveError       3  an archive that is damaged or unsafe
    ├── JournalError           3  the journal of a batch that is damaged, in use, or cannot be written
    ├── WeightsError           3  a weights file that is missing, truncated, of another program or of the wrong shape
    ├── EngineError            2  an engine, device or precision that is not available on this machine
    ├── MissingExtraError      2  an optional package is missing; the message has the pip command
    ├── MemoryLimitError       3  too little memory; the message has the least that works, if known
    └── Cancelled            130  the work was stopped on request

Every message says what was got, what is allowed and what to do. The advice may name an option, for example `max_pixels`
in Python and in HTTP requests, and `--max-pixels` on the command line. Such advice is a `Hint`; each front end formats
the option in its own syntax.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Hint:
    """Advice at the end of an error's message.

    Attributes:
        text: what to do; ``{option}`` stands for the option: "accept the loss with {option}".
        option: its name in Python, for example "max_pixels"; empty if the advice names no option.
        value: the value to set; None if the reader chooses it.
        command: a command that helps, for example "a2f formats": ``{option}`` stands for it. Only the command line
            shows such a hint.
    """

    text: str
    option: str = ""
    value: bool | int | str | None = None
    command: str = ""


EXIT_CODES = {
    0: "all done",
    1: "some inputs failed",
    2: "wrong command (nothing was done)",
    3: "all failed",
    130: "stopped by Ctrl-C",
}

Spelling = Callable[[Hint], str]  # formats the option of a hint; empty if the front end has no such option


def in_python(hint: Hint) -> str:
    """Format the option of a hint as a keyword argument: ``force=True``, ``max_pixels``."""
    return hint.option if hint.value is None else f"{hint.option}={hint.value!r}"


class A2FError(Exception):
    """Base of all errors that a2f raises on purpose.

    Args:
        message: what was got, and what is allowed.
        hints: what to do; one of them is enough.

    Attributes:
        exit_code: exit code of a command that ends with this error, see `EXIT_CODES`.
    """

    exit_code = 3

    def __init__(self, message: str, *hints: Hint) -> None:
        super().__init__(message, *hints)
        self.message, self.hints = message, hints

    def __str__(self) -> str:
        return self.text(in_python)

    def text(self, spelled: Spelling) -> str:
        """Format the message and its hints for a front end; hints whose option it does not have are left out."""
        names = [(hint.text, spelled(hint) if hint.option or hint.command else "") for hint in self.hints]
        hints = [text.replace("{option}", name) for text, name in names if name or "{option}" not in text]
        return f"{self.message}: {', or '.join(hints)}" if hints else self.message


class UsageError(A2FError):
    """A request that can never work, independent of the content of the files."""

    exit_code = 2


class UnknownModelError(UsageError):
    """No such model, or no weights for this model and scale; the message lists the models."""


class InputError(A2FError, ValueError):
    """An array or image object of the wrong shape, dtype or range."""


class ImageReadError(A2FError):
    """A file that is missing, unreadable, empty, damaged or not an image."""


ALLOW_TRUNCATED_HINT = Hint(text="{option} takes what can be read", option="allow_truncated", value=True)


class TruncatedImageError(ImageReadError):
    """An image file that ends before its pixels do."""


class PixelLimitError(ImageReadError):
    """An image with more pixels than the limit allows."""


class WriteError(A2FError):
    """A file that cannot be written: no such folder, no permission, a full disk. No partial file remains."""


class OutputExistsError(WriteError):
    """The output exists and overwriting was not requested; the file may have appeared during the run."""


class ImageWriteError(WriteError):
    """A picture that cannot be encoded in the chosen format."""


Loss = Literal[
    "transparency",
    "partial-transparency",
    "data-channel",
    "hdr",
    "bit-depth",
    "floating-point",
    "metadata",
    "colour-profile",
    "animation",
    "colours",
]


class LossyFormatError(ImageWriteError):
    """The chosen format would lose transparency, bit depth or metadata, and `force` is not set.

    Args:
        message: what the format cannot store; if there is more, the first.
        hints: what to do; one of them is enough.
        loses: all properties of a picture that would be lost, for programs; empty for videos.
    """

    exit_code = 2

    def __init__(self, message: str, *hints: Hint, loses: tuple[Loss, ...] = ()) -> None:
        super().__init__(message, *hints)
        self.loses = loses


class DownloadError(A2FError):
    """A file that cannot be fetched or unpacked, or has the wrong checksum."""


class ArchiveError(DownloadError):
    """An archive that is damaged, lacks an expected file, or has unsafe members."""


class JournalError(A2FError):
    """The journal of a batch that is missing, damaged, in use by another run, or cannot be written."""


class WeightsError(A2FError):
    """A weights or checkpoint file that is missing, truncated, of another program or of the wrong shape."""


class EngineError(A2FError):
    """An engine, device or precision that is not available on this machine."""

    exit_code = 2


class MissingExtraError(A2FError):
    """An optional package is not installed. The message has the pip command that installs it."""

    exit_code = 2


class MemoryLimitError(A2FError):
    """The work needs more memory than is allowed or available; the message has the least that works."""


class Cancelled(A2FError):  # noqa: N818 - a stop on request is not an error
    """The work was stopped on request."""

    exit_code = 130


def count_of(number: int, what: str) -> str:
    """A number and a noun for messages: "1 file", "2 files".

    Args:
        number: the number.
        what: the noun, with "(s)" where the plural has an s: "file(s) without a suffix"; without "(s)", the plural gets
            an s at its end.
    """
    what = what if "(s)" in what else f"{what}(s)"
    return f"{number:,} {what.replace('(s)', '' if number == 1 else 's')}"


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A hint for the message about an unknown name.

    Args:
        name: what was given.
        known: the names that exist.

    Returns:
        ``" (did you mean 'carn-m'?)"``, or an empty string if no known name is similar. Case, underscores and a leading
        "A2F-" are ignored.
    """
    import difflib

    plain = {_plain(word): word for word in known}
    near = difflib.get_close_matches(_plain(name), plain, n=1)
    return f" (did you mean {plain[near[0]]!r}?)" if near else ""


def _plain(name: str) -> str:
    return name.lower().replace("²", "2").replace("_", "-").removeprefix("a2f-")
