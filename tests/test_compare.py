import numpy as np
import pytest

from a2f.compare import compare_sheet
from a2f.errors import InputError


def scene(height: int = 96, width: int = 128) -> np.ndarray:
    rng = np.random.default_rng(0)
    image = np.full((height, width, 3), 90, np.uint8)
    image[10:50, 20:70] = rng.integers(0, 256, (40, 50, 3))
    return image


def test_sheet_shows_every_picture_and_both_crops() -> None:
    a = scene()
    one, three = compare_sheet([("a", a)]), compare_sheet([("a", a), ("b", a)], hr=a)
    assert three.width > 2.5 * one.width
    assert three.height == one.height
    assert three.mode == "RGB"


def test_crop_is_shown_to_the_pixel() -> None:
    a = scene()
    sheet = np.asarray(compare_sheet([("a", a)], crops=[(20, 10, 36, 24)]))
    enlarged = a[10:34, 20:56].repeat(10, 0).repeat(10, 1)
    height, width = enlarged.shape[:2]
    windows = [y for y in range(sheet.shape[0] - height) if (sheet[y, 36 : 36 + width] == enlarged[0]).all()]
    assert any((sheet[y : y + height, 36 : 36 + width] == enlarged).all() for y in windows)


def test_smaller_pictures_are_enlarged_for_the_display() -> None:
    a = scene()
    assert compare_sheet([("lr", a[::4, ::4]), ("sr", a)]).size == compare_sheet([("sr", a), ("sr", a)]).size


def test_default_crops_lie_where_the_detail_is() -> None:
    from a2f.compare import _detailed_spots

    x, y, w, h = _detailed_spots(scene())[0]
    assert x < 70
    assert y < 50
    assert x + w > 20
    assert y + h > 10


@pytest.mark.parametrize("crop", [(0, 0, 0, 5), (120, 0, 20, 5), (0, 95, 5, 5)])
def test_crops_outside_are_refused(crop: tuple[int, int, int, int]) -> None:
    with pytest.raises(InputError, match="outside"):
        compare_sheet([("a", scene())], crops=[crop])


def test_other_scenes_are_refused() -> None:
    with pytest.raises(InputError, match="not one scene"):
        compare_sheet([("a", scene()), ("b", scene(50, 128))])
    with pytest.raises(InputError, match="at least one"):
        compare_sheet([])
