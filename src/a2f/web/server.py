"""Listening, and shutting down: what runs is finished."""

import asyncio
import errno
import logging
import math
import os
import signal
import socket
from collections.abc import Callable
from typing import Any, cast

import uvicorn

from a2f.errors import UsageError
from a2f.web.app import SENT_BYTES, Service
from a2f.web.connection import MAX_HEAD_BYTES, patient_for
from a2f.web.settings import Settings

LOG = logging.getLogger("a2f.web")
KEEP_ALIVE_S = 30
FETCHED_S = 10.0  # for clients to fetch results that are done when the server shuts down
TOLD_WITHIN_S = 1  # to tell clients that their pictures will not be enlarged any more
LOOK_EVERY_S = 0.1
OTHER_FILES = 192  # beside connections: pipes of workers, results on the disk, libraries
MIN_CONNECTIONS = 16


def listen(settings: Settings) -> socket.socket:
    """Open the port.

    Raises:
        UsageError: if that is not possible.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)[0]
        listener = socket.create_server(address[:2], family=family, backlog=1024)
    except (OSError, UnicodeError) as error:  # the latter for a name with a part of more than 63 letters
        number = error.errno if isinstance(error, OSError) and not isinstance(error, socket.gaierror) else None
        where = f"cannot listen on {settings.host}"
        if number in (None, errno.EADDRNOTAVAIL):
            told = f"{where}, which is no address of this machine: choose one that is with --host"
            raise UsageError(told) from error
        reason = os.strerror(number)  # the message of `create_server` has the address again
        raise UsageError(f"{where} port {settings.port} ({reason}): choose another port with --port") from error
    # Connections inherit it. asyncio sets it only on sockets that it opens itself. Without it, the body of an answer
    # waits 40 ms until the client has acknowledged the head.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def max_connections(asked: int) -> int:
    """Connections for which this process may have files, at most those asked for; it asks the system for more files.

    Raises:
        UsageError: if the system allows too few.
    """
    try:
        import resource
    except ModuleNotFoundError:  # Windows, which has no such limit
        return asked
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return asked
    wanted = asked + OTHER_FILES
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft < allowed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    given = min(asked, max(soft, allowed) - OTHER_FILES)
    if given < min(asked, MIN_CONNECTIONS):
        min_files = OTHER_FILES + MIN_CONNECTIONS
        raise UsageError(f"{max(soft, allowed)} open files are too few for a server: ulimit -n {min_files}, at least")
    return given


def address_of(listener: socket.socket) -> str:
    """What to open in a browser."""
    host, port = listener.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


async def serve(settings: Settings, listener: socket.socket, *, tell: Callable[[str], None]) -> None:
    """Serve until SIGINT or SIGTERM comes, and what runs is finished.

    Args:
        settings: of the server.
        listener: of `listen`.
        tell: says something to people.
    """
    logging.getLogger("python_multipart").setLevel(logging.CRITICAL)  # what is wrong with a body is told to its sender
    service = Service(settings)
    patient = patient_for(
        seconds=settings.header_s,
        slowest=settings.slowest,
        slack_s=settings.header_s + SENT_BYTES / settings.slowest,  # an answer is handed out in parts
        max_connections=max_connections(settings.connections),
        tell_refused=service.tell_refused,
    )
    config = uvicorn.Config(
        service.app(),
        http=cast(Any, patient),
        ws="none",
        lifespan="on",
        access_log=False,
        log_config=None,
        log_level="error",  # its warnings tell of what clients send, which is in the access log
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        h11_max_incomplete_event_size=MAX_HEAD_BYTES,
    )
    server = uvicorn.Server(config)
    running = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started and not running.done():
        await asyncio.sleep(LOOK_EVERY_S)
    asked = Asked()
    tell(f"a2f serves on {address_of(listener)} (Ctrl-C stops)")
    stopping = asyncio.create_task(asked.once.wait())
    await asyncio.wait({running, stopping}, return_when=asyncio.FIRST_COMPLETED)
    if not running.done():
        end = asyncio.get_running_loop().time() + settings.grace_s
        await _drain(service, asked, end, tell)
        service.jobs.end_all()
        left_s = math.ceil(end - asyncio.get_running_loop().time())
        config.timeout_graceful_shutdown = max(TOLD_WITHIN_S, left_s)  # for answers that are still being sent
        server.should_exit = True
        server.force_exit = asked.again.is_set()
    await running


class Asked:
    """Hears the signals that ask the server to stop: once to finish what runs, again to stop at once."""

    def __init__(self) -> None:
        self.once, self.again = asyncio.Event(), asyncio.Event()
        self._loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._hear)  # after uvicorn has set its own

    def _hear(self, number: int, frame: object) -> None:
        self._loop.call_soon_threadsafe((self.again if self.once.is_set() else self.once).set)


async def _drain(service: Service, asked: Asked, end: float, tell: Callable[[str], None]) -> None:
    """Take nothing new, and wait until what there is has ended and been fetched; not beyond a time of the loop."""
    jobs = service.jobs
    jobs.draining = True
    if not jobs.is_idle:
        tell("finishing what is under way (Ctrl-C again stops at once)")
    loop = asyncio.get_running_loop()
    while not asked.again.is_set() and loop.time() < end and not jobs.is_idle:
        await asyncio.sleep(LOOK_EVERY_S)
    end = min(end, loop.time() + FETCHED_S)
    while not asked.again.is_set() and loop.time() < end and jobs.has_unfetched:
        await asyncio.sleep(LOOK_EVERY_S)
