"""TIFF files with several pages: all are enlarged, each for itself."""

import io
import struct
from pathlib import Path

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image, ImageCms

from a2f.errors import ImageReadError, ImageWriteError, UsageError
from a2f.imageio import read_image
from a2f.imageio.tiff import tiff_with_blocks
from a2f.imageio.tiff_pages import joined_pages, page_marks, page_of, page_places
from a2f.pipeline import Encoding, Request, decide, write
from a2f.sizes import Target
from a2f.upscalers import Models

PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


class Nearest:
    """Repeats each pixel, so that results can be told in advance."""

    scale, description = 2, "nearest x2"

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        self.calls += 1
        return image.repeat(2, axis=0).repeat(2, axis=1)


MODELS = Models(model="nearest", scales=(2,), open=lambda model, scale: Nearest())


def enlarged(data: bytes, *, format: str | None = None, target: Target | None = None) -> tuple[bytes, list[str]]:
    request = Request(target=target or Target(scale=2), encoding=Encoding(format=format))
    decided = decide(data, MODELS, request, name="scan.tif")
    file, late = write(decided)
    return file, [*decided.notes, *late]


def page(height: int, width: int, channels: int, dtype: type = np.uint8) -> NDArray:
    top = 1 if dtype is np.float32 else np.iinfo(dtype).max
    values = np.random.default_rng(height).random((height, width, channels)) * top
    return values.astype(dtype)[..., 0] if channels == 1 else values.astype(dtype)


PAGES = [page(12, 16, 3), page(9, 5, 1, np.uint16), page(20, 8, 4), page(11, 13, 3, np.float32), page(7, 7, 1)]


@pytest.fixture(scope="module", params=["classic", "big", "big-endian"])
def several(request: pytest.FixtureRequest) -> bytes:
    """Five pages of different sizes and kinds, with their own profiles and resolutions."""
    out = io.BytesIO()
    order = ">" if request.param == "big-endian" else "<"
    with tifffile.TiffWriter(out, bigtiff=request.param == "big", byteorder=order) as file:
        for number, values in enumerate(PAGES):
            coloured = values.ndim == 3
            file.write(
                values,
                photometric="rgb" if coloured else "minisblack",
                extrasamples=["unassalpha"] if coloured and values.shape[2] == 4 else None,
                resolution=(100 + number, 100 + number),
                resolutionunit="INCH",
                iccprofile=PROFILE if number in (0, 2) else None,
                metadata=None,
                description=f"page {number}",
                software="",
                extratags=[(297, 3, 2, (number, len(PAGES)), True)],
                subfiletype=1 if number == 4 else 0,
            )
    return out.getvalue()


def test_each_page_is_enlarged_as_if_it_were_alone(several: bytes) -> None:
    made, notes = enlarged(several)
    assert notes == []
    places = page_places(made)
    assert len(places) == len(PAGES)
    for place, own in zip(places, page_places(several), strict=True):
        alone = enlarged(page_of(several, own))[0]
        found, expected = read_image(page_of(made, place)), read_image(alone)
        assert np.array_equal(found.pixels, expected.pixels)
        assert found.metadata == expected.metadata
        assert found.notes == expected.notes == ()


def test_other_readers_find_all_pages_with_their_properties(several: bytes) -> None:
    with tifffile.TiffFile(io.BytesIO(enlarged(several)[0])) as file:
        assert len(file.pages) == len(PAGES)
        for number, (found, given) in enumerate(zip(file.pages, PAGES, strict=True)):
            values = found.asarray()
            assert values.dtype == given.dtype
            large = given.repeat(2, axis=0).repeat(2, axis=1)
            assert values.shape == large.shape
            if number != 2:  # colours under transparent pixels change
                assert np.abs(values.astype(float) - large).max() <= (0.002 if given.dtype == np.float32 else 1)
            above, below = found.tags["XResolution"].value
            assert above / below == pytest.approx(100 + number, rel=0.01)
            assert ("InterColorProfile" in found.tags) == (number in (0, 2))
            assert found.tags["PageNumber"].value == (number, len(PAGES))
            assert found.tags["ImageDescription"].value == f"page {number}"
            assert found.subfiletype == (1 if number == 4 else 0)


@pytest.mark.parametrize("big", [False, True])
def test_exif_of_each_page_is_kept(big: bool) -> None:
    files = []
    for number in range(3):
        out, exif = io.BytesIO(), Image.Exif()
        exif[271] = f"maker {number}"
        exif.get_ifd(34665)[42036] = f"lens {number}"
        exif.get_ifd(34853)[29] = f"2026:01:0{number}"
        Image.fromarray(page(8, 8, 3)).save(out, "TIFF")
        files.append(tiff_with_blocks(out.getvalue(), exif=exif.tobytes(), iptc=None))
    given = b"".join(joined_pages(iter(files), [()] * 3, big=big))
    for data in (given, enlarged(given)[0]):
        with tifffile.TiffFile(io.BytesIO(data)) as file:
            assert len(file.pages) == 3
            for number, found in enumerate(file.pages):
                assert found.tags["Make"].value == f"maker {number}"
                assert found.tags["ExifTag"].value["LensModel"] == f"lens {number}"
                assert found.tags["GPSTag"].value["GPSDateStamp"] == f"2026:01:0{number}"


def test_exact_size_applies_to_each_page(several: bytes) -> None:
    made, _ = enlarged(several, target=Target(height=24))
    with tifffile.TiffFile(io.BytesIO(made)) as file:
        assert [found.shape[0] for found in file.pages] == [24] * len(PAGES)


def test_size_that_a_page_cannot_reach_is_refused_before_the_work(several: bytes) -> None:
    request = Request(target=Target(height=40), encoding=Encoding(format="tiff"))
    with pytest.raises(UsageError, match=r"scan\.tif, page 2 of 5: 22 x 40 is too large"):
        decide(several, MODELS, request, name="scan.tif")


def test_other_formats_store_the_first_page_with_a_note(several: bytes) -> None:
    made, notes = enlarged(several, format="png")
    assert Image.open(io.BytesIO(made)).size == (32, 24)
    assert notes[0] == "scan.tif has 5 frames or pages; only the first is read"


def test_damaged_page_is_reported_with_its_number_and_nothing_is_written(several: bytes, tmp_path: Path) -> None:
    data = bytearray(several)
    with tifffile.TiffFile(io.BytesIO(several)) as file:
        tag = file.pages[2].tags["BitsPerSample"]
        order, code = file.byteorder, tag.dtype
    place = several.find(struct.pack(f"{order}HH", 258, code), tag.offset - 1)
    data[place : place + 2] = struct.pack(f"{order}H", 259)  # a second compression, without bits
    (tmp_path / "in.tif").write_bytes(data)
    decided = decide(tmp_path / "in.tif", MODELS, Request(target=Target(scale=2)), output=tmp_path / "out.tif")
    with pytest.raises(ImageReadError, match=r"in\.tif, page 3 of 5.*format='png' takes only the first page"):
        write(decided)
    assert [path.name for path in tmp_path.iterdir()] == ["in.tif"]


def test_circular_chain_of_pages_ends(several: bytes) -> None:
    places = page_places(several)
    data = bytearray(page_of(several, places[-1]))
    big, order = several[2:4] in (b"\x2b\0", b"\0\x2b"), "<" if several[:1] == b"I" else ">"
    head, size, inline = (8, 20, 8) if big else (2, 12, 4)
    (count,) = struct.unpack_from(f"{order}{'Q' if big else 'H'}", data, places[-1])
    at = places[-1] + head + count * size
    data[at : at + inline] = struct.pack(f"{order}{'Q' if big else 'I'}", places[-1])
    assert page_places(bytes(data)) == (places[-1],)


@pytest.mark.parametrize("big", [False, True])
def test_files_are_joined_to_both_kinds_of_tiff(big: bool, several: bytes) -> None:
    files = [enlarged(page_of(several, place))[0] for place in page_places(several)]
    marks = [page_marks(several, place) for place in page_places(several)]
    made = b"".join(joined_pages(iter(files), marks, big=big))
    with tifffile.TiffFile(io.BytesIO(made)) as file:
        assert file.is_bigtiff == big
        for found, alone in zip(file.pages, files, strict=True):
            assert np.array_equal(found.asarray(), tifffile.imread(io.BytesIO(alone)))


def test_more_than_4_gib_need_a_bigtiff(monkeypatch: pytest.MonkeyPatch, several: bytes) -> None:
    file = enlarged(page_of(several, page_places(several)[0]))[0]
    monkeypatch.setattr("a2f.imageio.tiff_pages.MAX_CLASSIC", 2 * len(file))
    with pytest.raises(ImageWriteError, match="4 GiB"):
        list(joined_pages(iter([file] * 3), [()] * 3, big=False))
    assert len(list(joined_pages(iter([file] * 3), [()] * 3, big=True))) == 4


def test_one_page_is_computed_at_a_time() -> None:
    out, made = io.BytesIO(), list[int]()
    tifffile.imwrite(out, np.zeros((6, 8, 8), np.uint8), photometric="minisblack", metadata=None)

    class Counts(Nearest):
        def __call__(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
            made.append(1)
            return super().__call__(image)

    models = Models(model="counts", scales=(2,), open=lambda model, scale: Counts())
    decided = decide(out.getvalue(), models, Request(target=Target(scale=2)), name="a.tif")
    assert len(decided.later) == 5
    write(decided)
    assert len(made) == 6
