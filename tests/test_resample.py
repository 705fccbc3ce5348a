"""Resizing in bands gives the pixels of Pillow for the whole image."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from a2f.resample import Box, Method, Resampler


def whole(x: np.ndarray, final: tuple[int, int], method: str, box: Box | None = None) -> np.ndarray:
    planes = [Image.fromarray(np.ascontiguousarray(x[..., c])) for c in range(x.shape[2])]
    return np.stack([np.asarray(p.resize(final, Image.Resampling[method], box=box)) for p in planes], axis=-1)


def in_bands(x: np.ndarray, final: tuple[int, int], method: Method, rows: int, box: Box | None = None) -> np.ndarray:
    resampler = Resampler((x.shape[1], x.shape[0]), final, box=box, method=method)
    return np.concatenate([out for top in range(0, len(x), rows) for out in resampler.add(x[top : top + rows])])


@given(
    height=st.integers(1, 90),
    width=st.integers(1, 60),
    final=st.tuples(st.integers(1, 120), st.integers(1, 150)),
    method=st.sampled_from(["LANCZOS", "BICUBIC"]),
    rows=st.integers(1, 90),
)
def test_bands_equal_pillow(height: int, width: int, final: tuple[int, int], method: Method, rows: int) -> None:
    x = np.random.default_rng(height).random((height, width, 2), dtype=np.float32)
    made = in_bands(x, final, method, rows)
    rows_first = whole(whole(x, (final[0], height), method), final, method)
    np.testing.assert_array_equal(made, rows_first)
    # Pillow takes columns first if the height shrinks more than the width; this rounds differently
    np.testing.assert_allclose(made, whole(x, final, method), rtol=0, atol=2**-22)


@pytest.mark.parametrize("final", [(31, 40), (80, 90), (34, 44)])
def test_part_of_an_image(final: tuple[int, int]) -> None:
    x, box = np.random.default_rng(0).random((60, 50, 3), dtype=np.float32), (5, 7, 39, 51)
    np.testing.assert_array_equal(in_bands(x, final, "LANCZOS", 16, box), whole(x, final, "LANCZOS", box))


def test_rows_are_returned_as_soon_as_possible() -> None:
    """Rows of a tall image are returned as soon as the rows below them are available."""
    resampler, came = Resampler((4, 3200), (6, 4000), method="LANCZOS"), 0
    for top in range(0, 3200, 32):
        came += sum(len(out) for out in resampler.add(np.zeros((32, 4, 3), np.float32)))
        assert came >= (top + 32 - 4) * 4000 // 3200 - 1
    assert came == 4000
