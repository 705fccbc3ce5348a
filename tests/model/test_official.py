"""Checkpoints in the authors' layout, made by the tests, because the real ones may not be redistributed."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from a2f.errors import WeightsError
from a2f.model.a2f import A2F, normed_convolutions, to_weights
from a2f.model.official import convert_official, official_name
from a2f.variants import SCALES, VARIANTS, config_of
from a2f.weights import Weights


def in_their_layout(weights: Weights, *, folded: bool = False) -> dict[str, torch.Tensor]:
    model = A2F(weights.config)
    normed = {id(m) for m in normed_convolutions(model)}
    names = {f"{name}.weight" for name, module in model.named_modules() if id(module) in normed}
    state = {}
    for name, value in weights.tensors.items():
        tensor = torch.from_numpy(value)
        if name in names and not folded:
            norm = tensor.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
            state[f"{official_name(name)}_g"] = norm * 2
            state[f"{official_name(name)}_v"] = tensor / 3
        else:
            state[official_name(name)] = tensor
    return state


def random_weights(variant: str, scale: int) -> Weights:
    torch.manual_seed(scale)
    return to_weights(A2F(config_of(variant, scale=scale)))


@pytest.mark.parametrize("variant", list(VARIANTS))
@pytest.mark.parametrize("scale", SCALES)
def test_every_official_checkpoint_is_converted(variant: str, scale: int, tmp_path: Path) -> None:
    weights = random_weights(variant, scale)
    torch.save(in_their_layout(weights), tmp_path / "a.pt")
    back = convert_official(tmp_path / "a.pt")
    assert back.config == weights.config
    for name, value in weights.tensors.items():
        factor = 2 if value.ndim == 4 and value.shape[2] == 3 else 1
        np.testing.assert_allclose(back.tensors[name], value * factor, rtol=2e-6, err_msg=name)


@pytest.mark.parametrize(
    "wrap", [lambda s: {"state_dict": s}, lambda s: {"model": s}, lambda s: {f"module.{k}": v for k, v in s.items()}]
)
def test_wrapped_and_folded_checkpoints_are_read(wrap, tmp_path: Path) -> None:
    weights = random_weights("s", 2)
    torch.save(wrap(in_their_layout(weights, folded=True)), tmp_path / "a.pt")
    np.testing.assert_array_equal(
        convert_official(tmp_path / "a.pt").tensors["head.weight"], weights.tensors["head.weight"]
    )


class Evil:
    def __reduce__(self):
        return (Path.touch, (Path("executed"),))


def test_code_is_never_run(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "evil.pt").write_bytes(pickle.dumps({"head.0.weight": Evil()}))
    torch.save({"head.0.weight": Evil()}, tmp_path / "evil2.pt")
    for name in ("evil.pt", "evil2.pt"):
        with pytest.raises(WeightsError, match="code, which is never run"):
            convert_official(tmp_path / name)
    assert not (tmp_path / "executed").exists()


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    good = in_their_layout(random_weights("s", 2))

    def refused(state: object, message: str) -> None:
        torch.save(state, path)
        with pytest.raises(WeightsError, match=message):
            convert_official(path)

    refused({k: v for k, v in good.items() if k != "body.1.body.0.bias"}, r"misses body\.1\.body\.0\.bias")
    refused({**good, "extra": torch.zeros(1)}, "unexpected extra")
    refused({**good, "tail.0.bias": torch.zeros(13)}, "13 output channels")
    refused({**good, "skip.0.bias": torch.zeros(3)}, r"skip\.0\.bias has shape \(3,\)")
    refused({**good, "skip.0.bias": torch.full((12,), torch.nan)}, "NaN")
    refused({"conv.weight": torch.zeros(3, 3)}, r"misses head\.0")
    refused([torch.zeros(2)], "holds a list")
    refused({}, "not named tensors")
    refused({**good, "note": "text"}, "note is no tensor")
    path.write_bytes(b"not a checkpoint")
    with pytest.raises(WeightsError, match=r"a\.pt"):
        convert_official(path)
    torch.save(good, path)
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(WeightsError, match="damaged"):
        convert_official(path)
    with pytest.raises(WeightsError, match="No such file"):
        convert_official(tmp_path / "none.pt")
    with pytest.raises(WeightsError):
        convert_official(tmp_path)
