"""The log of a run: a CSV file and TensorBoard events. `a2f.figures.curves` draws it."""

import csv
import io
import math
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from torch import nn

from a2f.errors import A2FError
from a2f.files import write_bytes_atomic
from a2f.resize import imresize
from a2f.training.loop import Progress
from a2f.training.validation import enlarged

if TYPE_CHECKING:
    from a2f.training.loop import Run

SAMPLES, SAMPLE_PX = 3, 64  # number of TensorBoard images, and the side of their crops in LR pixels


class Log:
    """Appends to log.csv and TensorBoard events in the folder of a run.

    Args:
        folder: the folder of the run.
        run: the run, whose λ and sample images are logged; None to log only the progress.
    """

    def __init__(self, folder: Path, *, run: "Run | None" = None) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.path, self.run = folder / "log.csv", run
        self.events = SummaryWriter(str(folder / "tensorboard"))

    def __call__(self, progress: Progress) -> None:
        """Add one row; rows of steps that a resumed run repeats are removed first."""
        rows = [row for row in read_log(self.path) if row["step"] < progress.step] if self.path.exists() else []
        names = [f.name for f in fields(Progress)]
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, names, restval=math.nan)  # old runs may lack a column
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
    """The central crop of an image by bicubic, by the network, and of the original, side by side.

    Args:
        model: the network.
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
    """Read the rows of a log.csv; all values are numbers.

    Raises:
        A2FError: if the file does not exist or is no log.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
    except (FileNotFoundError, NotADirectoryError) as error:
        raise A2FError(f"{path.parent} is not the folder of a training run (it has no {path.name})") from error
    except (OSError, ValueError, TypeError, csv.Error) as error:
        raise A2FError(f"cannot read {path}: {error}: give the folder of a run of `a2f train`") from error
