"""The protocol for compressed input: LR images after JPEG compression."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from a2f.data.degrade import jpeg

if TYPE_CHECKING:
    from a2f.evaluation.sets import Item

VERSION = "a2f-jpeg/1"
SUBSAMPLING = "4:2:0"  # the default of `jpeg`
UNTOUCHED = "clean"

Quality = int | None  # JPEG quality of the LR images; None for no JPEG


def compressed(items: "Sequence[Item]", quality: Quality) -> "list[Item]":
    """Compress and decode the LR images of a set as JPEG; None returns the set unchanged."""
    if quality is None:
        return list(items)
    return [replace(item, lr=jpeg(item.lr, quality=quality)) for item in items]


def condition(quality: Quality) -> str:
    """The name of a condition in tables: "clean", or "JPEG 75"."""
    return UNTOUCHED if quality is None else f"JPEG {quality}"


def encoder() -> str:
    """The JPEG encoder and its versions, on which the pixels depend."""
    import PIL
    from PIL import features

    turbo = features.version_feature("libjpeg_turbo")
    library = f"libjpeg-turbo {turbo}" if turbo else f"libjpeg {features.version_codec('jpg')}"
    return f"Pillow {PIL.__version__}, {library}"


def lr_rule(qualities: Sequence[Quality]) -> str:
    """The rule by which LR was made, for the protocol below a table."""
    listed = ", ".join(str(quality) for quality in qualities if quality is not None)
    rule = (
        f"{VERSION}: LR by MATLAB-compatible bicubic (or the set's own LR_bicubic), rounded to uint8 RGB, "
        f"then JPEG at quality {listed}, {SUBSAMPLING}, encoded and decoded by {encoder()}"
    )
    return f"{rule}; {UNTOUCHED}: no JPEG" if None in qualities else rule
