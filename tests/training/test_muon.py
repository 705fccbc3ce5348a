"""Muon: orthogonal directions, updates of a known length, and only kernels with weight normalisation."""

import pytest
import torch

from a2f.model.a2f import A2F, to_weights
from a2f.training.muon import Muon, orthogonalised
from a2f.training.network import TrainingNetwork
from a2f.training.recipe import Optimiser
from a2f.training.step import Optimisers
from a2f.variants import config_of


@pytest.mark.parametrize("shape", [(3, 16, 144), (2, 128, 16), (1, 20, 20)])
def test_orthogonalisation_keeps_directions_and_sets_singular_values_near_one(shape: tuple[int, int, int]) -> None:
    matrices = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    found = orthogonalised(matrices * 1e-3)
    assert found.shape == shape
    values = torch.linalg.svdvals(found)
    assert values.max() < 1.25
    assert values.quantile(0.1) > 0.6
    u, _, v = torch.linalg.svd(matrices, full_matrices=False)
    cosine = (found * (u @ v)).sum((1, 2)) / (found.norm(dim=(1, 2)) * (u @ v).norm(dim=(1, 2)))
    assert cosine.min() > 0.98


def test_step_rotates_each_kernel_by_the_learning_rate() -> None:
    generator = torch.Generator().manual_seed(0)
    kernels = [torch.randn(shape, generator=generator).requires_grad_() for shape in ((8, 4, 3, 3), (2, 4, 8, 3, 3))]
    before = [k.detach().clone() for k in kernels]
    optimiser = Muon(kernels, momentum=0.9)
    for kernel, size in zip(kernels, (1e-6, 1e3), strict=True):  # the size of a gradient does not matter
        kernel.grad = torch.randn(kernel.shape, generator=generator) * size
    optimiser.step(0.1)
    for kernel, old in zip(kernels, before, strict=True):
        change = (kernel.detach() - old).flatten(-3)
        for rows in change.view(-1, *change.shape[-2:]):
            assert rows.norm().item() == pytest.approx(0.1 * len(rows) ** 0.5, rel=1e-4)
        assert kernel.grad is not None
        assert ((old - kernel.detach()) * kernel.grad).sum() > 0  # downhill


def test_stacked_kernels_are_updated_each_as_if_alone() -> None:
    generator = torch.Generator().manual_seed(1)
    stack = torch.randn(3, 4, 8, 3, 3, generator=generator)
    gradients = torch.randn(3, 4, 8, 3, 3, generator=generator)
    together = stack.clone().requires_grad_()
    together.grad = gradients
    Muon([together]).step(0.1)
    for number in range(3):
        alone = stack[number].clone().requires_grad_()
        alone.grad = gradients[number]
        Muon([alone]).step(0.1)
        torch.testing.assert_close(together[number], alone)


def test_muon_trains_normalised_kernels_and_adam_the_rest() -> None:
    network = TrainingNetwork(to_weights(A2F(config_of("s", scale=2))), device=torch.device("cpu"))
    names = {id(value): name for name, value in network.parameters.items()}
    made = Optimisers(network, Optimiser(kind="muon", lr=1e-3, kernel_lr=0.03))
    muon = {names[id(kernel)] for kernel in made.muon.kernels}
    adam = {names[id(p)] for group in made.adam.param_groups for p in group["params"]}
    assert muon == {"head.v", "skip.v", "tail.v", "res.conv1.v", "res.conv2.v"}
    assert muon | adam == set(network.parameters)
    assert not muon & adam
    assert Optimisers(network, Optimiser()).muon.kernels == []
