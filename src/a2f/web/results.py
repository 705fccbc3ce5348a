"""The files of results: in memory while there is space, otherwise in unnamed files on the disk."""

import tempfile
from collections.abc import Callable
from contextlib import suppress
from typing import BinaryIO

from a2f.files import folder_for_scratch
from a2f.web.problems import ProblemError

MAX_FILES = 64  # a process may have some hundreds open; a small one counts as its share of the room on the disk
FULL_S = 30  # after which to try again where clients have not taken their results yet


class Room:
    """A budget of bytes that all requests share.

    Args:
        max_bytes: bytes.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes, self.taken = max_bytes, 0

    def has(self, count: int) -> bool:
        """Whether `count` bytes are free."""
        return self.taken + count <= self.max_bytes

    def take(self, count: int) -> bool:
        """Reserve bytes if they are free; whether they were."""
        if not self.has(count):
            return False
        self.taken += count
        return True

    def give(self, count: int) -> None:
        """Release reserved bytes."""
        self.taken -= count


class ResultFile:
    """The file of one result. Its room is given back when it is closed, and never twice.

    Args:
        size: bytes that it will have.
        room: the room that holds them.
        taken: bytes that are taken of that room; they are given back when the file is closed.
        spool: a file on the disk; None keeps the bytes in memory.
    """

    def __init__(self, size: int, *, room: Room, taken: int, spool: BinaryIO | None) -> None:
        self.size, self.room, self._taken, self._spool = size, room, taken, spool
        self._held = bytearray()
        self._is_closed = False

    def write(self, part: bytes) -> None:
        """Add bytes. A part is small, and the system's cache takes it, so the disk is not waited for.

        Raises:
            ProblemError: busy, if the disk is full.
        """
        if self._spool is None:
            self._held += part
            return
        try:
            self._spool.write(part)
        except OSError as error:
            raise _no_disk(error) from error

    def read(self, start: int, count: int) -> bytes:
        """Read bytes from a position."""
        if self._spool is None:
            return bytes(memoryview(self._held)[start : start + count])
        self._spool.seek(start)
        return self._spool.read(count)

    def close(self) -> None:
        """Close the file, and release its bytes."""
        if self._is_closed:
            return
        self._is_closed = True
        self._held = bytearray()
        if self._spool is not None:
            with suppress(OSError):  # a full disk has been told of already
                self._spool.close()
        self.room.give(self._taken)


class Results:
    """The storage of all results.

    Args:
        memory: bytes that are held in memory.
        disk: bytes that are held in temporary files beside them, when memory is full.
    """

    def __init__(self, *, memory: int, disk: int) -> None:
        self.memory, self.disk = Room(memory), Room(disk)

    def open(self, size: int, *, free: Callable[[Room], bool] = lambda room: False) -> ResultFile:
        """Take room for a result; nobody waits for any.

        Args:
            size: of it, bytes.
            free: called while a room has not enough: forgets a result that lies there; False if there is none.

        Raises:
            ProblemError: too-much-memory, if it is larger than all memory for results; busy, if memory and disk
                are full.
        """
        if size > self.memory.max_bytes:
            told = f"the result has {size:,} bytes, and at most {self.memory.max_bytes:,} can be kept"
            raise ProblemError("too-much-memory", told)
        if _is_freed(self.memory, size, free):
            self.memory.take(size)
            return ResultFile(size, room=self.memory, taken=size, spool=None)
        taken = max(size, self.disk.max_bytes // MAX_FILES)
        if not _is_freed(self.disk, taken, free):
            told = "results that clients have not taken yet fill the memory and the disk"
            raise ProblemError("busy", told, retry_after_s=FULL_S)
        try:
            spool = tempfile.TemporaryFile(dir=folder_for_scratch())  # noqa: SIM115 - closed by ResultFile
        except OSError as error:
            raise _no_disk(error) from error
        self.disk.take(taken)
        return ResultFile(size, room=self.disk, taken=taken, spool=spool)


def _is_freed(room: Room, size: int, free: Callable[[Room], bool]) -> bool:
    while not room.has(size):
        if not free(room):
            return False
    return True


def _no_disk(error: OSError) -> ProblemError:
    told = f"results that clients have not taken yet fill the memory, and there is no temporary file: {error.strerror}"
    return ProblemError("busy", told, retry_after_s=FULL_S)
