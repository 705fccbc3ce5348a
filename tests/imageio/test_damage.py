"""Damaged or malicious files give one clear error quickly."""

import io
import os
import struct
import threading
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pyvips
import tifffile
from PIL import Image

from a2f.errors import A2FError, ImageReadError, PixelLimitError, TruncatedImageError
from a2f.imageio import FORMATS, Metadata, Picture, encode_image, read_image
from a2f.imageio.exif import first_directory, set_number
from a2f.imageio.tiff import BYTES_OF_STRIPS, TILES, is_cut_off


def waves(height: int = 40, width: int = 50) -> np.ndarray:
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([127 + 100 * np.sin(x / 5 + c) * np.cos(y / 7) for c in range(3)], -1).astype(np.uint8)


def saved(image: Image.Image, format: str, **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, format, **options)
    return out.getvalue()


@pytest.mark.parametrize(("kind", "told"), [(b"CgBI", "iOS app"), (b"IDAT", "not with IDAT"), (b"\xff\0\0\1", "xff")])
def test_a_png_that_begins_with_another_chunk(kind: bytes, told: str) -> None:
    blob = saved(Image.fromarray(waves()), "PNG")
    first = struct.pack(">I", 4) + kind + b"\x50\0\x20\2" + struct.pack(">I", zlib.crc32(kind + b"\x50\0\x20\2"))
    for max_memory in (None, 10**9):
        with pytest.raises(ImageReadError, match=told) as caught:
            read_image(blob[:8] + first + blob[8:], max_memory=max_memory)
        assert not isinstance(caught.value, PixelLimitError)


@pytest.mark.integration
@pytest.mark.parametrize("format", list(FORMATS))
def test_random_damage_raises_only_our_errors(format: str) -> None:
    exif = Image.Exif()
    exif[0x010F], exif[0x0112] = "Maker", 6
    metadata = Metadata(exif=exif.tobytes(), xmp=b"<x/>", dpi=(300.0, 300.0))
    blob = encode_image(Picture(pixels=waves(), metadata=metadata), format=format)
    rng = np.random.default_rng(5)
    outcomes, messages = set(), set()
    for _ in range(150):
        damaged = bytearray(blob)
        for _ in range(rng.integers(1, 6)):
            at = int(rng.integers(0, len(damaged)))
            if rng.random() < 0.6:
                damaged[at] = rng.integers(0, 256)
            else:
                del damaged[at : at + int(rng.integers(1, 9))]
        for allow in (False, True):
            try:
                picture = read_image(bytes(damaged), allow_truncated=allow, max_pixels=10**6)
                encode_image(picture, format="tiff", force=True)
                outcomes.add("read")
            except A2FError as error:
                outcomes.add("refused")
                messages.add(str(error))
    assert outcomes == {"read", "refused"}
    assert not [m for m in messages if "\n" in m or " at 0x" in m]


def png_header(width: int, height: int) -> bytes:
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body))


@pytest.mark.parametrize("blob", [png_header(0, 5), png_header(5, 0), b"P5 0 5 255\n", b"P4 3 0\n"])
def test_files_without_pixels(blob: bytes) -> None:
    with pytest.raises(ImageReadError, match=r"is empty \(\d x \d pixels\)"):
        read_image(blob)


@pytest.mark.integration
@pytest.mark.parametrize(
    ("format", "options"), [("TIFF", {"compression": "group4"}), ("BMP", {}), ("PPM", {}), ("PNG", {})]
)
def test_pixel_limit_error_is_ours_in_every_format(format: str, options: dict) -> None:
    """Sizes above the limit of Pillow (179 million pixels), and below and above our limit."""
    large = saved(Image.new("1", (20000, 9000)), format, **options)
    assert read_image(large).size == (20000, 9000)
    with pytest.raises(PixelLimitError, match="20000 x 9000 = 180,000,000 pixels, more than the limit of 179,999,999"):
        read_image(large, max_pixels=179_999_999)


@pytest.mark.parametrize("allow", [False, True])
@pytest.mark.parametrize(
    "header",
    [
        b"P6 60000 60000 255\n",
        b"BM" + struct.pack("<IIIIiiHHIIiiII", 99, 0, 54, 40, 60000, 60000, 1, 24, 0, 0, 0, 0, 0, 0),
        png_header(60000, 60000),
    ],
)
def test_header_without_pixels_allocates_no_memory(header: bytes, allow: bool) -> None:
    with pytest.raises(PixelLimitError, match="3,600,000,000 pixels"):
        read_image(header, allow_truncated=allow)


def test_a_long_run_of_blanks_is_read_once() -> None:
    """A regular expression with backtracking over 200,000 blanks would not end."""
    with pytest.raises(ImageReadError, match="names no width"):
        read_image(b"P5" + b" " * 200_000 + b"x")


@pytest.mark.parametrize("text", [b"BMW is a car maker", b"P7\nWIDTH 3\n", b"GIF is a format", b"RIFFled through"])
def test_text_with_the_start_of_an_image(text: bytes) -> None:
    with pytest.raises(ImageReadError, match="not an image of a known format"):
        read_image(text)


def test_large_non_image_files_are_not_read(tmp_path: Path) -> None:
    path = tmp_path / "film.mkv"
    with path.open("wb") as file:
        file.write(b"\x1aE\xdf\xa3")
        file.truncate(2**40)  # a sparse terabyte
    with pytest.raises(ImageReadError, match="not an image"):
        read_image(path)


def test_pipes_are_read(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    child = os.fork() if hasattr(os, "fork") else pytest.skip("needs fork")
    if child == 0:
        path.write_bytes(saved(Image.fromarray(waves()), "PNG"))
        os._exit(0)
    picture = read_image(path)
    os.waitpid(child, 0)
    np.testing.assert_array_equal(picture.pixels, waves())


@pytest.mark.parametrize("format", ["webp", "tiff", "avif"])
def test_allow_truncated_is_not_suggested_without_readable_pixels(format: str) -> None:
    blob = encode_image(Picture(pixels=waves()), format=format)
    for allow in (False, True):
        with pytest.raises(TruncatedImageError, match="too much of it is missing"):
            read_image(blob[: len(blob) // 2], allow_truncated=allow)


@pytest.mark.integration
def test_damage_is_reported_while_other_threads_read() -> None:
    """libvips has one error buffer for all threads, and each thread may clear it."""
    whole = saved(Image.fromarray(waves()), "PNG")
    ended = threading.Event()

    def read_on() -> None:
        while not ended.is_set():
            read_image(whole)

    others = [threading.Thread(target=read_on) for _ in range(2)]
    for other in others:
        other.start()
    try:
        for _ in range(200):
            with pytest.raises(TruncatedImageError, match="allow_truncated=True"):
                read_image(whole[: len(whole) // 2])
            assert read_image(whole[: len(whole) // 2], allow_truncated=True).size == (50, 40)
    finally:
        ended.set()
        for other in others:
            other.join()


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("lost", [1, 40, 150])
def test_truncated_tiff(mode: str, compression: str | None, lost: int) -> None:
    """libvips reports nothing here. Some programs write the directory before the pixels like this."""
    out = io.BytesIO()
    tifffile.imwrite(out, np.asarray(Image.fromarray(waves()).convert(mode)), compression=compression)
    whole = out.getvalue()
    assert int.from_bytes(whole[4:8], "little") < 100
    assert read_image(whole).size == (50, 40)
    with pytest.raises(TruncatedImageError, match="allow_truncated=True"):
        read_image(whole[:-lost])
    assert read_image(whole[:-lost], allow_truncated=True).size == (50, 40)


@pytest.mark.parametrize("counts", [0, 10**6])
def test_tiff_with_wrong_byte_counts(counts: int) -> None:
    blob = bytearray(saved(Image.fromarray(waves()), "TIFF"))
    set_number(blob, first_directory(blob), BYTES_OF_STRIPS, counts)
    assert not is_cut_off(bytes(blob))
    assert is_cut_off(bytes(blob[:-1]))


def test_tiff_tile_beyond_the_end_of_the_file() -> None:
    options = {"tile": True, "tile_width": 16, "tile_height": 16}
    blob = bytearray(pyvips.Image.new_from_array(waves()).tiffsave_buffer(**options))
    assert not is_cut_off(bytes(blob))
    place = first_directory(blob).entries[TILES]
    struct.pack_into("<I", blob, int.from_bytes(blob[place + 8 : place + 12], "little"), len(blob) - 100)
    assert is_cut_off(bytes(blob))


def test_unused_bytes_of_a_tiff() -> None:
    """Some programs write such files; all samples are present."""
    blob = bytearray(saved(Image.fromarray(waves()), "TIFF"))
    set_number(blob, first_directory(blob), BYTES_OF_STRIPS, 10**6)
    assert (read_image(bytes(blob)).pixels == waves()).all()


def test_truncated_gif() -> None:
    blob = encode_image(Picture(pixels=waves()), format="gif")
    with pytest.raises(TruncatedImageError, match="allow_truncated=True"):
        read_image(blob[: len(blob) // 2])
    assert read_image(blob[: len(blob) // 2], allow_truncated=True).size == (50, 40)


def test_absurd_resolutions_are_dropped(capfd: pytest.CaptureFixture[str]) -> None:
    blob = bytearray(saved(Image.fromarray(waves()), "BMP"))
    blob[38:42] = struct.pack("<i", 2**31 - 1)
    picture = read_image(bytes(blob))
    assert picture.metadata.dpi is None
    encode_image(picture, format="tiff")
    assert capfd.readouterr().err == ""
