"""Training images resident in memory as uint8, and random patches gathered from them by index."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from a2f.errors import InputError

Image = NDArray[np.uint8]


class Resident:
    """Images of any sizes as one flat uint8 tensor on a device.

    Args:
        images: each [H, W, 3] uint8.
        device: where the pixels live; crops are gathered there.
    """

    def __init__(self, images: Sequence[Image], *, device: torch.device) -> None:
        counts = np.array([image.shape[0] * image.shape[1] for image in images])
        self.pixels = torch.empty((int(counts.sum()), 3), dtype=torch.uint8, device=device)
        self.offset = torch.from_numpy(np.concatenate([[0], np.cumsum(counts)[:-1]])).to(device)
        self.width = torch.tensor([image.shape[1] for image in images], device=device)
        for image, start, count in zip(images, self.offset.tolist(), counts.tolist(), strict=True):
            self.pixels[start : start + count] = torch.from_numpy(np.array(image).reshape(-1, 3))

    def crop(self, spot: "Spots", *, size: int, factor: int = 1) -> Tensor:
        """Gather square crops, flipped and transposed as the spots say.

        Args:
            spot: where; in units of 1/factor of this tensor's pixels.
            size: side of the crops, pixels of this tensor.
            factor: of the coordinates: 1 for LR, the scale for HR.

        Returns:
            [B, 3, size, size] float32 in [0, 1], channels last in memory.
        """
        line = torch.arange(size, device=self.pixels.device)
        ys = spot.y[:, None] * factor + torch.where(spot.flip_y[:, None], size - 1 - line, line)
        xs = spot.x[:, None] * factor + torch.where(spot.flip_x[:, None], size - 1 - line, line)
        swap = spot.transpose[:, None, None]
        rows = torch.where(swap, ys[:, None, :], ys[:, :, None])
        cols = torch.where(swap, xs[:, :, None], xs[:, None, :])
        at = self.offset[spot.image, None, None] + rows * self.width[spot.image, None, None] + cols
        patches = self.pixels[at.reshape(-1)].view(len(spot.image), size, size, 3)
        return patches.permute(0, 3, 1, 2).float() / 255


@dataclass(frozen=True)
class Spots:
    """Where B patches lie, each field [B]: image number, upper left corner in LR pixels, and the symmetry applied."""

    image: Tensor
    y: Tensor
    x: Tensor
    flip_y: Tensor
    flip_x: Tensor
    transpose: Tensor

    def __getitem__(self, index: slice | Tensor) -> "Spots":
        return Spots(*(value[index] for value in self._fields()))

    def to(self, device: torch.device) -> "Spots":
        """The same spots on another device."""
        return Spots(*(value.to(device) for value in self._fields()))

    def _fields(self) -> tuple[Tensor, ...]:
        return self.image, self.y, self.x, self.flip_y, self.flip_x, self.transpose


class Patches:
    """Random pairs of patches, reproducible from the seed and the number of the step alone.

    A batch depends on nothing but (seed, step): a run that is resumed, and one that is split over processes, sees
    the same patches as an uninterrupted one in one process.

    Args:
        pairs: (hr [sH, sW, 3], lr [H, W, 3]) uint8.
        scale: s.
        seed: of all draws.
        device: where the pixels live.
        teacher: images of a teacher for the same pairs, each [sH, sW, 3] uint8.
    """

    def __init__(
        self,
        pairs: Sequence[tuple[Image, Image]],
        *,
        scale: int,
        seed: int,
        device: torch.device,
        teacher: Sequence[Image] | None = None,
    ) -> None:
        if not pairs:
            raise InputError("no training images")
        self.scale, self.seed, self.device = scale, seed, device
        self.sides = torch.tensor([lr.shape[:2] for _, lr in pairs])
        # Between one and the other extreme: each image alike, each pixel alike.
        self.share = self.sides.prod(1).double().sqrt()
        self.hr = Resident([hr for hr, _ in pairs], device=device)
        self.lr = Resident([lr for _, lr in pairs], device=device)
        self.teacher = Resident(teacher, device=device) if teacher is not None else None

    def spots(self, step: int, *, batch: int, patch: int) -> tuple[Spots, torch.Generator]:
        """The spots of one step, on the CPU, and the generator to draw on with."""
        # torch's generator takes 32 bits of its seed: mixed, so that neither seeds nor steps share them
        mixed = np.random.SeedSequence((self.seed, step)).generate_state(1, np.uint32)
        generator = torch.Generator().manual_seed(int(mixed[0]))
        fits = (self.sides >= patch).all(1)
        if not fits.any():
            raise InputError(f"no training image has {patch} x {patch} LR pixels: lower `patch` or use larger images")
        image = torch.multinomial(self.share * fits, batch, replacement=True, generator=generator)
        flips = torch.rand(3, batch, generator=generator) < 0.5
        return Spots(image, *self._corner(image, patch, generator), *flips), generator

    def batch(
        self, step: int, *, batch: int, patch: int, busiest_of: int = 1, part: slice = slice(None)
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """The patches of one step.

        Args:
            step: number of the step.
            batch: patches over all processes.
            patch: side of an LR patch, pixels.
            busiest_of: spots drawn per patch; the one with the largest mean horizontal difference is used.
            part: which of the patches this process takes.

        Returns:
            lr [B, 3, patch, patch], hr [B, 3, s * patch, s * patch] and the teacher's image of the shape of hr or
            None; float32 in [0, 1].
        """
        spots, generator = self.spots(step, batch=batch, patch=patch)
        candidates = [spots]
        for _ in range(busiest_of - 1):
            y, x = self._corner(spots.image, patch, generator)
            candidates.append(Spots(spots.image, y, x, spots.flip_y, spots.flip_x, spots.transpose))
        crops = [self.lr.crop(c[part].to(self.device), size=patch) for c in candidates]
        best = torch.stack([(lr[:, 1, :, 1:] - lr[:, 1, :, :-1]).abs().mean((1, 2)) for lr in crops]).argmax(0)
        y = torch.stack([c[part].y for c in candidates]).to(self.device).gather(0, best[None])[0]
        x = torch.stack([c[part].x for c in candidates]).to(self.device).gather(0, best[None])[0]
        lr = torch.stack(crops)[best, torch.arange(len(best), device=self.device)]
        mine = spots[part].to(self.device)
        chosen = Spots(mine.image, y, x, mine.flip_y, mine.flip_x, mine.transpose)
        size = patch * self.scale
        hr = self.hr.crop(chosen, size=size, factor=self.scale)
        teacher = None if self.teacher is None else self.teacher.crop(chosen, size=size, factor=self.scale)
        return lr.contiguous(memory_format=torch.channels_last), hr, teacher

    def _corner(self, image: Tensor, patch: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        room = self.sides[image] - patch + 1
        spot = (torch.rand(len(image), 2, generator=generator, dtype=torch.float64) * room).long()
        return spot[:, 0], spot[:, 1]
