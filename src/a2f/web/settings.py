"""What a server is started with, and the limits that follow from it."""

import re
from dataclasses import dataclass, field

from a2f.errors import UsageError
from a2f.imageio.limits import MIN_RGB_BYTES
from a2f.machine import usable_cores

LOOPBACK = ("127.0.0.1", "::1", "localhost")
MIN_WORKER_BYTES = 400 * 10**6
OUTPUT_FACTOR = 16  # pixels of a result for each pixel that a picture may have


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a server is started with.

    Attributes:
        host: address to listen on.
        port: TCP port; 0 takes a free one.
        api_key: what clients must send; None lets everybody in.
        no_auth: whether it was asked for that everybody is let in.
        host_names: names besides localhost and IP addresses under which clients may ask for this server.
        workers: pictures at a time, each in a process of its own.
        threads: of the network, in each worker.
        alone_threads: of the network for a picture beside which no other runs or waits.
        memory_bytes: of all requests together.
        body_bytes: of one request.
        max_pixels: of one picture, as its header tells; the memory may allow fewer, see `pixels`.
        queue: requests that wait at most.
        timeout_s: seconds that one picture may wait, and then run.
        keep_s: seconds for which a result is kept after it was last asked about; an unfinished job that nobody asks
            about for so long is cancelled.
        keep_bytes: of results, of all requests together; 0 takes an eighth of the memory.
        connections: at a time; more are closed at once.
        header_s: seconds within which the head of a request must be there; a body gets as much before `slowest` counts.
        slowest: bytes a second that a client must send or take on average.
        grace_s: seconds that shutting down waits for what runs.
    """

    memory_bytes: int
    host: str = "127.0.0.1"
    port: int = 8000
    api_key: str | None = field(default=None, repr=False)
    no_auth: bool = False
    host_names: tuple[str, ...] = ()
    workers: int = 1
    threads: int = 1
    alone_threads: int = 1
    body_bytes: int = 64 * 10**6
    max_pixels: int = 50_000_000
    queue: int = 64
    timeout_s: float = 600
    keep_s: float = 600
    keep_bytes: int = 0
    connections: int = 800
    header_s: float = 10
    slowest: int = 16_000
    grace_s: float = 60

    def __post_init__(self) -> None:
        if self.host not in LOOPBACK and self.api_key is None and not self.no_auth:
            raise UsageError(
                f"--host {self.host} lets other machines in: set a key with --api-key or A2F_API_KEY, "
                "or open the server to everybody with --no-auth"
            )
        if self.api_key is not None and not re.fullmatch("[!-~]{16,}", self.api_key):
            raise UsageError(
                "the API key is too short, or holds a blank or a character that is not ASCII: take 16 random letters "
                "and digits, or more"
            )
        if self.worker_bytes < MIN_WORKER_BYTES:
            min_bytes = MIN_WORKER_BYTES * self.workers * 4 // 3
            raise UsageError(
                f"{self.memory_bytes / 1e6:.0f} MB of memory are too little for {self.workers} workers: "
                f"--max-memory {min_bytes / 1e6:.0f}MB at least, or fewer --workers"
            )
        if 2 * self.body_bytes > self.body_room:
            raise UsageError(
                f"bodies of {self.body_bytes / 1e6:.0f} MB do not fit into {self.memory_bytes / 1e6:.0f} MB of memory: "
                f"--max-body {self.body_room / 2e6:.0f}MB at most, or more --max-memory"
            )

    @property
    def body_room(self) -> int:
        """Bytes for what clients have sent, of all requests together: an eighth of the memory."""
        return self.memory_bytes // 8

    @property
    def result_room(self) -> int:
        """Bytes for results, of all requests together: what was asked for, at most an eighth of the memory."""
        return min(self.keep_bytes or self.memory_bytes, self.memory_bytes // 8)

    @property
    def spool_room(self) -> int:
        """Bytes of results in temporary files, when `result_room` is full of results that clients take slowly."""
        return 4 * self.result_room

    @property
    def worker_bytes(self) -> int:
        """Bytes of each worker process: three quarters of the memory, divided among them."""
        return self.memory_bytes * 3 // 4 // self.workers

    @property
    def pixels(self) -> int:
        """Pixels that a picture may have: what was asked for, or what can be decoded in a worker's memory.

        The memory for the format of a picture is checked when its header is read.
        """
        return min(self.max_pixels, int(self.worker_bytes / MIN_RGB_BYTES))


def default_workers() -> int:
    """Two, which overlap reading and writing files; one on a single core."""
    return min(2, usable_cores())
