"""Writes generated parts of pages (text between two comment marks) and the JSON files with their figures."""

import json
import re
import textwrap
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
WIDTH = 120  # characters; the limit of `rumdl` in pyproject.toml


def fill(path: Path, mark: str, text: str) -> None:
    """Replace the text between ``<!-- mark -->`` and ``<!-- /mark -->`` in a Markdown file."""
    page = path.read_text(encoding="utf-8")
    pattern = re.compile(rf"(<!-- {mark} -->\n).*?(<!-- /{mark} -->)", re.DOTALL)
    if not pattern.search(page):
        raise SystemExit(f"{path} has no mark <!-- {mark} -->")
    path.write_text(pattern.sub(lambda m: f"{m[1]}{wrapped(text.rstrip())}\n{m[2]}", page), encoding="utf-8")


def wrapped(text: str) -> str:
    """Break lines of prose at `WIDTH` characters. Table rows are not broken."""
    lines = []
    for line in text.splitlines():
        indent = "  " if line.startswith("- ") else ""
        short = len(line) <= WIDTH or line.startswith("|")
        broken = textwrap.wrap(line, WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
        lines += [line] if short else broken
    return "\n".join(lines)


def table(rows: list[list[str]]) -> str:
    """Format a Markdown table; the first row is its header."""
    head, *body = rows
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in body])


def write_json(path: Path, machine: str, rows: Sequence[Any]) -> None:
    """Store measurements: the machine, and dataclass instances."""
    kept = {"machine": machine, "rows": [asdict(row) for row in rows]}
    path.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
