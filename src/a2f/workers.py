"""Processes that work for this one, and end with it."""

import os
import signal
import threading
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import connection, get_context, parent_process


def worker_processes(count: int) -> ProcessPoolExecutor:
    """Open a pool of fresh processes.

    They start by spawn, not by fork: this process may have threads of other libraries, which do not survive a fork.
    Each of them ignores Ctrl-C, which this process handles, and exits when this process ends for any reason.

    Args:
        count: number of processes, at least 1.
    """
    return ProcessPoolExecutor(count, mp_context=get_context("spawn"), initializer=_exit_with_parent)


def _exit_with_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = parent_process()
    if parent is not None:
        threading.Thread(target=_exit_when, args=(parent.sentinel,), daemon=True).start()


def _exit_when(sentinel: int) -> None:
    connection.wait([sentinel])
    os._exit(1)
