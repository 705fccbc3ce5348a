"""Folding: combine constant factors with the weights before the first image runs.

λ_res is folded into the second convolution of `res`, the factor 2 of the input normalisation into `head` and `skip`,
and the factor 1/2 and the mean of the output into `tail` and `skip`. The subtraction of the input mean remains a
separate step: folded into the biases it would be wrong at the border, because the networks pad the normalised image
with zeros.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from a2f.variants import A2FConfig
from a2f.weights import Weights

Array = NDArray[np.float32]

MEAN = np.array([0.4488, 0.4371, 0.4040])  # RGB mean of DIV2K in [0, 1]


@dataclass(frozen=True, kw_only=True)
class Conv:
    """A convolution with zero padding that keeps the size.

    Attributes:
        weight: [out, in, k, k].
        bias: [out], or None.
    """

    weight: Array
    bias: Array | None = None


@dataclass(frozen=True, kw_only=True)
class FoldedBlock:
    """One block: x_i = conv2(relu(conv1(x_{i-1}))) + lambda_att * gate * p + lambda_x * x_{i-1} (Eq. 9).

    Attributes:
        conv1: first convolution of `res`.
        conv2: second convolution of `res`, times λ_res.
        proj: one 1x1 convolution per source x_0 .. x_{i-1}; their sum is p (Eq. 6). Empty without projection.
        gate1, gate2: convolutions of `att` (Eq. 7); None without attention.
        lambda_att: factor of the auxiliary feature; 0 without projection.
        lambda_x: factor of x_{i-1}.
    """

    conv1: Conv
    conv2: Conv
    proj: tuple[Conv, ...]
    gate1: Conv | None
    gate2: Conv | None
    lambda_att: float
    lambda_x: float


@dataclass(frozen=True, kw_only=True)
class Folded:
    """A folded network. Order of computation: subtract `mean`, head, blocks, tail + skip, one pixel shuffle."""

    config: A2FConfig
    mean: Array
    head: Conv
    blocks: tuple[FoldedBlock, ...]
    tail: Conv
    skip: Conv


def fold(weights: Weights) -> Folded:
    """Fold all constant factors into the weights."""
    config, w = weights.config, {name: value.astype(np.float64) for name, value in weights.tensors.items()}

    def conv(name: str, *, factor: float = 1.0, shift: float | Array = 0.0) -> Conv:
        bias = w.get(f"{name}.bias")
        return Conv(
            weight=(w[f"{name}.weight"] * factor).astype(np.float32),
            bias=None if bias is None else (bias * factor + shift).astype(np.float32),
        )

    def on_centred(name: str, *, out: float) -> Conv:
        # the normalised image is twice the centred one
        weight, bias = w[f"{name}.weight"] * 2 * out, w[f"{name}.bias"] * out
        return Conv(weight=weight.astype(np.float32), bias=bias.astype(np.float32))

    def block(i: int) -> FoldedBlock:
        name = f"blocks.{i}"
        lambda_res, lambda_x = float(w[f"{name}.lambda_res"][0]), float(w[f"{name}.lambda_x"][0])
        sources: tuple[Conv, ...] = ()
        if config.projection:
            parts = np.split(w[f"{name}.proj.weight"].astype(np.float32), i + 1, axis=1)
            sources = tuple(Conv(weight=np.ascontiguousarray(part)) for part in parts)
        return FoldedBlock(
            conv1=conv(f"{name}.res.conv1"),
            conv2=conv(f"{name}.res.conv2", factor=lambda_res),
            proj=sources,
            gate1=conv(f"{name}.att.conv1") if config.attention else None,
            gate2=conv(f"{name}.att.conv2") if config.attention else None,
            lambda_att=float(w[f"{name}.lambda_att"][0]) if config.projection else 0.0,
            lambda_x=lambda_x,
        )

    mean_out = np.repeat(MEAN, config.scale**2)  # pixel shuffle moves channel c s² + k to colour c
    return Folded(
        config=config,
        mean=MEAN.astype(np.float32).reshape(1, 3, 1, 1),
        head=on_centred("head", out=1.0),
        blocks=tuple(block(i) for i in range(config.blocks)),
        tail=conv("tail", factor=0.5, shift=mean_out.astype(np.float32)),
        skip=on_centred("skip", out=0.5),
    )
