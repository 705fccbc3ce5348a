"""A description of the machine for measurements."""

import os
import platform
from pathlib import Path

from a2f.runtime.openvino import computes, has_amx

KINDS = ("", "_amx", "_without_bfloat16")  # of CPUs, see `engine_suffix`


def suffix() -> str:
    """The suffix of files and page marks for this CPU; CPUs without bfloat16 have separate ones."""
    return "" if computes("bfloat16") else "_without_bfloat16"


def engine_suffix() -> str:
    """Suffix of places and files with figures of the fast mode, which differs between the kinds of CPUs."""
    return "_amx" if has_amx() else suffix()


def describe() -> str:
    """Describe processor, cores, system and Python in one line."""
    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        name = lines[0].partition(":")[2].strip() if lines else name
        flags = info.read_text()
        name += ", ".join(["", *(f for f in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if f" {f} " in flags)])
    return f"{name}; {os.cpu_count()} cores; {platform.system()}; Python {platform.python_version()}"
