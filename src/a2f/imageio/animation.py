"""Animations: GIF, WebP, PNG and AVIF files with several frames and their durations.

Pillow reads them and composes each frame with the earlier ones, so every frame here is a complete image.
"""

import io
import struct
from collections.abc import Iterator
from fractions import Fraction
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray

from a2f.errors import Hint, ImageReadError
from a2f.imageio.exif import ORIENTATION
from a2f.imageio.heif_boxes import plays_of
from a2f.imageio.picture import Animation, has_degrees
from a2f.imageio.png_chunks import chunks_of

if TYPE_CHECKING:
    from PIL.Image import Image as PillowImage

Frame = NDArray[np.uint8]
ANIMATED = ("gif", "webp", "png", "avif")
MILLISECOND = Fraction(1, 1000)
# How to turn frames of an EXIF orientation upright: the values of `Transpose` in Pillow. Its rotations are to the left.
TURNS = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}


def animation_of(data: bytes, format: str, *, orientation: int = 1) -> Animation | None:
    """The frames and durations of a file; None for a still image, a damaged file, or another format.

    Args:
        data: the file.
        format: its format, a key of `FORMATS`.
        orientation: its EXIF orientation; AVIF has the orientation of its frames in boxes.
    """
    if format not in ANIMATED or (format == "png" and not any(chunk.kind == b"acTL" for chunk in chunks_of(data))):
        return None
    try:
        with _opened(data) as image:
            count = getattr(image, "n_frames", 1)
            if count < 2 or getattr(image, "default_image", None):  # a still image that is not a frame
                return None
            durations = _exact_durations(data) if format == "png" else _durations(image, count)
            plays = plays_of(data) if format == "avif" else _plays(image, format)
            if format == "avif":
                orientation = image.getexif().get(ORIENTATION, 1)  # that of the boxes, not of EXIF
    except (OSError, ValueError, SyntaxError, EOFError):
        return None
    if len(durations) != count:
        return None
    return Animation(data=data, durations=durations, plays=plays, orientation=orientation)


def frames_of(animation: Animation, *, colours: int) -> Iterator[Frame]:
    """The frames of an animation, one by one, upright, each [H, W, colours].

    Args:
        animation: result of `animation_of`.
        colours: 3 RGB, 4 RGB and alpha.

    Raises:
        ImageReadError: if a frame is damaged.
    """
    turn = TURNS.get(animation.orientation)
    with _opened(animation.data) as image:
        for number in range(animation.count):
            try:
                image.seek(number)
                frame = image.convert("RGB" if colours == 3 else "RGBA")
                yield np.asarray(frame if turn is None else frame.transpose(turn))  # type: ignore[arg-type]
            except (OSError, ValueError, SyntaxError, EOFError) as error:
                told = f"frame {number + 1} of {animation.count} cannot be read: {error}"
                still = Hint(text="{option} uses only the first frame", option="format", value="tiff")
                raise ImageReadError(told, still) from error


def is_transparent_anywhere(animation: Animation) -> tuple[bool, bool]:
    """Whether any frame is transparent, and whether any has partially transparent pixels."""
    transparent = degrees = False
    for frame in frames_of(animation, colours=4):
        transparent |= bool((frame[..., 3] < 255).any())
        degrees |= has_degrees(frame)
    return transparent, degrees


def _opened(data: bytes) -> "PillowImage":
    from PIL import Image

    return cast("PillowImage", Image.open(io.BytesIO(data), formats=("GIF", "WEBP", "PNG", "AVIF")))


def _durations(image: "PillowImage", count: int) -> tuple[Fraction, ...]:
    told = []
    for number in range(count):
        image.seek(number)
        image.load()
        told.append(Fraction(image.info.get("duration") or 0) * MILLISECOND)
    return tuple(told)


def _exact_durations(data: bytes) -> tuple[Fraction, ...]:
    """The durations of a PNG, which stores them as fractions of a second."""
    controls = [chunk.body(data) for chunk in chunks_of(data) if chunk.kind == b"fcTL"]
    pairs = [struct.unpack_from(">HH", body, 20) for body in controls if len(body) == 26]
    return tuple(Fraction(above, below or 100) for above, below in pairs)


def _plays(image: "PillowImage", format: str) -> int:
    told = image.info.get("loop")
    if format == "gif":  # a GIF has the number of repetitions, or nothing
        return 1 if told is None else int(told) + 1 if told else 0
    return int(told or 0)
