"""Checkpoints: the state of a run in one file. The file name contains a checksum.

`step_00012000_0123456789ab.pt` holds everything that is needed to resume the run. The twelve digits are the start of
the SHA-256 of the file, so an incomplete file is detected before it is decoded.
"""

import hashlib
import io
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from a2f.errors import WeightsError
from a2f.files import write_bytes_atomic

NAME = re.compile(r"step_(\d{8,})_([0-9a-f]{12})\.pt")


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """The state of a run after `step` steps.

    Attributes:
        step: number of steps; together with the seed of the recipe it also gives the position in the data.
        seconds: wall-clock seconds of training so far.
        best: highest validation PSNR-Y so far, dB.
        best_step: step of `best`.
        config: the fields of the configuration.
        recipe: the recipe as TOML text.
        chosen: index of the average that is written as weights.
        parameters: name -> tensor, of `TrainingNetwork`.
        averages: the averages of the parameters.
        optimisers: state of Muon and Adam.
        versions: of a2f and torch.
        losses: sum of the losses after step `reported`.
        reported: last step in the log; None in old checkpoints.
        images: `fingerprint` of the training images; empty in old checkpoints.
        validation: `fingerprint` of the validation images.
    """

    step: int
    seconds: float
    best: float
    best_step: int
    config: dict[str, Any]
    recipe: str
    chosen: int
    parameters: dict[str, torch.Tensor]
    averages: list[dict[str, torch.Tensor]]
    optimisers: dict[str, Any]
    versions: dict[str, str]
    losses: float = 0.0
    reported: int | None = None
    images: str = ""
    validation: str = ""


def save_checkpoint(checkpoint: Checkpoint, folder: Path, *, keep: int) -> Path:
    """Write a checkpoint atomically; delete all others except the last `keep` and the best.

    Raises:
        WriteError: if the folder cannot be written; older checkpoints remain.
    """
    buffer = io.BytesIO()
    torch.save({field: getattr(checkpoint, field) for field in field_names()}, buffer)
    blob = buffer.getvalue()
    path = folder / f"step_{checkpoint.step:08d}_{hashlib.sha256(blob).hexdigest()[:12]}.pt"
    write_bytes_atomic(path, blob)
    for old in list_checkpoints(folder)[keep:]:
        if step_of(old) != checkpoint.best_step:
            old.unlink()
    return path


def field_names() -> list[str]:
    """The names of the fields of a checkpoint."""
    return list(Checkpoint.__dataclass_fields__)


def step_of(path: Path) -> int:
    """The step in the file name of a checkpoint.

    Raises:
        WeightsError: if the file name is not that of a checkpoint.
    """
    match = NAME.fullmatch(path.name)
    if not match:
        raise WeightsError(f"{path} is not a checkpoint of a2f train: their names are step_<step>_<checksum>.pt")
    return int(match[1])


def list_checkpoints(folder: Path) -> list[Path]:
    """The checkpoints of a run, latest first."""
    return sorted((p for p in folder.glob("step_*.pt") if NAME.fullmatch(p.name)), key=step_of, reverse=True)


def load_checkpoint(path: Path) -> Checkpoint:
    """Read one checkpoint; no code in it is executed.

    Raises:
        WeightsError: if it is damaged or not a checkpoint; the message names the checkpoint before it.
    """
    step_of(path)
    try:
        blob = path.read_bytes()
    except OSError as error:
        raise WeightsError(f"cannot read checkpoint {path}: {error.strerror or error}") from error
    match = NAME.fullmatch(path.name)
    if not match or hashlib.sha256(blob).hexdigest()[:12] != match[2]:
        raise WeightsError(
            f"checkpoint {path} is damaged: its bytes do not have the checksum in its name{_previous(path)}"
        )
    try:
        return Checkpoint(**torch.load(io.BytesIO(blob), weights_only=True, map_location="cpu"))
    except Exception as error:  # torch.load raises many types for files of other programs
        why = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise WeightsError(f"{path} is not a checkpoint of this version of a2f: {why}{_previous(path)}") from error


def _previous(path: Path) -> str:
    before = [p for p in list_checkpoints(path.parent) if p != path and step_of(p) <= step_of(path)]
    return f"; the checkpoint before it is {before[0]}" if before else "; there is no checkpoint before it"
