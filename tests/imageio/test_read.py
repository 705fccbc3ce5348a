"""Reading unusual and damaged files."""

import io
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms

from a2f.errors import ImageReadError, PixelLimitError, TruncatedImageError
from a2f.imageio import FORMATS, Metadata, Picture, encode_image, read_image


def photo(height: int = 64, width: int = 96, channels: int = 3) -> np.ndarray:
    """A smooth picture with some texture, uint8."""
    y, x = np.mgrid[0:height, 0:width]
    planes = [127 + 80 * np.sin(x / (5 + c)) * np.cos(y / (7 + c)) + 20 * np.sin(x * y / 90) for c in range(channels)]
    return np.stack(planes, axis=-1).clip(0, 255).astype(np.uint8)


def saved(image: Image.Image, format: str, **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, format, **options)
    return out.getvalue()


@pytest.mark.parametrize(
    ("format", "pillow"),
    [
        ("jpeg", "JPEG"),
        ("png", "PNG"),
        ("webp", "WEBP"),
        ("tiff", "TIFF"),
        ("bmp", "BMP"),
        ("gif", "GIF"),
        ("ppm", "PPM"),
    ],
)
def test_reads_what_pillow_wrote(format: str, pillow: str) -> None:
    blob = saved(Image.fromarray(photo()), pillow, **({"lossless": True} if pillow == "WEBP" else {}))
    picture = read_image(blob)
    assert picture.format == format
    assert picture.pixels.shape[:2] == (64, 96)
    if format in ("png", "webp", "tiff", "bmp", "ppm"):
        np.testing.assert_array_equal(picture.pixels, photo())


def test_format_is_detected_by_the_content(tmp_path) -> None:
    path = tmp_path / "really a jpeg.png"
    path.write_bytes(saved(Image.fromarray(photo()), "JPEG"))
    assert read_image(path).format == "jpeg"


@pytest.mark.parametrize("name", ["ünïcødé 写真.png", "a [1] b.png", "x[page=3].png", "-dash.png", "percent%20.png"])
def test_odd_names(tmp_path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(saved(Image.fromarray(photo()), "PNG"))
    np.testing.assert_array_equal(read_image(path).pixels, photo())


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied(orientation: int) -> None:
    from PIL import ImageOps

    exif = Image.Exif()
    exif[0x0112] = orientation
    blob = saved(Image.fromarray(photo()), "PNG", exif=exif.tobytes())
    upright = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(blob))))
    np.testing.assert_array_equal(read_image(blob).pixels, upright)


def test_grey_stays_grey() -> None:
    for format in ("PNG", "JPEG", "TIFF", "BMP", "PPM"):
        assert read_image(saved(Image.fromarray(photo(channels=1)[..., 0]), format)).pixels.shape[2] == 1, format


def test_one_bit_becomes_grey() -> None:
    bits = photo(channels=1)[..., 0] > 127
    for format in ("PNG", "TIFF", "BMP", "PPM"):
        pixels = read_image(saved(Image.fromarray(bits), format)).pixels
        np.testing.assert_array_equal(pixels[..., 0], np.where(bits, 255, 0), err_msg=format)


def test_palette_becomes_rgb_and_its_transparency_alpha() -> None:
    palette = Image.fromarray(photo()).quantize(16)
    assert read_image(saved(palette, "PNG")).pixels.shape[2] == 3
    pixels = read_image(saved(palette, "PNG", transparency=3)).pixels
    assert pixels.shape[2] == 4
    np.testing.assert_array_equal(pixels[..., 3] == 0, np.asarray(palette) == 3)


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_png_colour_key_becomes_alpha(mode: str) -> None:
    image = Image.fromarray(np.zeros((4, 4), np.uint8)).convert(mode)
    image.putpixel((1, 2), 9 if mode == "L" else (9, 9, 9))
    pixels = read_image(saved(image, "PNG", transparency=9 if mode == "L" else (9, 9, 9))).pixels
    assert pixels.shape[2] == len(mode) + 1
    assert pixels[2, 1, -1] == 0
    assert (pixels[..., -1] == 255).sum() == 15


@pytest.mark.parametrize("format", ["JPEG", "TIFF"])
def test_cmyk_becomes_srgb(format: str) -> None:
    white_and_red = np.zeros((16, 32, 4), np.uint8)
    white_and_red[:, 16:] = (0, 255, 255, 0)
    picture = read_image(
        saved(
            Image.frombytes("CMYK", (32, 16), white_and_red.tobytes()),
            format,
        )
    )
    assert picture.pixels.shape[2] == 3
    assert (picture.pixels[8, 4] > 240).all()
    red, green, blue = picture.pixels[8, 28].astype(int)
    # printed, this red is darker than (255, 0, 0), which plain arithmetic would give
    assert 180 < red < 250
    assert green < 80
    assert blue < 80
    assert picture.metadata.icc is None


def test_lab_tiff_becomes_srgb(tmp_path) -> None:
    lab = np.zeros((8, 8, 3), np.uint8)
    lab[...] = (138, 0, 0)  # L* 54, neutral
    path = tmp_path / "lab.tif"
    tifffile.imwrite(path, lab, photometric="cielab")
    pixels = read_image(path).pixels.astype(int)
    srgb, lab_profile = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    transform = ImageCms.buildTransform(lab_profile, srgb, "LAB", "RGB")
    witness = np.asarray(ImageCms.applyTransform(Image.frombytes("LAB", (8, 8), lab.tobytes()), transform))
    assert np.abs(pixels - witness).max() <= 2


def test_sixteen_bits_are_kept(tmp_path) -> None:
    rng = np.random.default_rng(0)
    for channels in (1, 3, 4):
        deep = rng.integers(0, 65536, (9, 7, channels)).astype(np.uint16)
        path = tmp_path / f"{channels}.tif"
        extra = {"extrasamples": ["unassalpha"]} if channels == 4 else {}
        tifffile.imwrite(
            path, deep if channels > 1 else deep[..., 0], photometric="rgb" if channels > 1 else "minisblack", **extra
        )
        np.testing.assert_array_equal(read_image(path).pixels, deep)


def test_unsupported_sample_types_are_refused(tmp_path) -> None:
    path = tmp_path / "f.tif"
    for dtype, message in (
        (np.uint32, "integers of 8 and 16 bits and floating point of 16 and 32 are read"),
        (np.float64, "neither integers of 8 or 16 bits nor floating point of 16 or 32"),
    ):
        tifffile.imwrite(path, np.zeros((4, 4, 3), dtype), photometric="rgb")
        with pytest.raises(ImageReadError, match=message):
            read_image(path)


def test_a_jpeg_of_two_channels_is_refused() -> None:
    imagecodecs = pytest.importorskip("imagecodecs")
    blob = bytes(imagecodecs.jpeg8_encode(photo()[..., :2].copy(), level=95))
    with pytest.raises(ImageReadError, match="JPEG of 2 channels"):
        read_image(blob)


def test_first_frame_with_a_note() -> None:
    frames = [Image.fromarray(photo() // k) for k in (1, 2, 3)]
    blob = saved(frames[0], "GIF", save_all=True, append_images=frames[1:])
    picture = read_image(blob, name="party.gif")
    assert picture.notes == ("party.gif has 3 frames or pages; only the first is read",)
    assert picture.pixels.shape[:2] == (64, 96)


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (40, 1)])
def test_tiny_images(size: tuple[int, int]) -> None:
    for format in FORMATS:
        blob = encode_image(Picture(pixels=photo(*size)), format=format)
        assert read_image(blob).pixels.shape[:2] == size, format


def test_unreadable_inputs_raise_errors(tmp_path) -> None:
    with pytest.raises(ImageReadError, match="No such file"):
        read_image(tmp_path / "none.png")
    with pytest.raises(ImageReadError, match="is a folder"):
        read_image(tmp_path)
    (tmp_path / "zero.png").write_bytes(b"")
    with pytest.raises(ImageReadError, match="empty"):
        read_image(tmp_path / "zero.png")
    (tmp_path / "text.png").write_text("this is not a picture at all")
    with pytest.raises(ImageReadError, match="not an image of a known format"):
        read_image(tmp_path / "text.png")


@pytest.mark.parametrize("format", [name for name in FORMATS if name != "avif"])
def test_truncated_is_an_error_unless_allowed(format: str) -> None:
    blob = encode_image(Picture(pixels=photo(200, 300)), format=format)
    cut = blob[: len(blob) // 2]
    with pytest.raises(ImageReadError, match=r"truncated|decode"):
        read_image(cut, name="half")
    if format in ("jpeg", "png"):
        with pytest.raises(TruncatedImageError, match="allow_truncated=True"):
            read_image(cut, name="half")
    if format in ("jpeg", "png", "bmp", "ppm"):
        picture = read_image(cut, allow_truncated=True)
        assert picture.size == (300, 200)
        whole = read_image(blob).pixels
        top = slice(0, 60) if format != "bmp" else slice(140, 200)  # BMP is stored bottom up
        assert np.abs(picture.pixels[top].astype(int) - whole[top]).max() <= 8


def test_truncated_avif_is_an_error() -> None:
    blob = encode_image(Picture(pixels=photo(200, 300)), format="avif")
    with pytest.raises(ImageReadError):
        read_image(blob[: len(blob) // 2])


@pytest.mark.integration
def test_decompression_bomb_is_refused_by_its_header() -> None:
    bomb = saved(Image.new("1", (30000, 20000)), "PNG")
    assert len(bomb) < 200_000
    with pytest.raises(PixelLimitError, match=r"30000 x 20000 = 600,000,000 pixels.*raise max_pixels"):
        read_image(bomb)


@pytest.mark.parametrize("format", list(FORMATS))
def test_pixel_limit_in_every_format(format: str) -> None:
    blob = encode_image(Picture(pixels=photo(50, 50)), format=format)
    assert read_image(blob, max_pixels=2500).size == (50, 50)
    with pytest.raises(PixelLimitError):
        read_image(blob, max_pixels=2499)


def test_display_p3_is_kept_and_pixels_untouched() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    blob = saved(Image.fromarray(photo()), "PNG", icc_profile=profile)
    picture = read_image(blob)
    assert picture.metadata == Metadata(icc=profile)
    np.testing.assert_array_equal(picture.pixels, photo())


def test_opaque_gif_stays_opaque() -> None:
    y, x = np.mgrid[0:200, 0:300]
    smooth = np.stack([127 + 100 * np.sin(x / 5 + c) * np.cos(y / 7) for c in range(3)], -1).astype(np.uint8)
    assert read_image(encode_image(Picture(pixels=smooth), format="gif")).pixels.shape[2] == 3
    clear = np.dstack([smooth, np.where(x < 100, 0, 255)]).astype(np.uint8)
    back = read_image(encode_image(Picture(pixels=clear), format="gif")).pixels
    np.testing.assert_array_equal(back[..., 3], clear[..., 3])


@pytest.mark.parametrize(("photometric", "start"), [("cielab", 0), ("icclab", 128)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_every_coding_of_lab(photometric: str, start: int, dtype: type, byteorder: str) -> None:
    """L* 54, a* 40, b* -30 with alpha, rotated, 200 dpi: the colour is computed by hand, the rest is kept."""
    deep = dtype is np.uint16
    lightness = 0.54 * ((65535 if start == 0 else 65280) if deep else 255)
    chroma = [(v + start) * (256 if deep else 1) % (65536 if deep else 256) for v in (40, -30)]
    samples = np.zeros((6, 4, 4), dtype)
    samples[...] = (round(lightness), *chroma, 77)
    out = io.BytesIO()
    tifffile.imwrite(
        out,
        samples,
        photometric=photometric,
        extrasamples=["unassalpha"],
        planarconfig="contig",
        byteorder=byteorder,
        resolution=(200, 200),
        resolutionunit="INCH",
        extratags=[(274, 3, 1, 6, True)],
    )
    picture = read_image(out.getvalue())
    assert picture.pixels.shape == (4, 6, 4)
    assert picture.pixels.dtype == dtype
    assert (picture.pixels[..., 3] == 77).all()
    assert picture.metadata.dpi == pytest.approx((200, 200))
    lab = ImageCms.createProfile("LAB")
    to_srgb = ImageCms.buildTransform(lab, ImageCms.createProfile("sRGB"), "LAB", "RGB")
    pixel = Image.frombytes("LAB", (1, 1), bytes([round(0.54 * 255), 40, 256 - 30]))
    witness = ImageCms.applyTransform(pixel, to_srgb).getpixel((0, 0))
    assert (picture.pixels[0, 0, :3] / (257 if deep else 1)).tolist() == pytest.approx(list(witness), abs=2)


def test_white_of_a_deep_avif_is_white() -> None:
    for level in (0, 65535):
        deep = Picture(pixels=np.full((16, 16, 3), level, np.uint16))
        assert (read_image(encode_image(deep, format="avif", quality=100)).pixels == level).all()


@pytest.mark.parametrize("premultiplied", [True, False])
def test_avif_with_premultiplied_alpha_is_not_darker(premultiplied: bool) -> None:
    rgba = np.dstack([photo(40, 64), np.full((40, 64), 128, np.uint8)])
    rgba[:16, :16, 3], rgba[20:, :, 3] = 0, 255
    how = {"quality": 100, "subsampling": "4:4:4", "alpha_premultiplied": premultiplied}
    got = read_image(saved(Image.fromarray(rgba), "AVIF", **how)).pixels.astype(int)
    np.testing.assert_array_equal(got[..., 3], rgba[..., 3])
    seen = rgba[..., 3] > 0
    assert np.abs(got[..., :3] - rgba[..., :3])[seen].max() <= 4
    if premultiplied:
        assert (got[~seen] == 0).all()
