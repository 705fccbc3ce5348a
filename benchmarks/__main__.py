"""Run all benchmarks of this folder, one after the other. Each writes its page in docs and its JSON file.

    python -m benchmarks

This takes about an hour on two cores. No other program should run at the same time.
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
    """Run each benchmark in its own process: one changes settings of the C library, another loads torch."""
    for part in PARTS:
        print(f"-- {part}", flush=True)
        subprocess.run([sys.executable, "-m", f"benchmarks.{part}", "--write"], check=True)


if __name__ == "__main__":
    main()
