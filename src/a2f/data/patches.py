"""Training images in memory as uint8, and random patches of them."""

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from a2f.data.degrade import Degradation, degraded
from a2f.errors import InputError

Image = NDArray[np.uint8]
Batch = tuple[Tensor, Tensor, Tensor | None]  # lr, hr, the teacher's image


class Images(Protocol):
    """Images of any size, from which square crops are cut."""

    pixels: int

    def crop(self, positions: "PatchPositions", *, size: int, factor: int = 1) -> Tensor:
        """Cut square crops and flip and transpose them.

        Args:
            positions: where to cut, in units of `factor` pixels.
            size: side of the crops, pixels of these images.
            factor: factor of the coordinates: 1 for LR, the scale for HR.

        Returns:
            [B, 3, size, size] float32 in [0, 1], channels last in memory.
        """
        ...


class HostImages:
    """Images in main memory, or mapped from a file. A crop is a slice, which is faster there than an index per pixel.

    Args:
        images: each [H, W, 3] uint8 with contiguous pixels; they are not copied.
    """

    def __init__(self, images: Sequence[Image]) -> None:
        self.images = images
        self.pixels = sum(image.shape[0] * image.shape[1] for image in images)

    def crop(self, positions: "PatchPositions", *, size: int, factor: int = 1) -> Tensor:
        """Cut square crops [B, 3, size, size], float32 in [0, 1], and flip and transpose them."""
        crops = []
        for number, y, x, flip_y, flip_x, transpose in positions.lists():
            crop = self.images[number][y * factor : y * factor + size, x * factor : x * factor + size]
            # One item of three bytes per pixel: this more than halves the time to copy a transposed crop.
            pixels = crop.view("V3")[..., 0]
            crops.append(flipped(pixels, flip_y=flip_y, flip_x=flip_x, transpose=transpose))
        return torch.from_numpy(np.stack(crops)[..., None].view(np.uint8)).permute(0, 3, 1, 2).float() / 255


def flipped(crop: NDArray[Any], *, flip_y: bool, flip_x: bool, transpose: bool) -> NDArray[Any]:
    """Flip, then transpose a crop [size, size, ...]: one of the eight symmetries of a square."""
    crop = crop[:: -1 if flip_y else 1, :: -1 if flip_x else 1]
    return crop.swapaxes(0, 1) if transpose else crop


class DeviceImages:
    """Images as one flat uint8 tensor on a device. Crops are gathered by index, without leaving the device.

    Args:
        images: each [H, W, 3] uint8.
        device: the device of the pixels.
    """

    def __init__(self, images: Sequence[Image], *, device: torch.device) -> None:
        counts = np.array([image.shape[0] * image.shape[1] for image in images], np.int64)
        self.pixels = int(counts.sum())
        self.flat = torch.empty((self.pixels, 3), dtype=torch.uint8, device=device)
        self.offset = torch.from_numpy(np.cumsum(counts) - counts).to(device)
        self.width = torch.tensor([image.shape[1] for image in images], device=device)
        for image, start, count in zip(images, self.offset.tolist(), counts.tolist(), strict=True):
            self.flat[start : start + count] = torch.from_numpy(np.array(image).reshape(-1, 3))

    def crop(self, positions: "PatchPositions", *, size: int, factor: int = 1) -> Tensor:
        """Cut square crops [B, 3, size, size], float32 in [0, 1], and flip and transpose them."""
        line = torch.arange(size, device=self.flat.device)
        ys = positions.y[:, None] * factor + torch.where(positions.flip_y[:, None], size - 1 - line, line)
        xs = positions.x[:, None] * factor + torch.where(positions.flip_x[:, None], size - 1 - line, line)
        swap = positions.transpose[:, None, None]
        rows = torch.where(swap, ys[:, None, :], ys[:, :, None])
        cols = torch.where(swap, xs[:, :, None], xs[:, None, :])
        at = self.offset[positions.image, None, None] + rows * self.width[positions.image, None, None] + cols
        patches = self.flat[at.reshape(-1)].view(len(positions.image), size, size, 3)
        return patches.permute(0, 3, 1, 2).float() / 255


@dataclass(frozen=True)
class PatchPositions:
    """Positions of B patches. Each field is [B]: image number, upper left corner in LR pixels, symmetry."""

    image: Tensor
    y: Tensor
    x: Tensor
    flip_y: Tensor
    flip_x: Tensor
    transpose: Tensor

    def __getitem__(self, index: slice | Tensor) -> "PatchPositions":
        return PatchPositions(*(value[index] for value in self.fields()))

    def to(self, device: torch.device) -> "PatchPositions":
        """A copy of the positions on another device."""
        return PatchPositions(*(value.to(device) for value in self.fields()))

    def lists(self) -> Iterator[tuple[int, int, int, bool, bool, bool]]:
        """The positions one by one, as plain numbers."""
        return zip(*(value.tolist() for value in self.fields()), strict=True)

    def fields(self) -> tuple[Tensor, ...]:
        """All fields, in order."""
        return self.image, self.y, self.x, self.flip_y, self.flip_x, self.transpose


class Patches:
    """Random pairs of patches, reproducible from the seed and the step number.

    A batch depends only on (seed, step). A resumed run and a run over several processes see the same patches as an
    uninterrupted run in one process.

    Args:
        pairs: (hr [sH, sW, 3], lr [H, W, 3]) uint8.
        scale: s.
        seed: seed of the random numbers.
        device: the training device. The pixels are stored there if they fit. Otherwise they are in main memory, and a
            thread makes the next batch while the device works on the current one.
        teacher: images of a teacher for the same pairs, each [sH, sW, 3] uint8.
        resident: whether to store the pixels on the device; None decides by their size.
        degradation: degradation of the LR patches, computed in main memory by that thread; None for none.

    Raises:
        InputError: if there are no images, or if `resident` and `degradation` are both given.
    """

    def __init__(
        self,
        pairs: Sequence[tuple[Image, Image]],
        *,
        scale: int,
        seed: int,
        device: torch.device,
        teacher: Sequence[Image] | None = None,
        resident: bool | None = None,
        degradation: Degradation | None = None,
    ) -> None:
        if not pairs:
            raise InputError("no training images")
        if degradation is not None and resident:
            raise InputError("resident = True with a degradation, which is computed in main memory: leave one out")
        self.pairs, self.degradation = pairs, degradation
        self.scale, self.seed, self.device = scale, seed, device
        self.sides = torch.tensor([lr.shape[:2] for _, lr in pairs])
        # A compromise between equal probability of each image and of each pixel.
        self.share = self.sides.prod(1).double().sqrt()
        every = [[hr for hr, _ in pairs], [lr for _, lr in pairs], list(teacher or [])]
        if resident is None:
            resident = degradation is None and fits_on(
                device, sum(image.nbytes for images in every for image in images)
            )
        self.home = device if resident else torch.device("cpu")
        hr, lr, teacher_pixels = (DeviceImages(i, device=device) if resident else HostImages(i) for i in every)
        self.hr: Images = hr
        self.lr: Images = lr
        self.teacher: Images | None = teacher_pixels if teacher is not None else None
        self._ahead: tuple[object, Future[Batch]] | None = None
        self._thread = ThreadPoolExecutor(1) if self.home != device or degradation is not None else None

    def positions(self, step: int, *, batch: int, patch: int) -> tuple[PatchPositions, torch.Generator]:
        """The positions of one step, on the CPU, and the generator for further random numbers."""
        # torch's generator uses 32 bits of its seed; mix seed and step so that different pairs give different values
        mixed = np.random.SeedSequence((self.seed, step)).generate_state(1, np.uint32)
        generator = torch.Generator().manual_seed(int(mixed[0]))
        fits = (self.sides >= patch).all(1)
        if not fits.any():
            raise InputError(f"no training image has {patch} x {patch} LR pixels: lower `patch` or use larger images")
        image = torch.multinomial(self.share * fits, batch, replacement=True, generator=generator)
        flips = torch.rand(3, batch, generator=generator) < 0.5
        return PatchPositions(image, *self._corner(image, patch, generator), *flips), generator

    def batch(self, step: int, *, batch: int, patch: int, busiest_of: int = 1, part: slice = slice(None)) -> Batch:
        """The patches of one step.

        Args:
            step: number of the step.
            batch: patches over all processes.
            patch: side of an LR patch, pixels.
            busiest_of: number of random positions per patch; the one with the largest mean horizontal difference is
                used.
            part: the patches of this process.

        Returns:
            lr [B, 3, patch, patch], hr [B, 3, s * patch, s * patch] and the teacher's image of the shape of hr or
            None; float32 in [0, 1].
        """
        draw = partial(self._draw, batch=batch, patch=patch, busiest_of=busiest_of, part=part)
        if self._thread is None:
            return draw(step)
        wanted, made = (step, batch, patch, busiest_of, part), None
        if self._ahead is not None and self._ahead[0] == wanted:
            made = self._ahead[1].result()
        self._ahead = (step + 1, *wanted[1:]), self._thread.submit(draw, step + 1)
        return made or draw(step)

    def candidates(self, step: int, *, batch: int, patch: int, busiest_of: int = 1) -> "PatchPositions":
        """The candidate positions of one step, on the CPU: fields are [B], y and x are [K, B].

        Args:
            step: number of the step.
            batch: patches over all processes.
            patch: side of an LR patch, pixels.
            busiest_of: K.
        """
        positions, generator = self.positions(step, batch=batch, patch=patch)
        others = [self._corner(positions.image, patch, generator) for _ in range(busiest_of - 1)]
        ys, xs = (torch.stack(values) for values in zip((positions.y, positions.x), *others, strict=True))
        return PatchPositions(positions.image, ys, xs, positions.flip_y, positions.flip_x, positions.transpose)

    def cut(self, candidates: "PatchPositions", *, patch: int) -> Batch:
        """Cut the patches of one step on the device of the pixels.

        Args:
            candidates: the result of `candidates`, on that device.
            patch: side of an LR patch, pixels.

        Returns:
            lr [B, 3, patch, patch], hr [B, 3, s * patch, s * patch] and the teacher's image or None; float32 in [0, 1].
        """
        return self._cut_at(self._busiest(candidates, patch=patch), patch=patch)

    def _busiest(self, candidates: "PatchPositions", *, patch: int) -> "PatchPositions":
        """The candidate of each patch with the largest mean horizontal difference."""
        if len(candidates.y) == 1:
            y, x = candidates.y[0], candidates.x[0]
            return replace(candidates, y=y, x=x)
        each = [replace(candidates, y=y, x=x) for y, x in zip(candidates.y, candidates.x, strict=True)]
        crops = [self.lr.crop(positions, size=patch) for positions in each]
        best = torch.stack([(lr[:, 1, :, 1:] - lr[:, 1, :, :-1]).abs().mean((1, 2)) for lr in crops]).argmax(0)[None]
        return replace(candidates, y=candidates.y.gather(0, best)[0], x=candidates.x.gather(0, best)[0])

    def _cut_at(self, positions: "PatchPositions", *, patch: int) -> Batch:
        size = patch * self.scale
        lr = self.lr.crop(positions, size=patch).contiguous(memory_format=torch.channels_last)
        hr = self.hr.crop(positions, size=size, factor=self.scale)
        teacher = None if self.teacher is None else self.teacher.crop(positions, size=size, factor=self.scale)
        return lr, hr, teacher

    def _draw(self, step: int, *, batch: int, patch: int, busiest_of: int, part: slice) -> Batch:
        candidates = self.candidates(step, batch=batch, patch=patch, busiest_of=busiest_of)
        mine = PatchPositions(*(value[..., part].to(self.home) for value in candidates.fields()))
        chosen = self._busiest(mine, patch=patch)
        lr, hr, teacher = self._cut_at(chosen, patch=patch)
        if self.degradation is not None:
            self._degrade(lr, chosen, self.degradation, step=step, numbers=range(batch)[part])
        return self._delivered(lr, hr, teacher)

    def _degrade(
        self, lr: Tensor, chosen: PatchPositions, degradation: Degradation, *, step: int, numbers: range
    ) -> None:
        """Replace LR patches [B, 3, patch, patch] by degraded ones, in place.

        The random generator depends on the number of a patch in the whole batch, so the result does not depend on the
        process.
        """
        places, made = [], []
        for place, (number, spot) in enumerate(zip(numbers, chosen.lists(), strict=True)):
            rng = np.random.default_rng((self.seed, step, number + 1))
            drawn = degradation.draw(rng)
            if drawn is not None:
                image, y, x, flip_y, flip_x, transpose = spot
                patch = degraded(self.pairs[image], drawn, y=y, x=x, patch=lr.shape[2], scale=self.scale, rng=rng)
                places.append(place)
                made.append(flipped(patch, flip_y=flip_y, flip_x=flip_x, transpose=transpose))
        if made:
            lr[places] = torch.from_numpy(np.stack(made)).permute(0, 3, 1, 2).float() / 255

    def _delivered(self, lr: Tensor, hr: Tensor, teacher: Tensor | None) -> Batch:
        if self.home == self.device:
            return lr, hr, teacher
        pin = self.device.type == "cuda"  # only pinned memory can be copied while the device works
        lr, hr, *rest = (
            (x.pin_memory() if pin else x).to(self.device, non_blocking=pin) for x in (lr, hr, teacher) if x is not None
        )
        return lr, hr, rest[0] if rest else None

    def _corner(self, image: Tensor, patch: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        room = self.sides[image] - patch + 1
        spot = (torch.rand(len(image), 2, generator=generator, dtype=torch.float64) * room).long()
        return spot[:, 0], spot[:, 1]


def fits_on(device: torch.device, size_bytes: int) -> bool:
    """Whether images of this size can be stored on a device: they may use at most half of its free memory.

    False for the CPU, where crops are slices of main memory.
    """
    if device.type == "cuda":
        return 2 * size_bytes <= torch.cuda.mem_get_info(device)[0]
    if device.type == "mps":
        return 2 * size_bytes <= torch.mps.recommended_max_memory() - torch.mps.current_allocated_memory()
    return False
