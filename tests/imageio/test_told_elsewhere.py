"""Colours and metadata in unusual places: the AV1 stream, EXIF, a GIF block, XMP in two parts."""

import io
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from a2f.imageio import Picture, encode_image, read_image
from a2f.imageio.av1 import colours_of_av1
from a2f.imageio.colour import ADOBE_RGB, PRIMARIES, SRGB_CURVE, profile_of
from a2f.imageio.png_chunks import chunk_bytes
from a2f.imageio.rgb import read_rgb8

GOLDEN = Path(__file__).parents[1] / "golden"
P3 = profile_of(PRIMARIES[12], SRGB_CURVE, grey=False)


def photo() -> np.ndarray:
    y, x = np.mgrid[0:40, 0:56]
    return np.stack([127 + 100 * np.sin(x / 9 + c) * np.cos(y / 11) for c in range(3)], -1).astype(np.uint8)


def jpeg(**options: object) -> bytes:
    out = io.BytesIO()
    Image.fromarray(photo()).save(out, "JPEG", quality=95, **options)
    return out.getvalue()


# --- the AV1 stream ------------------------------------------------------------------------------------------------


def test_avif_colours_are_read_from_the_bitstream() -> None:
    blob = (GOLDEN / "avif_p3_nclx.avif").read_bytes()
    without = blob.replace(b"colrnclx", b"freenclx")
    assert without != blob
    signal = read_image(without).metadata.signal
    assert signal is not None
    assert signal.cicp == (12, 13)
    assert read_image(encode_image(read_image(without), format="png")).metadata.icc is not None


def sequence_header(bits: str) -> bytes:
    """An OBU of type 1 with its length."""
    bits = bits.replace(" ", "")
    body = bytes(int(bits[i : i + 8].ljust(8, "0"), 2) for i in range(0, len(bits), 8))
    return bytes((0b1010, len(body))) + body


SIZE = f"{5:04b} {5:04b} {39:06b} {39:06b}"
COLOUR = f"1 {9:08b} {16:08b} {9:08b}"  # present; primaries, transfer, matrix


@pytest.mark.parametrize(
    "bits",
    [
        f"000 1 1 {8:05b} {SIZE} 000 000 0 0 {COLOUR}",  # a still picture, header reduced
        # timing with a uvlc, a decoder model, display delays, two operating points, frame numbers, order hints
        f"010 0 0 1 {'0' * 64} 1 00100 1 {3:05b} {'0' * 42} 1 {1:05b} "
        f"{'0' * 12} {9:05b} 0 1 {'0' * 9} 1 0000 {'0' * 12} {3:05b} 0 0 "
        f"{SIZE} 1 {'0' * 7} 000 0000 1 00 0 1 0 1 000 000 1 1 0 {COLOUR}",
        f"001 0 0 0 0 {0:05b} {'0' * 12} {3:05b} {SIZE} 0 000 0000 0 1 1 000 0 {COLOUR}",
    ],
)
def test_av1_sequence_headers_of_all_kinds(bits: str) -> None:
    delimiter = bytes((0b10010, 0))
    assert colours_of_av1(delimiter + sequence_header(bits)) == (9, 16)
    for cut in range(3, len(sequence_header(bits)) - 3):
        assert colours_of_av1(sequence_header(bits)[:cut]) is None


def test_av1_stream_without_colours() -> None:
    assert colours_of_av1(sequence_header(f"000 1 1 {8:05b} {SIZE} 000 000 0 0 0")) is None
    assert colours_of_av1(b"") is None


# --- a range in PNG -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("deep", "black", "white"), [(False, 16, 235), (True, 16 * 256, 235 * 256)])
def test_png_with_narrow_range(deep: bool, black: int, white: int) -> None:
    pixels = np.array([[[black] * 3, [white] * 3, [(black + white) // 2] * 3]], np.uint16 if deep else np.uint8)
    blob = encode_image(Picture(pixels=pixels), format="png")
    told = blob[:33] + chunk_bytes(b"cICP", bytes((9, 16, 0, 0))) + blob[33:]
    picture = read_image(told, name="video.png")
    top = 65535 if deep else 255
    np.testing.assert_allclose(picture.pixels[0, :, 0] / top, [0, 1, 0.5], atol=0.004)
    assert picture.notes == ("video.png has the narrow range of video (cICP): taken to the full range",)
    again = read_image(encode_image(picture, format="png"))
    assert again.notes == ()
    np.testing.assert_array_equal(again.pixels, picture.pixels)


# --- EXIF ----------------------------------------------------------------------------------------------------------


def test_adobe_rgb_only_in_exif() -> None:
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    exif.get_ifd(0x8769)[0xA001] = 65535
    exif.get_ifd(0x8769)[0xA005] = {1: "R03"}
    picture = read_image(jpeg(exif=exif), name="camera.jpg")
    assert picture.metadata.icc == profile_of(ADOBE_RGB, (0, (563 / 256,)), grey=False)
    assert picture.notes == (
        "camera.jpg tells by EXIF alone that its colours are Adobe RGB: the result gets that profile",
    )
    assert np.abs(read_rgb8(jpeg(exif=exif)).astype(int) - read_rgb8(jpeg())).max() > 10
    exif.get_ifd(0x8769)[0xA005] = {1: "R98"}
    assert read_image(jpeg(exif=exif)).metadata.icc is None


# --- a GIF ---------------------------------------------------------------------------------------------------------


def test_profile_of_a_gif_is_used() -> None:
    out = io.BytesIO()
    Image.fromarray(photo()).convert("P", palette=Image.Palette.ADAPTIVE).save(out, "GIF")
    blob = out.getvalue()
    at = 13 + 3 * 2 ** ((blob[10] & 7) + 1)
    blocks = b"".join(bytes([len(P3[i : i + 255])]) + P3[i : i + 255] for i in range(0, len(P3), 255))
    told = blob[:at] + b"\x21\xff\x0bICCRGBG1012" + blocks + b"\0" + blob[at:]
    picture = read_image(told)
    assert picture.metadata.icc == P3
    assert not picture.notes
    assert read_image(encode_image(picture, format="png")).metadata.icc == P3
    assert np.abs(read_rgb8(told).astype(int) - read_rgb8(blob)).max() > 5


# --- extended XMP --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pointer", ['xmpNote:HasExtendedXMP="0123456789ABCDEF0123456789ABCDEF"', ""])
def test_extended_xmp_is_reported_and_no_reference_remains(pointer: str) -> None:
    packet = (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        '<rdf:Description xmlns:xmpNote="http://ns.adobe.com/xmp/note/" xmlns:dc="http://purl.org/dc/elements/1.1/" '
        f'dc:format="image/jpeg" {pointer}/></rdf:RDF></x:xmpmeta>'
    ).encode()
    bodies = [
        b"http://ns.adobe.com/xap/1.0/\0" + packet,
        b"http://ns.adobe.com/xmp/extension/\0" + b"0123456789ABCDEF" * 2 + struct.pack(">II", 4, 0) + b"<a/>",
    ]
    segments = b"".join(b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body for body in bodies)
    blob = jpeg()
    picture = read_image(blob[:2] + segments + blob[2:], name="phone.jpg")
    assert picture.notes == ("phone.jpg: left out extended XMP",)
    written = encode_image(picture, format="jpeg")
    assert b"dc:format" in written
    assert b"HasExtendedXMP" not in written


# --- TGA with undeclared alpha -------------------------------------------------------------------------------------


def test_tga_with_unnamed_alpha() -> None:
    rgba = np.concatenate([photo(), photo()[..., :1]], axis=2)
    blob = bytearray(encode_image(Picture(pixels=rgba), format="tga"))
    assert read_image(bytes(blob)).notes == ()
    blob[17] &= 0xF0
    picture = read_image(bytes(blob), name="t.tga")
    np.testing.assert_array_equal(picture.pixels, rgba)
    assert picture.notes == ("t.tga does not say that its fourth channel is alpha; it is taken for alpha",)
