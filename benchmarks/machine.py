"""What a measurement ran on."""

import os
import platform
from pathlib import Path


def describe() -> str:
    """Processor, cores, system and Python, in one line."""
    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        name = lines[0].partition(":")[2].strip() if lines else name
        flags = info.read_text()
        name += ", ".join(["", *(f for f in ("avx512f", "avx512_bf16", "amx_bf16") if f" {f} " in flags)])
    return f"{name}; {os.cpu_count()} cores; {platform.system()}; Python {platform.python_version()}"
