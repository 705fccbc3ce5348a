"""A server in its own process."""

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

PROGRAM = """
import asyncio, json, logging, sys
from a2f.web.server import listen, serve
from a2f.web.settings import Settings
logging.basicConfig(format="%(message)s", level=logging.INFO)
settings = Settings(**json.loads(sys.argv[1]))
asyncio.run(serve(settings, listen(settings), tell=lambda text: print(text, flush=True)))
"""
GB = 10**9
ENDS_WITHIN_S = 60


@dataclass
class Server:
    """A running server: its address, process and log."""

    address: str
    process: "subprocess.Popen[str]"
    log: Path

    def client(self, **given: Any) -> Any:
        import httpx

        return httpx.Client(base_url=self.address, timeout=ENDS_WITHIN_S, trust_env=False, **given)

    @property
    def port(self) -> int:
        return int(self.address.rpartition(":")[2])

    def records(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(ENDS_WITHIN_S)


def eventually(look: Callable[[], Any], *, within_s: float = ENDS_WITHIN_S) -> Any:
    """Wait until `look` returns a true value, and return it; fail the test after a time limit."""
    end = time.monotonic() + within_s
    while not (seen := look()):
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.05)
    return seen


@contextmanager
def running(
    folder: Path,
    *,
    command: list[str] | None = None,
    environment: dict[str, str] | None = None,
    until_ready: bool = True,
    **settings: Any,
):
    """Start a server with settings or with a command line."""
    log = folder / f"{len(list(folder.iterdir()))}.log"
    given = {"port": 0, "memory_bytes": 2 * GB, "workers": 1, "threads": 1, **settings}
    asked = command or [sys.executable, "-c", PROGRAM, json.dumps(given)]
    with log.open("w") as errors:
        process = subprocess.Popen(
            asked,
            stdout=subprocess.PIPE,
            stderr=errors if command is None else subprocess.STDOUT,
            text=True,
            env=os.environ | {"TMPDIR": str(folder)} | (environment or {}),
        )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert "serves on http://" in line, line + log.read_text()
        server = Server(line.split()[3], process, log)
        if until_ready:
            with server.client() as client:
                eventually(lambda: client.get("/readyz").status_code == 200)
        yield server
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Starts servers that end with the test."""
    with ExitStack() as stack:
        yield lambda **given: stack.enter_context(running(tmp_path, **given))


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A shared server for many tests, with two workers and a long queue."""
    with running(tmp_path_factory.mktemp("server"), workers=2, queue=100) as started:
        yield started


@pytest.fixture
def client(server: Server) -> Iterator[Any]:
    with server.client() as client:
        yield client


@pytest.fixture(scope="session")
def wait() -> Callable[..., Any]:
    return eventually


@pytest.fixture(scope="session")
def picture() -> Callable[..., bytes]:
    """Make picture files of noise with any size, mode and format."""

    def make(width: int = 24, height: int = 16, *, mode: str = "RGB", format: str = "PNG", seed: int = 0, **given: Any):
        import numpy as np
        from PIL import Image

        channels = len(Image.new(mode, (1, 1)).getbands())
        noise = np.random.default_rng(seed).integers(0, 256, (height, width, channels), np.uint8)
        file = io.BytesIO()
        Image.fromarray(noise[..., 0] if channels == 1 else noise).save(file, format, **given)
        return file.getvalue()

    return make
