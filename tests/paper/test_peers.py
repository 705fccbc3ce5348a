"""Networks of other papers have the costs printed in Tables 4 and 6 and in their papers, each by its rule."""

import pytest
from benchmarks.conventions import CONVENTIONS, LR_SIZES, agrees, built, counted, every, printed

from a2f.errors import UnknownModelError
from a2f.evaluation.published import METHODS, table_6
from a2f.peers import PEERS, build_peer
from a2f.variants import CANNOT_BE_BUILT

CASES = [(name, scale) for name in CONVENTIONS for scale in PEERS[name].scales if printed(name, scale)]
MISPRINTS = {("awsrn-s", 4): 33.7}  # Table 6 prints 37.7


def test_every_row_of_table_6_has_a_network() -> None:
    titles = {(peer.title, scale) for peer in PEERS.values() for scale in peer.scales}
    missing = {(row.method, row.scale) for row in table_6() if row.method not in METHODS.values()} - titles
    assert missing == {("MoreMNAS-A", 2)}


def test_moremnas_a_is_said_to_be_missing_and_why() -> None:
    (row,) = (row for row in table_6() if row.method == "MoreMNAS-A")
    printed_figures = f"{row.parameters_k}K parameters, {row.multi_adds_g}G Multi-Adds at x{row.scale}"
    assert printed_figures in CANNOT_BE_BUILT["moremnas-a"]
    with pytest.raises(UnknownModelError, match=r"moremnas-a cannot be built: its paper .* only in a picture"):
        build_peer("moremnas-a", scale=2)


@pytest.mark.integration
@pytest.mark.parametrize(("name", "scale"), CASES)
def test_parameters(name: str, scale: int) -> None:
    told, convention = printed(name, scale), CONVENTIONS[name]
    assert told is not None
    assert told.parameters_k is not None
    count = convention.parameters(built(name, scale), scale) / 1000
    assert agrees(count, told.parameters_k, cut=convention.cut, off=convention.parameters_off), count


@pytest.mark.integration
@pytest.mark.parametrize(("name", "scale"), [case for case in CASES if printed(*case).multi_adds_g is not None])
def test_multi_adds(name: str, scale: int) -> None:
    told, convention = printed(name, scale), CONVENTIONS[name]
    assert told is not None
    assert told.multi_adds_g is not None
    figure = MISPRINTS.get((name, scale), told.multi_adds_g)
    count = convention.multi_adds(built(name, scale), scale) / 1e9
    assert agrees(count, figure, cut=convention.cut, off=convention.multi_adds_off), count


def test_agrees_compares_all_printed_digits() -> None:
    assert agrees(12.464, 12, cut=False, off=0)
    assert not agrees(12.6, 12, cut=False, off=0)
    assert agrees(12.6, 12, cut=True, off=0)
    assert not agrees(11.9, 11, cut=False, off=0.05)
    assert agrees(15592.4, 15590, cut=False, off=0)
    assert not agrees(15596, 15590, cut=False, off=0)


@pytest.mark.parametrize(("first", "between", "joined"), [(256, 16, False), (56, 32, True), (16, 48, True)])
def test_several_layouts_of_srdensenet_have_both_printed_figures(first: int, between: int, joined: bool) -> None:
    """So its printed figures do not determine the widths that its paper leaves out."""
    dense = sum(9 * 16 * 16 * n for n in range(1, 8))  # layers 2 to 8 of a block
    blocks = 8 * dense + 9 * 16 * (first + 7 * between)
    before = 9 * first + blocks + 256 * (8 * 128 + (first if joined else 0))
    ups, tail = [9 * 256 * 256] * 2, 9 * 256
    told = printed("srdensenet", 4)
    assert told is not None
    assert round((before + sum(ups) + tail) / 1000) == told.parameters_k
    pixels = LR_SIZES[4][0] * LR_SIZES[4][1]
    cost = pixels * (before + 2 * ups[0] + 2 * 4 * ups[1] + 16 * tail)
    assert round(cost / 1e9, 1) == told.multi_adds_g


def test_challenges_count_multi_adds_at_256_pixels() -> None:
    for name, figure in (("rlfn-ntire", 19.70), ("span-ntire", 9.83)):
        width, height = LR_SIZES[4]
        assert counted(name, 4).multi_adds / (width * height) * 256 * 256 / 1e9 == pytest.approx(figure, rel=0.005)


@pytest.mark.parametrize("name", ["srfbn-s", "carn-m", "lapsrn"])
def test_table_prints_too_many_parameters_for_a_x2_network(name: str) -> None:
    told = printed(name, 2)
    assert told is not None
    assert told.parameters_k is not None
    assert every(built(name, 2), 2) < 0.7 * 1000 * told.parameters_k
