"""Memory: what there is, what this process has, what running an image whole would take."""

import ctypes
import mmap
import os
import platform
from pathlib import Path

from a2f.variants import A2FConfig

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of malloc.h
HUGE_PAGE = 2**21


def whole_bytes(config: A2FConfig, *, height: int, width: int) -> int:
    """About what enlarging one image whole, in one graph, takes.

    Fitted to the peak memory of the engines on images of 0.5 to 2 megapixels at x2 and x4, within 10 %.

    Args:
        config: the network.
        height: of the LR image, pixels.
        width: of the LR image, pixels.
    """
    per_pixel = config.channels * (config.blocks + 1) + 1.4 * config.hidden + 7.1 * 3 * config.scale**2
    return int(4 * per_pixel * height * width)


def torch_whole_bytes(config: A2FConfig, *, height: int, width: int) -> int:
    """The same in PyTorch, which concatenates features and keeps more of what lies between; at most 1.6 times as much.

    Peaks were 393 to 1,385 floats a pixel (S, SD, L at x2 and x4, half a megapixel), up to 750 in bfloat16 (SD x2).
    """
    features, result = config.channels * (config.blocks + 1), 3 * config.scale**2
    per_pixel = features + max(features, 3.5 * config.hidden) + 7.1 * result
    return int(4 * per_pixel * height * width)


def arrays_bytes(config: A2FConfig, *, height: int, width: int) -> int:
    """What of a run on another device lies in the memory of the CPU: the image and its result, twice at times."""
    return 2 * 4 * 3 * (1 + config.scale**2) * height * width


def available_bytes() -> int | None:
    """Memory that this process can still get, as Linux tells it; None where it can't be told."""
    found = []
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        found += [int(line.split()[1]) * 1024 for line in lines if line.startswith(("MemAvailable:", "SwapFree:"))]
        free = [sum(found)] if found else []
        group = Path("/sys/fs/cgroup")
        limit, used = (group / "memory.max").read_text().strip(), int((group / "memory.current").read_text())
        free += [int(limit) - used] if limit.isdecimal() else []
    except (OSError, ValueError):
        return sum(found) if found else None
    return min(free) if free else None


def resident_bytes() -> int:
    """Memory that this process has now; where the system does not tell, what one with the libraries loaded has."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return 150 * 10**6


def give_back_freed() -> None:
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
