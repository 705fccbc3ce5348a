"""The network during training: the parameters of all blocks are stacked, so that a step needs few operations.

`a2f.model.a2f.A2F` is the network as described in the paper. `TrainingNetwork` computes the same function (a test
compares values and gradients). A step is faster for four reasons (figures of a CPU: docs/benchmarks/training.md):

- The kernels of all blocks are one tensor: weight normalisation, optimisers and averages need a few operations instead
  of several hundred.
- Weight normalisation and the factors λ are multiplied into the kernels, once per step.
- Values are cast to the precision of the step once, not at each use.
- The loss is computed before the pixel shuffle, which only moves pixels.
"""

from collections.abc import Mapping

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from a2f.model.a2f import A2F, MEAN, from_weights
from a2f.training.blocks import BlockTensors, run_blocks
from a2f.variants import A2FConfig
from a2f.weights import Tensors, Weights, expected_shapes, write_weights

ATTENTION = ("att.conv1.weight", "att.conv1.bias", "att.conv2.weight", "att.conv2.bias")
NORMED = ("head", "skip", "tail", "res.conv1", "res.conv2")  # convolutions with weight normalisation


class TrainingNetwork:
    """A²F with stacked parameters. L is `blocks`, C `channels`, s the scale.

    Args:
        weights: initial folded weights.
        device: where the parameters live.

    Attributes:
        config: the network.
        parameters: name -> leaf tensor, float32. The names are those of the weights file without the number of the
            block; the first dimension of block tensors is L. A convolution with weight normalisation has `.v`
            (direction) and `.g` (gain of each output channel) instead of `.weight`. `proj.weight` is [L, C, L·C]: block
            i, counted from 1, uses the first i·C columns; the others are 0 and stay 0.
    """

    def __init__(self, weights: Weights, *, device: torch.device) -> None:
        self.config: A2FConfig = weights.config
        self.parameters: dict[str, Tensor] = {}
        for name, value in _stacked(weights.tensors, self.config).items():
            tensor, layer = torch.from_numpy(value).to(device), name.removesuffix(".weight")
            if layer in NORMED and name.endswith(".weight"):
                self.parameters[f"{layer}.v"] = tensor
                self.parameters[f"{layer}.g"] = tensor.flatten(-3).norm(dim=-1)
            else:
                self.parameters[name] = tensor
        for tensor in self.parameters.values():
            tensor.requires_grad_()
        self._network = A2F(self.config).to(device)
        self.mean = torch.tensor(MEAN, device=device).view(1, 3, 1, 1)

    def state(self) -> dict[str, Tensor]:
        """The tensors to save in a checkpoint."""
        return self.parameters

    def kernels(self) -> list[str]:
        """The names of the kernels with weight normalisation."""
        return [name for name in self.parameters if name.endswith(".v")]

    def weights(self, values: Mapping[str, Tensor], *, metadata: dict[str, str] | None = None) -> Weights:
        """Folded weights.

        Args:
            values: name -> tensor: `parameters`, or an average of them.
            metadata: other metadata of the file.
        """
        with torch.no_grad():
            tensors = {name: value.float().cpu().numpy().copy() for name, value in self._folded(values).items()}
        return Weights(config=self.config, tensors=tensors, metadata=metadata or {})

    def model(self, values: Mapping[str, Tensor]) -> A2F:
        """The network of the paper for inference, with the given values of `parameters`."""
        return from_weights(self.weights(values)).eval()

    def file(self, values: Mapping[str, Tensor], *, metadata: dict[str, str]) -> bytes:
        """The bytes of a weights file with the given values of `parameters`."""
        return write_weights(self.weights(values, metadata=metadata))

    def forward(self, x: Tensor, *, dtype: torch.dtype = torch.float32) -> Tensor:
        """Enlarge a batch, without the pixel shuffle.

        Args:
            x: [N, 3, H, W] RGB in [0, 1].
            dtype: precision of the convolutions; on a CPU and with CUDA also of the features.

        Returns:
            [N, 3 s², H, W] float32; `pixel_shuffle` of it is RGB, not clipped.
        """
        return self._stacked(x, dtype) if x.device.type in ("cpu", "cuda") else self._as_written(x, dtype)

    def _as_written(self, x: Tensor, dtype: torch.dtype) -> Tensor:
        with torch.autocast(x.device.type, dtype, enabled=dtype != torch.float32):
            image: Tensor = torch.func.functional_call(self._network, self._folded(self.parameters), (x,))
        return F.pixel_unshuffle(image.float(), self.config.scale)

    def _folded(self, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The tensors of a weights file; gradients flow to the stacked tensors."""
        stacked = {name: value for name, value in values.items() if not name.endswith((".v", ".g"))}
        stacked |= {f"{layer}.weight": normed(values[f"{layer}.v"], values[f"{layer}.g"]) for layer in NORMED}
        tensors = {}
        for name, shape in expected_shapes(self.config).items():
            block, part = name.split(".", 2)[1:] if name.startswith("blocks.") else ("", name)
            value = stacked[part][int(block)] if block else stacked[part]
            tensors[name] = (value[:, : shape[1]] if part == "proj.weight" else value).reshape(shape)
        return tensors

    def _stacked(self, x: Tensor, dtype: torch.dtype) -> Tensor:
        p, scale = self.parameters, self.config.scale
        # The tensor cores of a GPU need channels in multiples of 8. On a CPU the padding would only cost time.
        pad = 8 if x.device.type == "cuda" else 1
        lr = _padded((x - self.mean) * 2, 1, pad).to(dtype)  # [N, 3, H, W]
        lr = lr.contiguous(memory_format=torch.channels_last)
        head = _padded(normed(p["head.v"], p["head.g"]), 1, pad).to(dtype)
        x_0 = F.conv2d(lr, head, p["head.bias"].to(dtype), padding=self.config.head_kernel // 2)  # Eq. 1  [N, C, H, W]
        x_l = run_blocks(x_0, self._block_tensors(dtype))  # Eq. 2  [N, C, H, W]
        # Eq. 3 to 5: tail and skip are added, so one convolution over [x_L, lr] computes both
        kernel = torch.cat([normed(p[f"{name}.v"], p[f"{name}.g"]) for name in ("tail", "skip")], dim=1)
        both = torch.cat([x_l, lr], dim=1)  # [N, C + 3, H, W]
        # Halve the kernel, not the output: it has fewer values, and a division by two is exact.
        bias = _padded((p["tail.bias"] + p["skip.bias"]) / 2, 0, pad)
        kernel = _padded(_padded(kernel / 2, 0, pad), 1, pad)
        out = F.conv2d(both, kernel.to(dtype), bias.to(dtype), padding=1)[:, : 3 * scale**2]  # [N, 3 s², H, W]
        return out.float() + self.mean.repeat_interleave(scale**2, dim=1)

    def _block_tensors(self, dtype: torch.dtype) -> BlockTensors:
        p = self.parameters
        factor = p["lambda_res"][:, None]  # [L, 1]
        return BlockTensors(
            conv1=normed(p["res.conv1.v"], p["res.conv1.g"]).to(dtype),
            conv1_bias=p["res.conv1.bias"].to(dtype),
            conv2=normed(p["res.conv2.v"], p["res.conv2.g"] * factor).to(dtype),
            conv2_bias=(p["res.conv2.bias"] * factor).to(dtype),
            lambda_x=p["lambda_x"],
            proj=p["proj.weight"] if self.config.projection else None,
            lambda_att=p["lambda_att"] if self.config.projection else None,
            att=tuple(p[name] for name in ATTENTION) if self.config.attention else (),
        )


def _padded(values: Tensor, dim: int, multiple: int) -> Tensor:
    """Append zeros to a dimension, up to a multiple."""
    missing = -values.shape[dim] % multiple
    # `F.pad` takes the last dimension first.
    return F.pad(values, (0, 0) * (values.ndim - 1 - dim) + (0, missing)) if missing else values


def normed(v: Tensor, g: Tensor) -> Tensor:
    """A kernel from its direction and gains: weight normalisation (Salimans and Kingma, 2016).

    Args:
        v: [..., out, in, k, k].
        g: [..., out].

    Returns:
        The kernel, with the shape of v; each output channel has the norm g.
    """
    kernel: Tensor = v * (g / v.flatten(-3).norm(dim=-1))[..., None, None, None]
    return kernel


def _stacked(tensors: Tensors, config: A2FConfig) -> dict[str, NDArray[np.float32]]:
    """Stack the tensors of all blocks of a weights file; kernels of `att` become matrices."""
    stacked: dict[str, NDArray[np.float32]] = {}
    for name in expected_shapes(config):
        if not name.startswith("blocks."):
            stacked[name] = np.array(tensors[name])
    for part in _parts(config):
        values = [np.array(tensors[f"blocks.{i}.{part}"]) for i in range(config.blocks)]
        if part == "proj.weight":
            rows = config.channels
            stacked[part] = np.zeros((config.blocks, rows, config.blocks * rows), np.float32)
            for i, value in enumerate(values):
                stacked[part][i, :, : value.shape[1]] = value[:, :, 0, 0]
        else:
            one = np.stack(values)
            stacked[part] = one.squeeze((-1, -2)) if part.startswith("att.") and one.ndim == 5 else one
            if part.startswith("lambda_"):
                stacked[part] = one[:, 0]
    return stacked


def _parts(config: A2FConfig) -> list[str]:
    """The names of the tensors of one block."""
    return [name.removeprefix("blocks.0.") for name in expected_shapes(config) if name.startswith("blocks.0.")]
