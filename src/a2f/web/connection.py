"""Connections that are cut off when a request does not come, comes in crumbs, or its answer is not taken."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from a2f.web.guard import SECURITY_HEADERS
from a2f.web.pace import Pace
from a2f.web.problems import MEDIA_TYPE, ProblemError

LOOK_EVERY_S = 1.0  # how much of an answer was taken, at least
# A chunk of a body costs the parser the same time whatever its length. What stands around the chunks may have so many
# bytes, and one more for each `PAYLOAD_PER_FRAMING` bytes that they hold: chunks of 100 bytes always pass.
FREE_FRAMING_BYTES = 4096
PAYLOAD_PER_FRAMING = 16
MAX_HEAD_BYTES = 16 * 1024  # of a request: its first line and its headers
PARSED_BYTES = 8192  # at a time, before that is looked at again
PARSED_HEAD_BYTES = 1024  # outside of a body: h11 measures only a head that is not complete yet

TellRefused = Callable[[str, int], None]


class PatientFor(asyncio.Protocol):
    """Hands a connection to uvicorn, and closes it when its client does not get on.

    uvicorn itself waits without an end for the first request, for the rest of a head that has begun, and for a client
    that takes nothing of an answer, even of one on a connection that it has closed.

    Args:
        inner: uvicorn's protocol for this connection.
        seconds: for the head of each request.
        slowest: bytes a second at which an answer must be taken.
        slack_s: seconds without a byte of it taken, at most.
        max_connections: connections at a time; more are closed at once.
        tell_refused: called with the client's address and the bytes of the answer when there was no request to pass on.
    """

    def __init__(
        self,
        inner: H11Protocol,
        *,
        seconds: float,
        slowest: float,
        slack_s: float,
        max_connections: int,
        tell_refused: TellRefused,
    ) -> None:
        self.inner, self.seconds, self.slowest, self.slack_s = inner, seconds, slowest, slack_s
        self.max_connections, self.tell_refused = max_connections, tell_refused
        self.transport: asyncio.Transport | None = None
        self.timer: asyncio.TimerHandle | None = None
        self.sending: asyncio.TimerHandle | None = None
        self.framing = self.payload = 0  # bytes of the current body
        inner.send_400_response = self._refuse_head  # type: ignore[method-assign]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start the clock."""
        assert isinstance(transport, asyncio.Transport)
        if len(self.inner.connections) >= self.max_connections:
            transport.abort()
            return
        self.transport = transport
        transport.set_write_buffer_limits(high=0)  # `pause_writing` comes as soon as something is not taken
        self.inner.connection_made(transport)
        self._look()

    def data_received(self, data: bytes) -> None:
        """Hand the data on; a head that is complete stops the clock, one that has begun starts it."""
        assert self.transport is not None
        start = 0
        while start < len(data):
            end = start + (PARSED_BYTES if self._is_within_body else PARSED_HEAD_BYTES)
            self._hand_on(data[start:end])
            if self.transport.is_closing():
                return
            start = end
        self._look()

    def _hand_on(self, data: bytes) -> None:
        cycle = self.inner.cycle
        within = self._is_within_body
        before = len(cycle.body) if within else 0
        self.inner.data_received(data)
        if not (within and self._is_within_body):
            self.framing = self.payload = 0
            return
        held = len(cycle.body) - before
        self.payload += held
        self.framing += len(data) - held
        if self.framing > FREE_FRAMING_BYTES + self.payload / PAYLOAD_PER_FRAMING:
            self.refuse("The chunks of the body are too small: send chunks of 1,000 bytes or more.")

    @property
    def _is_within_body(self) -> bool:
        return self.inner.cycle is not None and self.inner.conn.their_state is h11.SEND_BODY

    def _refuse_head(self, msg: str) -> None:
        """Tell more than the message of uvicorn, which is always the same."""
        self.refuse(f"The head of the request is not valid HTTP/1.1, or it is longer than {MAX_HEAD_BYTES:,} bytes.")

    def refuse(self, msg: str) -> None:
        """Answer what is no request, and close the connection.

        Args:
            msg: what is wrong with it.
        """
        assert self.transport is not None
        cycle = self.inner.cycle
        is_answering = cycle is not None and not cycle.response_complete
        if not is_answering or not cycle.response_started:
            answer = _refusal(msg)
            self.transport.write(answer)
            if not is_answering:
                self.tell_refused(self.inner.client[0] if self.inner.client else "", len(answer))
        self.transport.close()

    def _look(self) -> None:
        cycle = self.inner.cycle
        has_request = cycle is not None and not cycle.response_complete
        if has_request and self.timer is not None:
            self.timer.cancel()
            self.timer = None
        elif not has_request and self.timer is None:
            self.timer = asyncio.get_running_loop().call_later(self.seconds, self._close)

    def _close(self) -> None:
        self.timer = None
        cycle = self.inner.cycle
        if self.transport is not None and (cycle is None or cycle.response_complete):
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Hand it on."""
        for timer in (self.timer, self.sending):
            if timer is not None:
                timer.cancel()
        if self.transport is not None:
            self.inner.connection_lost(exc)

    def eof_received(self) -> None:
        """Hand it on."""
        self.inner.eof_received()

    def pause_writing(self) -> None:
        """Hand it on, and start the clock for the client to take something."""
        self.inner.pause_writing()
        if self.transport is not None and self.sending is None:
            self._wait_for_taking(
                Pace(slowest=self.slowest, slack_s=self.slack_s), self.transport.get_write_buffer_size()
            )

    def _wait_for_taking(self, pace: Pace, left: int) -> None:
        pause = min(LOOK_EVERY_S, pace.left_s)
        self.sending = asyncio.get_running_loop().call_later(pause, self._look_at_taking, pace, left)

    def _look_at_taking(self, pace: Pace, left: int) -> None:
        assert self.transport is not None
        still = self.transport.get_write_buffer_size()
        pace.move(max(0, left - still))
        if pace.left_s:
            self._wait_for_taking(pace, still)
        else:
            self.transport.abort()

    def resume_writing(self) -> None:
        """Hand it on, and stop that clock."""
        if self.sending is not None:
            self.sending.cancel()
            self.sending = None
        self.inner.resume_writing()


def _refusal(detail: str) -> bytes:
    body = json.dumps(ProblemError("bad-request", detail).as_json()).encode()
    headers = {
        "Content-Type": MEDIA_TYPE,
        "Content-Length": str(len(body)),
        "Connection": "close",
        "Cache-Control": "no-store",
        **SECURITY_HEADERS,
    }
    lines = ["HTTP/1.1 400 Bad Request", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
    return "\r\n".join(lines).encode("latin-1") + body


def patient_for(
    *, seconds: float, slowest: float, slack_s: float, max_connections: int, tell_refused: TellRefused
) -> Callable[..., PatientFor]:
    """What uvicorn makes connections with; arguments as `PatientFor`."""

    def make(**given: Any) -> PatientFor:
        return PatientFor(
            H11Protocol(**given),
            seconds=seconds,
            slowest=slowest,
            slack_s=slack_s,
            max_connections=max_connections,
            tell_refused=tell_refused,
        )

    return make
