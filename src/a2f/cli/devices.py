"""The options for engine, device and precision of the commands that measure and train."""

import re
from collections.abc import Callable
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


class DeviceType(click.ParamType):  # type: ignore[type-arg,unused-ignore]
    """The name of a device; whether it is there is seen when it is opened."""

    name = "NAME"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Refuse what names no device."""
        if not re.fullmatch(r"cpu|mps|cuda(:\d+)?", str(value)):
            self.fail(f"{value!r}: choose cpu, cuda, cuda:1 (the second card) or mps", param, ctx)
        return str(value)


device_option = click.option(
    "--device", type=DeviceType(), default="cpu", show_default=True, help="cpu, cuda, cuda:N or mps."
)


def engine_options(command: F) -> F:
    """Add --engine, --device and --dtype to a command."""
    engine = click.option(
        "--engine",
        type=click.Choice(["onnxruntime", "openvino", "torch"]),
        default="onnxruntime",
        show_default=True,
        help="What computes.",
    )
    dtype = click.option(
        "--dtype",
        type=click.Choice(["float32", "bfloat16", "float16", "int8"]),
        default="float32",
        show_default=True,
        help="Precision of the computation; not each engine has all.",
    )
    return engine(device_option(dtype(command)))
