"""Networks that are not A²F as upscalers, on PyTorch or onnxruntime; whole images only."""

import copy
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from a2f.errors import EngineError, InputError
from a2f.export.check import Difference, rounding
from a2f.peers.own import reason
from a2f.runtime.engine import to_batch, to_image
from a2f.runtime.memory import usable_cores
from a2f.runtime.options import EngineName

if TYPE_CHECKING:
    from collections.abc import Callable

    from a2f.peers.files import Network

Array = NDArray[np.float32]
SIZES = ((24, 31), (33, 20), (48, 40))  # height and width of the images on which an ONNX file is compared


class NetworkUpscaler:
    """An `Upscaler` around a network of another paper or of a researcher.

    Args:
        run: [1, 3, H, W] -> [1, 3, sH, sW].
        scale: s.
        description: one line for people.
    """

    def __init__(self, run: "Callable[[Array], Array]", *, scale: int, description: str) -> None:
        self._run, self.scale, self.description = run, scale, description

    def __call__(self, image: Array) -> Array:
        """Enlarge one image, as `Upscaler` says; InputError if the network cannot take its size."""
        x = to_batch(image)
        y = self._run(x)
        expected = (1, 3, x.shape[2] * self.scale, x.shape[3] * self.scale)
        if y.shape != expected:
            raise InputError(f"{self.description}: an array of {y.shape} came out, {expected} is needed")
        return to_image(y)


def check_network(blob: bytes, network: "Network") -> list[Difference]:
    """Run an ONNX file in onnxruntime and the network in PyTorch on images of awkward sizes.

    Args:
        blob: of `export_network`, for images of any size.
        network: on the CPU.

    Raises:
        EngineError: if an array of another size comes out than s times that of the image.
    """
    import torch

    from a2f.export.session import make_session

    session = make_session(blob, threads=1)
    module = copy.deepcopy(network.module).eval().requires_grad_(False)

    def run(x: Array) -> Array:
        with torch.inference_mode():
            y: Array = module(torch.from_numpy(x)).numpy()
        return y

    rng, found = np.random.default_rng(0), []
    for height, width in SIZES:
        x = rng.random((1, 3, height, width), dtype=np.float32)
        (sr,) = session.run(None, {"lr": x})
        wanted = (1, 3, height * network.scale, width * network.scale)
        for shape, told_by in ((run(x).shape, "PyTorch"), (np.shape(sr), "onnxruntime")):
            if shape != wanted:
                raise EngineError(
                    f"{network.name} in {told_by} turns {x.shape} into {shape}, {wanted} is needed: the network has to "
                    "take images of any size"
                )
        largest = float(np.abs(np.asarray(sr) - run(x)).max())
        found.append(Difference(width=width, height=height, largest=largest, allowed=rounding(run, x)))
    return found


def open_network_engine(
    network: "Network",
    *,
    engine: EngineName = "torch",
    device: str = "cpu",
    dtype: str = "float32",
    threads: int | None,
) -> NetworkUpscaler:
    """Open an engine on a network.

    Args:
        network: of `a2f.peers.files`.
        engine: "torch", or "onnxruntime" by way of an ONNX file that PyTorch writes.
        device: "cpu"; for torch also "cuda" or "mps".
        dtype: "float32"; for torch also "bfloat16" or "float16".
        threads: of one run on the CPU; all cores of the process by default; torch counts for the whole process.

    Raises:
        EngineError: for another engine, or a device or precision that it does not have.
    """
    told = f"{network.label}, {device}, {dtype}"
    if engine == "torch":
        return NetworkUpscaler(
            _on_torch(network, device, dtype, threads), scale=network.scale, description=f"torch, {told}"
        )
    if engine == "onnxruntime":
        if device != "cpu" or dtype != "float32":
            raise EngineError(
                f"{network.name} in onnxruntime runs on the CPU in float32: take --engine torch for {told}"
            )
        run = _on_onnxruntime(network, threads or usable_cores())
        return NetworkUpscaler(run, scale=network.scale, description=f"onnxruntime, {told}")
    raise EngineError(f"{network.name} runs in torch or onnxruntime, not in {engine}")


def _on_torch(network: "Network", device: str, dtype: str, threads: int | None) -> "Callable[[Array], Array]":
    import torch

    kind = device.partition(":")[0]
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not there.get(kind, False):
        raise EngineError(
            f"this torch has no device {device!r}: there is {', '.join(n for n, here in there.items() if here)}"
        )
    if dtype not in ("float32", "bfloat16", "float16"):
        raise EngineError(f"engine torch does not compute in {dtype!r}: choose float32, bfloat16 or float16")
    if threads is not None:
        torch.set_num_threads(threads)
    module = copy.deepcopy(network.module).eval().requires_grad_(False).to(device, getattr(torch, dtype))

    def run(x: Array) -> Array:
        try:
            with torch.inference_mode():
                y: Array = module(torch.from_numpy(x).to(device, getattr(torch, dtype))).float().cpu().numpy()
        except (Exception, SystemExit) as error:  # whatever a researcher's network raises
            raise InputError(f"{network.name} failed on {x.shape[3]} x {x.shape[2]} pixels: {reason(error)}") from error
        return y

    return run


def _on_onnxruntime(network: "Network", threads: int) -> "Callable[[Array], Array]":
    from a2f.export.session import make_session
    from a2f.peers.onnx_file import export_network

    blob = export_network(network)
    for found in (d for d in check_network(blob, network) if not d.largest <= d.allowed):  # NaN is neither
        raise EngineError(f"{network.name} as ONNX differs from PyTorch by {found.largest:.1e}: take --engine torch")
    session = make_session(blob, threads=threads)

    def run(x: Array) -> Array:
        return np.asarray(session.run(None, {"lr": x})[0], np.float32)

    return run
