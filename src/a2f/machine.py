"""This machine and this process: memory and cores that containers allow, and how the C library keeps memory."""

import ctypes
import math
import mmap
import os
import platform
from collections.abc import Iterator
from pathlib import Path

import psutil

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of malloc.h
HUGE_PAGE = 2**21

# The files of a control group, for cgroup v2 and v1: limit, use, and the entry of memory.stat that tells the part of
# the page cache that the kernel drops as soon as memory is needed.
GROUP_FILES = (
    ("memory.max", "memory.current", "inactive_file"),
    ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)


def available_bytes(*, system: Path = Path("/")) -> int:
    """Memory that this process can still get without swapping, on any operating system.

    Args:
        system: the folder that holds `proc` and `sys`; for tests.

    Returns:
        What the machine has left, or less where a control group (a container) allows less.
    """
    left = [_left_bytes(group) for group in _groups("memory", system)]
    return min([int(psutil.virtual_memory().available), *(count for count in left if count is not None)])


def resident_bytes() -> int:
    """Memory that this process has now."""
    return int(psutil.Process().memory_info().rss)


def usable_cores(*, system: Path = Path("/")) -> int:
    """Cores that this process may use: its affinity, or the CPU quota of its control group if that is less.

    Args:
        system: the folder that holds `proc` and `sys`; for tests.

    Returns:
        At least 1; a quota is rounded up.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quotas = [_quota(group) for group in _groups("cpu", system)]
    return max(1, min([cores, *(math.ceil(quota) for quota in quotas if quota is not None)]))


def _groups(controller: str, system: Path) -> Iterator[Path]:
    """The folders of this process's control groups, from its own up to the root, in either version of cgroup."""
    try:
        lines = (system / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        root = system / "sys/fs/cgroup" / (controller if controllers else "")
        own = root / path.lstrip("/")
        yield from (folder for folder in (own, *own.parents) if folder == root or root in folder.parents)


def _left_bytes(group: Path) -> int | None:
    """What a control group still allows; None if it has no limit, or is not there."""
    for limit_file, use_file, cache in GROUP_FILES:
        limit, used = _number(group / limit_file), _number(group / use_file)
        if limit is not None and used is not None:
            return max(0, limit - max(0, used - _stat(group, cache)))
    return None


def _stat(group: Path, name: str) -> int:
    try:
        lines = (group / "memory.stat").read_text(encoding="ascii").splitlines()
    except (OSError, ValueError):
        return 0
    return next((int(line.split()[1]) for line in lines if line.split()[0] == name), 0)


def _quota(group: Path) -> float | None:
    """Cores that a control group allows, as a fraction; None if it has no limit, or is not there."""
    try:
        quota, period = (group / "cpu.max").read_text(encoding="ascii").split()
    except (OSError, ValueError):
        quota, period = str(_number(group / "cpu.cfs_quota_us")), str(_number(group / "cpu.cfs_period_us"))
    return int(quota) / int(period) if quota.isdecimal() and period.isdecimal() and int(period) else None


def _number(file: Path) -> int | None:
    """The number in a file; None if there is none ("max", -1)."""
    try:
        text = file.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return None
    return int(text) if text.isdecimal() else None


def release_free_memory() -> None:
    """Let the C library return what was freed to the system, where it keeps it otherwise (glibc)."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if os.name == "posix" else None
    if trim is not None:
        trim(0)


def keep_freed_memory() -> None:
    """Let glibc keep the memory that PyTorch frees, for the whole process; nothing happens with another C library.

    Without it inference loses up to a third of its time to page faults, and training a fifth.
    """
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        for option in (M_MMAP_THRESHOLD, M_TRIM_THRESHOLD):
            libc.mallopt(option, 2**30)


def use_huge_pages(size_bytes: int = 2**30 - 2**20) -> None:
    """Let Linux back the next memory that PyTorch takes with pages of 2 MB; nothing happens with another C library.

    Call it after `keep_freed_memory`, which makes the C library keep the place. Memory is taken when it is used, as
    always. A training step on large patches takes some 5 % less time, since the processor looks up fewer pages.

    Args:
        size_bytes: how much memory; under 2**30, which `keep_freed_memory` lets the C library keep.
    """
    if platform.libc_ver()[0] != "glibc":
        return
    libc = ctypes.CDLL(None)
    libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
    libc.free.argtypes, libc.madvise.argtypes = [ctypes.c_void_p], [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    place = libc.malloc(size_bytes)
    if place:  # none where the system promises no memory that it may not have
        first = -(-place // HUGE_PAGE) * HUGE_PAGE
        libc.madvise(first, (place + size_bytes - first) // HUGE_PAGE * HUGE_PAGE, mmap.MADV_HUGEPAGE)
        libc.free(place)
