"""Table 6 of the paper as data."""

from importlib.resources import files

import pytest

from a2f.evaluation.published import METHODS, SETS, printed, published, table_6
from a2f.variants import SCALES, VARIANTS, config_of, count_parameters

# values of the table, read a second time by hand
SPOT_CHECKS = [
    (2, "FSRCNN", 12, 6, "Manga109", (36.67, 0.9694)),
    (2, "MSRN", 5930, 1365.4, "Urban100", (32.29, 0.9303)),
    (3, "AWSRN", 1476, 150.6, "B100", (29.16, 0.8069)),
    (3, "IDN", 552, None, "Set14", (29.99, 0.8354)),
    (4, "CARN-M", 412, 32.5, "Set5", (31.92, 0.8903)),
    (4, "SRDenseNet", 2015, 389.9, "Urban100", (26.05, 0.7819)),
]


def test_published_tables_are_complete() -> None:
    assert [sum(row.scale == scale for row in table_6()) for scale in SCALES] == [26, 21, 23]
    assert len({(row.scale, row.method) for row in table_6()}) == 70
    for row in table_6():
        assert {"Set5", "Set14", "B100"} <= set(row.figures) <= set(SETS)
        for psnr, ssim in row.figures.values():
            assert 24 < psnr < 39
            assert 0.7 < ssim < 0.98


@pytest.mark.parametrize(("scale", "method", "parameters", "multi_adds", "data", "figures"), SPOT_CHECKS)
def test_sample_rows_match_the_paper(scale, method, parameters, multi_adds, data, figures) -> None:
    (row,) = (r for r in table_6() if (r.scale, r.method) == (scale, method))
    assert (row.parameters_k, row.multi_adds_g, row.figures[data]) == (parameters, multi_adds, figures)


def test_psnr_falls_with_the_scale() -> None:
    by_method: dict[str, list[float]] = {}
    for row in table_6():
        by_method.setdefault(row.method, []).append(row.figures["Set5"][0])
    for values in by_method.values():
        assert values == sorted(values, reverse=True)


@pytest.mark.parametrize("variant", list(VARIANTS))
@pytest.mark.parametrize("scale", SCALES)
def test_rows_of_our_networks(variant: str, scale: int) -> None:
    row = published(variant, scale=scale)
    assert row is not None
    assert row.method == METHODS[variant]
    assert row.parameters_k == round(count_parameters(config_of(variant, scale=scale)) / 1000)
    assert published("bicubic", scale=scale) is None


def test_lpips_of_table_5() -> None:
    with_lpips = {(row.method, row.scale): row for row in printed() if row.lpips}
    methods = ["AWSRN", "AWSRN-SD", "CARN", "CARN-M", "SRFBN-S", "IMDN", "A²F-SD", "A²F-L"]
    assert set(with_lpips) == {(method, 4) for method in methods}
    assert with_lpips["A²F-SD", 4].value("Set5", "lpips") == 0.1731
    assert with_lpips["CARN", 4].value("Manga109", "lpips") is None
    assert with_lpips["CARN", 4].value("BSD100", "ssim_y") == 0.7349  # as its folder is also called
    assert [row.parameters_k for row in table_6() if row.method == "AWSRN-SD" and row.scale == 4] == [444]
    imdn = published("imdn", scale=4)
    assert imdn is not None
    assert (imdn.parameters_k, imdn.figures, imdn.lpips["Urban100"]) == (715, {}, 0.2350)
    assert published("imdn", scale=2) is None


@pytest.mark.parametrize(("network", "method"), [("carn-m", "CARN-M"), ("falsr-a", "FALSR-A"), ("idn", "IDN")])
def test_rows_of_other_networks(network: str, method: str) -> None:
    row = published(network, scale=2)
    assert row is not None
    assert row.method == method
    assert published(None, scale=2) is None


def test_multi_adds_keep_the_printed_text() -> None:
    """Each number of the file comes back as text: 72, but 100.0."""
    lines = (files("a2f.evaluation") / "table6.tsv").read_text(encoding="utf-8").splitlines()
    cells = [line.split("\t")[3] for line in lines if line[0].isdigit()]
    assert ["-" if row.multi_adds_g is None else str(row.multi_adds_g) for row in table_6()] == cells
    assert {"72", "100.0"} < set(cells)
