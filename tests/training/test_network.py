"""The training network has the outputs and the gradients of the network of the paper."""

import dataclasses
import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from a2f.model.a2f import A2F, from_weights, to_weights, with_weight_norm
from a2f.training.network import TrainingNetwork
from a2f.variants import ABLATIONS, SCALES, VARIANTS, A2FConfig, config_of
from a2f.weights import Weights

NETWORKS = [config_of(v, scale=s) for v, s in itertools.product(VARIANTS, SCALES)] + list(ABLATIONS.values())
NAMES = [f"{config.variant} x{config.scale}" for config in NETWORKS]
CPU = torch.device("cpu")


def random_weights(config: A2FConfig, *, seed: int = 0) -> Weights:
    """Weights with λ, biases and gates that differ from those of a new network."""
    torch.manual_seed(seed)
    model = A2F(config)
    with torch.no_grad():
        for name, value in model.named_parameters():
            if "lambda" in name:
                value.uniform_(0.3, 1.2)
            elif name.endswith("bias"):
                value.uniform_(-0.1, 0.1)
    return to_weights(model)


def batch(config: A2FConfig, *, side: int = 9) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    lr = torch.rand(2, 3, side, side + 2, generator=generator)
    return lr, torch.rand(2, 3, side * config.scale, (side + 2) * config.scale, generator=generator)


def reference_gradients(weights: Weights, lr: torch.Tensor, hr: torch.Tensor) -> dict[str, torch.Tensor]:
    """The gradients of the paper's network in plain PyTorch, with the names of the stacked parameters."""
    model = with_weight_norm(from_weights(weights))
    F.mse_loss(model(lr), hr).backward()
    parts: dict[str, list[torch.Tensor]] = {}
    for name, value in model.named_parameters():
        short = name.replace("parametrizations.weight.original0", "g").replace("parametrizations.weight.original1", "v")
        if value.grad is not None:
            parts.setdefault(short.split(".", 2)[2] if short.startswith("blocks.") else short, []).append(value.grad)
    return {name: values[0] if len(values) == 1 else stacked(name, values) for name, values in parts.items()}


def stacked(name: str, values: list[torch.Tensor]) -> torch.Tensor:
    if name == "proj.weight":
        width = max(value.shape[1] for value in values)
        values = [F.pad(value[:, :, 0, 0], (0, width - value.shape[1])) for value in values]
    return torch.stack(values)


@pytest.mark.integration
@pytest.mark.parametrize("path", ["_stacked", "_as_written"])
@pytest.mark.parametrize("config", NETWORKS, ids=NAMES)
def test_values_and_gradients_match_the_reference_network(config: A2FConfig, path: str) -> None:
    weights = random_weights(config)
    lr, hr = batch(config)
    network = TrainingNetwork(weights, device=CPU)
    sr = F.pixel_shuffle(getattr(network, path)(lr, torch.float32), config.scale)
    expected = from_weights(weights)(lr)
    torch.testing.assert_close(sr, expected, rtol=1e-5, atol=1e-5 * expected.abs().max().item())
    F.mse_loss(sr, hr).backward()
    for name, gradient in reference_gradients(weights, lr, hr).items():
        found = network.parameters[name].grad
        assert found is not None, name
        error = (found.reshape(gradient.shape) - gradient).norm() / gradient.norm()
        assert error < 1e-4, (name, error)


@pytest.mark.integration
def test_bf16_gradients_are_as_close_to_fp32_as_those_of_autocast() -> None:
    config = config_of("sd", scale=4)
    weights = random_weights(config)
    lr, hr = batch(config, side=24)
    exact = reference_gradients(weights, lr, hr)
    errors = {}
    for path in ("_stacked", "_as_written"):
        network = TrainingNetwork(weights, device=CPU)
        F.mse_loss(F.pixel_shuffle(getattr(network, path)(lr, torch.bfloat16), config.scale), hr).backward()
        off = [(network.parameters[n].grad.reshape(g.shape) - g).square().sum() for n, g in exact.items()]
        errors[path] = float(sum(off) / sum(g.square().sum() for g in exact.values())) ** 0.5
    assert 0 < errors["_stacked"] < 1.5 * errors["_as_written"]


@pytest.mark.parametrize("config", NETWORKS, ids=NAMES)
def test_weights_round_trip(config: A2FConfig) -> None:
    weights = random_weights(config)
    network = TrainingNetwork(weights, device=CPU)
    back = network.weights(network.parameters, metadata={"steps": "1"})
    assert (back.config, back.metadata) == (config, {"steps": "1"})
    for name, value in weights.tensors.items():
        np.testing.assert_allclose(back.tensors[name], value, rtol=1e-5, atol=1e-7, err_msg=name)


def test_columns_of_proj_that_no_block_uses_stay_zero() -> None:
    config = dataclasses.replace(config_of("s", scale=2), blocks=3, channels=4, hidden=8)
    network = TrainingNetwork(random_weights(config), device=CPU)
    lr, hr = batch(config)
    optimiser = torch.optim.Adam(list(network.parameters.values()), lr=1e-2)
    for _ in range(3):
        optimiser.zero_grad()
        F.l1_loss(F.pixel_shuffle(network.forward(lr), 2), hr).backward()
        optimiser.step()
    proj = network.parameters["proj.weight"].detach()
    for block in range(3):
        assert proj[block, :, : 4 * (block + 1)].abs().min() > 0
        assert not proj[block, :, 4 * (block + 1) :].any()
