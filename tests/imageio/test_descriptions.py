"""Metadata about the old pixels are updated or removed in all places of a file."""

import io
import re
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageOps

from a2f import upscale
from a2f.imageio import Metadata, Picture, encode_image, left_out_note, read_image
from a2f.imageio.exif import first_directory, number_of, numbers_of, plain_exif, updated_exif
from a2f.imageio.iptc import cleaned_iptc, records_of
from a2f.imageio.xmp import cleaned_xmp, updated_xmp

GOLDEN = Path(__file__).parents[1] / "golden"
XMP_MARK = b"http://ns.adobe.com/xap/1.0/\0"


def photo(size: tuple[int, int] = (64, 48)) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3)).astype(np.uint8))


def packet(attributes: str = "", elements: str = "") -> bytes:
    spaces = {
        "tiff": "http://ns.adobe.com/tiff/1.0/", "exif": "http://ns.adobe.com/exif/1.0/",
        "xmp": "http://ns.adobe.com/xap/1.0/", "xmpNote": "http://ns.adobe.com/xmp/note/",
        "GPano": "http://ns.google.com/photos/1.0/panorama/", "dc": "http://purl.org/dc/elements/1.1/",
        "GCamera": "http://ns.google.com/photos/1.0/camera/", "hdrgm": "http://ns.adobe.com/hdr-gain-map/1.0/",
        "Container": "http://ns.google.com/photos/1.0/container/",
        "mwg-rs": "http://www.metadataworkinggroup.com/schemas/regions/",
        "stDim": "http://ns.adobe.com/xap/1.0/sType/Dimensions#",
    }  # fmt: skip
    declared = " ".join(f'xmlns:{prefix}="{uri}"' for prefix, uri in spaces.items())
    return (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        f"<rdf:Description {declared} {attributes}>{elements}</rdf:Description></rdf:RDF></x:xmpmeta>"
    ).encode()


def jpeg_with(xmp: bytes, *, orientation: int = 1) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    out = io.BytesIO()
    photo().save(out, "JPEG", exif=exif.tobytes(), xmp=xmp)
    return out.getvalue()


def enlarged(blob: bytes, format: str = "jpeg", factor: int = 2) -> bytes:
    """Read a picture, enlarge it without a network, and write it."""
    picture = read_image(blob)
    return encode_image(replace(picture, pixels=picture.pixels.repeat(factor, 0).repeat(factor, 1)), format=format)


@pytest.mark.parametrize("format", ["jpeg", "png", "webp", "tiff", "avif"])
def test_golden_file_with_orientation_in_xmp(format: str) -> None:
    xmp = read_image(enlarged((GOLDEN / "orientation_in_xmp_too.jpg").read_bytes(), format)).metadata.xmp.decode()
    assert dict(re.findall(r'(?:tiff|exif):(\w+)="(\d+)"', xmp)) == {
        "Orientation": "1", "ImageWidth": "96", "ImageLength": "128", "PixelXDimension": "96", "PixelYDimension": "128",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("attributes", "elements"),
    [
        ('tiff:Orientation="8" exif:PixelXDimension="64" dc:format="image/jpeg"', ""),
        ("tiff:Orientation='8' exif:PixelXDimension = '64' dc:format='image/jpeg'", ""),
        ("", "<tiff:Orientation>8</tiff:Orientation><exif:PixelXDimension>64</exif:PixelXDimension>"
             "<dc:format>image/jpeg</dc:format>"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("coding", ["utf-8", "utf-16", "utf-16-le", "utf-16-be"])
def test_every_way_to_write_a_property(attributes: str, elements: str, coding: str) -> None:
    given = packet(attributes, elements).decode().replace("image/jpeg", "grün").encode(coding)
    cleaned, lost = cleaned_xmp(given, upright=True, turned=True)
    text = updated_xmp(cleaned, size=(200, 300), given=(48, 64)).decode()
    assert re.search(r"tiff:Orientation\s*(?:=\s*[\"']|>)1\D", text)
    assert re.search(r"exif:PixelXDimension\s*(?:=\s*[\"']|>)200\D", text)
    assert "grün" in text
    assert lost == []


def test_other_prefixes_and_other_namespaces() -> None:
    given = b'<a xmlns:t="http://ns.adobe.com/tiff/1.0/" xmlns:tiff="other" t:Orientation="3" tiff:Orientation="3"/>'
    assert cleaned_xmp(given, upright=True, turned=True)[0] == given.replace(
        b't:Orientation="3"', b't:Orientation="1"', 1
    )


def test_unrelated_xmp_packet_is_not_changed() -> None:
    given = packet('dc:format="x\xff"').replace(b"\xc3\xbf", b"\xff\xfe")  # not UTF-8
    cleaned, lost = cleaned_xmp(given, upright=True, turned=True)
    assert (updated_xmp(cleaned, size=(9, 9), given=(1, 1)), lost) == (given, [])


def test_orientation_only_in_xmp_is_not_applied_and_kept() -> None:
    out = io.BytesIO()
    photo().save(out, "JPEG", xmp=packet('tiff:Orientation="6" tiff:ImageWidth="64"'))
    xmp = read_image(enlarged(out.getvalue())).metadata.xmp
    assert b'tiff:Orientation="6"' in xmp
    assert b'tiff:ImageWidth="128"' in xmp


def test_thumbnails_gain_maps_videos_and_extensions_are_removed() -> None:
    given = packet(
        'hdrgm:Version="1.0" GCamera:MotionPhoto="1" GCamera:MotionPhotoVersion="1" xmpNote:HasExtendedXMP="ABC" '
        'dc:format="image/jpeg"',
        '<xmp:Thumbnails><rdf:Alt><rdf:li xmp:image="AAAA"/></rdf:Alt></xmp:Thumbnails>'
        "<Container:Directory><rdf:Seq><rdf:li><Container:Item/></rdf:li></rdf:Seq></Container:Directory>",
    )
    picture = read_image(jpeg_with(given))
    text = picture.metadata.xmp.decode()
    for gone in ("hdrgm:V", "GCamera:M", "HasExtendedXMP", "Thumbnails", "Container:"):
        assert not re.search(rf"(?<!xmlns:){gone}", text), gone
    assert 'dc:format="image/jpeg"' in text
    assert any("extended XMP" in note for note in picture.notes)
    import xml.etree.ElementTree as ET

    ET.fromstring(text)


def test_panoramas_and_regions() -> None:
    given = packet(
        'GPano:FullPanoWidthPixels="100" GPano:CroppedAreaTopPixels="7" GPano:ProjectionType="x"',
        '<mwg-rs:Regions><mwg-rs:AppliedToDimensions stDim:w="64" stDim:h="48" stDim:unit="pixel"/></mwg-rs:Regions>',
    )
    text = read_image(enlarged(jpeg_with(given), factor=3)).metadata.xmp.decode()
    assert 'GPano:FullPanoWidthPixels="300" GPano:CroppedAreaTopPixels="21" GPano:ProjectionType="x"' in text
    assert 'stDim:w="192" stDim:h="144" stDim:unit="pixel"' in text
    turned = read_image(jpeg_with(given, orientation=6))
    assert b"AppliedToDimensions" not in turned.metadata.xmp
    assert any("regions" in note for note in turned.notes)


# --- EXIF ---------------------------------------------------------------------------------------------------------


def block(
    entries: list[tuple[int, int, int, bytes]], inner: list[tuple[int, int, int, bytes]], order: str = "<"
) -> bytes:
    """A directory and its EXIF directory, with entries in the given order; duplicates are possible."""

    def directory(at: int, entries: list[tuple[int, int, int, bytes]]) -> bytes:
        body, values, place = b"", b"", at + 2 + 12 * len(entries) + 4
        for tag, kind, count, value in entries:
            body += struct.pack(f"{order}HHI", tag, kind, count)
            if len(value) > 4:
                body += struct.pack(f"{order}I", place + len(values))
                values += value + bytes(len(value) % 2)
            else:
                body += value.ljust(4, b"\0")
        return struct.pack(f"{order}H", len(entries)) + body + bytes(4) + values

    first = [*entries, (0x8769, 4, 1, bytes(4))]
    at = 8 + len(directory(8, first))
    first[-1] = (0x8769, 4, 1, struct.pack(f"{order}I", at))
    return (
        (b"II*\0" if order == "<" else b"MM\0*")
        + struct.pack(f"{order}I", 8)
        + directory(8, first)
        + directory(at, inner)
    )


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_duplicate_tag_is_set_too(order: str) -> None:
    short = lambda v: struct.pack(f"{order}H", v)  # noqa: E731
    given = block([(0x0112, 3, 1, short(6)), (0x0112, 3, 1, short(6)), (0x0112, 3, 1, short(3))],
                  [(0xA002, 3, 1, short(64)), (0xA002, 3, 1, short(64))], order)  # fmt: skip
    updated = plain_exif(updated_exif(given, width=96, height=128))
    assert len(updated) == len(given)
    main = first_directory(updated)
    places = [p for p in main.places if struct.unpack_from(f"{order}H", updated, p)[0] == 0x0112]
    assert [struct.unpack_from(f"{order}H", updated, p + 8)[0] for p in places] == [1, 1, 1]
    assert struct.pack(f"{order}HHI", 0xA002, 3, 1) + short(64) not in updated


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("turn", range(1, 9))
def test_subject_location_follows_the_pixels(turn: int, order: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = turn
    image = Image.new("L", (64, 48))
    image.putpixel((50, 9), 255)
    image.getexif()[0x0112] = turn
    upright = np.asarray(ImageOps.exif_transpose(image))
    (y,), (x,) = np.nonzero(upright)
    values = struct.pack(f"{order}4H", 50, 9, 10, 4)
    short = lambda v: struct.pack(f"{order}H", v)  # noqa: E731
    given = block([(0x0112, 3, 1, short(turn))],
                  [(0x9214, 3, 4, values), (0xA20E, 5, 1, struct.pack(f"{order}II", 5000, 3)),
                   (0xA214, 3, 2, struct.pack(f"{order}2H", 50, 9))], order)  # fmt: skip
    size = upright.shape[::-1]
    updated = plain_exif(updated_exif(given, width=size[0] * 3, height=size[1] * 3, given=size))
    main = first_directory(updated)
    from a2f.imageio.exif import _directory, _rational

    inner = _directory(updated, number_of(updated, main, 0x8769), order)
    extent = (30, 12) if turn < 5 else (12, 30)
    assert numbers_of(updated, inner, 0x9214) == (3 * x + 1, 3 * y + 1, *extent)
    assert numbers_of(updated, inner, 0xA214) == (3 * x + 1, 3 * y + 1)
    assert _rational(updated, inner, 0xA20E) == pytest.approx(5000, rel=1e-3)


# --- IPTC ---------------------------------------------------------------------------------------------------------


def record(kind: int, number: int, value: bytes) -> bytes:
    return struct.pack(">BBBH", 0x1C, kind, number, len(value)) + value


def resource(number: int, body: bytes) -> bytes:
    return b"8BIM" + struct.pack(">HHI", number, 0, len(body)) + body + bytes(len(body) % 2)


def test_previews_pixel_counts_and_thumbnails_are_removed_from_iptc() -> None:
    kept = record(2, 5, b"title") + record(2, 25, b"word")
    old = record(2, 131, b"L") + record(2, 202, b"preview") + record(3, 20, b"\0\x40") + record(3, 30, b"\0\x30")
    assert cleaned_iptc(kept + old, size=(30, 40), turned=True) == kept + record(2, 131, b"P")
    photoshop = b"Photoshop 3.0\0" + b"".join(
        resource(number, body)
        for number, body in (
            (0x0404, kept + old),
            (0x0425, b"digest"),
            (0x040C, b"thumb"),
            (0x03ED, b"dpi"),
            (0x040A, b"\1"),
        )
    )
    cleaned = cleaned_iptc(photoshop, size=(40, 30), turned=False)
    assert records_of(cleaned) == kept + record(2, 131, b"L")
    assert cleaned == b"Photoshop 3.0\0" + resource(0x0404, kept + record(2, 131, b"L")) + resource(
        0x03ED, b"dpi"
    ) + resource(0x040A, b"\1")
    same = b"Photoshop 3.0\0" + resource(0x0404, kept) + resource(0x0425, b"digest")
    assert cleaned_iptc(same, size=(40, 30), turned=False) == same


@pytest.mark.parametrize("cut", range(0, 70, 3))
def test_unreadable_parts_of_damaged_iptc_are_kept(cut: int) -> None:
    whole = b"Photoshop 3.0\0" + resource(0x0404, record(2, 5, b"title")) + resource(0x040A, b"\1")
    assert cleaned_iptc(whole[:cut], size=(4, 3), turned=True) in (whole[:cut], whole)


# --- TIFF ---------------------------------------------------------------------------------------------------------


def test_golden_file_of_imagej(tmp_path: Path) -> None:
    path = tmp_path / "in.tif"
    path.write_bytes((GOLDEN / "tiff_imagej_description.tif").read_bytes())
    out = tmp_path / "out.tif"
    with pytest.warns(UserWarning, match=r"in\.tif") as told:
        upscale(path, scale=2, output=out)
    notes = [str(warning.message) for warning in told]
    assert not any("frames or pages" in note for note in notes)
    assert any("left out the description of its pages" in note for note in notes)
    with tifffile.TiffFile(out) as file:
        assert not file.is_imagej
        assert [page.shape for page in file.pages] == [(48, 64)] * 4
        assert 270 not in file.pages[0].tags


@pytest.mark.parametrize(
    "description",
    ['{"shape": [2, 48, 64, 3]}', "ImageJ=1.53t\nunit=micron\n", "shape=(2, 48, 64)", "Aperio Image Library v12\n64x48",
     '<?xml version="1.0"?>\n<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image/></OME>'],
)  # fmt: skip
def test_descriptions_of_layout_are_dropped_with_a_note(description: str) -> None:
    out = io.BytesIO()
    pixels = np.asarray(photo())
    tifffile.imwrite(out, pixels, photometric="rgb", metadata=None, description=description, software="scope")
    picture = read_image(out.getvalue())
    assert any("description" in note for note in picture.notes)
    for format in ("tiff", "jpeg"):
        tags = Image.Exif()
        tags.load(read_image(encode_image(picture, format=format)).metadata.exif)
        assert 270 not in tags
        assert tags[305] == "scope"


@pytest.mark.parametrize("grey", [False, True])
@pytest.mark.parametrize("form", ['{{"shape": {list}}}', "shape={tuple}"])
def test_description_of_only_the_size_is_dropped_without_a_note(form: str, grey: bool) -> None:
    pixels = np.asarray(photo().convert("L" if grey else "RGB"))
    text = form.format(list=list(pixels.shape), tuple=pixels.shape)
    out = io.BytesIO()
    tifffile.imwrite(out, pixels, photometric=None if not grey else "minisblack", metadata=None, description=text)
    picture = read_image(out.getvalue())
    assert picture.notes == ()
    tags = Image.Exif()
    tags.load(read_image(encode_image(picture, format="tiff")).metadata.exif or b"")
    assert 270 not in tags


def test_tiff_of_tifffile_loses_no_exif() -> None:
    out = io.BytesIO()
    tifffile.imwrite(out, np.asarray(photo()), photometric="rgb")
    picture = read_image(out.getvalue())
    assert picture.notes == ()
    told = left_out_note(replace(picture, metadata=replace(picture.metadata, dpi=None)), "exr")
    assert told == ["exr has no place for TIFF tags (Software): left out"]


def test_description_of_the_content_is_kept() -> None:
    for text in ("a hill in June", '{"title": "a hill"}', "seen with ImageJ"):
        out = io.BytesIO()
        tifffile.imwrite(out, np.asarray(photo()), photometric="rgb", metadata=None, description=text)
        picture = read_image(out.getvalue())
        assert picture.notes == ()
        tags = Image.Exif()
        tags.load(read_image(encode_image(picture, format="tiff")).metadata.exif)
        assert tags[270] == text


# --- the shape of pixels ------------------------------------------------------------------------------------------


def without_unit(format: str, ratio: tuple[int, int], *, orientation: int = 1) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    out = io.BytesIO()
    if format == "TIFF":
        photo().save(out, format, tiffinfo={282: float(ratio[0]), 283: float(ratio[1]), 296: 1, 274: orientation})
        return out.getvalue()
    photo().save(out, format, exif=exif.tobytes(), dpi=(72, 72))
    blob = out.getvalue()
    if format == "JPEG":
        at = blob.index(b"JFIF\0") + 7
        return blob[:at] + struct.pack(">BHH", 0, *ratio) + blob[at + 5 :]
    from a2f.imageio.png_chunks import chunk_bytes, chunks_of

    chunk = next(c for c in chunks_of(blob) if c.kind == b"pHYs")
    return blob[: chunk.at] + chunk_bytes(b"pHYs", struct.pack(">IIB", *ratio, 0)) + blob[chunk.end :]


def ratio_of(blob: bytes) -> float | None:
    metadata = read_image(blob).metadata
    assert metadata.dpi is None
    return metadata.aspect and metadata.aspect[0] / metadata.aspect[1]


@pytest.mark.parametrize("given", ["JPEG", "PNG", "TIFF"])
@pytest.mark.parametrize("made", ["jpeg", "png", "tiff"])
def test_pixel_aspect_ratio_is_kept(given: str, made: str) -> None:
    assert ratio_of(enlarged(without_unit(given, (2, 1)), made)) == pytest.approx(2)
    assert ratio_of(enlarged(without_unit(given, (12, 11)), made)) == pytest.approx(12 / 11, rel=1e-3)
    assert ratio_of(enlarged(without_unit(given, (1, 1)), made)) is None
    assert ratio_of(enlarged(without_unit(given, (2, 1), orientation=6), made)) == pytest.approx(0.5)


def test_golden_png_with_an_aspect_ratio(tmp_path: Path) -> None:
    upscale(GOLDEN / "png_aspect_2to1.png", scale=2, output=tmp_path / "out.png")
    blob = (tmp_path / "out.png").read_bytes()
    at = blob.index(b"pHYs")
    assert struct.unpack(">IIB", blob[at + 4 : at + 13]) == (2, 1, 0)


def test_independent_readers_see_the_aspect_ratio() -> None:
    jpeg = Image.open(io.BytesIO(enlarged(without_unit("PNG", (2, 1)), "jpeg")))
    assert (jpeg.info["jfif_unit"], jpeg.info["jfif_density"]) == (0, (2, 1))
    png = Image.open(io.BytesIO(enlarged(without_unit("TIFF", (2, 1)), "png")))
    assert png.info["aspect"] == (2, 1)
    tiff: Any = Image.open(io.BytesIO(enlarged(without_unit("JPEG", (2, 1)), "tiff")))
    assert (tiff.tag_v2[282], tiff.tag_v2[283], tiff.tag_v2[296]) == (2, 1, 1)


def test_formats_without_aspect_ratio_report_the_loss(tmp_path: Path) -> None:
    for suffix in ("webp", "bmp", "gif", "ppm", "avif"):
        with pytest.warns(UserWarning, match=r"the shape of the pixels \(resolutions 2 : 1\)"):
            upscale(GOLDEN / "png_aspect_2to1.png", scale=2, output=tmp_path / f"out.{suffix}", force=True)


def test_metadata_of_a_pil_image_has_the_new_size() -> None:
    out = io.BytesIO(jpeg_with(packet('tiff:Orientation="6" tiff:ImageWidth="64"'), orientation=6))
    xmp = upscale(Image.open(out), scale=2).info["xmp"]
    assert b'tiff:ImageWidth="96"' in xmp
    assert b'tiff:Orientation="6"' not in xmp


def test_metadata_made_by_hand_needs_no_size() -> None:
    picture = Picture(pixels=np.asarray(photo()), metadata=Metadata(xmp=packet('tiff:ImageWidth="9"')))
    assert b'tiff:ImageWidth="64"' in read_image(encode_image(picture, format="png")).metadata.xmp
