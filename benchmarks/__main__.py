"""All benchmarks of this folder, one after the other; each writes its page in docs and its JSON.

    python -m benchmarks

Takes about an hour on two cores, and wants them for itself.
"""

import subprocess
import sys

PARTS = (
    "quality",
    "jpeg",
    "engine",
    "latency",
    "precision",
    "ensemble",
    "overhead",
    "path",
    "exactness",
    "memory",
    "decoding",
    "batch",
    "loader",
    "steps",
    "learning",
    "serve",
    "small_images",
)


def main() -> None:
    """Each in a process of its own: one tells the C library how to handle memory, another loads torch."""
    for part in PARTS:
        print(f"-- {part}", flush=True)
        subprocess.run([sys.executable, "-m", f"benchmarks.{part}", "--write"], check=True)


if __name__ == "__main__":
    main()
