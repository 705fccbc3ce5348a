"""Weights files: the shipped models, and how to read and write a file.

A file is a safetensors file with the folded weights (weight norm multiplied in, the three λ separate) and the
configuration as JSON under the metadata key ``config``. Each shipped model has a model card beside its weights. A
network may have two files per scale: clean weights for input without compression, and robust weights for JPEG input,
whose metadata has ``kind`` = "robust".
"""

import functools
import hashlib
import json
import os
import struct
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from a2f.errors import A2FError, UnknownModelError, WeightsError, did_you_mean
from a2f.variants import FACTORS, VARIANTS, A2FConfig, config_of

Tensors = Mapping[str, NDArray[np.float32]]

FORMAT = "a2f-1"

Kind = Literal["clean", "robust"]
AUTO = "auto"  # model name that chooses clean or robust weights for each picture, by `auto_model`
AUTO_CLEAN, AUTO_ROBUST = "sd", "sd-robust"


def model_name(variant: str, kind: str) -> str:
    """The name of a model: "sd", or "sd-robust" for the robust weights of SD."""
    return f"{variant}-robust" if kind == "robust" else variant


def network_of(name: str) -> str:
    """The network of a model name, for example "sd" for "sd-robust"; other names are returned unchanged."""
    return next((variant for variant in VARIANTS if name == model_name(variant, "robust")), name)


@dataclass(frozen=True, kw_only=True)
class Weights:
    """The weights of one network in memory.

    Attributes:
        config: the network they belong to.
        tensors: name -> float32 array; the names and shapes are those of `expected_shapes(config)`.
        metadata: other metadata of the file: licence, training steps, figures.
        sha256: checksum of the file, hexadecimal; empty for weights that were not read from a file.
    """

    config: A2FConfig
    tensors: Tensors
    metadata: Mapping[str, str]
    sha256: str = ""

    @property
    def name(self) -> str:
        """The model name: "sd" or "sd-robust"."""
        return model_name(self.config.variant, self.metadata.get("kind", "clean"))

    @property
    def label(self) -> str:
        """A readable label: model, scale and the start of the checksum, for example "sd x4 51d0cbdf"."""
        return f"{self.name} x{self.config.scale} {self.sha256[:8]}".rstrip()


@dataclass(frozen=True, kw_only=True)
class ShippedModel:
    """One entry of the index of shipped weights.

    Attributes:
        variant: "s", "sd", "m" or "l".
        scale: 2, 3 or 4.
        file: name of the weights file in the package.
        parameters: number of parameters, counted as in the paper: with the gains of weight normalisation.
        sha256: checksum of the file, hexadecimal.
        licence: SPDX name of the licence of the weights.
        psnr_y: benchmark set -> PSNR-Y in dB.
        ssim_y: benchmark set -> SSIM-Y.
        int8_loss_db: benchmark set -> loss of PSNR-Y in dB with 8-bit integers (``--dtype fast``); empty if not
            measured.
        kind: "clean", or "robust" for weights that were trained on JPEG input.
        jpeg_psnr_y: "clean" or the JPEG quality of the LR images -> PSNR-Y in dB on Kodak24, by ``python -m
            benchmarks.jpeg``; empty if not measured.
        jpeg_below: for robust weights: the JPEG quality below which their PSNR-Y is higher than that of the clean
            weights, by ``python -m benchmarks.jpeg --write``; 0 if it is never higher or not measured.
    """

    variant: str
    scale: int
    file: str
    parameters: int
    sha256: str
    licence: str
    psnr_y: Mapping[str, float]
    ssim_y: Mapping[str, float]
    int8_loss_db: Mapping[str, float] = field(default_factory=dict)
    kind: Kind = "clean"
    jpeg_psnr_y: Mapping[str, float] = field(default_factory=dict)
    jpeg_below: int = 0

    @property
    def name(self) -> str:
        """The model name, as for ``-m``: "sd" or "sd-robust"."""
        return model_name(self.variant, self.kind)

    @property
    def path(self) -> Path:
        """The path of the weights file."""
        return _folder() / self.file


def _folder() -> Path:
    return Path(__file__).parent / "weights_data"


@functools.cache
def shipped_models() -> tuple[ShippedModel, ...]:
    """The models whose weights are in the package, smallest scale first."""
    entries = json.loads((_folder() / "index.json").read_text(encoding="utf-8"))["models"]
    return tuple(ShippedModel(**entry) for entry in entries)


def find_shipped(name: str, *, scale: int) -> ShippedModel:
    """The shipped model of this name and scale.

    Args:
        name: "s", "sd", "m" or "l", optionally with the suffix "-robust".
        scale: 2, 3 or 4.

    Raises:
        UnknownModelError: if there is none; the message lists the shipped models.
    """
    for model in shipped_models():
        if (model.name, model.scale) == (name, scale):
            return model
    names = [AUTO, *(model_name(variant, kind) for variant in VARIANTS for kind in ("clean", "robust"))]
    what = f"{name} has no weights for x{scale}."
    if name not in names:
        hint = did_you_mean(str(name), [AUTO, *shipped_names()])
        what = f"unknown model {name!r}{hint}."
    if name == AUTO:
        what = "auto chooses a model for each picture; it is not a model itself."
    listed = ", ".join(f"{m.name} x{m.scale}" for m in shipped_models())
    raise UnknownModelError(f"{what} Choose one of: {listed}. You can also give a .safetensors file.")


def auto_model(jpeg_quality: int | None, *, scale: int) -> str:
    """The model that ``auto`` chooses.

    Args:
        jpeg_quality: JPEG quality of the picture's file, by `a2f.imageio.estimate_jpeg_quality`; None if it is no JPEG.
        scale: 2, 3 or 4.

    Returns:
        "sd-robust" for a JPEG with a quality below `ShippedModel.jpeg_below`; "sd" otherwise, and if no robust weights
        of this scale are shipped.
    """
    return AUTO_CLEAN if jpeg_quality is None or jpeg_quality >= robust_below(scale) else AUTO_ROBUST


def robust_below(scale: int) -> int:
    """The JPEG quality below which ``auto`` chooses robust weights; 0 if none of this scale are shipped."""
    return next((m.jpeg_below for m in shipped_models() if (m.name, m.scale) == (AUTO_ROBUST, scale)), 0)


def is_file_name(model: str | os.PathLike[str]) -> bool:
    """Whether a model is given as the path of a weights file."""
    return not isinstance(model, str) or model.endswith(".safetensors") or os.sep in model


def find_weights(model: str | os.PathLike[str], *, scale: int) -> Weights:
    """Read weights by name and scale, or from a file; a file has its own scale.

    Raises:
        UnknownModelError: if no model of this name and scale is shipped.
        WeightsError: if the file is missing, truncated, no a2f weights file, or has wrong tensors.
    """
    return read_weights(os.fspath(model) if is_file_name(model) else find_shipped(str(model), scale=scale).path)


def lambdas(weights: Weights) -> dict[str, list[float]]:
    """λ_res, λ_att and λ_x of each block, in order (Eq. 9); only the factors that the network has."""
    config = weights.config
    return {
        name: [float(weights.tensors[f"blocks.{i}.lambda_{name}"][0]) for i in range(config.blocks)]
        for name in config.factors
    }


def shipped_names() -> list[str]:
    """The names of the shipped models, without duplicates."""
    return list(dict.fromkeys(model.name for model in shipped_models()))


def available_scales(model: str | os.PathLike[str]) -> tuple[int, ...]:
    """The scales for which a model has weights; "auto" is allowed."""
    if is_file_name(model):
        return (read_weights(os.fspath(model)).config.scale,)
    name = AUTO_CLEAN if model == AUTO else str(model)
    return tuple(m.scale for m in shipped_models() if m.name == name) or (find_shipped(name, scale=4).scale,)


def pass_models(model: str, scales: Sequence[int], *, jpeg_quality: int | None) -> list[str]:
    """The model of each network pass.

    Args:
        model: a name, "auto", or the path of a weights file.
        scales: the scale of each pass.
        jpeg_quality: JPEG quality of the picture's file; None if it is no JPEG.

    Returns:
        `model` for each pass. "auto" chooses only for the first pass: its result has no JPEG blocks.
    """
    if model != AUTO or not scales:
        return [model] * len(scales)
    return [auto_model(jpeg_quality, scale=scales[0]), *[AUTO_CLEAN] * (len(scales) - 1)]


def expected_shapes(config: A2FConfig) -> dict[str, tuple[int, ...]]:
    """The name and shape of each tensor of a folded weights file, in the order of the network."""
    c, hidden, out = config.channels, config.hidden, 3 * config.scale**2
    shapes: dict[str, tuple[int, ...]] = {}

    def conv(name: str, n_in: int, n_out: int, kernel: int, *, bias: bool = True) -> None:
        shapes[f"{name}.weight"] = (n_out, n_in, kernel, kernel)
        if bias:
            shapes[f"{name}.bias"] = (n_out,)

    conv("head", 3, c, config.head_kernel)
    conv("skip", 3, out, 3)
    conv("tail", c, out, 3)
    for i in range(config.blocks):
        block = f"blocks.{i}"
        if config.projection:
            conv(f"{block}.proj", (i + 1) * c, c, 1, bias=False)
        if config.attention:
            conv(f"{block}.att.conv1", c, c, 1)
            conv(f"{block}.att.conv2", c, c, 1)
        conv(f"{block}.res.conv1", c, hidden, 3)
        conv(f"{block}.res.conv2", hidden, c, 3)
        shapes |= {f"{block}.lambda_{name}": (1,) for name in config.factors}
    return shapes


def read_weights(path: Path | str) -> Weights:
    """Read a weights file.

    Raises:
        WeightsError: if the file is missing, truncated, no safetensors file, no a2f weights file, or has wrong tensors.
    """
    path = Path(path)
    try:
        blob = path.read_bytes()
    except OSError as error:
        raise WeightsError(f"cannot read weights {path}: {error.strerror or error}") from error
    return weights_from_bytes(blob, name=str(path))


def weights_from_bytes(blob: bytes, *, name: str) -> Weights:
    """Read weights from the bytes of a file.

    Args:
        blob: the whole safetensors file.
        name: name of the file in errors.

    Raises:
        WeightsError: if the file is missing, truncated, no a2f weights file, or has wrong tensors.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        tensors = load(blob)
    except (SafetensorError, ValueError, KeyError) as error:
        raise WeightsError(f"{name} is not a complete safetensors file: {error}") from error
    metadata = _metadata(blob)
    config = _config(metadata, name)
    _check_tensors(tensors, config, name)
    exact = {key: tensors[key].astype(np.float32, copy=False) for key in expected_shapes(config)}
    return Weights(config=config, tensors=exact, metadata=metadata, sha256=hashlib.sha256(blob).hexdigest())


def rounded_to_half(weights: Weights) -> Weights:
    """The same weights with each value rounded to float16, kept as float32: a file of half the size can hold them."""
    tensors = {key: value.astype(np.float16).astype(np.float32) for key, value in weights.tensors.items()}
    return replace(weights, tensors=tensors, sha256="")


def write_weights(weights: Weights, *, half: bool = False) -> bytes:
    """The bytes of a weights file.

    Args:
        weights: the weights.
        half: whether to store float16 instead of float32; `read_weights` returns float32 either way.

    Raises:
        WeightsError: if the tensors do not match the configuration.
    """
    from safetensors.numpy import save

    _check_tensors(weights.tensors, weights.config, "these weights")
    own = {"format": FORMAT, "config": json.dumps(asdict(weights.config), sort_keys=True)}
    dtype = np.float16 if half else np.float32
    ordered = {key: np.ascontiguousarray(weights.tensors[key], dtype) for key in expected_shapes(weights.config)}
    return save(ordered, metadata={**weights.metadata, **own})


def _metadata(blob: bytes) -> dict[str, str]:
    (length,) = struct.unpack("<Q", blob[:8])
    header = json.loads(blob[8 : 8 + length])
    return dict(header.get("__metadata__", {}))


def _config(metadata: Mapping[str, str], name: str) -> A2FConfig:
    try:
        if "config" in metadata:
            given = json.loads(metadata["config"])
            if not isinstance(given, dict):
                raise TypeError("not a table")
            unknown = set(given) - {field.name for field in fields(A2FConfig)}
            if unknown:
                raise WeightsError(f"{name} was written by a newer a2f: unknown {', '.join(sorted(unknown))}")
            given["factors"] = tuple(given.get("factors", FACTORS))
            config = A2FConfig(**given)
            for field in fields(A2FConfig):
                value = getattr(config, field.name)
                if field.type in (int, bool, str) and type(value) is not field.type:
                    raise TypeError(f"{field.name} is {value!r}")
            if not config.variant.isprintable():
                raise TypeError("the name cannot be printed")
            return config
        if "network" in metadata and "variant" not in metadata:  # written by `a2f.peers.files`
            kind = "a network of your own" if ":" in metadata["network"] else "a network of another paper"
            text = f"{name} holds {metadata['network']}, {kind}"
            raise WeightsError(
                f"{text}. Only A²F networks can be used here: use a2f eval, a2f export or a2f figure crops."
            )
        return config_of(metadata["variant"], scale=int(metadata["scale"]))
    except WeightsError:
        raise
    except (KeyError, TypeError, ValueError, RecursionError, A2FError) as error:
        raise WeightsError(f"{name} is not an a2f weights file: its metadata names no known network") from error


def _check_tensors(tensors: Tensors, config: A2FConfig, name: str) -> None:
    if config.blocks > len(tensors) + 100:  # too many to list
        raise WeightsError(f"{name} names {config.blocks} blocks and holds {len(tensors)} tensors")
    expected = expected_shapes(config)
    missing, extra = sorted(expected.keys() - tensors.keys()), sorted(tensors.keys() - expected.keys())
    if missing or extra:
        what = f"misses {missing[0]}" if missing else f"has an unexpected {extra[0]}"
        raise WeightsError(f"{name} is not a whole a2f {config.variant} x{config.scale}: it {what}")
    for key, shape in expected.items():
        if tensors[key].shape != shape:
            raise WeightsError(f"{name}: {key} has shape {tensors[key].shape}, a2f {config.variant} needs {shape}")
        if tensors[key].dtype not in (np.float32, np.float16):
            raise WeightsError(f"{name}: {key} is {tensors[key].dtype}, only float32 and float16 are read")
        if not np.isfinite(tensors[key]).all():
            raise WeightsError(f"{name}: {key} holds NaN or infinity")
