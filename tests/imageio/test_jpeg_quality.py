"""The quality of a JPEG from its tables: exact for libjpeg, approximate for other encoders, None for other files."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pyvips
from PIL import Image

from a2f.errors import ImageReadError
from a2f.imageio import estimate_jpeg_quality, quality_of_table, read_image
from a2f.imageio.jpeg_quality import STANDARD, ZIGZAG
from a2f.metrics import psnr_y

PHOTO = Path(__file__).resolve().parents[2] / "examples" / "photos" / "astronaut.png"


def picture(mode: str = "RGB") -> Image.Image:
    rng = np.random.default_rng(0)
    return Image.fromarray(rng.integers(0, 256, (24, 40, 3)).astype(np.uint8)).convert(mode)


def saved(image: Image.Image, format: str = "JPEG", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def segment(marker: int, body: bytes) -> bytes:
    return bytes([0xFF, marker]) + (len(body) + 2).to_bytes(2, "big") + body


def header(tables: bytes, *, frame: int = 0xC0, number: int = 0) -> bytes:
    """The header of a grey JPEG up to its pixels."""
    sizes = bytes([8, 0, 8, 0, 8, 1, 1, 0x11, number])
    return b"\xff\xd8" + segment(0xDB, tables) + segment(frame, sizes) + segment(0xDA, bytes([1, 1, 0, 0, 63, 0]))


def in_file_order(table: list[int]) -> list[int]:
    return [table[place] for place in ZIGZAG]


@pytest.mark.integration
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}], ids=str)
def test_every_quality_of_libjpeg_is_exact(mode: str, options: dict[str, Any]) -> None:
    image = picture(mode)
    found = {quality: estimate_jpeg_quality(saved(image, quality=quality, **options)) for quality in range(1, 101)}
    assert found == {quality: quality for quality in range(1, 101)}


def test_quality_from_paths_bytes_and_streams(tmp_path: Path) -> None:
    blob = saved(picture(), quality=62)
    path = tmp_path / "a.jpg"
    path.write_bytes(blob)
    assert [estimate_jpeg_quality(source) for source in (path, str(path), blob, io.BytesIO(blob))] == [62] * 4
    assert read_image(blob).jpeg_quality == 62
    image: Any
    with Image.open(path) as image:
        assert quality_of_table(image.quantization[0]) == 62
    with pytest.raises(ImageReadError, match="cannot read"):
        estimate_jpeg_quality(tmp_path / "none.jpg")


def test_stream_is_read_up_to_the_pixels() -> None:
    blob = saved(picture(), quality=40)
    stream = io.BytesIO(blob)
    assert estimate_jpeg_quality(stream) == 40
    assert stream.tell() <= blob.index(b"\xff\xda") + 2


def test_first_picture_of_a_file_gives_the_quality() -> None:
    blob = saved(picture(), "MPO", save_all=True, append_images=[picture("L")], quality=35)
    assert estimate_jpeg_quality(blob) == 35
    assert estimate_jpeg_quality(blob + saved(picture(), quality=90)) == 35


def test_metadata_before_the_tables() -> None:
    exif = Image.Exif()
    exif[0x010E] = "x" * 60000
    assert estimate_jpeg_quality(saved(picture(), quality=71, exif=exif, icc_profile=b"y" * 150_000)) == 71


def test_luma_counts_where_tables_differ() -> None:
    luma, chroma = [3] * 64, [99] * 64
    both = saved(picture(), qtables=[luma, chroma])
    assert estimate_jpeg_quality(both) == estimate_jpeg_quality(saved(picture("L"), qtables=[luma]))
    order = bytes([0, *[99] * 64, 2, *in_file_order(list(STANDARD))])  # numbers 0 and 2; the picture takes number 2
    assert estimate_jpeg_quality(header(order, number=2)) == 50


@pytest.mark.parametrize("quality", [20, 50, 75, 90])
def test_non_standard_tables(quality: int) -> None:
    """Tables that are finer than libjpeg's at some frequencies and coarser at others."""
    percent = 5000 // quality if quality < 50 else 200 - 2 * quality
    rng = np.random.default_rng(quality)
    bent = (np.array(STANDARD) * percent / 100 * rng.uniform(0.6, 1.4, 64)).clip(1, 255).round().astype(int).tolist()
    found = estimate_jpeg_quality(saved(picture(), qtables=[bent, bent]))
    assert found == pytest.approx(quality, abs=5)


@pytest.mark.parametrize("number", range(1, 9))
@pytest.mark.parametrize("quality", [50, 75, 90])
def test_tables_of_other_encoders_are_rated_by_their_loss(number: int, quality: int) -> None:
    """For mozjpeg's eight tables in libvips, the quality is close to that of libjpeg with equal PSNR."""
    with Image.open(PHOTO) as image:
        photo = np.asarray(image.convert("RGB").resize((128, 128)))

    def psnr(blob: bytes) -> float:
        return psnr_y(read_image(blob).pixels, photo, border=0)

    other = pyvips.Image.new_from_array(photo).write_to_buffer(
        ".jpg", Q=quality, quant_table=number, subsample_mode="on"
    )
    found = estimate_jpeg_quality(other)
    assert found is not None
    near = [psnr(saved(Image.fromarray(photo), quality=min(max(found + by, 1), 100))) for by in (-8, 8)]
    assert near[0] < psnr(other) < near[1]


def test_coarser_tables_have_a_lower_quality() -> None:
    found = [estimate_jpeg_quality(saved(picture(), qtables=[[step] * 64] * 2)) for step in (1, 2, 4, 8, 16, 64, 255)]
    assert found[0] == 100
    assert found == sorted(found, reverse=True)
    assert len(set(found)) == len(found)
    assert found[-1] < 10


def test_tables_of_16_bits() -> None:
    steps = [step * 5 for step in STANDARD]  # quality 10, not held to 255
    wide = b"\x10" + b"".join(step.to_bytes(2, "big") for step in in_file_order(steps))
    assert estimate_jpeg_quality(header(wide, frame=0xC1)) == 10


def test_bytes_outside_of_segments_are_skipped() -> None:
    blob = saved(picture(), quality=44)
    assert estimate_jpeg_quality(blob[:2] + b"\xff\xff\0\1\2\xff" + blob[2:]) == 44
    assert estimate_jpeg_quality(b"\xff\xd8" + bytes(10**6) + blob[2:]) is None  # too much of it


def test_lossless_jpeg_has_no_quality() -> None:
    standard = bytes([0, *in_file_order(list(STANDARD))])
    assert estimate_jpeg_quality(header(standard)) == 50
    assert estimate_jpeg_quality(header(standard, frame=0xC3)) is None


@pytest.mark.integration
def test_truncated_headers_give_the_right_quality_or_none() -> None:
    blob = saved(picture(), quality=55)
    found = [estimate_jpeg_quality(blob[:cut]) for cut in range(len(blob))]
    first = found.index(55)
    assert set(found[:first]) == {None}
    assert set(found[first:]) == {55}
    assert first <= blob.index(b"\xff\xda")
    for length in (b"\0\0", b"\0\1", b"\xff\xff"):
        assert estimate_jpeg_quality(b"\xff\xd8\xff\xdb" + length) is None


@pytest.mark.parametrize("format", ["PNG", "GIF", "BMP", "TIFF", "PPM", "WEBP", "AVIF"])
def test_other_formats_have_no_quality(format: str) -> None:
    blob = saved(picture(), format)
    assert estimate_jpeg_quality(blob) is None
    assert read_image(blob).jpeg_quality is None


def test_empty_data_has_no_quality() -> None:
    assert [estimate_jpeg_quality(blob) for blob in (b"", b"\xff", b"\xff\xd8", b"\xff\xd8\xff\xd9", b"text")] == [
        None
    ] * 5
