"""Writing keeps metadata, depth and transparency, and leaves complete files or none."""

import io
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

import a2f
from a2f.errors import LossyFormatError, UsageError
from a2f.imageio import FORMATS, Metadata, Picture, encode_image, read_image, write_image

XMP = b'<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/"/><?xpacket end="w"?>'
KEEPS = {  # what each format can hold
    "jpeg": {"icc", "exif", "xmp", "dpi"},
    "png": {"icc", "exif", "xmp", "dpi"},
    "webp": {"icc", "exif", "xmp", "dpi"},  # the resolution inside EXIF
    "tiff": {"icc", "exif", "xmp", "dpi"},
    "avif": {"icc", "exif", "xmp", "dpi"},
    "bmp": {"dpi"},
    "gif": set(),
    "ppm": set(),
    "heic": {"icc", "exif", "xmp", "dpi"},
    "jxl": {"icc", "exif", "xmp", "dpi"},  # the profile with 8 bits a channel
    "exr": set(),
    "tga": set(),
    "dds": set(),
}


def random_pixels(shape: tuple[int, int, int], dtype: type, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max + 1, shape).astype(dtype)


def exif_block() -> bytes:
    exif = Image.Exif()
    exif[0x010F], exif[0x0112], exif[0x8298] = "Maker", 6, "(c) somebody"
    inner = exif.get_ifd(0x8769)
    inner[0x9003], inner[0x829A], inner[0xA002], inner[0xA003] = "2026:01:02 03:04:05", (1, 250), 8, 9
    inner[0x927C] = b"MAKER\0NOTE" * 9
    gps = exif.get_ifd(0x8825)
    gps[1], gps[2] = "N", (10.0, 20.0, 30.0)
    return exif.tobytes()


def full_metadata() -> Metadata:
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return Metadata(icc=icc, exif=exif_block(), xmp=XMP, dpi=(300.0, 150.0))


def tags_of(exif: bytes) -> Image.Exif:
    tags = Image.Exif()
    tags.load(exif)
    return tags


@pytest.mark.parametrize("format", list(FORMATS))
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_metadata_matrix(format: str, dtype: type) -> None:
    if dtype is np.uint16 and not FORMATS[format].deep:
        return
    given = full_metadata()
    back = read_image(
        encode_image(Picture(pixels=random_pixels((40, 60, 3), dtype), metadata=given), format=format)
    ).metadata
    keeps = KEEPS[format] - ({"icc"} if dtype is np.uint16 and not FORMATS[format].deep_icc else set())
    assert back.icc == (given.icc if "icc" in keeps else None)
    assert back.xmp == (given.xmp if "xmp" in keeps else None)
    assert (back.exif is not None) == ("exif" in keeps)
    if "dpi" in keeps:
        assert back.dpi == pytest.approx(given.dpi, rel=1e-4)
    if back.exif is not None:
        tags = tags_of(back.exif)
        assert tags[0x010F] == "Maker"
        assert tags[0x8298] == "(c) somebody"
        assert tags.get(0x0112, 1) == 1
        inner, gps = tags.get_ifd(0x8769), tags.get_ifd(0x8825)
        assert (inner[0xA002], inner[0xA003]) == (60, 40)
        assert inner[0x9003] == "2026:01:02 03:04:05"
        assert b"MAKER\0NOTE" * 9 in (inner[0x927C], exif_block())
        assert tuple(float(v) for v in gps[2]) == (10, 20, 30)


def exif_with_thumbnail(thumbnail: bytes) -> bytes:
    """An EXIF block with two directories: the first has the maker, the second a JPEG thumbnail."""
    first = struct.pack("<H", 1) + struct.pack("<HHI4s", 0x010F, 2, 4, b"Abc\0") + struct.pack("<I", 26)
    entries = [(0x0103, 3, 1, 6), (0x0201, 4, 1, 26 + 2 + 36 + 4), (0x0202, 4, 1, len(thumbnail))]
    second = struct.pack("<H", 3) + b"".join(struct.pack("<HHII", *entry) for entry in entries) + bytes(4)
    return b"Exif\0\0II*\0\x08\0\0\0" + first + second + thumbnail


@pytest.mark.parametrize("format", ["jpeg", "png", "webp", "tiff", "avif"])
def test_old_thumbnail_is_removed(format: str) -> None:
    """The old thumbnail would show the small picture, and parts that were cropped."""
    thumbnail = io.BytesIO()
    Image.new("RGB", (16, 12), (200, 10, 10)).save(thumbnail, "JPEG")
    exif = exif_with_thumbnail(thumbnail.getvalue())
    assert thumbnail.getvalue() in exif
    picture = Picture(pixels=random_pixels((40, 60, 3), np.uint8), metadata=Metadata(exif=exif))
    blob = encode_image(picture, format=format)
    assert thumbnail.getvalue()[-200:] not in blob
    assert tags_of(read_image(blob).metadata.exif)[0x010F] == "Abc"


def test_damaged_exif_does_not_stop_the_picture() -> None:
    for block in (b"", b"Exif\0\0", b"nonsense", b"Exif\0\0II*\0\xff\xff\xff\xff", exif_block()[:40]):
        for format in ("jpeg", "tiff", "png"):
            picture = Picture(pixels=random_pixels((8, 8, 3), np.uint8), metadata=Metadata(exif=block))
            assert read_image(encode_image(picture, format=format)).size == (8, 8)


@pytest.mark.parametrize("format", list(FORMATS))
def test_strip_removes_all_metadata(format: str) -> None:
    blob = encode_image(
        Picture(pixels=random_pixels((40, 60, 3), np.uint8), metadata=full_metadata()), format=format, strip=True
    )
    assert read_image(blob).metadata == Metadata()
    for mark in (b"Exif", b"xpacket", b"Maker", b"acsp"):
        assert mark not in blob


def test_strip_converts_to_srgb_first() -> None:
    """Without its profile a picture would change its colours, so the pixels are converted."""
    rgb = random_pixels((8, 8, 3), np.uint8)
    picture = Picture(pixels=rgb, metadata=full_metadata())
    back = read_image(encode_image(picture, format="png", strip=True)).pixels
    assert np.abs(back.astype(int) - rgb).max() <= 1  # its profile is sRGB: nothing to convert but rounding
    wide = Picture(pixels=rgb, metadata=Metadata(icc=gamma_profile()))
    bright = read_image(encode_image(wide, format="png", strip=True)).pixels
    assert bright.astype(int).mean() > rgb.mean() + 20  # linear light looks darker in numbers


def gamma_profile() -> bytes:
    """An RGB profile with the primaries of sRGB and linear light: sRGB with its curves replaced."""
    icc = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    at = icc.index(b"para")
    assert icc[at + 8 : at + 10] == b"\0\3"
    icc[at + 12 : at + 16] = (65536).to_bytes(4, "big")  # gamma 1
    icc[at + 16 : at + 32] = b"".join(v.to_bytes(4, "big") for v in (65536, 0, 65536, 0))
    return bytes(icc)


@pytest.mark.integration
@given(
    height=st.integers(1, 20),
    width=st.integers(1, 20),
    channels=st.integers(1, 4),
    deep=st.booleans(),
    seed=st.integers(0, 999),
)
@settings(max_examples=60)
def test_lossless_formats_keep_every_pixel(height: int, width: int, channels: int, deep: bool, seed: int) -> None:
    pixels = random_pixels((height, width, channels), np.uint16 if deep else np.uint8, seed)
    formats = (
        ["png", "tiff"] + (["ppm"] if channels in (1, 3) else []) + (["bmp"] if channels in (1, 3) and not deep else [])
    )
    for format in formats:
        back = read_image(encode_image(Picture(pixels=pixels), format=format)).pixels
        assert back.dtype == pixels.dtype
        np.testing.assert_array_equal(back, pixels, err_msg=format)


def test_independent_readers_read_16_bits() -> None:
    pixels = random_pixels((9, 7, 3), np.uint16)
    blob = encode_image(Picture(pixels=pixels, metadata=full_metadata()), format="tiff")
    np.testing.assert_array_equal(tifffile.imread(io.BytesIO(blob)), pixels)
    grey = random_pixels((9, 7, 1), np.uint16)
    png = Image.open(io.BytesIO(encode_image(Picture(pixels=grey), format="png")))
    np.testing.assert_array_equal(np.asarray(png), grey[..., 0])


def test_smooth_gradient_keeps_its_levels() -> None:
    ramp = np.linspace(0, 65535, 4096).astype(np.uint16).reshape(1, -1, 1).repeat(4, 0)
    for format in ("png", "tiff"):
        assert len(np.unique(read_image(encode_image(Picture(pixels=ramp), format=format)).pixels)) == 4096


def test_lossless_webp_at_quality_100() -> None:
    pixels = random_pixels((20, 30, 4), np.uint8)
    np.testing.assert_array_equal(
        read_image(encode_image(Picture(pixels=pixels), format="webp", quality=100)).pixels, pixels
    )


def test_quality_changes_the_size() -> None:
    picture = Picture(pixels=random_pixels((64, 64, 3), np.uint8))
    for format in ("jpeg", "webp", "avif"):
        sizes = [len(encode_image(picture, format=format, quality=q)) for q in (20, 60, 95)]
        assert sizes == sorted(sizes), format
        assert sizes[0] < sizes[2]
    with pytest.raises(UsageError, match="from 1 to 100"):
        encode_image(picture, format="jpeg", quality=0)


def test_jpeg_keeps_full_colour_resolution_by_default() -> None:
    blob = encode_image(Picture(pixels=random_pixels((64, 64, 3), np.uint8)), format="jpeg")
    image: Any = Image.open(io.BytesIO(blob))
    assert image.layer[0][1:3] == (1, 1)  # sampling factors of Y: 4:4:4


@pytest.mark.parametrize("format", ["jpeg", "ppm"])
def test_losing_alpha_needs_force(format: str) -> None:
    pixels = random_pixels((8, 8, 4), np.uint8)
    pixels[0, 0] = (10, 20, 30, 0)
    with pytest.raises(LossyFormatError, match=r"transparency.*force=True"):
        encode_image(Picture(pixels=pixels), format=format)
    flat = read_image(encode_image(Picture(pixels=pixels), format=format, force=True)).pixels
    assert flat.shape[2] == 3
    if format != "jpeg":
        np.testing.assert_array_equal(flat[0, 0], 255)


def test_error_lists_all_losses() -> None:
    pixels = random_pixels((8, 8, 4), np.uint16)
    picture = Picture(pixels=pixels, metadata=Metadata(exif=b"II" + bytes(70_000), icc=None))
    with pytest.raises(LossyFormatError, match=r"^jpeg cannot hold transparency:") as found:
        encode_image(picture, format="jpeg")
    assert found.value.loses == ("transparency", "bit-depth", "metadata")
    with pytest.raises(LossyFormatError) as found:
        encode_image(picture, format="jpeg", strip=True)
    assert found.value.loses == ("transparency", "bit-depth")


def test_gif_refuses_partial_transparency() -> None:
    pixels = random_pixels((20, 30, 4), np.uint8)
    with pytest.raises(LossyFormatError, match=r"partial transparency.*force=True"):
        encode_image(Picture(pixels=pixels), format="gif")
    forced = read_image(encode_image(Picture(pixels=pixels), format="gif", force=True))
    assert set(np.unique(forced.pixels[..., 3])) == {0, 255}
    pixels[..., 3] = np.where(pixels[..., 3] > 100, 255, 0)
    assert (read_image(encode_image(Picture(pixels=pixels), format="gif")).pixels[..., 3] == pixels[..., 3]).all()


@pytest.mark.parametrize("size", [None, (50, 40)])
def test_edges_of_an_enlarged_gif_stay_hard(size) -> None:
    """The network makes partial transparency at these edges, which is not in the original."""
    pixels = random_pixels((20, 30, 4), np.uint8)
    pixels[..., 3] = 0
    pixels[5:15, 5:25, 3] = 255
    given = encode_image(Picture(pixels=pixels), format="gif")
    large = read_image(a2f.upscale(given, size=size) if size else a2f.upscale(given, scale=2))
    assert large.size == (size or (60, 40))
    assert set(np.unique(large.pixels[..., 3])) == {0, 255}


def test_png_keeps_xmp_in_the_standard_chunk() -> None:
    blob = encode_image(Picture(pixels=random_pixels((9, 9, 3), np.uint8), metadata=Metadata(xmp=XMP)), format="png")
    assert Image.open(io.BytesIO(blob)).info["xmp"] == XMP


def test_opaque_alpha_is_no_loss() -> None:
    pixels = random_pixels((8, 8, 4), np.uint8)
    pixels[..., 3] = 255
    np.testing.assert_array_equal(
        read_image(encode_image(Picture(pixels=pixels), format="bmp")).pixels, pixels[..., :3]
    )


def test_losing_depth_needs_force() -> None:
    pixels = np.array([[[0], [128], [129], [65535 - 128], [65535]]], np.uint16)
    for format in ("jpeg", "webp", "bmp", "gif"):
        with pytest.raises(LossyFormatError, match="16 bits"):
            encode_image(Picture(pixels=pixels), format=format)
    back = read_image(encode_image(Picture(pixels=pixels), format="bmp", force=True)).pixels[0, :, 0]
    np.testing.assert_array_equal(back, [0, 0, 1, 255, 255])


def test_too_wide_for_the_format() -> None:
    with pytest.raises(UsageError, match="16383 pixels per side"):
        encode_image(Picture(pixels=np.zeros((1, 16384, 1), np.uint8)), format="webp")


def test_unknown_format_error_lists_all_formats(tmp_path) -> None:
    with pytest.raises(UsageError, match=r"jpg, png, webp, tiff, bmp, gif, ppm, avif"):
        write_image(Picture(pixels=np.zeros((1, 1, 1), np.uint8)), tmp_path / "a.xyz")


def test_write_image_gets_the_format_from_the_name(tmp_path: Path) -> None:
    picture = Picture(pixels=random_pixels((5, 6, 3), np.uint8))
    for format, entry in FORMATS.items():
        for suffix in entry.suffixes:
            path = tmp_path / f"ä b{suffix.upper()}"
            write_image(picture, path)
            assert read_image(path).format == format


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_a_lossless_webp_stays_lossless(mode: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (32, 48, len(mode))).astype(np.uint8)
    for lossless in (True, False):
        out = io.BytesIO()
        Image.fromarray(pixels).save(
            out, "WEBP", lossless=lossless, exact=True, quality=60, exif=b"Exif\0\0II*\0\x08\0\0\0\0\0"
        )
        picture = read_image(out.getvalue())
        assert picture.lossless == lossless
        made = read_image(encode_image(picture, format="webp"))
        assert made.lossless == lossless
        assert np.array_equal(made.pixels, picture.pixels) == lossless
    assert not read_image(encode_image(replace(picture, lossless=True), format="webp", quality=90)).lossless


def test_lossless_animated_webp() -> None:
    frames = [Image.new("RGB", (32, 48), (shade, 9, 9)) for shade in (0, 255)]
    for lossless in (True, False):
        out = io.BytesIO()
        frames[0].save(out, "WEBP", save_all=True, append_images=frames[1:], lossless=lossless)
        assert read_image(out.getvalue()).lossless == lossless
