"""Pictures of curves and λ: drawn data and ticks."""

import shutil
from itertools import pairwise
from pathlib import Path

import matplotlib.figure
import pytest
from click.testing import CliRunner, Result

from a2f.cli.main import cli
from a2f.errors import A2FError, ImageWriteError, OutputExistsError
from a2f.figures.curves import CURVES, plot_runs
from a2f.figures.style import FACTOR_NAMES
from a2f.model.a2f import A2F, to_weights
from a2f.peers.files import open_network, write_network
from a2f.variants import ablation_of
from a2f.weights import find_shipped, lambdas, read_weights, write_weights

SHIPPED = find_shipped("sd", scale=4).path
LOG = "step,loss,lr,psnr_y\n10,0.2,0.001,30\n20,0.1,0.0005,31\n"


@pytest.fixture
def axes(monkeypatch: pytest.MonkeyPatch) -> list:
    """The panels of the last figure that was saved."""
    seen: list = []
    save = matplotlib.figure.Figure.savefig

    def saved(figure, *words, **more):
        seen[:] = [axis for axis in figure.axes if axis.axison]
        save(figure, *words, **more)

    monkeypatch.setattr(matplotlib.figure.Figure, "savefig", saved)
    return seen


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "runs" / "one"
    folder.mkdir(parents=True)
    (folder / "log.csv").write_text(LOG)
    shutil.copy(SHIPPED, folder / "last.safetensors")
    return folder


def command(*words: object) -> Result:
    return CliRunner().invoke(cli, ["plot", *map(str, words)])


@pytest.mark.integration
def test_run_has_curves_and_lambdas(run: Path, axes: list) -> None:
    assert command(run).exit_code == 0
    assert (run / "curves.png").stat().st_size > 1000
    assert [axis.get_ylabel() for axis in axes] == [*CURVES.values(), "λ (Eq. 9)"]
    assert list(axes[1].lines[0].get_ydata()) == [30, 31]


def test_plot_has_its_own_help() -> None:
    told = command("--help")
    assert told.exit_code == 0
    assert "plot [OPTIONS] RUN..." in told.stdout
    assert "--recipe" not in told.stdout


@pytest.mark.integration
def test_ticks_are_at_whole_blocks(run: Path, axes: list, tmp_path: Path) -> None:
    plot_runs({"one": run}, output=tmp_path / "a.svg")
    ticks = axes[-1].get_xticks()
    assert all(tick == round(tick) for tick in ticks)
    expected = lambdas(read_weights(SHIPPED))
    assert {line.get_label(): list(line.get_ydata()) for line in axes[-1].lines} == {
        FACTOR_NAMES[name]: values for name, values in expected.items()
    }


@pytest.mark.integration
def test_runs_share_panels_and_files_have_their_own(run: Path, axes: list, tmp_path: Path) -> None:
    other = shutil.copytree(run, run.parent / "two")
    (other / "last.safetensors").write_bytes(write_weights(to_weights(A2F(ablation_of("baseline-mp", scale=2)))))
    idn = shutil.copytree(run, run.parent / "idn")
    (idn / "last.safetensors").write_bytes(write_network(open_network("idn", scale=2)))
    assert command(run, other, idn, SHIPPED, "-o", tmp_path / "all.pdf").exit_code == 0
    assert [line.get_label() for line in axes[0].lines] == ["one", "two", "idn"]
    assert len({(line.get_color(), line.get_linestyle()) for line in axes[0].lines}) == 3
    assert [axis.get_title() for axis in axes[3:]] == ["one", "two", "a2f_sd_x4"]
    assert [line.get_label() for line in axes[4].lines] == [
        FACTOR_NAMES["res"],
        FACTOR_NAMES["x"],
    ]  # baseline-mp has no such factor


def test_single_weights_file(axes: list, tmp_path: Path) -> None:
    assert command(SHIPPED, "-o", tmp_path / "f.svg").exit_code == 0
    assert [axis.get_title() for axis in axes] == ["a2f_sd_x4"]


@pytest.mark.integration
@pytest.mark.parametrize(
    ("weights", "note"),
    [(None, "cannot read weights"), (b"", "no λ: "), ("idn", "the network is not A²F")],
    ids=["none", "damaged", "idn"],
)
def test_missing_data_is_reported_and_the_rest_is_drawn(weights, note: str, tmp_path: Path, axes: list) -> None:
    (tmp_path / "log.csv").write_text("step,loss,lr,psnr_y_jpeg\n100,0.5,1e-3,nan\n200,nan,1e-3,nan\n")
    if weights == "idn":
        weights = write_network(open_network("idn", scale=2))
    if weights is not None:
        (tmp_path / "last.safetensors").write_bytes(weights)
    notes = plot_runs({"one": tmp_path}, output=tmp_path / "curves.png")
    assert notes[1] == "one: the log has no validation PSNR-Y, dB"
    assert note in notes[0]
    assert [len(axis.lines) for axis in axes] == [1, 0, 1]
    (tmp_path / "log.csv").write_text("step,loss,lr\n")
    with pytest.raises(A2FError, match="has no line yet"):
        plot_runs({"one": tmp_path}, output=tmp_path / "curves.png")


@pytest.mark.integration
def test_the_psnr_of_jpeg_files_is_drawn_too(run: Path, axes: list, tmp_path: Path) -> None:
    (run / "log.csv").write_text("step,loss,lr,psnr_y,psnr_y_jpeg\n1,0.5,1e-3,30,27\n2,0.4,1e-3,31,28\n")
    assert plot_runs({"one": run}, output=tmp_path / "curves.png") == []
    assert [line.get_label() for line in axes[1].lines] == ["one", "one, JPEG files"]
    assert list(axes[1].lines[1].get_ydata()) == [27, 28]


@pytest.mark.integration
def test_few_points_have_ticks_at_whole_steps_that_do_not_touch(run: Path, axes: list, tmp_path: Path) -> None:
    for steps in ((1, 2), (10, 20), (19_500, 19_750, 20_000), (150_000, 1_200_000)):
        lines = "".join(f"{step},0.1,0.0005,31\n" for step in steps)
        (run / "log.csv").write_text("step,loss,lr,psnr_y\n" + lines)
        plot_runs({"one": run}, output=tmp_path / "a.png")
        axes[0].figure.draw_without_rendering()  # at the resolution at which it is measured
        for axis in axes[:3]:
            ticks = [tick for tick in axis.get_xticks() if steps[0] <= tick <= steps[-1]]
            assert all(tick == round(tick) for tick in ticks)
            boxes = [text.get_window_extent() for text in axis.get_xticklabels() if text.get_text()]
            assert all(a.x1 + 4 < b.x0 for a, b in pairwise(boxes))


@pytest.mark.integration
def test_no_label_touches_the_edge(run: Path, axes: list, tmp_path: Path) -> None:
    plot_runs({"one": run}, output=tmp_path / "a.png")
    axes[0].figure.draw_without_rendering()  # at the resolution at which it is measured
    whole = axes[0].figure.bbox
    assert all(axis.yaxis.label.get_window_extent().x0 >= 6 for axis in axes)
    assert all(axis.get_tightbbox().x1 <= whole.x1 - 6 for axis in axes)


@pytest.mark.integration
def test_bicubic_has_its_own_line(run: Path, axes: list, tmp_path: Path) -> None:
    (run / "log.csv").write_text("step,loss,lr,psnr_y,bicubic\n10,0.2,1e-3,30,28.5\n20,0.1,5e-4,31,28.5\n")
    plot_runs({"one": run}, output=tmp_path / "a.png")
    assert [line.get_label() for line in axes[1].lines] == ["one", "bicubic"]
    assert list(axes[1].lines[1].get_ydata()) == [28.5, 28.5]
    other = shutil.copytree(run, run.parent / "two")
    plot_runs({"one": run, "two": other}, output=tmp_path / "a.png")
    assert [line.get_label() for line in axes[1].lines] == ["one", "two", "bicubic"]  # of the same images: once
    (other / "log.csv").write_text("step,loss,lr,psnr_y,bicubic\n10,0.2,1e-3,30,27\n")
    plot_runs({"one": run, "two": other}, output=tmp_path / "a.png")
    labels = {line.get_label(): line for line in axes[1].lines}
    assert list(labels) == ["one", "two", "bicubic of one", "bicubic of two"]
    for name in ("one", "two"):
        assert labels[f"bicubic of {name}"].get_color() == labels[name].get_color()
        left, right = labels[f"bicubic of {name}"].get_xdata()
        assert left < right  # a run with one evaluation too
    third = shutil.copytree(run, run.parent / "three")
    plot_runs({"one": run, "two": other, "three": third}, output=tmp_path / "a.png")
    told = [line.get_label() for line in axes[1].lines]
    assert told == ["one", "two", "three", "bicubic of one, three", "bicubic of two"]


@pytest.mark.integration
def test_existing_picture_is_replaced_only_on_request(run: Path, tmp_path: Path) -> None:
    picture = tmp_path / "mine.png"
    picture.write_bytes(b"mine")
    refused = command(run, "-o", picture)
    assert isinstance(refused.exception, OutputExistsError)
    assert picture.read_bytes() == b"mine"
    assert command(run, "-o", picture, "--overwrite").exit_code == 0
    assert picture.stat().st_size > 1000
    assert [command(run).exit_code for _ in range(2)] == [0, 0]  # RUN/curves.png follows the run


def test_undrawable_inputs_are_refused(run: Path, tmp_path: Path) -> None:
    assert command(SHIPPED).exit_code == 2
    assert "give an output" in command(run, SHIPPED).output
    assert "Missing argument 'RUN...'" in command().output
    path = tmp_path / "idn.safetensors"
    path.write_bytes(write_network(open_network("idn", scale=2)))
    with pytest.raises(A2FError, match="nothing to draw"):
        plot_runs({"idn": path}, output=tmp_path / "a.png")
    with pytest.raises(A2FError, match=r"is not the folder of a training run \(it has no log.csv\)"):
        plot_runs({"none": tmp_path}, output=tmp_path / "a.png")
    with pytest.raises(ImageWriteError, match="cannot write"):
        plot_runs({"one": run}, output=path / "a.png")  # a file in place of a folder
