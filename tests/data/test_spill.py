from pathlib import Path

import numpy as np
import pytest
import torch

from a2f.data.patches import Patches
from a2f.data.spill import Spill
from a2f.errors import WriteError


def images() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (20 + i, 30, 3)).astype(np.uint8) for i in range(6)]


@pytest.mark.parametrize("limit", [None, 0, 4000, 10**9])
def test_images_are_equal_in_memory_and_in_a_file(tmp_path: Path, limit: int | None) -> None:
    spill = Spill(tmp_path / "new", limit_bytes=limit)
    for image in images():
        spill.add(image[:, ::-1])
    back = spill.images()
    for one, other in zip(images(), back, strict=True):
        np.testing.assert_array_equal(one[:, ::-1], other)
    total = sum(image.nbytes for image in images())
    assert spill.kept_bytes + spill.spilt_bytes == total
    assert spill.kept_bytes <= (total if limit is None else limit)
    assert not list(tmp_path.glob("new/*"))  # the file has no name


def test_patches_of_mapped_images_are_the_same(tmp_path: Path) -> None:
    spill = Spill(tmp_path, limit_bytes=0)
    for image in images():
        spill.add(image)
    made = []
    for hr in (images(), spill.images()):
        pairs = [(image[: len(image) // 2 * 2], image[::2, ::2][: len(image) // 2]) for image in hr]
        made.append(Patches(pairs, scale=2, seed=0, device=torch.device("cpu")).batch(3, batch=8, patch=8))
    assert torch.equal(made[0][1], made[1][1])


def test_unwritable_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(WriteError, match="do not fit into memory"):
        Spill(tmp_path / "file", limit_bytes=0).add(images()[0])
