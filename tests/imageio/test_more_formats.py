"""Reading and writing HEIC, JPEG XL, EXR, floating-point TIFF, TGA and DDS.

These tests need the extra `formats`; `make test` installs it.
"""

import io
import os
import struct
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms

from a2f.errors import A2FError, ImageReadError, LossyFormatError, MissingExtraError, PixelLimitError
from a2f.imageio import FORMATS, Metadata, Picture, encode_image, left_out_note, read_image
from a2f.imageio.colour import PRIMARIES, SRGB_CURVE, TRANSFERS, profile_of
from a2f.imageio.exif import MARK, first_directory, number_of, plain_exif
from a2f.imageio.formats import check_format, format_of_suffix
from a2f.imageio.header import format_of_file, size_of_file
from a2f.imageio.light import from_network, light_of, srgb_to_light, to_network
from a2f.imageio.picture import ColourSignal
from a2f.imageio.rgb import read_rgb8

OPTIONAL = [name for name, entry in FORMATS.items() if entry.extra]
NEW = [*OPTIONAL, "tga", "dds"]
P3 = profile_of(PRIMARIES[12], SRGB_CURVE, grey=False)
P3_LINEAR = profile_of(PRIMARIES[12], TRANSFERS[8], grey=False)


def smooth(channels: int, dtype: type = np.uint8, height: int = 40, width: int = 56) -> np.ndarray:
    y, x = np.mgrid[0:height, 0:width]
    planes = [0.5 + 0.45 * np.sin(x / 9 + c) * np.cos(y / 11 + c / 2) for c in range(channels)]
    values = np.stack(planes, -1)
    return values.astype(np.float32) if dtype is np.float32 else (values * np.iinfo(dtype).max).astype(dtype)


def light(channels: int, top: float = 12.0) -> np.ndarray:
    """Linear light with highlights far over white."""
    return (smooth(channels, np.float32) ** 3 * top).astype(np.float32)


def exif_of(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x010F], exif[0x0112] = "Maker", orientation
    return MARK + exif.tobytes().removeprefix(MARK)


def gap(a: np.ndarray, b: np.ndarray) -> float:
    """The largest difference, as a share of white."""
    top = np.iinfo(a.dtype).max if a.dtype.kind == "u" else 1
    return float(np.abs(a.astype(float) - b.astype(float)).max()) / top


def mean_gap(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a.astype(float) - b.astype(float)).mean()) / np.iinfo(a.dtype).max


# --- integers ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("format", NEW)
def test_pixels_round_trip(format: str, dtype: type, channels: int) -> None:
    given = smooth(channels, dtype)
    picture = Picture(pixels=given)
    if dtype is np.uint16 and not FORMATS[format].deep:
        with pytest.raises(LossyFormatError, match="16 bits"):
            encode_image(picture, format=format)
        return
    quality = 100 if format in ("heic", "jxl") else None
    back = read_image(encode_image(picture, format=format, quality=quality))
    assert back.format == format
    if back.light is not None:
        assert (back.light.low, back.light.high) == (0, 1)
        back = read_image(encode_image(back, format="png", force=True))
    got = back.pixels
    if format == "heic" and channels == 2:  # libheif hands out grey with alpha as RGB with alpha
        got = got[..., 2:]
    if format == "exr" and dtype is np.uint8:
        got = ((got.astype(np.uint32) + 128) // 257).astype(np.uint8)
    assert got.dtype == dtype
    assert got.shape == given.shape
    allowed = {"heic": 0.012, "exr": 1e-4 if dtype is np.uint16 else 0.005}.get(format, 0)
    assert gap(got, given) <= allowed


@pytest.mark.parametrize("format", ["heic", "jxl"])
def test_profile_exif_xmp_and_resolution_are_kept(format: str) -> None:
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><a/></x:xmpmeta>'
    metadata = Metadata(icc=P3, exif=exif_of(1), xmp=xmp, dpi=(300.0, 300.0), size=(56, 40))
    back = read_image(encode_image(Picture(pixels=smooth(3), metadata=metadata), format=format))
    assert back.metadata.icc == P3
    assert b"Maker" in (back.metadata.exif or b"")
    assert back.metadata.xmp == xmp
    assert back.metadata.dpi == (300.0, 300.0)
    assert not back.notes
    assert left_out_note(back, format) == []


@pytest.mark.parametrize("format", ["heic", "jxl"])
def test_orientation_is_applied_only_once(format: str) -> None:
    """Both formats store the orientation themselves; EXIF repeats it."""
    picture = Picture(pixels=smooth(3), metadata=Metadata(exif=exif_of(1), size=(56, 40)))
    blob = encode_image(picture, format=format)
    block = plain_exif(exif_of(1))
    at = blob.find(block)
    assert at > 0
    turned = blob[:at] + plain_exif(exif_of(6)) + blob[at + len(block) :]
    back = read_image(turned)
    assert back.size == (56, 40)
    again = plain_exif(read_image(encode_image(back, format="png")).metadata.exif or b"")
    directory = first_directory(again)
    assert directory is not None
    assert number_of(again, directory, 0x0112) == 1


def test_heic_keeps_code_points_of_hdr() -> None:
    hdr = Picture(pixels=smooth(3, np.uint16), metadata=Metadata(signal=ColourSignal(cicp=(9, 16))))
    back = read_image(encode_image(hdr, format="heic", quality=100))
    assert back.metadata.signal == ColourSignal(cicp=(9, 16))
    assert back.is_deep
    with pytest.raises(LossyFormatError, match="HDR"):
        encode_image(back, format="jxl")


def test_heic_reports_a_loss_of_bits() -> None:
    deep = Picture(pixels=smooth(3, np.uint16), format="png")
    assert left_out_note(deep, "heic") == ["heic holds 10 bits a channel: the picture is rounded to them"]
    assert left_out_note(deep, "avif") == ["avif holds 12 bits a channel: the picture is rounded to them"]
    assert left_out_note(replace(deep, format="heic"), "heic") == []


def test_deep_jxl_with_a_profile_is_converted_with_a_note() -> None:
    picture = Picture(pixels=smooth(3, np.uint16), metadata=Metadata(icc=P3))
    assert "converted to sRGB" in left_out_note(picture, "jxl")[0]
    back = read_image(encode_image(picture, format="jxl", quality=100))
    assert back.metadata.icc is None
    assert gap(back.pixels, picture.pixels) > 0.01  # converted, not relabelled
    assert left_out_note(replace(picture, pixels=smooth(3)), "jxl") == []


def test_jxl_without_a_container_and_lossy() -> None:
    import imagecodecs

    bare = bytes(imagecodecs.jpegxl_encode(smooth(3), lossless=True, usecontainer=False))
    assert bare.startswith(b"\xff\x0a")
    assert gap(read_image(bare).pixels, smooth(3)) == 0
    lossy = read_image(encode_image(Picture(pixels=smooth(3)), format="jxl", quality=90)).pixels
    assert 0 < mean_gap(lossy, smooth(3)) < 0.01


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("bits", [1, 5, 8, 9, 10, 12, 14, 15, 16])
def test_white_of_any_depth_in_jxl_is_white(bits: int, channels: int) -> None:
    import imagecodecs

    white = 2**bits - 1
    given = (smooth(channels, np.uint16) // (65536 >> bits)).astype(np.uint8 if bits <= 8 else np.uint16)
    given[0, 0], given[0, 1] = white, 0
    blob = bytes(imagecodecs.jpegxl_encode(given.squeeze(), lossless=True, bitspersample=bits))
    got = read_image(blob).pixels
    assert got.dtype == given.dtype
    top = np.iinfo(got.dtype).max
    np.testing.assert_array_equal(got, np.rint(given / white * top))


def test_heic_with_more_pictures() -> None:
    import pillow_heif

    file = pillow_heif.from_pillow(Image.fromarray(smooth(3)))
    file.add_from_pillow(Image.fromarray(smooth(3)[:20]))
    out = io.BytesIO()
    file.save(out, quality=90)
    picture = read_image(out.getvalue(), name="burst.heic")
    assert picture.size == (56, 40)
    assert picture.notes == ("burst.heic holds 1 more picture; only the main one is read",)


# --- content, names, limits, extras --------------------------------------------------------------------------------


@pytest.mark.parametrize("format", NEW)
def test_format_is_detected_by_the_content(format: str, tmp_path) -> None:
    path = tmp_path / "picture.png"
    path.write_bytes(encode_image(Picture(pixels=smooth(3)), format=format))
    assert format_of_file(path) == format
    assert size_of_file(path) == (56, 40)
    assert read_image(path).format == format
    assert format_of_suffix(FORMATS[format].suffixes[0]) == format
    assert mean_gap(read_rgb8(path), smooth(3)) < 0.015


@pytest.mark.parametrize("format", NEW)
def test_pixel_limit_is_checked_before_decoding(format: str) -> None:
    blob = encode_image(Picture(pixels=smooth(3)), format=format)
    with pytest.raises(PixelLimitError, match="56 x 40 = 2,240 pixels"):
        read_image(blob, max_pixels=2239)


@pytest.mark.parametrize("format", OPTIONAL)
def test_missing_extra_error_names_the_pip_command(format: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    blob = encode_image(Picture(pixels=smooth(3)), format=format)
    for module in ("pillow_heif", "pylibjxl", "imagecodecs", "OpenEXR"):
        monkeypatch.setitem(sys.modules, module, None)
    for act in (lambda: read_image(blob, name="x"), lambda: encode_image(Picture(pixels=smooth(3)), format=format)):
        with pytest.raises(MissingExtraError, match=r"which is not installed: pip install 'a2f\[formats\]'"):
            act()
    with pytest.raises(MissingExtraError):  # before anything is computed
        check_format(Picture(pixels=smooth(3)), format)
    with pytest.raises(ImageReadError, match="not installed"):  # one file of many
        read_rgb8(blob)


@pytest.mark.parametrize("format", NEW)
def test_truncated_file_is_refused(format: str) -> None:
    blob = encode_image(Picture(pixels=smooth(3)), format=format)
    for share in (0.2, 0.5, 0.9):
        with pytest.raises(A2FError):
            read_image(blob[: int(len(blob) * share)])


# --- light without an upper end ------------------------------------------------------------------------------------


@pytest.mark.parametrize("linear", [True, False])
def test_light_curve_is_invertible(linear: bool) -> None:
    rng = np.random.default_rng(1)
    values = np.exp(rng.normal(0, 3, (70, 9, 3))).astype(np.float32) * rng.choice([-0.1, 1], (70, 9, 3))
    told = light_of(values, "x", linear=linear)
    there = to_network(values, told)
    assert (float(there.min()), float(there.max())) == (0, 1)
    np.testing.assert_allclose(from_network(there, told), values, rtol=1e-4, atol=1e-4)
    assert (np.diff(to_network(np.linspace(-2, 50, 999)[:, None], told)[:, 0]) > 0).all()


def test_light_up_to_white_equals_srgb() -> None:
    pixels = np.arange(256, dtype=np.uint8).reshape(16, 16, 1)
    values = srgb_to_light(pixels)
    np.testing.assert_allclose(to_network(values, light_of(values, "x")), pixels / 255, atol=1e-6)


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("format", ["tiff", "exr"])
def test_highlights_round_trip(format: str, channels: int) -> None:
    values = light(channels)
    if channels == 4:
        values[..., 3] = smooth(1, np.float32)[..., 0]
    colours = values[..., :3] if channels == 4 else values
    told = light_of(colours, "x")
    pixels = np.concatenate([to_network(colours, told), values[..., 3:]], axis=2)
    back = read_image(encode_image(Picture(pixels=pixels, light=told), format=format))
    assert back.light is not None
    assert back.light.high == pytest.approx(float(colours.max()), rel=1e-5)
    got = from_network(back.pixels[..., : colours.shape[2]], back.light)
    np.testing.assert_allclose(got, colours, rtol=2e-4, atol=1e-5)
    if channels == 4:
        np.testing.assert_allclose(back.pixels[..., 3], values[..., 3], atol=1e-6)


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_float_tiff_of_another_program(dtype: type, tmp_path) -> None:
    path, values = tmp_path / "hdr.tif", light(3).astype(dtype)
    tifffile.imwrite(path, values, photometric="rgb", iccprofile=P3_LINEAR)
    picture = read_image(path)
    assert picture.light is not None
    assert picture.light.linear
    again = tmp_path / "again.tif"
    again.write_bytes(encode_image(picture, format="tiff"))
    with tifffile.TiffFile(again) as file:
        assert file.pages[0].dtype == np.float32
        assert file.pages[0].iccprofile == P3_LINEAR
        np.testing.assert_allclose(file.pages[0].asarray(), values, rtol=1e-3, atol=1e-4)


def test_integer_light_samples_keep_their_appearance() -> None:
    """In other formats, light up to white looks as in an sRGB file."""
    values = light(3, top=3.0)
    told = light_of(values, "x")
    picture = Picture(pixels=to_network(values, told), light=told, format="exr")
    with pytest.raises(LossyFormatError, match=r"cannot hold floating-point values \(here from 0 to 2\."):
        encode_image(picture, format="png")
    forced = read_image(encode_image(picture, format="png", force=True)).pixels
    assert forced.dtype == np.uint16
    np.testing.assert_allclose(srgb_to_light(forced), values.clip(0, 1), atol=1e-4)
    eight = read_image(encode_image(picture, format="jpeg", quality=100, force=True)).pixels
    np.testing.assert_allclose(eight / 255, forced / 65535, atol=0.02)


def exr_file(channels: dict[str, np.ndarray], **header: Any) -> bytes:
    import OpenEXR

    out = io.BytesIO()
    OpenEXR.File({"compression": OpenEXR.PIZ_COMPRESSION, "type": OpenEXR.scanlineimage, **header}, channels).write(out)
    return out.getvalue()


def planes(values: np.ndarray, names: str, dtype: type = np.float16) -> dict[str, np.ndarray]:
    return {key: np.ascontiguousarray(values[..., i].astype(dtype)) for i, key in enumerate(names)}


def test_an_exr_keeps_depth_attributes_and_primaries() -> None:
    p3 = (0.68, 0.32, 0.265, 0.69, 0.15, 0.06, 0.3127, 0.329)
    blob = exr_file(planes(light(3), "RGB"), owner="me", chromaticities=p3, comments="of the sun")
    picture = read_image(blob, name="sun.exr")
    assert picture.light is not None
    assert picture.light.half
    assert picture.light.shown_icc is not None
    again = read_image(encode_image(picture, format="exr"))
    assert again.light == replace(picture.light, high=again.light.high if again.light else 0)
    assert dict(again.light.attributes)["owner"] == "me"
    stripped = read_image(encode_image(picture, format="exr", strip=True)).light
    assert stripped is not None
    assert "owner" not in dict(stripped.attributes)
    assert stripped.primaries == picture.light.primaries
    assert left_out_note(picture, "tiff") == ["tiff has no place for EXR attributes (comments, owner): left out"]
    as_tiff = read_image(encode_image(picture, format="tiff"))
    assert as_tiff.metadata.icc is not None
    assert as_tiff.light is not None
    assert as_tiff.light.linear
    as_png = read_image(encode_image(picture, format="png", force=True))
    ImageCms.ImageCmsProfile(io.BytesIO(as_png.metadata.icc or b""))


AP0 = (0.7347, 0.2653, 0.0, 1.0, 0.0001, -0.077, 0.32168, 0.33767)  # SMPTE ST 2065-1, as EXR orders them


def test_primaries_outside_of_visible_colours_are_used() -> None:
    """The blue of ACES AP0 has a negative y. The expected values use the matrix of ST 2065-1 to CIE XYZ."""
    grey, skin = (0.18, 0.18, 0.18), (0.30, 0.22, 0.17)
    values = np.array([[grey, skin]], np.float32).repeat(8, axis=0).repeat(8, axis=1)
    picture = read_image(exr_file(planes(values, "RGB", np.float32), chromaticities=AP0))
    assert not picture.notes
    png = Image.open(io.BytesIO(encode_image(picture, format="png", force=True)))
    profile = ImageCms.ImageCmsProfile(io.BytesIO(png.info["icc_profile"]))
    shown = ImageCms.profileToProfile(png.convert("RGB"), profile, ImageCms.createProfile("sRGB"))
    for x, wanted in ((0, grey), (15, skin)):
        to_xyz = [[0.95255240, 0, 0.00009368], [0.34396645, 0.72816610, -0.07213255], [0, 0, 1.00882518]]
        xyz = np.array(to_xyz) @ wanted
        cone = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
        d60, d65 = np.array([0.95264608, 1, 1.00882518]), np.array([0.95046, 1, 1.08906])
        adapted = np.linalg.inv(cone) @ ((cone @ d65) / (cone @ d60) * (cone @ xyz))
        to_rgb = [[3.2406, -1.5372, -0.4986], [-0.9689, 1.8758, 0.0415], [0.0557, -0.2040, 1.0570]]  # IEC 61966-2-1
        linear = np.array(to_rgb) @ adapted
        np.testing.assert_allclose(shown.getpixel((x, 0)), 255 * (1.055 * linear ** (1 / 2.4) - 0.055), atol=2)
    assert read_image(encode_image(picture, format="tiff")).metadata.icc


@pytest.mark.parametrize(
    "primaries",
    [(0.64, 0.0, 0.3, 0.6, 0.15, 0.06, 0.3127, 0.329), (0.3, 0.3, 0.4, 0.4, 0.5, 0.5, 0.3127, 0.329), (0.0,) * 8],
)
def test_degenerate_primaries_are_reported(primaries: tuple[float, ...]) -> None:
    picture = read_image(exr_file(planes(light(3), "RGB"), chromaticities=primaries), name="a.exr")
    assert picture.notes == (
        "a.exr names primaries that span no colours: kept in exr, taken for those of sRGB elsewhere",
    )
    assert read_image(encode_image(picture, format="png", force=True)).metadata.icc is None
    again = read_image(encode_image(picture, format="exr")).light
    assert again is not None
    assert again.primaries == pytest.approx((*primaries[6:], *primaries[:6]))


def test_exr_reports_dropped_data() -> None:
    values = light(4)
    values[..., 3] = 0.5
    values[0, 0, 3] = 0  # it shines without covering
    channels = {**planes(values, "RGBA"), "Z": values[..., 0].copy(), "diffuse.R": values[..., 0].copy()}
    picture = read_image(exr_file(channels), name="a.exr")
    assert picture.notes == (
        "a.exr holds 2 more channels (Z, diffuse.R): left out",
        "a.exr has 1 pixel brighter than black where alpha is 0: they become black",
    )
    layers = {f"view.{key}": plane for key, plane in planes(light(3), "RGB").items()}
    assert read_image(exr_file(layers), name="a.exr").notes == (
        "a.exr holds its colours in the layer view: the result has no layers",
    )
    nested = {f"left.diffuse.{key}": plane for key, plane in planes(light(4), "RGBA").items()}
    assert "in the layer left.diffuse:" in read_image(exr_file(nested)).notes[0]


@pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="memory that has a path is Linux's")
def test_exr_is_read_from_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("OpenEXR")
    blob = exr_file(planes(light(3), "RGB"))
    monkeypatch.setattr("tempfile.tempdir", "/nowhere")
    expected = read_image(blob)
    with pytest.raises(ImageReadError, match="cannot decode it: Unable to open it for read"):
        read_image(blob[:100], name="it")
    monkeypatch.delattr("os.memfd_create")
    with pytest.raises(ImageReadError, match="cannot decode"):
        read_image(blob)
    monkeypatch.setattr("tempfile.tempdir", None)
    assert np.array_equal(read_image(blob).pixels, expected.pixels)


def test_exr_files_that_are_refused() -> None:
    wrong = light(3)
    wrong[3, 4, 1] = np.nan
    with pytest.raises(ImageReadError, match="has 1 values that are NaN or infinite"):
        read_image(exr_file(planes(wrong, "RGB")))
    with pytest.raises(ImageReadError, match="no channels R, G, B or Y, only Z"):
        read_image(exr_file({"Z": light(1)[..., 0]}))
    with pytest.raises(ImageReadError, match="not floating-point"):
        read_image(exr_file(planes(light(3), "RGB", np.uint32)))


# --- textures ------------------------------------------------------------------------------------------------------


def test_tga_of_other_programs() -> None:
    for mode in ("RGB", "RGBA", "L", "P"):
        image = Image.fromarray(smooth(3)).convert(mode)
        for compression in (None, "tga_rle"):
            out = io.BytesIO()
            image.save(out, "TGA", compression=compression)
            picture = read_image(out.getvalue())
            rich = image.convert("RGB") if mode == "P" else image
            np.testing.assert_array_equal(picture.pixels.squeeze(), np.asarray(rich))


@pytest.mark.parametrize(
    "blob",
    [
        b"\0\0\1\0\1\0\x10\x10\0\0\1\0\x20\0\0\0\0\0\x16\0\0\0",  # an icon
        b"\0\0\1\xba\x44\0\4\0\4\1\0\0\3\xf8\0\0\0\0\0\0",  # MPEG
        b"\0" * 40,
        b"text that is long enough for the header of a TGA file",
    ],
)
def test_files_that_are_not_tga(blob: bytes) -> None:
    with pytest.raises(ImageReadError, match="not an image of a known format"):
        read_image(blob)


def test_dds_with_compression_and_mipmaps() -> None:
    out = io.BytesIO()
    Image.fromarray(smooth(4)).save(out, "DDS", pixel_format="DXT5")
    blob = bytearray(out.getvalue())
    picture = read_image(bytes(blob))
    assert picture.pixels.shape == (40, 56, 4)
    assert mean_gap(picture.pixels, smooth(4)) < 0.03
    struct.pack_into("<I", blob, 8, struct.unpack_from("<I", blob, 8)[0] | 0x20000)
    struct.pack_into("<I", blob, 28, 4)
    assert read_image(bytes(blob), name="wall.dds").notes == (
        "wall.dds holds 3 smaller pictures of itself (mipmaps): left out",
    )


# --- what else a HEIC file tells -----------------------------------------------------------------------------------


def heic(**options: Any) -> bytes:
    import pillow_heif

    out = io.BytesIO()
    pillow_heif.encode("RGB", (56, 40), smooth(3).tobytes(), out, quality=90, **options)
    return out.getvalue()


def test_non_square_pixels_of_a_heic() -> None:
    picture = read_image(heic(pixel_aspect_ratio=(2, 1)))
    assert picture.metadata.aspect == (1, 2)
    assert "the shape of the pixels" in left_out_note(picture, "heic")[0]
    assert read_image(encode_image(picture, format="png")).metadata.aspect == (1, 2)
    turned = read_image(heic(pixel_aspect_ratio=(2, 1), exif=exif_of(6)))
    assert turned.size == (40, 56)
    assert turned.metadata.aspect == (2, 1)


def test_dropped_hdr_screen_data_of_a_heic_is_reported() -> None:
    light = {"max_content_light_level": 1000, "max_pic_average_light_level": 300}
    (note,) = read_image(heic(content_light_level=light), name="x.heic").notes
    assert note == "x.heic holds what tells about the HDR screen that it was made on (clli): left out"


def test_rotated_heic_grid_with_a_profile() -> None:
    picture = read_image(heic(exif=exif_of(6), icc_profile=P3, icc_profile_type="prof", tile_size=32, chroma=420))
    assert picture.size == (40, 56)
    assert picture.metadata.icc == P3
    assert mean_gap(picture.pixels, np.ascontiguousarray(np.rot90(smooth(3), -1))) < 0.02
    block = plain_exif(read_image(encode_image(picture, format="jpeg")).metadata.exif or b"")
    directory = first_directory(block)
    assert directory is not None
    assert number_of(block, directory, 0x0112) == 1
