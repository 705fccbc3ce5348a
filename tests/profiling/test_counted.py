"""Counting any network while it runs on shapes."""

import pytest
import torch
from torch import nn

from a2f.model.a2f import A2F, with_weight_norm
from a2f.profiling.cost import activations, lr_size, multi_adds
from a2f.profiling.counted import count, folded_parameters, parameters_of
from a2f.variants import ABLATIONS, config_of, count_parameters

CONFIGS = [config_of("sd", scale=3), config_of("l", scale=4), *ABLATIONS.values()]


@pytest.mark.integration
@pytest.mark.parametrize("config", CONFIGS, ids=lambda c: f"{c.variant}-x{c.scale}")
def test_counts_match_the_formulas_for_our_networks(config) -> None:
    network = with_weight_norm(A2F(config))
    width, height = lr_size(config.scale)
    found = count(network, width=width, height=height)
    assert found.multi_adds == multi_adds(config, width=width, height=height)
    assert found.as_table6 == multi_adds(config, width=width, height=height, convention="table6")
    assert found.activations == activations(config, width=width, height=height)
    assert parameters_of(network)[0] == count_parameters(config)
    assert folded_parameters(network) == count_parameters(config, weight_norm=False)


def test_transposed_convolutions_are_counted_by_their_inputs() -> None:
    network = nn.ConvTranspose2d(3, 2, 4, 2, padding=1)
    found = count(network, width=5, height=6)
    assert found.multi_adds == 30 * 3 * 2 * 16
    assert found.multi_adds + found.at_outputs == 120 * 3 * 2 * 16
    assert found.biases == found.activations == 120 * 2


def test_a_module_that_runs_twice_counts_twice() -> None:
    unit = nn.Sequential(nn.Conv2d(3, 3, 3, padding=1, groups=3, bias=False), nn.PReLU())
    once, twice = (count(nn.Sequential(*[unit] * n), width=4, height=4) for n in (1, 2))
    assert once.multi_adds == 16 * 3 * 9
    assert (twice.multi_adds, twice.rectified) == (2 * once.multi_adds, 2 * once.rectified)
    assert parameters_of(nn.Sequential(unit, unit)) == (28, 27)


def test_counting_does_not_change_the_network() -> None:
    network = nn.Conv2d(3, 3, 1).train()
    count(network, width=4, height=4)
    assert network.training
    assert network(torch.rand(1, 3, 2, 2)).device.type == "cpu"
