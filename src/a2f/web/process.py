"""The server's side of a worker process."""

import asyncio
import json
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from a2f.web.problems import ProblemError
from a2f.web.results import ResultFile
from a2f.web.settings import Settings
from a2f.web.worker import LENGTHS, packed

START_S = 120  # to import what is needed and to open a network
RETRY_S = 5  # after which a client may ask again when no process takes its work
TRIES = 2  # a process that had ended before it was asked is replaced once
BUFFER_BYTES = 2**20
SENT_BYTES = READ_BYTES = 2**18  # at a time

OpenFile = Callable[[int], ResultFile]
Answer = tuple[dict[str, Any], ResultFile | None]


async def nothing_told(share: float) -> None:
    """Ignore progress."""


def nothing_counted() -> None:
    """Ignore the replacement of a process."""


class WorkerProcess:
    """Starts a worker, replaces it when it ends, and sends it one request at a time.

    Args:
        settings: of the server.
        opened: model, scale and precision of the network that it opens at its start; None opens none.
        tell_replaced: called each time when a process takes the place of an earlier one.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        opened: tuple[str, int, str] | None,
        tell_replaced: Callable[[], None] = nothing_counted,
    ) -> None:
        limits = {
            "threads": settings.threads,
            "alone_threads": settings.alone_threads,
            "memory_bytes": settings.worker_bytes,
            "pixels": settings.pixels,
        }
        self._given = json.dumps({"limits": limits, "opened": opened})
        self._tell_replaced = tell_replaced
        self._process: Process | None = None
        self._has_greeted = self._was_started = False
        self._lock = asyncio.Lock()  # two callers must not read from one process

    @property
    def is_ready(self) -> bool:
        """Whether the process runs and has reported that it is ready."""
        return self._has_greeted and self._process is not None and self._process.returncode is None

    async def start(self) -> None:
        """Start the process if none runs; waits for a start or a question that is under way.

        Raises:
            ProblemError: busy, if it does not start.
        """
        async with self._lock:
            await self._start()

    async def kill(self) -> None:
        """End the process at once, whatever it is doing; nobody else may read from it."""
        process, self._process, self._has_greeted = self._process, None, False
        if process is None:
            return
        with suppress(ProcessLookupError):
            process.kill()
        assert process.stdout is not None
        while await process.stdout.read(BUFFER_BYTES):  # asyncio hears of the end behind what has not been read
            pass
        await process.wait()

    async def ask(
        self,
        header: dict[str, Any],
        data: bytes | bytearray,
        *,
        timeout_s: float,
        tell: Callable[[float], Awaitable[None]] = nothing_told,
        open_file: OpenFile | None = None,
    ) -> Answer:
        """Ask for one thing, after what was asked before. Whoever cancels this ends the work: the process is killed.

        Args:
            header: of the message.
            data: its payload.
            timeout_s: seconds that the answer may take, without the start of the process.
            tell: called with the share that is done.
            open_file: called with the size of the file that comes with the answer, before it is read; whoever gets
                the answer closes the file.

        Raises:
            ProblemError: what the worker, `open_file` or its file says; took-too-long; failed, if the process ended
                during the work; busy, if no process takes the work.
        """
        async with self._lock:
            for _ in range(TRIES):
                process = await self._start()
                answer = await self._tried(process, header, data, timeout_s, tell, open_file)
                if answer is not None:
                    return answer
        raise ProblemError("busy", "the worker processes ended before they began the work", retry_after_s=RETRY_S)

    async def _start(self) -> Process:
        """The process, which is started if none runs; for whoever holds the lock."""
        if self.is_ready and self._process is not None:
            return self._process
        await self.kill()
        if self._was_started:
            self._tell_replaced()
        self._was_started = True
        try:
            async with asyncio.timeout(START_S):
                self._process = await asyncio.create_subprocess_exec(
                    sys.executable, "-P", "-m", "a2f.web.worker", self._given,
                    stdin=PIPE, stdout=PIPE, limit=BUFFER_BYTES, start_new_session=True, env=_environment(),
                )  # fmt: skip
                await self._read(self._process)
        except (TimeoutError, OSError, EOFError) as error:
            await self.kill()
            raise ProblemError("busy", "a worker process did not start", retry_after_s=RETRY_S) from error
        except BaseException:
            await asyncio.shield(self.kill())
            raise
        self._has_greeted = True
        return self._process

    async def _tried(
        self,
        process: Process,
        header: dict[str, Any],
        data: bytes | bytearray,
        timeout_s: float,
        tell: Callable[[float], Awaitable[None]],
        open_file: OpenFile | None,
    ) -> Answer | None:
        """The answer; None if the process ended before it began the work, which then is not the reason."""
        has_begun = False
        try:
            async with asyncio.timeout(timeout_s):
                await self._begin(process, header, data)
                has_begun = True
                return await self._answer(process, tell, open_file)
        except TimeoutError as error:
            await self.kill()
            raise ProblemError(
                "took-too-long", f"it took more than the {timeout_s:g} seconds that are allowed"
            ) from error
        except (EOFError, OSError) as error:
            await self.kill()
            if not has_begun:
                return None
            raise ProblemError("failed", "the process that read the picture ended unexpectedly") from error
        except ProblemError:
            raise
        except BaseException:
            await asyncio.shield(self.kill())
            raise

    async def _begin(self, process: Process, header: dict[str, Any], data: bytes | bytearray) -> None:
        """Send a message, and hear that its work has begun."""
        assert process.stdin is not None
        process.stdin.write(packed(header, data))
        for start in range(0, len(data), SENT_BYTES):
            process.stdin.write(bytes(data[start : start + SENT_BYTES]))
            await process.stdin.drain()
        await process.stdin.drain()
        await self._read(process)

    async def _answer(
        self,
        process: Process,
        tell: Callable[[float], Awaitable[None]],
        open_file: OpenFile | None,
    ) -> Answer:
        while True:
            told, file = await self._read(process, open_file)
            if told["kind"] == "progress":
                await tell(float(told["share"]))
            elif told["kind"] == "problem":
                options, loses = tuple(told["options"]), tuple(told["loses"])
                raise ProblemError(told["name"], told["detail"], options=options, loses=loses)
            else:
                return told, file

    async def _read(self, process: Process, open_file: OpenFile | None = None) -> Answer:
        """One message; EOFError where the process has ended."""
        assert process.stdout is not None
        text, left = LENGTHS.unpack(await process.stdout.readexactly(LENGTHS.size))
        header = json.loads(await process.stdout.readexactly(text))
        if not left:
            return header, None
        assert open_file is not None
        file: ResultFile | None = None
        try:
            file = open_file(left)
            while left:
                part = await process.stdout.readexactly(min(left, READ_BYTES))
                file.write(part)
                left -= len(part)
        except BaseException as error:
            if file is not None:
                file.close()
            if isinstance(error, ProblemError):
                await self.kill()  # it is in the middle of an answer that nobody reads
            raise
        return header, file


def _environment() -> dict[str, str]:
    """Of a worker: it needs no key, and what decoders warn of is told as notes or errors.

    With one arena, glibc gives freed memory back; with one for each thread a worker's memory doubles over time.
    """
    kept = {name: value for name, value in os.environ.items() if name != "A2F_API_KEY"}
    path = os.pathsep.join(filter(None, sys.path))
    return {"MALLOC_ARENA_MAX": "1"} | kept | {"VIPS_WARNING": "0", "PYTHONPATH": path}
