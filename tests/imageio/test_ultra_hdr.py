"""JPEG files with more than one picture in them: the first is read as any plain decoder reads it, the rest is told."""

import io
import struct
from pathlib import Path

import numpy as np
import pytest
import pyvips
from PIL import Image

from a2f.errors import A2FError, ImageReadError, TruncatedImageError
from a2f.imageio import loaders, read_image
from a2f.imageio.jpeg_parts import jpeg_parts

GOLDEN = Path(__file__).parents[1] / "golden"
GAIN_MAP_XMP = b'<x:xmpmeta xmlns:hdrgm="http://ns.adobe.com/hdr-gain-map/1.0/" hdrgm:Version="1.0"/>'
APPLE_XMP = b'<x:xmpmeta xmlns:HDRGainMap="http://ns.apple.com/HDRGainMap/1.0/" HDRGainMap:HDRGainMapVersion="65536"/>'


def jpeg(seed: int = 0, size: tuple[int, int] = (32, 24), **options: object) -> bytes:
    out = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3)).astype(np.uint8)
    Image.fromarray(pixels).save(out, "JPEG", **options)
    return out.getvalue()


def app(marker: int, body: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


def with_gain_map(xmp: bytes = GAIN_MAP_XMP, *, mark: bytes = b"http://ns.adobe.com/xap/1.0/\0") -> bytes:
    primary, gain_map = jpeg(), jpeg(1, (16, 12))
    primary = primary[:2] + app(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + GAIN_MAP_XMP) + primary[2:]
    return primary + gain_map[:2] + app(0xE1, mark + xmp) + gain_map[2:]


@pytest.mark.parametrize("name", ["ultra_hdr_google.jpg", "ultra_hdr_iso.jpg"])
def test_the_sdr_picture_is_read_and_the_gain_map_told(name: str) -> None:
    picture = read_image(GOLDEN / name)
    np.testing.assert_array_equal(
        picture.pixels, np.asarray(Image.open(io.BytesIO((GOLDEN / name).read_bytes())).convert("RGB"))
    )
    assert [note for note in picture.notes if "gain map" in note and "left out" in note]


@pytest.mark.parametrize("xmp", [GAIN_MAP_XMP, APPLE_XMP])
def test_gain_maps_of_every_maker(xmp: bytes) -> None:
    blob = with_gain_map(xmp)
    picture = read_image(blob)
    np.testing.assert_array_equal(picture.pixels, np.asarray(Image.open(io.BytesIO(jpeg()))))
    assert len(picture.notes) == 1
    assert "HDR gain map" in picture.notes[0]


def test_a_cut_gain_map_costs_nothing_and_a_cut_picture_is_cut() -> None:
    blob = with_gain_map()
    assert read_image(blob[:-200]).size == (32, 24)
    with pytest.raises(TruncatedImageError, match="--allow-truncated"):
        read_image(jpeg(size=(320, 240))[:-3000])
    assert read_image(jpeg(size=(320, 240))[:-3000], allow_truncated=True).size == (320, 240)


def test_further_pictures_films_and_tails_are_told() -> None:
    cases = {
        jpeg() + jpeg(1) + jpeg(2): "2 further picture(s)",
        jpeg() + b"\0\0\0\x18ftypmp42" + b"\xff\xd8\xff moov " * 40: "a short film",
        jpeg() + b"SEFHe" * 9: "45 bytes behind its picture",
    }
    for blob, text in cases.items():
        (note,) = read_image(blob).notes
        assert text in note
        assert "left out" in note
    for blob in (jpeg(), jpeg() + bytes(2000), jpeg(progressive=True), jpeg(restart_marker_blocks=2)):
        assert read_image(blob).notes == ()


def test_the_end_of_a_picture_is_found_behind_every_scan() -> None:
    for options in ({}, {"progressive": True}, {"restart_marker_blocks": 1}, {"quality": 100}):
        blob = jpeg(size=(160, 120), **options)
        assert jpeg_parts(blob + blob).end == len(blob)


def test_every_loader_knows_its_options() -> None:
    for loader, options in loaders.LOADERS.values():
        assert {"fail_on", *options} <= set(pyvips.Introspect.get(loader).optional_input)


def test_an_option_that_a_loader_refuses_is_not_the_files_damage(monkeypatch) -> None:
    monkeypatch.setitem(loaders.LOADERS, "jpeg", ("jpegload_buffer", {"no_such": True}))
    for allow in (False, True):
        with pytest.raises(A2FError, match=r"libvips 8.* does not know no_such of jpegload_buffer") as told:
            read_image(jpeg(), allow_truncated=allow)
        assert type(told.value) is A2FError
    monkeypatch.setitem(loaders.LOADERS, "jpeg", ("nosuchload_buffer", {}))
    with pytest.raises(A2FError, match="cannot read jpeg: it lacks nosuchload_buffer"):
        read_image(jpeg())


def avif_sequence() -> bytes:
    out = io.BytesIO()
    frames = [Image.fromarray(np.full((32, 48, 3), v, np.uint8)) for v in (40, 200)]
    frames[0].save(out, "AVIF", save_all=True, append_images=frames[1:])
    return out.getvalue()


def test_avif_sequences_are_read_and_told() -> None:
    blob = avif_sequence()
    assert blob[8:12] == b"avis"
    picture = read_image(blob)
    assert picture.size == (48, 32)
    assert abs(int(picture.pixels.mean()) - 40) <= 2
    assert any("sequence" in note and "only" in note for note in picture.notes)


def test_the_brand_may_stand_anywhere() -> None:
    blob = avif_sequence()
    for brand in (b"msf1", b"iso8", b"mif1"):
        assert read_image(blob[:8] + brand + blob[12:]).size == (48, 32)


def test_heic_is_called_by_its_name() -> None:
    with pytest.raises(ImageReadError, match="is HEIC, which is not read: convert it"):
        read_image(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(99))
