"""Connections that are cut off when the head of a request does not come, or an answer is not taken."""

import asyncio
from collections.abc import Callable
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol


class PatientFor(asyncio.Protocol):
    """Hands a connection to uvicorn, and closes it when it does not get to a request in time.

    uvicorn itself waits without an end for the first request, for the rest of a head that has begun, and for a client
    that takes nothing of an answer.

    Args:
        inner: uvicorn's protocol for this connection.
        seconds: for the head of each request.
        taken_s: seconds within which what waits to be sent must be taken.
        most: connections at a time; more are closed at once.
    """

    def __init__(self, inner: H11Protocol, *, seconds: float, taken_s: float, most: int) -> None:
        self.inner, self.seconds, self.taken_s, self.most = inner, seconds, taken_s, most
        self.sending: asyncio.TimerHandle | None = None
        self.transport: asyncio.Transport | None = None
        self.timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start the clock."""
        assert isinstance(transport, asyncio.Transport)
        if len(self.inner.connections) >= self.most:
            transport.abort()
            return
        self.transport = transport
        self.inner.connection_made(transport)
        self._look()

    def data_received(self, data: bytes) -> None:
        """Hand the data on; a head that is complete stops the clock, one that has begun starts it."""
        self.inner.data_received(data)
        self._look()

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
            self.sending = asyncio.get_running_loop().call_later(self.taken_s, self.transport.abort)

    def resume_writing(self) -> None:
        """Hand it on, and stop that clock."""
        if self.sending is not None:
            self.sending.cancel()
            self.sending = None
        self.inner.resume_writing()


def patient_for(*, seconds: float, taken_s: float, most: int) -> Callable[..., PatientFor]:
    """What uvicorn makes connections with; arguments as `PatientFor`."""

    def make(**given: Any) -> PatientFor:
        return PatientFor(H11Protocol(**given), seconds=seconds, taken_s=taken_s, most=most)

    return make
