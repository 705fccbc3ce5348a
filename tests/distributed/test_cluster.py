"""A batch on a cluster of two raylets gives the results of one machine, whatever process is killed."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image
from tests.distributed.copying import GO, JOURNAL

from a2f.batch.journal import Journal

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(find_spec("ray") is None, reason="needs Ray: the extra ray"),
]

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 60  # long enough for a busy machine; only a broken cluster reaches it
PATHS = os.pathsep.join([str(ROOT / "src"), str(ROOT)])
ENVIRONMENT = {**os.environ, "PYTHONPATH": PATHS, "RAY_USAGE_STATS_ENABLED": "0", "PYTHONWARNINGS": "ignore"}


@dataclass
class Raylets:
    """The process of the cluster."""

    process: subprocess.Popen
    address: str
    head: str
    second: str

    def tell(self, line: str) -> str:
        print(line, file=self.process.stdin, flush=True)
        return self.process.stdout.readline().strip()


@pytest.fixture(scope="module")
def raylets() -> Iterator[Raylets]:
    with tempfile.TemporaryDirectory(prefix="r", ignore_cleanup_errors=True) as folder:  # sockets need short names
        command = [sys.executable, "-m", "tests.distributed.raylets", folder]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        with subprocess.Popen(command, text=True, env=ENVIRONMENT, cwd=ROOT, **pipes) as process:
            address, head, second = process.stdout.readline().split()
            yield Raylets(process, address, head, second)
            process.stdin.close()
            process.wait(PATIENCE_S)


@dataclass
class Copies:
    """A folder of files, and a driver whose workers copy them."""

    root: Path
    address: str
    started: list[subprocess.Popen] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.given, self.out = self.root / "in", self.root / "out"
        self.given.mkdir()
        self.out.mkdir()

    def put(self, name: str, content: bytes) -> None:
        (self.given / name).write_bytes(content)

    def start(self) -> subprocess.Popen:
        """Start the driver; the fixture ends it if the test does not."""
        call = f"drive({self.address!r}, Path({str(self.given)!r}), Path({str(self.out)!r}))"
        code = f"from pathlib import Path; from tests.distributed.copying import drive; {call}"
        command = [sys.executable, "-c", code]  # workers import what a driver has imported, not its __main__
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        self.started.append(subprocess.Popen(command, text=True, env=ENVIRONMENT, cwd=ROOT, **pipes))
        return self.started[-1]

    def waiting(self, driver: subprocess.Popen, count: int) -> dict[str, tuple[int, str]]:
        """Wait for a number of waiting workers; their processes and machines."""
        until(lambda: len(list(self.out.glob("*.waiting"))) == count or driver.poll() is not None)
        assert driver.returncode is None, driver.communicate()[0]
        told = {path.stem: path.read_text().split() for path in self.out.glob("*.waiting")}
        return {stem: (int(pid), node) for stem, (pid, node) in told.items()}

    def go(self) -> None:
        (self.out / GO).touch()

    def rows(self) -> dict[str, tuple[str, int]]:
        """The state and the number of tries of each file."""
        with Journal(self.out / JOURNAL, read_only=True) as journal:
            rows = journal.rows("SELECT source, state, tries FROM items")
        return {Path(source).name: (state, tries) for source, state, tries in rows}

    def check(self, *names: str) -> None:
        """Check that exactly these files have complete results."""
        for name in names:
            assert (self.out / name).read_bytes() == 2 * (self.given / name).read_bytes(), f"{name} is not whole"
        assert {path.name for path in self.out.glob("*.png")} == set(names)


@pytest.fixture
def copies(tmp_path: Path, raylets: Raylets) -> Iterator[Copies]:
    copies = Copies(tmp_path, raylets.address)
    yield copies
    for driver in copies.started:
        driver.kill()
        driver.wait()
        driver.stdout.close()


def until(is_so) -> None:
    end = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < end, "it does not happen"
        time.sleep(0.01)


def ended(process: subprocess.Popen) -> str:
    said, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, said
    return said


def files_of(folder: Path) -> dict[str, bytes]:
    found = [path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".")]
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def test_cluster_results_equal_those_of_one_machine(tmp_path: Path, raylets: Raylets) -> None:
    given = tmp_path / "in"
    rng = np.random.default_rng(0)
    for i in range(5):
        path = given / ("deeper" if i % 2 else "") / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (20 + 8 * i, 40, 3)).astype(np.uint8)).save(path)
    (given / "bad.png").write_bytes(b"no image")
    command = [sys.executable, "-m", "a2f", "upscale", str(given), "-r", "-s", "2", "--resume", "--json"]
    told = []
    for name, more in {"one": ["--threads", "1"], "many": ["--ray", raylets.address, "--max-memory", "1G"]}.items():
        more = [*more, "--quarantine", str(tmp_path / f"bad-{name}")]
        run = subprocess.run(
            [*command, "-o", str(tmp_path / name), *more], capture_output=True, text=True, env=ENVIRONMENT
        )
        assert run.returncode == 1, run.stderr
        told.append({line.partition('"output"')[0] for line in run.stdout.splitlines()})
    assert told[0] == told[1]
    assert len(files_of(tmp_path / "one")) == 5
    assert files_of(tmp_path / "one") == files_of(tmp_path / "many")
    assert len(files_of(tmp_path / "bad-one")) == 2
    assert files_of(tmp_path / "bad-one") == files_of(tmp_path / "bad-many")


def test_killed_driver_is_restarted(copies: Copies) -> None:
    for i in range(6):
        copies.put(f"large{i}.png", b"content" * 100)
    for i in range(4):
        copies.put(f"small{i}.png", b"wait")
    driver = copies.start()
    workers = {pid for pid, _ in copies.waiting(driver, 4).values()}  # all places are taken: the large files are done
    driver.kill()
    driver.communicate()
    until(lambda: not any(psutil.pid_exists(pid) for pid in workers))
    before = {path.name: path.stat().st_mtime_ns for path in copies.out.glob("large*.png")}
    assert len(before) == 6
    copies.go()
    ended(copies.start())
    copies.check(*(f"large{i}.png" for i in range(6)), *(f"small{i}.png" for i in range(4)))
    assert {path.name: path.stat().st_mtime_ns for path in copies.out.glob("large*.png")} == before
    assert copies.rows() == {
        **{f"large{i}.png": ("done", 1) for i in range(6)},
        **{f"small{i}.png": ("done", 2) for i in range(4)},
    }


def test_file_that_crashes_its_workers(copies: Copies) -> None:
    copies.put("poison.png", b"kill")
    for i in range(3):
        copies.put(f"{i}.png", b"content")
    said = ended(copies.start())
    copies.check("0.png", "1.png", "2.png")
    rows = copies.rows()
    assert rows.pop("poison.png") == ("quarantined", 2)
    assert {state for state, _ in rows.values()} == {"done"}
    assert all(tries <= 2 for _, tries in rows.values())
    assert "2 workers ended while they had this file (its process ended: SYSTEM_ERROR)" in said


def test_killed_raylet(copies: Copies, raylets: Raylets) -> None:
    for i in range(4):
        copies.put(f"first{i}.png", b"wait" * 10)
    for i in range(6):
        copies.put(f"later{i}.png", b"content")
    driver = copies.start()
    waiting = copies.waiting(driver, 4)
    lost = {f"{stem}.png" for stem, (_, node) in waiting.items() if node == raylets.second}
    assert len(lost) == 2
    raylets.tell("lose")
    until(lambda: not any(psutil.pid_exists(pid) for pid, node in waiting.values() if node == raylets.second))
    copies.go()
    said = ended(driver)
    names = [f"first{i}.png" for i in range(4)] + [f"later{i}.png" for i in range(6)]
    copies.check(*names)
    assert copies.rows() == {name: ("done", 1 + (name in lost)) for name in names}
    assert "left the cluster" in said
