"""What the command line writes, on consoles whose encoding may not hold every name; and Ctrl-C, heard at any time."""

import json
import os
import signal
import sys
import threading
import unicodedata
from collections.abc import Sequence
from typing import Any

import click

from a2f.errors import A2FError, Hint

INTERRUPTED = 130  # exit code


class Messages:
    """Lines for people on standard error; on a terminal above a progress bar.

    Args:
        quiet: errors only, and no bar.

    Attributes:
        bar: of tqdm; None while there is none.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self.quiet, self.bar = quiet, None

    bar: Any

    def start_bar(self, **how: Any) -> None:
        """Show a bar of tqdm, on a terminal and unless quiet."""
        if sys.stderr.isatty() and not self.quiet:
            from tqdm import tqdm

            self.bar = tqdm(file=sys.stderr, dynamic_ncols=True, **how)

    def end_bar(self) -> None:
        """End the bar, if there is one."""
        if self.bar is not None:
            self.bar.close()
        self.bar = None

    def note(self, text: str) -> None:
        """Tell something that is no error."""
        if not self.quiet:
            self.line(printable(text))

    def error(self, error: Exception | str) -> None:
        """Tell what went wrong."""
        title = click.style("error", fg="red") if sys.stderr.isatty() else "error"
        self.line(f"{title}: {printable(told(error) if isinstance(error, Exception) else error)}")

    def line(self, text: str) -> None:
        """Tell a line, whatever it holds."""
        if self.bar is not None:
            self.bar.write(text, file=sys.stderr)
        else:
            click.echo(text, err=True)


def told(error: Exception) -> str:
    """The message of an error, with the options that it names as flags: ``--max-pixels``, ``--dtype float32``."""
    return error.text(_as_flag) if isinstance(error, A2FError) else str(error)


def _as_flag(hint: Hint) -> str:
    flag = f"--{hint.option.replace('_', '-')}"
    return flag if hint.value is None or isinstance(hint.value, bool) else f"{flag} {hint.value}"


def print_table(head: Sequence[str], rows: Sequence[Sequence[str]], *, numbers: bool = False) -> None:
    """Print a table on standard output, its columns as wide as their longest cells.

    Args:
        head: of each column.
        rows: cells, as many as `head`.
        numbers: align columns right.
    """
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    for row in [head, *rows]:
        cells = [cell.rjust(w) if numbers else cell.ljust(w) for cell, w in zip(row, widths, strict=True)]
        click.echo("  ".join(cells).rstrip())


def never_fatal() -> None:
    """Let standard output and standard error escape what their encoding does not hold, where they would raise."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # not everything that stands in for them has it
            stream.reconfigure(errors="backslashreplace")


def printable(text: str) -> str:
    """One line in which control characters, as names may hold them, are escaped."""
    return "".join(_escaped(c) if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp") else c for c in text)


def _escaped(character: str) -> str:
    if character == "\u200d":  # which joins letters and emoji into one
        return character
    return character.encode("unicode_escape").decode("ascii")


def json_line(record: dict[str, Any]) -> str:
    """A JSON object on one line: as it reads best where standard output holds every letter, else in ASCII alone."""
    text = json.dumps(record, ensure_ascii=False)
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except UnicodeError:
        return json.dumps(record)
    return text


def end_at_once_when_asked_again() -> None:
    """A second Ctrl-C does not wait for what is still under way; files under way have no name yet, or a hidden one."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, lambda number, frame: os._exit(INTERRUPTED))


def is_interrupt(error: BaseException) -> bool:
    """Whether Ctrl-C is what an error came of, as where it falls into the import of a compiled module."""
    cause = error.__cause__ or error.__context__
    return isinstance(error, KeyboardInterrupt) or (cause is not None and is_interrupt(cause))
