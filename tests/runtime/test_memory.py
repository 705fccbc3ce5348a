"""Available memory and cores, plans, and the sharing of memory between runs."""

import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import psutil
import pytest

from a2f import machine
from a2f.errors import Cancelled, EngineError, MemoryLimitError, UsageError
from a2f.export.fold import fold
from a2f.runtime import load_engine, memory, onnx
from a2f.runtime.memory import Memory
from a2f.runtime.opening import open_engine
from a2f.runtime.options import EngineOptions
from a2f.runtime.plan import Pieces, Tiles, Whole, plan_tiles, smallest_tiles, whole_bytes
from a2f.upscaler import NO_CONTROL, Control
from a2f.variants import config_of
from a2f.weights import find_shipped, read_weights

GB = 10**9


@pytest.fixture(scope="module")
def weights():
    return read_weights(find_shipped("sd", scale=2).path)


def written(root: Path, files: dict[str, str]) -> Path:
    """A folder that simulates / of a Linux system."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


V2, V1 = {"proc/self/cgroup": "0::/a/b\n"}, {"proc/self/cgroup": "3:cpu,cpuacct:/x\n2:memory:/x\n"}
GROUP2, GROUP1 = "sys/fs/cgroup/a", "sys/fs/cgroup/memory"


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, 8 * GB),
        ({**V2, f"{GROUP2}/memory.max": "max", f"{GROUP2}/memory.current": "5"}, 8 * GB),
        ({**V2, f"{GROUP2}/memory.max": "3000000000", f"{GROUP2}/memory.current": "1000000000"}, 2 * GB),
        (
            {
                **V2,
                f"{GROUP2}/memory.max": "3000000000",
                f"{GROUP2}/memory.current": "2900000000",
                f"{GROUP2}/memory.stat": "anon 400000000\nactive_file 7\ninactive_file 1900000000\n",
            },
            2 * GB,
        ),
        (
            {
                **V2,
                f"{GROUP2}/memory.max": "4000000000",
                f"{GROUP2}/memory.current": "0",
                f"{GROUP2}/b/memory.max": "1000000000",
                f"{GROUP2}/b/memory.current": "2000000000",
            },
            0,
        ),
        (
            {
                **V1,
                f"{GROUP1}/memory.limit_in_bytes": "3000000000",
                f"{GROUP1}/memory.usage_in_bytes": "2500000000",
                f"{GROUP1}/memory.stat": "inactive_file 3\ntotal_inactive_file 500000000\n",
            },
            1 * GB,
        ),
        (
            {**V1, f"{GROUP1}/memory.limit_in_bytes": "9223372036854771712", f"{GROUP1}/memory.usage_in_bytes": "1"},
            8 * GB,
        ),
    ],
    ids=["no groups", "no limit", "limit", "page cache", "the tightest group", "version 1", "version 1, no limit"],
)
def test_container_limits_count_and_page_cache_does_not(files, expected, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=8 * GB))
    assert machine.available_bytes(system=written(tmp_path, files)) == expected


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, 64),
        ({**V2, f"{GROUP2}/cpu.max": "max 100000"}, 64),
        ({**V2, f"{GROUP2}/cpu.max": "200000 100000"}, 2),
        ({**V2, f"{GROUP2}/cpu.max": "400000 100000", f"{GROUP2}/b/cpu.max": "150000 100000"}, 2),
        ({**V2, f"{GROUP2}/cpu.max": "10000 100000"}, 1),
        ({**V1, "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "300000", "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000"}, 3),
        ({**V1, "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1", "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000"}, 64),
    ],
)
def test_cpu_quota_limits_the_threads(files, expected: int, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(machine.os, "sched_getaffinity", lambda process: set(range(64)), raising=False)
    assert machine.usable_cores(system=written(tmp_path, files)) == expected


def test_runs_are_bounded_by_default_on_every_system(weights, monkeypatch) -> None:
    """Without /proc, the values of psutil are used."""
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=4 * GB))
    engine = load_engine(weights)
    assert engine.memory.budget() <= 2 * GB
    plan = engine.plan((5000, 5000), engine.memory.budget())
    assert isinstance(plan, Tiles)
    assert plan.in_file
    assert plan.needed_bytes <= 2 * GB < whole_bytes(weights.config, height=5000, width=5000)
    assert isinstance(engine.plan((500, 500), engine.memory.budget()), Whole)


def test_available_memory_of_this_machine_is_positive() -> None:
    assert 100e6 < machine.available_bytes() < 1e15
    assert 10e6 < machine.resident_bytes() < 1e12


def test_estimate_of_a_whole_run_grows_with_pixels_and_network() -> None:
    small, large = config_of("sd", scale=2), config_of("l", scale=4)
    assert whole_bytes(small, height=100, width=200) == pytest.approx(
        2 * whole_bytes(small, height=100, width=100), rel=1e-6
    )
    assert whole_bytes(large, height=100, width=100) > whole_bytes(small, height=100, width=100)


def test_features_go_to_a_file_when_they_do_not_fit(weights) -> None:
    net = fold(weights)
    roomy, tight = (plan_tiles(net, (4000, 3000), budget, threads=2) for budget in (16 * GB, 600 * 10**6))
    assert not roomy.in_file
    assert tight.in_file
    assert tight.needed_bytes <= 600 * 10**6
    assert roomy.needed_bytes > 3 * GB


def test_plan_fits_any_budget_from_the_minimum_on(weights) -> None:
    for gates, kind in (("exact", Tiles), ("sampled", Pieces)):
        engine = load_engine(weights, threads=2, gates=gates)
        least = engine.min_bytes((2000, 1500))
        for budget in (least, least + 10**6, 3 * least, 30 * least):
            plan = engine.plan((2000, 1500), budget)
            assert plan.needed_bytes <= budget
        assert isinstance(engine.plan((2000, 1500), least), kind)
        with pytest.raises(MemoryLimitError, match="2000 x 1500 pixels at x2 do not fit"):
            engine.plan((2000, 1500), least - 1)


def test_jobs_share_the_memory(monkeypatch) -> None:
    monkeypatch.setattr(memory, "resident_bytes", lambda: 100)
    assert Memory(1000).budget() == 900
    assert Memory(1000, jobs=3).budget() == 300


@pytest.mark.integration
def test_too_little_memory_is_refused_with_the_minimum(weights, monkeypatch) -> None:
    monkeypatch.setattr(memory, "resident_bytes", lambda: 40 * 10**6)  # it must not change between the tries
    image = np.random.default_rng(0).random((300, 400, 3), dtype=np.float32)
    with pytest.raises(MemoryLimitError, match=r"400 x 300 pixels at x2 .* at least \d+ MB") as caught:
        load_engine(weights, threads=2, max_memory=50 * 10**6)(image)
    told = str(caught.value)
    least = int(re.search(r"(\d+) MB", told)[1]) * 10**6
    assert told.endswith("MB are needed: raise max_memory, or run fewer threads")
    sr = load_engine(weights, threads=2, max_memory=least)(image)
    assert (sr == load_engine(weights, threads=2, tile=50)(image)).all()
    with pytest.raises(MemoryLimitError, match="at least"):
        load_engine(weights, threads=2, max_memory=least - 40 * 10**6)(image)


def test_requested_tile_is_never_changed(weights) -> None:
    plan = smallest_tiles(fold(weights), (999, 999), threads=2, tile_px=333)
    assert (plan.tile_height, plan.tile_width) == (333, 333)
    engine = load_engine(weights, threads=2, tile=900)
    with pytest.raises(MemoryLimitError, match="choose a smaller tile"):
        engine.plan((999, 999), 100 * 10**6)


@pytest.mark.parametrize("bad", [{"tile": -1}, {"tile": 3}, {"max_memory": 0}])
def test_invalid_limits(bad: dict) -> None:
    with pytest.raises(UsageError, match=r"at least [14]"):
        EngineOptions(**bad)


def test_limits_are_refused_for_engines_that_run_whole_images(weights) -> None:
    with pytest.raises(EngineError, match="runs images whole"):
        load_engine(weights, device="cuda", tile=64)
    with pytest.raises(EngineError, match="exact gates only"):
        load_engine(weights, engine="torch", gates="sampled")


@pytest.mark.parametrize(
    ("limit_in_runs", "alone", "expected"),
    [(None, True, False), (10, True, False), (None, False, False), (10, False, True), (20, False, False)],
)
def test_engines_that_share_a_limit_keep_little_of_it_between_small_images(
    weights, monkeypatch, limit_in_runs: int | None, alone: bool, expected: bool
) -> None:
    given_back: list[bool] = []

    class Session:
        def run(self, names, inputs, options):
            with suppress(RuntimeError):  # without such an entry
                given_back.append(options.get_run_config_entry("memory.enable_memory_arena_shrinkage") == "cpu:0")
            return [np.zeros((1, 3, 16, 20), np.float32)]

    monkeypatch.setattr(onnx, "make_session", lambda *rest, **how: Session())
    monkeypatch.setattr(memory, "resident_bytes", lambda: 0)
    limit = limit_in_runs and limit_in_runs * whole_bytes(weights.config, height=8, width=10)
    engine = open_engine(weights, EngineOptions(threads=1), Memory(limit, alone=alone))
    engine(np.zeros((8, 10, 3), np.float32))
    assert given_back == ([True] if expected else [])


THREE = """
import numpy as np
from a2f.machine import resident_bytes
from a2f.runtime.options import EngineOptions
from a2f.upscalers import Upscalers
upscalers = Upscalers(EngineOptions(threads=1, max_memory=2 * 10**9), alone=False)
engines = [upscalers.open("sd", scale) for scale in (4, 3, 2)]
image = np.random.default_rng(0).random((128, 128, 3), dtype=np.float32)
for engine in engines:
    engine(image)
    print(resident_bytes())
"""


@pytest.mark.integration
def test_networks_that_share_a_limit_share_the_memory_that_they_keep() -> None:
    done = subprocess.run([sys.executable, "-c", THREE], capture_output=True, text=True, check=True)
    first, _, last = (int(line) for line in done.stdout.split())
    one = whole_bytes(read_weights(find_shipped("sd", scale=2).path).config, height=128, width=128)
    assert last - first < one / 2


def test_run_waits_until_other_runs_release_memory(monkeypatch) -> None:
    monkeypatch.setattr(memory, "resident_bytes", lambda: 0)
    shared, asked = Memory(100), count()

    def take(count_: int, control: Control = NO_CONTROL) -> bool:
        with shared.take(count_, control):
            return True

    with ThreadPoolExecutor(1) as pool:
        with shared.take(60):
            assert pool.submit(take, 40).result()  # there is room for that
            with pytest.raises(Cancelled):
                pool.submit(take, 41, Control(cancelled=lambda: next(asked) > 2)).result()
            assert take(50)  # a thread must not wait for itself
            waiting = pool.submit(take, 41)
        assert waiting.result()


def test_run_that_never_fits_fails_without_waiting(monkeypatch) -> None:
    monkeypatch.setattr(memory, "resident_bytes", lambda: 0)
    with Memory(100).take(200):  # the plan was made with more free memory
        pass


def test_process_memory_is_measured_while_idle(monkeypatch) -> None:
    """Memory of running runs does not reduce the budget of the next run."""
    has = [100]
    monkeypatch.setattr(memory, "resident_bytes", lambda: has[0])
    shared = Memory(1000)
    assert shared.budget() == 900
    with shared.take(500):
        has[0] = 550  # of the run
        assert shared.budget() == 900
        has[0] = 700  # more than the run uses: another run uses the rest
        assert shared.budget() == 800
    has[0] = 300
    assert shared.budget() == 700


FOUR = """
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
import numpy as np
import a2f
upscaler = a2f.load("sd", scale=2, threads=2, max_memory=280 * 10**6)
images = [np.zeros((500, 500, 3), np.uint8)] * 4
with ThreadPoolExecutor(4) as pool:
    shapes = {large.shape for large in pool.map(upscaler, images)}
peak = next(l for l in Path("/proc/self/status").read_text().splitlines() if l.startswith("VmHWM:"))
print(*shapes.pop(), int(peak.split()[1]) * 1024)
"""


@pytest.mark.integration
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the system does not tell the peak memory")
def test_four_threads_share_the_memory_of_one_upscaler() -> None:
    done = subprocess.run([sys.executable, "-c", FOUR], capture_output=True, text=True, check=True)
    height, width, channels, peak = (int(word) for word in done.stdout.split())
    assert (height, width, channels) == (1000, 1000, 3)
    assert peak < 1.2 * 280 * 10**6
