"""The Python interface: `upscale` for one image, `load` for an upscaler to keep."""

import functools
import io
import operator
import os
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast

from numpy.typing import NDArray

from a2f.errors import EngineError, UnknownModelError, UsageError
from a2f.imageio import DEFAULT_MAX_PIXELS, format_of_suffix
from a2f.images import Where, upscale_any
from a2f.pipeline import Encoding, Request
from a2f.runtime.engine import Engine
from a2f.runtime.options import EngineOptions
from a2f.sizes import Size, Target
from a2f.upscaler import Control, Upscaler
from a2f.upscalers import Models, kept_upscaler, open_upscaler
from a2f.weights import available_scales, find_weights, is_file_name

if TYPE_CHECKING:
    from PIL.Image import Image as PillowImage

    from a2f.runtime.options import EngineName
    from a2f.runtime.plan import Gates

SCALES = (2, 3, 4)
ImageT = TypeVar("ImageT", Path, str, bytes, bytearray, memoryview, io.BytesIO, "PillowImage", NDArray[Any])


def load(
    model: str | os.PathLike[str] = "sd",
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
) -> "LoadedUpscaler":
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
        max_memory: limit of the whole process, bytes; by default up to half of what is free. Calls in several threads
            share it: a call that finds too little left waits for others.
        gates: of images that do not fit into the memory whole: "exact", or "sampled", which pools the channel gates
            over a sample, is quicker, needs no disk and changes a few pixels by a grey level; "auto": exact with
            onnxruntime, sampled with openvino.
        compile: torch only: fuse the network by torch.compile, on CUDA with recorded graphs; for many images, since the
            first takes half a minute.
        ensemble: runs whose mean is the result, a little nearer to the truth (RESULTS.md) at so many times the cost: 1
            is off; 2, the image and its mirror image; 4, all flips: also upside down, and both; 8, the four flips of
            the image and of the transposed image.

    Returns:
        An upscaler. Call it with all that `upscale` takes, or hand it to `upscale` as the model.

    Raises:
        UnknownModelError: if there are no such weights; the message lists what there is.
        WeightsError: if a weights file cannot be read.
        EngineError: if engine, device or dtype is not available on this machine.
        MissingExtraError: if the engine is not installed.
        UsageError: for another number outside its range.
    """
    options = EngineOptions(
        engine=engine,
        device=device,
        dtype=dtype,
        threads=threads,
        tile=tile,
        max_memory=max_memory,
        gates=gates,
        compile=compile,
        ensemble=ensemble,
    )
    name, scale = _model_name(model), _checked_scale(scale)
    opened = open_upscaler(find_weights(name, scale=scale), options)
    if opened.note:
        warnings.warn(opened.note, stacklevel=2)
    return LoadedUpscaler(name, scale=scale, options=options, engine=opened.upscaler)


class LoadedUpscaler:
    """A model that is open; `load` makes it. It answers the protocol `Upscaler`.

    Threads may share it. It can be pickled: the other process opens the same model with the same options, once for all
    copies that it gets. It can be used after a fork: the new process opens it again at its first use. PyTorch and CUDA
    do not survive a fork, and are refused there; libvips, which reads and writes files, neither, once the parent has
    used it: arrays and PIL images still work. The start method "spawn" has none of these limits.

    Args:
        model: a name, or the absolute path of a weights file.
        scale: of a model by name.
        options: what it runs on.
        engine: what they gave.
    """

    def __init__(self, model: str, *, scale: int, options: EngineOptions, engine: Engine) -> None:
        self.model, self.options = model, options
        self._asked_scale, self._engine, self._process = scale, engine, os.getpid()

    @property
    def engine(self) -> Engine:
        """What is inside: it takes and gives arrays [H, W, 3] float32 alone, and clips nothing."""
        if self._process != os.getpid():
            if self.options.engine == "torch" or self.options.device != "cpu":
                raise EngineError(
                    f"{self.description} cannot be used in a process that was forked after it was opened: "
                    "start that by multiprocessing.get_context('spawn'), or open the model there"
                )
            self._engine = kept_upscaler(self.model, self._asked_scale, options=self.options)
            self._process = os.getpid()
        return self._engine

    @property
    def scale(self) -> int:
        """The factor by which both sides grow."""
        return self._engine.scale

    @property
    def description(self) -> str:
        """One line for people: engine, model, device, precision, threads."""
        return self._engine.description

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.description}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopened, (self.model, self._asked_scale, self.options)

    def __call__(
        self,
        image: ImageT,
        *,
        size: Size | None = None,
        width: int | None = None,
        height: int | None = None,
        max_side: int | None = None,
        output: str | os.PathLike[str] | None = None,
        overwrite: bool = False,
        preserve_times: bool = False,
        format: str | None = None,
        quality: int | None = None,
        strip: bool = False,
        force: bool = False,
        allow_truncated: bool = False,
        independent_alpha: bool = False,
        tileable: bool = False,
        max_pixels: int | None = DEFAULT_MAX_PIXELS,
        progress: Callable[[float], None] | None = None,
        cancel: threading.Event | None = None,
    ) -> ImageT:
        """Enlarge one image and give back what was given.

        Args:
            image: as `upscale`, and so are all others, the result and the errors.
            size: exact width and height instead of the factor of the model.
            width: exact width; the height follows.
            height: exact height; the width follows.
            max_side: exact length of the longer side.
            output: where to write; for a path only.
            overwrite: replace an existing output.
            preserve_times: the output gets the times of the input; for a path only.
            format: of a file.
            quality: of a file in JPEG, WebP, JXL, AVIF or HEIC.
            strip: leave out all metadata of a file.
            force: accept that the format of a file loses transparency, 16 bits or long metadata.
            allow_truncated: take what there is of a damaged file.
            independent_alpha: alpha is data of its own.
            tileable: the image goes on at its other side.
            max_pixels: refuse a larger file before it is decoded; None for no limit.
            progress: called with the share of the network's work that is done, in [0, 1], from any thread.
            cancel: ends this call with `Cancelled` soon after it is set; other calls go on.
        """
        request = Request(
            target=_target(self.scale, size=size, width=width, height=height, max_side=max_side),
            encoding=_encoding(format, quality=quality, strip=strip, force=force),
            allow_truncated=allow_truncated,
            max_pixels=max_pixels,
            max_memory=self.options.max_memory,
            independent_alpha=independent_alpha,
            tileable=tileable,
            overwrite=overwrite,
        )
        where = Where(output=output, preserve_times=preserve_times)
        return cast(ImageT, upscale_any(image, _models_of(self.engine), request, where, _control(progress, cancel)))


def _reopened(model: str, scale: int, options: EngineOptions) -> LoadedUpscaler:
    return LoadedUpscaler(model, scale=scale, options=options, engine=kept_upscaler(model, scale, options=options))


def upscale(
    image: ImageT,
    *,
    scale: Literal[2, 3, 4] | int = 4,
    model: "str | os.PathLike[str] | Upscaler" = "sd",
    size: Size | None = None,
    width: int | None = None,
    height: int | None = None,
    max_side: int | None = None,
    ensemble: int = 1,
    output: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    preserve_times: bool = False,
    format: str | None = None,
    quality: int | None = None,
    strip: bool = False,
    force: bool = False,
    allow_truncated: bool = False,
    independent_alpha: bool = False,
    tileable: bool = False,
    max_pixels: int | None = DEFAULT_MAX_PIXELS,
    progress: Callable[[float], None] | None = None,
    cancel: threading.Event | None = None,
) -> ImageT:
    """Enlarge one image and give back what was given.

    Args:
        image: one of

            - a path (`str`, `pathlib.Path` or another `os.PathLike`): the enlargement is written to `output`, by
              default ``photo_x4.jpg`` beside ``photo.jpg``; its path comes back as `str` for a `str`, otherwise as
              `pathlib.Path`; of a file with several frames or pages the first is taken, with a warning;
            - the bytes of an image file, as `bytes`, `bytearray`, `memoryview`, `io.BytesIO` (all that it holds,
              wherever its position is) or another object with the buffer protocol: a file of the same format comes
              back, in the same type; as `bytes` for another buffer;
            - a PIL image: a PIL image, palettes and 1-bit images in the natural richer mode, ICC and EXIF kept;
            - an array [H, W], [H, W, 1], [H, W, 3] or [H, W, 4] of uint8, uint16 or floats in [0, 1]: the same dtype
              and number of dimensions, in [0, 1]. Floats of all widths are enlarged in float32. What a filter has
              overshot, up to half of the range, is cut off first. Of a subclass of `numpy.ndarray` a plain array
              comes back.
        scale: 2, 3 or 4.
        model: a name as in `load`, the path of a weights file, or an upscaler of `load`, whose scale counts; or "auto":
            "sd-robust" for a JPEG (a path, bytes, or a PIL image as it was opened) that is compressed so strongly that
            these weights are better, as far as they are shipped at this scale, and "sd" for all others.
        size: exact width and height instead of `scale`; the proportions may change. A larger factor than 4 takes two
            passes.
        width: exact width instead of `scale`; the height follows.
        height: exact height instead of `scale`; the width follows.
        max_side: exact length of the longer side instead of `scale`; the shorter side follows.
        ensemble: 1 (off), 2, 4 or 8 runs whose mean is the result, as `load` tells; an upscaler of `load` has its own.
        output: where to write; for a path only.
        overwrite: replace an existing output; the input is never replaced.
        preserve_times: the output gets the times of the input; for a path only.
        format: of the file, for a path or bytes: "jpeg", "png", "webp" and so on, as ``a2f formats`` lists; by default
            that of `output`, otherwise that of the image.
        quality: from 1 to 100, of a file in JPEG (default 92), WebP or JXL (90, 100 lossless), AVIF or HEIC (80).
        strip: leave out all metadata of the file; colours are converted to sRGB.
        force: accept that the format of a file loses transparency, 16 bits or long metadata.
        allow_truncated: take what there is of a damaged file, the rest grey or black, with a warning.
        independent_alpha: alpha is data of its own, as in textures of games: the colours under it stay, whatever it
            holds, and it is enlarged like a grey image.
        tileable: the image goes on at its left where it ends at its right, and at its top where it ends at its bottom,
            as seamless textures do; so does the result.
        max_pixels: refuse a larger file, by width times height, before it is decoded; None for no limit.
        progress: called with the share of the network's work that is done, in [0, 1], from any thread; of an image that
            runs whole only with 1.
        cancel: ends this call with `Cancelled` soon after it is set, by another thread; other calls go on.

    Returns:
        The type that was given, as `image` tells.

    Raises:
        InputError: for another type, dtype or shape, a masked array or `numpy.matrix`, an empty image, NaN, or floats
            of another range.
        ImageReadError: if a file or its bytes cannot be read.
        WriteError: if the output is a folder or the input, or cannot be written.
        OutputExistsError: if there is a file at the output, without `overwrite`.
        ImageWriteError: if the result cannot be encoded.
        LossyFormatError: if the format of `output` cannot hold the transparency or the bit depth, without `force`.
        MemoryLimitError: if the memory does not suffice.
        Cancelled: once `cancel` is set.
        UnknownModelError: if there are no such weights; the message lists what there is.
        WeightsError: if a weights file cannot be read.
        UsageError: for another `scale` with a model by name or file; for several exact sizes, one that is not in whole
            pixels over 0, or one that two passes do not reach; for an unknown `format`, or one that is not that of
            `output`; for a `quality` outside its range; for another `ensemble`, or one besides an upscaler.
    """
    target = _target(scale, size=size, width=width, height=height, max_side=max_side)
    models = _models(model, target, ensemble)
    request = Request(
        target=target if target.is_exact else Target(scale=models.scales[0]),
        encoding=_encoding(format, quality=quality, strip=strip, force=force),
        allow_truncated=allow_truncated,
        max_pixels=max_pixels,
        max_memory=model.options.max_memory if isinstance(model, LoadedUpscaler) else None,
        independent_alpha=independent_alpha,
        tileable=tileable,
        overwrite=overwrite,
    )
    where = Where(output=output, preserve_times=preserve_times)
    return cast(ImageT, upscale_any(image, models, request, where, _control(progress, cancel)))


def _target(scale: int, *, size: Size | None, width: int | None, height: int | None, max_side: int | None) -> Target:
    sides = {"width": width, "height": height, "max_side": max_side}
    whole = {name: None if side is None else _whole(side, name=name) for name, side in sides.items()}
    return Target(scale=scale, size=_checked(size), **whole)


def _encoding(format: str | None, *, quality: int | None, strip: bool, force: bool) -> Encoding:
    named = None if format is None else format_of_suffix(format)
    return Encoding(format=named, quality=quality, strip=strip, force=force)


def _model_name(model: str | os.PathLike[str]) -> str:
    """A name, or the absolute path of a weights file, which means the same in any folder and process."""
    return os.path.abspath(model) if is_file_name(model) else str(model)


def _models(model: "str | os.PathLike[str] | Upscaler", target: Target, ensemble: int) -> Models:
    options = EngineOptions(ensemble=ensemble)
    if isinstance(model, (str, os.PathLike)):
        name, scale = _model_name(model), _checked_scale(target.scale)
        if is_file_name(name):
            return _models_of(kept_upscaler(name, scale, options=options))
        scales = available_scales(name) if target.is_exact else (scale,)
        return Models(model=name, scales=scales, open=functools.partial(kept_upscaler, options=options))
    if not callable(model) or not hasattr(model, "scale"):
        raise UnknownModelError(
            f"a model is a name such as 'sd', the path of a weights file or an upscaler, not {type(model).__name__}"
        )
    if ensemble > 1:
        raise UsageError(f"ensemble={ensemble} and an upscaler: open that by a2f.load(..., ensemble={ensemble})")
    return _models_of(model.engine if isinstance(model, LoadedUpscaler) else model)


def _models_of(upscaler: Upscaler) -> Models:
    return Models(model="", scales=(upscaler.scale,), open=lambda m, s: upscaler)


def _checked_scale(scale: int) -> int:
    try:
        whole = operator.index(scale)
    except TypeError:
        whole = 0
    if whole not in SCALES:
        raise UsageError(f"scale={scale!r}: choose 2, 3 or 4; `upscale` reaches other sizes by size=(width, height)")
    return whole


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


def _whole(side: int, *, name: str) -> int:
    try:
        return operator.index(side)
    except TypeError as error:
        raise UsageError(f"{name} is in whole pixels, not {side!r}") from error


def _control(progress: Callable[[float], None] | None, cancel: threading.Event | None) -> Control:
    return Control(progress=progress, cancelled=None if cancel is None else cancel.is_set)
