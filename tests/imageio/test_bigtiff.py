"""Reading and writing BigTIFF files."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from a2f.errors import TruncatedImageError
from a2f.imageio import FORMATS, Metadata, Picture, encode_image, read_image, write
from a2f.imageio.tiff_directory import layout_of

GOLDEN = Path(__file__).parents[1] / "golden"


def colours(height: int = 60, width: int = 80, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, channels)).astype(np.uint8)


def bigtiff(**options: Any) -> bytes:
    out = io.BytesIO()
    tifffile.imwrite(out, colours(), bigtiff=True, photometric="rgb", metadata=None, **options)
    return out.getvalue()


def test_golden_bigtiff_is_truncated() -> None:
    with pytest.raises(TruncatedImageError, match="allow_truncated=True"):
        read_image(GOLDEN / "bigtiff_cut_off.tif")
    picture = read_image(GOLDEN / "bigtiff_cut_off.tif", allow_truncated=True)
    assert any("truncated" in note for note in picture.notes)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    "options", [{}, {"rowsperstrip": 7}, {"tile": (16, 16)}, {"compression": "zlib", "rowsperstrip": 9}]
)
def test_truncated_bigtiff_is_reported(order: str, options: dict) -> None:
    whole = bigtiff(byteorder=order, **options)
    assert layout_of(whole).big
    np.testing.assert_array_equal(read_image(whole).pixels, colours())
    for share in (0.98, 0.7, 0.3, 0.1):
        cut = whole[: int(len(whole) * share)]
        with pytest.raises(TruncatedImageError):
            read_image(cut)


@pytest.mark.parametrize("order", ["<", ">"])
def test_tags_of_a_bigtiff_survive(order: str) -> None:
    blob = bigtiff(byteorder=order, description="a hill", software="camera", resolution=(300, 150), resolutionunit=2)
    metadata = read_image(blob).metadata
    tags = Image.Exif()
    tags.load(metadata.exif)
    assert (tags[270], tags[305]) == ("a hill", "camera")
    assert metadata.dpi == pytest.approx((300, 150))


def test_results_over_four_gigabytes_are_bigtiff(monkeypatch) -> None:
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    exif.get_ifd(0x8769)[0xA434] = "Lens"
    metadata = Metadata(exif=exif.tobytes(), iptc=b"\x1c\x02\x05\x00\x01T", dpi=(300.0, 300.0), xmp=b"<x/>")
    picture = Picture(pixels=colours(), metadata=metadata)
    assert not layout_of(encode_image(picture, format="tiff")).big
    monkeypatch.setattr(write, "BIGTIFF_FROM", picture.pixels.nbytes)
    blob = encode_image(picture, format="tiff")
    assert layout_of(blob).big
    back = read_image(blob)
    np.testing.assert_array_equal(back.pixels, picture.pixels)
    assert (back.metadata.iptc, back.metadata.xmp) == (metadata.iptc, metadata.xmp)
    tags = Image.Exif()
    tags.load(back.metadata.exif)
    assert (tags[0x010F], tags.get_ifd(0x8769)[0xA434]) == ("Maker", "Lens")
    with tifffile.TiffFile(io.BytesIO(blob)) as file:
        assert file.is_bigtiff
        np.testing.assert_array_equal(file.asarray(), picture.pixels)
        assert file.pages[0].tags[34665].value["LensModel"] == "Lens"


def test_other_formats_stay_below_four_gigabytes() -> None:
    """BMP and WebP are limited to 4 GiB, but their limit of the sides is reached first."""
    for name, channels in (("bmp", 4), ("webp", 4)):
        assert FORMATS[name].max_side ** 2 * channels + 4096 < 2**32
