"""Ctrl-C, heard at any time."""

import os
import signal
import threading

EXIT_CODE = 130


def end_at_once_when_asked_again() -> None:
    """A second Ctrl-C does not wait for what is still under way; files under way have no name yet, or a hidden one."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, lambda number, frame: os._exit(EXIT_CODE))


def is_interrupt(error: BaseException) -> bool:
    """Whether Ctrl-C is what an error came of, as where it falls into the import of a compiled module."""
    cause = error.__cause__ or error.__context__
    return isinstance(error, KeyboardInterrupt) or (cause is not None and is_interrupt(cause))
