"""Options for networks of others from a file."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from a2f.upscaler import Upscaler

F = TypeVar("F", bound=Callable[..., Any])

_range = click.option(
    "--input-range", default="1", show_default=True, metavar="RANGE", help="Of a file's values: 1, 255 or -1..1."
)
_output = click.option("--output-range", metavar="RANGE", help="Of what comes out.  [default: as the input]")
_channels = click.option("--channels", default="rgb", show_default=True, metavar="ORDER", help="Of a file: rgb or bgr.")
_multiple = click.option(
    "--multiple", type=click.IntRange(min=1), default=1, show_default=True, help="Of which a file's sides must be."
)
OPTIONS = (_range, _output, _channels, _multiple)


def foreign_options(command: F) -> F:
    """Add --input-range, --output-range, --channels and --multiple to a command."""
    for option in reversed(OPTIONS):
        command = option(command)
    return command


def open_foreign(
    path: Path, *, scale: int | None, input_range: str, output_range: str | None, channels: Any, multiple: int
) -> "Upscaler":
    """Open a network's file as these options say; without a scale, that of the network."""
    from a2f.runtime.engines import default_threads
    from a2f.runtime.foreign import Convention, ForeignModel

    convention = Convention(input_range=input_range, output_range=output_range, channels=channels, multiple=multiple)
    return ForeignModel(path, scale=scale, convention=convention, threads=default_threads())
