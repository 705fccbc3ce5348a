from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from a2f.data.pairs import find_images, load_pairs, make_pair
from a2f.data.patches import Patches
from a2f.errors import ImageReadError, InputError
from a2f.resize import imresize


def pairs(scale: int, sizes: list[tuple[int, int]]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Each HR pixel encodes its LR pixel, so that any misaligned crop is detected."""
    made = []
    for number, (h, w) in enumerate(sizes):
        y, x = np.mgrid[0:h, 0:w]
        lr = np.stack([y, x, np.full((h, w), number)], axis=-1).astype(np.uint8)
        made.append((lr.repeat(scale, 0).repeat(scale, 1), lr))
    return made


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_hr_and_lr_patches_match_under_every_symmetry(scale: int) -> None:
    patches = Patches(pairs(scale, [(20, 31), (40, 25)]), scale=scale, seed=1, device=torch.device("cpu"))
    seen = set()
    for step in range(40):
        lr, hr, teacher = patches.batch(step, batch=8, patch=9, busiest_of=2)
        assert teacher is None
        assert lr.shape == (8, 3, 9, 9)
        assert hr.shape == (8, 3, 9 * scale, 9 * scale)
        assert torch.equal(lr.repeat_interleave(scale, 2).repeat_interleave(scale, 3), hr)
        for patch in (lr * 255).round():
            down, right = patch[0, 1, 0] - patch[0, 0, 0], patch[0, 0, 1] - patch[0, 0, 0]
            across = patch[1, 1, 0] - patch[1, 0, 0], patch[1, 0, 1] - patch[1, 0, 0]
            seen.add((int(down), int(right), *map(int, across)))
    assert len(seen) == 8  # flips and transpositions: all eight symmetries


def test_crops_are_equal_on_the_device_and_in_main_memory() -> None:
    taught = [255 - hr for hr, _ in pairs(3, [(20, 31), (40, 25)])]
    both = [
        Patches(
            pairs(3, [(20, 31), (40, 25)]), scale=3, seed=1, device=torch.device("cpu"), teacher=taught, resident=where
        )
        for where in (True, False)
    ]
    assert [type(p.hr).__name__ for p in both] == ["DeviceImages", "HostImages"]
    for step in range(10):
        one, other = (p.batch(step, batch=8, patch=9, busiest_of=2) for p in both)
        for a, b in zip(one, other, strict=True):
            assert a is not None
            assert b is not None
            assert torch.equal(a, b)
            assert a.is_contiguous(memory_format=torch.channels_last)


def test_prefetched_batches_are_equal_after_a_jump_or_a_new_stage() -> None:
    sets = pairs(2, [(30, 30), (40, 40)])
    plain = Patches(sets, scale=2, seed=0, device=torch.device("cpu"))
    ahead = Patches(sets, scale=2, seed=0, device=torch.device("cpu"))
    ahead._thread = ThreadPoolExecutor(1)  # simulates a device with too little memory for the images
    for step, batch in ((0, 4), (1, 4), (2, 4), (9, 4), (10, 2), (11, 2), (11, 2), (3, 4)):
        one, other = (p.batch(step, batch=batch, patch=8, busiest_of=2) for p in (plain, ahead))
        assert torch.equal(one[0], other[0])
        assert torch.equal(one[1], other[1])


def test_patches_reach_every_corner_and_stay_inside() -> None:
    patches = Patches(pairs(2, [(10, 12)]), scale=2, seed=0, device=torch.device("cpu"))
    values = torch.cat([(patches.batch(step, batch=16, patch=8)[0] * 255).round() for step in range(60)])
    assert (values[:, 0].min(), values[:, 0].max()) == (0, 9)
    assert (values[:, 1].min(), values[:, 1].max()) == (0, 11)


def test_a_batch_depends_on_seed_and_step_alone() -> None:
    make = lambda seed: Patches(pairs(2, [(30, 30), (40, 40)]), scale=2, seed=seed, device=torch.device("cpu"))  # noqa: E731
    one, again, other = make(5), make(5), make(6)
    for step in (7, 3):
        assert torch.equal(one.batch(step, batch=4, patch=8)[0], again.batch(step, batch=4, patch=8)[0])
    assert not torch.equal(one.batch(0, batch=4, patch=8)[0], other.batch(0, batch=4, patch=8)[0])
    assert not torch.equal(one.batch(0, batch=4, patch=8)[0], one.batch(1, batch=4, patch=8)[0])


def test_parts_of_a_batch_form_the_whole_batch() -> None:
    patches = Patches(pairs(2, [(30, 30), (40, 40)]), scale=2, seed=0, device=torch.device("cpu"))
    whole = patches.batch(3, batch=6, patch=8, busiest_of=3)[1]
    for rank in (0, 1):
        part = patches.batch(3, batch=6, patch=8, busiest_of=3, part=slice(rank, None, 2))[1]
        assert torch.equal(part, whole[rank::2])


def test_small_images_are_skipped_and_sets_of_them_refused() -> None:
    patches = Patches(pairs(2, [(8, 8), (40, 40)]), scale=2, seed=0, device=torch.device("cpu"))
    assert (patches.batch(0, batch=32, patch=16)[0][:, 2] * 255).round().unique().tolist() == [1]
    with pytest.raises(InputError, match="64 x 64 LR pixels"):
        patches.batch(0, batch=1, patch=64)
    with pytest.raises(InputError, match="no training images"):
        Patches([], scale=2, seed=0, device=torch.device("cpu"))


def test_pairs_from_a_folder(tmp_path) -> None:
    from PIL import Image

    rng = np.random.default_rng(0)
    (tmp_path / "deep").mkdir()
    image = rng.integers(0, 256, (21, 30, 3)).astype(np.uint8)
    Image.fromarray(image).save(tmp_path / "deep/a.png")
    (tmp_path / "bad.png").write_text("no image")
    Image.fromarray(image[:1, :1]).save(tmp_path / "tiny.png")
    left_out: list[ImageReadError] = []
    loaded = list(load_pairs(find_images(tmp_path), scale=4, on_error=left_out.append))
    assert [path.name for path, _ in loaded] == ["a.png"]
    hr, lr = loaded[0][1]
    np.testing.assert_array_equal(hr, image[:20, :28])
    np.testing.assert_array_equal(lr, imresize(hr, scale=1 / 4))
    assert {str(e).split()[0] for e in left_out} == {str(tmp_path / "bad.png"), str(tmp_path / "tiny.png")}
    with pytest.raises(ImageReadError, match="smaller than 4"):
        make_pair(tmp_path / "tiny.png", scale=4)
    with pytest.raises(ImageReadError, match="not a folder"):
        find_images(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ImageReadError, match="no images"):
        find_images(tmp_path / "empty")
