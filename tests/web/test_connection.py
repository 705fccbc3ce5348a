"""Connections of clients that stall, send tiny chunks or read nothing, without a server."""

import asyncio
import json
import socket
from contextlib import closing
from typing import Any

import pytest
from starlette.requests import Request
from uvicorn import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from a2f.web.body import BodyReader
from a2f.web.connection import PatientFor
from a2f.web.pace import Pace
from a2f.web.problems import ProblemError
from a2f.web.results import Room
from a2f.web.server import listen
from a2f.web.settings import Settings

GB = 10**9
FAILS_AFTER_S = 20  # time limit for tests that would wait forever


class Clock:
    """A clock that the test advances."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


def test_earlier_transfer_counts_at_most_the_slack(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr("a2f.web.pace.time", clock)
    pace = Pace(slowest=1000, slack_s=10)
    assert pace.left_s == 10
    clock.now += 8
    pace.move(50 * 10**6)
    assert pace.left_s == 10
    for _ in range(3):
        clock.now += 3
        pace.move(1)
    assert pace.left_s == pytest.approx(1.003)
    clock.now += 1.5
    assert pace.left_s == 0


def test_a_body_that_stalls_is_cut_off_however_much_came_before() -> None:
    async def receive() -> dict[str, Any]:
        if sent:
            await asyncio.Event().wait()
        sent.append(1)
        return {"type": "http.request", "body": bytes(10**6), "more_body": True}

    async def run() -> None:
        async with asyncio.timeout(FAILS_AFTER_S):
            scope = {"type": "http", "method": "POST", "headers": [], "query_string": b""}
            room = Room(10**8)
            reader = BodyReader(Request(scope, receive), Settings(memory_bytes=2 * GB, header_s=0.1, slowest=1), room)
            with pytest.raises(ProblemError) as caught:
                await reader.read()
            assert caught.value.kind.name == "too-slow"
            assert "no pause of 0.1 seconds" in caught.value.detail
            assert room.taken == 0

    sent: list[int] = []
    asyncio.run(run())


class Transport(asyncio.Transport):
    """A fake connection: it stores written data, and the test sets how much of it is read."""

    def __init__(self) -> None:
        super().__init__()
        self.written, self.closed, self.aborted = bytearray(), False, asyncio.Event()
        self.unsent: list[int] = []
        self.high: int | None = None

    def write(self, data: Any) -> None:
        self.written += data

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def abort(self) -> None:
        self.closed = True
        self.aborted.set()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self.high = high

    def get_write_buffer_size(self) -> int:
        return self.unsent.pop(0) if len(self.unsent) > 1 else self.unsent[0]

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("192.0.2.1", 1) if name == "peername" else None

    def pause_reading(self) -> None:
        """Do nothing: there is no sender."""

    def resume_reading(self) -> None:
        """Do nothing: there is no sender."""


class Application:
    """Read a body, and answer with its length."""

    def __init__(self) -> None:
        self.ended = asyncio.Event()
        self.received = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        more = True
        while more:
            message = await receive()
            more = message.get("more_body", False)
            self.received += len(message.get("body", b""))
        self.ended.set()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})


def connected(app: Any, refused: list[tuple[str, int]], **given: Any) -> tuple[PatientFor, Transport]:
    inner = H11Protocol(Config(app, log_config=None, log_level="error"), ServerState(), {})
    limits = {"seconds": 60, "slowest": 1000, "slack_s": 60, "max_connections": 9, **given}
    protocol = PatientFor(inner, tell_refused=lambda client, count: refused.append((client, count)), **limits)
    transport = Transport()
    protocol.connection_made(transport)
    return protocol, transport


def problem_of(written: bytes | bytearray) -> dict[str, Any]:
    head, _, body = bytes(written).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert b"Content-Type: application/problem+json" in head
    assert b"Content-Length: %d" % len(body) in head
    return json.loads(body)


HEAD = b"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(("size", "passes"), [(1, False), (20, False), (150, True), (5000, True)])
def test_body_in_tiny_chunks_is_refused(size: int, *, passes: bool) -> None:
    async def run() -> None:
        async with asyncio.timeout(FAILS_AFTER_S):
            app, refused = Application(), list[tuple[str, int]]()
            protocol, transport = connected(app, refused)
            chunk = b"%x\r\n" % size + b"x" * size + b"\r\n"
            count = 600_000 // len(chunk)
            protocol.data_received(HEAD + chunk * count + b"0\r\n\r\n")
            if not passes:
                assert "chunks of 1,000 bytes" in problem_of(transport.written)["detail"]
                assert transport.closed
                protocol.connection_lost(None)
            await app.ended.wait()
            await asyncio.sleep(0)
            assert (app.received == size * count) is passes
            assert transport.written.startswith(b"HTTP/1.1 200" if passes else b"HTTP/1.1 400")
            assert refused == []  # there was a request, which has its own line in the log

    asyncio.run(run())


def test_invalid_http_is_answered_with_a_problem_and_logged() -> None:
    async def run() -> None:
        refused: list[tuple[str, int]] = []
        protocol, transport = connected(Application(), refused)
        protocol.data_received(b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n")
        assert problem_of(transport.written)["type"] == "/problems/bad-request"
        assert transport.closed
        assert refused == [("192.0.2.1", len(transport.written))]

    asyncio.run(run())


def test_unread_response_closes_the_connection_even_if_little_remains(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def run() -> None:
        async with asyncio.timeout(FAILS_AFTER_S):
            protocol, transport = connected(Application(), [], slack_s=0.1)
            assert transport.high == 0
            transport.unsent = [10]
            protocol.pause_writing()
            transport.close()  # as uvicorn does, which then waits for what is left
            await transport.aborted.wait()

    monkeypatch.setattr("a2f.web.connection.LOOK_EVERY_S", 0.01)
    asyncio.run(run())


def test_response_read_at_the_minimum_rate_is_completed(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()

    async def run() -> None:
        async with asyncio.timeout(FAILS_AFTER_S):
            protocol, transport = connected(Application(), [], slack_s=5)
            transport.unsent = [100_000, 98_000, 96_000, 94_000, 94_000]
            protocol.pause_writing()
            for _ in range(3):  # 2,000 bytes in 2 seconds each time
                clock.now += 2
                left = len(transport.unsent)
                while len(transport.unsent) == left:
                    await asyncio.sleep(0)
            assert not transport.closed
            clock.now += 6
            await transport.aborted.wait()

    monkeypatch.setattr("a2f.web.pace.time", clock)
    monkeypatch.setattr("a2f.web.connection.LOOK_EVERY_S", 0)
    asyncio.run(run())


def test_the_parts_of_an_answer_do_not_wait_for_each_other() -> None:
    """The head and the body of an answer are sent one after the other; a delayed acknowledgement would cost 40 ms."""
    with (
        closing(listen(Settings(memory_bytes=2 * GB, port=0))) as listener,
        closing(socket.create_connection(listener.getsockname()[:2])),
    ):
        accepted, _ = listener.accept()
        with closing(accepted):
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
