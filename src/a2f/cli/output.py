"""The output file of commands that write one."""

from pathlib import Path

from a2f.errors import UsageError


def check_output(path: Path, suffix: str, *, overwrite: bool) -> None:
    """Refuse an output of the wrong kind, or one that is there.

    Raises:
        UsageError: and says what to do.
    """
    if path.suffix.lower() != suffix:
        raise UsageError(f"{path}: name the output with {suffix} at its end")
    if path.exists() and not overwrite:
        raise UsageError(f"{path} exists: --overwrite replaces it")
