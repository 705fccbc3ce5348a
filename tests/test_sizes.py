import pytest
from hypothesis import given
from hypothesis import strategies as st

from a2f.errors import UsageError
from a2f.sizes import plan_scales, target_size


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"width": 200}, (200, 100)),
        ({"height": 200}, (400, 200)),
        ({"size": (7, 9)}, (7, 9)),
        ({"max_side": 50}, (50, 25)),
        ({"width": 1}, (1, 1)),
    ],
)
def test_target_size(asked: dict, expected: tuple[int, int]) -> None:
    assert target_size((100, 50), **asked) == expected


def test_max_side_of_an_upright_picture() -> None:
    assert target_size((50, 100), max_side=400) == (200, 400)


@pytest.mark.parametrize("asked", [{}, {"width": 3, "height": 4}, {"width": 0}, {"size": (4, 0)}])
def test_target_size_refuses_impossible_sizes(asked: dict) -> None:
    with pytest.raises(UsageError, match="size" if "size" in asked else "width") as told:
        target_size((10, 10), **asked)
    assert "--" not in str(told.value)


@pytest.mark.parametrize(
    ("target", "plan"),
    [((100, 100), ()), ((50, 50), ()), ((101, 100), (2,)), ((300, 300), (3,)), ((350, 10), (4,)), ((401, 401), (2, 3)),
     ((800, 800), (2, 4)), ((900, 900), (3, 3)), ((1600, 1600), (4, 4))],
)  # fmt: skip
def test_smallest_sufficient_plan(target: tuple[int, int], plan: tuple[int, ...]) -> None:
    assert plan_scales((100, 100), target, available=(2, 3, 4)) == plan


def test_too_large_size_error_says_what_is_possible() -> None:
    with pytest.raises(UsageError, match=r"at most 16 times is possible, 1600 x 1600"):
        plan_scales((100, 100), (1601, 100), available=(4, 2))


@given(st.integers(1, 300), st.integers(1, 300), st.integers(1, 4800), st.integers(1, 4800))
def test_plans_reach_the_size_with_few_passes(w: int, h: int, tw: int, th: int) -> None:
    if max(tw / w, th / h) > 16:
        return
    plan = plan_scales((w, h), (tw, th), available=(2, 4))
    product = 1
    for s in plan:
        product *= s
    assert len(plan) <= 2
    assert product * w >= tw
    assert product * h >= th
