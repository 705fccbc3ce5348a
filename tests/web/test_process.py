"""Worker processes accept requests while they start, and are replaced after they have ended."""

import asyncio
import os
import signal
import subprocess
from typing import Any

import pytest

from a2f.web.problems import ProblemError
from a2f.web.process import WorkerProcess
from a2f.web.settings import Settings

pytestmark = pytest.mark.integration

INSPECT = {"kind": "inspect"}


def workers_of(pid: int) -> list[int]:
    """The running workers of a process."""
    command = ["ps", "-o", "pid=,args=", "--ppid", str(pid)]
    listed = subprocess.run(command, capture_output=True, text=True, check=False)
    return [int(line.split()[0]) for line in listed.stdout.splitlines() if "a2f.web.worker" in line]


def used(use: Any) -> Any:
    """Call `use` with a worker that has not been started; its result."""

    async def run() -> Any:
        worker = WorkerProcess(Settings(memory_bytes=2 * 10**9), opened=None)
        try:
            return await use(worker)
        finally:
            await worker.kill()

    return asyncio.run(run())


def test_worker_gets_a_request_while_it_starts(picture) -> None:
    async def use(worker: WorkerProcess) -> list[Any]:
        asked = [worker.ask(INSPECT, picture(width, 16), timeout_s=60) for width in (24, 25)]
        return await asyncio.gather(worker.start(), *asked)

    _, (one, _), (two, _) = used(use)
    assert (one["width"], two["width"]) == (24, 25)


def test_worker_that_was_killed_before_a_request_is_replaced(picture) -> None:
    async def use(worker: WorkerProcess) -> Any:
        await worker.start()
        (pid,) = workers_of(os.getpid())
        os.kill(pid, signal.SIGKILL)  # the event loop has not heard of it when the worker is asked
        return await worker.ask(INSPECT, picture(), timeout_s=60)

    assert used(use)[0]["width"] == 24


def test_worker_that_does_not_start_is_reported_as_overload(picture, monkeypatch) -> None:
    async def use(worker: WorkerProcess) -> Any:
        return await worker.ask(INSPECT, picture(), timeout_s=60)

    monkeypatch.setattr("sys.executable", "/nowhere/python")
    with pytest.raises(ProblemError) as caught:
        used(use)
    assert caught.value.kind.status == 503
    assert "Retry-After" in caught.value.headers()


def test_requests_sent_at_once_after_the_start_are_answered(start, picture) -> None:
    server = start(until_ready=False)
    with server.client() as client:
        answer = client.post("/v1/upscale?scale=2", content=picture())
        assert answer.status_code == 200, answer.text


def test_requests_sent_at_once_after_idle_workers_were_killed_are_answered(start, picture) -> None:
    server = start()
    with server.client() as client:
        for pid in workers_of(server.process.pid):
            os.kill(pid, signal.SIGKILL)
        answer = client.post("/v1/upscale?scale=2", content=picture())
        assert answer.status_code == 200, answer.text


def test_idle_workers_that_were_killed_are_replaced_without_a_request(start, wait) -> None:
    server = start()
    killed = workers_of(server.process.pid)
    assert len(killed) == 2
    for pid in killed:
        os.kill(pid, signal.SIGKILL)
    with server.client() as client:
        wait(lambda: len(set(workers_of(server.process.pid)) - set(killed)) == 2)
        wait(lambda: client.get("/readyz").status_code == 200)
