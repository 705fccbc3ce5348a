"""The encoded frames of a result in parts, on the disk: what is finished stays when the program is killed.

A part is a file that is written whole or not at all: a line of JSON, then the packets one after the other. Every run
cuts the video at the same frames and opens a new encoder for each part, so that a run that goes on makes the packets of
one that was never stopped.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from a2f.errors import Hint, WriteError
from a2f.files import make_folder, write_bytes_atomic
from a2f.lock import hold

FRAMES = 60  # per part, about two seconds; a killed run repeats at most so many
ENDING, MAX_NAME_BYTES = ".a2f-parts", 255  # bytes, on most file systems
PLAN, LOCK = "plan.json", "lock"


@dataclass(frozen=True, kw_only=True)
class Encoded:
    """A packet of the result.

    Attributes:
        pts: time of display of its frame, ticks.
        key: whether decoding can begin there.
        data: bytes.
        alpha: alpha layer of VP9; empty if there is none.
    """

    pts: int
    key: bool
    data: bytes
    alpha: bytes = b""


@dataclass(frozen=True, kw_only=True)
class Part:
    """Consecutive frames from one encoder.

    Attributes:
        packets: packets in the order of decoding.
        durations: durations of frames by their pts, ticks; 0 if unknown.
        repeats: number of frames that equal the frame before and were not computed.
        setup: the encoder's header, which all parts share.
    """

    packets: tuple[Encoded, ...]
    durations: Mapping[int, int]
    repeats: int
    setup: bytes


def parts_folder(output: Path) -> Path:
    """The folder of the parts of a result, beside the result."""
    name = f"{output.name}{ENDING}"
    if len(os.fsencode(name)) > MAX_NAME_BYTES:
        name = f"a2f-{hashlib.sha256(os.fsencode(output.name)).hexdigest()[:16]}{ENDING}"
    return output.with_name(name)


def plan_of_pipe() -> dict[str, str]:
    """The plan of frames from a pipe, which no other run can continue."""
    return {"stream": os.urandom(8).hex()}


def is_of_pipe(plan: Mapping[str, Any]) -> bool:
    """Whether a plan is from `plan_of_pipe`."""
    return set(plan) == {"stream"}


class Parts:
    """The folder of the parts of one result, locked for one run until `close`.

    Args:
        folder: folder beside the result.
        plan: everything that the packets depend on, as JSON.
        restart: remove parts of another plan; otherwise they are an error.

    Attributes:
        resumed: number of parts from earlier runs.

    Raises:
        WriteError: if the folder cannot be made, holds parts of another plan or something else, or another run has it.
    """

    def __init__(self, folder: Path, plan: Mapping[str, Any], *, restart: bool = False) -> None:
        self.folder = folder
        told = json.dumps(plan, sort_keys=True, indent=1).encode()
        path, lock = folder / PLAN, folder / LOCK
        if folder.exists() and not path.is_file() and any(entry != lock for entry in folder.iterdir()):
            raise WriteError(
                f"{folder} is the folder for parts of the result, but contains other files: move them away"
            )
        make_folder(folder)
        self._holder = hold(lock)
        if self._holder is None:
            raise WriteError(f"another run is making this result ({folder} is in use)", Hint(text="wait for its end"))
        if path.is_file() and path.read_bytes() != told:
            self._leave_earlier(path, restart=restart)
        if not path.is_file():
            write_bytes_atomic(path, told)
        self.count = 0
        while self._path(self.count).is_file():
            self.count += 1
        self.resumed = self.count

    def _leave_earlier(self, path: Path, *, restart: bool) -> None:
        """Remove the parts of another plan if they are useless or `restart` is True."""
        if self._path(0).is_file() and not restart and not is_of_pipe(json.loads(path.read_bytes())):
            self.close()
            raise WriteError(
                f"{self.folder} contains finished frames of another input, other options or another version",
                Hint(text="give the earlier options to continue that run"),
                Hint(text="choose another output"),
                Hint(text="remove them with {option}", option="overwrite", value=True),
            )
        self._empty()

    @property
    def frames(self) -> int:
        """The number of frames in all parts."""
        return sum(len(part.packets) for part in self)

    @property
    def repeats(self) -> int:
        """The number of frames that were not computed."""
        return sum(part.repeats for part in self)

    def add(self, part: Part) -> None:
        """Write the next part."""
        packets = [[packet.pts, packet.key, len(packet.data), len(packet.alpha)] for packet in part.packets]
        data = b"".join(packet.data + packet.alpha for packet in part.packets)
        head = {
            "packets": packets,
            "durations": list(part.durations.items()),
            "repeats": part.repeats,
            "setup": part.setup.hex(),
            "sha256": hashlib.sha256(data).hexdigest(),
        }
        write_bytes_atomic(self._path(self.count), [json.dumps(head).encode() + b"\n", data])
        self.count += 1

    def __iter__(self) -> Iterator[Part]:
        for number in range(self.count):
            yield self._read(self._path(number))

    def remove(self) -> None:
        """Remove the folder when the result is complete."""
        with suppress(OSError):
            self._empty()
            self.close()  # some systems cannot remove open files
            shutil.rmtree(self.folder)

    def close(self) -> None:
        """Release the folder for other runs."""
        if self._holder is not None:
            self._holder.close()

    def __enter__(self) -> "Parts":
        return self

    def __exit__(self, *_: object) -> None:
        if self.count:
            self.close()
        else:  # nothing to continue
            self.remove()

    def _empty(self) -> None:
        """Remove everything except the lock; the plan last, because it identifies the folder."""
        for path in sorted(self.folder.iterdir(), key=lambda path: path.name == PLAN):
            if path.name != LOCK:
                path.unlink()

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:06d}.part"

    def _read(self, path: Path) -> Part:
        with path.open("rb") as file:
            head = json.loads(file.readline())
            data = file.read()
        if hashlib.sha256(data).hexdigest() != head["sha256"]:
            raise WriteError(f"{path} is damaged: remove {self.folder} and start again")
        packets, begin = [], 0
        for pts, key, size, layer in head["packets"]:
            middle = begin + size
            packets.append(Encoded(pts=pts, key=key, data=data[begin:middle], alpha=data[middle : middle + layer]))
            begin = middle + layer
        return Part(
            packets=tuple(packets),
            durations=dict(head["durations"]),
            repeats=head["repeats"],
            setup=bytes.fromhex(head["setup"]),
        )
