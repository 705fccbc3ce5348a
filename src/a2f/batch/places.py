"""Places of sources and results: paths of this machine, and addresses."""

import contextlib
import os
import posixpath
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from a2f.batch.sources import Found, Scan, state_of

State = tuple[int, str]  # size and version


class Places(Protocol):
    """Reads sources and writes results."""

    def files(self, inputs: Sequence[str], scan: Scan) -> Iterator[Found]:
        """All images in folders, files and patterns."""

    def state(self, address: str) -> State | None:
        """Size and version; None if there is no such file."""

    def states(self, folder: str) -> Callable[[str], State | None]:
        """A function like `state`, for many files of a folder."""

    def reading(self, address: str) -> AbstractContextManager[Path]:
        """A local file with the content of the source."""

    def writing(self, address: str) -> AbstractContextManager[Path]:
        """A local file whose content is written to the address at the end of the block, unless there is an error."""


class ThisMachine:
    """Paths of this machine, read and written in place."""

    def files(self, inputs: Sequence[str], scan: Scan) -> Iterator[Found]:
        """All images in folders, files and patterns."""
        return scan.files(inputs)

    def state(self, address: str) -> State | None:
        """Size and version of a file; None if there is none."""
        return state_of(address)

    def states(self, folder: str) -> Callable[[str], State | None]:
        """A function like `state`."""
        return state_of

    @contextlib.contextmanager
    def reading(self, address: str) -> Iterator[Path]:
        """The file itself."""
        yield Path(address)

    @contextlib.contextmanager
    def writing(self, address: str) -> Iterator[Path]:
        """The file itself, which is always written atomically."""
        yield Path(address)


def is_address(text: str) -> bool:
    """Whether a source or target is an address like ``s3://bucket/name``, not a path on this machine."""
    return "://" in text


def joined(folder: str, below: str) -> str:
    """Join a folder and a relative path; a part after ``::`` in an address names the archive and stays at the end."""
    if not is_address(folder):
        return os.path.join(folder, *below.split("/"))
    first, mark, rest = folder.partition("::")
    return f"{first.rstrip('/') if not first.endswith('://') else first}/{below}".replace(":///", "://") + mark + rest


def name_of(address: str) -> str:
    """The name of a file at a path or address, without its folder and query."""
    if not is_address(address):
        return os.path.basename(address)
    return posixpath.basename(address.partition("::")[0].partition("?")[0])


def sibling(source: str, name: str) -> str:
    """A name in the folder of a source."""
    if not is_address(source):
        return os.path.join(os.path.dirname(source), name)
    first, mark, rest = source.partition("::")
    return posixpath.join(posixpath.dirname(first), name) + mark + rest
