"""Worker processes."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from a2f.workers import worker_processes

# Prints the process ids of the workers, and is then killed while both have work for hours.
KILLED = """
import multiprocessing, os, signal, time
from a2f.workers import worker_processes
if __name__ == "__main__":
    with worker_processes(2) as pool:
        running = [pool.submit(time.sleep, 10_000) for _ in range(8)]
        while not all(future.running() for future in running[:2]):
            time.sleep(0.01)
        print(*[child.pid for child in multiprocessing.active_children()], flush=True)
        os.kill(os.getpid(), signal.{name})
"""


@pytest.mark.integration
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")
@pytest.mark.parametrize("name", ["SIGKILL", "SIGTERM"])
def test_workers_end_with_their_killed_parent(name: str, tmp_path: Path) -> None:
    script = tmp_path / "killed.py"
    script.write_text(KILLED.replace("{name}", name))
    process = subprocess.run([sys.executable, script], stdout=subprocess.PIPE, text=True, check=False)
    assert process.returncode == -getattr(signal, name)
    workers = process.stdout.split()
    assert len(workers) == 2
    deadline = time.monotonic() + 60
    while any(Path(f"/proc/{pid}").exists() for pid in workers):
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.integration
def test_results_come_in_order() -> None:
    with worker_processes(2) as pool:
        assert list(pool.map(abs, range(-5, 0))) == [5, 4, 3, 2, 1]
