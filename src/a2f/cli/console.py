"""Text for consoles and files whose encoding may not hold every name."""

import json
import sys
import unicodedata
from typing import Any


def never_fatal() -> None:
    """Let standard output and standard error escape what their encoding does not hold, where they would raise."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # not everything that stands in for them has it
            stream.reconfigure(errors="backslashreplace")


def printable(text: str) -> str:
    """One line in which control characters, as names may hold them, are escaped."""
    return "".join(_escaped(c) if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp") else c for c in text)


def json_line(record: dict[str, Any]) -> str:
    """A JSON object on one line: as it reads best where standard output holds every letter, else in ASCII alone."""
    text = json.dumps(record, ensure_ascii=False)
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except UnicodeError:
        return json.dumps(record)
    return text


def _escaped(character: str) -> str:
    if character == "\u200d":  # which joins letters and emoji into one
        return character
    return character.encode("unicode_escape").decode("ascii")
