"""Colours without ICC profile, and unsuitable profiles: the result looks like the original."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from a2f import upscale
from a2f.errors import ImageWriteError, LossyFormatError
from a2f.imageio import ColourSignal, Metadata, Picture, check_format, encode_image, read_image
from a2f.imageio.colour import (
    BT709_CURVE,
    PRIMARIES,
    SRGB_CURVE,
    TRANSFERS,
    profile_of,
    signal_of_cicp,
    to_srgb,
)
from a2f.imageio.heif_boxes import nclx_of
from a2f.imageio.png_chunks import chunk_bytes, chunks_of
from a2f.imageio.rgb import read_rgb8

GOLDEN = Path(__file__).parents[1] / "golden"
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
P3 = profile_of(PRIMARIES[12], SRGB_CURVE, grey=False)
OUTPUTS = ["png", "jpeg", "tiff", "bmp", "webp", "gif", "ppm", "avif"]


def shown(blob: bytes, at: tuple[int, int] = (24, 20)) -> list[int]:
    """The colour of a pixel in an independent colour-managed viewer (LittleCMS in Pillow)."""
    image = Image.open(io.BytesIO(blob))
    icc = image.info.get("icc_profile")
    image = image.convert("RGB")
    if icc:
        image = ImageCms.profileToProfile(image, io.BytesIO(icc), ImageCms.createProfile("sRGB"), renderingIntent=1)
    return list(image.getpixel(at))


def flat(value: int | tuple[int, ...], dtype: type = np.uint8) -> np.ndarray:
    channels = 1 if isinstance(value, int) else len(value)
    return np.full((48, 64, channels), value, dtype)


def png(pixels: np.ndarray, *chunks: bytes) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).save(out, "PNG")
    blob = out.getvalue()
    return blob[:33] + b"".join(chunks) + blob[33:]


def gama(value: float) -> bytes:
    return chunk_bytes(b"gAMA", struct.pack(">I", round(value * 100_000)))


def chrm(code: int) -> bytes:
    return chunk_bytes(b"cHRM", struct.pack(">8I", *(round(v * 100_000) for v in PRIMARIES[code])))


def cicp(primaries: int, transfer: int) -> bytes:
    return chunk_bytes(b"cICP", bytes([primaries, transfer, 0, 1]))


# --- profiles made here -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", sorted(PRIMARIES))
@pytest.mark.parametrize("transfer", sorted(TRANSFERS))
def test_generated_profile_is_read_by_littlecms(code: int, transfer: int) -> None:
    icc = profile_of(PRIMARIES[code], TRANSFERS[transfer], grey=False)
    opened = ImageCms.ImageCmsProfile(io.BytesIO(icc))
    assert opened.profile.xcolor_space.strip() == "RGB"
    white = Image.new("RGB", (1, 1), "white")
    seen = ImageCms.profileToProfile(white, io.BytesIO(icc), ImageCms.createProfile("sRGB"), renderingIntent=1)
    assert min(seen.getpixel((0, 0))) >= 254


def test_generated_srgb_equals_that_of_littlecms() -> None:
    icc = profile_of(PRIMARIES[1], SRGB_CURVE, grey=False)
    pixels = np.random.default_rng(0).integers(0, 256, (48, 64, 3)).astype(np.uint8)
    assert np.abs(to_srgb(pixels, Metadata(icc=icc)).astype(int) - pixels).max() <= 1


def test_display_p3_matches_published_numbers() -> None:
    """sRGB (255, 0, 0) is Display P3 (234, 51, 35), by CSS Color 4."""
    seen = to_srgb(flat((234, 51, 35)), Metadata(icc=P3))[0, 0]
    assert seen.tolist() == pytest.approx([255, 0, 0], abs=2)


# --- AVIF ---------------------------------------------------------------------------------------------------------


def test_golden_avif_is_signalled_or_converted_in_all_formats(tmp_path: Path) -> None:
    blob = (GOLDEN / "avif_p3_nclx.avif").read_bytes()
    assert nclx_of(blob) == (12, 13)
    picture = read_image(blob)
    wanted = to_srgb(picture.pixels, picture.metadata)[20, 24].tolist()
    assert wanted != picture.pixels[20, 24].tolist()
    for format in OUTPUTS:
        made = encode_image(picture, format=format, quality=100 if format in ("webp", "jpeg", "avif") else None)
        back = read_image(made)
        seen = to_srgb(back.pixels, back.metadata)[20, 24].tolist()
        assert seen == pytest.approx(wanted, abs=3 if format != "gif" else 16), format  # 256 colours
        if format in ("png", "jpeg", "tiff", "webp"):
            assert shown(made) == pytest.approx(wanted, abs=3), format
    upscale(GOLDEN / "avif_p3_nclx.avif", scale=2, output=tmp_path / "out.avif")
    assert nclx_of((tmp_path / "out.avif").read_bytes()) == (12, 13)
    upscale(GOLDEN / "avif_p3_nclx.avif", scale=2, output=tmp_path / "out.png")
    kinds = {chunk.kind for chunk in chunks_of((tmp_path / "out.png").read_bytes())}
    assert {b"cICP", b"iCCP"} <= kinds


@pytest.mark.parametrize("transfer", [16, 18])
def test_hdr_is_kept_or_refused(transfer: int) -> None:
    signal, _ = signal_of_cicp(9, transfer, grey=False)
    deep = np.random.default_rng(0).integers(0, 65536, (48, 64, 3)).astype(np.uint16)
    picture = Picture(pixels=deep, metadata=Metadata(signal=signal))
    for format in ("avif", "png"):
        back = read_image(encode_image(picture, format=format))
        assert back.metadata.signal is not None
        assert back.metadata.signal.cicp == (9, transfer)
    np.testing.assert_array_equal(read_image(encode_image(picture, format="png")).pixels, deep)
    for format in ("tiff", "ppm"):
        with pytest.raises(LossyFormatError, match=r"HDR \(PQ or HLG\): choose png, avif or heic"):
            encode_image(picture, format=format)
    for format in ("avif", "png"):
        with pytest.raises(LossyFormatError, match="without metadata cannot say"):
            check_format(picture, format, strip=True)
    stripped = read_image(encode_image(picture, format="png", strip=True, force=True))
    assert stripped.metadata == Metadata()
    np.testing.assert_array_equal(stripped.pixels, to_srgb(deep, picture.metadata))


def test_hdr_shown_on_an_sdr_screen() -> None:
    """203 cd/m2 is white: 0.5807 of PQ and 0.75 of HLG (ITU-R BT.2408, Table 1)."""
    for transfer, level in ((16, 0.5807), (18, 0.75)):
        signal = ColourSignal(cicp=(9, transfer))
        grey = flat((round(level * 65535),) * 3, np.uint16)
        assert to_srgb(grey, Metadata(signal=signal))[0, 0].tolist() == pytest.approx([65535] * 3, rel=0.01)
        assert to_srgb(grey * 0, Metadata(signal=signal)).max() == 0


def test_avif_with_code_points_is_read_by_another_decoder() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (6, 8, 3)).repeat(8, 0).repeat(8, 1).astype(np.uint8)
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    metadata = Metadata(signal=ColourSignal(cicp=(12, 13), profile=P3), exif=exif.tobytes(), xmp=b"<x/>")
    blob = encode_image(Picture(pixels=pixels, metadata=metadata), format="avif", quality=95)
    plain = encode_image(Picture(pixels=pixels), format="avif", quality=95)
    np.testing.assert_array_equal(read_image(blob).pixels, read_image(plain).pixels)
    image = Image.open(io.BytesIO(blob))
    np.testing.assert_array_equal(np.asarray(image), np.asarray(Image.open(io.BytesIO(plain))))
    assert image.getexif()[0x010F] == "Maker"
    assert read_image(blob).metadata.xmp == b"<x/>"


def test_unknown_code_points_are_kept_or_reported() -> None:
    blob = bytearray((GOLDEN / "avif_p3_nclx.avif").read_bytes())
    at = blob.index(b"nclx")
    blob[at + 4 : at + 8] = bytes([0, 200, 0, 201])
    picture = read_image(bytes(blob))
    assert any("not known here (200, 201)" in note for note in picture.notes)
    assert nclx_of(encode_image(picture, format="avif")) == (200, 201)
    blob[at + 4 : at + 8] = bytes([0, 2, 0, 2])
    assert read_image(bytes(blob)).metadata.signal is None


# --- PNG ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("chunks", "value", "wanted"),
    [
        ((gama(1.0),), (128, 128, 128), [188] * 3),
        ((gama(1 / 1.8),), (100, 100, 100), [119] * 3),
        ((gama(1 / 2.2), chrm(12)), (234, 51, 35), [255, 0, 0]),
        ((chrm(12),), (234, 51, 35), [255, 0, 0]),
        ((cicp(12, 13),), (234, 51, 35), [255, 0, 0]),
        ((cicp(12, 13), gama(1.0)), (234, 51, 35), [255, 0, 0]),
        ((chunk_bytes(b"sRGB", b"\0"), gama(1.0)), (10, 99, 200), [10, 99, 200]),
        ((gama(1.0),), 128, [188] * 3),
    ],
)
def test_colours_in_png_chunks(chunks: tuple[bytes, ...], value: int | tuple, wanted: list[int]) -> None:
    blob = png(flat(value), *chunks)
    picture = read_image(blob)
    for format in OUTPUTS:
        made = encode_image(picture, format=format, quality=100 if format in ("webp", "jpeg", "avif") else None)
        back = read_image(made)
        seen = to_srgb(back.pixels, back.metadata)[20, 24].tolist()
        seen = seen * 3 if len(seen) == 1 else seen
        assert seen == pytest.approx(wanted, abs=8 if format == "gif" else 3), format
    again = encode_image(picture, format="png")
    np.testing.assert_array_equal(read_image(again).pixels, picture.pixels)
    kept = {again[c.at : c.end] for c in chunks_of(again)}
    assert set(chunks) <= kept
    stripped = read_image(encode_image(picture, format="png", strip=True))
    assert stripped.metadata == Metadata()
    assert stripped.pixels[20, 24].tolist() == pytest.approx(wanted[: stripped.pixels.shape[2]], abs=3)


def test_profile_has_priority_over_gamma() -> None:
    body = b"name\0\0" + zlib.compress(SRGB)
    picture = read_image(png(flat((10, 99, 200)), gama(1.0), chunk_bytes(b"iCCP", body)))
    assert picture.metadata.icc == SRGB
    np.testing.assert_array_equal(to_srgb(picture.pixels, picture.metadata)[0, 0], [10, 99, 200])


@pytest.mark.parametrize(
    "chunk", [gama(0), chunk_bytes(b"gAMA", b"x"), chunk_bytes(b"cHRM", bytes(32)), chunk_bytes(b"cICP", b"\1")]
)
def test_damaged_colour_chunks_are_ignored(chunk: bytes) -> None:
    picture = read_image(png(flat((10, 99, 200)), chunk))
    assert read_image(encode_image(picture, format="bmp")).pixels[0, 0].tolist() == [10, 99, 200]


def test_collinear_primaries_are_ignored() -> None:
    line = chunk_bytes(b"cHRM", struct.pack(">8I", 31270, 32900, 10000, 10000, 20000, 20000, 30000, 30000))
    picture = read_image(png(flat((10, 99, 200)), line))
    assert read_image(encode_image(picture, format="bmp")).pixels[0, 0].tolist() == [10, 99, 200]


# --- BMP ----------------------------------------------------------------------------------------------------------


def bmp(value: tuple[int, int, int], kind: int, *, corners: bytes = bytes(36), gammas: bytes = bytes(12),
        profile: bytes = b"") -> bytes:  # fmt: skip
    body = bytes(value[::-1]) * (64 * 48)
    head = struct.pack("<IiiHHIIiiII", 124, 64, 48, 1, 24, 0, len(body), 0, 0, 0, 0) + bytes(16)
    head += struct.pack("<I", kind) + corners + gammas + struct.pack("<IIII", 4, 124 + len(body), len(profile), 0)
    return b"BM" + struct.pack("<IHHI", 14 + 124 + len(body) + len(profile), 0, 0, 138) + head + body + profile


def test_bmp_with_an_embedded_profile() -> None:
    picture = read_image(bmp((234, 51, 35), 0x4D424544, profile=P3))
    assert picture.metadata.icc == P3
    for format in ("bmp", "png", "jpeg"):
        made = encode_image(picture, format=format)
        assert shown(made) == pytest.approx([255, 0, 0], abs=3)


def test_bmp_with_end_points_and_gammas() -> None:
    from a2f.imageio.colour import rgb_to_xyz

    corners = struct.pack("<9i", *(round(v * 2**30) for v in rgb_to_xyz(PRIMARIES[12]).T.flat))
    blob = bmp((234, 51, 35), 0, corners=corners, gammas=struct.pack("<3I", *(round(2.2 * 65536),) * 3))
    assert shown(encode_image(read_image(blob), format="png")) == pytest.approx([255, 0, 0], abs=3)
    assert read_image(bmp((10, 99, 200), 0)).metadata == Metadata()
    assert read_image(bmp((10, 99, 200), 0x73524742)).metadata == Metadata()


def test_bmp_with_end_points_outside_of_visible_colours() -> None:
    for corners in (
        (2**31 - 1,) * 9,
        (1, 0, 0, 0, 1, 0, 0, 0, 1),
        (-(2**31),) * 9,
        (2**30, 1, 0, 0, 1, 2**30, 5, 0, 1),
    ):
        blob = bmp((10, 99, 200), 0, corners=struct.pack("<9i", *corners), gammas=struct.pack("<3I", 2**32 - 1, 1, 9))
        read_image(blob)
        assert read_image(encode_image(read_image(blob), format="bmp")).size == (64, 48)


def test_bmp_with_a_linked_or_damaged_profile() -> None:
    linked = read_image(bmp((10, 99, 200), 0x4C494E4B, profile=b"C:\\p3.icc\0"))
    assert any("in another file" in note for note in linked.notes)
    damaged = read_image(bmp((10, 99, 200), 0x4D424544, profile=P3[:90]))
    assert damaged.metadata.icc is None
    assert any("damaged colour profile" in note for note in damaged.notes)


# --- profiles that do not fit -------------------------------------------------------------------------------------


@pytest.mark.parametrize("format", OUTPUTS)
@pytest.mark.parametrize("strip", [False, True])
def test_grey_with_a_profile_for_rgb(format: str, strip: bool) -> None:
    path = GOLDEN / "grey_with_rgb_profile_gamma18.jpg"
    picture = read_image(path)
    assert any("grey with a colour profile for RGB" in note for note in picture.notes)
    made = encode_image(picture, format=format, strip=strip)
    assert shown(path.read_bytes()) == pytest.approx([119] * 3, abs=1)
    assert shown(made) == pytest.approx([119] * 3, abs=1 if format != "gif" else 3)


@pytest.mark.parametrize("mode", ["RGB", "L", "LA"])
@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_profiles_for_other_channels_are_dropped_with_a_note(mode: str, format: str) -> None:
    grey = profile_of(PRIMARIES[1], (0, (1.0,)), grey=True)
    out = io.BytesIO()
    image = Image.new(mode, (64, 48), 77 if mode == "L" else (77,) * len(mode))
    image.save(out, format, icc_profile=grey if mode == "RGB" else P3)
    picture = read_image(out.getvalue())
    if mode == "RGB":
        assert picture.metadata.icc is None
        assert any("a colour profile for GRAY" in note for note in picture.notes)
    else:
        assert picture.metadata.icc == P3
        assert picture.pixels.shape[2] == len(mode) + 2


@pytest.mark.parametrize("icc", [b"no profile", SRGB[:200], SRGB[:128] + bytes(400), b"\0" * 300])
def test_damaged_profiles_are_dropped_with_a_note(icc: bytes) -> None:
    out = io.BytesIO()
    Image.new("RGB", (64, 48), (10, 99, 200)).save(out, "TIFF", icc_profile=icc)
    picture = read_image(out.getvalue())
    assert picture.metadata.icc is None
    assert any("damaged colour profile" in note for note in picture.notes)


def test_cmyk_with_an_rgb_profile_is_reported() -> None:
    for icc, text in ((P3, "a colour profile for RGB"), (b"x" * 300, "a damaged colour profile")):
        out = io.BytesIO()
        Image.new("CMYK", (64, 48), (0, 255, 255, 0)).save(out, "JPEG", icc_profile=icc)
        picture = read_image(out.getvalue())
        assert any(text in note for note in picture.notes)
        assert picture.pixels[20, 24, 0] > 180


def test_conversion_errors_are_raised() -> None:
    picture = Picture(pixels=flat((1, 2, 3)), metadata=Metadata(icc=SRGB[:200]))
    with pytest.raises(ImageWriteError, match="cannot convert to sRGB"):
        encode_image(picture, format="bmp")


def test_conversion_keeps_depth_grey_and_alpha() -> None:
    icc = profile_of(PRIMARIES[1], BT709_CURVE, grey=True)
    pixels = np.random.default_rng(0).integers(0, 65536, (48, 64, 2)).astype(np.uint16)
    converted = to_srgb(pixels, Metadata(icc=icc))
    assert converted.dtype == np.uint16
    np.testing.assert_array_equal(converted[..., 1], pixels[..., 1])


# --- comparing ----------------------------------------------------------------------------------------------------


def test_compare_converts_both_sides_to_one_space(tmp_path: Path) -> None:
    (tmp_path / "p3.png").write_bytes(encode_image(Picture(pixels=flat((234, 51, 35)), metadata=Metadata(icc=P3)),
                                                   format="png"))  # fmt: skip
    (tmp_path / "srgb.png").write_bytes(encode_image(Picture(pixels=flat((255, 0, 0))), format="png"))
    difference = read_rgb8(tmp_path / "p3.png").astype(int) - read_rgb8(tmp_path / "srgb.png")
    assert np.abs(difference).max() <= 2
