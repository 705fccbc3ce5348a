"""RGB to BT.601 luma, the definition of video and of super-resolution benchmarks."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

BT601 = (65.481, 128.553, 24.966)
LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)  # weights of full-range RGB


def rgb_to_y(image: NDArray[Any]) -> NDArray[np.float64]:
    """BT.601 luma with studio swing, not rounded: Y = 16 + (65.481 R + 128.553 G + 24.966 B) / 255.

    Args:
        image: [H, W, 3] RGB in 0..255, any real dtype.

    Returns:
        [H, W] float64 in 16..235.
    """
    y: NDArray[np.float64] = 16 + image.astype(np.float64) @ (np.array(BT601) / 255)
    return y
