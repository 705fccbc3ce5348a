"""The option for several scales."""

from typing import Any

import click


class ScalesType(click.ParamType):  # type: ignore[type-arg,unused-ignore]
    """Scales with commas between them."""

    name = "2,3,4"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        """Read 2,4 as (2, 4)."""
        if isinstance(value, tuple):
            return value
        parts = [part.strip() for part in str(value).split(",")]
        if not set(parts) <= {"2", "3", "4"}:
            self.fail(f"{value!r}: choose from 2, 3 and 4, with commas between them", param, ctx)
        return tuple(sorted({int(part) for part in parts}))
