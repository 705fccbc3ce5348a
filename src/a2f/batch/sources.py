"""Find the files of a batch, one after the other, in constant memory."""

import glob
import hashlib
import os
import posixpath
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from a2f.batch.database import JOURNAL_ENDINGS
from a2f.errors import UsageError, count_of
from a2f.files import is_own_name
from a2f.imageio.formats import FORMATS
from a2f.pipeline import BOOK
from a2f.sizes import OWN_SUFFIX

MISSING = "missing"  # version of a missing file
IMAGES = frozenset(suffix for format in FORMATS.values() for suffix in format.suffixes) | {BOOK}


@dataclass(frozen=True, kw_only=True)
class Found:
    """One file that a batch may enlarge.

    Attributes:
        source: path or address.
        below: path in the given folder, with the name, separated by ``/``.
        bytes: size; 0 if the file is missing, which is reported when it is read.
        version: changes when the file changes.
    """

    source: str
    below: str
    bytes: int
    version: str

    @property
    def stem(self) -> str:
        """The name without its suffix."""
        return os.path.splitext(posixpath.basename(self.below))[0]

    @property
    def suffix(self) -> str:
        """The suffix in lower case: ``.jpg``."""
        return os.path.splitext(self.below)[1].lower()


def plain_stem(stem: str, mark: str) -> str:
    """A name without the mark of a result: ``photo`` for ``photo_x4``; the name itself if it has no mark."""
    plain = stem.removesuffix(mark) if mark else stem
    return OWN_SUFFIX.sub("", stem) if plain == stem else plain


def is_image(name: str) -> bool:
    """Whether a name has the suffix of an image; faster than with `Path`, because there may be many."""
    return os.path.splitext(name)[1].lower() in IMAGES


@dataclass(frozen=True, kw_only=True)
class Shard:
    """One of several parts of a batch, for machines that do not communicate.

    The part of a file depends only on its path in the given folder. So it does not change when other files are added,
    or if a machine mounts the folder at another path. Suffixes and marks of results are ignored, so files that could
    clash, and results beside their sources, are in one part.

    Attributes:
        number: number of the part, from 1 to `count`.
        count: number of parts.
        mark: mark in the names of results.
    """

    number: int
    count: int
    mark: str = ""

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.count:
            raise UsageError(f"--shard {self.number}/{self.count}: the first number goes from 1 to {self.count}")

    def has(self, found: Found) -> bool:
        """Whether a file belongs to this part."""
        place = posixpath.join(posixpath.dirname(found.below), plain_stem(found.stem, self.mark)).casefold()
        digest = hashlib.sha256(os.fsencode(place)).digest()
        return int.from_bytes(digest[:8], "big") % self.count == self.number - 1


@dataclass(kw_only=True)
class Scan:
    """A search for files that counts the skipped ones.

    Attributes:
        recursive: include subfolders.
        output: folder of the results, which is not searched.
        shard: the part of the files to take; None takes all.
        journal: real path of the journal, whose files are not counted as skipped; None for none.
        skipped: number of skipped files, by folder and reason.
    """

    recursive: bool = False
    output: str | None = None
    shard: Shard | None = None
    journal: str | None = None
    skipped: Counter[tuple[str, str]] = field(default_factory=Counter)

    def files(self, inputs: Sequence[str]) -> Iterator[Found]:
        """All images in folders, files and patterns.

        Args:
            inputs: paths on this machine.
        """
        self.skipped.clear()
        found = self._all(inputs)
        return found if self.shard is None else filter(self.shard.has, found)

    def _all(self, inputs: Sequence[str]) -> Iterator[Found]:
        for given in inputs:
            if os.path.isdir(given):
                yield from self._folder(given)
            elif not os.path.lexists(given) and glob.has_magic(given):
                yield from (file_of(path) for path in glob.iglob(given, recursive=True) if is_image(path))
            else:
                yield file_of(given)

    def _folder(self, root: str) -> Iterator[Found]:
        waiting = [root]
        while waiting:
            folder = waiting.pop()
            below = "" if folder == root else os.path.relpath(folder, root).replace(os.sep, "/") + "/"
            try:
                with os.scandir(folder) as entries:
                    yield from self._files_of(root, below, entries, waiting)
            except OSError as error:
                self.skipped[root, f"folder(s) that cannot be read ({error.strerror or error})"] += 1

    def _files_of(
        self, root: str, below: str, entries: "Iterator[os.DirEntry[str]]", waiting: list[str]
    ) -> Iterator[Found]:
        for entry in entries:
            if is_own_name(entry.name) or self._is_of_journal(entry):
                continue
            if self._is_to_enter(entry):
                waiting.append(entry.path)
            elif reason := _why_not(entry, recursive=self.recursive):
                self.skipped[root, reason] += 1
            elif not entry.is_dir():
                state = state_of(entry.path)
                if state is not None:  # it may have been removed meanwhile
                    size, version = state
                    source = os.path.abspath(entry.path)
                    yield Found(source=source, below=below + entry.name, bytes=size, version=version)

    def _is_of_journal(self, entry: "os.DirEntry[str]") -> bool:
        """Whether a file belongs to the journal: the database, or a file that SQLite or the lock keeps beside it."""
        if self.journal is None or not entry.name.startswith(os.path.basename(self.journal)):
            return False
        path = os.path.join(os.path.realpath(os.path.dirname(entry.path)), entry.name)
        return path.removeprefix(self.journal) in JOURNAL_ENDINGS

    def _is_to_enter(self, entry: "os.DirEntry[str]") -> bool:
        if not (self.recursive and entry.is_dir(follow_symlinks=False)):
            return False
        return self.output is None or os.path.realpath(entry.path) != self.output

    def notes(self) -> list[str]:
        """One line per folder about its skipped files."""
        folders = dict.fromkeys(folder for folder, _ in self.skipped)
        told = {f: sorted((why, n) for (of, why), n in self.skipped.items() if of == f) for f in folders}
        return [f"{f}: skipped " + ", ".join(count_of(n, why) for why, n in told[f]) for f in folders]


def file_of(path: str) -> Found:
    """A single file."""
    size, version = state_of(path) or (0, MISSING)
    return Found(source=os.path.abspath(path), below=os.path.basename(path), bytes=size, version=version)


def state_of(path: str) -> tuple[int, str] | None:
    """Size and version of a file; None if there is none."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_size, str(status.st_mtime_ns)


def _why_not(entry: "os.DirEntry[str]", *, recursive: bool) -> str:
    """Why a file is skipped; empty for one that is not, and for a folder that is the output."""
    if entry.is_dir():
        if entry.is_symlink():
            return "link(s) to folders"
        return "" if recursive else "folder(s) (-r includes them)"
    if entry.name.startswith("."):
        return "hidden file(s)"
    if not entry.is_file():
        return "broken link(s) or special file(s)"
    suffix = os.path.splitext(entry.name)[1].lower()
    if suffix in IMAGES:
        return ""
    return f"{suffix} file(s)" if suffix else "file(s) without a suffix"
