from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from a2f.errors import ImageReadError, InputError
from a2f.imageio.rgb import read_rgb8
from a2f.metrics import psnr_y
from a2f.sheets import compare_sheet, distinct_labels


def scene(height: int = 96, width: int = 128) -> np.ndarray:
    rng = np.random.default_rng(0)
    image = np.full((height, width, 3), 90, np.uint8)
    image[10:50, 20:70] = rng.integers(0, 256, (40, 50, 3))
    return image


@pytest.fixture
def said(monkeypatch) -> list[str]:
    """The texts on a sheet."""
    texts: list[str] = []
    write = ImageDraw.ImageDraw.text

    def listen(self, xy, text, *rest, **options):
        texts.append(text)
        return write(self, xy, text, *rest, **options)

    monkeypatch.setattr(ImageDraw.ImageDraw, "text", listen)
    return texts


def test_sheet_shows_every_picture_and_both_crops() -> None:
    a = scene()
    one, three = compare_sheet([("a", a)]), compare_sheet([("a", a), ("b", a)], hr=a)
    assert three.width > 2.5 * one.width
    assert three.height == one.height + 30  # how PSNR was measured
    assert three.mode == "RGB"


def test_crop_is_shown_exactly() -> None:
    a = scene()
    sheet = np.asarray(compare_sheet([("a", a)], crops=[(20, 10, 36, 24)]))
    enlarged = a[10:34, 20:56].repeat(10, 0).repeat(10, 1)
    height, width = enlarged.shape[:2]
    windows = [y for y in range(sheet.shape[0] - height) if (sheet[y, 36 : 36 + width] == enlarged[0]).all()]
    assert any((sheet[y : y + height, 36 : 36 + width] == enlarged).all() for y in windows)


def test_smaller_pictures_are_enlarged_for_the_display() -> None:
    a = scene()
    assert compare_sheet([("lr", a[::4, ::4]), ("sr", a)]).size == compare_sheet([("sr", a), ("sr", a)]).size


def test_default_crops_show_the_most_detail() -> None:
    from a2f.sheets import detailed_crops

    x, y, w, h = detailed_crops(scene())[0]
    assert x < 70
    assert y < 50
    assert x + w > 20
    assert y + h > 10


@pytest.mark.integration
def test_default_crops_are_enlarged_by_a_whole_number() -> None:
    from a2f.sheets import CELL_PX, detailed_crops

    for side in (128, 256, 500, 1024, 1700):
        assert all(CELL_PX % w == 0 and h == w * 3 // 4 for _, _, w, h in detailed_crops(scene(side, side)))


def test_psnr_follows_the_protocol(said: list[str]) -> None:
    hr = scene()
    sr = np.clip(hr.astype(int) + np.random.default_rng(1).integers(-9, 10, hr.shape), 0, 255).astype(np.uint8)
    small = np.asarray(Image.fromarray(hr).resize((32, 24), Image.Resampling.BICUBIC))
    enlarged = np.asarray(Image.fromarray(small).resize((128, 96), Image.Resampling.BICUBIC))
    compare_sheet([("small", small), ("sr", sr), ("same", hr), ("odd", hr[:48, :63])], hr=hr)
    assert f"128 x 96, PSNR-Y {psnr_y(sr, hr, border=4):.2f} dB" in said
    assert f"32 x 24, shown at 4x (bicubic), PSNR-Y {psnr_y(enlarged, hr, border=4):.2f} dB" in said
    assert "128 x 96, equal" in said
    assert "63 x 48, shown at 2.03x (bicubic), no PSNR" in said
    assert "PSNR-Y: BT.601 luma of 8-bit RGB, 4 pixels cut from each side" in said


def test_original_is_cropped_to_the_enlarged_size(said: list[str]) -> None:
    hr = scene(99, 130)
    sr = hr[:96, :128] // 2
    compare_sheet([("sr", sr)], hr=hr)
    assert f"128 x 96, PSNR-Y {psnr_y(sr, hr[:96, :128], border=4):.2f} dB" in said
    assert "128 x 96, cut from 130 x 99" in said


def test_display_size_does_not_change_the_psnr(said: list[str]) -> None:
    hr, larger = scene(), scene().repeat(2, 0).repeat(2, 1)
    compare_sheet([("sr", hr // 2), ("larger", larger)], hr=hr)
    assert f"128 x 96, shown at 2x (bicubic), PSNR-Y {psnr_y(hr // 2, hr, border=4):.2f} dB" in said
    assert "256 x 192, no PSNR" in said


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 1000), (1000, 1), (2000, 100), (7, 9)])
def test_any_shape_gives_a_sheet_of_reasonable_size(height: int, width: int) -> None:
    sheet = compare_sheet([("a", scene(max(height, 50), max(width, 70))[:height, :width])])
    assert sheet.width == 432
    assert sheet.height < 2000


def test_invalid_arrays_are_refused() -> None:
    wrongs: list[Any] = [scene()[..., 0], scene() / 255, scene()[:0]]
    for wrong in wrongs:
        with pytest.raises(InputError, match="a sheet takes non-empty"):
            compare_sheet([("a", wrong)])


@pytest.mark.parametrize("crop", [(-5, 0, 10, 10), (0, -1, 10, 10), (0, 0, 0, 5), (120, 0, 20, 5), (0, 95, 5, 5)])
def test_crops_outside_are_refused(crop: tuple[int, int, int, int]) -> None:
    with pytest.raises(InputError, match="outside"):
        compare_sheet([("a", scene())], crops=[crop])


def test_invalid_scenes_are_refused() -> None:
    with pytest.raises(InputError, match=r"b: the pictures have different proportions \(128 x 50 and 128 x 96\)"):
        compare_sheet([("a", scene()), ("b", scene(50, 128))])
    with pytest.raises(InputError, match="at least one"):
        compare_sheet([])


def test_files_with_equal_names_get_distinct_labels(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("x/a.png", "y/a.png", "x/z/a.png", "b.png")]
    assert distinct_labels(paths) == ["x/a.png", "y/a.png", "z/a.png", "b.png"]
    assert distinct_labels([paths[3], paths[3]]) == ["b.png", "b.png"]


def test_file_errors_name_only_existing_options(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(scene()).save(path)
    path.write_bytes(path.read_bytes()[:-900])
    with pytest.raises(ImageReadError, match=r"truncated or damaged$"):
        read_rgb8(path)
