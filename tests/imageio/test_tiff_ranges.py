"""TIFF files with bands of another range than the colours, and with no-data values."""

import io
from typing import Any

import numpy as np
import pytest
import tifffile

from a2f.errors import ImageReadError
from a2f.imageio import encode_image, read_image


def tiff(pixels: np.ndarray, **options: Any) -> bytes:
    out = io.BytesIO()
    pixels = pixels[..., 0] if pixels.shape[2:] == (1,) else pixels
    planes = {"planarconfig": "contig"} if pixels.ndim == 3 else {}
    tifffile.imwrite(out, pixels, metadata=None, **planes, **options)
    return out.getvalue()


def colours(channels: int, scale: float = 1) -> np.ndarray:
    return (np.random.default_rng(1).random((12, 16, channels)) * scale).astype(np.float32)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("level", [0, 0.5, 1, 1.75])
def test_band_within_the_range_of_the_colours(channels: int, level: float) -> None:
    """The band is kept, and the colours are the same as without it."""
    given, kind = colours(channels, 2), "rgb" if channels == 3 else "minisblack"
    given[0, 0] = 2
    band = np.full((12, 16, 1), level, np.float32)
    picture = read_image(tiff(np.dstack([given, band]), photometric=kind, extrasamples=["unspecified"]))
    alone = read_image(tiff(given, photometric=kind))
    assert picture.data_band
    assert picture.light == alone.light
    np.testing.assert_array_equal(picture.pixels[..., :-1], alone.pixels)
    back = tifffile.imread(io.BytesIO(encode_image(picture, format="tiff")))
    np.testing.assert_allclose(back[..., -1], level, atol=1e-5)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("level", [255, 5000, -9999])
def test_band_outside_of_the_range_of_the_colours(channels: int, level: float) -> None:
    """Such a band would reduce the colours to a part of [0, 1]."""
    band = np.full((12, 16, 1), level, np.float32)
    kind = "rgb" if channels == 3 else "minisblack"
    blob = tiff(np.dstack([colours(channels), band]), photometric=kind, extrasamples=["unspecified"])
    with pytest.raises(ImageReadError, match=rf"from {level} to {level}.*from 0 to 1.*save it as its own file"):
        read_image(blob)


def test_band_with_nan() -> None:
    band = np.full((12, 16, 1), np.nan, np.float32)
    with pytest.raises(ImageReadError, match="192 values that are NaN"):
        read_image(tiff(np.dstack([colours(3), band]), photometric="rgb", extrasamples=["unspecified"]))


def no_data(value: str) -> dict:
    return {"extratags": [(42113, "s", 0, value, True)]}


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.uint8, np.uint16])
@pytest.mark.parametrize("text", ["7", "7.0", " 7 "])
def test_no_data_is_reported(dtype: type, text: str) -> None:
    terrain = np.arange(100, 192).reshape(4, 23).astype(dtype)
    terrain[:2, :3] = 7
    picture = read_image(tiff(terrain, photometric="minisblack", **no_data(text)), name="dem.tif")
    (note,) = picture.notes
    assert note == (
        "dem.tif has 6 pixels of its value for no data (7): they are enlarged like all others, and blend with those "
        "beside them"
    )


def test_no_data_far_below_in_floating_point() -> None:
    terrain = np.linspace(1000, 1100, 60).reshape(6, 10).astype(np.float32)
    terrain[0, :4] = -3.4028234663852886e38
    picture = read_image(tiff(terrain, photometric="minisblack", **no_data("-3.4028234663852886e+38")))
    assert "4 pixels of its value for no data (-3.40282e+38)" in picture.notes[0]


def test_no_data_in_colours_is_of_all_channels() -> None:
    rgb = np.full((4, 5, 3), 9, np.uint8)
    rgb[0, 0], rgb[0, 1, 0] = 0, 0
    picture = read_image(tiff(rgb, photometric="rgb", **no_data("0")))
    assert "1 pixel of" in picture.notes[0]


def test_no_data_where_white_is_0() -> None:
    grey = np.full((4, 5), 9, np.uint8)
    grey[0, :2] = 255
    assert (
        "2 pixels of its value for no data (255)"
        in read_image(tiff(grey, photometric="miniswhite", **no_data("255"))).notes[0]
    )
    assert read_image(tiff(grey, photometric="miniswhite", **no_data("0"))).notes == ()


@pytest.mark.parametrize("text", ["8", "300", "-9999", "nan", "none", ""])
def test_no_data_is_not_reported_without_such_pixels(text: str) -> None:
    grey = np.full((4, 5), 9, np.uint8)
    assert read_image(tiff(grey, photometric="minisblack", **no_data(text))).notes == ()
