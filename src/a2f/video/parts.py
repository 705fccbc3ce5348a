"""The encoded frames of a result in parts, on the disk: what is finished stays when the program is killed.

A part is a file that is written whole or not at all: a line of JSON, then the packets one after the other. Every run
cuts the video at the same frames and opens a new encoder for each part, so that a run that goes on makes the packets of
one that was never stopped.
"""

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from a2f.errors import WriteError
from a2f.files import make_folder, write_bytes_atomic

FRAMES = 60  # of a part: two seconds of a film; a killed run does so many again, at most
PLAN = "plan.json"


@dataclass(frozen=True, kw_only=True)
class Encoded:
    """A packet of the result.

    Attributes:
        pts: when its frame is shown, ticks.
        key: whether decoding may begin there.
        data: bytes.
        alpha: layer of transparency of VP9; empty if there is none.
    """

    pts: int
    key: bool
    data: bytes
    alpha: bytes = b""


@dataclass(frozen=True, kw_only=True)
class Part:
    """Consecutive frames, encoded on their own.

    Attributes:
        packets: in the order of decoding.
        durations: of frames by their time, ticks; 0 where nothing told.
        repeats: how many of the frames were those before them, and not computed.
        setup: the encoder's header, which all parts share.
    """

    packets: tuple[Encoded, ...]
    durations: Mapping[int, int]
    repeats: int
    setup: bytes


class Parts:
    """The folder of the parts of one result.

    Args:
        folder: beside the result.
        plan: all that the packets depend on, as JSON; parts of another plan are removed.

    Attributes:
        resumed: parts that were there.
        discarded: whether there were parts of another plan.

    Raises:
        WriteError: if the folder cannot be made or holds something else.
    """

    def __init__(self, folder: Path, plan: Mapping[str, Any]) -> None:
        self.folder = folder
        told = json.dumps(plan, sort_keys=True, indent=1).encode()
        path = folder / PLAN
        if folder.exists() and not path.is_file() and any(folder.iterdir()):
            raise WriteError(f"{folder} is where parts of the result go, and holds something else: move that away")
        self.discarded = path.is_file() and path.read_bytes() != told
        if self.discarded:
            shutil.rmtree(folder)
        make_folder(folder)
        if not path.is_file():
            write_bytes_atomic(path, told)
        self.count = 0
        while self._path(self.count).is_file():
            self.count += 1
        self.resumed = self.count

    @property
    def frames(self) -> int:
        """In the parts that are there."""
        return sum(len(part.packets) for part in self)

    @property
    def repeats(self) -> int:
        """Among them, those that were not computed."""
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
        """Remove the folder, when the result is in its place."""
        shutil.rmtree(self.folder, ignore_errors=True)

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
