"""The path of one photo through the code: how many functions and files of a2f run for `a2f upscale photo.jpg`.

python -m benchmarks.path [--list] [--write]

Each command runs in its own process. Each function, method, generator or lambda of a2f that runs in any thread counts
once; the bodies of modules, classes and comprehensions do not count.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.markdown import ROOT, fill, table
from benchmarks.overhead import photo

PROFILED = """
import json, sys, threading
from pathlib import Path
report, program = Path(sys.argv[1]), sys.argv[2]
entered = set()
def watch(frame, event, argument):
    if event == "call":
        entered.add(frame.f_code)
threading.setprofile(watch)
sys.setprofile(watch)
exit_code = 0
try:
    exec(program, {"__name__": "__main__"})
except SystemExit as stop:
    exit_code = stop.code or 0
sys.setprofile(None)
threading.setprofile(None)
import a2f
home = Path(a2f.__file__).parent
left_out = {"<module>", "<listcomp>", "<setcomp>", "<dictcomp>", "<genexpr>"}
found = set()
for code in entered:
    path = Path(code.co_filename)
    body_of_a_class = not code.co_flags & 2  # CO_NEWLOCALS
    if path.is_relative_to(home) and code.co_name not in left_out and not body_of_a_class:
        found.add((str(path.relative_to(home)), code.co_firstlineno, code.co_qualname))
report.write_text(json.dumps({"exit_code": exit_code, "found": sorted(found)}))
"""

COMMAND = """
import sys
sys.argv = ['a2f', 'upscale', 'photo.jpg', '-q', '--overwrite']
from a2f.cli.main import main
main()
"""
WAYS = {
    "`a2f upscale photo.jpg`": COMMAND,
    '`a2f.upscale("photo.jpg")`': "import a2f; a2f.upscale('photo.jpg', overwrite=True)",
}


def functions_of(program: str) -> list[tuple[str, int, str]]:
    """The functions of a2f that a program enters for a photo of 64 x 64 pixels: file, line and name."""
    from PIL import Image

    with tempfile.TemporaryDirectory() as name:
        Image.fromarray(photo(64)).save(Path(name) / "photo.jpg", quality=90)
        report = Path(name) / "report.json"
        subprocess.run([sys.executable, "-c", PROFILED, str(report), program], cwd=name, check=True)
        told = json.loads(report.read_text())
    if told["exit_code"]:
        raise SystemExit(f"the program ended with {told['exit_code']}")
    return [(file, line, function) for file, line, function in told["found"]]


def main() -> None:
    """Count, print, and write on request."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--list", action="store_true", help="print each function")
    parser.add_argument("--write", action="store_true", help="update docs/benchmarks/overhead.md")
    a = parser.parse_args()
    found = {way: functions_of(program) for way, program in WAYS.items()}
    rows = [["one photo, cold", "functions", "files", "functions that the other way does not enter"]]
    for way, functions in found.items():
        others = {function for other, entered in found.items() if other != way for function in entered}
        files, own = {file for file, _, _ in functions}, set(functions) - others
        rows.append([way, str(len(functions)), str(len(files)), str(len(own))])
        if a.list:
            print(way, *(f"  {file}:{line} {function}" for file, line, function in functions), sep="\n")
    text = table(rows)
    print(text)
    if a.write:
        fill(ROOT / "docs" / "benchmarks" / "overhead.md", "path", text)


if __name__ == "__main__":
    main()
