"""TIFF files that would be read wrongly are refused with a reason."""

import io
import struct
from typing import Any

import numpy as np
import pytest
import pyvips
import tifffile
from PIL import Image

from a2f.errors import ImageReadError, TruncatedImageError
from a2f.imageio import read_image
from a2f.imageio.tiff import PHOTOMETRIC
from a2f.imageio.tiff_damage import TILE_HEIGHT, TILE_WIDTH, tiles_as_strips
from a2f.imageio.tiff_directory import CLASSIC, directory_bytes, first_fields, number_field, with_number


def waves(height: int = 40, width: int = 64) -> np.ndarray:
    y, x = np.mgrid[0:height, 0:width]
    noise = np.random.default_rng(0).integers(0, 40, (height, width, 3))
    return (np.stack([90 + 60 * np.sin(x / 5 + c) * np.cos(y / 7) for c in range(3)], -1) + noise).astype(np.uint8)


def tiff(pixels: np.ndarray, **options: Any) -> bytes:
    out = io.BytesIO()
    tifffile.imwrite(out, pixels, metadata=None, **{"photometric": "rgb", **options})
    return out.getvalue()


@pytest.mark.parametrize("allow", [False, True])
@pytest.mark.parametrize("options", [{}, {"tile": (16, 16)}])
@pytest.mark.parametrize(
    ("compression", "called"),
    [("zstd", "Zstandard"), ("lzma", "LZMA"), ("lerc", "LERC"), ("png", "PNG"), ("jpegxl", "JPEG XL"),
     ("jpeg2000", "JPEG 2000")],
)  # fmt: skip
def test_unsupported_compression(compression: str, called: str, options: dict, allow: bool) -> None:
    """The picture would be all black, so no part can be read."""
    with pytest.raises(ImageReadError, match=rf"compressed with {called}.*save it") as caught:
        read_image(tiff(waves(), compression=compression, **options), allow_truncated=allow)
    assert not isinstance(caught.value, TruncatedImageError)


def test_unnamed_compression() -> None:
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
        ("lzw", {"tile": (16, 32)}),
        ("lzw", {"tile": (16, 32), "bigtiff": True, "byteorder": ">"}),
    ],
)
def test_damage_inside_the_pixel_data(compression: str, options: dict) -> None:
    """libvips reports an error, not a truncated file, and returns black or wrong pixels."""
    blob = bytearray(tiff(waves(), compression=compression, **options))
    middle = len(blob) // 2
    blob[middle : middle + 40] = np.random.default_rng(1).integers(0, 256, 40).astype(np.uint8).tobytes()
    with pytest.raises(TruncatedImageError, match="allow_truncated=True"):
        read_image(bytes(blob))
    picture = read_image(bytes(blob), allow_truncated=True)
    assert picture.size == (64, 40)
    assert "truncated or damaged" in picture.notes[-1]


@pytest.mark.parametrize("options", [{}, {"tile": (16, 32)}, {"tile": (16, 32), "bigtiff": True}])
@pytest.mark.parametrize("compression", [None, "deflate", "lzw", "packbits", "webp"])
def test_complete_files_are_not_reported_as_damaged(compression: str | None, options: dict) -> None:
    options = options | {"predictor": compression in ("deflate", "lzw")}
    options |= {"compressionargs": {"lossless": True}} if compression == "webp" else {}
    tags = [(65000, "s", 0, "a tag that nobody knows", True)]
    blob = tiff(waves(), compression=compression, extratags=tags, **options)
    np.testing.assert_array_equal(read_image(blob).pixels, waves())


@pytest.mark.parametrize("compression", [None, "deflate", "lzw", "packbits"])
def test_complete_planes_are_not_reported_as_damaged(compression: str | None) -> None:
    blob = tiff(np.moveaxis(waves(), 2, 0), planarconfig="separate", rowsperstrip=7, compression=compression)
    np.testing.assert_array_equal(read_image(blob).pixels, waves())


def test_deflate_with_reversed_bits() -> None:
    """FillOrder 2 (TIFF 6.0, Section 8); libtiff reverses the bits."""
    blob = tiff(waves(), compression="deflate")
    fields = [*first_fields(blob), number_field(266, 2, "<")]
    with tifffile.TiffFile(io.BytesIO(blob)) as file:
        (at,), (count,) = file.pages[0].dataoffsets, file.pages[0].databytecounts
    turned = np.packbits(np.unpackbits(np.frombuffer(blob[at : at + count], np.uint8)), bitorder="little").tobytes()
    blob = blob[:4] + struct.pack("<I", len(blob)) + blob[8:at] + turned + blob[at + count :]
    blob += directory_bytes(fields, len(blob), CLASSIC)
    np.testing.assert_array_equal(read_image(blob).pixels, waves())


def test_oversized_tiles_are_not_decoded_twice() -> None:
    blob = tiff(waves(), compression="lzw", tile=(16, 16))
    assert tiles_as_strips(blob) is not None
    assert tiles_as_strips(with_number(blob, TILE_WIDTH, 2**30)) is None
    assert tiles_as_strips(with_number(blob, TILE_HEIGHT, 4)) is None
    assert tiles_as_strips(tiff(waves(), compression="lzw")) is None


def test_complete_jpeg_tiles_are_not_reported_as_damaged() -> None:
    smooth = np.full((48, 64, 3), (200, 100, 50), np.uint8)
    options = {"compression": "jpeg", "Q": 75, "tile": True, "tile_width": 16, "tile_height": 16}
    blob = pyvips.Image.new_from_array(smooth).tiffsave_buffer(**options)
    assert np.abs(read_image(blob).pixels.astype(int) - smooth).max() <= 3


def renamed(blob: bytes, photometric: int) -> bytes:
    """The same samples under another interpretation."""
    return with_number(blob, PHOTOMETRIC, photometric)


@pytest.mark.parametrize("options", [{}, {"compression": "deflate"}, {"subsampling": (1, 1)}])
def test_ycbcr_outside_jpeg(options: dict) -> None:
    blob = tiff(waves(), photometric="ycbcr", **options)
    with pytest.raises(ImageReadError, match=r"YCbCr.*compressed with JPEG.*save it in RGB"):
        read_image(blob)


def test_ycbcr_of_pillow() -> None:
    out = io.BytesIO()
    Image.fromarray(waves()).convert("YCbCr").save(out, "TIFF")
    with pytest.raises(ImageReadError, match="YCbCr"):
        read_image(out.getvalue())


def test_ycbcr_with_jpeg_compression_is_read() -> None:
    smooth = np.full((40, 64, 3), (200, 100, 50), np.uint8)
    blob = pyvips.Image.new_from_array(smooth).tiffsave_buffer(compression="jpeg", Q=75)
    with tifffile.TiffFile(io.BytesIO(blob)) as file:
        assert file.pages[0].photometric == tifffile.PHOTOMETRIC.YCBCR
    assert np.abs(read_image(blob).pixels.astype(int) - smooth).max() <= 3


@pytest.mark.parametrize("photometric", [7, 10, 32844, 51178])
def test_unsupported_photometric_interpretations(photometric: int) -> None:
    with pytest.raises(ImageReadError, match=rf"PhotometricInterpretation {photometric}.*save it in grey or RGB"):
        read_image(renamed(tiff(waves()), photometric))


@pytest.mark.parametrize("photometric", ["minisblack", "miniswhite"])
@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_extra_bands_after_grey(photometric: str, channels: int, dtype: type) -> None:
    """Three or four bands of a multispectral picture are not RGB."""
    bands = np.dstack([waves()] * 2)[..., :channels].astype(dtype)
    with pytest.raises(ImageReadError, match=rf"{channels} channels, of which 1 is grey.*at most one more is read"):
        read_image(tiff(bands, photometric=photometric, planarconfig="contig"))


def test_extra_bands_after_grey_in_planes() -> None:
    bands = np.moveaxis(waves(), 2, 0)
    with pytest.raises(ImageReadError, match="3 channels, of which 1 is grey"):
        read_image(tiff(bands, photometric="minisblack", planarconfig="separate"))


def test_alpha_and_an_extra_band_after_grey() -> None:
    options = {"photometric": "minisblack", "planarconfig": "contig", "extrasamples": ["unassalpha", "unspecified"]}
    with pytest.raises(ImageReadError, match="3 channels"):
        read_image(tiff(waves(), **options))


@pytest.mark.parametrize(("photometric", "called"), [(2, "RGB"), (5, "inks"), (6, "YCbCr"), (8, "Lab"), (9, "Lab")])
def test_too_few_channels(photometric: int, called: str) -> None:
    blob = tiff(waves()[..., :2], photometric="minisblack", planarconfig="contig", extrasamples=["unspecified"])
    with pytest.raises(ImageReadError, match=f"{called}.*2 channels"):
        read_image(renamed(blob, photometric))


@pytest.mark.parametrize("tags", [[(332, "H", 1, 2, True)], [(332, "H", 1, 2, True), (334, "H", 1, 4, True)]])
def test_inks_that_are_not_cmyk(tags: list) -> None:
    inks = np.dstack([waves(), waves()[..., 0]])
    with pytest.raises(ImageReadError, match="inks other than cyan, magenta, yellow and black"):
        read_image(tiff(inks, photometric="separated", extratags=tags))
    assert read_image(tiff(inks, photometric="separated", extratags=[(332, "H", 1, 1, True)])).pixels.shape[2] == 3


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.int8, np.int16, np.uint32])
@pytest.mark.parametrize("photometric", ["cielab", "icclab", "separated"])
def test_convertible_colours_with_unsupported_sample_types(photometric: str, dtype: type) -> None:
    samples = waves() if photometric != "separated" else np.dstack([waves(), waves()[..., 0]])
    with pytest.raises(ImageReadError, match=r"(Lab|inks).*unsigned integers of 8 or 16 bits"):
        read_image(tiff((samples // 2).astype(dtype), photometric=photometric))


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("channels", [1, 2])
def test_floating_point_without_a_white_level(dtype: type, channels: int) -> None:
    """The value of black is unknown."""
    grey = waves()[..., :channels].astype(dtype) / 255
    options: dict[str, Any] = {"photometric": "miniswhite", "planarconfig": "contig"}
    options |= {"extrasamples": ["unassalpha"]} if channels == 2 else {}
    with pytest.raises(ImageReadError, match=r"MinIsWhite.*save it with 0 as black"):
        read_image(tiff(grey.squeeze(), **options))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_integers_without_a_white_level_are_read(dtype: type) -> None:
    grey = waves()[..., 0].astype(dtype)
    np.testing.assert_array_equal(
        read_image(tiff(grey, photometric="miniswhite")).pixels[..., 0], np.iinfo(dtype).max - grey
    )
