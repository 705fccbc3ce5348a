"""The model file for the browser: the step graphs of one network and the tensors of its gates.

The file is safetensors. Its uint8 tensors are ONNX files: "head", "block_1" .. "block_L", "exchange" and "tail". Each
graph works for every tile, independent of its position in the image: no convolution pads, the tile has a halo on all
four sides, and pixels outside the image are `mean` for "lr" and 0 for features. For this, the hidden features of a
block are multiplied with a mask. The float32 tensors are `mean` [3] and, for each block i, those of the gate (Eq. 7):
"gate_i.proj" [C, i C], "gate_i.conv1.weight" and "gate_i.conv2.weight" [C, C] and their biases [C], and
"gate_i.lambda_att" [1]. web/packages/a2f-web runs the file.
"""

import json
from dataclasses import asdict

import numpy as np
from numpy.typing import NDArray

from a2f.errors import UsageError
from a2f.export.builder import Sides
from a2f.export.fold import Folded, FoldedBlock, fold
from a2f.export.steps import middle_of, step_graph
from a2f.weights import Weights

FORMAT = "a2f-browser-1"
NO_SIDES: Sides = (False, False, False, False)


def browser_model(weights: Weights) -> bytes:
    """Make the browser file of a network; equal weights give equal bytes.

    Args:
        weights: weights of a network with projection and attention, as in all variants of the paper.

    Returns:
        The bytes of a safetensors file. Its metadata entry "a2f" is JSON with the configuration, the licence, the
        middle level (`middle_of`) and the checksum of the weights.

    Raises:
        UsageError: for a network without projection or attention.
    """
    from safetensors.numpy import save

    config = weights.config
    if not (config.projection and config.attention):
        raise UsageError(f"{weights.label} has no projection or no attention: only whole A²F networks run in a browser")
    net = fold(weights)
    graphs = {name: np.frombuffer(graph, np.uint8) for name, graph in _graphs(net).items()}
    numbers: dict[str, NDArray[np.float32]] = {"mean": net.mean.reshape(3)}
    for i, block in enumerate(net.blocks, start=1):
        numbers |= {f"gate_{i}.{name}": value for name, value in _gate_numbers(block).items()}
    told = {
        "format": FORMAT,
        "name": weights.name,
        "config": asdict(config),
        "middle": middle_of(net),
        "licence": weights.metadata.get("licence", ""),
        "weights_sha256": weights.sha256,
    }
    # A single entry, because safetensors writes several entries in random order.
    return save({**graphs, **numbers}, metadata={"a2f": json.dumps(told, sort_keys=True)})


def _graphs(net: Folded) -> dict[str, bytes]:
    blocks = range(1, len(net.blocks) + 1)
    graphs = {
        "head": step_graph(net, "head", sides=NO_SIDES),
        **{f"block_{i}": step_graph(net, "block", number=i, sides=NO_SIDES, masked=True) for i in blocks},
        "exchange": step_graph(net, "exchange", sides=NO_SIDES),
        "tail": step_graph(net, "tail", sides=NO_SIDES),
    }
    return {name: graph.to_onnx("step") for name, graph in graphs.items()}


def _gate_numbers(block: FoldedBlock) -> dict[str, NDArray[np.float32]]:
    numbers = {
        "proj": np.concatenate([conv.weight[:, :, 0, 0] for conv in block.proj], axis=1),
        "lambda_att": np.array([block.lambda_att], np.float32),
    }
    for name, conv in (("conv1", block.gate1), ("conv2", block.gate2)):
        assert conv is not None
        assert conv.bias is not None
        numbers |= {f"{name}.weight": np.ascontiguousarray(conv.weight[:, :, 0, 0]), f"{name}.bias": conv.bias}
    return numbers
