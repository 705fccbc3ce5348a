"""What a request may ask for: one table for reading requests and for OpenAPI."""

import functools
import importlib.util
import re
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from typing import Any

from a2f.errors import A2FError, Hint, Loss, LossyFormatError, MissingExtraError
from a2f.imageio import FORMATS, format_of_suffix
from a2f.imageio.extras import NEEDED
from a2f.sizes import Size, Target
from a2f.web.problems import ProblemError
from a2f.weights import AUTO, available_scales, robust_below, shipped_names

MEDIA_TYPES = {name: f"image/{name}" for name in FORMATS} | {
    "dds": "image/vnd-ms.dds",
    "exr": "image/x-exr",
    "ppm": "image/x-portable-anymap",
    "tga": "image/x-tga",
}
ALIASES = ("jpg", "tif")
SIZE = re.compile(r"([1-9][0-9]{0,6})x([1-9][0-9]{0,6})")
SIDES = ("width", "height", "max_side", "size")
MAX_SIDE_PX = 9_999_999

Schema = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Options:
    """What a request asks for, in the names of the options of `a2f upscale`."""

    scale: int = 4
    model: str = AUTO
    format: str | None = None
    quality: int | None = None
    width: int | None = None
    height: int | None = None
    max_side: int | None = None
    size: Size | None = None
    strip: bool = False
    dtype: str = "float32"
    force: bool = False
    allow_truncated: bool = False

    @property
    def target(self) -> Target:
        """The size that was asked for."""
        return Target(scale=self.scale, width=self.width, height=self.height, size=self.size, max_side=self.max_side)

    def with_format(self, format: str) -> "Options":
        """The options with another format."""
        return replace(self, format=format)


def model_names() -> list[str]:
    """All shipped models, and auto."""
    return [*shipped_names(), AUTO]


@functools.cache
def formats() -> tuple[str, ...]:
    """The formats that this installation writes."""
    found = importlib.util.find_spec
    return tuple(name for name in FORMATS if all(found(module) for module in NEEDED.get(name, ())))


def dtypes() -> list[str]:
    """The precisions that this installation computes in."""
    has_openvino = importlib.util.find_spec("openvino") is not None
    return ["float32", *(["bfloat16", "int8", "fast"] if has_openvino else [])]


def _side(what: str) -> Schema:
    return {"type": "integer", "minimum": 1, "maximum": MAX_SIDE_PX, "description": what}


def _flag(what: str) -> Schema:
    return {"type": "boolean", "default": False, "description": what}


def _about_quality() -> str:
    lossy = [FORMATS[name] for name in formats() if FORMATS[name].quality is not None]
    lossless = ", ".join(f.name for f in lossy if f.lossless)
    defaults = ", ".join(f"{f.name} {f.quality}" for f in lossy)
    return f"Quality of a lossy format. By default {defaults}. 100 is lossless for {lossless}."


def _about_model() -> str:
    below = {scale: robust_below(scale) for scale in (2, 3, 4)}
    told = " and ".join(f"below {quality} with scale={scale}" for scale, quality in below.items() if quality)
    return f"auto takes sd-robust for a JPEG of a quality {told}; otherwise sd." if told else "auto takes sd."


def _about_dtype() -> str:
    if dtypes() == ["float32"]:
        return "Precision of the network. This server computes in float32 only."
    return "Precision of the network. fast is the quickest; it loses less than 0.01 dB on average."


def parameters() -> dict[str, Schema]:
    """Name -> JSON schema of each option."""
    return {
        "scale": {"type": "integer", "enum": [2, 3, 4], "default": 4, "description": "How many times to enlarge."},
        "model": {"type": "string", "enum": model_names(), "default": AUTO,
                  "description": _about_model()},
        "format": {"type": "string", "enum": [*formats(), *ALIASES],
                   "description": "Format of the result. By default the header `Accept` chooses; "
                                  "without it, the result has the format of the picture."},
        "quality": {"type": "integer", "minimum": 1, "maximum": 100,
                    "description": _about_quality()},
        "width": _side("Exact width in pixels; the height follows. Instead of scale."),
        "height": _side("Exact height in pixels; the width follows. Instead of scale."),
        "max_side": _side("Exact length of the longer side in pixels. Instead of scale."),
        "size": {"type": "string", "pattern": f"^{SIZE.pattern}$", "example": "1920x1080",
                 "description": "Exact width and height in pixels; the proportions may change. Instead of scale."},
        "strip": _flag("Leave out all metadata, and convert the colours to sRGB."),
        "dtype": {"type": "string", "enum": dtypes(), "default": "float32",
                  "description": _about_dtype()},
        "force": _flag("Accept a format that cannot hold all of the picture: transparent parts become white, "
                       "16 bits become 8, only the first frame of an animation is enlarged, a GIF gets 256 colours, "
                       "and metadata that is too long is left out."),
        "allow_truncated": _flag("Enlarge what can be read of a damaged picture."),
    }  # fmt: skip


def in_requests(error: Exception) -> str:
    """The message of an error as a client of the server needs it: its options are those of a request.

    Args:
        error: of any kind.

    Returns:
        Its message, without hints to options that requests do not have, or to install something on the server.
    """
    if isinstance(error, MissingExtraError):
        return error.message
    return error.text(_as_parameter) if isinstance(error, A2FError) else str(error)


def helpful_options(error: Exception) -> tuple[str, ...]:
    """The options with which a request would pass, with their values: ``("force=true",)``."""
    hints = error.hints if isinstance(error, A2FError) else ()
    return tuple(_as_parameter(hint) for hint in hints if hint.value is not None and hint.option in parameters())


def losses_of(error: Exception) -> tuple[Loss, ...]:
    """What the format would lose of the picture, if that is why a request did not pass."""
    return error.loses if isinstance(error, LossyFormatError) else ()


def _as_parameter(hint: Hint) -> str:
    """The option of a hint in a request: ``force=true``, ``dtype=float32``, ``quality``; nothing for other options."""
    if hint.option not in parameters():
        return ""
    if hint.value is None:
        return hint.option
    return f"{hint.option}={str(hint.value).lower() if isinstance(hint.value, bool) else hint.value}"


def read_options(given: Iterable[tuple[str, str]]) -> Options:
    """Options from the names and values of a query or a form.

    Raises:
        ProblemError: bad-option, and says which values are allowed.
    """
    table, values = parameters(), dict[str, Any]()
    for name, text in given:
        if name not in table:
            raise ProblemError("bad-option", f"there is no option {name[:40]!r}: choose from {', '.join(table)}")
        if name in values:
            raise ProblemError("bad-option", f"{name} is given twice: give it once")
        values[name] = _value(name, text, table[name])
    sizes = [name for name in SIDES if name in values]
    if len(sizes) > 1 or (sizes and "scale" in values):
        both = " and ".join([*(["scale"] if "scale" in values else []), *sizes])
        raise ProblemError("bad-option", f"{both} are several sizes: give one of them")
    options = Options(**values)
    _check_model(options)
    return options


def _check_model(options: Options) -> None:
    scales = available_scales(options.model)
    if not options.target.is_exact and options.scale not in scales:
        there_are = " or ".join(f"scale={scale}" for scale in sorted(scales))
        told = f"there are no weights for model={options.model} with scale={options.scale}: choose {there_are}"
        raise ProblemError("bad-option", f"{told}, or another model")


def _value(name: str, text: str, schema: Schema) -> Any:
    allowed: str
    if schema["type"] == "integer":
        choices = schema.get("enum")
        low, high = (choices[0], choices[-1]) if choices else (schema["minimum"], schema["maximum"])
        allowed = f"one of {', '.join(map(str, choices))}" if choices else f"a whole number from {low} to {high}"
        if re.fullmatch(r"[0-9]{1,9}", text) and low <= int(text) <= high:
            return int(text)
    elif schema["type"] == "boolean":
        allowed = "true or false"
        if text in ("true", "false"):
            return text == "true"
    elif "enum" in schema:
        allowed = f"one of {', '.join(schema['enum'])}"
        if text in schema["enum"]:
            return format_of_suffix(text) if name == "format" else text
    else:
        allowed = f"width and height in pixels, such as {schema['example']}"
        if match := SIZE.fullmatch(text):
            return int(match[1]), int(match[2])
    raise ProblemError("bad-option", f"{name}={text[:40]!r}: {name} is {allowed}")


def accepted_format(accept: str, own: str) -> str:
    """The format that a client prefers (RFC 9110, section 12.5.1).

    Args:
        accept: the header; empty accepts everything.
        own: format of the picture, which wins where a client likes several best; then the first that it names does.

    Raises:
        ProblemError: not-acceptable.
    """
    weights: dict[str, float] = {}
    for part in accept.split(","):
        media, *given = (piece.strip().lower() for piece in part.split(";"))
        quality = next((piece[2:] for piece in given if piece.startswith("q=")), "1")
        weights[media] = float(quality) if re.fullmatch(r"[01](\.[0-9]{0,3})?", quality) else 1.0
    if not accept.strip():
        return own
    named = [name for media in weights for name in formats() if MEDIA_TYPES[name] == media]
    names = dict.fromkeys([*([own] if own in formats() else []), *named, *formats()])
    ranked = {name: _weight(MEDIA_TYPES[name], weights) for name in names}
    best = max(ranked, key=lambda name: ranked[name])
    if ranked[best] > 0:
        return best
    made = ", ".join(MEDIA_TYPES[name] for name in formats())
    told = f"Accept: {accept[:80]} has no type that this server can make"
    raise ProblemError("not-acceptable", f"{told}: accept {made} or */*")


def _weight(media: str, weights: dict[str, float]) -> float:
    return next((weights[key] for key in (media, "image/*", "*/*") if key in weights), 0.0)


def as_message(options: Options) -> dict[str, Any]:
    """Options as JSON holds them, for a worker."""
    return {field.name: getattr(options, field.name) for field in fields(options)}


def from_message(given: dict[str, Any]) -> Options:
    """Options from what `as_message` gave."""
    return Options(**given | {"size": tuple(given["size"]) if given["size"] else None})
