"""`make demo` runs this: enlarge the bundled photo with the command line, and show before and after side by side.

python examples/demo.py [--output FOLDER]
"""

import argparse
import shlex
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PHOTO = next(p for p in sorted((ROOT / "examples" / "photos").iterdir()) if p.suffix in (".jpg", ".png"))


def a2f(*arguments: str | Path) -> None:
    """Print and run a command of the command line."""
    words = [str(a.relative_to(ROOT) if isinstance(a, Path) and a.is_relative_to(ROOT) else a) for a in arguments]
    print(f"$ a2f {shlex.join(words)}", flush=True)
    subprocess.run([sys.executable, "-m", "a2f", *words], check=True, cwd=ROOT)


def main() -> None:
    """Enlarge, compare, and print the paths of the pictures."""
    parser = argparse.ArgumentParser(description="Enlarge the bundled photo, and show before and after side by side.")
    parser.add_argument("--output", type=Path, default=ROOT / "demo", help="folder for the pictures (default: demo)")
    folder = parser.parse_args().output.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    large, sheet = folder / f"{PHOTO.stem}_x4.png", folder / "side-by-side.png"
    began = time.perf_counter()
    a2f("upscale", PHOTO, "-o", large, "--overwrite", "-v")
    seconds = time.perf_counter() - began
    a2f("compare", PHOTO, large, "-o", sheet, "--overwrite")
    print(f"\nEnlarged {PHOTO.relative_to(ROOT)} 4 times in {seconds:.1f} s, start-up included, without PyTorch.")
    print(f"  the enlargement   {large}\n  before and after  {sheet}")


if __name__ == "__main__":
    main()
