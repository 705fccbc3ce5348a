"""Training, evaluation, preparation, calibration and comparison read equal pixels from a file."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from a2f.data.index import PrepareSettings
from a2f.data.pairs import find_images, make_pair
from a2f.data.prepare import find_sources, run
from a2f.errors import ImageReadError
from a2f.evaluation.sets import load_set
from a2f.imageio.rgb import read_rgb8, to_uint8

SIDE = 32


def ramp() -> np.ndarray:
    """[32, 32] float in [0, 1], brighter to the right."""
    return np.tile(np.linspace(0.1, 0.9, SIDE), (SIDE, 1))


def grey16(path: Path) -> np.ndarray:
    Image.fromarray((ramp() * 65535).round().astype(np.uint16)).save(path.with_suffix(".png"))
    return to_uint8(ramp()[..., None].repeat(3, axis=2))


def transparent(path: Path) -> np.ndarray:
    rgba = np.zeros((SIDE, SIDE, 4), np.uint8)
    rgba[..., 3] = to_uint8(ramp())
    Image.fromarray(rgba).save(path.with_suffix(".png"))
    return 255 - rgba[..., 3:].repeat(3, axis=2)  # black over white


def rotated(path: Path) -> np.ndarray:
    upright = to_uint8(ramp()[..., None].repeat(3, axis=2))
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise to see it upright
    turned = np.rot90(upright)
    Image.fromarray(turned).save(path.with_suffix(".jpg"), quality=100, subsampling=0, exif=exif)
    return upright


def with_profile(path: Path) -> np.ndarray:
    """The conversion from sRGB to sRGB changes pixels only by rounding."""
    rgb = np.full((SIDE, SIDE, 3), (200, 60, 40), np.uint8)
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
    Image.fromarray(rgb).save(path.with_suffix(".png"), icc_profile=srgb.tobytes())
    return rgb


@pytest.mark.parametrize(("make", "levels"), [(grey16, 0), (transparent, 0), (rotated, 2), (with_profile, 1)])
def test_all_read_the_same_pixels(make, levels: int, tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    expected = make(tmp_path / "set/a").astype(int)
    (path,) = find_images(tmp_path / "set")
    read = read_rgb8(path)
    assert np.abs(read.astype(int) - expected).max() <= levels
    np.testing.assert_array_equal(make_pair(path, scale=2)[0], read)
    (item,) = load_set(tmp_path / "set", scale=2)
    np.testing.assert_array_equal(item.hr, read)
    prepared = tmp_path / "prepared"
    list(run(find_sources(tmp_path / "set", prepared, PrepareSettings(min_size=1)), jobs=1))
    (made,) = prepared.rglob("*.png")
    np.testing.assert_array_equal(np.asarray(Image.open(made)), read)


def test_cmyk_is_converted_for_all(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    cmyk = np.full((SIDE, SIDE, 4), (255, 0, 0, 64), np.uint8)
    Image.fromarray(cmyk, mode="CMYK").save(tmp_path / "set/a.jpg", quality=95)
    read = read_rgb8(tmp_path / "set/a.jpg")
    assert read[..., 0].mean() < 60 < read[..., 2].mean()  # cyan, darkened
    np.testing.assert_array_equal(make_pair(tmp_path / "set/a.jpg", scale=2)[0], read)


def test_unreadable_files_raise_errors(tmp_path: Path) -> None:
    whole = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(whole, "PNG")
    (tmp_path / "cut.png").write_bytes(whole.getvalue()[:3000])
    with pytest.raises(ImageReadError, match=r"cut\.png is truncated or damaged"):
        read_rgb8(tmp_path / "cut.png")
    with pytest.raises(ImageReadError, match="the image is truncated"):
        read_rgb8(whole.getvalue()[:3000])


def test_half_a_level_is_rounded_up() -> None:
    assert to_uint8(np.array([-1.0, 0.5 / 255, 1.5 / 255, 2.5 / 255, 2.0])).tolist() == [0, 1, 2, 3, 255]
