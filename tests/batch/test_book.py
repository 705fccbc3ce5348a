"""Comic books: all pages are enlarged in order, and all other entries are kept."""

import io
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from a2f.batch.book import Book
from a2f.errors import ImageReadError

TIME = (2020, 2, 3, 4, 5, 6)


def page(size: tuple[int, int], format: str) -> bytes:
    rng = np.random.default_rng(sum(size))
    file = io.BytesIO()
    Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3)).astype(np.uint8)).save(file, format)
    return file.getvalue()


def make(path: Path, entries: dict[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        archive.comment = b"issue 1"
        for number, (name, data) in enumerate(entries.items()):
            entry = zipfile.ZipInfo(name, TIME)
            entry.compress_type = zipfile.ZIP_DEFLATED if number % 2 else zipfile.ZIP_STORED
            archive.writestr(entry, data)
    return path


@pytest.fixture
def run(tmp_path: Path, monkeypatch, capfd):
    from a2f.cli.main import main

    monkeypatch.chdir(tmp_path)

    def call(*arguments: object) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["a2f", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            main()
        return int(stop.value.code or 0), capfd.readouterr().err

    return call


PAGES = {"02.jpg": page((9, 7), "JPEG"), "01.png": page((8, 6), "PNG")}
OTHERS = {"ComicInfo.xml": b"<ComicInfo/>" * 99, "extra/": b"", "extra/notes.txt": b"x", "__MACOSX/._01.png": b"fork"}


def test_pages_are_in_order_and_other_entries_are_kept(run, tmp_path: Path) -> None:
    book = make(tmp_path / "book.cbz", {"02.jpg": PAGES["02.jpg"], **OTHERS, "01.png": PAGES["01.png"]})
    code, said = run("upscale", "book.cbz", "-s", 2)
    assert code == 0
    assert "book.cbz: 2 pages enlarged, 3 other files kept" in said
    with zipfile.ZipFile(tmp_path / "book_x2.cbz") as made, zipfile.ZipFile(book) as given:
        assert made.testzip() is None
        assert made.namelist() == given.namelist()
        assert made.comment == b"issue 1"
        assert Image.open(made.open("02.jpg")).size == (18, 14)
        assert Image.open(made.open("02.jpg")).format == "JPEG"
        assert Image.open(made.open("01.png")).size == (16, 12)
        for name, data in OTHERS.items():
            assert made.read(name) == data
        for old, new in zip(given.infolist(), made.infolist(), strict=True):
            assert (new.date_time, new.compress_type) == (old.date_time, old.compress_type)


def test_another_format_for_the_pages(run, tmp_path: Path) -> None:
    make(tmp_path / "in/book.cbz", PAGES)
    assert run("upscale", "in", "-s", 2, "-f", "webp", "-o", "out/", "--resume")[0] == 0
    with zipfile.ZipFile(tmp_path / "out/book_x2.cbz") as made:
        assert made.namelist() == ["02.webp", "01.webp"]
        assert Image.open(made.open("01.webp")).format == "WEBP"
    code, said = run("upscale", "in", "-s", 2, "-f", "webp", "-o", "out/", "--resume")
    assert code == 0
    assert "1 done, 0 to do" in said


def test_book_with_a_bad_page_is_refused(run, tmp_path: Path) -> None:
    make(tmp_path / "book.cbz", {**PAGES, "03.png": b"no image"})
    code, said = run("upscale", "book.cbz", "-s", 2)
    assert code == 3
    assert "book.cbz: 03.png" in said
    assert sorted(path.name for path in tmp_path.iterdir()) == ["book.cbz"]


def test_existing_book_is_kept(run, tmp_path: Path) -> None:
    make(tmp_path / "book.cbz", PAGES)
    (tmp_path / "large.cbz").write_bytes(b"mine")
    code, said = run("upscale", "book.cbz", "-s", 2, "-o", "large.cbz")
    assert code == 3
    assert "--overwrite replaces it" in said
    assert (tmp_path / "large.cbz").read_bytes() == b"mine"


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"no archive", "not a whole .cbz file"), ({"notes.txt": b"x"}, "holds no page")],
)
def test_files_that_are_not_books(tmp_path: Path, content, said: str) -> None:
    path = tmp_path / "book.cbz"
    path.write_bytes(content) if isinstance(content, bytes) else make(path, content)
    with pytest.raises(ImageReadError, match=said):
        list(Book(source=path).parts(lambda data, name: data))


def test_damaged_page_is_reported(tmp_path: Path) -> None:
    path = make(tmp_path / "book.cbz", PAGES)
    data = bytearray(path.read_bytes())
    data[60] ^= 255
    path.write_bytes(data)
    with pytest.raises(ImageReadError, match="CRC"):
        list(Book(source=path).parts(lambda data, name: data))
