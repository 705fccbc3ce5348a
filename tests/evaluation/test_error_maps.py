"""Error maps: colours show errors on one scale."""

import numpy as np
import pytest

from a2f.evaluation.error_maps import COLOURS, HEAD_PX, NEARER, colour_of, draw_error_maps, error_of
from a2f.evaluation.sets import Item
from a2f.sheets import GAP, MARGIN


def item(width: int = 200, height: int = 120) -> Item:
    hr = np.full((height, width, 3), 100, np.uint8)
    return Item(name="flat", hr=hr, lr=hr[::4, ::4])


def test_error_is_measured_on_luma() -> None:
    hr = item().hr
    sr = hr.copy()
    sr[5, 7] = 200
    error = error_of(sr, hr)
    assert error[5, 7] == pytest.approx(100 * 219 / 255)
    assert np.count_nonzero(error) == 1


def test_colours_grow_with_the_error() -> None:
    colours = colour_of(np.array([[0.0, 5.0, 10.0, 99.0]]), limit=10)
    assert colours[0, 0].tolist() == COLOURS[0].tolist()
    assert colours[0, 2].tolist() == colours[0, 3].tolist() == COLOURS[-1].tolist()
    lightness = colour_of(np.linspace(0, 10, 40)[None], limit=10)[0].astype(float) @ (0.299, 0.587, 0.114)
    assert (np.diff(lightness) > 0).all()


def test_two_models_are_compared_in_one_map() -> None:
    given = item()
    left, right = given.hr.copy(), given.hr.copy()
    left[:60], right[60:] = 180, 180  # the first errs above, the second below
    sheet = draw_error_maps(given, {"a": left, "b": right}, scale=4)

    def at(panel: int, row: int) -> list[int]:
        return sheet[MARGIN + HEAD_PX + row, MARGIN + panel * (200 + GAP) + 100].tolist()

    assert at(0, 30) == [100, 100, 100]
    assert at(1, 90) == at(2, 30) == COLOURS[0].tolist()
    assert at(1, 30) == at(2, 90) != COLOURS[0].tolist()
    towards_second, towards_first = np.array(at(3, 30)), np.array(at(3, 90))
    assert np.abs(towards_second - NEARER[2]).sum() < np.abs(towards_second - NEARER[0]).sum()
    assert np.abs(towards_first - NEARER[0]).sum() < np.abs(towards_first - NEARER[2]).sum()
    assert draw_error_maps(given, {"a": left}, scale=4).shape[1] < sheet.shape[1]


def test_large_pictures_are_reduced() -> None:
    given = item(1000, 600)
    sheet = draw_error_maps(given, {"a": given.hr}, scale=4)
    assert sheet.shape[1] == 2 * MARGIN + 2 * 333 + GAP
