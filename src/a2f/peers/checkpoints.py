"""Read published checkpoints of other networks (PyTorch, Caffe, TensorFlow), and checkpoints of networks of users.

Nothing in a file is executed. Each function returns the tensors of one network by our names.
"""

import pickle
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from a2f.errors import MissingExtraError, UsageError, WeightsError, did_you_mean
from a2f.peers import PEERS
from a2f.peers.files import Network, fill, open_network, unique_tensors
from a2f.peers.pickled import read_pickled
from a2f.peers.protobuf import read_caffe, read_strides, read_tensorflow

Tensors = dict[str, NDArray[np.float32]]
NESTED = ("params_ema", "params", "state_dict", "model_state_dict", "model", "net")  # where programs save a state_dict


def convert_network(path: Path | str, *, name: str, scale: int) -> Network:
    """Read a published checkpoint of a network of `PEERS`.

    Args:
        path: the published checkpoint.
        name: a key of `READERS`.
        scale: s.

    Raises:
        UsageError: if a2f cannot read checkpoints of this network, or the network has no such scale.
        WeightsError: if the file is missing, damaged, has more than tensors, or does not match the network.
        MissingExtraError: if torch or protobuf is not installed.
    """
    path = Path(path)
    if name not in READERS:
        hint = "" if name in PEERS else did_you_mean(name, READERS)
        raise UsageError(f"no checkpoint of {name!r} can be read{hint}: choose one of {', '.join(READERS)}")
    try:
        network = _read(path, name, scale)
    except WeightsError as error:
        if (other := _fitting_scale(path, name, scale)) is None:
            raise
        raise WeightsError(f"{path} seems to be for x{other}, not x{scale}: give -s {other}") from error
    source = {"source": f"published checkpoint {path.name}"}
    return Network(name=name, scale=scale, module=network.module, metadata=source, origin=f"checkpoint {path.name}")


def convert_own(path: Path | str, *, own: str, scale: int) -> Network:
    """Read a PyTorch checkpoint of a network of the user.

    Args:
        path: a file of `torch.save` with the state_dict of the network, alone or as one of `NESTED`.
        own: "file.py:Class".
        scale: s.

    Raises:
        UsageError: if the class cannot be used (`open_network`).
        WeightsError: if the file is missing, damaged, has more than tensors, or does not match the network.
        MissingExtraError: if torch is not installed.
    """
    path = Path(path)
    network = open_network(own, scale=scale)
    names = unique_tensors(network.module)
    shared = network.module.state_dict().keys() - names.keys()  # further names of tensors that are used several times
    state = {name: value for name, value in _torch_state(path).items() if name not in shared}
    fill(network.module, state, path=str(path))
    source = {"source": f"checkpoint {path.name}"}
    return Network(name=own, scale=scale, module=network.module, metadata=source, origin=f"checkpoint {path.name}")


def _read(path: Path, name: str, scale: int) -> Network:
    network = open_network(name, scale=scale)
    fill(network.module, READERS[name](path, scale), path=str(path))
    return network


def _fitting_scale(path: Path, name: str, scale: int) -> int | None:
    """Another scale of the network that matches a checkpoint."""
    for other in PEERS[name].scales:
        if other != scale:
            with suppress(WeightsError):
                return _read(path, name, other).scale
    return None


def _carn_m(path: Path, scale: int) -> Tensors:
    state = _torch_state(path)
    pairs = {"head": "entry", "tail": "exit"}
    for i in range(3):
        pairs[f"body.fuse.{i}"] = f"c{i + 1}.body.0"
        for j, place in enumerate((0, 2, 4)):
            pairs[f"body.units.{i}.units.0.body.{place}"] = f"b{i + 1}.b1.body.{place}"
            pairs[f"body.units.{i}.fuse.{j}"] = f"b{i + 1}.c{j + 1}.body.0"
    for place in {2: (0,), 3: (0,), 4: (0, 3)}[scale]:
        pairs[f"up.{place}"] = f"upsample.up{scale}.body.{place}"
    return _taken(state, pairs, path)


def _imdn(path: Path, scale: int) -> Tensors:
    state = _torch_state(path)
    pairs = {"head": "fea_conv", "fuse.0": "c.0", "smooth": "LR_conv", "up": "upsampler.0"}
    for i in range(6):
        theirs = f"IMDB{i + 1}"
        pairs |= {f"blocks.{i}.steps.{j}": f"{theirs}.c{j + 1}" for j in range(3)}
        pairs |= {f"blocks.{i}.last": f"{theirs}.c4", f"blocks.{i}.fuse": f"{theirs}.c5"}
        pairs |= {f"blocks.{i}.attention.gate.{j}": f"{theirs}.cca.conv_du.{j}" for j in (0, 2)}
    return _taken(state, pairs, path)


def _vdsr(path: Path, scale: int) -> Tensors:
    state = {name.removeprefix("model."): value for name, value in read_pickled(path).items()}
    pairs = {"network.head": "input", "network.tail": "output"}
    pairs |= {f"network.body.{i}": f"residual_layer.{i}.conv" for i in range(18)}
    return _taken(state, pairs, path)


def _idn(path: Path, scale: int) -> Tensors:
    layers = read_caffe(path)
    stride = read_strides(path).get("upsample", scale)  # the tensors of all scales have the same shapes
    if stride != scale:
        raise WeightsError(f"{path} enlarges {stride} times, not {scale}")
    pairs = {"head1": "conv1", "head2": "conv2", "up": "upsample"}
    for i in range(4):
        pairs |= {f"blocks.{i}.convs.{j}": f"conv{i + 3}_{j + 1}" for j in range(6)}
        pairs[f"blocks.{i}.down"] = f"down{i + 1}"
    found: Tensors = {}
    for ours, theirs in pairs.items():
        blobs = layers.get(theirs, [])
        if len(blobs) != 2:
            raise WeightsError(f"{path} has {len(blobs)} blobs of {theirs}: IDN has weights and biases")
        found |= {f"network.{ours}.weight": blobs[0], f"network.{ours}.bias": blobs[1]}
    return found


def _fsrcnn(path: Path, scale: int) -> Tensors:
    constants = read_tensorflow(path)
    found = {}
    for i in range(7):
        place = f"network.body.{2 * i}"
        found[f"{place}.weight"] = _constant(constants, f"f{i + 1}", path).transpose(3, 2, 0, 1)
        found[f"{place}.bias"] = _constant(constants, f"b{i + 1}", path)
        found[f"network.body.{2 * i + 1}.weight"] = _constant(constants, f"alpha{i + 1}", path)
    found["network.up.weight"] = _constant(constants, "f8", path).transpose(3, 2, 0, 1)
    found["network.bias"] = _constant(constants, "b8", path)
    return found


def _falsr(path: Path, scale: int, *, genotype: str) -> Tensors:
    from a2f.peers.falsr import GENOTYPES

    graph = "test_sr_evaluator_i1_b0_g/"
    constants = {name.removeprefix(graph): value for name, value in read_tensorflow(path).items()}
    pairs = {"head": ("n32s1/c/kernel", "n32s1/c/bias"), "last": ("n32s1/2/0/kernel", "n32s1/2/0/bias")}
    pairs["tail"] = ("yout/kernel", "yout/bias")
    for i, cell in enumerate(GENOTYPES[genotype][0]):
        words = sorted(name for name in constants if name.startswith(f"cell{i}/"))
        if not words:
            raise WeightsError(f"{path} has no cell {i}: give a graph of FALSR-{genotype.upper()}")
        # e.g. cell3/invertBotConE2_f32_k3_b4_noskip_b0_conv_1/kernel
        stem = words[0][: words[0].index("skip") + len("skip")]
        for j in range(cell.repeats):
            if cell.kind == "inverted":
                step, place = f"{stem}_b{j}", f"body.{i}.body.{j}"
                pairs[f"{place}.expand"] = (f"{step}_conv_1/kernel", f"{step}_conv_1/bias")
                pairs[f"{place}.project"] = (f"{step}_conv_2/kernel", f"{step}_conv_2/bias")
                pairs[f"{place}.depthwise"] = (f"{step}depth_wise/W_depthwise2d", f"{step}depth_wise/b_depthwise2d")
            else:
                kernel, bias = ("W", "b") if cell.kind == "group" else ("kernel", "bias")
                pairs[f"body.{i}.convs.{j}"] = (f"{stem}_b{j}/{kernel}", f"{stem}_b{j}/{bias}")
        if cell.kind == "inverted":
            pairs[f"body.{i}.enter"] = (f"{stem}_conv_supple/kernel", f"{stem}_conv_supple/bias")
    found = {}
    for ours, (weight, bias) in pairs.items():
        order = (2, 3, 0, 1) if "depthwise" in ours else (3, 2, 0, 1)
        found[f"network.{ours}.weight"] = _constant(constants, weight, path).transpose(order)
        found[f"network.{ours}.bias"] = _constant(constants, bias, path)
    return found


READERS: dict[str, Callable[[Path, int], Tensors]] = {
    "carn-m": _carn_m,
    "imdn": _imdn,
    "idn": _idn,
    "vdsr": _vdsr,
    "fsrcnn-shuffle": _fsrcnn,
    "falsr-a": lambda path, scale: _falsr(path, scale, genotype="a"),
    "falsr-b": lambda path, scale: _falsr(path, scale, genotype="b"),
    "falsr-c": lambda path, scale: _falsr(path, scale, genotype="c"),
}


def _constant(constants: Mapping[str, NDArray[np.float32]], name: str, path: Path) -> NDArray[np.float32]:
    if name not in constants:
        raise WeightsError(f"{path} has no constant {name}: is it a graph of this network?")
    return constants[name]


def _taken(state: Mapping[str, NDArray[np.float32]], pairs: Mapping[str, str], path: Path) -> Tensors:
    """Select weights and biases, by our names."""
    found: Tensors = {}
    for ours, theirs in pairs.items():
        if f"{theirs}.weight" not in state:
            raise WeightsError(f"{path} has no {theirs}.weight: is it a checkpoint of this network?")
        found |= {
            f"{ours}.{kind}": state[f"{theirs}.{kind}"] for kind in ("weight", "bias") if f"{theirs}.{kind}" in state
        }
    return found


def _torch_state(path: Path) -> dict[str, NDArray[np.float32]]:
    """Read a PyTorch checkpoint of named tensors."""
    try:
        import torch
    except ModuleNotFoundError as error:
        raise MissingExtraError("reading a PyTorch checkpoint needs torch: pip install 'a2f[train]'") from error
    try:
        with warnings.catch_warnings(action="ignore"):
            state = torch.load(path, weights_only=True, map_location="cpu")
    except OSError as error:
        raise WeightsError(f"cannot read {path}: {error.strerror or error}") from error
    except pickle.UnpicklingError as error:
        raise WeightsError(f"{path} is damaged, or holds code, which is never run") from error
    except (RuntimeError, EOFError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise WeightsError(f"{path} is damaged or not a PyTorch checkpoint") from error
    if isinstance(state, Mapping):
        inside = (state[key] for key in NESTED if isinstance(state.get(key), Mapping))
        state = next(inside, state)
    if not isinstance(state, Mapping) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise WeightsError(f"{path} holds no named tensors")
    arrays = {str(name).removeprefix("module."): value.detach().float().numpy() for name, value in state.items()}
    return {name: np.asarray(value, dtype=np.float32) for name, value in arrays.items()}
