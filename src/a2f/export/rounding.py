"""Kernels in integers, without images (`round_kernels`) and for given inputs (`round_for`).

Rounding each value of a kernel to the nearest integer leaves errors that add up: neighbouring pixels are nearly equal,
so a 3x3 kernel mostly sees their mean, and the sum of its nine errors changes the result more than each error alone.
`round_kernels` rounds a few values to the other side, so that the errors of each 3x3 kernel, and those of each output
channel, nearly cancel. The method needs no images: SQuant (Guo et al., ICLR 2022), Algorithm 1.

`round_for` rounds one value after the other, and changes the values that are still to come so that they make up for
the error on the given inputs: GPTQ (Frantar et al., ICLR 2023), Algorithm 1, without its blocks.
"""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

DAMPING = 0.01  # share of the mean of the diagonal, added to the diagonal, so that few inputs suffice


def round_kernels(kernels: NDArray[np.floating], steps: NDArray[np.floating], *, largest: int) -> NDArray[np.int8]:
    """Integers whose products with `steps` stand for `kernels`.

    Args:
        kernels: [out, in, height, width].
        steps: [out], over 0. `kernels / steps` lies within -largest .. largest.
        largest: the largest magnitude of the integers, at most 127.

    Returns:
        [out, in, height, width]. Each value differs from `kernels / steps` by less than 1. Where the limit leaves
        room, the differences of a kernel sum up to less than 1, and those of an output channel to 0.5 at most.
    """
    exact: Array = kernels.astype(np.float64) / steps.astype(np.float64)[:, None, None, None]
    exact = exact.reshape(*kernels.shape[:2], -1)  # [out, in, taps]
    integers: Array = np.clip(np.round(exact), -largest, largest)
    integers += _moves(integers - exact, integers, largest)
    errors = integers - exact
    # Of each kernel only the value whose error is largest in the direction of the channel's sum may move.
    direction = np.sign(np.round(errors.sum(axis=(1, 2), keepdims=True)))
    value = np.argmax(errors * direction, axis=-1, keepdims=True)
    candidates = np.take_along_axis(integers, value, axis=-1)[..., 0]  # [out, in]
    moves = _moves(errors.sum(axis=-1), candidates, largest)
    np.put_along_axis(integers, value, (candidates + moves)[..., None], axis=-1)
    return integers.reshape(kernels.shape).astype(np.int8)


def round_for(
    kernels: NDArray[np.floating], steps: NDArray[np.floating], moments: NDArray[np.floating], *, largest: int
) -> NDArray[np.int8]:
    """Integers whose products with `steps` stand for `kernels`, with little error on given inputs.

    Args:
        kernels: [out, in, height, width].
        steps: [out], over 0. `kernels / steps` lies within -largest .. largest.
        moments: [n, n], n = in * height * width: the mean products of all pairs of values that a kernel sees.
        largest: the largest magnitude of the integers, at most 127.

    Returns:
        [out, in, height, width].
    """
    rest: Array = kernels.astype(np.float64).reshape(len(kernels), -1) / steps.astype(np.float64)[:, None]
    diagonal = np.diag(moments).astype(np.float64)
    order = np.argsort(-diagonal, kind="stable")
    damped = moments.astype(np.float64) + np.diag(np.full(len(diagonal), DAMPING * max(diagonal.mean(), 1e-12)))
    # Row j of `shares` says how the error of value j is spread over the values after it.
    shares = np.linalg.cholesky(np.linalg.inv(damped[np.ix_(order, order)])).T
    rest = rest[:, order]
    integers = np.zeros_like(rest)
    for j in range(rest.shape[1]):
        integers[:, j] = np.clip(np.round(rest[:, j]), -largest, largest)
        error = (rest[:, j] - integers[:, j]) / shares[j, j]
        rest[:, j + 1 :] -= np.outer(error, shares[j, j + 1 :])
    return integers[:, np.argsort(order)].reshape(kernels.shape).astype(np.int8)


def nearest(kernels: NDArray[np.floating], steps: NDArray[np.floating]) -> NDArray[np.int8]:
    """The integers nearest to `kernels / steps`; arguments as for `round_kernels`."""
    return np.round(kernels.astype(np.float64) / steps.astype(np.float64)[:, None, None, None]).astype(np.int8)


def _moves(errors: Array, integers: Array, largest: int) -> Array:
    """-1, 0 or 1 for each integer: steps that bring the sum of the errors over the last axis to 0.5 at most."""
    total = np.round(errors.sum(axis=-1, keepdims=True))
    step = -np.sign(total)
    gain = np.where(np.abs(integers + step) <= largest, -errors * step, -np.inf)
    order = np.argsort(-gain, axis=-1, kind="stable")
    rank = np.argsort(order, axis=-1, kind="stable")
    chosen = (rank < np.abs(total)) & np.isfinite(gain)
    return np.where(chosen, step, 0)
