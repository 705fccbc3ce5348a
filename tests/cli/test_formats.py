"""``a2f formats``: the table, its copy in the docs, and tests of each statement in it."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from a2f.cli.formats import formats
from a2f.errors import LossyFormatError
from a2f.imageio import FORMATS, Metadata, Picture, encode_image, left_out_note, read_image
from a2f.imageio.colour import PRIMARIES, SRGB_CURVE, profile_of
from a2f.imageio.picture import ColourSignal, Light
from a2f.imageio.png_chunks import chunk_bytes
from a2f.imageio.tiff_directory import Field

PAGE = Path(__file__).resolve().parents[2] / "docs" / "formats.md"
P3 = profile_of(PRIMARIES[12], SRGB_CURVE, grey=False)
BLOCKS = {
    "exif": b"Exif\0\0II*\0\x08\0\0\0\1\0\x0f\1\2\0\4\0\0\0abc\0\0\0\0\0",
    "xmp": b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><a/></x:xmpmeta>',
    "iptc": b"\x1c\2\x78\0\3abc",
}


def gradient(channels: int, dtype: type = np.uint8) -> np.ndarray:
    values = np.linspace(0.1, 0.9, 48 * 32 * channels).reshape(32, 48, channels)
    return values.astype(np.float32) if dtype is np.float32 else (values * np.iinfo(dtype).max).astype(dtype)


def kept(metadata: Metadata, format: str, dtype: type = np.uint8) -> Metadata:
    picture = Picture(pixels=gradient(3, dtype), metadata=replace(metadata, size=(48, 32)))
    return read_image(encode_image(picture, format=format, force=True)).metadata


def test_page_contains_the_table() -> None:
    table = CliRunner().invoke(formats, ["--markdown"]).output
    assert f"<!-- a2f formats --markdown -->\n{table}<!-- end -->" in PAGE.read_text(encoding="utf-8")


def test_table_on_a_terminal() -> None:
    lines = CliRunner().invoke(formats).output.splitlines()
    assert [line.split()[0] for line in lines] == ["format", *FORMATS]
    assert max(map(len, lines)) <= 140


def test_help_keeps_its_line_breaks() -> None:
    said = CliRunner().invoke(formats, ["--help"]).output
    assert "\\b" not in said
    assert re.search(r"^ +alpha +on/off: a pixel is fully transparent or not$", said, re.MULTILINE)


def test_clipped_highlights_are_reported() -> None:
    bright = Picture(pixels=gradient(3, np.float32), light=Light(low=-0.5, high=9))
    assert left_out_note(bright, "jpeg") == ["jpeg holds values from 0 to 1: those here, from -0.5 to 9, are clipped"]
    assert left_out_note(bright, "tiff") == left_out_note(bright, "exr") == []
    assert left_out_note(replace(bright, light=Light(low=0, high=1)), "jpeg") == []
    hdr = Picture(pixels=gradient(3), metadata=Metadata(signal=ColourSignal(cicp=(9, 16))))
    assert left_out_note(hdr, "jpeg") == left_out_note(hdr, "png", strip=True)
    assert "the highlights are clipped" in left_out_note(hdr, "jpeg")[0]
    assert left_out_note(hdr, "png") == []


@pytest.mark.parametrize("format", list(FORMATS))
def test_alpha_matches_the_table(format: str) -> None:
    picture = Picture(pixels=gradient(4))
    if FORMATS[format].alpha and FORMATS[format].soft:
        assert read_image(encode_image(picture, format=format)).has_alpha
        return
    with pytest.raises(LossyFormatError, match="transparency"):
        encode_image(picture, format=format)


@pytest.mark.parametrize("format", list(FORMATS))
def test_bit_depths_match_the_table(format: str) -> None:
    deep = Picture(pixels=gradient(3, np.uint16))
    if not FORMATS[format].deep:
        with pytest.raises(LossyFormatError, match="16 bits"):
            encode_image(deep, format=format)
        return
    back = read_image(encode_image(deep, format=format, quality=100 if FORMATS[format].quality else None))
    assert back.is_deep
    steps = len(np.unique(back.pixels))
    assert steps > 0.55 * 0.8 * min(2 ** FORMATS[format].bits, 48 * 32 * 3)


@pytest.mark.parametrize("format", list(FORMATS))
def test_floats_match_the_table(format: str) -> None:
    picture = Picture(pixels=gradient(3, np.float32), light=Light(low=0, high=9))
    if not FORMATS[format].floats:
        with pytest.raises(LossyFormatError, match="floating-point values"):
            encode_image(picture, format=format)
        return
    back = read_image(encode_image(picture, format=format))
    assert back.light is not None
    assert back.light.high > 2


@pytest.mark.parametrize("kind", ["exif", "xmp", "iptc"])
@pytest.mark.parametrize("format", list(FORMATS))
def test_metadata_match_the_table(format: str, kind: str) -> None:
    metadata = Metadata(**{kind: BLOCKS[kind]})
    has = bool(getattr(kept(metadata, format), kind))
    assert has == (kind in FORMATS[format].metadata)
    notes = left_out_note(Picture(pixels=gradient(3), metadata=metadata), format)
    assert has == (not notes)
    assert has or kind.upper() in notes[0]


@pytest.mark.parametrize("format", list(FORMATS))
def test_other_kept_data_match_the_table(format: str) -> None:
    text = chunk_bytes(b"tEXt", b"parameters\0a cat")
    name = Field(tag=269, kind=2, count=4, value=b"abc\0")
    given = Metadata(aspect=(2.0, 1.0), comments=(b"a comment",), texts=(text,), tags=(name,))
    back, also = kept(given, format), FORMATS[format].also
    assert (bool(back.aspect), bool(back.comments), bool(back.texts), any(f.tag == 269 for f in back.tags)) == (
        *("aspect" in also, "comments" in also, "texts" in also, "tags" in also),
    )
    (note,) = left_out_note(Picture(pixels=gradient(3), metadata=given), format)
    told = {"aspect": "shape of the pixels", "comments": "JPEG comments", "texts": "PNG texts", "tags": "DocumentName"}
    assert {what for what, words in told.items() if words not in note} == {*also} - {"gain map"}


@pytest.mark.parametrize("format", list(FORMATS))
def test_resolution_matches_the_table(format: str) -> None:
    metadata = Metadata(dpi=(300.0, 300.0))
    dpi = kept(metadata, format).dpi
    assert dpi == (pytest.approx((300, 300), abs=0.1) if FORMATS[format].dpi else None)
    notes = left_out_note(Picture(pixels=gradient(3), metadata=metadata), format)
    assert FORMATS[format].dpi == (not notes)


@pytest.mark.parametrize("format", list(FORMATS))
def test_colours_match_the_table(format: str) -> None:
    holds = FORMATS[format]
    assert (kept(Metadata(icc=P3), format).icc == P3) == holds.icc
    if holds.icc and holds.deep:
        assert (kept(Metadata(icc=P3), format, np.uint16).icc == P3) == holds.deep_icc
    signal = ColourSignal(cicp=(9, 16))
    told = kept(Metadata(signal=signal), format).signal
    assert (told == signal) == holds.cicp


OTHER_VALUES = ("gif", "exr")  # a palette; linear light


@pytest.mark.parametrize(
    "format",
    [name for name, entry in FORMATS.items() if (entry.lossless or not entry.quality) and name not in OTHER_VALUES],
)
def test_lossless_formats_of_the_table_lose_nothing(format: str) -> None:
    given = gradient(3)
    best = 100 if FORMATS[format].lossless else None
    assert np.array_equal(read_image(encode_image(Picture(pixels=given), format=format, quality=best)).pixels, given)


@pytest.mark.parametrize("format", list(FORMATS))
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1), (7, 5)])
def test_small_pictures_of_every_format(format: str, size: tuple[int, int]) -> None:
    pixels = gradient(3)[: size[1], : size[0]]
    assert read_image(encode_image(Picture(pixels=pixels), format=format)).size == size
