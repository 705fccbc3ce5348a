"""Finding the file that belongs to an image."""

from pathlib import Path

import pytest

from a2f.data.names import branch, find_partners, scales_in_names
from a2f.errors import InputError

NAMES = ["baby", "bird", "a", "a_b", "101085"]


@pytest.mark.parametrize(
    ("stem", "name"),
    [
        ("baby", "baby"),
        ("babyx4", "baby"),
        ("baby_x4", "baby"),
        ("baby-X4", "baby"),
        ("baby_CARN", "baby"),
        ("babyx4_SR", "baby"),
        ("baby_x4_SR", "baby"),
        ("baby_CARN-M_x4", "baby"),
        ("101085x4", "101085"),
        ("a_x4", "a"),
        ("a_b_x4", "a_b"),
        ("a_bc", "a"),
        ("babyx2", None),
        ("baby_x3_SR", None),
        ("babyx4_x2", None),
        ("babysitter", None),
        ("1010850", None),
        ("baby.CARN", None),
        ("CARN_baby", None),
    ],
)
def test_partners_are_found_by_name(stem: str, name: str | None) -> None:
    found = find_partners(NAMES, [Path(f"{stem}.png")], scale=4)
    assert found.found == ({} if name is None else {name: Path(f"{stem}.png")})
    assert found.left == ([Path(f"{stem}.png")] if name is None else [])


def test_files_without_a_partner_are_named() -> None:
    folder = Path("r")
    files = [folder / name for name in ("babyx4.png", "fox.png", "SR/baby.png")]
    with pytest.raises(InputError, match=r"r has several files for baby of Set5: babyx4\.png and SR/baby\.png"):
        find_partners(["baby"], files, scale=4).check(folder, what="enlargement", of="Set5")
    with pytest.raises(InputError, match=r"no enlargement for 1 of the 2 images of Set5: bird; .* no image: fox\.png"):
        find_partners(["baby", "bird"], files[:2], scale=4).check(folder, what="enlargement", of="Set5")
    with pytest.raises(InputError, match="it holds no other images"):
        find_partners(["bird"], [], scale=4).check(folder, what="enlargement", of="Set5")


def test_folder_of_a_set_is_found(tmp_path: Path) -> None:
    for made in ("carn/Set5/X4", "carn/Set14", "edsr/x4/Set5", "plain"):
        (tmp_path / made).mkdir(parents=True)
    for folder, name, expected in [
        ("carn", "Set5", "carn/Set5/X4"),
        ("carn", "set14", "carn/Set14"),
        ("carn", "B100", "carn"),
        ("edsr", "Set5", "edsr/x4/Set5"),
        ("plain", "Set5", "plain"),
    ]:
        assert branch(tmp_path / folder, name, scale=4) == tmp_path / expected


def test_scales_in_names() -> None:
    assert scales_in_names("babyx4_SR") == {4}
    assert scales_in_names("X4", "baby") == {4}
    assert scales_in_names("baby", "x40") == set()
