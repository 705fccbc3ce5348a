"""Calibrate the ranges for 8-bit integers on a folder of photographs, and measure the loss."""

import importlib.util
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from a2f.data.degrade import jpeg
from a2f.data.pairs import find_images
from a2f.errors import InputError
from a2f.export.int8 import ranges_metadata
from a2f.export.ranges import calibrate
from a2f.imageio.rgb import read_rgb8, to_uint8
from a2f.metrics import psnr_y
from a2f.resize import imresize
from a2f.runtime import load_engine
from a2f.runtime.openvino import computes
from a2f.weights import Weights

LOSS_KEY = "int8_loss_db"
PHOTOGRAPHS = 32  # every fourth one measures the loss
LR_SIDE_PX = 160

Pair = tuple[NDArray[np.uint8], NDArray[np.uint8]]


def calibrated(
    weights: Weights, folder: Path, *, tell: Callable[[str], None], jpeg_quality: int | None = None
) -> Weights:
    """Add ranges for 8-bit integers to the metadata of weights, and their loss if OpenVINO is installed.

    Args:
        weights: weights of any A²F network.
        folder: folder of photographs, searched recursively; 32 evenly spread ones are used.
        tell: called with lines for the user.
        jpeg_quality: quality of JPEG compression (4:2:0) of the LR images that give the ranges, for weights for JPEG
            input; None for no compression. The loss is measured on LR images without compression.

    Raises:
        ImageReadError, InputError: if the folder has no suitable photographs.
    """
    paths = find_images(folder)
    spread = [paths[i] for i in np.unique(np.linspace(0, len(paths) - 1, PHOTOGRAPHS).round().astype(int))]
    pairs = [_middle(read_rgb8(path), weights.config.scale) for path in spread]
    known, held = [p for i, p in enumerate(pairs) if i % 4 != 3], pairs[3::4]
    seen = [lr if jpeg_quality is None else jpeg(lr, quality=jpeg_quality) for _, lr in known]
    ranges = calibrate(weights, [lr.astype(np.float32) / np.float32(255) for lr in seen])
    kept = {
        key: value for key, value in weights.metadata.items() if key != LOSS_KEY
    }  # without the loss of the old ranges
    result = replace(weights, metadata={**kept, **ranges_metadata(ranges)}, sha256="")
    tell(f"ranges of {len(ranges)} blocks from {len(known)} photographs")
    if held and importlib.util.find_spec("openvino") and computes("int8"):
        loss = _psnr(weights, "onnxruntime", "float32", held) - _psnr(result, "openvino", "int8", held)
        tell(f"loss on {len(held)} other photographs: {loss:.4f} dB PSNR-Y")
        return replace(result, metadata={**result.metadata, LOSS_KEY: f"{loss:.4f}"})
    tell("the loss was not measured: " + ("install a2f[openvino]" if held else "give at least 4 photographs"))
    return result


def _middle(hr: NDArray[np.uint8], scale: int) -> Pair:
    side = LR_SIDE_PX * scale
    top, left = (max(0, (n - side) // 2) for n in hr.shape[:2])
    part = hr[top : top + side, left : left + side]
    part = part[: part.shape[0] // scale * scale, : part.shape[1] // scale * scale]
    if min(part.shape[:2]) < 8 * scale:
        raise InputError(f"a photograph of {hr.shape[1]} x {hr.shape[0]} pixels is too small for calibration")
    return part, imresize(part, scale=1 / scale)


def _psnr(weights: Weights, engine: str, dtype: str, pairs: list[Pair]) -> float:
    upscaler = load_engine(weights, engine=engine, dtype=dtype)  # type: ignore[arg-type]
    values = []
    for hr, lr in pairs:
        sr = upscaler(lr.astype(np.float32) / np.float32(255))
        rounded = to_uint8(sr)
        values.append(psnr_y(rounded, hr, border=weights.config.scale))
    return float(np.mean(values))
