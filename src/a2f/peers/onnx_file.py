"""Export networks that are not A²F as ONNX files with PyTorch."""

import copy
import io
import warnings

import torch

from a2f.errors import EngineError
from a2f.peers.files import Network

OPSET = 17


def export_network(network: Network, *, lr_size: tuple[int, int] | None = None) -> bytes:
    """Export a network as an ONNX file with input "lr" and output "sr", float32.

    Args:
        network: the network, on the CPU; it is not changed.
        lr_size: width and height of the LR image, pixels; None for a file for images and batches of any size.

    Raises:
        EngineError: if PyTorch cannot export the network.
    """
    width, height = lr_size or (48, 40)
    size = {0: "batch", 2: "height", 3: "width"}
    large = {0: "batch", 2: f"{network.scale}*height", 3: f"{network.scale}*width"}
    module = copy.deepcopy(network.module).eval().requires_grad_(False)
    blob = io.BytesIO()
    try:
        with warnings.catch_warnings(action="ignore"):  # torch recommends its other exporter
            torch.onnx.export(
                module,
                (torch.zeros(1, 3, height, width),),
                blob,  # type: ignore[arg-type]  # its documentation allows this type
                input_names=["lr"],
                output_names=["sr"],
                dynamic_axes=None if lr_size else {"lr": size, "sr": large},
                opset_version=OPSET,
                dynamo=False,
            )
    except (RuntimeError, torch.onnx.errors.OnnxExporterError) as error:
        raise EngineError(f"PyTorch cannot export {network.name} as ONNX: {str(error).splitlines()[0]}") from error
    return blob.getvalue()
