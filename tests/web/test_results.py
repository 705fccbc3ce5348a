"""Results: where they are stored, how long they are kept, and what never waits for them."""

import asyncio
import stat
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import ClientDisconnect

from a2f.web.app import PictureAnswer
from a2f.web.job import Job
from a2f.web.jobs import Jobs
from a2f.web.metrics import Metrics
from a2f.web.options import Options
from a2f.web.problems import ProblemError
from a2f.web.process import WorkerProcess
from a2f.web.results import Results
from a2f.web.settings import Settings

GB = 10**9
FAILS_AFTER_S = 20  # time limit for tests that would wait forever
TOLD = {"format": "ppm", "model": "sd", "scale": 2, "seconds": 1.0, "notes": []}


class Worker:
    """A fake worker process: the body of a picture is the size of its result."""

    is_ready = True

    async def start(self) -> None:
        """Do nothing."""

    async def kill(self) -> None:
        """Do nothing at the end."""

    async def ask(self, header: Any, data: bytes, *, timeout_s: float, tell: Any, open_file: Any) -> Any:
        file = open_file(int(data))
        file.write(bytes(int(data)))
        return TOLD, file


def a_job(size: int) -> Job:
    return Job(options=Options(), name="", given=(8, 8), work_px=64, data=b"%d" % size, body_bytes=0)


def with_jobs(use: Callable[[Jobs], Any], **settings: Any) -> Any:
    """Call `use` with jobs that run on one `Worker`, with 100 bytes for results; its result."""

    async def run() -> Any:
        given = {"memory_bytes": 2 * GB, "keep_bytes": 100, **settings}
        jobs = Jobs(Settings(**given), Metrics())
        jobs.workers, jobs.inspector = [Worker()], Worker()
        await jobs.start()
        try:
            async with asyncio.timeout(FAILS_AFTER_S):
                return await use(jobs)
        finally:
            await jobs.stop()

    return asyncio.run(run())


async def done(jobs: Jobs, size: int) -> Job:
    job = a_job(size)
    await jobs.submit(job)
    await job.finished.wait()
    return job


def test_job_does_not_wait_until_other_clients_download_results(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))

    async def use(jobs: Jobs) -> None:
        with ExitStack() as held:
            for size in (60, 40):
                held.enter_context(jobs.watch(await done(jobs, size)))
            large, small = await done(jobs, 90), await done(jobs, 3)
            assert (large.status, small.status) == ("done", "done")
            assert large.result is not None
            assert large.result.file.read(80, 100) == bytes(10)
            assert (jobs.results.memory.taken, jobs.results.disk.taken) == (100, 96)
            assert list(tmp_path.iterdir()) == []
            jobs.forget(large)
            assert jobs.results.disk.taken == 6
        assert (await done(jobs, 90)).status == "done"
        assert jobs.results.memory.taken == 90

    with_jobs(use)


def test_result_in_download_keeps_its_space_after_expiry() -> None:
    async def use(jobs: Jobs) -> None:
        job = await done(jobs, 60)
        with jobs.watch(job):
            jobs.drop(job)
            with pytest.raises(ProblemError):
                jobs.find(job.id)
            assert jobs.results.memory.taken == 60
            assert job.result is not None
            assert len(job.result.file.read(0, 60)) == 60
        assert jobs.results.memory.taken == 0
        jobs.forget(job)
        assert jobs.results.memory.taken == 0

    with_jobs(use)


def test_awaited_result_does_not_expire_before_download() -> None:
    async def use(jobs: Jobs) -> None:
        waited_for = a_job(60)
        with jobs.watch(waited_for):
            await jobs.submit(waited_for)
            await done(jobs, 90)
            assert waited_for.result is not None
            assert jobs.find(waited_for.id) is waited_for
            assert len(waited_for.result.file.read(0, 100)) == 60

    with_jobs(use)


def test_awaited_job_is_not_cancelled_by_the_retention_limit(monkeypatch) -> None:
    swept: list[float] = []
    monkeypatch.setattr("a2f.web.jobs.SWEEP_S", 0)

    async def use(jobs: Jobs) -> None:
        jobs.workers[0].ask = lambda *given, **named: asyncio.Event().wait()
        watched, unwatched = a_job(1), a_job(1)
        with jobs.watch(watched):
            await jobs.submit(watched)
            await jobs.submit(unwatched)
            await unwatched.finished.wait()
            swept.append(jobs.settings.keep_s)
            assert not watched.finished.is_set()

    with_jobs(use, keep_s=0)
    assert swept == [0]


def test_free_worker_accepts_a_picture_without_a_queue() -> None:
    async def use(jobs: Jobs) -> None:
        assert (await done(jobs, 1)).status == "done"
        running, go_on = jobs.workers[0].ask, asyncio.Event()

        async def ask(*given: Any, **named: Any) -> Any:
            await go_on.wait()
            return await running(*given, **named)

        jobs.workers[0].ask = ask
        first = a_job(1)
        await jobs.submit(first)
        for status in ("queued", "running"):
            while first.status != status:
                await asyncio.sleep(0)
            with pytest.raises(ProblemError) as caught:
                await jobs.submit(a_job(1))
            assert caught.value.kind.name == "queue-full"
        go_on.set()
        await first.finished.wait()
        assert (await done(jobs, 1)).status == "done"

    with_jobs(use, queue=0)


def test_a_picture_that_runs_alone_takes_all_cores() -> None:
    told: list[bool] = []

    async def use(jobs: Jobs) -> None:
        go_on = asyncio.Event()

        async def ask(header: Any, data: bytes, **named: Any) -> Any:
            told.append(header["is_alone"])
            await go_on.wait()
            return await Worker().ask(header, data, **named)

        jobs.workers[0].ask = ask
        first, second, third = (a_job(1) for _ in range(3))
        await jobs.submit(first)
        while not told:
            await asyncio.sleep(0)
        await jobs.submit(second)
        await jobs.submit(third)
        go_on.set()
        await third.finished.wait()

    with_jobs(use)
    assert told == [True, False, True]  # while the second began, the third was waiting


def test_pictures_in_header_check_count_as_queued(monkeypatch) -> None:
    monkeypatch.setattr("a2f.web.jobs.INSPECTED_WITHIN_S", 0.1)

    async def use(jobs: Jobs) -> None:
        jobs.inspector.ask = lambda *given, **named: asyncio.Event().wait()
        asked = await asyncio.gather(*(jobs.inspect(b"") for _ in range(4)), return_exceptions=True)
        assert [problem.kind.name for problem in asked] == ["busy", "busy", "busy", "queue-full"]
        jobs.check_room()

    with_jobs(use, queue=2)


def test_full_disk_is_reported_as_overload(monkeypatch) -> None:
    results = Results(memory=10, disk=20)
    held = [results.open(10), results.open(10), results.open(10)]
    with pytest.raises(ProblemError) as caught:
        results.open(1)
    assert caught.value.kind.name == "busy"
    with pytest.raises(ProblemError) as caught:
        results.open(11)
    assert caught.value.kind.name == "too-much-memory"
    for file in held:
        file.close()
        file.close()
    monkeypatch.setenv("TMPDIR", "/nowhere")
    first = results.open(10)
    with pytest.raises(ProblemError) as caught:
        results.open(1)
    assert caught.value.kind.name == "busy"
    assert "/nowhere" not in caught.value.detail
    first.close()
    assert (results.memory.taken, results.disk.taken) == (0, 0)


SENDS_MUCH = """#!{python}
import json, struct, sys
def send(header, size=0):
    text = json.dumps(header).encode()
    sys.stdout.buffer.write(struct.pack("<IQ", len(text), size) + text + bytes(size))
    sys.stdout.buffer.flush()
send({{"kind": "ready"}})
while True:
    text, size = struct.unpack("<IQ", sys.stdin.buffer.read(12))
    sys.stdin.buffer.read(text + size)
    send({{"kind": "begun"}})
    send({{"kind": "progress", "share": 0.5}})
    send({{"kind": "done"}}, 50_000_000)
"""


@pytest.fixture
def sending(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> WorkerProcess:
    """A fake process that answers every request with 50 MB."""
    program = tmp_path / "worker"
    program.write_text(SENDS_MUCH.format(python=sys.executable))
    program.chmod(stat.S_IRWXU)
    monkeypatch.setattr("sys.executable", str(program))
    return WorkerProcess(Settings(memory_bytes=2 * GB), opened=None)


@pytest.mark.parametrize("why", ["cancelled", "no room"])
def test_a_worker_that_is_killed_while_its_pipe_is_full_is_replaced(sending: WorkerProcess, why: str) -> None:
    async def full(share: float) -> None:
        assert sending._process is not None
        while getattr(sending._process.stdout, "_transport").is_reading():  # noqa: B009
            await asyncio.sleep(0.01)
        if why == "cancelled":
            raise asyncio.CancelledError

    async def run() -> None:
        async with asyncio.timeout(FAILS_AFTER_S):
            small, large = Results(memory=10, disk=0), Results(memory=10**9, disk=0)
            with pytest.raises(asyncio.CancelledError if why == "cancelled" else ProblemError):
                await sending.ask({}, b"", timeout_s=60, tell=full, open_file=small.open)
            told, file = await sending.ask({}, b"", timeout_s=60, open_file=large.open)
            assert told == {"kind": "done"}
            assert file is not None
            assert file.size == large.memory.taken == 50_000_000
            file.close()
            await sending.kill()

    asyncio.run(run())


class Client:
    """A client that reads some messages of an answer and then disconnects."""

    def __init__(self, leaves_after: int) -> None:
        self.left, self.messages, self.leaves_after = asyncio.Event(), list[dict[str, Any]](), leaves_after

    async def receive(self) -> Any:
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        self.messages.append(message)
        if len(self.messages) >= self.leaves_after:
            self.left.set()


@pytest.mark.parametrize(
    ("method", "leaves_after", "is_fetched"), [("GET", 99, True), ("GET", 3, False), ("HEAD", 99, False)]
)
def test_result_counts_as_fetched_after_the_full_download(method: str, leaves_after: int, *, is_fetched: bool) -> None:
    async def use(jobs: Jobs) -> None:
        job = await done(jobs, 10**6)
        assert job.result is not None
        client = Client(leaves_after)
        held = ExitStack()
        held.enter_context(jobs.watch(job))
        answer = PictureAnswer(job, job.result, held)
        try:
            await answer({"type": "http", "method": method}, client.receive, client.send)
        except ClientDisconnect:
            assert not is_fetched
        assert job.is_fetched is is_fetched
        assert job.watchers == 0
        sent = sum(len(message.get("body", b"")) for message in client.messages)
        assert sent == (0 if method == "HEAD" else 10**6 if is_fetched else 2 * 2**18)

    with_jobs(use, keep_bytes=2 * 10**6)
