"""Networks that are not A²F as ONNX files, written by PyTorch and held to it."""

import copy
import io
import warnings
from dataclasses import dataclass

import numpy as np
import torch

from a2f.errors import EngineError
from a2f.peers.files import Network

OPSET = 17
SIZES = ((24, 31), (33, 20), (48, 40))  # height and width of the images that are compared


@dataclass(frozen=True, kw_only=True)
class Difference:
    """How far the file is from PyTorch on one image.

    Attributes:
        width: of the LR image, pixels.
        height: of the LR image, pixels.
        largest: difference, as a share of the largest value.
    """

    width: int
    height: int
    largest: float


def export_network(network: Network, *, lr_size: tuple[int, int] | None = None) -> bytes:
    """A network as an ONNX file: input "lr", output "sr", float32.

    Args:
        network: on the CPU; left as it is.
        lr_size: width and height of the LR image, pixels; None for a file that takes images and batches of any size.

    Raises:
        EngineError: if PyTorch cannot write the network.
    """
    width, height = lr_size or (48, 40)
    size = {0: "batch", 2: "height", 3: "width"}
    large = {0: "batch", 2: f"{network.scale}*height", 3: f"{network.scale}*width"}
    module = copy.deepcopy(network.module).eval().requires_grad_(False)
    blob = io.BytesIO()
    try:
        with warnings.catch_warnings(action="ignore"):  # torch would rather have its other exporter used
            torch.onnx.export(
                module,
                (torch.zeros(1, 3, height, width),),
                blob,  # type: ignore[arg-type]  # as its documentation allows
                input_names=["lr"],
                output_names=["sr"],
                dynamic_axes=None if lr_size else {"lr": size, "sr": large},
                opset_version=OPSET,
                dynamo=False,
            )
    except (RuntimeError, torch.onnx.errors.OnnxExporterError) as error:
        raise EngineError(f"PyTorch cannot write {network.name} as ONNX: {str(error).splitlines()[0]}") from error
    return blob.getvalue()


def check_network(blob: bytes, network: Network) -> list[Difference]:
    """Run an ONNX file in onnxruntime and the network in PyTorch on images of awkward sizes.

    Args:
        blob: of `export_network`, for images of any size.
        network: on the CPU.
    """
    from a2f.export.session import make_session

    session = make_session(blob, threads=1)
    module = copy.deepcopy(network.module).eval()
    rng = np.random.default_rng(0)
    found = []
    for height, width in SIZES:
        x = rng.random((1, 3, height, width), dtype=np.float32)
        with torch.inference_mode():
            expected = module(torch.from_numpy(x)).numpy()
        (sr,) = session.run(None, {"lr": x})
        largest = float(np.abs(np.asarray(sr) - expected).max()) / max(1.0, float(np.abs(expected).max()))
        found.append(Difference(width=width, height=height, largest=largest))
    return found
