"""Memory of a whole-image run, said before it starts: the system would end the process without a word."""

from pathlib import Path

from a2f.errors import EngineError
from a2f.variants import A2FConfig


def needed_bytes(config: A2FConfig, *, height: int, width: int) -> int:
    """About what enlarging one image takes, from file to file.

    Fitted to the peak memory of ``a2f upscale`` on images of 0.5 to 2 megapixels at x2 and x4, within 10 %.

    Args:
        config: the network.
        height: of the LR image, pixels.
        width: of the LR image, pixels.
    """
    per_pixel = config.channels * (config.blocks + 1) + 1.4 * config.hidden + 7.1 * 3 * config.scale**2
    return int(4 * per_pixel * height * width)


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


def check_memory(config: A2FConfig, *, height: int, width: int) -> None:
    """Refuse an image that does not fit.

    Raises:
        EngineError: and says how much is missing and what to do.
    """
    available, needed = available_bytes(), needed_bytes(config, height=height, width=width)
    if available is not None and needed > available:
        smaller = int((available / needed) ** 0.5 * 100)
        raise EngineError(
            f"{width} x {height} at x{config.scale} needs about {needed / 1e9:.1f} GB of memory and "
            f"{available / 1e9:.1f} GB are free: take a smaller scale or fewer --jobs, or an image of at most "
            f"{width * smaller // 100} x {height * smaller // 100}"
        )
