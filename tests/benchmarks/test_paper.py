"""The tables of docs/paper.md are complete and match their data, and so do the statements about significance."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from benchmarks.markdown import wrapped
from benchmarks.paper import __main__ as page
from benchmarks.paper import ablation, measure, tables
from benchmarks.paper.printed import printed_table
from benchmarks.paper.timing import NETWORKS as TIMED
from benchmarks.paper.timing import read_size
from benchmarks.paper.train import NETWORKS, recipe_for, result_file
from PIL import Image

from a2f.evaluation.published import METHODS, SETS, table_6
from a2f.peers import PEERS
from a2f.weights import shipped_models

TEXT = page.PAGE.read_text(encoding="utf-8")


def part(mark: str) -> str:
    return TEXT.partition(f"<!-- {mark} -->\n")[2].partition(f"\n<!-- /{mark} -->")[0]


def test_the_paper_compares_28_systems() -> None:
    systems = {row.method for row in table_6()} | {row["method"] for row in printed_table(5)}
    assert len(systems) == 28
    assert set(METHODS.values()) < systems
    assert {title for title in systems if title not in {p.title for p in PEERS.values()}} == {
        *METHODS.values(),
        "MoreMNAS-A",
    }


def test_printed_tables_are_complete() -> None:
    assert [len(printed_table(n)) for n in (2, 3, 4, 5)] == [5, 4, 9, 8]
    assert [sum(row.scale == s for row in table_6()) for s in (2, 3, 4)] == [26, 21, 23]
    assert {row["model"] for row in printed_table(4)} == set(TIMED)
    for number in (2, 3):
        for row in printed_table(number):
            assert all(25 < float(row[name]) < 40 for name in SETS)


def test_ratios_of_table_4() -> None:
    seconds = {row["model"]: float(row["seconds"]) for row in printed_table(4)}
    assert round(seconds["RCAN"] / seconds["A²F-SD"]) == 60  # the paper says so
    assert round(seconds["RCAN"] / seconds["A²F-L"]) == 27


@pytest.mark.parametrize("mark", [mark for mark in page.TEXTS if not mark.startswith(("table5", "table6"))])
def test_the_page_is_up_to_date(mark: str) -> None:
    assert part(mark) == wrapped(page.TEXTS[mark]().rstrip()), f"python -m benchmarks.paper --write --only {mark}"


@pytest.mark.integration
@pytest.mark.parametrize("mark", [mark for mark in page.TEXTS if mark.startswith(("table5", "table6"))])
def test_the_page_is_up_to_date_with_what_was_measured(mark: str) -> None:
    only = mark.partition("_")[0]
    assert part(mark) == wrapped(page.TEXTS[mark]().rstrip()), f"python -m benchmarks.paper --write --only {only}"


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_every_printed_row_is_on_the_page(scale: int) -> None:
    text = part(f"table6_x{scale}")
    for row in (r for r in table_6() if r.scale == scale):
        (line,) = [line for line in text.splitlines() if line.startswith(f"| {row.method} |")]
        for psnr, ssim in row.figures.values():
            assert f"{psnr:.2f}/{ssim:.4f}" in line


def test_groups_hold_each_row_once() -> None:
    for scale in (2, 3, 4):
        rows = [row for row in table_6() if row.scale == scale]
        grouped = [row for _, group in tables._groups(rows, scale) for row in group]
        assert grouped == sorted(rows, key=lambda r: r.parameters_k)


def test_authors_checkpoints_give_the_papers_figures() -> None:
    """The stored scores agree with Table 6 to the second decimal, and with Table 5 to the third."""
    printed = {(row.method, row.scale): row.figures for row in table_6()}
    lpips = {row["method"]: row for row in printed_table(5)}
    kept = [r for r in measure.read_kept() if r.weights == measure.AUTHORS]
    assert {(r.method, r.scale) for r in kept} == {("A²F-SD", 4), ("A²F-S", 3)}
    for row in kept:
        assert row.psnr_y == pytest.approx(printed[row.method, row.scale][row.data][0], abs=0.01)
        if row.lpips is not None:
            assert row.lpips == pytest.approx(float(lpips[row.method][row.data]), abs=0.0005)


def test_figures_of_the_page_exist() -> None:
    for name in ("figure1", "figure1_set5_x4", "figure2", "figure3", "figure4"):
        assert (page.ROOT / "docs" / "images" / "paper" / f"{name}.pdf").read_bytes().startswith(b"%PDF")
        assert f"images/paper/{name}.svg" in TEXT
        assert (page.ROOT / "docs" / "images" / "paper" / f"{name}.svg").exists()


def keep(folder: Path, network: str, seed: int, values: list[float], steps: int = 10) -> None:
    images = {"Set5": {f"p{n}": [value, 0.9] for n, value in enumerate(values)}}
    kept = {"network": network, "seed": seed, "steps": steps, "recipe": "fast", "minutes": 1.0, "images": images}
    result_file(folder, network, seed=seed).write_text(json.dumps(kept), encoding="utf-8")


def test_no_runs_no_results(tmp_path: Path) -> None:
    assert ablation.read_trained(2, tmp_path) is None


def test_a_clear_difference_is_confirmed_and_a_small_one_not_resolved(tmp_path: Path) -> None:
    for seed, noise in enumerate((0.0, 0.02, -0.01)):
        keep(tmp_path, "s-baseline", seed, [30.0 + noise, 32.0])
        keep(tmp_path, "s-baseline-mp", seed, [30.4 - noise, 32.0 + 3 * noise])
        keep(tmp_path, "s-noca", seed, [30.5 + noise, 32.1])
        keep(tmp_path, "s-noca-mp", seed, [30.9, 32.2])
        keep(tmp_path, "s", seed, [30.5 - noise, 32.1 + noise])
    trained = ablation.read_trained(2, tmp_path)
    assert trained is not None
    assert trained.pictures == 2
    found = ablation.difference(trained, "s-noca", "s-baseline")
    assert found is not None
    assert found.mean == pytest.approx(0.3)
    assert found.low <= 0.3 <= found.high
    assert ablation.verdicts(2, trained) == ["confirmed", "confirmed", "not resolved", "contradicted"]
    assert "this budget confirms 2, contradicts 1 and does not resolve 1" in ablation._order(2, trained)


def test_interval_is_students_t(tmp_path: Path) -> None:
    for seed, gain in enumerate((0.1, 0.2, 0.3)):
        keep(tmp_path, "s-baseline", seed, [30.0])
        keep(tmp_path, "s-noca", seed, [30.0 + gain])
    trained = ablation.read_trained(2, tmp_path)
    assert trained is not None
    found = ablation.difference(trained, "s-noca", "s-baseline")
    assert found is not None
    assert found.high - found.mean == pytest.approx(4.302653 * 0.1 / 3**0.5, rel=1e-5)  # t, 2 degrees, 97.5 %
    assert found.verdict == "not resolved"
    assert ablation.difference(trained, "s", "s-noca") is None


def test_one_seed_decides_nothing(tmp_path: Path) -> None:
    keep(tmp_path, "sd-head3", 0, [31.0])
    keep(tmp_path, "sd-head1", 0, [30.0])
    trained = ablation.read_trained(3, tmp_path)
    assert trained is not None
    assert ablation.verdicts(3, trained) == ["one seed tells nothing of chance", "missing", "missing"]


def test_runs_of_unequal_length_are_refused(tmp_path: Path) -> None:
    keep(tmp_path, "s", 0, [31.0])
    keep(tmp_path, "s-noca", 0, [31.0], steps=20)
    with pytest.raises(SystemExit, match="differ in steps"):
        ablation.read_trained(2, tmp_path)


def test_all_networks_of_a_table_use_one_recipe() -> None:
    recipe = recipe_for(seed=2, steps=5000)
    assert (recipe.steps, recipe.minutes, recipe.seed) == (5000, 0, 2)
    assert {len(names) for names in NETWORKS.values()} == {5, 4}


@pytest.mark.integration
def test_a_run_is_trained_measured_and_not_repeated(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name in ("photos/a", "photos/b", "sets/Set5/HR/baby"):
        path = tmp_path / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (264, 264, 3)).astype(np.uint8)).save(path)
    words = [sys.executable, "-m", "benchmarks.paper.train", "--network", "s-noca", "--seed", "1", "--steps", "2"]
    for option, folder in (
        ("data", "photos"),
        ("val", "photos"),
        ("sets", "sets"),
        ("runs", "r"),
        ("results", "found"),
    ):
        words += [f"--{option}", str(tmp_path / folder)]
    first = subprocess.run(words, cwd=page.ROOT, capture_output=True, text=True, check=False)
    assert first.returncode == 0, first.stderr
    trained = ablation.read_trained(2, tmp_path / "found")
    assert trained is not None
    assert (trained.steps, trained.recipe, trained.sets, trained.pictures) == (2, "fast", ["Set5"], 1)
    again = subprocess.run(words, cwd=page.ROOT, capture_output=True, text=True, check=False)
    assert again.stdout.strip().endswith("s-noca_x4_seed1.json is there")


def test_our_rows_belong_to_the_shipped_weights() -> None:
    """If this fails, the shipped weights have changed: run `make paper` to measure them."""
    shipped = {(m.scale, f"{m.file} {m.sha256[:8]}") for m in shipped_models() if m.kind == "clean"}
    assert {(row.scale, row.file) for row in measure.read_kept() if row.weights == measure.OURS} == shipped


def test_size_argument() -> None:
    assert read_size("256x196") == (256, 196)
    with pytest.raises(Exception, match="write it as"):
        read_size("256")
