"""The Python interface: `upscale` for one image, `load` for a reusable upscaler."""

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
from a2f.weights import AUTO, available_scales, find_weights, is_file_name

if TYPE_CHECKING:
    from PIL.Image import Image as PillowImage

    from a2f.runtime.options import EngineName
    from a2f.runtime.plan import Gates

SCALES, DEFAULT_SCALE = (2, 3, 4), 4
ImageT = TypeVar("ImageT", Path, str, bytes, bytearray, memoryview, io.BytesIO, "PillowImage", NDArray[Any])


def load(
    model: str | os.PathLike[str] = "sd",
    *,
    scale: int | None = None,
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
        model: "sd" or another shipped model (``a2f models`` lists them; names that end in "-robust" are for JPEG
            input), or the path of a weights file.
        scale: 2, 3 or 4; None: 4, or the scale of a weights file.
        engine: "onnxruntime" (in the core, the default), "openvino" or "torch" (extras `openvino` and `train`).
        device: "cpu", "cuda" (onnxruntime, torch) or "mps" (torch).
        dtype: "float32"; "bfloat16" for openvino and torch, "float16" for torch, "int8" for openvino; "fast": int8 or
            bfloat16, whichever this machine supports. "fast" chooses the engine; the model cards have the loss.
        threads: threads of one run on the CPU; all cores by default.
        tile: side of the tiles, LR pixels; 0 chooses it. The side does not change the result, except for float
            rounding: one grey level on some pixels in a million.
        max_memory: memory limit of the whole process, bytes; by default half of the free memory. Calls in several
            threads share it: a call waits until enough of it is free.
        gates: for images that do not fit into the memory: "exact", or "sampled", which pools the channel gates over a
            sample. It is faster, needs no disk, and changes a few pixels by one grey level. "auto": exact with
            onnxruntime, sampled with openvino.
        compile: torch only: run torch.compile, on CUDA with recorded graphs. The first image takes half a minute
            longer, so it is for many images.
        ensemble: number of runs; the result is their mean. 1: off; 2: the image and its mirror image; 4: all flips; 8:
            all flips of the image and of the transposed image. More runs are slightly better (RESULTS.md) and slower.

    Returns:
        An upscaler. Call it with every image that `upscale` accepts, or pass it to `upscale` as the model.

    Raises:
        UnknownModelError: if no such model is shipped; the message lists the models.
        WeightsError: if a weights file cannot be read.
        EngineError: if engine, device or dtype is not available on this machine.
        MissingExtraError: if the engine is not installed.
        UsageError: for a number outside its range, or a scale that the weights file does not have.
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
    name, wanted = _model_name(model), _checked_scale(scale)
    weights = find_weights(name, scale=wanted or DEFAULT_SCALE)
    _check_own_scale(wanted, weights.config.scale)
    opened = open_upscaler(weights, options)
    if opened.note:
        warnings.warn(opened.note, stacklevel=2)
    return LoadedUpscaler(name, scale=weights.config.scale, options=options, engine=opened.upscaler)


class LoadedUpscaler:
    """An open model, made by `load`. It implements the protocol `Upscaler`.

    Threads may share it. It can be pickled: the other process opens the same model with the same options, once for all
    copies. It can be used after a fork: the new process opens the model again at the first use. PyTorch and CUDA do not
    survive a fork, so they raise an error there. libvips, which reads and writes files, does not survive it either if
    the parent has used it; arrays and PIL images still work. The start method "spawn" has none of these limits.

    Args:
        model: a name, or the absolute path of a weights file.
        scale: the scale of the model.
        options: engine options.
        engine: the engine that was opened with them.
    """

    def __init__(self, model: str, *, scale: int, options: EngineOptions, engine: Engine) -> None:
        self.model, self.options = model, options
        self._asked_scale, self._engine, self._process = scale, engine, os.getpid()

    @property
    def engine(self) -> Engine:
        """The engine inside: its images are arrays [H, W, 3] float32, and it does not clip."""
        if self._process != os.getpid():
            if self.options.engine == "torch" or self.options.device != "cpu":
                raise EngineError(
                    f"{self.description} cannot be used in a process that was forked after it was opened: "
                    "start the process with multiprocessing.get_context('spawn'), or open the model in it"
                )
            self._engine = kept_upscaler(self.model, self._asked_scale, options=self.options)
            self._process = os.getpid()
        return self._engine

    @property
    def scale(self) -> int:
        """The factor by which the model enlarges both sides."""
        return self._engine.scale

    @property
    def description(self) -> str:
        """One readable line: engine, model, device, precision, threads."""
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
        """Enlarge one image; arguments, result and errors are those of `upscale`.

        Args:
            image: a path, the bytes of a file, a PIL image or an array.
            size: exact width and height instead of the scale of the model.
            width: exact width; the height follows.
            height: exact height; the width follows.
            max_side: exact length of the longer side.
            output: the file to write; only for a path.
            overwrite: replace an existing output.
            preserve_times: set the file times of the input on the output; only for a path.
            format: format of the file.
            quality: quality of a JPEG, WebP, JXL, AVIF or HEIC file.
            strip: write no metadata.
            force: accept a format that loses frames, colours, transparency, 16 bits or long metadata.
            allow_truncated: read the intact part of a damaged file.
            independent_alpha: treat alpha as data.
            tileable: the image continues at its opposite side.
            max_pixels: reject a larger file before it is decoded; None for no limit.
            progress: called with the share of the network's work that is done, in [0, 1], from any thread.
            cancel: this call ends with `Cancelled` soon after the event is set; other calls continue.
        """
        request = Request(
            target=_target(None, own=self.scale, size=size, width=width, height=height, max_side=max_side),
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
    scale: Literal[2, 3, 4] | int | None = None,
    model: "str | os.PathLike[str] | Upscaler" = AUTO,
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
    """Enlarge one image; the result has the type of the image.

    Args:
        image: one of

            - a path (`str`, `pathlib.Path` or another `os.PathLike`): the result is written to `output`, by default
              ``photo_x4.jpg`` beside ``photo.jpg``, and its path is returned: `str` for a `str`, otherwise
              `pathlib.Path`. All pages of a TIFF file are enlarged if the result is a TIFF;
              other formats get the first one, with a warning;
            - the bytes of an image file, as `bytes`, `bytearray`, `memoryview`, `io.BytesIO` (the whole content,
              independent of the position) or another object with the buffer protocol: a file of the same format is
              returned, in the same type; as `bytes` for another buffer;
            - a PIL image: a PIL image is returned. Palettes and 1-bit images become the next richer mode; ICC and EXIF
              are kept;
            - an array [H, W], [H, W, 1], [H, W, 3] or [H, W, 4] of uint8, uint16 or floats in [0, 1]: the result has
              the same dtype and number of dimensions, in [0, 1]. Floats of all widths are computed in float32. Values
              that overshoot by at most half of the range are clipped first. A subclass of `numpy.ndarray` becomes a
              plain array.
        scale: 2, 3 or 4; None: 4, or the scale of a weights file or upscaler. It excludes an exact size.
        model: "auto" (the default, also of the command line): "sd-robust" for a JPEG (a path, bytes, or a PIL image
            as it was opened) of so low a quality that these weights are better, if they are shipped at this scale;
            "sd" for all other images. Or a name as in `load`, the path of a weights file, or an upscaler of `load`.
        size: exact width and height; the proportions may change. A factor larger than 4 takes two passes.
        width: exact width; the height follows.
        height: exact height; the width follows.
        max_side: exact length of the longer side; the shorter side follows.
        ensemble: 1 (off), 2, 4 or 8 runs whose mean is the result, see `load`; an upscaler of `load` has its own.
        output: the file to write; only for a path.
        overwrite: replace an existing output; the input is never replaced.
        preserve_times: set the file times of the input on the output; only for a path.
        format: format of the file, for a path or bytes: "jpeg", "png", "webp" and so on (``a2f formats`` lists them);
            by default the format of `output`, otherwise that of the image.
        quality: from 1 to 100, for a file in JPEG (default 92), WebP or JXL (90; 100 is lossless), AVIF or HEIC (80).
        strip: write no metadata; colours are converted to sRGB.
        force: accept a format that loses frames, colours, transparency, 16 bits or long metadata.
        allow_truncated: read the intact part of a damaged file, with a warning; the rest is grey or black.
        independent_alpha: treat alpha as data, as in game textures: colours under transparent pixels are kept, and
            alpha is enlarged like a grey image.
        tileable: the image continues at its opposite side, like a seamless texture; so does the result.
        max_pixels: reject a file with more pixels (width times height) before it is decoded; None for no limit.
        progress: called with the share of the network's work that is done, in [0, 1], from any thread; only with 1 for
            an image that runs in one piece.
        cancel: this call ends with `Cancelled` soon after another thread has set the event; other calls continue.

    Returns:
        The result, in the type described at `image`.

    Raises:
        InputError: for another type, dtype or shape, a masked array or `numpy.matrix`, an empty image, NaN, or floats
            of another range.
        ImageReadError: if a file or its bytes cannot be read.
        WriteError: if the output is a folder or the input, or cannot be written.
        OutputExistsError: if the output exists and `overwrite` is False.
        ImageWriteError: if the result cannot be encoded.
        LossyFormatError: if the format cannot store the frames, colours, transparency or bit depth, and `force` is
            False.
        MemoryLimitError: if there is too little memory.
        Cancelled: if `cancel` is set.
        UnknownModelError: if no such model is shipped; the message lists the models.
        WeightsError: if a weights file cannot be read.
        UsageError: for a `scale` other than 2, 3 or 4, one that the file or upscaler does not have, or one together
            with an exact size; for several exact sizes, one below 1 pixel or not in whole pixels, or one that two
            passes do not reach; for an unknown `format`, or one that is not that of `output`; for a `quality` outside
            its range; for another `ensemble`, or one together with an upscaler.
    """
    target = _target(scale, size=size, width=width, height=height, max_side=max_side)
    models = _models(model, target, ensemble, scale=_checked_scale(scale))
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


def _target(
    scale: int | None,
    *,
    own: int = DEFAULT_SCALE,
    size: Size | None,
    width: int | None,
    height: int | None,
    max_side: int | None,
) -> Target:
    sides = {"width": width, "height": height, "max_side": max_side}
    if scale is not None:
        for name in (name for name, given in {"size": size, **sides}.items() if given is not None):
            raise UsageError(f"scale and {name} exclude each other: give only one of them")
    whole = {name: None if side is None else _whole(side, name=name) for name, side in sides.items()}
    return Target(scale=_checked_scale(scale) or own, size=_checked(size), **whole)


def _encoding(format: str | None, *, quality: int | None, strip: bool, force: bool) -> Encoding:
    named = None if format is None else format_of_suffix(format)
    return Encoding(format=named, quality=quality, strip=strip, force=force)


def _model_name(model: str | os.PathLike[str]) -> str:
    """A name, or the absolute path of a weights file, which means the same in any folder and process."""
    return os.path.abspath(model) if is_file_name(model) else str(model)


def _models(model: "str | os.PathLike[str] | Upscaler", target: Target, ensemble: int, *, scale: int | None) -> Models:
    options = EngineOptions(ensemble=ensemble)
    if isinstance(model, (str, os.PathLike)):
        name = _model_name(model)
        if is_file_name(name):
            kept = kept_upscaler(name, target.scale, options=options)
            _check_own_scale(scale, kept.scale)
            return _models_of(kept)
        scales = available_scales(name) if target.is_exact else (target.scale,)
        return Models(model=name, scales=scales, open=functools.partial(kept_upscaler, options=options))
    if not callable(model) or not hasattr(model, "scale"):
        raise UnknownModelError(
            f"a model is a name such as 'sd', the path of a weights file or an upscaler, not {type(model).__name__}"
        )
    if ensemble > 1:
        raise UsageError(f"ensemble={ensemble} with an upscaler has no effect: use a2f.load(..., ensemble={ensemble})")
    _check_own_scale(scale, model.scale)
    return _models_of(model.engine if isinstance(model, LoadedUpscaler) else model)


def _models_of(upscaler: Upscaler) -> Models:
    return Models(model="", scales=(upscaler.scale,), open=lambda m, s: upscaler)


def _checked_scale(scale: int | None) -> int | None:
    if scale is None:
        return None
    try:
        whole = operator.index(scale)
    except TypeError:
        whole = 0
    if whole not in SCALES:
        raise UsageError(f"scale={scale!r}: choose 2, 3 or 4; for other sizes, `upscale` has size=(width, height)")
    return whole


def _check_own_scale(scale: int | None, own: int) -> None:
    """Raise an error for a scale that the weights or the upscaler does not have."""
    if scale not in (None, own):
        raise UsageError(f"scale={scale}: the model enlarges {own} times: leave out scale")


def _checked(size: Size | None) -> Size | None:
    if size is None:
        return None
    try:
        width, height = (operator.index(side) for side in size)
    except (TypeError, ValueError) as error:
        raise UsageError(f"size must be (width, height) in whole pixels, not {size!r}") from error
    if min(width, height) < 1:
        raise UsageError(f"size {width} x {height}: both sides need at least 1 pixel")
    return width, height


def _whole(side: int, *, name: str) -> int:
    try:
        return operator.index(side)
    except TypeError as error:
        raise UsageError(f"{name} must be in whole pixels, not {side!r}") from error


def _control(progress: Callable[[float], None] | None, cancel: threading.Event | None) -> Control:
    return Control(progress=progress, cancelled=None if cancel is None else cancel.is_set)
