"""Floating-point pictures with an ICC profile, in formats without floats or without profiles.

These tests need the extra `formats`; `make test` installs it.
"""

import io
import struct
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms

from a2f.errors import LossyFormatError
from a2f.imageio import Metadata, Picture, encode_image, left_out_note, read_image
from a2f.imageio.colour import PRIMARIES, SRGB_CURVE, TRANSFERS, profile_of, to_srgb
from a2f.imageio.light import from_network, light_of, to_network

P3 = profile_of(PRIMARIES[12], SRGB_CURVE, grey=False)
P3_LINEAR = profile_of(PRIMARIES[12], TRANSFERS[8], grey=False)


def smooth(channels: int) -> np.ndarray:
    y, x = np.mgrid[0:40, 0:56]
    planes = [0.5 + 0.45 * np.sin(x / 9 + c) * np.cos(y / 11 + c / 2) for c in range(channels)]
    return np.stack(planes, -1).astype(np.float32)


@pytest.mark.parametrize("format", ["png", "jpeg"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_integer_samples_with_a_linear_profile(format: str, channels: int, tmp_path: Path) -> None:
    """The result and its profile have the sRGB curve; the primaries do not change."""
    path, values = tmp_path / "linear.tif", smooth(channels)
    linear, wanted = (profile_of(PRIMARIES[12], TRANSFERS[code], grey=channels == 1) for code in (8, 13))
    values[..., 3:] = 1
    extra = {"extrasamples": ["unassalpha"]} if channels == 4 else {}
    kind = "rgb" if channels > 2 else "minisblack"
    tifffile.imwrite(path, values.squeeze(), photometric=kind, iccprofile=linear, **extra)
    picture = read_image(path)
    made = read_image(encode_image(picture, format=format, quality=100 if format == "jpeg" else None, force=True))
    assert made.metadata.icc == wanted
    colours = min(channels, 3)
    shown = made.pixels[..., :colours] / np.iinfo(made.pixels.dtype).max
    curved = 1.055 * values[..., :colours].clip(0.0031308) ** (1 / 2.4) - 0.055
    np.testing.assert_allclose(shown, curved, atol=1e-4 if format == "png" else 0.02)
    if format == "png":
        stripped = read_image(encode_image(picture, format="png", force=True, strip=True))
        assert stripped.metadata.icc is None
        np.testing.assert_array_equal(stripped.pixels, to_srgb(made.pixels, made.metadata))


def table(gamma: float) -> bytes:
    """A P3 profile with curves as tables of 256 values, as in version 2."""
    values = np.rint(np.linspace(0, 1, 256) ** gamma * 65535).astype(">u2").tobytes()
    body = b"curv" + bytes(4) + struct.pack(">I", 256) + values
    icc = bytearray(P3_LINEAR)
    for name in (b"rTRC", b"gTRC", b"bTRC"):
        at = icc.index(name)
        struct.pack_into(">II", icc, at + 4, len(icc), len(body))
    return bytes(struct.pack(">I", len(icc) + len(body)) + icc[4:] + body)


CODED = {
    "linear": P3_LINEAR,
    "gamma": profile_of(PRIMARIES[12], (0, (2.2,)), grey=False),
    "function 1": profile_of(PRIMARIES[12], (1, (2.0, 0.9, 0.1)), grey=False),
    "function 2": profile_of(PRIMARIES[12], (2, (2.0, 0.8, 0.05, 0.2)), grey=False),
    "sRGB": P3,
    "function 4": profile_of(PRIMARIES[12], (4, (2.0, 0.9, 0.0, 0.5, 0.2, 0.19, 0.1236)), grey=False),
    "table": table(1.8),
}


@pytest.mark.parametrize("curve", CODED)
def test_floats_with_a_profile_are_linear_light_in_exr(curve: str, tmp_path: Path) -> None:
    """LittleCMS computes the expected values in 8 bits."""
    steps = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, axis=2)
    path = tmp_path / "coded.tif"
    tifffile.imwrite(path, (steps / 255).astype(np.float32), photometric="rgb", iccprofile=CODED[curve])
    picture = read_image(path)
    note = "exr holds no colour profile: the values become linear light, and the primaries of the profile are kept"
    assert left_out_note(picture, "exr")[0] == note
    back = read_image(encode_image(picture, format="exr")).light
    assert back is not None
    assert back.primaries == pytest.approx(PRIMARIES[12], abs=1e-4)
    pixels = read_image(encode_image(picture, format="exr")).pixels
    coded, linear = (ImageCms.ImageCmsProfile(io.BytesIO(icc)) for icc in (CODED[curve], P3_LINEAR))
    colorimetric = ImageCms.Intent.RELATIVE_COLORIMETRIC
    wanted = ImageCms.profileToProfile(Image.fromarray(steps), coded, linear, renderingIntent=colorimetric)
    np.testing.assert_allclose(from_network(pixels, back), np.asarray(wanted) / 255, atol=0.004)


def test_floats_outside_of_black_and_white_are_kept_in_exr(tmp_path: Path) -> None:
    values = np.linspace(-0.5, 3, 64, dtype=np.float32).reshape(8, 8)
    wanted = {
        "sRGB": np.where(np.abs(values) > 0.04045, ((np.abs(values) + 0.055) / 1.055) ** 2.4, np.abs(values) / 12.92)
    }
    wanted["gamma"] = np.abs(values) ** 2.2
    path = tmp_path / "coded.tif"
    for curve, grey in (("sRGB", True), ("gamma", False)):
        icc = profile_of(PRIMARIES[12], SRGB_CURVE, grey=True) if grey else CODED[curve]
        given = values if grey else values[..., None].repeat(3, axis=2)
        tifffile.imwrite(path, given, photometric="minisblack" if grey else "rgb", iccprofile=icc)
        back = read_image(encode_image(read_image(path), format="exr"))
        assert back.light is not None
        got = from_network(back.pixels, back.light)[..., 0]
        np.testing.assert_allclose(got, np.sign(values) * wanted[curve], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("force", [True, False])
def test_floats_with_a_table_profile_are_not_light(force: bool) -> None:
    values = smooth(3)
    told = light_of(values, "x", linear=False)
    tables = Metadata(icc=P3.replace(b"chad", b"A2B0", 1))
    picture = Picture(pixels=to_network(values, told), light=told, metadata=tables)
    with pytest.raises(LossyFormatError, match=r"this one, which has tables, is not converted .*: choose tiff"):
        encode_image(picture, format="exr", force=force)
