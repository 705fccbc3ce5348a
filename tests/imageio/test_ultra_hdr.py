"""JPEG files with several pictures: the first is read as by a simple decoder, the others are reported."""

import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pyvips
from PIL import Image

from a2f import load, upscale
from a2f.errors import A2FError, TruncatedImageError
from a2f.imageio import Picture, encode_image, left_out_note, loaders, read_image
from a2f.imageio.jpeg_parts import further_pictures, is_gain_map, jpeg_parts
from a2f.pixels import encode_enlarged, upscale_pixels
from a2f.upscaler import Upscaler

GOLDEN = Path(__file__).parents[1] / "golden"
GAIN_MAP_XMP = b'<x:xmpmeta xmlns:hdrgm="http://ns.adobe.com/hdr-gain-map/1.0/" hdrgm:Version="1.0"/>'
APPLE_XMP = b'<x:xmpmeta xmlns:HDRGainMap="http://ns.apple.com/HDRGainMap/1.0/" HDRGainMap:HDRGainMapVersion="65536"/>'


def jpeg(seed: int = 0, size: tuple[int, int] = (32, 24), **options: Any) -> bytes:
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
def test_sdr_picture_is_read_and_the_gain_map_is_reported(name: str) -> None:
    picture = read_image(GOLDEN / name)
    np.testing.assert_array_equal(
        picture.pixels, np.asarray(Image.open(io.BytesIO((GOLDEN / name).read_bytes())).convert("RGB"))
    )
    assert picture.gain_map is not None
    for format in ("png", "tiff", "webp", "avif", "bmp"):
        (note,) = left_out_note(picture, format)
        assert "the HDR gain map (the result is the SDR picture): left out" in note
    assert left_out_note(picture, "jpeg") == ["the HDR gain map is kept, and enlarged like the picture"]
    assert "left out" in left_out_note(picture, "jpeg", strip=True)[0]


@pytest.mark.parametrize("xmp", [GAIN_MAP_XMP, APPLE_XMP])
def test_gain_maps_of_every_maker(xmp: bytes) -> None:
    blob = with_gain_map(xmp)
    picture = read_image(blob)
    np.testing.assert_array_equal(picture.pixels, np.asarray(Image.open(io.BytesIO(jpeg()))))
    assert picture.notes == ()
    assert picture.gain_map is not None
    assert picture.gain_map.pixels.shape == (12, 16, 3)


def test_truncated_gain_map_is_ignored_and_truncated_picture_is_an_error() -> None:
    blob = with_gain_map()
    picture = read_image(blob[:-200])
    assert (picture.size, picture.gain_map) == ((32, 24), None)
    assert "HDR gain map: left out" in picture.notes[0]
    with pytest.raises(TruncatedImageError, match="allow_truncated=True"):
        read_image(jpeg(size=(320, 240))[:-3000])
    assert read_image(jpeg(size=(320, 240))[:-3000], allow_truncated=True).size == (320, 240)


def test_additional_pictures_videos_and_trailing_data_are_reported() -> None:
    cases = {
        jpeg() + jpeg(1) + jpeg(2): "2 further pictures",
        jpeg() + b"\0\0\0\x18ftypmp42" + b"\xff\xd8\xff moov " * 40: "a short film",
        jpeg() + b"SEFHe" * 9: "45 bytes behind its picture",
    }
    for blob, text in cases.items():
        (note,) = read_image(blob).notes
        assert text in note
        assert "left out" in note
    for blob in (jpeg(), jpeg() + bytes(2000), jpeg(progressive=True), jpeg(restart_marker_blocks=2)):
        assert read_image(blob).notes == ()


def test_end_of_picture_is_found_after_the_last_scan() -> None:
    for options in ({}, {"progressive": True}, {"restart_marker_blocks": 1}, {"quality": 100}):
        blob = jpeg(size=(160, 120), **options)
        assert jpeg_parts(blob + blob).end == len(blob)


def test_every_loader_accepts_its_options() -> None:
    for loader, options in loaders.LOADERS.values():
        assert {"fail_on", *options} <= set(pyvips.Introspect.get(loader).optional_input)


def test_refused_loader_option_is_not_reported_as_damage(monkeypatch) -> None:
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


def test_avif_sequences_are_read_and_reported() -> None:
    blob = avif_sequence()
    assert blob[8:12] == b"avis"
    picture = read_image(blob)
    assert picture.size == (48, 32)
    assert abs(int(picture.pixels.mean()) - 40) <= 2
    assert any("sequence" in note and "only" in note for note in picture.notes)


def test_brand_at_any_position() -> None:
    blob = avif_sequence()
    for brand in (b"msf1", b"iso8", b"mif1"):
        assert read_image(blob[:8] + brand + blob[12:]).size == (48, 32)


# --- the gain map, kept -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def network() -> Upscaler:
    return load("sd", scale=2, threads=2).engine


def hdr_fields(blob: bytes) -> dict[str, Any]:
    """The gain map, read by an independent reader (libultrahdr in libvips)."""
    image = pyvips.Image.uhdrload_buffer(blob)
    names = [name for name in image.get_fields() if name.startswith("gainmap-")]
    return {name: image.get(name) for name in names}


def map_of(blob: bytes) -> np.ndarray:
    pixels = pyvips.Image.jpegload_buffer(hdr_fields(blob)["gainmap-data"]).numpy()
    return pixels if pixels.ndim == 3 else pixels[:, :, None]


@pytest.mark.parametrize("name", ["ultra_hdr_google.jpg", "ultra_hdr_iso.jpg"])
def test_the_gain_map_is_enlarged_and_written_back(name: str, tmp_path: Path) -> None:
    given = (GOLDEN / name).read_bytes()
    with pytest.warns(UserWarning, match="the HDR gain map is kept"):
        upscale(GOLDEN / name, scale=2, output=tmp_path / "out.jpg", quality=100)
    made = (tmp_path / "out.jpg").read_bytes()
    before, after = hdr_fields(given), hdr_fields(made)
    assert before.keys() == after.keys()
    for key in before.keys() - {"gainmap-data", "gainmap-scale-factor"}:
        assert before[key] == after[key], key
    assert after["gainmap-scale-factor"] == before["gainmap-scale-factor"]
    picture = read_image(made)
    assert picture.size == tuple(2 * side for side in read_image(given).size)
    np.testing.assert_array_equal(picture.pixels, np.asarray(Image.open(io.BytesIO(made)).convert("RGB")))
    expected = upscale(np.ascontiguousarray(map_of(given)), scale=2)
    assert np.abs(map_of(made).astype(int) - expected).mean() < 3


def test_index_has_the_position_of_the_gain_map(network: Upscaler) -> None:
    made = b"".join(encode_enlarged(read_image(with_gain_map()), [network], format="jpeg"))
    end = jpeg_parts(made).end
    ((at, parts),) = further_pictures(made, end)
    assert is_gain_map(parts)
    assert at == end
    image: Any = Image.open(io.BytesIO(made))
    start = made.index(b"MPF\0") + 4
    first, second = image._getmp()[0xB002]
    assert (first["Size"], first["DataOffset"]) == (end, 0)
    assert (second["Size"], second["DataOffset"] + start) == (len(made) - end, end)
    assert Image.open(io.BytesIO(made[end:])).size == (32, 24)
    assert read_image(made).metadata.xmp is None  # there was none but that of the map
    assert f'Item:Length="{len(made) - at}"'.encode() in made


def test_gain_map_with_exact_sizes_and_two_passes(network: Upscaler) -> None:
    picture = read_image(with_gain_map())
    made = read_image(b"".join(encode_enlarged(picture, [network, network], size=(100, 75), format="jpeg")))
    assert made.size == (100, 75)
    assert made.gain_map.pixels.shape == (38, 50, 3)


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_gain_map_is_rotated_with_the_picture(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    blob = with_gain_map()
    blob = blob[:2] + app(0xE1, exif.tobytes()) + blob[2:]
    turned, plain = read_image(blob).gain_map.pixels, read_image(with_gain_map()).gain_map.pixels
    turns = {1: 0, 3: 2, 6: 3, 8: 1}[orientation]
    np.testing.assert_array_equal(turned, np.rot90(plain, turns))
    again = read_image(encode_image(read_image(blob), format="jpeg", quality=100))
    assert again.gain_map.pixels.shape == turned.shape


def test_gain_map_with_other_metadata_round_trips_twice(network: Upscaler) -> None:
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    blob = with_gain_map()
    blob = blob[:2] + app(0xE1, exif.tobytes()) + app(0xFE, b"a comment") + blob[2:]
    for _ in range(3):
        picture = read_image(blob)
        assert picture.gain_map is not None
        assert picture.metadata.comments == (b"a comment",)
        tags = Image.Exif()
        tags.load(picture.metadata.exif)
        assert tags[0x010F] == "Maker"
        blob = encode_image(picture, format="jpeg")
    assert blob.count(b"Item:Length") == blob.count(b"<rdf:Description") == 1


def test_stripped_files_and_other_formats_have_no_gain_map() -> None:
    picture = read_image(with_gain_map())
    assert read_image(encode_image(picture, format="jpeg", strip=True)).gain_map is None
    for format in ("png", "tiff"):
        assert read_image(encode_image(picture, format=format)).gain_map is None


def test_apples_gain_map_keeps_its_own_packet(network: Upscaler) -> None:
    made = b"".join(encode_enlarged(read_image(with_gain_map(APPLE_XMP)), [network], format="jpeg"))
    assert APPLE_XMP in made
    assert b"Item:Length" not in made
    assert read_image(made).gain_map.pixels.shape == (24, 32, 3)
    np.testing.assert_array_equal(
        upscale_pixels(read_image(with_gain_map(APPLE_XMP)).pixels, [network]).shape, read_image(made).pixels.shape
    )
    assert Picture(pixels=read_image(made).pixels).gain_map is None
