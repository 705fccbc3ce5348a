"""Extra channels of TIFF files are alpha only if the file says so."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from a2f import load, upscale
from a2f.errors import ImageReadError, LossyFormatError
from a2f.imageio import encode_image, read_image
from a2f.pixels import encode_enlarged, upscale_pixels
from a2f.upscaler import Upscaler

GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.fixture(scope="module")
def network() -> Upscaler:
    return load("sd", scale=2, threads=2).engine


def bands(channels: int, dtype: type = np.uint8) -> np.ndarray:
    """Colours and an extra band with many zeros."""
    rng = np.random.default_rng(3)
    out = rng.integers(0, np.iinfo(dtype).max + 1, (20, 24, channels)).astype(dtype)
    out[:, :12, -1] = 0
    return out


def tiff(pixels: np.ndarray, kind: str | None, **options: Any) -> bytes:
    out = io.BytesIO()
    colours = {"photometric": "minisblack" if pixels.shape[2] < 3 else "rgb", "planarconfig": "contig"}
    tifffile.imwrite(out, pixels, extrasamples=[kind] if kind else None, metadata=None, **{**colours, **options})
    return out.getvalue()


def kinds_of(blob: bytes) -> tuple[int, ...]:
    with tifffile.TiffFile(io.BytesIO(blob)) as file:
        return tuple(int(kind) for kind in file.pages[0].extrasamples)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [2, 4])
@pytest.mark.parametrize("big", [False, True])
def test_unspecified_extra_samples_are_data(channels: int, dtype: type, big: bool, network: Upscaler) -> None:
    given = bands(channels, dtype)
    blob = tiff(given, "unspecified", bigtiff=big)
    picture = read_image(blob)
    assert (picture.data_band, picture.has_alpha, picture.is_transparent) == (True, False, False)
    large = b"".join(encode_enlarged(picture, [network], format="tiff"))
    back = read_image(large).pixels
    np.testing.assert_array_equal(back[..., :-1], upscale_pixels(given[..., :-1], [network]))
    np.testing.assert_array_equal(back[..., -1:], upscale_pixels(given[..., -1:], [network]))
    assert kinds_of(large) == (0,)
    assert read_image(large).data_band


def test_two_passes_and_exact_sizes_keep_bands_separate(network: Upscaler) -> None:
    given = bands(4)
    large = upscale_pixels(given, [network, network], size=(90, 77), independent=True)
    np.testing.assert_array_equal(large[..., :3], upscale_pixels(given[..., :3], [network, network], size=(90, 77)))
    np.testing.assert_array_equal(large[..., 3:], upscale_pixels(given[..., 3:], [network, network], size=(90, 77)))


@pytest.mark.parametrize("kind", ["assocalpha", "unassalpha"])
def test_alpha_is_kept_as_alpha(kind: str) -> None:
    pixels = bands(4)
    pixels[..., :3] = np.minimum(pixels[..., :3], pixels[..., 3:])
    picture = read_image(tiff(pixels, kind))
    assert (picture.data_band, picture.is_transparent) == (False, True)
    assert kinds_of(encode_image(picture, format="tiff")) == (2,)


def test_missing_extra_samples_tag() -> None:
    blob = bytearray(tiff(bands(4), "unspecified"))
    at = blob.index(b"\x52\x01\x03\x00\x01\x00\x00\x00")
    blob[at : at + 2] = b"\x51\x01"  # another tag in its place
    assert read_image(bytes(blob)).data_band


def test_golden_tiff_with_an_unspecified_extra_channel(tmp_path: Path) -> None:
    path = GOLDEN / "tiff_rgb_unspecified_extra.tif"
    given = tifffile.imread(path)
    upscale(path, scale=2, output=tmp_path / "out.tif")
    large = tifffile.imread(tmp_path / "out.tif")
    np.testing.assert_array_equal(large[..., :3], upscale(np.ascontiguousarray(given[..., :3]), scale=2))
    np.testing.assert_array_equal(large[..., 3], upscale(np.ascontiguousarray(given[..., 3]), scale=2))
    assert kinds_of((tmp_path / "out.tif").read_bytes()) == (0,)


@pytest.mark.parametrize("format", ["png", "webp", "jpeg", "bmp", "gif", "ppm", "avif"])
def test_formats_without_extra_channels_refuse_or_drop_them(format: str) -> None:
    picture = read_image(tiff(bands(4), "unspecified"))
    with pytest.raises(LossyFormatError, match=r"channel of data behind the colours.*choose tiff"):
        encode_image(picture, format=format)
    back = read_image(encode_image(picture, format=format, force=True))
    assert back.pixels.shape[2] == 3
    if format == "png":
        np.testing.assert_array_equal(back.pixels, bands(4)[..., :3])


def test_more_bands_than_one_are_refused() -> None:
    out = io.BytesIO()
    tifffile.imwrite(out, bands(5), photometric="rgb", planarconfig="contig", extrasamples=["unspecified"] * 2)
    with pytest.raises(ImageReadError, match="5 channels"):
        read_image(out.getvalue())


def test_cmyk_with_a_spot_colour() -> None:
    pixels = bands(5)
    out = io.BytesIO()
    tifffile.imwrite(out, pixels, photometric="separated", planarconfig="contig", extrasamples=["unspecified"])
    picture = read_image(out.getvalue())
    assert picture.data_band
    np.testing.assert_array_equal(picture.pixels[..., 3], pixels[..., 4])


def test_a_pil_image_with_padding_is_rgb() -> None:
    assert upscale(Image.new("RGBX", (8, 6), (9, 99, 9, 0)), scale=2).mode == "RGB"
