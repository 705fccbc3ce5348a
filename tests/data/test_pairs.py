"""Pairs from plain folders and from the standard layout."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from a2f.data.pairs import find_images, find_lr, held_out, load_pairs, make_pair, read_image_list
from a2f.errors import ImageReadError, InputError, UsageError
from a2f.resize import imresize
from a2f.training.recipe import Recipe
from a2f.training.start import TrainingJob, _pairs
from a2f.variants import config_of


def save(path: Path, height: int, width: int, seed: int = 0) -> np.ndarray:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(path)
    return pixels


def standard(root: Path, hr: str = "HR", lr: str = "LR_bicubic") -> tuple[Path, dict[str, np.ndarray]]:
    """LR images that differ from bicubic, so that a test can detect which were used."""
    small = {}
    for number, name in enumerate(("a", "b", "sub/c")):
        save(root / hr / f"{name}.png", 41, 50, number)
        small[name] = save(root / lr / "X4" / f"{name}x4.png", 10, 12, number + 9)
    return root, small


@pytest.mark.integration
@pytest.mark.parametrize(
    ("hr", "lr", "given"),
    [
        ("HR", "LR_bicubic", "."),
        ("HR", "LR_bicubic", "HR"),
        ("DIV2K_train_HR", "DIV2K_train_LR_bicubic", "DIV2K_train_HR"),
    ],
)
def test_lr_images_of_the_standard_layout_are_used(tmp_path: Path, hr: str, lr: str, given: str) -> None:
    root, small = standard(tmp_path / "set", hr, lr)
    folder = root / given
    paths = find_images(folder)
    assert [p.relative_to(root / hr).as_posix() for p in paths] == ["a.png", "b.png", "sub/c.png"]
    found = find_lr(folder, scale=4)
    loaded = dict(load_pairs(paths, scale=4, lr=found, on_error=pytest.fail))
    for path, name in zip(paths, small, strict=True):
        assert found[path] == root / lr / "X4" / f"{name}x4.png"
        np.testing.assert_array_equal(loaded[path][1], small[name])
        assert loaded[path][0].shape == (40, 48, 3)
    assert find_lr(folder, scale=2) == {}  # no X2: LR is made


def test_lr_images_of_similar_names_are_not_confused(tmp_path: Path) -> None:
    for name in ("a", "ax4"):
        save(tmp_path / "HR" / f"{name}.png", 8, 8)
        save(tmp_path / "LR_bicubic/X4" / f"{name}x4.png", 2, 2)
    found = find_lr(tmp_path, scale=4)
    assert {p.stem: q.stem for p, q in found.items()} == {"a": "ax4", "ax4": "ax4x4"}


def test_lr_images_with_equal_names_are_found(tmp_path: Path) -> None:
    save(tmp_path / "HR/a.png", 8, 8)
    save(tmp_path / "LR_bicubic/X2/a.jpg", 4, 4)
    assert find_lr(tmp_path, scale=2) == {tmp_path / "HR/a.png": tmp_path / "LR_bicubic/X2/a.jpg"}


@pytest.mark.integration
def test_missing_and_wrong_lr_images_raise_errors(tmp_path: Path) -> None:
    root, _ = standard(tmp_path)
    save(root / "LR_bicubic/X4/bx4.png", 10, 13)
    with pytest.raises(InputError, match=r"bx4.png has 13 x 10 pixels, but .*b.png at x4 needs 12 x 10"):
        list(load_pairs(find_images(root), scale=4, lr=find_lr(root, scale=4), on_error=pytest.fail))
    for name in ("a", "b"):
        (root / f"LR_bicubic/X4/{name}x4.png").unlink()
    with pytest.raises(InputError, match=r"X4 has no LR image for 2 of the 3 images .*: ax4.png, bx4.png; add them"):
        find_lr(root, scale=4)


def test_a_folder_of_several_parts_of_a_set_is_refused(tmp_path: Path) -> None:
    standard(tmp_path, "DIV2K_valid_HR", "DIV2K_valid_LR_bicubic")
    with pytest.raises(InputError, match=r"give the folder of the HR images, .*DIV2K_valid_HR"):
        find_images(tmp_path)


def test_all_images_of_a_plain_tree_are_used(tmp_path: Path) -> None:
    image = save(tmp_path / "deep/a.png", 21, 30)
    save(tmp_path / "b.png", 8, 8)
    save(tmp_path / "X4/bx4.png", 8, 8)
    assert len(find_images(tmp_path)) == 3
    assert find_lr(tmp_path, scale=4) == {}
    np.testing.assert_array_equal(
        make_pair(tmp_path / "deep/a.png", scale=4)[1], imresize(image[:20, :28], scale=1 / 4)
    )
    (tmp_path / "bad/HR").mkdir(parents=True)
    with pytest.raises(ImageReadError, match="HR holds no images"):
        find_images(tmp_path / "bad")


@pytest.mark.integration
def test_training_and_validation_use_and_report_lr_images(tmp_path: Path) -> None:
    root, small = standard(tmp_path / "set")
    save(tmp_path / "plain/a.png", 16, 16)
    said: list[str] = []
    job = TrainingJob(
        config=config_of("sd", scale=4), recipe=Recipe(steps=1), data=root, validation=root, folder=tmp_path
    )
    train, validation = _pairs(job, said.append)
    for pairs in (train, validation):
        for (_, lr), expected in zip(pairs, small.values(), strict=True):
            np.testing.assert_array_equal(lr, expected)
    assert said[:2] == [f"{root}: LR images read from {root}/LR_bicubic/X4"] * 2
    assert "the validation images are the training images" in said[2]
    said.clear()
    plain = TrainingJob(
        config=config_of("sd", scale=4),
        recipe=Recipe(steps=1),
        data=tmp_path / "plain",
        validation=None,
        folder=tmp_path,
    )
    assert _pairs(plain, said.append)[0][0][1].shape == (4, 4, 3)
    assert said == [f"{tmp_path}/plain: LR images made by bicubic"]


def test_every_64th_image_is_held_out_with_all_its_sub_images() -> None:
    plain = [Path(f"p/{n:04d}.png") for n in range(130)]
    assert held_out(plain) == [plain[0], plain[64], plain[128]]
    assert held_out(plain[:1]) == []
    cut = [Path(f"p/{n:04d}_s{k:03d}.png") for n in range(65) for k in range(1, 4)]
    assert held_out(cut) == cut[:3] + cut[-3:]
    assert held_out(cut[:3]) == []


@pytest.mark.integration
def test_listed_pictures_are_held_out_and_cut_to_their_middle(tmp_path: Path) -> None:
    for number in range(3):
        save(tmp_path / f"data/sub/{number}.png", 64, 4 * 150, number)
    names = tmp_path / "list.txt"
    save(tmp_path / "data/sub/1_s002.png", 64, 64)  # overlaps what is held out
    names.write_text("# kept out\nsub/1.png\n../data/sub/1.png\n\n", encoding="utf-8-sig")
    job = TrainingJob(
        config=config_of("sd", scale=4),
        recipe=Recipe(steps=1),
        data=tmp_path / "data",
        validation=names,
        folder=tmp_path,
    )
    train, ((hr, lr),) = _pairs(job, lambda line: None)
    assert len(train) == 2
    whole_hr, whole_lr = make_pair(tmp_path / "data/sub/1.png", scale=4)
    assert whole_lr.shape == (16, 150, 3)
    np.testing.assert_array_equal(lr, whole_lr[:, 11:139])  # 128 in the middle of 150
    np.testing.assert_array_equal(hr, whole_hr[:, 44:556])


@pytest.mark.parametrize(
    ("text", "message"), [("# none\n", "names no images"), ("sub/9.png\n", "9.png, which is not an image of")]
)
def test_invalid_picture_lists(tmp_path: Path, text: str, message: str) -> None:
    names = tmp_path / "list.txt"
    names.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=message):
        read_image_list(names, folder=tmp_path, among=[])
    with pytest.raises(InputError, match="cannot read the list"):
        read_image_list(tmp_path / "none.txt", folder=tmp_path, among=[])


@pytest.mark.integration
def test_validation_images_inside_the_data_are_not_trained_on(tmp_path: Path) -> None:
    for name in ("a", "b", "val/c"):
        save(tmp_path / f"data/{name}.png", 64, 64)
    data, recipe = tmp_path / "data", Recipe(steps=1)
    job = TrainingJob(
        config=config_of("sd", scale=2), recipe=recipe, data=data, validation=data / "val", folder=tmp_path
    )
    train, validation = _pairs(job, lambda line: None)
    assert (len(train), len(validation)) == (2, 1)
    names = tmp_path / "list.txt"
    names.write_text("a.png\nb.png\nval/c.png\n", encoding="utf-8")
    job = TrainingJob(config=config_of("sd", scale=2), recipe=recipe, data=data, validation=names, folder=tmp_path)
    with pytest.raises(UsageError, match="leave some to train on"):
        _pairs(job, lambda line: None)
