"""Output of the command line, also on consoles with a limited encoding, and the handling of Ctrl-C."""

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
    """Messages for the user on standard error; on a terminal they are above the progress bar.

    Args:
        quiet: print only errors, and no bar.

    Attributes:
        bar: the tqdm bar; None if there is none.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self.quiet, self.bar = quiet, None

    bar: Any

    def start_bar(self, **how: Any) -> None:
        """Show a tqdm bar, if there is a terminal and unless quiet."""
        if sys.stderr.isatty() and not self.quiet:
            from tqdm import tqdm

            self.bar = tqdm(file=sys.stderr, dynamic_ncols=True, **how)

    def end_bar(self) -> None:
        """End the bar, if there is one."""
        if self.bar is not None:
            self.bar.close()
        self.bar = None

    def note(self, text: str) -> None:
        """Print a message that is no error."""
        if not self.quiet:
            self.line(printable(text))

    def error(self, error: Exception | str) -> None:
        """Print an error."""
        title = click.style("error", fg="red") if sys.stderr.isatty() else "error"
        self.line(f"{title}: {printable(error_text(error) if isinstance(error, Exception) else error)}")

    def line(self, text: str) -> None:
        """Print a line without escaping it."""
        if self.bar is not None:
            self.bar.write(text, file=sys.stderr)
        else:
            click.echo(text, err=True)


def error_text(error: Exception) -> str:
    """The message of an error, with option names as flags: ``--max-pixels``, ``--dtype float32``."""
    return error.text(_as_flag) if isinstance(error, A2FError) else str(error)


def _as_flag(hint: Hint) -> str:
    if hint.command:
        return hint.command
    flag = f"--{hint.option.replace('_', '-')}"
    return flag if hint.value is None or isinstance(hint.value, bool) else f"{flag} {hint.value}"


def print_table(head: Sequence[str], rows: Sequence[Sequence[str]], *, numbers: bool = False) -> None:
    """Print a table on standard output; each column is as wide as its longest cell.

    Args:
        head: header of each column.
        rows: cells, as many per row as in `head`.
        numbers: align columns to the right.
    """
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    for row in [head, *rows]:
        cells = [cell.rjust(w) if numbers else cell.ljust(w) for cell, w in zip(row, widths, strict=True)]
        click.echo("  ".join(cells).rstrip())


def never_fatal() -> None:
    """Make standard output and standard error escape characters outside their encoding instead of raising."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # replacements of these streams may lack it
            stream.reconfigure(errors="backslashreplace")


def printable(text: str) -> str:
    """Escape control characters, which file names may contain, so that the text is one line."""
    return "".join(_escaped(c) if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp") else c for c in text)


def _escaped(character: str) -> str:
    if character == "\u200d":  # zero-width joiner: it combines letters and emoji
        return character
    return character.encode("unicode_escape").decode("ascii")


def json_line(record: dict[str, Any]) -> str:
    """A JSON object on one line: in Unicode if standard output can encode it, otherwise in ASCII."""
    text = json.dumps(record, ensure_ascii=False)
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except UnicodeError:
        return json.dumps(record)
    return text


def end_at_once_when_asked_again() -> None:
    """Let a second Ctrl-C end the process at once; unfinished files have no name yet, or a hidden one."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, lambda number, frame: os._exit(INTERRUPTED))


def is_interrupt(error: BaseException) -> bool:
    """Whether Ctrl-C caused an error, for example during the import of a compiled module."""
    cause = error.__cause__ or error.__context__
    return isinstance(error, KeyboardInterrupt) or (cause is not None and is_interrupt(cause))
