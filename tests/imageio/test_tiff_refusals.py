"""TIFFs that would be read as something else than they are: each is refused with its reason."""

import io
import struct

import numpy as np
import pytest
import tifffile

from a2f.errors import ImageReadError, TruncatedImageError
from a2f.imageio import read_image


def waves(height: int = 40, width: int = 64) -> np.ndarray:
    y, x = np.mgrid[0:height, 0:width]
    noise = np.random.default_rng(0).integers(0, 40, (height, width, 3))
    return (np.stack([90 + 60 * np.sin(x / 5 + c) * np.cos(y / 7) for c in range(3)], -1) + noise).astype(np.uint8)


def tiff(pixels: np.ndarray, **options: object) -> bytes:
    out = io.BytesIO()
    tifffile.imwrite(out, pixels, metadata=None, **{"photometric": "rgb", **options})
    return out.getvalue()


@pytest.mark.parametrize("allow", [False, True])
@pytest.mark.parametrize(
    ("compression", "called"),
    [("zstd", "Zstandard"), ("lzma", "LZMA"), ("lerc", "LERC"), ("png", "PNG"), ("jpegxl", "JPEG XL"),
     ("jpeg2000", "JPEG 2000")],
)  # fmt: skip
def test_a_compression_that_is_not_read(compression: str, called: str, allow: bool) -> None:
    """It would be all black: nothing of it can be taken."""
    with pytest.raises(ImageReadError, match=rf"compressed with {called}.*save it") as caught:
        read_image(tiff(waves(), compression=compression), allow_truncated=allow)
    assert not isinstance(caught.value, TruncatedImageError)


def test_a_compression_without_a_name() -> None:
    blob = tiff(waves())
    at = blob.index(struct.pack("<HHIH", 259, 3, 1, 1))
    with pytest.raises(ImageReadError, match="compressed with a method that is not known here \\(61234\\)"):
        read_image(blob[: at + 8] + struct.pack("<H", 61234) + blob[at + 10 :])


@pytest.mark.parametrize(
    ("compression", "options"),
    [
        ("deflate", {}),
        ("deflate", {"rowsperstrip": 8}),
        ("deflate", {"tile": (32, 32)}),
        ("deflate", {"tile": (32, 32), "bigtiff": True}),
        ("lzw", {}),
        ("lzw", {"rowsperstrip": 8}),
    ],
)
def test_damage_within(compression: str, options: dict) -> None:
    """libvips calls it an error, not a cut-off file, and leaves black or garbage."""
    blob = bytearray(tiff(waves(), compression=compression, **options))
    middle = len(blob) // 2
    blob[middle : middle + 40] = np.random.default_rng(1).integers(0, 256, 40).astype(np.uint8).tobytes()
    with pytest.raises(TruncatedImageError, match="--allow-truncated"):
        read_image(bytes(blob))
    picture = read_image(bytes(blob), allow_truncated=True)
    assert picture.size == (64, 40)
    assert "truncated or damaged" in picture.notes[-1]


@pytest.mark.parametrize("compression", [None, "deflate", "lzw", "packbits"])
def test_whole_files_are_whole(compression: str | None) -> None:
    tags = [(65000, "s", 0, "a tag that nobody knows", True)]
    np.testing.assert_array_equal(read_image(tiff(waves(), compression=compression, extratags=tags)).pixels, waves())
