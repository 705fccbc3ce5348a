"""Metadata: unchanged parts keep their bytes, and nothing is invented."""

import io
import struct
from dataclasses import replace

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms, IptcImagePlugin

from a2f.errors import LossyFormatError
from a2f.imageio import Metadata, Picture, encode_image, read_image
from a2f.imageio.exif import dpi_of_exif, plain_exif, updated_exif, with_resolution
from a2f.imageio.formats import MAX_JPEG_PROFILE, left_out_note
from a2f.imageio.iptc import records_of

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
WITH_EXIF = ["jpeg", "png", "webp", "tiff", "avif"]
BYTE_FOR_BYTE = ["jpeg", "png", "webp"]


def colours(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (40, 60, 3)).astype(np.uint8)


def directory(order: str, at: int, entries: list[tuple[int, int, int, bytes]], link: int = 0) -> bytes:
    """A directory followed by its values: (tag, type, count, value)."""
    body, values, place = b"", b"", at + 2 + 12 * len(entries) + 4
    for tag, kind, count, value in sorted(entries):
        if len(value) > 4:
            body += struct.pack(f"{order}HHII", tag, kind, count, place + len(values))
            values += value + bytes(len(value) % 2)
        else:
            body += struct.pack(f"{order}HHI", tag, kind, count) + value.ljust(4, b"\0")
    return struct.pack(f"{order}H", len(entries)) + body + struct.pack(f"{order}I", link) + values


def camera_exif(order: str = "<", orientation: int = 6) -> bytes:
    """An EXIF block of a camera: rare tags, and a maker note with an offset from the start of the block."""
    short = lambda v: struct.pack(f"{order}H", v)  # noqa: E731
    rational = lambda a, b: struct.pack(f"{order}II", a, b)  # noqa: E731
    first: list[tuple[int, int, int, bytes]] = [
        (0x010F, 2, 6, b"Canon\0"),
        (0x0112, 3, 1, short(orientation)),
        (0x011A, 5, 1, rational(300, 1)),
        (0x011B, 5, 1, rational(150, 1)),
        (0x0128, 3, 1, short(2)),
        (0x013C, 2, 5, b"host\0"),
        (0x4746, 3, 1, short(5)),
        (0xC4A5, 7, 8, b"PrintIM\0"),
        (0x8769, 4, 1, bytes(4)),
    ]
    inner_at = 8 + len(directory(order, 8, first))
    first[-1] = (0x8769, 4, 1, struct.pack(f"{order}I", inner_at))
    note = bytes(range(256)) + struct.pack(f"{order}I", inner_at)
    inner: list[tuple[int, int, int, bytes]] = [
        (0x9003, 2, 20, b"2026:01:02 03:04:05\0"),
        (0x927C, 7, len(note), note),
        (0xA002, 3, 1, short(50)),
        (0xA003, 4, 1, struct.pack(f"{order}I", 60)),
        (0xA434, 2, 5, b"Lens\0"),
    ]
    start = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", 8)
    return start + directory(order, 8, first) + directory(order, inner_at, inner)


def values_of(exif: bytes) -> dict[tuple[str, int], object]:
    tags = Image.Exif()
    tags.load(exif)
    return {("0", t): v for t, v in tags.items() if t != 0x8769} | {
        ("x", t): v for t, v in tags.get_ifd(0x8769).items()
    }


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("format", BYTE_FOR_BYTE)
def test_only_changed_fields_are_rewritten(format: str, order: str) -> None:
    given = camera_exif(order)
    picture = Picture(pixels=colours(), metadata=Metadata(exif=given))
    back = plain_exif(read_image(encode_image(picture, format=format)).metadata.exif)
    assert len(back) == len(given)
    before, after = values_of(given), values_of(back)
    changed = {key: after[key] for key in before if after[key] != before[key]}
    assert changed == {
        ("0", 0x0112): 1,
        ("0", 0x011A): 150,  # it lay on its side
        ("0", 0x011B): 300,
        ("x", 0xA002): 60,
        ("x", 0xA003): 40,
    }
    assert before.keys() == after.keys()
    assert back.index(bytes(range(256))) == given.index(bytes(range(256)))  # offsets in a maker note still hold


@pytest.mark.parametrize("order", ["<", ">"])
def test_large_sizes_fit_into_short_tags(order: str) -> None:
    block = updated_exif(camera_exif(order), width=70_000, height=80_000)
    values = values_of(block)
    assert (values["x", 0xA002], values["x", 0xA003]) == (70_000, 80_000)


def test_tags_of_a_tiff_survive() -> None:
    given = values_of(camera_exif())
    blob = encode_image(Picture(pixels=colours(), metadata=Metadata(exif=camera_exif())), format="tiff")
    back = values_of(read_image(blob).metadata.exif)
    for key in (("0", 0x010F), ("0", 0x013C), ("0", 0x4746), ("x", 0x9003), ("x", 0x927C), ("x", 0xA434)):
        assert back[key] == given[key]
    with tifffile.TiffFile(io.BytesIO(blob)) as file:
        assert file.pages[0].tags[271].value == "Canon"
        assert file.pages[0].tags[34665].value["LensModel"] == "Lens"
        np.testing.assert_array_equal(file.asarray(), colours())


def test_gps_and_interoperability_stay_separate_in_tiff() -> None:
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0xA005] = {1: "R98"}
    exif.get_ifd(0x8825)[1] = "N"
    blob = encode_image(Picture(pixels=colours(), metadata=Metadata(exif=exif.tobytes())), format="tiff")
    back = Image.Exif()
    back.load(read_image(blob).metadata.exif)
    assert back.get_ifd(0xA005)[1] == "R98"
    assert back.get_ifd(0x8825)[1] == "N"


@pytest.mark.parametrize("cut", range(1, 60, 3))
def test_truncated_exif_is_dropped_or_read(cut: int) -> None:
    whole = camera_exif()
    updated = updated_exif(whole[:cut], width=3, height=4)
    assert updated is None or len(plain_exif(updated)) == cut


@pytest.mark.parametrize("format", ["jpeg", "png", "webp", "tiff"])
def test_no_metadata_is_invented(format: str) -> None:
    """A picture that has only a profile gets no EXIF block and no resolution; libvips would write both."""
    picture = Picture(pixels=colours(), metadata=Metadata(icc=SRGB))
    blob = encode_image(picture, format=format)
    assert read_image(blob).metadata == Metadata(icc=SRGB)
    if format != "tiff":
        assert b"Exif" not in blob
        assert b"eXIf" not in blob
        assert b"EXIF" not in blob
    assert "dpi" not in Image.open(io.BytesIO(blob)).info


@pytest.mark.parametrize("format", ["jpeg", "png", "webp", "tiff", "avif"])
@pytest.mark.parametrize("exif", [None, camera_exif(orientation=1)])
def test_resolution_matches_an_independent_reader(format: str, exif: bytes | None) -> None:
    picture = Picture(pixels=colours(), metadata=Metadata(exif=exif, dpi=(300.0, 150.0)))
    blob = encode_image(picture, format=format)
    assert read_image(blob).metadata.dpi == pytest.approx((300, 150), rel=1e-4)
    image = Image.open(io.BytesIO(blob))
    tags = image.getexif()
    seen = image.info["dpi"] if "dpi" in image.info else (tags[0x011A], tags[0x011B])
    assert [float(d) for d in seen] == pytest.approx([300, 150], rel=1e-4)


def test_one_pixel_a_millimetre_is_a_resolution() -> None:
    """libvips returns this value also for files without a resolution."""
    blob = encode_image(Picture(pixels=colours(), metadata=Metadata(dpi=(25.4, 25.4))), format="png")
    assert read_image(blob).metadata.dpi == pytest.approx((25.4, 25.4))
    assert read_image(encode_image(Picture(pixels=colours()), format="png")).metadata.dpi is None


@pytest.mark.parametrize("format", ["JPEG", "PNG", "TIFF"])
def test_resolution_is_rotated_with_the_picture(format: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    out = io.BytesIO()
    Image.fromarray(colours()).save(out, format, exif=exif.tobytes(), dpi=(300, 150))
    picture = read_image(out.getvalue())
    assert picture.size == (40, 60)
    assert picture.metadata.dpi == pytest.approx((150, 300), rel=1e-4)


@pytest.mark.parametrize("odd", [0, 1])
@pytest.mark.parametrize("order", ["<", ">"])
def test_adding_a_resolution_moves_no_other_data(order: str, odd: int) -> None:
    without = bytearray(camera_exif(order) + bytes(odd))
    for tag in (0x011A, 0x011B, 0x0128):
        at = without.index(struct.pack(f"{order}HH", tag, 3 if tag == 0x0128 else 5))
        struct.pack_into(f"{order}H", without, at, tag + 0x4000)  # another tag in its place
    block = with_resolution(bytes(without), (96.0, 72.5))
    assert dpi_of_exif(block) == (96.0, 72.5)
    assert struct.unpack_from(f"{order}I", block, 4)[0] % 2 == 0
    assert block[8 : len(without)] == without[8:]
    assert values_of(block)["x", 0xA434] == "Lens"


@pytest.mark.parametrize("start", [8, 26, 30])
def test_thumbnail_that_overlaps_the_directories(start: int) -> None:
    first = struct.pack("<HHHI4sI", 1, 0x010F, 2, 4, b"Abc\0", 26)
    entries = [(0x0111, 4, 1, start), (0x0117, 4, 1, 10_000), (0x0201, 4, 1, start), (0x0202, 4, 1, 10_000)]
    second = struct.pack("<H", 4) + b"".join(struct.pack("<HHII", *entry) for entry in entries) + bytes(4)
    updated = updated_exif(b"II*\0\x08\0\0\0" + first + second, width=3, height=4)
    assert len(plain_exif(updated)) == start


def test_a_damaged_tag_that_cannot_be_written_does_not_stop_a_tiff() -> None:
    """A text in a tag with numbers only: Pillow can read it but not write it."""
    damaged = camera_exif(">").replace(struct.pack(">HH", 0x9003, 2), struct.pack(">HH", 0x0103, 2))
    blob = encode_image(Picture(pixels=colours(), metadata=Metadata(exif=damaged)), format="tiff")
    assert blob[8:].startswith(encode_image(Picture(pixels=colours()), format="tiff")[8:])
    np.testing.assert_array_equal(read_image(blob).pixels, colours())


def iptc_records() -> bytes:
    fields = ((5, b"A title"), (25, b"keyword"), (80, b"Its author"))
    return b"".join(struct.pack(">BBBH", 0x1C, 2, number, len(text)) + text for number, text in fields)


def photoshop_block() -> bytes:
    """A Photoshop block: the records are between two other resources, one with a name."""
    resources = ((0x03F3, b"\3abc", b"flags"), (0x0404, b"\0\0", iptc_records()), (0x0406, b"\0\0", b"ab"))
    return b"Photoshop 3.0\0" + b"".join(
        b"8BIM" + struct.pack(">H", number) + name + struct.pack(">I", len(body)) + body + bytes(len(body) % 2)
        for number, name, body in resources
    )


def test_iptc_matches_an_independent_reader() -> None:
    assert len(iptc_records()) % 2 == 1
    for block in (iptc_records(), photoshop_block()):
        picture = Picture(pixels=colours(), metadata=Metadata(iptc=block, exif=camera_exif()))
        tiff, jpeg = (Image.open(io.BytesIO(encode_image(picture, format=f))) for f in ("tiff", "jpeg"))
        wanted = {(2, 5): b"A title", (2, 25): b"keyword", (2, 80): b"Its author"}
        assert IptcImagePlugin.getiptcinfo(tiff) == wanted
        assert IptcImagePlugin.getiptcinfo(jpeg) == wanted


def test_iptc_round_trip() -> None:
    for format, block in (("tiff", iptc_records()), ("jpeg", photoshop_block())):
        picture = Picture(pixels=colours(), metadata=Metadata(iptc=block))
        assert read_image(encode_image(picture, format=format)).metadata == picture.metadata


def test_truncated_photoshop_block_is_dropped_or_read() -> None:
    for cut in range(14, len(photoshop_block())):
        records = records_of(photoshop_block()[:cut])
        assert records is None or iptc_records().startswith(records)
    assert records_of(b"Photoshop 3.0\0nothing of the kind") is None


def test_resolution_in_centimetres() -> None:
    block = bytearray(camera_exif())
    at = block.index(struct.pack("<HHI", 0x0128, 3, 1))
    block[at + 8] = 3
    assert dpi_of_exif(bytes(block)) == pytest.approx((300 * 2.54, 150 * 2.54))


@pytest.mark.parametrize("format", WITH_EXIF)
def test_resolution_too_large_for_jpeg(format: str) -> None:
    blob = encode_image(Picture(pixels=colours(), metadata=Metadata(dpi=(70_000.0, 70_000.0))), format=format)
    assert read_image(blob).metadata.dpi == pytest.approx((65_535 if format == "jpeg" else 70_000,) * 2, rel=1e-4)


@pytest.mark.parametrize("format", BYTE_FOR_BYTE)
def test_exif_block_of_odd_length(format: str) -> None:
    given = Metadata(exif=camera_exif(orientation=1) + b"\0", xmp=b"<x/>")
    blob = encode_image(Picture(pixels=colours(), metadata=given), format=format)
    back = read_image(blob).metadata
    assert len(plain_exif(back.exif)) == len(given.exif)
    assert back.xmp == given.xmp
    assert Image.open(io.BytesIO(blob)).getexif()[0x010F] == "Canon"


def test_metadata_too_long_for_jpeg_is_reported() -> None:
    xmp = b"<x:xmpmeta>" + b"a" * 70_000 + b"</x:xmpmeta>"
    long_note = Image.Exif()
    long_note.get_ifd(0x8769)[0x927C] = bytes(70_000)
    cases = (
        (Metadata(xmp=xmp), "XMP"),
        (Metadata(exif=long_note.tobytes()), "EXIF"),
        (Metadata(iptc=b"Photoshop 3.0\0".ljust(70_000, b"x")), "IPTC"),
    )
    for metadata, what in cases:
        picture = Picture(pixels=colours(), metadata=metadata)
        with pytest.raises(LossyFormatError, match=rf"jpeg cannot hold 70,\d\d\d bytes of {what}.*force=True"):
            encode_image(picture, format="jpeg")
        for options in ({"force": True}, {"strip": True}):
            assert read_image(encode_image(picture, format="jpeg", **options)).metadata == Metadata()
        for format in ("png", "webp", "tiff", "avif"):
            back = read_image(encode_image(picture, format=format)).metadata
            assert back.xmp == metadata.xmp
            assert (back.exif is None) == (metadata.exif is None)


@pytest.mark.parametrize("length", [65_000, 65_504])
def test_longest_metadata_of_jpeg_is_kept(length: int) -> None:
    xmp = b"<x>".ljust(length, b"a")
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x927C] = bytes(length - 100)
    metadata = Metadata(xmp=xmp, exif=plain_exif(exif.tobytes()))
    back = read_image(encode_image(Picture(pixels=colours(), metadata=metadata), format="jpeg")).metadata
    assert back.xmp == xmp
    assert plain_exif(back.exif) == metadata.exif


def test_padding_of_a_profile_is_removed() -> None:
    for format in ("png", "jpeg", "tiff"):
        picture = Picture(pixels=colours(), metadata=Metadata(icc=SRGB + bytes(100)))
        assert read_image(encode_image(picture, format=format)).metadata.icc == SRGB


def linear_profile(space: bytes) -> bytes:
    """A linear profile: sRGB with linear curves, as RGB or grey."""
    if space == b"RGB ":
        icc = bytearray(SRGB)
        at = icc.index(b"para")
        icc[at + 12 : at + 16] = (65536).to_bytes(4, "big")
        icc[at + 16 : at + 32] = b"".join(v.to_bytes(4, "big") for v in (65536, 0, 65536, 0))
        return bytes(icc)
    tags = {b"wtpt": b"XYZ " + struct.pack(">4xiii", 63190, 65536, 54061), b"kTRC": b"curv" + bytes(8)}
    table, values = struct.pack(">I", len(tags)), b""
    for tag, value in tags.items():
        table += tag + struct.pack(">II", 128 + 4 + 12 * len(tags) + len(values), len(value))
        values += value
    header = bytearray(SRGB[:128])
    header[12:24] = b"mntrGRAYXYZ "
    header[0:4] = struct.pack(">I", 128 + len(table) + len(values))
    return bytes(header) + table + values


@pytest.mark.parametrize("format", ["bmp", "ppm", "gif"])
def test_formats_without_a_profile_get_srgb(format: str) -> None:
    """Without a conversion, the values of another colour space would show other colours."""
    grey = np.full((8, 8, 3), 128, np.uint8)
    picture = Picture(pixels=grey, metadata=Metadata(icc=linear_profile(b"RGB ")))
    pixels = read_image(encode_image(picture, format=format)).pixels
    assert pixels[4, 4].tolist() == pytest.approx([188] * 3, abs=2)  # sRGB's code of half the light


def test_grey_profile_is_kept_for_grey_and_dropped_for_rgb() -> None:
    icc = linear_profile(b"GRAY")
    grey = Picture(pixels=np.full((8, 8, 1), 128, np.uint8), metadata=Metadata(icc=icc))
    for format in ("png", "jpeg", "tiff"):
        back = read_image(encode_image(grey, format=format))
        assert (back.metadata.icc, back.pixels.shape[2], int(back.pixels[4, 4, 0])) == (icc, 1, 128), format
    back = read_image(encode_image(grey, format="webp", quality=100))
    assert back.metadata.icc is None
    assert back.pixels[4, 4].tolist() == pytest.approx([188] * 3, abs=2)


def test_metadata_does_not_touch_the_pixels() -> None:
    bare = Picture(pixels=colours())
    full = replace(bare, metadata=Metadata(icc=SRGB, exif=camera_exif(), xmp=b"<x/>", dpi=(300.0, 300.0)))
    for format in WITH_EXIF:
        one, other = (read_image(encode_image(p, format=format)).pixels for p in (bare, full))
        np.testing.assert_array_equal(one, other, err_msg=format)


def test_profile_too_large_for_jpeg() -> None:
    longer = [SRGB.ljust(MAX_JPEG_PROFILE + more, b"\0") for more in (0, 1)]
    fits, long = (struct.pack(">I", len(icc)) + icc[4:] for icc in longer)  # their length is in their headers
    blob = encode_image(Picture(pixels=colours(), metadata=Metadata(icc=fits)), format="jpeg")
    assert b"ICC_PROFILE\0\xff\xff" in blob  # the last of 255 parts
    picture = Picture(pixels=colours(), metadata=Metadata(icc=long))
    with pytest.raises(LossyFormatError, match=r"jpeg cannot hold a colour profile of 16,707,346 bytes.*force=True"):
        encode_image(picture, format="jpeg")
    assert b"ICC_PROFILE" not in encode_image(picture, format="jpeg", force=True)
    assert left_out_note(picture, "jpeg") == [
        "jpeg cannot hold a colour profile of this length: the colours are converted to sRGB"
    ]
    assert read_image(encode_image(picture, format="tiff")).metadata.icc == long
