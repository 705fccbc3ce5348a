"""An image of any type through the networks, and back as the type that it was: a path, bytes, a PIL image, an array."""

import io
import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from a2f.errors import ImageReadError, InputError, UsageError, WriteError
from a2f.files import ends_like_a_folder, times_of
from a2f.imageio import format_of_suffix
from a2f.pillow import image_of, is_pillow, jpeg_quality_of, pixels_of, upright_of
from a2f.pipeline import Encoding, Request, decide, output_name, write
from a2f.pixels import upscale_pixels
from a2f.runtime.engine import OVERSHOOT
from a2f.upscaler import Control
from a2f.upscalers import Models

if TYPE_CHECKING:
    from PIL.Image import Image as PillowImage


@dataclass(frozen=True, kw_only=True)
class Where:
    """Where the result of a path goes.

    Attributes:
        output: the file to write; None for a name beside the image.
        preserve_times: the file gets the times of the image.
    """

    output: str | os.PathLike[str] | None
    preserve_times: bool


def upscale_any(image: object, models: Models, request: Request, where: Where, control: Control) -> object:
    """Enlarge an image and give back what was given; warnings point at the caller of the caller.

    Args:
        image: as `a2f.upscale`.
        models: the networks.
        request: what is asked for.
        where: the result of a path goes.
        control: watches the work, and ends it.

    Returns:
        The type of `image`.

    Raises:
        A2FError: as `a2f.upscale`.
    """
    if isinstance(image, (str, os.PathLike)):
        return _upscaled_file(image, models, request, where, control)
    kind = type(image).__name__
    if where.output is not None or where.preserve_times:
        what = "output" if where.output is not None else "preserve_times"
        raise InputError(f"{what} is for images given as a path, not as {kind}: save the result yourself")
    if isinstance(image, np.ndarray):
        return _upscaled_array(image, models, request, control)
    if not isinstance(image, (bytes, bytearray, memoryview, io.BytesIO)) and is_pillow(image):
        return _upscaled_pillow(cast("PillowImage", image), models, request, control)
    return _upscaled_bytes(image, models, request, control)


def _upscaled_file(
    given: str | os.PathLike[str], models: Models, request: Request, where: Where, control: Control
) -> Path | str:
    path, output, format = Path(os.fsdecode(given)), where.output, request.encoding.format
    if not path.name:  # nothing, the folder that one is in, or the root
        raise ImageReadError(f"{os.fsdecode(given)!r} is not an image: give the path of a file")
    if isinstance(output, str) and ends_like_a_folder(output):
        raise WriteError(f"{output} is a folder: give the name of a file")
    if output is None:
        target = path.with_name(output_name(path, mark=request.target.mark, format=format))
    else:
        target = Path(output)
        if format is not None and format != format_of_suffix(target.suffix):
            raise UsageError(f"output {output} and format={format!r} name two formats: leave one of them out")
    times = times_of(path) if where.preserve_times else None
    enlargement = decide(path, models, request, output=target, times=times)
    for note in enlargement.notes:
        warnings.warn(note, stacklevel=4)  # points at who called `upscale`
    _, late = write(enlargement, control=control)
    for note in late:
        warnings.warn(note, stacklevel=4)
    return str(target) if isinstance(given, str) else target


def _upscaled_bytes(image: object, models: Models, request: Request, control: Control) -> object:
    data = image.getvalue() if isinstance(image, io.BytesIO) else _buffer(image)
    enlargement = decide(data, models, request)
    for note in enlargement.notes:
        warnings.warn(note, stacklevel=4)
    made, _ = write(enlargement, control=control)
    for kind in (bytearray, memoryview, io.BytesIO):
        if isinstance(image, kind):
            return kind(made)
    return made


def _buffer(image: object) -> bytes:
    if isinstance(image, bytes):
        return image
    try:
        if isinstance(image, np.generic):  # a single number has a buffer too
            raise TypeError
        return bytes(memoryview(image))  # type: ignore[arg-type]  # any object may be asked
    except TypeError as error:
        if hasattr(image, "read"):
            raise InputError(f"{type(image).__name__} is an open file: pass file.read(), or its path") from error
        raise InputError(
            "an image must be a path, the bytes of a file (bytes, bytearray, memoryview, io.BytesIO), a PIL image or "
            f"an array, not {type(image).__name__}"
        ) from error


def _refuse_file_options(image: object, encoding: Encoding) -> None:
    """Refuse options that say how a file is written, where none is written."""
    asked = {"format": encoding.format is not None, "quality": encoding.quality is not None, "strip": encoding.strip}
    for name in (name for name, given in asked.items() if given):
        kind = type(image).__name__
        raise InputError(f"{name} is for files and their bytes, not for {kind}: give it where you save the result")


def _upscaled_array(image: NDArray[Any], models: Models, request: Request, control: Control) -> NDArray[Any]:
    _refuse_file_options(image, request.encoding)
    if isinstance(image, (np.ma.MaskedArray, np.matrix)):
        plain_one = "array.filled(value)" if isinstance(image, np.ma.MaskedArray) else "numpy.asarray(matrix)"
        raise InputError(f"{type(image).__name__} is not accepted: pass {plain_one}")
    plain = np.asarray(image)
    planes = plain[..., None] if plain.ndim == 2 else plain
    if planes.ndim != 3 or planes.shape[2] not in (1, 3, 4) or planes.size == 0:
        raise InputError(f"an array must be [H, W], [H, W, 1], [H, W, 3] or [H, W, 4] and not empty, not {image.shape}")
    if planes.dtype.kind != "f" and planes.dtype.newbyteorder("=") not in (np.uint8, np.uint16):
        raise InputError(
            f"an array must be uint8, uint16 or floating point in [0, 1], not {planes.dtype}: convert it first"
        )
    inside = _in_range(planes) if planes.dtype.kind == "f" else planes
    large = _enlarged(inside, models, request, control, jpeg_quality=None)
    large = large.astype(plain.dtype, copy=False)
    return large[..., 0] if plain.ndim == 2 else large


def _in_range(values: NDArray[Any]) -> NDArray[np.float32]:
    """Floats of any width in float32, what is a little beyond [0, 1] cut off; another range stays, to be refused."""
    with np.errstate(over="ignore"):
        narrow: NDArray[np.float32] = values.astype(np.float32, copy=False)
    low, high = float(narrow.min()), float(narrow.max())
    beyond = (low < 0 or high > 1) and low >= -OVERSHOOT and high <= 1 + OVERSHOOT
    return narrow.clip(0, 1) if beyond else narrow


def _upscaled_pillow(image: "PillowImage", models: Models, request: Request, control: Control) -> "PillowImage":
    _refuse_file_options(image, request.encoding)
    upright = upright_of(image)
    large = _enlarged(pixels_of(upright), models, request, control, jpeg_quality=jpeg_quality_of(image))
    return image_of(large, given=image, upright=upright)


def _enlarged(
    planes: NDArray[Any], models: Models, request: Request, control: Control, *, jpeg_quality: int | None
) -> NDArray[Any]:
    given = planes.shape[1], planes.shape[0]
    passes = models.passes(given, request.target, jpeg_quality=jpeg_quality)
    return upscale_pixels(
        planes,
        [one.upscaler for one in passes],
        size=request.target.exact(given),
        independent=request.independent_alpha,
        tileable=request.tileable,
        control=control,
    )
