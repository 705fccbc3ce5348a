"""What a run leaves for people: a CSV, TensorBoard events, and the curves as a picture."""

import csv
import io
import math
from collections.abc import Iterable
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from torch import nn

from a2f.errors import A2FError, WeightsError
from a2f.files import write_bytes_atomic
from a2f.peers.files import network_in
from a2f.resize import imresize
from a2f.training.loop import Progress
from a2f.training.validation import enlarged
from a2f.weights import Weights, read_weights

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from a2f.training.loop import Run

LAMBDAS = ("res", "att", "x")
SAMPLES, SAMPLE_PX = 3, 64  # images of TensorBoard, and the side of what they show, LR pixels


class Log:
    """Appends to log.csv and TensorBoard events in the folder of a run.

    Args:
        folder: of the run.
        run: whose λ and sample images are logged; None logs the progress alone.
    """

    def __init__(self, folder: Path, *, run: "Run | None" = None) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.path, self.run = folder / "log.csv", run
        self.events = SummaryWriter(str(folder / "tensorboard"))

    def __call__(self, progress: Progress) -> None:
        """Add one line; lines of steps that a resumed run takes again are dropped first."""
        rows = [row for row in read_log(self.path) if row["step"] < progress.step] if self.path.exists() else []
        names = [f.name for f in fields(Progress)]
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, names, restval=math.nan)  # rows of a run begun before a column was added
        writer.writeheader()
        writer.writerows([*rows, asdict(progress)])
        write_bytes_atomic(self.path, text.getvalue().encode())
        for name in ("loss", "lr", "steps_per_second", "psnr_y", "psnr_y_jpeg"):
            value = getattr(progress, name)
            if not math.isnan(value):
                self.events.add_scalar(name, value, progress.step)
        if self.run is not None:
            model = self.run.model()
            for name, value in model.named_parameters():
                if ".lambda_" in name:
                    self.events.add_scalar(name, value.item(), progress.step)
            for number, (hr, lr) in enumerate(self.run.validation[:SAMPLES]):
                sheet = sample(model, hr, lr)
                self.events.add_image(f"sample {number + 1}", sheet, progress.step, dataformats="HWC")
        self.events.flush()


def sample(model: nn.Module, hr: NDArray[np.uint8], lr: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Bicubic, the network's image and the original side by side: the middle of an image.

    Args:
        model: that enlarges.
        hr: [sH, sW, 3] uint8.
        lr: [H, W, 3] uint8.

    Returns:
        [h, 3 w, 3] uint8.
    """
    scale = hr.shape[0] // lr.shape[0]
    top, left = (max(0, (side - SAMPLE_PX) // 2) for side in lr.shape[:2])
    shown = np.s_[top * scale : (top + SAMPLE_PX) * scale, left * scale : (left + SAMPLE_PX) * scale]
    return np.concatenate([whole[shown] for whole in (imresize(lr, scale=scale), enlarged(model, lr), hr)], axis=1)


def read_log(path: Path) -> list[dict[str, float]]:
    """The lines of a log.csv, numbers throughout.

    Raises:
        A2FError: if there is no such file or it is no log.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
    except (OSError, ValueError, TypeError, csv.Error) as error:
        raise A2FError(f"cannot read {path}: {error}: give the folder of a run of `a2f train`") from error


def lambdas(weights: Weights) -> dict[str, list[float]]:
    """λ_res, λ_att and λ_x of each block, in order (Eq. 9).

    Raises:
        WeightsError: for a network without all three.
    """
    blocks = range(weights.config.blocks)
    try:
        return {name: [float(weights.tensors[f"blocks.{i}.lambda_{name}"][0]) for i in blocks] for name in LAMBDAS}
    except KeyError as error:
        raise WeightsError(f"{weights.config.variant} has no {error.args[0]}: Figure 3 needs all three λ") from error


def plot_run(folder: Path, *, output: Path) -> list[str]:
    """Draw loss, learning rate and PSNR over the steps, and the λ of the last weights (Figure 3 of the paper).

    Args:
        folder: of the run.
        output: .png, .svg or .pdf.

    Returns:
        What could not be drawn, for people: figures that the run does not have, λ of a network without them.

    Raises:
        A2FError: if the folder holds no log or an empty one, the file cannot be written, or matplotlib is missing.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise A2FError("plots need matplotlib: pip install 'a2f[train]'") from error
    rows = read_log(folder / "log.csv")
    if not rows:
        raise A2FError(f"{folder / 'log.csv'} has no line yet: a run writes the first one after its first evaluation")
    figure = Figure(figsize=(12, 7), layout="constrained")
    axes = figure.subplots(2, 2)
    missing = _draw_curves(rows, axes.flat) + _draw_lambdas(folder / "last.safetensors", axes[1, 1])
    try:
        figure.savefig(output, dpi=120)
    except (OSError, ValueError) as error:
        raise A2FError(f"cannot write {output}: {error}") from error
    return missing


def _draw_curves(rows: list[dict[str, float]], axes: "Iterable[Axes]") -> list[str]:
    """Loss, PSNR and rate; an axis stays empty where the log has no finite figure."""
    missing, steps = [], [row.get("step", math.nan) for row in rows]
    names = {"loss": "loss", "psnr_y": "validation PSNR-Y, dB", "lr": "learning rate"}
    for axis, (name, label) in zip(axes, names.items(), strict=False):
        lines = {label: name, "of JPEG files": "psnr_y_jpeg"} if name == "psnr_y" else {label: name}
        for line, column in lines.items():
            values = [row.get(column, math.nan) for row in rows]
            if any(math.isfinite(value) for value in values):
                axis.plot(steps, values, marker="." if len(rows) < 60 else None, label=line)
        axis.set(xlabel="step", ylabel=label)
        axis.grid(alpha=0.3)
        if not axis.lines:
            missing.append(f"the log has no {label}")
        elif len(axis.lines) > 1:
            axis.legend()
        if name == "loss" and all(row.get("loss", math.nan) > 0 for row in rows):
            axis.set_yscale("log")
    return missing


def _draw_lambdas(path: Path, axis: "Axes") -> list[str]:
    """The λ of each block; the place stays empty for weights without them."""
    try:
        values = lambdas(read_weights(path)) if network_in(path) is None else {}
    except A2FError as error:
        axis.set_axis_off()
        return [f"no λ: {error}"]
    if not values:
        axis.set_axis_off()
        return ["no λ: the network is not A²F"]
    for name, factors in values.items():
        axis.plot(range(1, len(factors) + 1), factors, marker="o", label=f"λ {name}")
    axis.set(xlabel="block", ylabel="λ (Figure 3)")
    axis.legend()
    axis.grid(alpha=0.3)
    return []
