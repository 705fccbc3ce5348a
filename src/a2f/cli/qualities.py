"""The option for JPEG qualities."""

from typing import Any

import click


class QualitiesType(click.ParamType):  # type: ignore[type-arg,unused-ignore]
    """Qualities with commas between them, and "clean" for no JPEG."""

    name = "Q,Q"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int | None, ...]:
        """Read clean,90,75 as (None, 90, 75)."""
        if isinstance(value, tuple):
            return value
        parts = [part.strip().lower() for part in str(value).split(",")]
        for part in parts:
            if part != "clean" and not (part.isdecimal() and 1 <= int(part) <= 100):
                self.fail(f"{part!r}: give qualities from 1 to 100 and clean, such as clean,90,75,50,30", param, ctx)
        return tuple(dict.fromkeys(None if part == "clean" else int(part) for part in parts))
