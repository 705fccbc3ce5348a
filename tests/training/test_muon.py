"""Muon: directions that are orthogonal, updates of a known length, and only the kernels."""

import pytest
import torch

from a2f.model.a2f import A2F, with_weight_norm
from a2f.training.loop import optimisers_of
from a2f.training.muon import Muon, orthogonal
from a2f.training.recipe import Optimiser
from a2f.variants import config_of


@pytest.mark.parametrize("shape", [(3, 16, 144), (2, 128, 16), (1, 20, 20)])
def test_singular_values_come_near_one_and_directions_stay(shape: tuple[int, int, int]) -> None:
    matrices = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    found = orthogonal(matrices * 1e-3)
    assert found.shape == shape
    values = torch.linalg.svdvals(found)
    assert values.max() < 1.25
    assert values.quantile(0.1) > 0.6
    u, _, v = torch.linalg.svd(matrices, full_matrices=False)
    cosine = (found * (u @ v)).sum((1, 2)) / (found.norm(dim=(1, 2)) * (u @ v).norm(dim=(1, 2)))
    assert cosine.min() > 0.98


def test_a_step_turns_each_kernel_by_the_rate() -> None:
    generator = torch.Generator().manual_seed(0)
    kernels = [torch.randn(8, 4, 3, 3, generator=generator).requires_grad_() for _ in range(2)]
    kernels.append(torch.randn(4, 8, 1, 1, generator=generator).requires_grad_())
    before = [k.detach().clone() for k in kernels]
    optimiser = Muon(kernels, 0.1, momentum=0.9)
    for kernel, size in zip(kernels, (1e-6, 1.0, 1e3), strict=True):  # the size of a gradient does not matter
        kernel.grad = torch.randn(kernel.shape, generator=generator) * size
    optimiser.step()
    for kernel, old in zip(kernels, before, strict=True):
        rows = (kernel.detach() - old).flatten(1)
        assert rows.norm().item() == pytest.approx(0.1 * len(rows) ** 0.5, rel=1e-4)
        assert kernel.grad is not None
        assert ((old - kernel.detach()) * kernel.grad).sum() > 0  # downhill


def test_muon_has_the_kernels_and_adam_the_rest() -> None:
    model = with_weight_norm(A2F(config_of("s", scale=2)))
    made = optimisers_of(model, Optimiser(kind="muon", lr=1e-3, kernel_lr=0.03))
    shapes = {name: [p.dim() for group in o.param_groups for p in group["params"]] for name, (o, _) in made.items()}
    assert set(shapes["muon"]) == {4}
    assert len(shapes["muon"]) == 3 + 4 * 5  # head, skip, tail; conv1, conv2, proj and two of att a block
    assert len(shapes["muon"]) + len(shapes["adam"]) == len(list(model.parameters()))
    assert (made["muon"][1], made["adam"][1]) == (0.03, 1e-3)
    assert list(optimisers_of(model, Optimiser())) == ["adam"]
