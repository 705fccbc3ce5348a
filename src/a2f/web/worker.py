"""A process that reads and enlarges pictures for the server, one at a time.

The server never decodes a picture itself: what a damaged or hostile file does to a decoder, it does to a process that
can be replaced, and a client that goes away ends its work at once, since that process is killed. Messages go through
standard input and output: a length and JSON, a length and bytes. When the server is gone, its workers end with it.

    python -m a2f.web.worker '{"limits": {"threads": 1, "alone_threads": 2, "memory_bytes": 1000000000,
        "pixels": 50000000}, "opened": null}'
"""

import functools
import json
import math
import os
import queue
import signal
import struct
import sys
import threading
import time
import warnings
from collections.abc import Callable
from typing import Any, BinaryIO

from a2f.errors import MemoryLimitError
from a2f.imageio import FORMATS
from a2f.imageio.header import header_of
from a2f.imageio.limits import check_memory
from a2f.machine import release_free_memory
from a2f.pipeline import Encoding, Request, decide, write
from a2f.runtime.options import EngineOptions
from a2f.sizes import Size
from a2f.upscaler import Control
from a2f.upscalers import Models, Upscalers
from a2f.web.options import Options, from_message, helpful_options, in_requests, losses_of
from a2f.web.problems import problem_name
from a2f.weights import available_scales

LENGTHS = struct.Struct("<IQ")
NAME = "the picture"
TOLD_EVERY_S = 0.1
RESIZING_BYTES = 42  # of memory, for each pixel before and after; measured with transparency, which takes the most
Message = tuple[dict[str, Any], bytes]


def packed(header: dict[str, Any], payload: bytes | bytearray = b"") -> bytes:
    """A message but for its payload, which follows."""
    text = json.dumps(header).encode()
    return LENGTHS.pack(len(text), len(payload)) + text


class PictureProgress:
    """How much of a picture is done, told now and then.

    Args:
        tell: called with the share that is done.
    """

    def __init__(self, tell: Callable[[float], None]) -> None:
        self.tell, self.told_at = tell, 0.0

    def __call__(self, share: float) -> None:
        """Hear of the share that is done."""
        if time.monotonic() - self.told_at >= TOLD_EVERY_S:
            self.told_at = time.monotonic()
            self.tell(share)


class Worker:
    """Enlarges pictures within limits.

    Args:
        threads: of the network.
        alone_threads: of the network for a picture beside which no other runs.
        memory_bytes: of this process.
        pixels: of a picture, at most.
    """

    def __init__(self, *, threads: int, alone_threads: int, memory_bytes: int, pixels: int) -> None:
        self.threads, self.alone_threads = threads, alone_threads
        self.pixels, self.memory_bytes = pixels, memory_bytes
        self._opened = functools.cache(self._upscalers)

    def upscalers(self, dtype: str, *, is_alone: bool) -> Upscalers:
        """The networks of one precision, which stay open.

        Args:
            dtype: the precision.
            is_alone: whether no other picture runs on this machine.
        """
        # OpenVINO compiles a network for its number of threads, which takes seconds and memory.
        return self._opened(dtype, self.alone_threads if is_alone and dtype == "float32" else self.threads)

    def _upscalers(self, dtype: str, threads: int) -> Upscalers:
        return Upscalers(EngineOptions(dtype=dtype, threads=threads, max_memory=self.memory_bytes), alone=False)

    def inspect(self, data: bytes) -> Message:
        """Format and size of a picture, by its header.

        Raises:
            ImageReadError: if it is not a picture.
            MemoryLimitError: if a worker cannot decode it.
        """
        layout = header_of(data, name=NAME)
        if layout.width * layout.height <= self.pixels:  # the server itself refuses a larger one
            check_memory(layout, NAME, self.memory_bytes)
        return {"format": layout.format, "width": layout.width, "height": layout.height}, b""

    def enlarge(
        self, data: bytes, options: Options, tell: Callable[[float], None], *, is_alone: bool = False
    ) -> Message:
        """The enlargement as a file, and what to tell about it.

        Args:
            data: the file of the picture.
            options: what to do.
            tell: called with the share that is done.
            is_alone: whether no other picture runs on this machine.

        Raises:
            A2FError: as `a2f.upscale`.
        """
        began = time.perf_counter()
        upscalers = self.upscalers(options.dtype, is_alone=is_alone)
        models = Models(model=options.model, scales=available_scales(options.model), open=upscalers.open)
        encoding = Encoding(format=options.format, quality=options.quality, strip=options.strip, force=options.force)
        request = Request(
            target=options.target,
            encoding=encoding,
            allow_truncated=options.allow_truncated,
            max_pixels=self.pixels,
            max_memory=self.memory_bytes,
        )
        decided = decide(data, models, request, name=NAME)
        if not decided.passes:
            self._check_resizing(decided.picture.size, decided.final)
        file, notes = write(decided, control=Control(progress=PictureProgress(tell)))
        if options.quality is not None and FORMATS[decided.format].quality is None:
            notes.append(f"{decided.format} is lossless: quality has no effect")
        told = {
            "format": decided.format,
            "model": ",".join(one.model for one in decided.passes) or "none",
            "scale": math.prod(one.upscaler.scale for one in decided.passes),
            "seconds": round(time.perf_counter() - began, 3),
            "notes": [_note(note) for note in (*decided.notes, *notes, *upscalers.take_notes())],
        }
        return told, file

    def _check_resizing(self, given: Size, final: Size) -> None:
        """Refuse what is resized without a network and does not fit; networks know what they need."""
        needed = RESIZING_BYTES * (given[0] * given[1] + final[0] * final[1])
        if needed > self.memory_bytes:
            raise MemoryLimitError(
                f"resizing needs {needed / 1e6:.0f} MB; {self.memory_bytes / 1e6:.0f} MB are allowed"
            )


def _note(text: str) -> str:
    return text.removeprefix(f"{NAME}: ")


def _answer(worker: Worker, header: dict[str, Any], data: bytes, send: Callable[..., None]) -> None:
    """Do what one message asks for; whatever goes wrong is an answer."""
    try:
        if header["kind"] == "inspect":
            told, file = worker.inspect(data)
        else:
            told, file = worker.enlarge(
                data,
                from_message(header["options"]),
                lambda share: send({"kind": "progress", "share": share}),
                is_alone=header["is_alone"],
            )
        send({"kind": "done", **told}, file)
    except Exception as error:
        name = problem_name(error)
        detail = in_requests(error)
        if name == "failed":
            detail = f"unexpected {type(error).__name__}"
            sys.excepthook(type(error), error, error.__traceback__)
        if name == "too-many-pixels":
            detail = f"the picture has more than the {worker.pixels:,} pixels that are allowed"
        if name == "too-much-memory":
            detail = f"{worker.memory_bytes / 1e6:.0f} MB, which a worker has, do not suffice for this picture"
            sys.stderr.write(f"{error}\n")  # for whoever runs the server: it may name a folder
        told = {"name": name, "detail": detail, "options": helpful_options(error), "loses": losses_of(error)}
        send({"kind": "problem", **told})


def _messages(stream: BinaryIO, into: "queue.SimpleQueue[Message]") -> None:
    """Read messages until the server is gone, and end the process then, whatever it is doing."""
    while len(head := stream.read(LENGTHS.size)) == LENGTHS.size:
        text, payload = LENGTHS.unpack(head)
        header, data = stream.read(text), stream.read(payload)
        if len(data) < payload:
            break
        into.put((json.loads(header), data))
    os._exit(0)


def main() -> None:
    """Answer messages until standard input ends."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # a server that shuts down lets its workers finish
    warnings.simplefilter("ignore")
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # what a library prints is no message
    lock = threading.Lock()

    def send(header: dict[str, Any], payload: bytes = b"") -> None:
        with lock:
            for part in (packed(header, payload), payload):
                view = memoryview(part)
                while view:
                    view = view[answers.write(view) or 0 :]

    given = json.loads(sys.argv[1])
    worker = Worker(**given["limits"])
    if given["opened"]:
        model, scale, dtype = given["opened"]
        for is_alone in (True, False):
            worker.upscalers(dtype, is_alone=is_alone).open(model, scale)
    messages: queue.SimpleQueue[Message] = queue.SimpleQueue()
    threading.Thread(target=_messages, args=(sys.stdin.buffer, messages), daemon=True).start()
    send({"kind": "ready"})
    while True:
        header, data = messages.get()
        send({"kind": "begun"})  # what ends this process from now on may be the picture
        _answer(worker, header, data, send)
        del header, data
        release_free_memory()


if __name__ == "__main__":
    main()
