"""BMP and PNM of every kind and depth, complete and truncated."""

import io
import struct

import numpy as np
import pytest
from PIL import Image

from a2f.errors import ImageReadError, TruncatedImageError
from a2f.imageio import Metadata, Picture, encode_image, read_image


def noise() -> np.ndarray:
    return np.random.default_rng(0).integers(1, 256, (40, 60, 3)).astype(np.uint8)


def test_bmp_keeps_its_alpha() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (4, 5, 4)).astype(np.uint8)
    for alpha_is_used in (True, False):
        given = pixels if alpha_is_used else pixels * np.array([1, 1, 1, 0], np.uint8)
        masks = struct.pack("<4I", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
        info = struct.pack("<IiiHHIIiiII", 108, 5, -4, 1, 32, 3, 80, 0, 0, 0, 0) + masks + b"BGRs" + bytes(48)
        blob = b"BM" + struct.pack("<IHHI", 14 + 108 + 80, 0, 0, 14 + 108) + info + given[..., [2, 1, 0, 3]].tobytes()
        expected = given if alpha_is_used else given[..., :3]  # all zero is what careless programs leave
        np.testing.assert_array_equal(read_image(blob).pixels, expected)


def test_pnm_kinds_against_pillow() -> None:
    bits = np.random.default_rng(1).integers(0, 2, (7, 13)).astype(bool)
    blob = io.BytesIO()
    Image.fromarray(bits).save(blob, "PPM")
    assert blob.getvalue().startswith(b"P4")
    np.testing.assert_array_equal(read_image(blob.getvalue()).pixels[..., 0], bits * 255)
    plain = b"P1\n13 7\n" + b"\n".join(b"".join(b"0" if bit else b"1" for bit in row) for row in bits)
    np.testing.assert_array_equal(read_image(plain).pixels[..., 0], bits * 255)
    rgb = noise()
    text = b"P3 60 40 255 " + b" ".join(b"%d" % v for v in rgb.ravel())
    np.testing.assert_array_equal(read_image(text).pixels, rgb)
    deep = rgb.astype(np.uint16) * 201
    text = b"P3 60 40 65535 " + b" ".join(b"%d" % v for v in deep.ravel())
    np.testing.assert_array_equal(read_image(text).pixels, deep)


@pytest.mark.parametrize("deep", [False, True])
def test_truncated_raw_ppm_is_black_after_its_end(deep: bool) -> None:
    pixels = noise().astype(np.uint16) * 257 if deep else noise()
    blob = encode_image(Picture(pixels=pixels), format="ppm")
    picture = read_image(blob[: -len(blob) // 4], allow_truncated=True)
    assert picture.pixels.dtype == pixels.dtype
    np.testing.assert_array_equal(picture.pixels[:25], pixels[:25])
    assert not picture.pixels[-1].any()


def test_plain_pgm_with_comments_between_its_numbers() -> None:
    values = np.random.default_rng(0).integers(0, 1024, (40, 100))
    rows = (b" ".join(b"%d" % v for v in row) for row in values)
    text = b"P2\n# about 100 10\n100 #w\n40 1023\n" + b" # 7 8 9\n".join(rows)
    pixels = read_image(text).pixels
    assert pixels.dtype == np.uint16
    np.testing.assert_array_equal(pixels[..., 0], (values * 65535 / 1023 + 0.5).astype(np.uint16))


@pytest.mark.parametrize("maximum", [1, 100, 255, 1023, 65535])
@pytest.mark.parametrize("plain", [True, False])
@pytest.mark.parametrize("channels", [1, 3])
def test_every_maximum_is_stretched_to_white(maximum: int, plain: bool, channels: int) -> None:
    values = np.random.default_rng(3).integers(0, maximum + 1, (7, 5, channels))
    values[0, 0], values[0, 1] = 0, maximum
    kind = (2 if channels == 1 else 3) + (0 if plain else 3)
    body = (
        b" ".join(b"%d" % v for v in values.ravel())
        if plain
        else values.astype(">u2" if maximum > 255 else np.uint8).tobytes()
    )
    pixels = read_image(b"P%d\n5 7 %d\n" % (kind, maximum) + body).pixels
    top = 65535 if maximum > 255 else 255
    assert pixels.dtype == (np.uint16 if maximum > 255 else np.uint8)
    np.testing.assert_array_equal(pixels, np.floor(values * top / maximum + 0.5))


def test_samples_beyond_the_maximum_are_white() -> None:
    assert read_image(b"P5 2 1 100\n" + bytes([100, 200])).pixels.ravel().tolist() == [255, 255]
    assert read_image(b"P2 2 1 1000 1000 2000").pixels.ravel().tolist() == [65535, 65535]


@pytest.mark.parametrize(
    ("text", "white"),
    [(b"P1 3 2 0 0 1 0", 3), (b"P4 8 3 \0\xf0", 12), (b"P2 3 2 9 9 9 9 ", 3), (b"P3 2 2 300 300 300 300", 3)],
)
def test_other_truncated_pnm_kinds_are_black_after_their_end(text: bytes, white: int) -> None:
    with pytest.raises(TruncatedImageError, match="allow_truncated=True takes what can be read"):
        read_image(text)
    pixels = read_image(text, allow_truncated=True).pixels.ravel()
    assert np.count_nonzero(pixels) == white
    assert not pixels[-1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"P2 2 2 255 1 2 x 4", "cannot decode"),
        (b"P2 2 2 255 1 2 -3 4", "cannot decode"),
        (b"P1 2 2 0 1 2 0", "cannot decode"),
        (b"P5 2 2 0\n1234", "only 1 to 65535 is allowed"),
        (b"P5 2 2 65536\n12345678", "only 1 to 65535 is allowed"),
        (b"P6 2 two 255\n", "names no height"),
    ],
)
def test_invalid_pnm_raises_an_error(text: bytes, message: str) -> None:
    for allow in (False, True):
        with pytest.raises(ImageReadError, match=message):
            read_image(text, allow_truncated=allow)


@pytest.mark.parametrize("channels", [2, 4])
def test_bmp_with_transparency_matches_an_independent_reader(channels: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, channels)).astype(np.uint8)
    picture = Picture(pixels=pixels, metadata=Metadata(dpi=(300.0, 150.0)))
    blob = encode_image(picture, format="bmp")
    expected = pixels if channels == 4 else pixels[..., [0, 0, 0, 1]]
    image = Image.open(io.BytesIO(blob))
    assert image.mode == "RGBA"
    assert image.info["dpi"] == pytest.approx((300, 150), rel=1e-4)
    np.testing.assert_array_equal(np.asarray(image), expected)
    np.testing.assert_array_equal(read_image(blob).pixels, expected)
    assert read_image(blob).metadata.dpi == pytest.approx((300, 150), rel=1e-4)


def test_bmp_of_32_bits_without_alpha_mask_is_opaque() -> None:
    """In a version 3 header the fourth byte is reserved, and it can have any value."""
    pixels = np.random.default_rng(0).integers(0, 256, (4, 5, 4)).astype(np.uint8)
    info = struct.pack("<IiiHHIIiiII", 40, 5, -4, 1, 32, 0, 80, 0, 0, 0, 0)
    blob = b"BM" + struct.pack("<IHHI", 54 + 80, 0, 0, 54) + info + pixels[..., [2, 1, 0, 3]].tobytes()
    np.testing.assert_array_equal(read_image(blob).pixels, pixels[..., :3])


@pytest.mark.parametrize("length", [56, 108, 124])
@pytest.mark.parametrize("alpha", [0, 0x8000])
def test_bmp_of_16_bits_with_transparency_is_refused(length: int, alpha: int) -> None:
    values = np.random.default_rng(0).integers(0, 65536, (4, 6)).astype("<u2")
    masks = struct.pack("<4I", 0x7C00, 0x3E0, 0x1F, alpha)
    info = struct.pack("<IiiHHIIiiII", length, 6, -4, 1, 16, 3, 48, 0, 0, 0, 0) + (masks + b"BGRs").ljust(84, b"\0")
    blob = b"BM" + struct.pack("<IHHI", 14 + length + 48, 0, 0, 14 + length) + info[:length] + values.tobytes()
    if alpha:
        with pytest.raises(ImageReadError, match="transparency in a BMP of 16 bits"):
            read_image(blob)
    else:
        fives = np.stack([values >> shift & 31 for shift in (10, 5, 0)], -1)
        assert np.abs(read_image(blob).pixels.astype(float) - fives * 255 / 31).max() <= 1


def test_bmp_truncated_in_its_palette() -> None:
    out = io.BytesIO()
    Image.new("P", (3, 2)).save(out, "BMP")
    assert read_image(out.getvalue()[:500], allow_truncated=True).size == (3, 2)


def test_bmp_with_pixels_beyond_its_end() -> None:
    out = io.BytesIO()
    Image.new("RGB", (3, 2)).save(out, "BMP")
    blob = bytearray(out.getvalue())
    blob[10:14] = struct.pack("<I", 1_000_000)
    with pytest.raises(TruncatedImageError, match="allow_truncated=True takes what can be read"):
        read_image(bytes(blob))
    with pytest.raises(TruncatedImageError, match="too much of it is missing"):
        read_image(bytes(blob), allow_truncated=True)
