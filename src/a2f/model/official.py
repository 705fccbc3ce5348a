"""Read the checkpoints that the paper's authors released."""

import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from a2f.errors import MissingExtraError, WeightsError
from a2f.variants import SCALES, VARIANTS, A2FConfig, config_of
from a2f.weights import Weights, expected_shapes

Array = NDArray[np.float32]
OTHER = "If it is a checkpoint of another network, name it: a2f convert --as imdn -s 4, or --network my.py:Net -s 4"
WRAPPERS = ("state_dict", "model", "params", "net")


def convert_official(path: Path | str) -> Weights:
    """Read a checkpoint of the paper's authors; the shapes give the variant and the scale.

    Nothing in the file is executed: torch's restricted unpickler accepts only tensors and plain containers.

    Args:
        path: a .pt or .pth file, weight norm folded or not, keys with or without the prefix "module.".

    Returns:
        The folded weights.

    Raises:
        WeightsError: if the file is missing, damaged, holds more than tensors, or is another network.
        MissingExtraError: if torch is not installed.
    """
    path = Path(path)
    state = _plain_names(_load(path), path)
    config = _config_of_shapes(state, path)
    tensors = _Source(state, path)
    found = {name: tensors.take(name, shape) for name, shape in expected_shapes(config).items()}
    if left := sorted(state.keys() - tensors.used):
        raise _foreign(path, f"it has an unexpected {left[0]}")
    return Weights(config=config, tensors=found, metadata={"source": f"checkpoint of the paper's authors, {path.name}"})


def _load(path: Path) -> Any:
    try:
        import torch
    except ImportError as error:
        raise MissingExtraError("reading a PyTorch checkpoint needs torch: pip install 'a2f[train]'") from error
    try:
        # torch warns of pickle protocols that its restricted reader may not support; it rejects what it cannot read
        with warnings.catch_warnings(action="ignore"):
            return torch.load(path, weights_only=True, map_location="cpu")
    except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
        raise WeightsError(f"cannot read {path}: {error.strerror or error}") from error
    except pickle.UnpicklingError as error:
        raise WeightsError(
            f"{path} is not a PyTorch checkpoint with only tensors (it is damaged, or holds code, which is never run)"
        ) from error
    except (OSError, RuntimeError, EOFError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise WeightsError(f"{path} is damaged or not a PyTorch checkpoint") from error


def _plain_names(state: Any, path: Path) -> dict[str, Array]:
    """The tensors by name, without the wrappers that training scripts add."""
    for key in WRAPPERS:
        if isinstance(state, Mapping) and isinstance(state.get(key), Mapping):
            state = state[key]
    if not isinstance(state, Mapping) or not state:
        raise _foreign(path, f"it holds a {type(state).__name__}, not named tensors")
    plain = {}
    for name, value in state.items():
        if not hasattr(value, "numpy") or not getattr(value, "is_floating_point", bool)():
            raise _foreign(path, f"{name} is no tensor of floats")
        plain[str(name).removeprefix("module.")] = np.asarray(value.detach().float().numpy(), dtype=np.float32)
    return plain


def _config_of_shapes(state: Mapping[str, Array], path: Path) -> A2FConfig:
    head = state.get("head.0.weight_v", state.get("head.0.weight"))
    tail = state.get("tail.0.bias")
    if head is None or tail is None:
        raise _foreign(path, f"it misses {'head.0' if head is None else 'tail.0'}")
    blocks = len({name.split(".")[1] for name in state if name.startswith("fusion_conv_list.")})
    scales = {3 * s * s: s for s in SCALES}
    for variant, shape in VARIANTS.items():
        if (shape.channels, shape.blocks) == (head.shape[0], blocks) and tail.size in scales:
            return config_of(variant, scale=scales[tail.size])
    raise _foreign(path, f"no A²F has {head.shape[0]} channels, {blocks} blocks and {tail.size} output channels")


def official_name(name: str) -> str:
    """The authors' name of one of our tensors, e.g. "body.0.body.0.weight" for "blocks.0.res.conv1.weight"."""
    if not name.startswith("blocks."):
        module, kind = name.split(".")
        return f"{module}.0.{kind}"
    _, i, rest = name.split(".", 2)
    fixed = {
        "proj.weight": f"fusion_conv_list.{i}.0.weight",
        "lambda_res": f"res_scale_list.{i}.scale",
        "lambda_att": f"auxilary_scale_list.{i}.scale",
        "lambda_x": f"x_scale_list.{i}.scale",
    }
    if rest in fixed:
        return fixed[rest]
    part, conv, kind = rest.split(".")
    place = {"conv1": 0, "conv2": 2}[conv]
    return f"body.{i}.body.{place}.{kind}" if part == "res" else f"fusion_conv_list.{i}.1.conv_du.{place}.{kind}"


class _Source:
    """Gets tensors by our names, and records which of the authors' tensors were used."""

    def __init__(self, state: Mapping[str, Array], path: Path) -> None:
        self.state, self.path, self.used = state, path, set[str]()

    def take(self, name: str, shape: tuple[int, ...]) -> Array:
        theirs = official_name(name)
        if theirs in self.state:
            value = self._get(theirs)
        else:  # weight norm: w = g v / |v|, the norm over all but the output channels
            g, v = self._get(f"{theirs}_g", missing=theirs), self._get(f"{theirs}_v")
            norm = np.sqrt((v.astype(np.float64) ** 2).sum((1, 2, 3), keepdims=True))
            value = (g * v / np.maximum(norm, np.finfo(np.float64).tiny)).astype(np.float32)
        if value.shape != shape:
            raise _foreign(self.path, f"{theirs} has shape {value.shape}, not {shape}")
        if not np.isfinite(value).all():
            raise WeightsError(f"{self.path}: {theirs} holds NaN or infinity")
        return np.ascontiguousarray(value)

    def _get(self, name: str, *, missing: str | None = None) -> Array:
        if name not in self.state:
            raise _foreign(self.path, f"it misses {missing or name}")
        self.used.add(name)
        return self.state[name]


def _foreign(path: Path, why: str) -> WeightsError:
    return WeightsError(f"{path} is not an A²F checkpoint of the paper's authors: {why}. {OTHER}")
