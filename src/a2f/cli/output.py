"""The output file of commands that write one."""

from pathlib import Path

from a2f.errors import UsageError


def check_output(path: Path, *suffixes: str, overwrite: bool) -> None:
    """Refuse an output of the wrong kind, or one that is there.

    Raises:
        UsageError: and says what to do.
    """
    if path.suffix.lower() not in suffixes:
        *first, last = suffixes
        listed = f"{', '.join(first)} or {last}" if first else last
        raise UsageError(f"{path}: name the output with {listed} at its end")
    if path.exists() and not overwrite:
        raise UsageError(f"{path} exists: --overwrite replaces it")
