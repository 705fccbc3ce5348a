"""Set up a run: images, device, processes, folder."""

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray

from a2f.data.pairs import (
    central_crop,
    find_images,
    find_lr,
    held_out,
    load_pairs,
    read_image_list,
    without_photographs_of,
)
from a2f.data.patches import Patches
from a2f.data.spill import Spill
from a2f.errors import A2FError, EngineError, InputError, UsageError
from a2f.files import write_bytes_atomic
from a2f.imageio import Picture, write_image
from a2f.imageio.rgb import read_rgb8, to_uint8
from a2f.machine import available_bytes, keep_freed_memory, use_huge_pages
from a2f.peers.files import Network
from a2f.training.checkpoint import list_checkpoints
from a2f.training.loop import Progress, Run
from a2f.training.precision import supports_bf16
from a2f.training.processes import Processes
from a2f.training.recipe import Recipe, recipe_toml
from a2f.training.validation import Pair
from a2f.upscaler import Upscaler
from a2f.variants import A2FConfig, count_parameters
from a2f.weights import Weights

VALIDATION_LR_PX = 128  # side of the evaluated crop of images that are held out; larger crops change the PSNR little


@dataclass(frozen=True, kw_only=True)
class TrainingJob:
    """The request of `a2f train`.

    Attributes:
        config: an A²F network; or another network with its initial weights.
        recipe: the recipe.
        data: folder of training images, searched recursively.
        validation: HR images for the PSNR: a folder, or a text file that lists images of `data`, which are then not
            used for training; None holds out every 64th image of `data` (`held_out`). Only the central
            `VALIDATION_LR_PX` of images of `data` are used.
        lr_data: folder of the LR images of `data`, if they are in another place (`own` of `a2f.data.pairs.find_lr`).
        folder: folder of the run.
        init: initial weights.
        teacher: an upscaler of the same scale; its images have `teacher_share` of the loss.
        device: "cpu", "cuda", "cuda:1" or "mps".
        compiled: whether to use torch.compile.
        resume: resume from the latest checkpoint of the folder.
    """

    config: A2FConfig | Network
    recipe: Recipe
    data: Path
    validation: Path | None
    folder: Path
    lr_data: Path | None = None
    init: Weights | None = None
    teacher: Upscaler | None = None
    device: str = "cpu"
    compiled: bool = False
    resume: bool = False


def start(job: TrainingJob, *, report: Callable[[Run], Callable[[Progress], None]], tell: Callable[[str], None]) -> Run:
    """Run a job to its end.

    Args:
        job: the request.
        report: takes the run and returns the function that is called after each evaluation (in the first process).
        tell: called with lines for the user.

    Returns:
        The finished run.

    Raises:
        UsageError: if the folder already holds a run and `resume` is not set.
        EngineError: if the device is not available.
        A2FError: all errors of `Run`.
    """
    if list_checkpoints(job.folder) and not job.resume:
        raise UsageError(f"{job.folder} already holds a run: resume it with --resume, or choose another --output")
    _check_teacher(job)
    with _folder(job.folder), processes(job.device) as (mine, device):
        if device.type == "cpu":
            keep_freed_memory()
        quiet: Callable[[str], None] = tell if mine.rank == 0 else (lambda line: None)
        train, validation = _pairs(job, quiet)
        _check_sizes(train, job)
        from_teacher = teacher_images(train, job.teacher, job.folder / "teacher", tell=quiet) if job.teacher else None
        patches = Patches(
            train,
            scale=job.config.scale,
            seed=job.recipe.seed,
            device=device,
            teacher=from_teacher,
            degradation=job.recipe.degradation,
        )
        quiet(
            f"{len(train)} training images, {patches.hr.pixels / 1e6:.0f} megapixels, in the memory of "
            f"{patches.home.type}; {len(validation)} for validation"
        )
        if any(stage.precision == "bf16" for stage in job.recipe.stages) and not supports_bf16(device):
            quiet("this CPU has no bf16 instructions: the bf16 stages of the recipe are computed in fp32")
        run = Run(
            job.config,
            job.recipe,
            patches=patches,
            validation=validation,
            folder=job.folder,
            init=job.init,
            device=device,
            compiled=job.compiled,
            processes=mine,
        )
        if job.resume:
            for note in run.resume():
                quiet(note)
            quiet(f"resuming from step {run.step}")
        if device.type == "cpu":
            use_huge_pages()  # only for memory allocated after the images
        if mine.rank == 0:
            _print_start(run, tell)  # this may fail, so write nothing before
            write_bytes_atomic(job.folder / "recipe.toml", recipe_toml(run.recipe).encode())
        run.train(report(run) if mine.rank == 0 else lambda progress: None, tell=quiet)
        run.release()
        return run


@contextmanager
def _folder(path: Path) -> Iterator[None]:
    """Make the folder of a run; remove it at the end if it is new and empty."""
    new = not path.exists()
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot make the folder {path}: {error.strerror or error}: choose another -o") from error
    try:
        yield
    finally:
        if new:
            with suppress(OSError):  # it is not empty
                path.rmdir()


def _check_sizes(pairs: Sequence[Pair], job: TrainingJob) -> None:
    """Raise InputError if no image is as large as a patch, before anything is computed."""
    patch = max(stage.patch for stage in job.recipe.stages)
    if not any(min(lr.shape[:2]) >= patch for _, lr in pairs):
        px = patch * job.config.scale
        raise InputError(
            f"no image of {job.data} has {px} x {px} pixels, which the recipe needs (patch = {patch} pixels "
            f"of LR): give larger images, or a recipe with smaller patches (a2f train --print-recipe fast > mine.toml)"
        )


def _print_start(run: Run, tell: Callable[[str], None]) -> None:
    """Print the network, and the PSNR of bicubic and of the network at the start."""
    config = run.config
    if isinstance(config, A2FConfig):  # its stacked parameters have unused zeros
        name, count = config.variant, count_parameters(config)
    else:
        name, count = config.network, sum(value.numel() for value in run.network.parameters.values())
    tell(f"{name} x{config.scale}: {count:,} parameters; training on {run.device}")
    if run.validation:
        tell(f"PSNR-Y on the validation images: bicubic {run.bicubic()}, the network now {run.score()}")


@contextmanager
def processes(device: str) -> Iterator[tuple[Processes, torch.device]]:
    """Join the processes that torchrun started, if there are any.

    Args:
        device: "cpu", "cuda", "cuda:1" or "mps"; "cuda" becomes the GPU of this process.

    Raises:
        EngineError: if the device is not available.
    """
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise EngineError(f"device {device} is not available, this torch has no CUDA: use --device cpu")
    if device.startswith("mps") and not torch.backends.mps.is_available():
        raise EngineError("device mps is not available in this torch: use --device cpu")
    if count == 1:
        yield Processes(), torch.device(device)
        return
    local = int(os.environ["LOCAL_RANK"])
    dist.init_process_group("nccl" if device.startswith("cuda") else "gloo")
    try:
        yield (
            Processes(rank=dist.get_rank(), count=count),
            torch.device(f"cuda:{local}" if "cuda" in device else device),
        )
    finally:
        dist.destroy_process_group()


def _check_teacher(job: TrainingJob) -> None:
    if (job.teacher is None) != (job.recipe.teacher_share == 0):
        have = "no teacher is given" if job.teacher is None else "a teacher is given"
        raise UsageError(
            f"{have} and teacher_share is {job.recipe.teacher_share:g}: a teacher (--teacher) and its share "
            "of the loss (teacher_share in the recipe) go together"
        )
    if job.teacher is not None and job.teacher.scale != job.config.scale:
        raise UsageError(f"the teacher enlarges {job.teacher.scale} times, the network {job.config.scale} times")


def teacher_images(
    pairs: list[Pair], teacher: Upscaler, folder: Path, *, tell: Callable[[str], None]
) -> list[NDArray[np.uint8]]:
    """Enlarge each LR image with the teacher, once, and keep the results as PNG files.

    The name of a file has a checksum of the LR image and of the teacher, so a kept image is never used for another one.

    Args:
        pairs: (hr, lr) of the training set.
        teacher: the upscaler.
        folder: folder of the PNG files.
        tell: called with lines for the user.

    Returns:
        The images, each with the size of hr, uint8.
    """
    folder.mkdir(parents=True, exist_ok=True)
    images, made = [], 0
    for _, lr in pairs:
        key = hashlib.sha256(lr.tobytes() + repr((lr.shape, teacher.description)).encode()).hexdigest()[:24]
        path = folder / f"{key}.png"
        if not path.exists():
            sr = teacher(lr.astype(np.float32) / np.float32(255))
            write_image(Picture(pixels=to_uint8(sr)), path)
            made += 1
        images.append(read_rgb8(path))
    tell(f"{made} images made by the teacher, {len(pairs) - made} kept from before: {folder}")
    return images


def _pairs(job: TrainingJob, tell: Callable[[str], None]) -> tuple[list[Pair], list[Pair]]:
    scale = job.config.scale

    def load(paths: list[Path], lr: dict[Path, Path]) -> list[Pair]:
        free = available_bytes()
        spill = Spill(job.folder, limit_bytes=free // 2)
        for _, pair in load_pairs(paths, scale=scale, lr=lr, on_error=lambda e: tell(f"left out: {e}")):
            for image in pair:
                spill.add(image)
        if spill.spilt_bytes:
            tell(f"{spill.spilt_bytes / 1e9:.1f} GB of pixels do not fit into memory: mapped from {job.folder}")
        images = spill.images()
        return list(zip(images[::2], images[1::2], strict=True))

    def find(folder: Path, own: Path | None = None) -> tuple[list[Path], dict[Path, Path]]:
        paths, lr = find_images(folder), find_lr(folder, scale=scale, own=own)
        tell(f"{folder}: LR images " + (f"read from {next(iter(lr.values())).parent}" if lr else "made by bicubic"))
        return paths, lr

    paths, lr = find(job.data, job.lr_data)
    if job.validation is not None and not job.validation.is_file():
        seen, seen_lr = find(job.validation)
        if job.validation.resolve() == job.data.resolve():
            tell("the validation images are the training images: their PSNR says little about other images")
        else:
            paths = _training_images(paths, seen, job)
        return _require_pairs(load(paths, lr), job.data), _require_pairs(load(seen, seen_lr), job.validation)
    kept = held_out(paths) if job.validation is None else read_image_list(job.validation, folder=job.data, among=paths)
    validation = [central_crop(pair, side_px=VALIDATION_LR_PX) for pair in load(kept, lr)]
    train = _require_pairs(load(_training_images(paths, kept, job), lr), job.data)
    return train, validation if job.validation is None else _require_pairs(validation, job.validation)


def _training_images(paths: list[Path], held: list[Path], job: TrainingJob) -> list[Path]:
    """The images to train on.

    Raises:
        UsageError: if all are held out.
    """
    left = without_photographs_of(paths, held)
    if not left:
        raise UsageError(
            f"all images of {job.data} are validation images: leave some to train on, or give another --val"
        )
    return left


def _require_pairs(pairs: list[Pair], folder: Path) -> list[Pair]:
    if not pairs:
        raise A2FError(f"none of the images of {folder} could be read")
    return pairs
