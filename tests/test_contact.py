"""Contact sheets of two folders: pairs of files, pages, and `a2f compare` with folders."""

import base64
import re
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from a2f.cli.compare import compare
from a2f.contact import PAGE_PX, ROWS, Scene, pages, pair_up
from a2f.errors import InputError


def picture(path: Path, size: tuple[int, int], *, shade: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    y, x = np.mgrid[0 : size[1], 0 : size[0]]
    rgb = np.stack([x * 255 // size[0], y * 255 // size[1], np.full_like(x, shade)], -1)
    Image.fromarray(rgb.astype(np.uint8)).save(path)
    return path


@pytest.fixture
def folders(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for number in range(ROWS + 1):
        picture(tmp_path / f"holiday/p{number}.png", (20, 15))
        picture(tmp_path / f"large/p{number}_x4.png", (80, 60), shade=200)
    return tmp_path


def call(*arguments: str) -> Result:
    return CliRunner().invoke(compare, list(arguments))


def test_pairs_by_output_names() -> None:
    a, b = Path("a"), Path("b")
    before = [a / "p.jpg", a / "q.png", a / "r.jpg", a / "s_x4.png", a / "alone.png", a / "t.jpg", a / "t.png"]
    made = [
        "p_x4.jpg",
        "q_w3840.png",
        "r_1920x1080.jpg",
        "s_x4.png",
        "p_max900.jpg",
        "u_x2.png",
        "p_fine.jpg",
        "t_x2.png",
    ]
    pairing = pair_up(before, [b / name for name in made], folders=(a, b))
    assert [(pair.before.name, pair.after.name) for pair in pairing.pairs] == [
        ("p.jpg", "p_max900.jpg"),
        ("p.jpg", "p_x4.jpg"),
        ("q.png", "q_w3840.png"),
        ("r.jpg", "r_1920x1080.jpg"),
        ("s_x4.png", "s_x4.png"),
        ("t.png", "t_x2.png"),
    ]
    assert [path.name for path in pairing.alone_before] == ["alone.png", "t.jpg"]
    assert [path.name for path in pairing.alone_after] == ["u_x2.png", "p_fine.jpg"]


def test_subfolders_are_separate() -> None:
    a, b = Path("a"), Path("b")
    pairing = pair_up([a / "x/p.png", a / "y/p.png"], [b / "y/p_x2.png"], folders=(a, b))
    assert [(str(pair.before), pair.name) for pair in pairing.pairs] == [("a/y/p.png", "y/p.png")]
    assert pairing.alone_before == (a / "x/p.png",)


def test_invalid_scenes() -> None:
    small, large = np.zeros((15, 20, 3), np.uint8), np.zeros((60, 80, 3), np.uint8)
    with pytest.raises(
        InputError, match="20 x 15 pixels after, 80 x 60 before: give the folder of enlargements second"
    ):
        Scene(name="p", before=large, after=small)
    with pytest.raises(InputError, match=r"different proportions \(20 x 15 and 40 x 60\)\. Compare"):
        Scene(name="p", before=small, after=large[:, :40])


def test_pages_show_both() -> None:
    before, after = np.full((15, 20, 3), 40, np.uint8), np.full((60, 80, 3), 220, np.uint8)
    scenes = [Scene(name=f"p{n}", before=before, after=after) for n in range(ROWS + 1)]
    first, second = pages(scenes, title="t", count=len(scenes))
    assert first.size == second.size == PAGE_PX
    shown = np.asarray(first)
    for level in (40, 220):
        assert (shown == level).all(axis=2).sum() > ROWS * 50 * 50
    assert (np.asarray(second) == 40).all(axis=2).sum() < (shown == 40).all(axis=2).sum() / 2


def test_a_pdf_of_several_pages(folders: Path) -> None:
    done = call("holiday", "large", "-o", "sheets.pdf")
    assert done.exit_code == 0, done.output
    assert done.stderr == f"sheets.pdf ({ROWS + 1} pairs)\n"
    blob = (folders / "sheets.pdf").read_bytes()
    assert blob.startswith(b"%PDF-")
    assert re.findall(rb"/Count (\d+)", blob)[-1] == b"2"
    again = call("holiday", "large", "-o", "sheets.pdf")
    assert "sheets.pdf exists: overwrite=True replaces it" in str(again.exception)


def test_two_pictures_as_pdf_and_html(folders: Path) -> None:
    pair = ("holiday/p0.png", "large/p0_x4.png")
    assert call(*pair, "-o", "pair.pdf").exit_code == 0
    blob = (folders / "pair.pdf").read_bytes()
    assert blob.startswith(b"%PDF-")
    assert re.findall(rb"/Count (\d+)", blob)[-1] == b"1"
    assert call(*pair, "-o", "pair.html").exit_code == 0
    page = (folders / "pair.html").read_text(encoding="utf-8")
    assert "<title>p0.png and p0_x4.png</title>" in page
    assert page.count("<figure>") == 1
    assert "20 x 15 before, 80 x 60 after" in page
    for name in ("pair.pdf", "pair.html"):
        assert f"{name} exists: overwrite=True replaces it" in str(call(*pair, "-o", name).exception)


def test_an_html_page_holds_its_pictures(folders: Path) -> None:
    picture(folders / "holiday/$name <b>.png", (20, 15))
    picture(folders / "large/$name <b>_x2.png", (40, 30))
    assert call("holiday", "large", "-o", "sheets.html").exit_code == 0
    page = (folders / "sheets.html").read_text(encoding="utf-8")
    assert "$name &lt;b&gt;.png" in page
    addresses = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert len(addresses) == 4 * (ROWS + 2)
    assert all(address.startswith("data:image/jpeg;base64,") for address in addresses)
    assert base64.b64decode(addresses[0].partition(",")[2]).startswith(b"\xff\xd8")


def test_one_picture_per_page(folders: Path) -> None:
    done = call("holiday", "large", "-o", "sheet.png")
    assert done.stderr == f"sheet-1.png to sheet-2.png ({ROWS + 1} pairs)\n"
    for name in ("sheet-1.png", "sheet-2.png"):
        with Image.open(folders / name) as sheet:
            assert sheet.size == PAGE_PX
    (folders / "holiday/p0.png").unlink()
    assert call("holiday", "large", "-o", "one.png").stderr.endswith(f"one.png ({ROWS} pairs)\n")


def test_skipped_pairs_are_reported(folders: Path) -> None:
    picture(folders / "holiday/new.png", (20, 15))
    (folders / "holiday/raw.cr2").write_bytes(b"x")
    (folders / "large/p1_x4.png").write_bytes(b"damaged")
    done = call("holiday", "large", "-o", "sheets.pdf")
    assert done.exit_code == 1
    assert f"1 of {ROWS + 1} pairs could not be shown" in str(done.exception)
    assert "holiday: skipped 1 .cr2 file" in done.stderr
    assert "holiday: 1 file without a partner: new.png" in done.stderr
    assert "large/p1_x4.png is not an image of a known format" in done.stderr
    assert (folders / "sheets.pdf").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("holiday", "-o", "s.pdf"), r"1 folder given\. Give two folders, or only pictures"),
        (("holiday", "large", "holiday/p0.png", "-o", "s.pdf"), r"holiday/p0.png is not a folder\. Give two folders"),
        (("holiday", "large", "--label", "a", "-o", "s.pdf"), "--label is for pictures"),
        (("holiday", "large", "-o", "s.txt"), "unknown image format"),
        (("holiday", "empty", "-o", "s.pdf"), "no file of empty matches a name of holiday"),
        (("holiday", "nothing", "-o", "s.pdf"), "nothing is not a folder"),
        (("holiday/p0.png", "-o", "s.html"), ".html shows exactly two pictures"),
        (("holiday/p0.png", "large/p0_x4.png", "--label", "a", "--label", "b", "-o", "s.html"), "without --hr"),
        (("large/p0_x4.png", "holiday/p0.png", "-o", "s.html"), "give the folder of enlargements second"),
    ],
)
def test_impossible_requests(folders: Path, arguments: tuple[str, ...], message: str) -> None:
    (folders / "empty").mkdir()
    assert re.search(message, str(call(*arguments).exception))
