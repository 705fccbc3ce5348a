from typing import Any

import numpy as np
import pytest
import torch

from a2f.model.a2f import A2F, from_weights, normed_convolutions, to_weights, with_weight_norm
from a2f.variants import ABLATIONS, SCALES, VARIANTS, config_of, count_parameters

EVERY = [config_of(v, scale=s) for v in VARIANTS for s in SCALES] + list(ABLATIONS.values())


@pytest.mark.parametrize("config", EVERY, ids=lambda c: f"{c.variant}_x{c.scale}")
def test_parameter_counts_match_the_model(config) -> None:
    model = A2F(config)
    assert sum(p.numel() for p in model.parameters()) == count_parameters(config, weight_norm=False)
    assert sum(p.numel() for p in with_weight_norm(model).parameters()) == count_parameters(config)


def test_random_seed_is_set_before_each_test() -> None:
    assert torch.initial_seed() == 0
    torch.seed()


def test_random_seed_is_set_again_for_the_next_test() -> None:
    assert torch.initial_seed() == 0


def test_weight_norm_keeps_outputs_and_can_be_folded() -> None:
    model = A2F(config_of("s", scale=2)).eval()
    x = torch.rand(1, 3, 6, 5)
    with torch.no_grad():
        before = model(x)
        normed: Any = with_weight_norm(model)
        torch.testing.assert_close(normed(x), before)
        normed.head.parametrizations.weight.original0.mul_(1.5)
        moved = normed(x)
        assert not torch.allclose(moved, before)
        torch.testing.assert_close(from_weights(to_weights(normed))(x), moved, atol=1e-6, rtol=1e-5)


def test_every_3x3_convolution_has_weight_norm() -> None:
    model = A2F(config_of("sd", scale=4))
    with_3x3 = [m for m in model.modules() if isinstance(m, torch.nn.Conv2d) and m.kernel_size == (3, 3)]
    assert {id(m) for m in normed_convolutions(model)} == {id(m) for m in with_3x3}


def test_weights_round_trip() -> None:
    model = A2F(config_of("m", scale=3))
    weights = to_weights(model, metadata={"a": "b"})
    back = to_weights(from_weights(weights))
    assert weights.metadata == {"a": "b"}
    for name, value in weights.tensors.items():
        np.testing.assert_array_equal(back.tensors[name], value)


def test_gates_pool_over_the_whole_image() -> None:
    """Changing one corner moves the opposite one, far outside the receptive field, through the channel gates."""
    model = A2F(config_of("s", scale=2)).eval()
    x = torch.rand(1, 3, 64, 64)
    y = x.clone()
    y[:, :, :8, :8] = 0
    with torch.no_grad():
        assert (model(x) - model(y))[:, :, -8:, -8:].abs().max() > 0
