"""Third-party networks as upscalers, whole images only, for comparison and as teachers.

`ExternalModel` opens a file: ONNX, TorchScript or torch.export. `open_network_engine` runs a module of PyTorch
(`a2f.peers`).
"""

import copy
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from a2f.errors import EngineError, InputError, MissingExtraError, UsageError, WeightsError
from a2f.export.check import Difference, rounding
from a2f.machine import usable_cores
from a2f.peers.own import reason
from a2f.runtime.engine import to_batch, to_image
from a2f.runtime.options import EngineName

if TYPE_CHECKING:
    from a2f.peers.files import Network

Array = NDArray[np.float32]
RANGES = {"1": (0.0, 1.0), "255": (0.0, 255.0), "-1..1": (-1.0, 1.0)}
SUFFIXES = (".onnx", ".pt", ".pth", ".pt2", ".torchscript")
# Trained networks keep the mean colour of a smooth image within 0.001 of 1. Fed with values 255 times too large, one
# that is nearly linear comes as near as 0.012.
MAX_COLOUR_SHIFT = 0.01
PROBE = (24, 32)  # height and width of the image that tells the scale
CHECKED_SIZES = ((24, 31), (33, 20), (48, 40))  # height and width of the images on which an ONNX file is compared


@dataclass(frozen=True, kw_only=True)
class Convention:
    """What a network takes and gives.

    Attributes:
        input_range: a key of `RANGES`: "1" for [0, 1], "255" for [0, 255], "-1..1".
        output_range: the same; None is as the input.
        channels: order of the colours, "rgb" or "bgr".
        multiple: sides that the network takes are multiples of this, LR pixels; images are padded by reflection.
    """

    input_range: str = "1"
    output_range: str | None = None
    channels: Literal["rgb", "bgr"] = "rgb"
    multiple: int = 1

    def __post_init__(self) -> None:
        for name in (self.input_range, self.output_range):
            if name is not None and name not in RANGES:
                raise UsageError(f"value range {name!r}: choose {', '.join(RANGES)}")
        if self.channels not in ("rgb", "bgr") or self.multiple < 1:
            raise UsageError(f"channels {self.channels!r}, multiple {self.multiple}: rgb or bgr, and at least 1")


class ExternalModel:
    """An `Upscaler` around any network that enlarges an RGB image by a whole factor.

    Args:
        path: .onnx, or .pt, .pth, .torchscript (TorchScript) or .pt2 (torch.export).
        scale: by which the network shall enlarge; it is tried. None takes the factor by which it does.
        convention: of its values.
        threads: of one run on the CPU, at least 1.

    Raises:
        WeightsError: if the file cannot be opened, or is not a network of one image to one image.
        MissingExtraError: if torch is needed and missing.
        InputError: if it enlarges by another factor, or its values do not fit the stated range.
    """

    def __init__(self, path: Path, *, scale: int | None, convention: Convention, threads: int) -> None:
        self.convention = convention
        digest = hashlib.sha256(_bytes_of(path)).hexdigest()[:16]
        self.description = f"{path.name}, sha256 {digest}, {convention}"
        opened = _open_onnx(path, threads) if path.suffix == ".onnx" else _open_torch(path)
        self._run, self._sides = opened
        self.scale = self._found_scale(path) if scale is None else scale
        self._try(path)

    def __call__(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        """Enlarge one image, as `Upscaler` says; InputError if the network takes no such size or gives no numbers."""
        x = to_batch(image)
        height, width = x.shape[2:]
        x = self._padded(x)
        low, high = RANGES[self.convention.input_range]
        flip = self.convention.channels == "bgr"
        y = self._run(np.ascontiguousarray((x[:, ::-1] if flip else x) * np.float32(high - low) + np.float32(low)))
        if y.shape != (1, 3, x.shape[2] * self.scale, x.shape[3] * self.scale):
            raise InputError(
                f"{self.description}: {x.shape[3]} x {x.shape[2]} pixels became an array of {y.shape}, not of "
                f"{(1, 3, x.shape[2] * self.scale, x.shape[3] * self.scale)}: is x{self.scale} its scale?"
            )
        if not np.isfinite(y).all():
            raise InputError(f"{self.description}: NaN or infinity came out")
        low, high = RANGES[self.convention.output_range or self.convention.input_range]
        y = ((y[:, ::-1] if flip else y) - np.float32(low)) / np.float32(high - low)
        return to_image(y[:, :, : height * self.scale, : width * self.scale])

    def _padded(self, x: Array) -> Array:
        sides = [-(-side // self.convention.multiple) * self.convention.multiple for side in x.shape[2:]]
        for number, (side, fixed) in enumerate(zip(x.shape[2:], self._sides, strict=True)):
            if fixed is not None:
                if side > fixed:
                    raise InputError(
                        f"{self.description}: takes {self._sides[1]} x {self._sides[0]} pixels only, the image has "
                        f"{x.shape[3]} x {x.shape[2]}: export it with free height and width"
                    )
                sides[number] = fixed
        missing = [(0, 0), (0, 0), *((0, full - side) for full, side in zip(sides, x.shape[2:], strict=True))]
        return np.pad(x, missing, mode="symmetric")

    def _found_scale(self, path: Path) -> int:
        """The factor by which the network enlarges."""
        sides = [min(side, fixed or side) for side, fixed in zip(PROBE, self._sides, strict=True)]
        x = self._padded(np.zeros((1, 3, *sides), np.float32))
        y = self._run(x)
        factor = y.shape[2] // x.shape[2] if y.ndim == 4 else 0
        if factor < 1 or y.shape != (1, 3, x.shape[2] * factor, x.shape[3] * factor):
            raise InputError(
                f"{path}: {x.shape[3]} x {x.shape[2]} pixels became an array of {y.shape}: only networks that enlarge "
                "an RGB image by a whole factor are run"
            )
        return factor

    def _try(self, path: Path) -> None:
        """A smooth image in: about the same must come out, or range, colours or scale are not as stated."""
        y, x = np.mgrid[0 : PROBE[0], 0 : PROBE[1]].astype(np.float32)
        image = np.stack([0.3 + 0.4 * y / PROBE[0], 0.2 + 0.6 * x / PROBE[1], 0.8 - 0.3 * x / PROBE[1]], axis=-1)
        sides = [min(side, fixed or side) for side, fixed in zip(PROBE, self._sides, strict=True)]
        image = image[: sides[0], : sides[1]].astype(np.float32)
        means = self(image).mean((0, 1)), image.mean((0, 1))
        if np.abs(means[0] - means[1]).max() > MAX_COLOUR_SHIFT:
            raise InputError(
                f"{path}: a smooth image of the mean colour {_colour(means[1])} came back as {_colour(means[0])} "
                f"(0 to 1): state the values that it takes by --input-range, --output-range and --channels "
                f"(now {self.convention.input_range}, {self.convention.output_range or 'the same'}, "
                f"{self.convention.channels})"
            )


def is_external(model: str | Path) -> bool:
    """Whether a model is meant as the file of a third-party network."""
    return Path(model).suffix in SUFFIXES


def _colour(values: Array) -> str:
    return "(" + ", ".join(f"{v:.2f}" for v in values) + ")"


def _bytes_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise WeightsError(f"cannot read {path}: {error.strerror or error}") from error


Opened = tuple[Callable[[Array], Array], tuple[int | None, int | None]]  # NCHW -> NCHW, and sides that are fixed


def _open_onnx(path: Path, threads: int) -> Opened:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4
    try:  # by its path: large files keep their tensors beside them
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises a dozen types of its own
        raise WeightsError(f"onnxruntime cannot open {path}: {str(error).splitlines()[0]}") from error
    if len(session.get_inputs()) != 1:
        names = ", ".join(i.name for i in session.get_inputs())
        raise WeightsError(f"{path} has the inputs {names}: only networks with one, the image, are run")
    given = session.get_inputs()[0]
    types = {"tensor(float)": np.float32, "tensor(float16)": np.float16}
    shape = list(given.shape)
    if given.type not in types or len(shape) != 4 or 3 not in (shape[1], shape[3]):
        raise WeightsError(f"{path} takes {given.type} {shape}: only float images [N, 3, H, W] or [N, H, W, 3] are run")
    last = shape[3] == 3 and shape[1] != 3
    sides = shape[1:3] if last else shape[2:4]
    dtype, output = types[given.type], session.get_outputs()[0].name

    def run(x: Array) -> Array:
        x = x.transpose(0, 2, 3, 1) if last else x
        try:
            y = session.run([output], {given.name: np.ascontiguousarray(x.astype(dtype))})[0]
        except Exception as error:
            raise InputError(f"{path} failed on {x.shape}: {str(error).splitlines()[0]}: try --multiple") from error
        y = np.asarray(y, np.float32)
        return y.transpose(0, 3, 1, 2) if last and y.ndim == 4 else y

    height, width = (side if isinstance(side, int) else None for side in sides)
    return run, (height, width)


def _open_torch(path: Path) -> Opened:
    try:
        import torch
    except ImportError as error:
        raise MissingExtraError(f"{path} needs torch: pip install 'a2f[train]'") from error
    module: Any
    try:
        if path.suffix == ".pt2":
            module = torch.export.load(str(path)).module()
        else:
            module = torch.jit.load(str(path), "cpu").eval()  # type: ignore[no-untyped-call]
    except Exception as error:  # torch raises a dozen types for a foreign file
        raise WeightsError(
            f"{path} is neither TorchScript nor torch.export ({str(error).splitlines()[0]}); "
            "checkpoints of the paper's authors go through `a2f convert` first"
        ) from error

    def run(x: Array) -> Array:
        try:
            with torch.inference_mode():
                y = module(torch.from_numpy(x))
        except (RuntimeError, torch.jit.Error) as error:
            raise InputError(f"{path} failed on {x.shape}: {str(error).splitlines()[-1]}: try --multiple") from error
        if not isinstance(y, torch.Tensor):
            raise WeightsError(f"{path} gives {type(y).__name__}, not one tensor")
        return y.float().cpu().numpy()

    return run, (None, None)


class NetworkUpscaler:
    """An `Upscaler` around a network of another paper or of a researcher.

    Args:
        run: [1, 3, H, W] -> [1, 3, sH, sW].
        scale: s.
        description: one line for people.
    """

    def __init__(self, run: Callable[[Array], Array], *, scale: int, description: str) -> None:
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
    for height, width in CHECKED_SIZES:
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


def _on_torch(network: "Network", device: str, dtype: str, threads: int | None) -> Callable[[Array], Array]:
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


def _on_onnxruntime(network: "Network", threads: int) -> Callable[[Array], Array]:
    from a2f.export.session import make_session
    from a2f.peers.onnx_file import export_network

    blob = export_network(network)
    for found in (d for d in check_network(blob, network) if not d.largest <= d.allowed):  # NaN is neither
        raise EngineError(f"{network.name} as ONNX differs from PyTorch by {found.largest:.1e}: take --engine torch")
    session = make_session(blob, threads=threads)

    def run(x: Array) -> Array:
        return np.asarray(session.run(None, {"lr": x})[0], np.float32)

    return run
