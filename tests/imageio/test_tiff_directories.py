"""TIFFs whose directories are unusual: previews and masks before the picture, and values outside their range."""

import io
import struct
from typing import Any

import numpy as np
import pytest
import tifffile

from a2f.errors import ImageReadError, TruncatedImageError
from a2f.imageio import encode_image, read_image
from a2f.imageio.header import header_of
from a2f.imageio.light import from_network
from a2f.imageio.tiff_directory import first_fields, layout_of

PICTURE = np.random.default_rng(0).integers(0, 256, (24, 40, 3)).astype(np.uint8)
ORIENTATION, FILL_ORDER, UNIT, INKS, DESCRIPTION = 274, 266, 296, 334, 270


def tiff(*pages: tuple[np.ndarray, dict[str, Any]], **options: Any) -> bytes:
    out = io.BytesIO()
    with tifffile.TiffWriter(out, **options) as writer:
        for pixels, how in pages:
            writer.write(pixels, metadata=None, software=False, **{"photometric": "rgb", **how})
    return out.getvalue()


def tagged(tag: int, kind: int, value: Any, **options: Any) -> bytes:
    return tiff((PICTURE, {"extratags": [(tag, kind, 1, value, True)], "resolution": None}), **options)


@pytest.mark.parametrize("options", [{}, {"byteorder": ">"}, {"bigtiff": True}])
@pytest.mark.parametrize("compression", [None, "lzw"])
@pytest.mark.parametrize(
    "first",
    [
        (PICTURE[::4, ::4], {"subfiletype": 1}),
        (PICTURE[::4, ::4], {"extratags": [(255, 3, 1, 2, True)]}),
        (PICTURE[..., 0] > 99, {"photometric": "mask", "subfiletype": 4}),
    ],
    ids=["preview", "old preview", "mask"],
)
def test_the_picture_behind_a_preview_or_mask_is_read(first: Any, compression: str | None, options: dict) -> None:
    main = {"compression": compression, "description": "the picture"}
    blob = tiff(first, (PICTURE, main), (PICTURE[::2, ::2], {"subfiletype": 1}), **options)
    picture = read_image(blob, name="x")
    np.testing.assert_array_equal(picture.pixels, PICTURE)
    assert picture.notes[0] == "x begins with a smaller copy or a mask of its picture: left out"
    assert picture.notes[1] == "x has 2 frames or pages; only the first is read"
    assert b"the picture" in (picture.metadata.exif or b"")
    layout = header_of(blob, name="x")
    assert (layout.width, layout.height) == (40, 24)


def test_a_file_of_previews_alone_is_read() -> None:
    np.testing.assert_array_equal(read_image(tiff((PICTURE, {"subfiletype": 1}))).pixels, PICTURE)


@pytest.mark.parametrize("options", [{}, {"byteorder": ">"}, {"bigtiff": True}])
@pytest.mark.parametrize(
    ("tag", "kind", "value"),
    [(ORIENTATION, 3, 0), (ORIENTATION, 3, 9), (FILL_ORDER, 3, 0), (FILL_ORDER, 3, 9), (INKS, 3, 9)],
)
def test_values_outside_their_range_are_no_damage(tag: int, kind: int, value: int, options: dict) -> None:
    picture = read_image(tagged(tag, kind, value, **options))
    np.testing.assert_array_equal(picture.pixels, PICTURE)
    assert picture.notes == ()


def test_a_unit_that_does_not_exist_costs_only_the_resolution() -> None:
    blob = tiff((PICTURE, {"resolution": (300, 300), "resolutionunit": 2, "description": "kept"}))
    place = next(field.place for field in first_fields(blob) if field.tag == UNIT)
    picture = read_image(blob[: place + 8] + b"\0\0" + blob[place + 10 :])
    np.testing.assert_array_equal(picture.pixels, PICTURE)
    assert b"kept" in (picture.metadata.exif or b"")


def test_a_bad_value_on_a_later_page_is_no_damage() -> None:
    later = (PICTURE, {"extratags": [(ORIENTATION, 3, 1, 0, True)]})
    picture = read_image(tiff((PICTURE, {}), later), name="x")
    np.testing.assert_array_equal(picture.pixels, PICTURE)
    assert picture.notes == ("x has 2 frames or pages; only the first is read",)


def test_damage_beside_a_bad_value_is_still_told() -> None:
    blob = tagged(ORIENTATION, 3, 0)
    with pytest.raises(TruncatedImageError):
        read_image(blob[:-100])
    broken_link = tiff((PICTURE, {}), (PICTURE, {}))
    layout = layout_of(broken_link)
    assert layout is not None
    (count,) = struct.unpack_from("<H", broken_link, layout.first)
    link = layout.first + 2 + 12 * count
    with pytest.raises(TruncatedImageError):
        read_image(broken_link[:link] + struct.pack("<I", 10**7) + broken_link[link + 4 :])


@pytest.mark.parametrize("bits", [6, 10, 12, 14])
@pytest.mark.parametrize("photometric", ["minisblack", "rgb"])
def test_depths_that_are_not_read_are_named(bits: int, photometric: str) -> None:
    pixels = (PICTURE if photometric == "rgb" else PICTURE[..., 0]).astype(np.uint8 if bits < 8 else np.uint16)
    blob = tiff((pixels % (1 << bits), {"photometric": photometric, "bitspersample": bits}))
    with pytest.raises(ImageReadError, match=f"has {bits} bits per channel"):
        read_image(blob)


@pytest.mark.parametrize("channels", [2, 4])
def test_faint_light_in_floating_point_keeps_its_colour(channels: int) -> None:
    alpha = np.geomspace(1e-6, 1, 24 * 40).reshape(24, 40, 1).astype(np.float32)
    colours = (PICTURE[..., : channels - 1] / 255 * 3).astype(np.float32)
    multiplied = np.concatenate([colours * alpha, alpha], axis=2)
    how = {"photometric": "rgb" if channels == 4 else "minisblack", "extrasamples": ["assocalpha"]}
    picture = read_image(tiff((multiplied, {"planarconfig": "contig", **how})))
    assert picture.light is not None
    np.testing.assert_allclose(from_network(picture.pixels[..., :-1], picture.light), colours, rtol=1e-4, atol=1e-5)
    written = tifffile.imread(io.BytesIO(encode_image(picture, format="tiff")))
    np.testing.assert_allclose(written[..., :-1], colours, rtol=1e-4, atol=1e-5)
    assert picture.notes == ()


def test_light_where_alpha_is_0_is_told() -> None:
    pixels = np.dstack([np.full((4, 4, 3), 0.5, np.float32), np.eye(4, dtype=np.float32)])
    picture = read_image(tiff((pixels, {"extrasamples": ["assocalpha"]})), name="x")
    assert picture.notes == ("x has 12 pixels brighter than black where alpha is 0: they become black",)
