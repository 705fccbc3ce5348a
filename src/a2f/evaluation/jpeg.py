"""LR images that went through a JPEG file: the protocol for compressed input."""

import io
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from a2f.errors import UsageError

if TYPE_CHECKING:
    from a2f.evaluation.sets import Image, Item

VERSION = "a2f-jpeg/1"
SUBSAMPLING = "4:2:0"
UNTOUCHED = "clean"

Quality = int | None  # of the JPEG that LR went through; None: it went through none


def through_jpeg(image: "Image", *, quality: int) -> "Image":
    """Encode an image as JPEG, 4:2:0, and decode it, both by Pillow.

    Args:
        image: [H, W, 3] uint8 RGB.
        quality: of libjpeg, 1 to 100.

    Returns:
        [H, W, 3] uint8 RGB.

    Raises:
        UsageError: for another quality.
    """
    from PIL import Image as Pillow

    if not 1 <= quality <= 100:
        raise UsageError(f"JPEG quality {quality}: choose from 1 to 100")
    file = io.BytesIO()
    Pillow.fromarray(image).save(file, "JPEG", quality=quality, subsampling=SUBSAMPLING)
    return np.asarray(Pillow.open(file).convert("RGB"))


def under(items: "Sequence[Item]", quality: Quality) -> "list[Item]":
    """A set whose LR images went through a JPEG of this quality; the set itself for None."""
    if quality is None:
        return list(items)
    return [replace(item, lr=through_jpeg(item.lr, quality=quality)) for item in items]


def condition(quality: Quality) -> str:
    """What a table calls it: "clean", or "JPEG 75"."""
    return UNTOUCHED if quality is None else f"JPEG {quality}"


def encoder() -> str:
    """What encodes, with its versions; the pixels depend on them."""
    import PIL
    from PIL import features

    turbo = features.version_feature("libjpeg_turbo")
    library = f"libjpeg-turbo {turbo}" if turbo else f"libjpeg {features.version_codec('jpg')}"
    return f"Pillow {PIL.__version__}, {library}"


def lr_rule(qualities: Sequence[Quality]) -> str:
    """How LR was made, for the protocol under a table."""
    listed = ", ".join(str(quality) for quality in qualities if quality is not None)
    rule = (
        f"{VERSION}: LR by MATLAB-compatible bicubic (or the set's own LR_bicubic), rounded to uint8 RGB, "
        f"then JPEG at quality {listed}, {SUBSAMPLING}, encoded and decoded by {encoder()}"
    )
    return f"{rule}; {UNTOUCHED}: no JPEG" if None in qualities else rule
