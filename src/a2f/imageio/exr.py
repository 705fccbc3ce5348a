"""Read and write EXR files with the library of the OpenEXR project."""

import io
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from a2f.errors import ImageReadError, ImageWriteError, TruncatedImageError, count_of
from a2f.imageio.colour import (
    PRIMARIES,
    SRGB_CURVE,
    Chromaticities,
    primaries_of_profile,
    profile_of,
    rgb_to_xyz,
    to_srgb,
)
from a2f.imageio.extras import library
from a2f.imageio.light import from_network, light_by_profile, light_of, srgb_to_light, to_network, without_alpha
from a2f.imageio.limits import check_size
from a2f.imageio.picture import Light, Metadata, Picture

FAILURES = (ValueError, OSError, RuntimeError, TypeError, MemoryError, KeyError, IndexError, OverflowError)
# Attributes that describe the storage of the pixels, not the picture; they are rewritten.
STORAGE = {
    *("channels", "chromaticities", "compression", "dataWindow", "displayWindow", "lineOrder", "type", "tiles"),
    *("preview", "chunkCount", "version", "name", "dwaCompressionLevel", "zipCompressionLevel", "maxSamplesPerPixel"),
}
KINDS: dict[str, Any] = {"HALF": np.float16, "FLOAT": np.float32}
MAX_XYZ = 1000  # limit of a primary; numbers in ICC profiles are below 32768, and Bradford increases them
COLOURS = (("R", "G", "B"), ("Y",))


@dataclass(frozen=True, kw_only=True)
class _Layer:
    """The channels of the colours and of alpha, and the channels that are left out."""

    colours: tuple[str, ...]
    alpha: str | None
    others: tuple[str, ...]


def read_exr(data: bytes, name: str, *, max_pixels: int | None = None, allow_truncated: bool = False) -> Picture:
    """Decode the first part of an EXR file; colours are divided by alpha. Raises the errors of `read_image`."""
    header, parts = _header(data, name)
    width, height = _size(header)
    check_size(width, height, name, max_pixels)
    layer = _layer_of([(c.name, c.xSampling, c.ySampling) for c in header["channels"]], name)
    names = [*layer.colours, *([layer.alpha] if layer.alpha else [])]
    planes = _planes(data, names, (height, width), name)
    notes = [*_notes(header, parts, layer, name), *_primaries_notes(header, name)]
    values = np.stack(planes, axis=-1)
    colours = values[..., : len(layer.colours)].astype(np.float32)
    alpha = values[..., -1:].astype(np.float32) if layer.alpha else None
    if alpha is not None:
        light_of(alpha, name)  # rejects NaN
        alpha = alpha.clip(0, 1)
        colours, more = without_alpha(colours, alpha, name)
        notes += more
    light = _described(light_of(colours, name), header, half=planes[0].dtype == np.float16, grey=len(planes) < 3)
    pixels = to_network(colours, light)
    pixels = pixels if alpha is None else np.concatenate([pixels, alpha], axis=2)
    size = (pixels.shape[1], pixels.shape[0])
    return Picture(pixels=pixels, metadata=Metadata(size=size), light=light, format="exr", notes=tuple(notes))


def _planes(data: bytes, names: list[str], shape: tuple[int, int], name: str) -> list[NDArray[Any]]:
    """Read channels, each [H, W]. The library's newer `File` drops undecodable parts and prints messages."""
    exr = library("OpenEXR", "reading EXR")
    with _errors_as_ours(name), _as_file(data) as path, closing(exr.InputFile(path)) as file:
        told = file.header()["channels"]
        kinds = [KINDS.get(str(told[key].type)) for key in names]
        if None in kinds:
            raise ImageReadError(f"{name} has colours that are not floating-point values: convert it first")
        if not file.isComplete():
            raise TruncatedImageError(f"{name} is truncated or damaged; too much of it is missing")
        parts = file.channels(names)
        return [np.frombuffer(part, kind).reshape(shape) for part, kind in zip(parts, kinds, strict=True)]


@contextmanager
def _as_file(data: bytes) -> Iterator[str]:
    """Make a path for the data: from a stream, the library accepts any length and aborts when memory is full.

    On Linux it is an unnamed memory file, so no file remains even if the process is killed.
    """
    if hasattr(os, "memfd_create"):
        with os.fdopen(os.memfd_create("picture.exr"), "wb") as file:
            file.write(data)
            file.flush()
            yield f"/proc/self/fd/{file.fileno()}"
        return
    with tempfile.TemporaryDirectory(prefix="a2f-", ignore_cleanup_errors=True) as folder:
        path = Path(folder) / "picture.exr"
        path.write_bytes(data)
        yield str(path)


@contextmanager
def _errors_as_ours(name: str) -> Iterator[None]:
    try:
        yield
    except FAILURES as error:
        said = re.sub(r"'[^']*(picture\.exr|/fd/[0-9]+)'", "it", " ".join(str(error).split())) or "it is damaged"
        raise ImageReadError(f"cannot decode {name}: {said}") from error


def exr_size(data: bytes, name: str) -> tuple[int, int]:
    """Width and height from the header. Raises the errors of `read_image`."""
    return _size(_header(data, name)[0])


def exr_samples(data: bytes, name: str) -> tuple[int, int]:
    """Number of read channels and bytes per sample, from the header. Raises the errors of `read_image`."""
    layer = _layer_of([(c.name, c.xSampling, c.ySampling) for c in _header(data, name)[0]["channels"]], name)
    return len(layer.colours) + (layer.alpha is not None), 4  # halves become floats


def exr_of(picture: Picture, *, strip: bool) -> bytes:
    """Encode an EXR file without loss. Integers are converted to sRGB, then to linear light.

    Floating-point values with a profile are converted to linear light by its curves; its primaries are written.

    Args:
        picture: source of the values, attributes, primaries and bit depth.
        strip: leave out the attributes; primaries are always written.

    Raises:
        MissingExtraError: without the library.
        ImageWriteError: if the encoder fails, or the profile of floating-point values has no primaries.
    """
    pixels, colours = picture.pixels, picture.pixels.shape[2] - picture.has_alpha - picture.data_band
    if picture.light is not None:
        light = replace(picture.light, attributes=()) if strip else picture.light
        alpha = pixels[..., colours:] if picture.has_alpha else None
        values = from_network(pixels[..., :colours], light)
        if picture.metadata.icc:
            values, light = _freed_of_profile(values, light, picture.metadata.icc)
        return _encoded(values, light, alpha=alpha)
    pixels = to_srgb(pixels, picture.metadata)
    top = np.float32(np.iinfo(pixels.dtype).max)
    light = Light(low=0, high=1, half=pixels.dtype == np.uint8)
    opaque = (pixels[..., colours:] / top).astype(np.float32) if picture.has_alpha else None
    return _encoded(srgb_to_light(pixels[..., :colours]), light, alpha=opaque)


def _freed_of_profile(values: NDArray[np.float32], light: Light, icc: bytes) -> tuple[NDArray[np.float32], Light]:
    """Convert to linear light, and return the primaries that replace the profile."""
    linear = light_by_profile(values, icc)
    if values.shape[2] == 1:
        return linear, light
    primaries = primaries_of_profile(icc)
    if not _are_usable(primaries):
        raise ImageWriteError(
            "cannot encode as exr: the colour profile has primaries that span no colours; choose tiff"
        )
    return linear, replace(light, primaries=primaries)


def _encoded(values: NDArray[np.float32], light: Light, *, alpha: NDArray[np.float32] | None) -> bytes:
    """Write a file of linear colours [H, W, 1 or 3], premultiplied with alpha [H, W, 1], as the format requires."""
    exr = library("OpenEXR", "writing EXR")
    kind = np.float16 if light.half else np.float32
    values = values if alpha is None else values * alpha
    if light.half:
        values = values.clip(-65504, 65504)  # the largest half
    names = COLOURS[0] if values.shape[2] == 3 else COLOURS[1]
    channels = {key: np.ascontiguousarray(values[..., i].astype(kind)) for i, key in enumerate(names)}
    if alpha is not None:
        channels["A"] = np.ascontiguousarray(alpha[..., 0].astype(kind))
    header: dict[str, Any] = {**dict(light.attributes), "compression": exr.ZIP_COMPRESSION, "type": exr.scanlineimage}
    if light.primaries:
        white, colours = light.primaries[:2], light.primaries[2:]
        header["chromaticities"] = (*colours, *white)
    out = io.BytesIO()
    try:
        exr.File(header, channels).write(out)
    except FAILURES as error:
        raise ImageWriteError(f"cannot encode {values.shape[1]} x {values.shape[0]} as exr: {error}") from error
    return out.getvalue()


def _header(data: bytes, name: str) -> tuple[dict[str, Any], int]:
    """The header of the first part, and how many parts there are."""
    exr = library("OpenEXR", f"reading {name} (EXR)")
    with _errors_as_ours(name), _as_file(data) as path:
        parts = exr.File(path, header_only=True).parts
        header: dict[str, Any] = parts[0].header
        if header["type"] in (exr.deepscanline, exr.deeptile):
            raise ImageReadError(f"{name} is a deep EXR, which is not read: flatten it first")
        _size(header)
    return header, len(parts)


def _size(header: dict[str, Any]) -> tuple[int, int]:
    first, last = header["dataWindow"]
    return int(last[0]) - int(first[0]) + 1, int(last[1]) - int(first[1]) + 1


def _layer_of(channels: list[tuple[str, int, int]], name: str) -> _Layer:
    """Find R, G, B or Y, without a prefix or in the first layer that has them."""
    names = [key for key, _, _ in channels]
    sampled = {key for key, x, y in channels if (x, y) != (1, 1)}
    prefixes = ["", *dict.fromkeys(f"{key.rpartition('.')[0]}." for key in names if "." in key)]
    for prefix in prefixes:
        for colours in COLOURS:
            wanted = tuple(prefix + colour for colour in colours)
            if not set(wanted) <= set(names):
                continue
            if sampled & {*wanted, prefix + "RY", prefix + "BY"}:
                raise ImageReadError(f"{name} has colours of fewer samples than brightness: save it as RGB first")
            alpha = prefix + "A" if prefix + "A" in names and prefix + "A" not in sampled else None
            return _Layer(colours=wanted, alpha=alpha, others=tuple(set(names) - {*wanted, alpha}))
    raise ImageReadError(f"{name} has no channels R, G, B or Y, only {', '.join(names[:8])}")


def _notes(header: dict[str, Any], parts: int, layer: _Layer, name: str) -> list[str]:
    notes = [f"{name} has {parts} parts; only the first is read"] if parts > 1 else []
    if prefix := layer.colours[0].rpartition(".")[0]:
        notes.append(f"{name} holds its colours in the layer {prefix}: the result has no layers")
    if layer.others:
        shown = ", ".join(sorted(layer.others)[:8]) + (", ..." if len(layer.others) > 8 else "")
        notes.append(f"{name} holds {count_of(len(layer.others), 'more channel')} ({shown}): left out")
    if not all(np.array_equal(a, b) for a, b in zip(header["dataWindow"], header["displayWindow"], strict=True)):
        notes.append(f"{name} covers another area than its display window: the result is what it covers")
    if "preview" in header:
        notes.append(f"{name} holds a small preview: left out")
    return notes


def _described(light: Light, header: dict[str, Any], *, half: bool, grey: bool) -> Light:
    attributes = tuple((key, value) for key, value in header.items() if key not in STORAGE and _can_be_written(value))
    primaries = _primaries_of(header)
    light = replace(light, half=bool(half), attributes=attributes, primaries=primaries)
    if primaries is None or np.allclose(primaries, PRIMARIES[1], atol=1e-4) or not _are_usable(primaries):
        return light
    return replace(light, shown_icc=profile_of(primaries, SRGB_CURVE, grey=grey))


def _primaries_of(header: dict[str, Any]) -> Chromaticities | None:
    told = header.get("chromaticities")
    return None if told is None else (*map(float, told[6:8]), *map(float, told[:6]))  # type: ignore[return-value]


def _primaries_notes(header: dict[str, Any], name: str) -> list[str]:
    primaries = _primaries_of(header)
    if primaries is None or _are_usable(primaries):
        return []
    return [f"{name} names primaries that span no colours: kept in exr, taken for those of sRGB elsewhere"]


def _are_usable(primaries: Chromaticities) -> bool:
    """Whether primaries span colours and fit into a profile; y may be negative, as for blue in ACES AP0."""
    if not np.isfinite(primaries).all() or min(map(abs, primaries[1::2])) < 1e-6 or primaries[1] < 0:
        return False
    corners = np.array([[primaries[i], primaries[i + 1], 1.0] for i in (2, 4, 6)])
    return bool(abs(np.linalg.det(corners)) > 1e-6 and np.abs(rgb_to_xyz(primaries)).max() < MAX_XYZ)


def _can_be_written(value: Any) -> bool:
    return isinstance(value, (str, int, float, tuple, np.ndarray))
