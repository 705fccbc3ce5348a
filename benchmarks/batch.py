"""Time and memory to plan a batch of many files, in the first run and when all files are done.

    python -m benchmarks.batch [--write]

Each file has only the first bytes of a PNG, because planning reads no more. A folder has 1,000 files. Each plan runs in
its own process; its memory is the growth of the peak that the system reports. The table has wall-clock time and also
processor time, which other programs on the machine do not change.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from a2f.batch.journal import Journal
from a2f.batch.plan import Layout, ResumeOptions, plan
from a2f.batch.sources import Scan
from benchmarks.machine import describe
from benchmarks.markdown import ROOT, fill, table

COUNTS = (1_000, 10_000, 100_000)
A_FOLDER = 1_000
HEAD = b"\x89PNG\r\n\x1a\n" + bytes(56)
PAGE = ROOT / "docs" / "batches.md"


def make_files(folder: Path, count: int) -> None:
    """Write `count` files."""
    for i in range(count):
        path = folder / f"{i // A_FOLDER:03d}" / f"photo-{i:06d}.png"
        if i % A_FOLDER == 0:
            path.parent.mkdir(parents=True)
        path.write_bytes(HEAD + bytes(i % 50))


def plan_once(given: str, out: str) -> None:
    """Make one plan. Print its seconds, processor seconds, growth of the peak memory in MB, and the items to do."""
    with Journal(Path(out) / "journal.sqlite") as journal:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        began, processor = time.perf_counter(), time.process_time()
        files = Scan(recursive=True).files([given])
        plan(journal, files, Layout(mark="_x4", output=out), ResumeOptions(resume=True), recipe="{}")
        seconds = time.perf_counter() - began, time.process_time() - processor
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
        print(json.dumps([*seconds, grown, journal.counts()["todo"]]))


def finish(out: Path) -> None:
    """Write a result for each file, and mark all items in the journal as done."""
    with Journal(out / "journal.sqlite") as journal:
        for (target,) in journal.rows("SELECT target FROM items"):
            Path(target).parent.mkdir(parents=True, exist_ok=True)
            Path(target).write_bytes(HEAD)
        with journal.writing() as base:
            base.execute(
                "UPDATE items SET state = 'done', recipe = 1, output_sha256 = 'x', output_bytes = ?",
                (len(HEAD),),
            )


def measured(given: Path, out: Path, *, todo: int) -> list[str]:
    """Make a plan in its own process; the cells of the table."""
    code = f"from benchmarks.batch import plan_once; plan_once({str(given)!r}, {str(out)!r})"
    told = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=ROOT).stdout
    seconds, processor, grown, left = json.loads(told)
    assert left == todo
    return [f"{seconds:.1f} s", f"{processor:.1f} s", f"{grown:.0f} MB"]


def main() -> None:
    """Measure and print; with --write, update the table in docs/batches.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true")
    write = parser.parse_args().write
    rows = [["files", "first plan", "processor", "memory", "plan when all are done", "processor", "memory"]]
    for count in COUNTS:
        with tempfile.TemporaryDirectory() as folder:
            given, out = Path(folder) / "in", Path(folder) / "out"
            make_files(given, count)
            out.mkdir()
            first = measured(given, out, todo=count)
            finish(out)
            row = [f"{count:,}", *first, *measured(given, out, todo=0)]
        print(*row, flush=True)
        rows.append(row)
    text = f"{table(rows)}\n\n{describe()}."
    print(text)
    if write:
        fill(PAGE, "plan", text)


if __name__ == "__main__":
    main()
