"""What can go wrong, as one tree.

::

    A2FError
    ├── UsageError             a request that can never work: unknown option values, clashing outputs
    │   └── UnknownModelError  no such model or scale; lists what there is
    ├── InputError             an array of the wrong shape, dtype or range
    ├── ImageReadError         a file that is missing, unreadable, empty or not an image
    │   ├── TruncatedImageError  the file ends too early
    │   └── PixelLimitError      more pixels than the limit allows
    ├── ImageWriteError        the output cannot be written; nothing half done is left
    │   ├── LossyFormatError   the format would lose alpha or bit depth
    │   └── OutputExistsError  there is a file, and nobody asked to replace it
    ├── DownloadError          a file that cannot be fetched or unpacked, or has the wrong checksum
    │   └── ArchiveError       an archive that is damaged or not to be trusted
    ├── WeightsError           a weights file that is truncated, foreign or of the wrong shape
    ├── EngineError            an engine, device or precision that is not to be had here
    └── MissingExtraError      an optional package is not installed; tells the pip command

Every message says what was got, what is allowed and what to do.
"""


class A2FError(Exception):
    """Base of all errors that a2f raises on purpose.

    Attributes:
        exit_code: what the command line exits with when this error ends it: 1 a failure, 2 a usage error.
    """

    exit_code = 1


class UsageError(A2FError):
    """A request that can never work, whatever the files hold."""

    exit_code = 2


class UnknownModelError(UsageError):
    """No such model, or no weights for this model and scale; the message lists what there is."""


class InputError(A2FError, ValueError):
    """An array or image object of the wrong shape, dtype or range."""


class ImageReadError(A2FError):
    """A file that is missing, unreadable, empty, damaged or not an image."""


TAKE_WHAT_THERE_IS = "--allow-truncated (allow_truncated=True) takes what there is"


class TruncatedImageError(ImageReadError):
    """An image file that ends before its pixels do."""


class PixelLimitError(ImageReadError):
    """An image with more pixels than the limit allows."""


class ImageWriteError(A2FError):
    """The output cannot be written; nothing half done is left behind."""


class LossyFormatError(ImageWriteError):
    """The chosen format would lose transparency or bit depth, and nobody asked for that."""

    exit_code = 2


class OutputExistsError(ImageWriteError):
    """There is a file at the output, and nobody asked to replace it; it may have appeared a moment ago."""


class DownloadError(A2FError):
    """A file that cannot be fetched or unpacked, or has the wrong checksum."""


class ArchiveError(DownloadError):
    """An archive that is damaged, lacks what is wanted, or holds members that are not to be trusted."""


class WeightsError(A2FError):
    """A weights or checkpoint file that is truncated, foreign or of the wrong shape."""


class EngineError(A2FError):
    """An engine, device or precision that is not to be had on this machine."""


class MissingExtraError(A2FError):
    """An optional package is not installed. The message tells the pip command that installs it."""

    exit_code = 2
