"""Checkpoints of other projects are read without executing code in them."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from a2f.errors import UsageError, WeightsError
from a2f.peers.checkpoints import READERS, convert_network
from a2f.peers.files import open_network, unique_tensors
from a2f.peers.pickled import read_pickled
from a2f.peers.protobuf import _message_class, read_caffe, read_tensorflow


def caffe(path: Path, layers: dict[str, list[np.ndarray]], *, strides: dict[str, int] | None = None) -> Path:
    net = _message_class("CaffeNet")()
    for name, blobs in layers.items():
        layer = net.layer.add(name=name)
        if strides and name in strides:
            layer.convolution.stride.append(strides[name])
        for values in blobs:
            blob = layer.blobs.add()
            blob.data.extend(values.ravel().tolist())
            blob.shape.dim.extend(values.shape)
    path.write_bytes(net.SerializeToString())
    return path


def tensorflow(path: Path, constants: dict[str, np.ndarray]) -> Path:
    graph = _message_class("Graph")()
    for name, values in constants.items():
        value = graph.node.add(name=name, op="Const").attr.add(key="value").value.tensor
        value.dtype = 1
        for side in values.shape:
            value.shape.dim.add(size=side)
        if values.size == 1:
            value.float_val.append(float(values.ravel()[0]))
        else:
            value.content = values.astype("<f4").tobytes()
    graph.node.add(name="y", op="Relu")
    path.write_bytes(graph.SerializeToString())
    return path


def test_caffe_models_are_read(tmp_path: Path) -> None:
    given = {"conv1": [np.arange(12, dtype=np.float32).reshape(2, 3, 1, 2), np.array([5.0, 6], np.float32)]}
    found = read_caffe(caffe(tmp_path / "a.caffemodel", {**given, "relu": []}))
    assert list(found) == ["conv1"]
    for one, other in zip(found["conv1"], given["conv1"], strict=True):
        np.testing.assert_array_equal(one, other)


def test_tensorflow_graphs_are_read(tmp_path: Path) -> None:
    given = {"k": np.arange(6, dtype=np.float32).reshape(1, 2, 3), "b": np.array([7.5], np.float32)}
    found = read_tensorflow(tensorflow(tmp_path / "a.pb", given))
    assert list(found) == ["k", "b"]
    for name, values in given.items():
        np.testing.assert_array_equal(found[name], values)


def test_idn_and_fsrcnn_round_trip(tmp_path: Path) -> None:
    state = {k: v.detach().numpy() for k, v in unique_tensors(open_network("idn", scale=3).module).items()}
    names = {"head1": "conv1", "head2": "conv2", "up": "upsample"}
    for i in range(4):
        names |= {f"blocks.{i}.convs.{j}": f"conv{i + 3}_{j + 1}" for j in range(6)} | {
            f"blocks.{i}.down": f"down{i + 1}"
        }
    layers = {t: [state[f"network.{o}.weight"], state[f"network.{o}.bias"]] for o, t in names.items()}
    again = convert_network(caffe(tmp_path / "a", layers, strides={"upsample": 3}), name="idn", scale=3)
    with pytest.raises(WeightsError, match="seems to be for x3, not x2: give -s 3"):  # the shapes are equal
        convert_network(tmp_path / "a", name="idn", scale=2)
    for key, tensor in unique_tensors(again.module).items():
        np.testing.assert_array_equal(tensor.detach().numpy(), state[key])

    state = {k: v.detach().numpy() for k, v in unique_tensors(open_network("fsrcnn-shuffle", scale=2).module).items()}
    constants = {"f8": state["network.up.weight"].transpose(2, 3, 1, 0), "b8": state["network.bias"]}
    for i in range(7):
        constants[f"f{i + 1}"] = state[f"network.body.{2 * i}.weight"].transpose(2, 3, 1, 0)
        constants[f"b{i + 1}"] = state[f"network.body.{2 * i}.bias"]
        constants[f"alpha{i + 1}"] = state[f"network.body.{2 * i + 1}.weight"]
    again = convert_network(tensorflow(tmp_path / "b", constants), name="fsrcnn-shuffle", scale=2)
    for key, tensor in unique_tensors(again.module).items():
        np.testing.assert_array_equal(tensor.detach().numpy(), state[key])


def test_damaged_and_other_files_are_refused(tmp_path: Path) -> None:
    path = caffe(tmp_path / "a", {"conv1": [np.ones((2, 2), np.float32)]})
    with pytest.raises(WeightsError, match="has 1 blobs of conv1"):
        convert_network(path, name="idn", scale=2)
    cut = path.read_bytes()[:-3]
    path.write_bytes(cut)
    with pytest.raises(WeightsError, match="damaged or of another kind"):
        read_caffe(path)
    path.write_bytes(b"")
    with pytest.raises(WeightsError, match="no layers with weights"):
        read_caffe(path)
    with pytest.raises(WeightsError, match="no constants"):
        read_tensorflow(path)
    with pytest.raises(WeightsError, match="cannot read"):
        read_tensorflow(tmp_path / "none.pb")
    with pytest.raises(WeightsError, match="no constant f1"):
        convert_network(tensorflow(path, {"x": np.ones(2, np.float32)}), name="fsrcnn-shuffle", scale=2)
    with pytest.raises(WeightsError, match="has no cell 0"):
        convert_network(path, name="falsr-b", scale=2)
    torch.save({"w": torch.ones(2)}, path)
    with pytest.raises(WeightsError, match=r"has no entry\.weight"):
        convert_network(path, name="carn-m", scale=2)
    torch.save({"w": torch.ones(2), "step": 3}, path)
    with pytest.raises(WeightsError, match="holds no named tensors"):
        convert_network(path, name="imdn", scale=2)
    with pytest.raises(UsageError, match=r"no checkpoint of 'edsr' can be read: choose one of carn-m, imdn"):
        convert_network(path, name="edsr", scale=2)


def test_shape_with_too_few_values_is_refused(tmp_path: Path) -> None:
    net = _message_class("CaffeNet")()
    blob = net.layer.add(name="conv1").blobs.add()
    blob.data.extend([1.0, 2.0])
    blob.shape.dim.extend([3])
    (tmp_path / "a").write_bytes(net.SerializeToString())
    with pytest.raises(WeightsError, match=r"conv1 has 2 values for the shape \[3\]"):
        read_caffe(tmp_path / "a")


class Evil:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str, ...]]:
        return (open, (str(self.path), "w"))


@pytest.mark.parametrize("name", list(READERS))
def test_code_in_a_file_is_never_run(name: str, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    torch.save({"w": Evil(victim)}, tmp_path / "a.pth")
    old = tmp_path / "old.pth"
    torch.save({"w": Evil(victim)}, old, _use_new_zipfile_serialization=False)
    for path in (tmp_path / "a.pth", old):
        with pytest.raises(WeightsError):
            convert_network(path, name=name, scale=2)
    assert not victim.exists()


def test_an_old_pickled_network_is_read(tmp_path: Path) -> None:
    """A file of PyTorch 0.3: four pickles, keys, storages."""
    values = np.arange(6, dtype="<f4")
    network = pickle_of_a_network()
    path = tmp_path / "old.pth"
    parts = [pickle.dumps(0x1950A86A20F9469CFC6C, 2), pickle.dumps(1001, 2), pickle.dumps({}, 2), network]
    path.write_bytes(b"".join(parts) + pickle.dumps(["7"], 2) + np.int64(6).tobytes() + values.tobytes())
    found = read_pickled(path)
    assert list(found) == ["model.conv.weight"]
    np.testing.assert_array_equal(found["model.conv.weight"], values[1:5].reshape(2, 2).T)
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(WeightsError, match="ends inside a tensor"):
        read_pickled(path)
    path.write_bytes(b"".join(parts) + pickle.dumps(["7"], 2) + np.int64(4).tobytes() + values[:4].tobytes())
    with pytest.raises(WeightsError, match="reaches beyond its storage of 4 values"):
        read_pickled(path)


def pickle_of_a_network() -> bytes:
    """{"model": Net} with one module `conv` that has one parameter, [2, 2], transposed, from the second value on."""
    ops = [
        b"\x80\x02}X\x05\x00\x00\x00model",
        b"cvdsr\nNet\n)\x81}X\x08\x00\x00\x00_modulesccollections\nOrderedDict\n)R",
        b"X\x04\x00\x00\x00convctorch.nn.modules.conv\nConv2d\n)\x81}X\x0b\x00\x00\x00_parameters}",
        b"X\x06\x00\x00\x00weightctorch.nn.parameter\nParameter\nctorch._utils\n_rebuild_tensor\n",
        b"((X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x007X\x03\x00\x00\x00cpuK\x06NtQ",
        b"K\x01K\x02K\x02\x86K\x01K\x02\x86tR\x85\x81(\x89\x89Ntb",  # offset 1, size (2, 2), stride (1, 2)
        b"ssbssbs.",
    ]
    return b"".join(ops)


def test_error_names_the_scale_of_a_checkpoint(tmp_path: Path) -> None:
    state = {k: v.detach().numpy() for k, v in unique_tensors(open_network("fsrcnn-shuffle", scale=4).module).items()}
    constants = {"f8": state["network.up.weight"].transpose(2, 3, 1, 0), "b8": state["network.bias"]}
    for i in range(7):
        constants[f"f{i + 1}"] = state[f"network.body.{2 * i}.weight"].transpose(2, 3, 1, 0)
        constants[f"b{i + 1}"] = state[f"network.body.{2 * i}.bias"]
        constants[f"alpha{i + 1}"] = state[f"network.body.{2 * i + 1}.weight"]
    path = tensorflow(tmp_path / "x4.pb", constants)
    with pytest.raises(WeightsError, match="seems to be for x4, not x3: give -s 4"):
        convert_network(path, name="fsrcnn-shuffle", scale=3)
