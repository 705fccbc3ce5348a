"""The table of known sources."""

import re
from pathlib import Path

import pytest

from a2f.data.sources import SETS, find_set
from a2f.errors import UsageError


def test_known_sources_are_well_formed() -> None:
    assert {"div2k", "flickr2k", "set5", "set14", "b100", "urban100", "manga109", "kodak24", "lpips"} <= set(SETS)
    for entry in SETS.values():
        assert entry.terms
        assert bool(entry.parts) != bool(entry.by_hand)
        every = entry.wanted((2, 3, 4))
        assert len({part.target for part in every}) == len(every)
        for part in every:
            assert re.fullmatch(r"https://[a-z0-9.]+/.+\.(zip|tar|tar\.gz|png)", part.archive.url)
            assert (part.inside == "") == part.archive.url.endswith(".png")
            assert part.archive.sha256 is None or re.fullmatch("[0-9a-f]{64}", part.archive.sha256)
            assert part.archive.md5 is None or re.fullmatch("[0-9a-f]{32}", part.archive.md5)
            assert not Path(part.target).is_absolute()
    targets = [part.target for part in find_set("DIV2K").wanted((4,))]
    assert targets == ["DIV2K_train_HR", "DIV2K_valid_HR", "DIV2K_train_LR_bicubic/X4", "DIV2K_valid_LR_bicubic/X4"]


def test_mirrors_and_unknown_names() -> None:
    archive = SETS["set5"].parts[0].archive
    assert archive.address(None) == "https://cv.snu.ac.kr/research/EDSR/benchmark.tar"
    assert archive.address("http://mirror/x/") == "http://mirror/x/cv.snu.ac.kr/research/EDSR/benchmark.tar"
    for bad in ("file:///etc", "ftp://mirror/", "mirror"):
        with pytest.raises(UsageError, match="give an address with http"):
            archive.address(bad)
    with pytest.raises(UsageError, match=r"unknown data set 'set6' \(did you mean 'set5'\?\): choose from div2k"):
        find_set("set6")
