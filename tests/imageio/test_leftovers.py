"""Additional data of a file are kept or reported."""

import io
import struct
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms

from a2f import upscale
from a2f.errors import ImageReadError
from a2f.imageio import encode_image, left_out_note, read_image
from a2f.imageio.png_chunks import chunk_bytes, chunks_of
from a2f.imageio.png_text import _as_raw_profile, _raw_profile, texts_of

GOLDEN = Path(__file__).parents[1] / "golden"


def photo(size: tuple[int, int] = (64, 48)) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3)).astype(np.uint8))


def saved(format: str, **options: Any) -> bytes:
    out = io.BytesIO()
    photo().save(out, format, **options)
    return out.getvalue()


def enlarged(blob: bytes, format: str, factor: int = 2) -> bytes:
    picture = read_image(blob)
    return encode_image(replace(picture, pixels=picture.pixels.repeat(factor, 0).repeat(factor, 1)), format=format)


def png_with(*chunks: bytes, behind: tuple[bytes, ...] = ()) -> bytes:
    blob = saved("PNG")
    return blob[:33] + b"".join(chunks) + blob[33:-12] + b"".join(behind) + blob[-12:]


# --- PNG ----------------------------------------------------------------------------------------------------------

TEXT = chunk_bytes(b"tEXt", b"parameters\0a tree, Steps: 40, Size: 64x48")
PACKED = chunk_bytes(b"zTXt", b"Description\0\0" + zlib.compress(b"a hill " * 40))
WORLD = chunk_bytes(b"iTXt", b"Title\0\0\0de\0Titel\0" + "Grüße".encode())


def test_golden_png_keeps_every_text(tmp_path: Path) -> None:
    given = (GOLDEN / "png_text_chunks.png").read_bytes()
    upscale(GOLDEN / "png_text_chunks.png", scale=2, output=tmp_path / "out.png")
    made = (tmp_path / "out.png").read_bytes()
    texts = [[blob[c.at : c.end] for c in chunks_of(blob) if c.kind.endswith(b"Xt")] for blob in (given, made)]
    assert texts[0] == texts[1]
    assert len(texts[0]) == 3
    with pytest.warns(UserWarning, match=r"no place for PNG texts \(parameters, Description, Title\)"):
        upscale(GOLDEN / "png_text_chunks.png", scale=2, output=tmp_path / "out.jpg")


def test_texts_before_and_after_the_pixels() -> None:
    blob = png_with(TEXT, behind=(PACKED, WORLD))
    made = enlarged(blob, "png")
    for chunk in (TEXT, PACKED, WORLD):
        assert chunk in made
    image: Any = Image.open(io.BytesIO(made))
    image.load()
    assert image.text["Description"] == "a hill " * 40
    for format in ("jpeg", "webp", "tiff", "bmp", "gif", "ppm", "avif"):
        (note,) = left_out_note(read_image(blob), format)
        assert "PNG texts (parameters, Description, Title)" in note


def test_background_colour_is_kept() -> None:
    chunk = chunk_bytes(b"bKGD", bytes([0, 1, 0, 2, 0, 3]))
    assert chunk in enlarged(png_with(chunk), "png")
    assert left_out_note(read_image(png_with(chunk)), "jpeg") == []


def raw(kind: bytes, block: bytes) -> bytes:
    return _as_raw_profile(b"Raw profile type " + kind, block)


def camera(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x010F], exif[0x0112] = "Maker", orientation
    exif.get_ifd(0x8769)[0xA002] = 64
    return exif.tobytes()


@pytest.mark.parametrize("kind", [b"exif", b"APP1"])
def test_exif_in_a_text_becomes_exif(kind: bytes) -> None:
    made = enlarged(png_with(raw(kind, camera(1))), "png")
    assert b"Raw profile" not in made
    for format in ("png", "jpeg", "webp", "tiff"):
        tags = Image.Exif()
        tags.load(read_image(enlarged(png_with(raw(kind, camera(1))), format)).metadata.exif)
        assert tags[0x010F] == "Maker"
        assert tags.get_ifd(0x8769)[0xA002] == 128


def test_exif_text_with_orientation_stays_a_text_with_the_new_size() -> None:
    made = enlarged(png_with(raw(b"exif", camera(6))), "png")
    (chunk,) = texts_of(made).chunks
    whole = next(chunks_of(b"12345678" + chunk))
    tags = Image.Exif()
    tags.load(_raw_profile(whole, b"12345678" + chunk))
    assert (tags[0x0112], tags.get_ifd(0x8769)[0xA002]) == (6, 128)


def test_xmp_and_iptc_in_texts() -> None:
    mark = b"http://ns.adobe.com/xap/1.0/\0"
    for block in (raw(b"xmp", b"<x/>"), raw(b"APP1", mark + b"<x/>")):
        assert read_image(enlarged(png_with(block), "jpeg")).metadata.xmp == b"<x/>"
    kept, preview = b"\x1c\x02\x05\0\1T", b"\x1c\x02\xca\0\3abc"
    made = enlarged(png_with(raw(b"iptc", kept + preview)), "png")
    assert raw(b"iptc", kept) in made


@pytest.mark.parametrize(
    "body", [b"Raw profile type exif\0\0broken", b"Raw profile type iptc\0\0" + zlib.compress(b"x")]
)
def test_damaged_profiles_in_texts_are_not_changed(body: bytes) -> None:
    chunk = chunk_bytes(b"zTXt", body)
    assert chunk in enlarged(png_with(chunk), "png")


def test_apng_and_unknown_chunks_are_reported() -> None:
    frames = [photo(), photo().rotate(180)]
    out = io.BytesIO()
    frames[0].save(out, "PNG", save_all=True, append_images=frames[1:])
    assert any("2 frames (APNG)" in note for note in read_image(out.getvalue()).notes)
    assert read_image(saved("PNG")).notes == ()
    (note,) = read_image(png_with(chunk_bytes(b"caBX", b"jumb"))).notes
    assert "(caBX): left out" in note


# --- JPEG ---------------------------------------------------------------------------------------------------------


def test_comments_are_kept_in_jpeg_and_reported_for_other_formats() -> None:
    blob = saved("JPEG", comment=b"shot on film")
    second = struct.pack(">BBH", 0xFF, 0xFE, 9) + b"another"
    blob = blob[:2] + second + blob[2:]
    made = read_image(enlarged(blob, "jpeg"))
    assert set(made.metadata.comments) == {b"shot on film", b"another"}
    assert Image.open(io.BytesIO(enlarged(saved("JPEG", comment=b"x"), "jpeg"))).info["comment"] == b"x"
    assert left_out_note(read_image(blob), "png") == ["png has no place for JPEG comments: left out"]
    assert read_image(encode_image(made, format="jpeg", strip=True)).metadata.comments == ()


def test_unknown_segments_are_reported() -> None:
    blob = saved("JPEG")
    blob = blob[:2] + struct.pack(">BBH", 0xFF, 0xEB, 10) + b"JP\0\0jumb" + blob[2:]
    (note,) = read_image(blob).notes
    assert "(APP11): left out" in note


def test_further_pictures_of_mpo_are_reported() -> None:
    out = io.BytesIO()
    photo().save(out, "MPO", save_all=True, append_images=[photo().rotate(180)])
    assert any("1 further picture" in note for note in read_image(out.getvalue()).notes)


# --- TIFF ---------------------------------------------------------------------------------------------------------

SCALE, TIE = (33550, 12, 3, (0.5, 0.25, 0.0), True), (33922, 12, 6, (0.0, 0.0, 0.0, 100.0, 200.0, 0.0), True)
KEYS = (34735, 3, 8, (1, 1, 0, 1, 1025, 0, 1, 1), True)
POINT = (34735, 3, 8, (1, 1, 0, 1, 1025, 0, 1, 2), True)


def tiff(*tags: tuple, order: str = "<", big: bool = False, orientation: int = 1) -> bytes:
    out = io.BytesIO()
    extra = [*tags, (274, 3, 1, orientation, True)]
    tifffile.imwrite(out, np.asarray(photo()), photometric="rgb", metadata=None, software=False, extratags=extra,
                     byteorder=order, bigtiff=big)  # fmt: skip
    return out.getvalue()


def tags_of(blob: bytes) -> dict[int, Any]:
    with tifffile.TiffFile(io.BytesIO(blob)) as file:
        return {tag.code: tag.value for tag in file.pages[0].tags}


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("big", [False, True])
def test_geotiff_is_kept_with_the_new_scale(order: str, big: bool) -> None:
    names = (269, 2, 0, "sheet 12", True), (285, 2, 0, "north", True), (42113, 2, 0, "-9999", True)
    made = tags_of(enlarged(tiff(SCALE, TIE, KEYS, *names, order=order, big=big), "tiff", factor=4))
    assert made[33550] == (0.125, 0.0625, 0.0)
    assert made[33922] == TIE[3]
    assert made[34735] == KEYS[3]
    assert (made[269], made[285], made[42113]) == ("sheet 12", "north", "-9999")


def ground(tags: dict[int, Any], column: float, row: float) -> tuple[float, float]:
    """The coordinates of a raster position, by the tie point and the scale, or by the matrix."""
    if 34264 in tags:
        m = tags[34264]
        return m[0] * column + m[1] * row + m[3], m[4] * column + m[5] * row + m[7]
    (i, j, _, x, y, _), (sx, sy, _) = tags[33922], tags[33550]
    return x + (column - i) * sx, y - (row - j) * sy


@pytest.mark.parametrize("keys", [KEYS, POINT])
@pytest.mark.parametrize("how", ["scale", "matrix"])
def test_geotiff_coordinates_of_pixels_are_kept(keys: tuple, how: str) -> None:
    matrix = (34264, 12, 16, (0.5, 0.1, 0.0, 7.0, -0.2, 0.25, 0.0, 9.0, *(0.0,) * 7, 1.0), True)
    tie = (33922, 12, 6, (3.0, 5.0, 0.0, 100.0, 200.0, 0.0), True)
    blob = tiff(*((SCALE, tie) if how == "scale" else (matrix,)), keys)
    before, after = tags_of(blob), tags_of(enlarged(blob, "tiff"))
    centre = 0.0 if keys is POINT else 0.5  # of the first pixel
    for column, row in ((0, 0), (10, 4)):
        # the centre of an old pixel is the mean of the centres of its four new pixels
        new = [ground(after, 2 * column + i + centre, 2 * row + j + centre) for i in (0, 1) for j in (0, 1)]
        assert np.mean(new, axis=0) == pytest.approx(ground(before, column + centre, row + centre))


def test_rotated_geotiff_and_other_formats_report_losses() -> None:
    picture = read_image(tiff(SCALE, TIE, KEYS, orientation=6))
    assert any("GeoTIFF, since the picture was turned" in note for note in picture.notes)
    assert 33550 not in tags_of(encode_image(picture, format="tiff"))
    upright = read_image(tiff(SCALE, TIE, KEYS, (269, 2, 0, "sheet", True)))
    assert left_out_note(upright, "png") == ["png has no place for DocumentName and GeoTIFF: left out"]
    assert left_out_note(upright, "tiff") == []


def test_unknown_tags_are_reported() -> None:
    picture = read_image(tiff((65000, 2, 0, "x", True), (37724, 7, 4, b"abcd", True)))
    notes = " ".join(picture.notes)
    assert "TIFF tags that are not known here (65000)" in notes
    assert "Photoshop layers" in notes
    assert read_image(tiff()).notes == ()


def test_photoshop_resources_are_kept_without_thumbnail() -> None:
    def resource(number: int, body: bytes) -> bytes:
        return b"8BIM" + struct.pack(">HHI", number, 0, len(body)) + body

    value = resource(0x040C, b"thumb!") + resource(0x040A, b"\0\1")
    blob = tiff((34377, 7, len(value), value, True))
    made = enlarged(blob, "tiff")
    assert resource(0x040A, b"\0\1") in made
    assert b"thumb!" not in made


def test_further_pages_are_reported() -> None:
    out = io.BytesIO()
    photo().save(out, "TIFF", save_all=True, append_images=[photo()])
    assert any("2 frames or pages" in note for note in read_image(out.getvalue()).notes)


# --- behind the pixels, and other containers ----------------------------------------------------------------------


def test_exif_and_xmp_after_the_pixels_are_used() -> None:
    exif = chunk_bytes(b"eXIf", camera(6)[6:])
    xmp = chunk_bytes(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0<x/>")
    before, behind = read_image(png_with(exif, xmp)), read_image(png_with(behind=(TEXT, exif, xmp, WORLD)))
    assert behind.size == before.size == (48, 64)
    np.testing.assert_array_equal(behind.pixels, before.pixels)
    assert (behind.metadata.exif, behind.metadata.xmp) == (before.metadata.exif, before.metadata.xmp)
    assert behind.metadata.texts == (TEXT, WORLD)
    assert behind.notes == ()


@pytest.mark.parametrize("behind", [False, True])
def test_png_exif_with_the_jpeg_prefix_is_used(behind: bool) -> None:
    exif = chunk_bytes(b"eXIf", camera(6))
    assert exif[8:14] == b"Exif\0\0"
    picture = read_image(png_with(behind=(exif,)) if behind else png_with(exif))
    plain = read_image(png_with(chunk_bytes(b"eXIf", camera(6)[6:])))
    assert picture.size == plain.size == (48, 64)
    np.testing.assert_array_equal(picture.pixels, plain.pixels)
    assert picture.metadata.exif == plain.metadata.exif


def test_bytes_after_the_picture_are_reported() -> None:
    for format in ("PNG", "WEBP"):
        (note,) = read_image(saved(format) + b"PK\3\4" * 50).notes
        assert "200 bytes behind its picture: left out" in note
        assert read_image(saved(format) + bytes(50)).notes == ()


def test_gif_blocks_are_reported() -> None:
    assert read_image(saved("GIF")).notes == ()
    assert "a comment: left out" in read_image(saved("GIF", comment=b"hi there")).notes[0]
    xmp = b"\x21\xff\x0bXMP DataXMP\x04<x/>\0"
    blob = saved("GIF")
    at = 13 + (3 << ((blob[10] & 7) + 1))
    assert "a block of XMP DataXMP" in read_image(blob[:at] + xmp + blob[at:]).notes[0]


def test_webp_chunks_are_reported() -> None:
    blob = saved("WEBP", exif=camera(1))
    assert read_image(blob).notes == ()
    more = blob + b"c2pa" + struct.pack("<I", 4) + b"jumb"
    more = more[:4] + struct.pack("<I", len(more) - 8) + more[8:]
    assert "(c2pa): left out" in read_image(more).notes[0]


@pytest.mark.parametrize(("flag", "what"), [(0x20, "a colour profile"), (0x08, "EXIF"), (0x04, "XMP")])
def test_webp_blocks_that_the_header_does_not_announce_are_reported(flag: int, what: str) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    blob = saved("WEBP", exif=camera(1), xmp=b"<x/>", icc_profile=profile)
    assert blob[12:16] == b"VP8X"
    assert read_image(blob).notes == ()
    (note,) = read_image(blob[:20] + bytes([blob[20] & ~flag]) + blob[21:]).notes
    assert note.endswith(f"holds {what} that its header does not announce: left out")


def test_camera_raw_files_are_not_read_as_their_preview() -> None:
    out = io.BytesIO()
    with tifffile.TiffWriter(out) as file:
        file.write(np.asarray(photo((16, 12))), photometric="rgb", subifds=1, subfiletype=1)
        file.write(np.asarray(photo()), photometric="rgb")
    for blob in (out.getvalue(), tiff((50706, 1, 4, (1, 4, 0, 0), True))):
        with pytest.raises(ImageReadError, match="raw file of a camera: develop it first"):
            read_image(blob)
    assert read_image(tiff()).size == (64, 48)
