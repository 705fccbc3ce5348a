import numpy as np
import pytest

from a2f.errors import A2FError, LossyFormatError
from a2f.imageio import Metadata, Picture, encode_bands, encode_image, read_image


def a_picture(channels: int, dtype: type) -> Picture:
    top = np.iinfo(dtype).max
    pixels = np.random.default_rng(channels).integers(0, top + 1, size=(61, 37, channels), dtype=dtype)
    return Picture(pixels=pixels, metadata=Metadata(xmp=b"<x:xmpmeta/>", dpi=(300.0, 300.0)), format="png")


def bands_of(picture: Picture, rows: int = 17):
    return (picture.pixels[top : top + rows] for top in range(0, picture.pixels.shape[0], rows))


@pytest.mark.parametrize("format", ["png", "tiff", "jpeg", "webp", "bmp", "ppm"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_file_from_bands_equals_the_file_from_the_whole(channels: int, dtype: type, format: str) -> None:
    picture = a_picture(channels, dtype)
    blob = b"".join(encode_bands(picture, bands_of(picture), size=picture.size, format=format, force=True))
    whole = encode_image(picture, format=format, force=True)
    ours, theirs = read_image(blob), read_image(whole)
    assert (ours.pixels == theirs.pixels).all()
    assert ours.metadata == theirs.metadata


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_ppm_is_written_before_the_next_band_is_made(dtype: type) -> None:
    picture, made = a_picture(3, dtype), []

    def bands():
        for band in bands_of(picture):
            made.append(len(band))
            yield band

    parts = encode_bands(picture, bands(), size=picture.size, format="ppm")
    for number, _ in enumerate(parts):  # the head of the file, then a part for each of these low bands
        assert len(made) == max(1, number)
    assert sum(made) == picture.size[1]


def test_errors_of_the_bands_are_raised() -> None:
    picture = a_picture(3, np.uint8)

    def broken():
        yield picture.pixels[:20]
        raise A2FError("the disk is full")

    with pytest.raises(A2FError, match="the disk is full"):
        encode_bands(picture, broken(), size=picture.size, format="png")


def test_a_lossy_format_is_refused_before_a_band_is_made() -> None:
    picture = a_picture(4, np.uint8)

    def never():
        raise AssertionError("a band was asked for")
        yield

    with pytest.raises(LossyFormatError):
        encode_bands(picture, never(), size=picture.size, format="jpeg")
