"""One job and its result."""

import asyncio
import secrets
import time
from dataclasses import dataclass, field
from typing import Literal

from a2f.sizes import Size
from a2f.web.options import Options
from a2f.web.problems import ProblemError
from a2f.web.results import ResultFile

Status = Literal["queued", "running", "done", "failed", "cancelled"]
FINISHED = ("done", "failed", "cancelled")


@dataclass(frozen=True, kw_only=True)
class Result:
    """An enlarged picture.

    Attributes:
        file: its bytes; closed when the job is forgotten and nobody takes it any more.
        format: of the file, a key of `FORMATS`.
        model: of each pass, with commas between; "none" if the picture was only resized.
        scale: product of the scales of the passes.
        seconds: in the worker.
        notes: what a person should know.
    """

    file: ResultFile
    format: str
    model: str
    scale: int
    seconds: float
    notes: tuple[str, ...]


@dataclass(kw_only=True, eq=False)
class Job:
    """One picture to enlarge.

    Attributes:
        id: unguessable.
        options: what was asked for.
        name: of the client's file, without its suffix.
        given: width and height of the picture.
        work_px: LR pixels of all passes.
        data: the picture; None when it is no longer needed.
        body_bytes: taken of `Jobs.bodies`; given back when the job ends.
        watchers: requests that wait for it, follow it or take its result: it is kept for them, see `Jobs.watch`.
        is_fetched: whether a client has taken the whole result.
        finished: set when it has ended, however.
    """

    options: Options
    name: str
    given: Size
    work_px: float
    data: bytes | bytearray | None
    body_bytes: int
    id: str = field(default_factory=lambda: secrets.token_urlsafe(18))
    status: Status = "queued"
    told: float = 0.0
    error: ProblemError | None = None
    result: Result | None = None
    queued_at: float = field(default_factory=time.monotonic)
    began_at: float | None = None
    asked_at: float = field(default_factory=time.monotonic)
    watchers: int = 0
    is_fetched: bool = False
    task: "asyncio.Task[None] | None" = None
    finished: asyncio.Event = field(default_factory=asyncio.Event)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def tell_change(self) -> None:
        """Wake all that wait for a change."""
        self.changed.set()
        self.changed = asyncio.Event()
