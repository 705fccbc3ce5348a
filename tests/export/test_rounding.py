"""Rounding of kernels to integers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from a2f.export.rounding import nearest, round_for, round_kernels

LARGEST = 64


def steps_of(kernels: np.ndarray) -> np.ndarray:
    most = np.abs(kernels).max(axis=(1, 2, 3))
    return (np.where(most > 0, most, 1) / LARGEST).astype(np.float32)


@pytest.mark.parametrize("side", [1, 3])
@pytest.mark.parametrize("channels", [(1, 1), (16, 4), (3, 128)])
def test_errors_cancel_in_each_kernel_and_each_output_channel(side: int, channels: tuple[int, int]) -> None:
    kernels = np.random.default_rng(side).normal(size=(*channels, side, side)).astype(np.float32)
    steps = steps_of(kernels)
    integers = round_kernels(kernels, steps, largest=LARGEST)
    assert integers.shape == kernels.shape
    assert np.abs(integers.astype(int)).max() == LARGEST
    errors = integers - kernels / steps[:, None, None, None]
    assert np.abs(errors).max() < 1
    assert np.abs(errors.sum(axis=(2, 3))).max() < 1
    assert np.abs(errors.sum(axis=(1, 2, 3))).max() <= 0.5 + 1e-4


def test_flat_area_has_less_error_than_with_nearest_integers() -> None:
    kernels = np.random.default_rng(0).normal(size=(16, 128, 3, 3)).astype(np.float32)
    steps = steps_of(kernels)[:, None, None, None]
    exact = kernels.sum(axis=(1, 2, 3))  # what a flat area of 1 gives
    nearest = (np.round(kernels / steps) * steps).sum(axis=(1, 2, 3))
    ours = (round_kernels(kernels, steps.ravel(), largest=LARGEST) * steps).sum(axis=(1, 2, 3))
    assert np.abs(ours - exact).max() < 0.2 * np.abs(nearest - exact).max()


def test_no_value_passes_the_limit() -> None:
    """All values and errors have the maximum, so no value can be rounded up."""
    kernels = np.full((2, 3, 3, 3), 1.0, np.float32)
    kernels[1] = -1
    steps = np.full(2, 1 / 64.4, np.float32)
    integers = round_kernels(kernels, steps, largest=LARGEST)
    assert (integers[0] == LARGEST).all()
    assert (integers[1] == -LARGEST).all()


def test_integers_and_zeros_stay() -> None:
    kernels = np.random.default_rng(1).integers(-LARGEST, LARGEST + 1, size=(4, 5, 3, 3)).astype(np.float32)
    kernels[2] = 0
    steps = np.full(4, 0.25, np.float32)
    assert (round_kernels(kernels * 0.25, steps, largest=LARGEST) == kernels).all()


@given(arrays(np.float32, (2, 3, 3, 3), elements=st.floats(-1e3, 1e3, width=32)))
def test_every_value_stays_within_one_step(kernels: np.ndarray) -> None:
    steps = steps_of(kernels)
    integers = round_kernels(kernels, steps, largest=LARGEST).astype(float)
    assert np.abs(integers).max() <= LARGEST
    assert np.abs(integers - kernels / steps[:, None, None, None].astype(float)).max() < 1 + 1e-6


def test_calibration_inputs_have_less_error_than_with_other_roundings() -> None:
    rng = np.random.default_rng(0)
    kernels = rng.normal(size=(16, 8, 3, 3)).astype(np.float32)
    steps = steps_of(kernels)
    mixed = rng.normal(size=(72, 72)) * np.exp(rng.normal(size=72))  # inputs that depend on each other
    inputs = mixed @ rng.normal(size=(72, 2000))
    moments = inputs @ inputs.T / 2000

    def error(integers: np.ndarray) -> float:
        rounded = integers * steps[:, None, None, None]
        return float(np.square((rounded - kernels).reshape(16, -1) @ inputs).mean())

    ours = round_for(kernels, steps, moments, largest=LARGEST)
    assert np.abs(ours.astype(int)).max() <= LARGEST
    assert error(ours) < 0.5 * error(nearest(kernels, steps))
    assert error(ours) < 0.5 * error(round_kernels(kernels, steps, largest=LARGEST))


def test_constant_and_zero_inputs() -> None:
    kernels = np.random.default_rng(0).normal(size=(4, 2, 3, 3)).astype(np.float32)
    steps = steps_of(kernels)
    without = round_for(kernels, steps, np.zeros((18, 18)), largest=LARGEST)
    assert (without == nearest(kernels, steps)).all()
    flat = round_for(kernels, steps, np.ones((18, 18)), largest=LARGEST)
    errors = flat - kernels / steps[:, None, None, None]
    assert np.abs(errors.sum(axis=(1, 2, 3))).max() < 0.6
