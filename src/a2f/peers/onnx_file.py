"""Networks that are not A²F as ONNX files, written by PyTorch."""

import copy
import io
import warnings

import torch

from a2f.errors import EngineError
from a2f.peers.files import Network

OPSET = 17


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
