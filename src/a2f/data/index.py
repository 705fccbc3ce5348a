"""The index of a prepared folder: the output files of each source, with checksums."""

import contextlib
import json
import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from a2f.errors import ImageReadError, UsageError, WriteError
from a2f.files import make_folder, write_bytes_atomic

FORMAT = "a2f-prepared/1"
INDEX, JOURNAL = "index.json", ".index.jsonl"


@dataclass(frozen=True, kw_only=True)
class PrepareSettings:
    """The settings of `a2f data prepare`.

    Attributes:
        size: side of a sub-image, pixels; 0 keeps whole images.
        step: distance from one sub-image to the next, pixels.
        threshold: a remainder of more pixels than this gets its own sub-image.
        min_size: images with a shorter side are skipped, pixels.
        scales: scales of the LR images to make.
    """

    size: int = 480
    step: int = 240
    threshold: int = 0
    min_size: int = 64
    scales: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.size < 0 or self.step < 1 or self.threshold < 0 or self.min_size < 1:
            raise UsageError("size and threshold are 0 or more pixels, step and min-size at least 1")
        if not set(self.scales) <= {2, 3, 4}:
            raise UsageError(f"LR images for scales {', '.join(map(str, self.scales))}: choose from 2, 3 and 4")
        if 0 < self.size < max(self.scales, default=1):
            raise UsageError(f"sub-images of {self.size} pixels are smaller than one LR pixel: raise --size")


@dataclass(frozen=True, kw_only=True)
class Output:
    """An output file: path relative to the prepared folder, checksum, width and height in pixels."""

    path: str
    sha256: str
    width: int
    height: int


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A source and its output files.

    Attributes:
        source: path relative to the source folder.
        sha256: checksum of the source file.
        width: width of the source, pixels.
        height: height of the source, pixels.
        outputs: the HR and LR files.
    """

    source: str
    sha256: str
    width: int
    height: int
    outputs: tuple[Output, ...]


class Index:
    """The entries of a prepared folder; they survive interruptions.

    During a run, each finished entry is appended to a journal as a line. At the end the index is written and the
    journal is removed. After a kill, the journal has the finished entries.

    Args:
        folder: the prepared folder.
        source: the source folder.
        settings: the settings of this run; scales of earlier runs are added.

    Raises:
        UsageError: if the folder was prepared from another source, or with other sizes.
        ImageReadError: if the index is not one of a2f.
    """

    def __init__(self, folder: Path, *, source: Path, settings: PrepareSettings) -> None:
        self.folder, self.source = folder, source
        self.entries: dict[str, Entry] = {}
        self._owner: dict[str, str] = {}
        self.exists = False
        scales = set(settings.scales)
        for head, entries in filter(None, (_read_index(folder / INDEX), _read_journal(folder / JOURNAL))):
            _check_head(head, folder=folder, source=source, settings=settings)
            scales |= set(head["settings"]["scales"])
            for entry in entries:
                self._put(entry)
            self.exists = True
        self.settings = PrepareSettings(**{**asdict(settings), "scales": tuple(sorted(scales))})

    def begin(self) -> None:
        """Start the journal; it marks the files in the folder as made by a2f."""
        make_folder(self.folder)
        lines = [json.dumps(self._head()), *(json.dumps(asdict(entry)) for entry in self.entries.values())]
        write_bytes_atomic(self.folder / JOURNAL, ("\n".join(lines) + "\n").encode())

    def add(self, entry: Entry) -> None:
        """Add a finished entry."""
        self._put(entry)
        try:
            with (self.folder / JOURNAL).open("a", encoding="ascii") as file:
                file.write(json.dumps(asdict(entry)) + "\n")
        except OSError as error:
            raise WriteError(f"cannot write {self.folder / JOURNAL}: {error.strerror or error}") from error

    def finish(self) -> None:
        """Write the index and remove the journal."""
        entries = [asdict(self.entries[name]) for name in sorted(self.entries)]
        text = json.dumps({**self._head(), "images": entries}, indent=1)
        write_bytes_atomic(self.folder / INDEX, (text + "\n").encode())
        with contextlib.suppress(OSError):
            os.unlink(self.folder / JOURNAL)

    def _put(self, entry: Entry) -> None:
        """Add an entry; files that it overwrites are removed from the entry of another source."""
        for output in entry.outputs:
            other = self.entries.get(self._owner.get(output.path, entry.source))
            if other is not None and other.source != entry.source:
                left = tuple(o for o in other.outputs if o.path != output.path)
                self.entries[other.source] = replace(other, outputs=left)
            self._owner[output.path] = entry.source
        self.entries[entry.source] = entry

    def _head(self) -> dict[str, Any]:
        return {"format": FORMAT, "source": str(self.source), "settings": asdict(self.settings)}


def _read_index(path: Path) -> tuple[dict[str, Any], list[Entry]] | None:
    if not path.exists():
        return None
    try:
        head = json.loads(path.read_text(encoding="utf-8"))
        return head, [_entry(image) for image in head.pop("images")]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ImageReadError(f"{path} is no index of a2f data prepare ({error!r}): choose another folder") from error


def _read_journal(path: Path) -> tuple[dict[str, Any], list[Entry]] | None:
    """Read the journal; a truncated last line and damaged lines are ignored."""
    if not path.exists():
        return None
    first, *lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    entries = []
    for line in lines:
        with contextlib.suppress(ValueError, KeyError, TypeError):
            entries.append(_entry(json.loads(line)))
    try:
        return json.loads(first), entries
    except ValueError as error:
        raise ImageReadError(f"{path} is no journal of a2f data prepare: choose another folder") from error


def _entry(record: dict[str, Any]) -> Entry:
    return Entry(**{**record, "outputs": tuple(Output(**output) for output in record["outputs"])})


def _check_head(head: dict[str, Any], *, folder: Path, source: Path, settings: PrepareSettings) -> None:
    if head.get("format") != FORMAT:
        raise ImageReadError(f"the index of {folder} is of format {head.get('format')!r}, not {FORMAT}")
    if head["source"] != str(source):
        raise UsageError(f"{folder} was prepared from {head['source']}, not from {source}: choose another folder")
    asked = asdict(settings)
    for name in ("size", "step", "threshold", "min_size"):
        if head["settings"][name] != asked[name]:
            option = f"--{name.replace('_', '-')}"
            raise UsageError(
                f"{folder} was prepared with {option} {head['settings'][name]}, not {asked[name]}: "
                f"give the same {option}, or choose another folder"
            )
