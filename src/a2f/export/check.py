"""Check an ONNX graph against an independent reference: the paper's equations in plain numpy, without folding."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from a2f.weights import Weights

Array = NDArray[np.float64]

SIZES = ((1, 1), (1, 13), (11, 1), (7, 9), (16, 16), (23, 37))
MEAN = np.array([0.4488, 0.4371, 0.4040]).reshape(3, 1, 1)


@dataclass(frozen=True, kw_only=True)
class Difference:
    """The difference between a graph and the reference on one image.

    Attributes:
        height, width: size of the LR image, pixels.
        largest: largest absolute difference of a value in [0, 1].
        allowed: the allowed difference, by `rounding`.
    """

    height: int
    width: int
    largest: float
    allowed: float


def reference(weights: Weights, lr: NDArray[np.float32]) -> Array:
    """Run a network in float64 numpy, equation by equation. It is slow and only for checks.

    Args:
        weights: the weights of the file.
        lr: [3, H, W] RGB in [0, 1].

    Returns:
        [3, sH, sW] RGB, not clipped.
    """
    w = {name: value.astype(np.float64) for name, value in weights.tensors.items()}
    config = weights.config

    def conv(name: str, x: Array) -> Array:
        return _conv(x, w[f"{name}.weight"], w.get(f"{name}.bias"))

    centred = (lr.astype(np.float64) - MEAN) * 2
    xs = [conv("head", centred)]  # Eq. 1
    for i in range(config.blocks):
        block = f"blocks.{i}"
        x_res = conv(f"{block}.res.conv2", np.maximum(conv(f"{block}.res.conv1", xs[-1]), 0))  # Eq. 8
        x = w[f"{block}.lambda_res"] * x_res + w[f"{block}.lambda_x"] * xs[-1]
        if config.projection:
            x_proj = conv(f"{block}.proj", np.concatenate(xs))  # Eq. 6
            gate = np.ones((1, 1, 1))
            if config.attention:
                pooled = x_proj.mean((1, 2), keepdims=True)
                inner = np.maximum(conv(f"{block}.att.conv1", pooled), 0)
                gate = (1 + np.tanh(conv(f"{block}.att.conv2", inner) / 2)) / 2  # sigmoid without overflow
            x = x + w[f"{block}.lambda_att"] * (gate * x_proj)  # Eq. 7, 9
        xs.append(x)
    s = config.scale
    both = _pixel_shuffle(conv("tail", xs[-1]), s) + _pixel_shuffle(conv("skip", centred), s)  # Eq. 3 to 5
    sr: Array = both / 2 + MEAN
    return sr


def check_onnx(blob: bytes, weights: Weights, *, seed: int = 0) -> list[Difference]:
    """Compare an ONNX file with the reference on random images of unusual sizes.

    Args:
        blob: the file.
        weights: the weights of the file.
        seed: seed of the random images.

    Returns:
        One difference per size; each should be at most its `allowed` value.
    """
    from a2f.export.session import make_session

    session = make_session(blob, threads=1)

    def run(lr: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(session.run(None, {"lr": lr})[0], np.float32)

    rng = np.random.default_rng(seed)
    found = []
    for height, width in SIZES:
        lr = rng.random((1, 3, height, width), dtype=np.float32)
        sr = run(lr)
        largest = float(np.abs(sr[0] - reference(weights, lr[0])).max())
        found.append(Difference(height=height, width=width, largest=largest, allowed=rounding(run, lr)))
    return found


def check_fixed(fixed: bytes, free: bytes, *, lr_size: tuple[int, int]) -> Difference:
    """Compare an ONNX file with a fixed size with the file of the same network for any size, on a random image.

    Args:
        fixed: the file with a fixed size.
        free: the file for any size, checked by `check_onnx`.
        lr_size: width and height of the LR image, pixels.
    """
    from a2f.export.session import make_session

    sessions = [make_session(blob, threads=1) for blob in (fixed, free)]

    def run(lr: NDArray[np.float32], session: int = 0) -> NDArray[np.float32]:
        return np.asarray(sessions[session].run(None, {"lr": lr})[0], np.float32)

    width, height = lr_size
    lr = np.random.default_rng(0).random((1, 3, height, width), dtype=np.float32)
    largest = float(np.abs(run(lr) - run(lr, 1)).max())
    return Difference(height=height, width=width, largest=largest, allowed=rounding(run, lr))


def rounding(run: Callable[[NDArray[np.float32]], NDArray[np.float32]], lr: NDArray[np.float32]) -> float:
    """The allowed difference between two float32 runs of one network on one image.

    Rounding changes the result like a change of the last bits of the input. The effect depends on the network and the
    image: on an image of few pixels the gates pool over few values and amplify the change a hundred times, and networks
    with large values round in larger steps. So the limit is measured: the largest change of the result when each value
    of the input changes by 2 / 2^24 (its last bits), in four random trials. There is a factor of 2 because both runs
    round, and another factor of 2 because four trials may miss the largest change. In a test of 900 images of 1 to 70
    pixels per side, most of them narrow, no difference reached half of the limit.

    Args:
        run: the network, for arrays of any layout.
        lr: the image, in [0, 1].

    Returns:
        The largest absolute difference that rounding explains.
    """
    rng, expected, step = np.random.default_rng(0), run(lr), np.float32(2 * 2**-24)
    moved = [run(lr + rng.choice([-step, step], lr.shape)) for _ in range(4)]
    last_bit = float(np.spacing(np.abs(expected).max()))
    return 4 * max(last_bit, *(float(np.abs(sr - expected).max()) for sr in moved))


def _conv(x: Array, weight: Array, bias: Array | None) -> Array:
    """[C, H, W] -> [out, H, W], zero padding."""
    side = weight.shape[-1]
    pad = side // 2
    padded = np.pad(x, ((0, 0), (pad, pad), (pad, pad)))
    windows = sliding_window_view(padded, (side, side), axis=(1, 2))  # [C, H, W, k, k]
    out = np.tensordot(weight, windows, axes=((1, 2, 3), (0, 3, 4)))  # [out, H, W]
    return out if bias is None else out + bias[:, None, None]


def _pixel_shuffle(x: Array, s: int) -> Array:
    _, h, w = x.shape
    return x.reshape(3, s, s, h, w).transpose(0, 3, 1, 4, 2).reshape(3, h * s, w * s)
