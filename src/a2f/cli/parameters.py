"""Options that several commands share, and their types. The shell completes choices."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.shell_completion import CompletionItem

from a2f.errors import UsageError
from a2f.files import output_exists

if TYPE_CHECKING:
    from a2f.upscaler import Upscaler

F = TypeVar("F", bound=Callable[..., Any])
Completion = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]

SECONDS = click.FloatRange(min=0)
SECONDS.name = "number of seconds"  # for error messages
POSITIVE, NATURAL = click.IntRange(min=1), click.IntRange(min=0)
FACTORS = {"K": 10**3, "M": 10**6, "G": 10**9}
ENGINES = ("onnxruntime", "openvino", "torch")
DTYPES = ("float32", "bfloat16", "float16", "int8")
FAST = "fast"
GATES = ("auto", "exact", "sampled")
RUNS = ("1", "2", "4", "8")  # sizes of an ensemble


def among(*words: str) -> Completion:
    """Complete one of these words."""
    return lambda ctx, param, begun: [CompletionItem(word) for word in words if word.startswith(begun)]


complete_scale = among("2", "3", "4")


def complete_model(ctx: click.Context, param: click.Parameter, begun: str) -> list[CompletionItem]:
    """Complete the name of a shipped model, or the path of a file."""
    from a2f.weights import AUTO, shipped_names

    names = [name for name in (AUTO, *shipped_names()) if name.startswith(begun)]
    return [CompletionItem(name) for name in names] or [CompletionItem(begun, type="file")]


def complete_format(ctx: click.Context, param: click.Parameter, begun: str) -> list[CompletionItem]:
    """Complete the name of a file format."""
    from a2f.imageio.formats import FORMATS

    return [CompletionItem(name) for name in FORMATS if name.startswith(begun)]


class SizeType(click.ParamType):  # type: ignore[type-arg,unused-ignore]
    """WxH in pixels."""

    name = "WxH"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        """Read 1920x1080 as (1920, 1080)."""
        width, cross, height = str(value).lower().partition("x")
        if not (cross and width.isdecimal() and height.isdecimal()):
            self.fail(f"{value!r} is not a size: write it as 1920x1080", param, ctx)
        return int(width), int(height)


class OwnNetworkType(click.ParamType):  # type: ignore[type-arg,unused-ignore]
    """FILE.py:CLASS."""

    name = "FILE.py:CLASS"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Check the form; the file is opened later."""
        from a2f.peers.own import is_own

        if not is_own(str(value)) or str(value).endswith(":"):
            self.fail(f"{value!r} has no class: write it as my.py:Net", param, ctx)
        return str(value)


class BytesType(click.ParamType):  # type: ignore[type-arg,unused-ignore]
    """An amount of memory."""

    name = "SIZE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Read 1GB, 1.5G or 800MB as bytes; 1 KB is 1000 bytes."""
        text = str(value).upper().removesuffix("B")
        factor = FACTORS.get(text[-1:], 1)
        try:
            size = int(float(text[:-1] if factor > 1 else text) * factor)
        except (ValueError, OverflowError):
            size = 0
        if size < 1:
            self.fail(f"{value!r} is not an amount of memory: write it as 800MB or 1.5GB", param, ctx)
        return size


class CountType(click.ParamType):  # type: ignore[type-arg,unused-ignore]
    """A whole number, with an optional K, M or G for thousands, millions or billions."""

    name = "N"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Read 100M as 100,000,000."""
        text = str(value).upper()
        factor = FACTORS.get(text[-1:], 1)
        digits = text[:-1] if factor > 1 else text
        if not digits.isdecimal() or int(digits) < 1:
            self.fail(f"{value!r} is not a count: write it as 100000000 or 100M", param, ctx)
        return int(digits) * factor


class ScalesType(click.ParamType):  # type: ignore[type-arg,unused-ignore]
    """Comma-separated scales."""

    name = "2,3,4"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        """Read 2,4 as (2, 4)."""
        if isinstance(value, tuple):
            return value
        parts = [part.strip() for part in str(value).split(",")]
        if not set(parts) <= {"2", "3", "4"}:
            self.fail(f"{value!r}: choose from 2, 3 and 4, separated by commas", param, ctx)
        return tuple(sorted({int(part) for part in parts}))


class QualitiesType(click.ParamType):  # type: ignore[type-arg,unused-ignore]
    """Comma-separated JPEG qualities; "clean" is no JPEG."""

    name = "Q,Q"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int | None, ...]:
        """Read clean,90,75 as (None, 90, 75)."""
        if isinstance(value, tuple):
            return value
        parts = [part.strip().lower() for part in str(value).split(",")]
        for part in parts:
            if part != "clean" and not (part.isdecimal() and 1 <= int(part) <= 100):
                self.fail(
                    f"{part!r}: give qualities from 1 to 100, or clean, for example clean,90,75,50,30", param, ctx
                )
        return tuple(dict.fromkeys(None if part == "clean" else int(part) for part in parts))


class DeviceType(click.ParamType):  # type: ignore[type-arg,unused-ignore]
    """The name of a device; its availability is checked when it is opened."""

    name = "NAME"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Check the name of a device."""
        if not re.fullmatch(r"cpu|mps|cuda(:\d+)?", str(value)):
            self.fail(f"{value!r}: choose cpu, cuda, cuda:1 (the second GPU) or mps", param, ctx)
        return str(value)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Complete the name of a device."""
        return among("cpu", "cuda", "mps")(ctx, param, incomplete)


device_option = click.option(
    "--device", type=DeviceType(), default="cpu", show_default=True, help="cpu, cuda, cuda:N or mps."
)


def engine_options(command: F) -> F:
    """Add --engine, --device and --dtype to a command that measures."""
    engine = click.option(
        "--engine",
        type=click.Choice(ENGINES),
        default=ENGINES[0],
        show_default=True,
        help="The engine that runs the network.",
    )
    dtype = click.option(
        "--dtype",
        type=click.Choice(DTYPES),
        default=DTYPES[0],
        show_default=True,
        help="Precision of the computation; not every engine has all.",
    )
    return engine(device_option(dtype(command)))


own_network_option = click.option(
    "--network",
    type=OwnNetworkType(),
    metavar=OwnNetworkType.name,
    help="The class of your own network, for its weights files.",
)
compared_scale_option = click.option(
    "-s",
    "--scale",
    type=click.IntRange(min=2),
    metavar="N",
    shell_complete=complete_scale,
    help="2, 3 or 4; needed for enlargements with no scale in their names.  [default: the scale of the files, else 4]",
)
CONVENTION = ("input_range", "output_range", "channels", "multiple")  # the options of `convention_options`


def convention_options(command: F) -> F:
    """Add --input-range, --output-range, --channels and --multiple, for files of third-party networks."""
    options = (
        click.option(
            "--input-range",
            default="1",
            show_default=True,
            metavar="RANGE",
            help="Input range of a network file: 1, 255 or -1..1.",
        ),
        click.option(
            "--output-range", metavar="RANGE", help="Output range of a network file.  [default: the input range]"
        ),
        click.option(
            "--channels",
            default="rgb",
            show_default=True,
            metavar="ORDER",
            help="Channel order of a network file: rgb or bgr.",
            shell_complete=among("rgb", "bgr"),
        ),
        click.option(
            "--multiple",
            type=POSITIVE,
            default=1,
            show_default=True,
            help="Width and height must be multiples of N for a network file.",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


def open_third_party(
    path: Path, *, scale: int | None, input_range: str, output_range: str | None, channels: Any, multiple: int
) -> "Upscaler":
    """Open a network file with the values of `convention_options`; None for the scale of the network."""
    from a2f.external import Convention, ExternalModel
    from a2f.runtime import default_threads

    convention = Convention(input_range=input_range, output_range=output_range, channels=channels, multiple=multiple)
    return ExternalModel(path, scale=scale, convention=convention, threads=default_threads())


def check_output(path: Path, *suffixes: str, overwrite: bool) -> None:
    """Raise an error for an output with a wrong suffix, or one that exists.

    Raises:
        UsageError: for a wrong suffix.
        OutputExistsError: if the output exists and `overwrite` is False.
    """
    if path.suffix.lower() not in suffixes:
        *first, last = suffixes
        listed = f"{', '.join(first)} or {last}" if first else last
        raise UsageError(f"{path}: the output must end with {listed}")
    if path.exists() and not overwrite:
        raise output_exists(path)
