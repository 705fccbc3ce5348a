"""Comic books (CBZ): ZIP archives whose pages are enlarged and whose other files are kept."""

import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from a2f.batch.archive import ByteStream
from a2f.errors import ImageReadError
from a2f.files import Parts
from a2f.imageio.formats import FORMATS, is_image_name
from a2f.pipeline import BOOK

MAX_PAGE_BYTES = 2**30  # more in one page is no page
READ_BYTES = 2**20  # at a time, of what is no page


@dataclass(kw_only=True)
class Book:
    """A comic book, enlarged page by page.

    Attributes:
        source: the file.
        format: format of the enlarged pages; None for the format of each page.
        pages: number of enlarged pages.
        others: number of other files.
    """

    source: Path
    format: str | None = None
    pages: int = field(default=0, init=False)
    others: int = field(default=0, init=False)

    def parts(self, enlarge: Callable[[bytes, str], bytes]) -> Parts:
        """The parts of the enlarged book; one page is in memory at a time.

        Pages and other files keep their order, names, times and compression. With `format`, pages get its suffix.

        Args:
            enlarge: takes the file and the name of a page, and returns the file of the enlarged page.

        Raises:
            ImageReadError: if the file is no archive, is damaged or encrypted, or has no page; also the errors of
                `enlarge`.
        """
        try:
            with zipfile.ZipFile(self.source) as given:
                yield from self._copied(given, enlarge)
        except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError) as error:
            raise ImageReadError(f"{self.source} is not a whole {BOOK} file: {error}") from error

    def _copied(self, given: zipfile.ZipFile, enlarge: Callable[[bytes, str], bytes]) -> Iterator[bytes]:
        stream = ByteStream()
        with zipfile.ZipFile(stream, "w") as made:
            made.comment = given.comment
            for entry in given.infolist():
                if entry.flag_bits & 1:
                    raise ImageReadError(f"{self.source}: {entry.filename} is encrypted: decrypt the book first")
                if _is_page(entry):
                    page = enlarge(self._page(given, entry), f"{self.source}: {entry.filename}")
                    made.writestr(_like(entry, self._renamed(entry.filename)), page)
                    self.pages += 1
                    yield stream.taken()
                else:
                    self.others += not entry.is_dir()
                    yield from _kept(given, entry, made, stream)
            if not self.pages:
                raise ImageReadError(f"{self.source} holds no page that is an image")
        yield stream.taken()

    def _page(self, given: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
        if entry.file_size > MAX_PAGE_BYTES:
            raise ImageReadError(f"{self.source}: {entry.filename} has {entry.file_size:,} bytes: that is no page")
        return given.read(entry)

    def _renamed(self, name: str) -> str:
        return name if self.format is None else str(PurePosixPath(name).with_suffix(FORMATS[self.format].suffixes[0]))


def _is_page(entry: zipfile.ZipInfo) -> bool:
    name = PurePosixPath(entry.filename)
    hidden = any(part.startswith((".", "__MACOSX")) for part in name.parts)
    return is_image_name(Path(name.name)) and not hidden and not entry.is_dir()


def _like(entry: zipfile.ZipInfo, name: str) -> zipfile.ZipInfo:
    """A new entry with this name and the other properties of the old one, except its size."""
    made = zipfile.ZipInfo(name, entry.date_time)
    made.compress_type, made.external_attr, made.comment = entry.compress_type, entry.external_attr, entry.comment
    return made


def _kept(given: zipfile.ZipFile, entry: zipfile.ZipInfo, made: zipfile.ZipFile, stream: ByteStream) -> Iterator[bytes]:
    """Copy a file that is not a page."""
    if entry.is_dir():
        made.writestr(_like(entry, entry.filename), b"")
        return
    with given.open(entry) as old, made.open(_like(entry, entry.filename), "w", force_zip64=True) as new:
        while data := old.read(READ_BYTES):
            new.write(data)
            yield stream.taken()
