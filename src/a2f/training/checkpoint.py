"""Checkpoints: a whole run in one file, whose name carries its checksum.

`step_00012000_0123456789ab.pt` holds everything that the run needs to go on; the twelve digits are the start of the
SHA-256 of its bytes, so a torn file is known without opening it.
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
        step: steps taken; with the recipe's seed also the position in the data.
        seconds: wall-clock seconds of training so far.
        best: highest validation PSNR-Y so far, dB.
        best_step: when that was.
        config: fields of the A2FConfig.
        recipe: TOML text.
        chosen: number of the average that is written as weights.
        parameters: name -> tensor, of `TrainingNetwork`.
        averages: the averages of those parameters, side by side.
        optimisers: state of Muon and Adam.
        versions: of a2f and torch.
        losses: sum of the losses since step `reported`.
        reported: last step that is in the log; None in checkpoints of a2f before this was kept.
        images: `fingerprint` of the training images; empty in checkpoints from before.
        validation: that of the validation images.
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
    """Write a checkpoint atomically and delete all but the last `keep` and the best.

    Raises:
        WriteError: if the folder cannot be written; older checkpoints stay.
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
    """The step that a checkpoint's name tells.

    Raises:
        WeightsError: for a file that is not named as a checkpoint.
    """
    match = NAME.fullmatch(path.name)
    if not match:
        raise WeightsError(f"{path} is not a checkpoint of a2f train: their names are step_<step>_<checksum>.pt")
    return int(match[1])


def list_checkpoints(folder: Path) -> list[Path]:
    """The checkpoints of a run, latest first."""
    return sorted((p for p in folder.glob("step_*.pt") if NAME.fullmatch(p.name)), key=step_of, reverse=True)


def load_checkpoint(path: Path) -> Checkpoint:
    """Read one checkpoint; nothing in it is executed.

    Raises:
        WeightsError: if it is torn or foreign; the message offers the one before it.
    """
    step_of(path)
    try:
        blob = path.read_bytes()
    except OSError as error:
        raise WeightsError(f"cannot read checkpoint {path}: {error.strerror or error}") from error
    match = NAME.fullmatch(path.name)
    if not match or hashlib.sha256(blob).hexdigest()[:12] != match[2]:
        raise WeightsError(
            f"checkpoint {path} is damaged: its bytes do not have the checksum in its name{_offer(path)}"
        )
    try:
        return Checkpoint(**torch.load(io.BytesIO(blob), weights_only=True, map_location="cpu"))
    except Exception as error:  # torch.load raises a dozen types for a foreign file
        why = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise WeightsError(f"{path} is not a checkpoint of this version of a2f: {why}{_offer(path)}") from error


def _offer(path: Path) -> str:
    before = [p for p in list_checkpoints(path.parent) if p != path and step_of(p) <= step_of(path)]
    return f"; the one before it is {before[0]}" if before else "; there is none before it"
