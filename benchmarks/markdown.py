"""Generated parts of pages, text between a pair of comment marks, and the figures behind them."""

import json
import re
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]


def fill(path: Path, mark: str, text: str) -> None:
    """Replace what stands between ``<!-- mark -->`` and ``<!-- /mark -->`` in a Markdown file."""
    page = path.read_text(encoding="utf-8")
    pattern = re.compile(rf"(<!-- {mark} -->\n).*?(<!-- /{mark} -->)", re.DOTALL)
    if not pattern.search(page):
        raise SystemExit(f"{path} has no place marked {mark}")
    path.write_text(pattern.sub(lambda m: f"{m[1]}{text.rstrip()}\n{m[2]}", page), encoding="utf-8")


def table(rows: list[list[str]]) -> str:
    """A Markdown table; the first row is its head."""
    head, *body = rows
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in body])


def write_json(path: Path, machine: str, rows: Sequence[Any]) -> None:
    """Keep what was measured: the machine, and dataclass instances."""
    kept = {"machine": machine, "rows": [asdict(row) for row in rows]}
    path.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
