"""The Python interface: `upscale` for one image, `load` for an upscaler to keep."""

import functools
import io
import operator
import os
import warnings
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from a2f.errors import ImageReadError, ImageWriteError, InputError, OutputExistsError, UnknownModelError, UsageError
from a2f.imageio import (
    DEFAULT_MAX_PIXELS,
    FORMATS,
    Picture,
    check_format,
    format_of_suffix,
    left_out_note,
    quality_of_table,
    read_image,
    write_bytes_atomic,
)
from a2f.imageio.exif import ORIENTATION, updated_exif
from a2f.imageio.tiff import exif_of_tiff
from a2f.imageio.xmp import cleaned_xmp, updated_xmp
from a2f.pixels import encode_enlarged, upscale_pixels
from a2f.runtime import Limits, load_engine
from a2f.runtime.ensemble import check_ensemble, ensemble_of
from a2f.sizes import Size, plan_scales
from a2f.upscaler import Upscaler
from a2f.weights import AUTO, AUTO_CLEAN, Weights, auto_model, find_shipped, read_weights, shipped_models

if TYPE_CHECKING:
    from PIL.Image import Image as PillowImage

    from a2f.runtime.engines import EngineName
    from a2f.runtime.plan import Gates

ImageT = TypeVar("ImageT", Path, str, bytes, "PillowImage", NDArray[Any])


def load(
    model: str | Path = "sd",
    *,
    scale: int = 4,
    engine: "EngineName | None" = None,
    device: str = "cpu",
    dtype: str = "float32",
    threads: int | None = None,
    tile: int = 0,
    max_memory: int | None = None,
    gates: "Gates" = "auto",
    compile: bool = False,
    ensemble: int = 1,
) -> Upscaler:
    """Open a model for many images.

    Args:
        model: "s", "sd", "m" or "l", or robust weights for JPEG input by "-robust" at its end, as far as shipped
            (``a2f models`` lists them); or the path of a weights file.
        scale: 2, 3 or 4; a weights file has its own.
        engine: "onnxruntime" (in the core, the default), "openvino" or "torch" (extras `openvino` and `train`).
        device: "cpu", or "cuda" (onnxruntime, torch) or "mps" (torch).
        dtype: "float32"; "bfloat16" for openvino and torch, "float16" for torch, "int8" for openvino; "fast": int8 or
            bfloat16, whichever this machine has, with a loss that the model cards tell; it chooses the engine.
        threads: of one run on the CPU; all cores by default.
        tile: side of the tiles, LR pixels; 0 chooses. The pixels are the same for any tile, and those of a run of the
            whole image but for float rounding: one grey level on some pixels in a million.
        max_memory: of the whole process, bytes; by default up to half of what is free.
        gates: of images that do not fit into the memory whole: "exact", or "sampled", which pools the channel gates
            over a sample, is quicker, needs no disk and changes a few pixels by a grey level; "auto": exact with
            onnxruntime, sampled with openvino.
        compile: torch only: fuse the network by torch.compile, on CUDA with recorded graphs; for many images, since the
            first takes half a minute.
        ensemble: runs whose mean is the result, a little nearer to the truth (RESULTS.md) at so many times the cost: 1
            is off; 2, the image and its mirror image; 4, all flips: also upside down, and both; 8, the four flips of
            the image and of the transposed image.

    Returns:
        A thread-safe upscaler: call it with [H, W, 3] float32 in [0, 1], or hand it to `upscale` as the model.

    Raises:
        UnknownModelError: if there are no such weights; the message lists what there is.
        WeightsError: if a weights file cannot be read.
        EngineError: if engine, device or dtype is not to be had here.
        UsageError: for another `ensemble`.
    """
    check_ensemble(ensemble)
    limits = Limits(tile_px=tile, max_memory_bytes=max_memory, gates=gates)
    weights = find_weights(model, scale=scale)
    opened = load_engine(
        weights, engine=engine, device=device, dtype=dtype, threads=threads, limits=limits, compile=compile
    )
    return ensemble_of(opened, ensemble, limits=limits)


def is_file_name(model: str | Path) -> bool:
    """Whether a model is meant as the path of a weights file."""
    return isinstance(model, Path) or model.endswith(".safetensors") or os.sep in model


def ends_like_a_folder(path: str) -> bool:
    """Whether a path is meant as a folder, whatever is there: `Path` forgets the separator at its end."""
    return path.endswith(("/", os.sep))


def find_weights(model: str | Path, *, scale: int) -> Weights:
    """Weights by name and scale, or from a file; errors as `load`."""
    return read_weights(model if is_file_name(model) else find_shipped(str(model), scale=scale).path)


def available_scales(model: str | Path) -> tuple[int, ...]:
    """The scales for which a model has weights, "auto" included; errors as `load`."""
    if is_file_name(model):
        return (read_weights(model).config.scale,)
    name = AUTO_CLEAN if model == AUTO else str(model)
    return tuple(m.scale for m in shipped_models() if m.name == name) or (find_shipped(name, scale=4).scale,)


def pass_models(model: str, scales: Sequence[int], *, jpeg_quality: int | None) -> list[str]:
    """The model of each pass through a network.

    Args:
        model: a name, "auto", or the path of a weights file.
        scales: of the passes.
        jpeg_quality: of the picture's file; None if it is no JPEG.

    Returns:
        `model` each time. "auto" chooses for the first pass alone: what that pass gives has no JPEG blocks any more.
    """
    if model != AUTO or not scales:
        return [model] * len(scales)
    return [auto_model(jpeg_quality, scale=scales[0]), *[AUTO_CLEAN] * (len(scales) - 1)]


def upscale(
    image: ImageT,
    *,
    scale: Literal[2, 3, 4] | int = 4,
    model: "str | Path | Upscaler" = "sd",
    size: Size | None = None,
    ensemble: int = 1,
    output: str | Path | None = None,
    overwrite: bool = False,
    quality: int | None = None,
    force: bool = False,
    allow_truncated: bool = False,
    independent_alpha: bool = False,
    tileable: bool = False,
    max_pixels: int | None = DEFAULT_MAX_PIXELS,
) -> ImageT:
    """Enlarge one image and give back what was given.

    Args:
        image: one of

            - a path: the enlargement is written to `output`, by default ``photo_x4.jpg`` beside ``photo.jpg``, and its
              path returned; of a file with several frames or pages the first is taken, with a warning;
            - the bytes of an image file: the bytes of a file of the same format;
            - a PIL image: a PIL image, palettes and 1-bit images in the natural richer mode, ICC and EXIF kept;
            - an array [H, W], [H, W, 1], [H, W, 3] or [H, W, 4] of uint8, uint16 or float32 in [0, 1]: the same dtype
              and number of dimensions.
        scale: 2, 3 or 4.
        model: a name as in `load`, the path of a weights file, or an upscaler of `load`, whose scale counts; or "auto":
            "sd-robust" for a JPEG (a path, bytes, or a PIL image as it was opened) that is compressed so strongly that
            these weights are better, as far as they are shipped at this scale, and "sd" for all others.
        size: exact width and height instead of `scale`; a larger factor than 4 takes two passes.
        ensemble: 1 (off), 2, 4 or 8 runs whose mean is the result, as `load` tells; an upscaler of `load` has its own.
        output: where to write; for a path only.
        overwrite: replace an existing output; the input is never replaced.
        quality: from 1 to 100, of a file in JPEG (default 92), WebP or JXL (90, 100 lossless), AVIF or HEIC (80).
        force: accept that the format of a file loses transparency, 16 bits or long metadata.
        allow_truncated: take what there is of a damaged file, the rest grey or black, with a warning.
        independent_alpha: alpha is data of its own, as in textures of games: the colours under it stay, whatever it
            holds, and it is enlarged like a grey image.
        tileable: the image goes on at its left where it ends at its right, and at its top where it ends at its bottom,
            as seamless textures do; so does the result.
        max_pixels: refuse a larger file, by width times height, before it is decoded; None for no limit.

    Returns:
        The type that was given.

    Raises:
        InputError: for another type, dtype or shape, an empty image, NaN, or floats outside [0, 1].
        ImageReadError: if a file or its bytes cannot be read.
        ImageWriteError: if the output exists, is the input, or cannot be written.
        LossyFormatError: if the format of `output` cannot hold the transparency or the bit depth, without `force`.
        UnknownModelError: if there are no such weights; the message lists what there is.
        UsageError: for a `size` that is not two whole numbers over 0, or more than two passes enlarge to; for a
            `quality` outside its range; for another `ensemble`, or one besides an upscaler.
    """
    size = _checked(size)
    passes_of = _passes_of(scale, model, size, check_ensemble(ensemble))
    if output is not None and not isinstance(image, (str, Path)):
        raise InputError(
            f"output is for images given as a path, not as {type(image).__name__}: save the result yourself"
        )
    kind = {"independent": independent_alpha, "tileable": tileable}
    how: dict[str, Any] = {"quality": quality, "force": force, **kind}
    if isinstance(image, (str, Path)):
        picture = read_image(image, allow_truncated=allow_truncated, max_pixels=max_pixels)
        return cast(ImageT, _upscale_file(image, picture, passes_of, size, output, overwrite, how))
    if isinstance(image, bytes):
        picture = read_image(image, allow_truncated=allow_truncated, max_pixels=max_pixels)
        return _upscale_bytes(picture, passes_of, size, how)
    if isinstance(image, np.ndarray):
        planes = image[..., None] if image.ndim == 2 else image
        if planes.ndim != 3 or planes.shape[2] not in (1, 3, 4) or planes.size == 0:
            raise InputError(f"an array is [H, W], [H, W, 1], [H, W, 3] or [H, W, 4] and not empty, not {image.shape}")
        passes = passes_of((planes.shape[1], planes.shape[0]), None)
        pixels = upscale_pixels(planes, passes, size=size, **kind)
        return pixels[..., 0] if image.ndim == 2 else pixels
    return cast(ImageT, _upscale_pillow(image, passes_of, size, kind))


@functools.lru_cache(maxsize=4)
def _kept(model: str | Path, scale: int, stamp: tuple[int, int] | None) -> Upscaler:
    return load(model, scale=scale)


def _opened(model: str | Path, scale: int) -> Upscaler:
    """An upscaler from an earlier call, unless the weights file has changed since."""
    if not is_file_name(model):
        return _kept(model, scale, None)
    path = Path(model).absolute()
    stamp = (path.stat().st_mtime_ns, path.stat().st_size) if path.exists() else None
    return _kept(path, scale, stamp)


def _checked(size: Size | None) -> Size | None:
    if size is None:
        return None
    try:
        width, height = (operator.index(side) for side in size)
    except (TypeError, ValueError) as error:
        raise UsageError(f"size is (width, height) in whole pixels, not {size!r}") from error
    if min(width, height) < 1:
        raise UsageError(f"size {width} x {height}: at least 1 pixel each")
    return width, height


# width and height of an image, and the quality of the JPEG that it was -> what enlarges it, one after the other
PassesOf = Callable[[Size, int | None], list[Upscaler]]


def _passes_of(scale: int, model: "str | Path | Upscaler", size: Size | None, ensemble: int) -> PassesOf:
    if isinstance(model, (str, Path)):

        def passes(given: Size, jpeg_quality: int | None) -> list[Upscaler]:
            scales = (scale,) if size is None else plan_scales(given, size, available=available_scales(model))
            models = [model] * len(scales)
            if isinstance(model, str):
                models = list(pass_models(model, scales, jpeg_quality=jpeg_quality))
            return [ensemble_of(_opened(m, s), ensemble, limits=Limits()) for m, s in zip(models, scales, strict=True)]

        return passes
    if not callable(model) or not hasattr(model, "scale"):
        raise UnknownModelError(
            f"a model is a name such as 'sd', the path of a weights file or an upscaler, not {type(model).__name__}"
        )
    if ensemble > 1:
        raise UsageError(f"ensemble={ensemble} and an upscaler: open that by a2f.load(..., ensemble={ensemble})")
    return lambda given, quality: (
        [model] * (1 if size is None else len(plan_scales(given, size, available=[model.scale])))
    )


def _enlarged(
    picture: Picture, passes: list[Upscaler], size: Size | None, format: str, how: dict[str, Any]
) -> Generator[bytes | memoryview, None, None]:
    """The enlargement as a file in parts, once it is certain that the format can hold it."""
    factor = max(size) / max(picture.size) if size else passes[0].scale
    check_format(picture, format, factor=factor, force=how["force"])
    for note in [*picture.notes, *left_out_note(picture, format)]:
        warnings.warn(note, stacklevel=4)  # points at who called `upscale`
    return encode_enlarged(picture, passes, size=size, format=format, **how)


def output_suffix(passes_scale: int, size: Size | None) -> str:
    """What an enlargement's file name gets by default: ``_x4``, or ``_1920x1080`` for an exact size."""
    return f"_x{passes_scale}" if size is None else f"_{size[0]}x{size[1]}"


def _output_path(path: Path, format: str, output: str | Path | None, passes: list[Upscaler], size: Size | None) -> Path:
    if isinstance(output, str) and ends_like_a_folder(output):
        raise ImageWriteError(f"{output} is a folder: give the name of a file")
    if output is not None:
        return Path(output)
    suffix = path.suffix if path.suffix.lower() in FORMATS[format].suffixes else FORMATS[format].suffixes[0]
    return path.with_name(path.stem + output_suffix(passes[0].scale if passes else 1, size) + suffix)


def _upscale_file(
    given: Path | str,
    picture: Picture,
    passes_of: PassesOf,
    size: Size | None,
    output: str | Path | None,
    overwrite: bool,
    how: dict[str, Any],
) -> Path | str:
    path = Path(given)
    passes = passes_of(picture.size, picture.jpeg_quality)
    target = _output_path(path, picture.format, output, passes, size)
    if target.is_dir():
        raise ImageWriteError(f"{target} is a folder: give the name of a file")
    if target.exists() and target.samefile(path):
        raise ImageWriteError(f"{target} is the input itself, which is never replaced: choose another output")
    if target.exists() and not overwrite:
        raise OutputExistsError(f"{target} exists: pass overwrite=True to replace it, or choose another output")
    if not target.parent.is_dir():
        raise ImageWriteError(f"cannot write {target}: there is no folder {target.parent}")
    with closing(_enlarged(picture, passes, size, format_of_suffix(target.suffix), how)) as parts:
        write_bytes_atomic(target, parts, replace=overwrite)
    return str(target) if isinstance(given, str) else target


def _upscale_bytes(picture: Picture, passes_of: PassesOf, size: Size | None, how: dict[str, Any]) -> bytes:
    passes = passes_of(picture.size, picture.jpeg_quality)
    return b"".join(_enlarged(picture, passes, size, picture.format, how))


def _upscale_pillow(image: Any, passes_of: PassesOf, size: Size | None, kind: dict[str, bool]) -> Any:
    from PIL import Image, ImageOps

    if not isinstance(image, Image.Image):
        raise InputError(f"an image is a path, bytes, a PIL image or an array, not {type(image).__name__}")
    if min(image.size) < 1:
        raise InputError(f"the image is empty: {image.size[0]} x {image.size[1]} pixels")
    try:
        image.load()
    except (OSError, SyntaxError) as error:
        raise ImageReadError(f"Pillow cannot decode the image: {error}") from error
    upright = ImageOps.exif_transpose(image)
    rich, mode = _rich_mode(upright)
    planes = np.asarray(rich).astype(np.uint16) if mode == "I;16" else np.asarray(rich)
    passes = passes_of(rich.size, _jpeg_quality_of_pillow(image))
    pixels = upscale_pixels(planes if planes.ndim == 3 else planes[..., None], passes, size=size, **kind)
    large = Image.fromarray(pixels if pixels.shape[2] > 1 else pixels[..., 0])
    kept = {key: upright.info[key] for key in ("icc_profile", "dpi", "xmp") if key in upright.info}
    if image.mode in ("CMYK", "LAB"):
        kept.pop("icc_profile", None)  # it tells of the inks, and the pixels are sRGB now
    if isinstance(kept.get("xmp"), bytes):
        turned = image.getexif().get(ORIENTATION, 1) != 1
        packet, _ = cleaned_xmp(kept["xmp"], upright=True, turned=turned)
        kept["xmp"] = updated_xmp(packet, size=large.size, given=upright.size)
        if not packet:  # it told nothing but of what is gone
            del kept["xmp"]
    block = _exif_of_pillow(image, large.size)
    large.info.update(kept | ({"exif": block} if block else {}))
    return large


def _jpeg_quality_of_pillow(image: Any) -> int | None:
    """Of a JPEG as it was opened; Pillow forgets the tables of an image that was changed or copied."""
    tables, layers = getattr(image, "quantization", None), getattr(image, "layer", None)
    table = tables.get(layers[0][3]) if tables and layers else None
    return quality_of_table(table) if table else None


def _exif_of_pillow(image: Any, size: Size) -> bytes | None:
    exif = image.getexif()
    # What Pillow calls the EXIF of a TIFF also tells where in that file the pixels lie.
    block = exif_of_tiff(exif.tobytes()) if image.format == "TIFF" else exif.tobytes() if exif else None
    return updated_exif(block, width=size[0], height=size[1]) if block else None


def _rich_mode(image: Any) -> tuple[Any, str]:
    """The image in L, LA, RGB, RGBA or I;16, whichever holds all of it, and the name of that mode."""
    mode = image.mode
    if "transparency" in image.info and mode in ("1", "L", "RGB"):  # one colour that stands for transparent
        rich = "RGBA" if mode == "RGB" else "LA"
        return image.convert(rich), rich
    if "transparency" in image.info and mode.startswith("I"):
        raise InputError("Pillow has no 16-bit grey with transparency: hand over the file's path or bytes instead")
    if mode in ("L", "LA", "RGB", "RGBA", "I;16"):
        return image, mode
    if mode in ("I;16B", "I;16L", "I"):
        values = np.asarray(image)
        if values.size and (values.min() < 0 or values.max() > 65535):
            raise InputError("a PIL image of mode I is read as 16 bits: its values must lie in 0..65535")
        from PIL import Image

        return Image.fromarray(values.astype(np.uint16)), "I;16"
    if mode == "CMYK":
        out = io.BytesIO()
        image.save(out, "TIFF", icc_profile=image.info.get("icc_profile"))
        from PIL import Image

        return Image.fromarray(read_image(out.getvalue()).pixels), "RGB"
    if mode == "1":
        return image.convert("L"), "L"
    if mode in ("P", "PA"):
        rich = "RGBA" if mode == "PA" or "transparency" in image.info else "RGB"
        return image.convert(rich), rich
    if mode in ("RGBX", "YCbCr", "HSV", "LAB"):
        return image.convert("RGB"), "RGB"
    if mode in ("RGBa", "La"):
        return image.convert("RGBA" if mode == "RGBa" else "LA"), "RGBA"
    raise InputError(f"a PIL image of mode {mode} is not supported: convert it to L, LA, RGB, RGBA or I;16")
