"""Luma, bicubic, PSNR and SSIM, compared with independent implementations."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio

from a2f.color import rgb_to_y
from a2f.errors import InputError
from a2f.evaluation.ms_ssim import ms_ssim_y
from a2f.evaluation.score import psnr_rgb
from a2f.metrics import psnr_y, ssim_y
from a2f.resize import imresize


def noise(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)


def test_luma_has_studio_swing_and_is_not_rounded() -> None:
    ends = rgb_to_y(np.array([[[0, 0, 0], [255, 255, 255], [1, 0, 0]]], np.uint8))
    np.testing.assert_allclose(ends, [[16, 235, 16 + 65.481 / 255]], atol=1e-12)


def pillow_bicubic(image: np.ndarray, scale: int) -> np.ndarray:
    """Two passes of Pillow, vertical first, with a mirrored border, give the pixels of MATLAB."""
    pad = 4 * scale
    height, width = image.shape[0] // scale, image.shape[1] // scale
    tall = np.pad(image, ((pad, pad), (0, 0), (0, 0)), mode="symmetric")
    rows = np.asarray(Image.fromarray(tall).resize((tall.shape[1], tall.shape[0] // scale), Image.Resampling.BICUBIC))
    rows = rows[4 : 4 + height]
    wide = np.pad(rows, ((0, 0), (pad, pad), (0, 0)), mode="symmetric")
    both = np.asarray(Image.fromarray(wide).resize((wide.shape[1] // scale, wide.shape[0]), Image.Resampling.BICUBIC))
    return both[:, 4 : 4 + width]


@pytest.mark.integration
@given(st.sampled_from([2, 3, 4]), st.integers(8, 20), st.integers(8, 20), st.integers(0, 99))
@settings(max_examples=40)
def test_bicubic_equals_pillow_in_two_passes(scale: int, h: int, w: int, seed: int) -> None:
    image = noise((h * scale, w * scale, 3), seed)
    difference = imresize(image, scale=1 / scale).astype(int) - pillow_bicubic(image, scale)
    # Pillow computes with 22-bit integers, so at most one tie in ten thousand rounds differently
    assert np.abs(difference).max() <= 1
    assert (difference != 0).mean() <= 0.01


@pytest.mark.parametrize(
    ("shape", "scale", "expected"),
    [((7, 9), 1 / 2, (4, 5)), ((10, 10, 3), 3, (30, 30, 3)), ((1, 1), 4, (4, 4)), ((7, 21), 1 / 7, (1, 3))],
)
def test_bicubic_sizes(shape: tuple[int, ...], scale: float, expected: tuple[int, ...]) -> None:
    assert imresize(noise(shape), scale=scale).shape == expected


def test_bicubic_keeps_flat_images_flat() -> None:
    np.testing.assert_array_equal(imresize(np.full((12, 8, 3), 77, np.uint8), scale=4), np.full((48, 32, 3), 77))


@pytest.mark.parametrize("bad", [np.zeros((4, 4)), np.zeros(4, np.uint8), np.zeros((0, 4), np.uint8)])
def test_bicubic_refuses_invalid_input(bad: np.ndarray) -> None:
    with pytest.raises(InputError):
        imresize(bad, scale=2)
    with pytest.raises(InputError, match="greater than 0"):
        imresize(np.zeros((4, 4), np.uint8), scale=0)


def test_psnr_equals_scikit_image_on_the_inner_luma() -> None:
    a, b = noise((40, 50, 3), 1), noise((40, 50, 3), 2)
    inner = (slice(4, -4), slice(4, -4))
    expected = peak_signal_noise_ratio(rgb_to_y(b)[inner], rgb_to_y(a)[inner], data_range=255)
    assert psnr_y(a, b, border=4) == pytest.approx(expected, abs=1e-10)
    assert psnr_y(a, a, border=0) == math.inf


def test_border_does_not_change_psnr() -> None:
    a = noise((30, 30, 3))
    b = a.copy()
    b[:4], b[-4:], b[:, :4], b[:, -4:] = 0, 0, 0, 0
    assert psnr_y(a, b, border=4) == math.inf
    assert psnr_y(a, b, border=3) < 40
    assert ssim_y(a, b, border=4) == pytest.approx(1)


@pytest.mark.parametrize("measure", [psnr_y, ssim_y])
def test_measures_refuse_invalid_input(measure) -> None:
    a = noise((20, 20, 3))
    with pytest.raises(InputError, match="differ in size"):
        measure(a, a[:19], border=2)
    with pytest.raises(InputError, match="uint8 RGB"):
        measure(a[..., 0], a[..., 0], border=2)
    with pytest.raises(InputError, match="inside a border"):
        measure(a, a, border=10)
    with pytest.raises(InputError, match="uint8 RGB"):
        measure(a.astype(float), a.astype(float), border=2)


@pytest.mark.parametrize("measure", [psnr_y, ssim_y, ms_ssim_y, psnr_rgb])
def test_measures_do_not_depend_on_the_layout_in_memory(measure) -> None:
    rng = np.random.default_rng(3)
    sr, hr = (rng.integers(0, 256, (190, 211, 3), np.uint8) for _ in range(2))
    planes = np.ascontiguousarray(sr.transpose(2, 0, 1)).transpose(1, 2, 0)  # as networks give images
    assert measure(planes, hr, border=2) == measure(sr, hr, border=2)
    assert measure(np.asfortranarray(sr), hr, border=2) == measure(sr, hr, border=2)
