"""Averages of the weights: their window has the stated width."""

import numpy as np
import pytest
import torch

from a2f.training.averages import Average, Averages, power_of


@pytest.mark.parametrize(("width", "power"), [(0.05, 16.97), (0.10, 6.94)])  # Karras et al. 2024, Sec. 3.1
def test_powers_match_the_published_values(width: float, power: float) -> None:
    assert power_of(width) == pytest.approx(power, abs=0.005)


@pytest.mark.parametrize("width", [0.05, 0.1, 0.2])
@pytest.mark.parametrize("steps", [500, 2000])
def test_window_is_a_fixed_fraction_of_the_run(width: float, steps: int) -> None:
    """The weight of each step in the average, computed by averaging unit vectors."""
    profile = np.zeros(steps)
    for step in range(1, steps + 1):
        decay = Average(width=width).at(step)
        profile *= decay
        profile[step - 1] += 1 - decay
    at = np.arange(1, steps + 1) / steps
    mean = (profile * at).sum()
    assert profile.sum() == pytest.approx(1)
    assert np.sqrt((profile * (at - mean) ** 2).sum()) == pytest.approx(width, rel=0.02)


def test_constant_decay_starts_with_a_smaller_decay() -> None:
    average = Average(decay=0.999)
    assert average.at(1) == pytest.approx(2 / 11)
    assert average.at(100_000) == 0.999
    assert Average().at(5) == 0


def test_several_averages_at_once() -> None:
    parameters = {"a": torch.zeros(2), "b": torch.zeros(3, 1)}
    averages = Averages(parameters, [Average(decay=0.0), Average(decay=0.5)])
    averages.update({"a": torch.ones(2), "b": torch.full((3, 1), 2.0)}, [0.0, 0.5])
    averages.update({"a": torch.ones(2), "b": torch.full((3, 1), 2.0)}, torch.tensor([0.0, 0.5]))
    assert [values["a"].tolist() for values in averages.values] == [[1, 1], [0.75, 0.75]]
    assert [values["b"].flatten().tolist() for values in averages.values] == [[2, 2, 2], [1.5, 1.5, 1.5]]
    assert parameters["a"].tolist() == [0, 0]
