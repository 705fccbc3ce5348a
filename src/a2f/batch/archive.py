"""Results in a ZIP archive on this machine: collected in a folder beside it, and packed at the end of a run."""

import contextlib
import io
import os
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO

from a2f.batch.places import Places, State, is_address
from a2f.batch.sources import Found, Scan
from a2f.errors import ImageReadError, UsageError, WriteError
from a2f.files import Parts, write_bytes_atomic

COPIED_BYTES = 2**20  # at a time
SCHEME = "zip://"


class ByteStream(io.RawIOBase):
    """A stream for writing an archive; it cannot seek, so parts can be yielded at once."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def writable(self) -> bool:
        """True."""
        return True

    def write(self, data: object) -> int:
        """Add bytes."""
        self._parts.append(bytes(data))  # type: ignore[call-overload]
        return len(self._parts[-1])

    def taken(self) -> bytes:
        """The bytes since the last call."""
        parts, self._parts = self._parts, []
        return b"".join(parts)


class ArchiveTarget:
    """`Places` whose results are in an archive; sources are in `others`.

    Results are kept in a hidden folder beside the archive until `pack`. A killed run leaves the folder; the next run
    continues with it. The archive is replaced completely or not at all.

    Args:
        address: address of a folder in the archive: ``zip://::results.zip`` or ``zip://folder::results.zip``.
        others: places of the sources.

    Raises:
        UsageError: if the archive is not on this machine.
    """

    def __init__(self, address: str, others: Places) -> None:
        _, mark, path = address.removeprefix(SCHEME).partition("::")
        if not mark or not path or is_address(path):
            raise UsageError(f"-o {address}: write an archive on this machine as zip://::results.zip")
        self.address, self.others, self.path = address, others, Path(path)
        self._end = mark + path
        self._waiting = self.path.with_name(f".{self.path.name}.a2f")

    def files(self, inputs: Sequence[str], scan: Scan) -> Iterator[Found]:
        """All images in folders, files and patterns."""
        return self.others.files(inputs, scan)

    def state(self, address: str) -> State | None:
        """Size and version; results in the archive have an empty version."""
        if not self._is_inside(address):
            return self.others.state(address)
        return self.states(self.address)(address)

    def states(self, folder: str) -> Callable[[str], State | None]:
        """A function like `state` that reads the archive once."""
        packed = self._packed()

        def state(address: str) -> State | None:
            inner = self._inner(address)
            with contextlib.suppress(OSError):
                return (self._waiting / inner).stat().st_size, ""
            return (packed[inner], "") if inner in packed else None

        return state

    @contextlib.contextmanager
    def reading(self, address: str) -> Iterator[Path]:
        """A local file with the content of the source."""
        if not self._is_inside(address):
            with self.others.reading(address) as path:
                yield path
            return
        inner = self._inner(address)
        if (self._waiting / inner).exists():
            yield self._waiting / inner
            return
        with tempfile.TemporaryDirectory(prefix="a2f-") as folder, self._opened() as archive:
            copy = Path(folder) / "copy"
            with archive.open(inner) as packed, copy.open("wb") as file:
                shutil.copyfileobj(packed, file, COPIED_BYTES)
            yield copy

    @contextlib.contextmanager
    def writing(self, address: str) -> Iterator[Path]:
        """A file in the hidden folder, for `pack`."""
        yield self._waiting / self._inner(address)

    def pack(self) -> None:
        """Add all files of the hidden folder to the archive.

        Raises:
            WriteError: if the archive cannot be written.
        """
        if not self._waiting.is_dir():
            return
        write_bytes_atomic(self.path, self._parts())
        shutil.rmtree(self._waiting)

    def _parts(self) -> Parts:
        new = {path.relative_to(self._waiting).as_posix(): path for path in sorted(self._waiting.rglob("*"))}
        new = {name: path for name, path in new.items() if path.is_file() and not path.name.startswith(".a2f-")}
        stream = ByteStream()
        with zipfile.ZipFile(stream, "w") as made:  # images are compressed already
            if self.path.exists():
                with self._opened() as old:
                    for entry in old.infolist():
                        if entry.filename not in new:
                            with old.open(entry) as kept:
                                yield from _copied(kept, made, entry.filename, entry.date_time, stream)
            for name, path in new.items():
                told = zipfile.ZipInfo.from_file(path, name, strict_timestamps=False)
                with path.open("rb") as file:
                    yield from _copied(file, made, name, told.date_time, stream)
        yield stream.taken()

    def _packed(self) -> dict[str, int]:
        if not self.path.exists():
            return {}
        with self._opened() as archive:
            return {entry.filename: entry.file_size for entry in archive.infolist()}

    def _opened(self) -> zipfile.ZipFile:
        try:
            return zipfile.ZipFile(self.path)
        except zipfile.BadZipFile as error:
            raise WriteError(f"{self.path} is not a ZIP archive: give another -o") from error
        except OSError as error:
            raise ImageReadError(f"cannot read {self.path}: {error.strerror or error}") from error

    def _is_inside(self, address: str) -> bool:
        return address.startswith(SCHEME) and address.endswith(self._end)

    def _inner(self, address: str) -> str:
        inner = address.removeprefix(SCHEME).removesuffix(self._end).strip("/")
        if os.path.isabs(inner) or ".." in inner.split("/"):
            raise WriteError(f"{address} would be outside the archive")
        return inner


def _copied(
    file: IO[bytes],
    made: zipfile.ZipFile,
    name: str,
    time: tuple[int, int, int, int, int, int],
    stream: ByteStream,
) -> Iterator[bytes]:
    with made.open(zipfile.ZipInfo(name, time), "w", force_zip64=True) as new:
        while data := file.read(COPIED_BYTES):
            new.write(data)
            yield stream.taken()
