"""The numbers of Tables 5 and 6, to the printed digit."""

import json

import pytest
import torch
from click.testing import CliRunner

from a2f.cli.main import cli
from a2f.errors import UsageError
from a2f.model.a2f import A2F, to_weights
from a2f.profiling.cost import activations, lr_size, multi_adds
from a2f.profiling.latency import measure_latency
from a2f.profiling.peak import measure_peak_memory
from a2f.variants import ABLATIONS, SCALES, VARIANTS, ablation_of, config_of

TABLE_6 = {  # G, x2 x3 x4
    "s": (71.68, 32.30, 18.58),
    "sd": (71.18, 31.85, 18.15),
    "m": (224.21, 99.98, 56.71),
    "l": (306.14, 136.34, 77.19),
}


@pytest.mark.parametrize("variant", list(VARIANTS))
@pytest.mark.parametrize("scale", SCALES)
def test_multi_adds_of_table_6(variant: str, scale: int) -> None:
    config = config_of(variant, scale=scale)
    width, height = lr_size(config.scale)
    printed = TABLE_6[variant][SCALES.index(scale)]
    assert round(multi_adds(config, width=width, height=height, convention="table6") / 1e9, 2) == printed
    assert 0.985 < multi_adds(config, width=width, height=height) / 1e9 / printed < 1


def test_multi_adds_of_table_2() -> None:
    for name, printed in (("baseline", 273.9), ("baseline-mp", 308.0), ("l-noca", 306.0)):
        config = ablation_of(name, scale=2)
        assert round(multi_adds(config, width=640, height=360, convention="table6") / 1e9, 1) == pytest.approx(
            printed, abs=0.11
        )


@pytest.mark.parametrize(("variant", "printed"), [("sd", 0.321), ("l", 1.370)])
def test_gflops_of_table_5(variant: str, printed: float) -> None:
    config = config_of(variant, scale=4)
    got = multi_adds(config, width=32, height=32, convention="table5") / 1e9
    assert got == pytest.approx(printed, abs=0.001)  # 0.3216 and 1.3697: one is printed cut, the other rounded


@pytest.mark.parametrize("config", [config_of("sd", scale=3), *ABLATIONS.values()], ids=lambda c: c.variant)
def test_convolutions_are_counted_as_they_run(config) -> None:
    """Count each convolution of the real network when it runs."""
    model, total = A2F(config), 0

    def count(module: torch.nn.Conv2d, given: tuple[torch.Tensor, ...], out: torch.Tensor) -> None:
        nonlocal total
        total += out.numel() * module.weight[0].numel()

    for module in model.modules():
        if isinstance(module, torch.nn.Conv2d):
            module.register_forward_hook(count)
    with torch.inference_mode():
        model(torch.rand(1, 3, 7, 9))
    assert multi_adds(config, width=9, height=7) == total


@pytest.mark.parametrize("config", [config_of("sd", scale=3), *ABLATIONS.values()], ids=lambda c: c.variant)
def test_activations_are_counted_as_they_are_made(config) -> None:
    model, total = A2F(config), 0

    def count(module: torch.nn.Conv2d, given: tuple[torch.Tensor, ...], out: torch.Tensor) -> None:
        nonlocal total
        total += out.numel()

    for module in model.modules():
        if isinstance(module, torch.nn.Conv2d):
            module.register_forward_hook(count)
    with torch.inference_mode():
        model(torch.rand(1, 3, 7, 9))
    assert activations(config, width=9, height=7) == total


def test_latency_counts_runs() -> None:
    class Counter:
        scale, description, calls = 2, "counter", 0

        def __call__(self, image):
            self.calls += 1
            return image

    one, two = Counter(), Counter()
    found = measure_latency({"one": one, "two": two}, width=4, height=4, rounds=3)
    assert (one.calls, two.calls) == (9, 9)
    assert found["one"].runs == 6
    assert found["one"].fastest_s <= found["one"].median_s <= found["one"].slowest_s


def test_command() -> None:
    run = CliRunner()
    rows = json.loads(run.invoke(cli, ["profile", "--paper", "--json"]).output)
    assert len(rows) == 12
    assert [row["multi_adds_g"] for row in rows if row["model"] == "sd"] == list(TABLE_6["sd"])
    text = run.invoke(cli, ["profile", "baseline", "-s", "2"]).output
    assert "1,189,572" in text
    assert run.invoke(cli, ["profile", "nothing"]).exit_code != 0


@pytest.mark.integration
def test_measured_command() -> None:
    run = CliRunner()
    measured = ["profile", "sd", "-s", "4", "--latency", "--memory", "--rounds", "1", "--threads", "2"]
    (row,) = json.loads(run.invoke(cli, [*measured, "--json"]).output)
    assert row["fastest_s"] <= row["median_s"] <= row["slowest_s"]
    assert row["ratio"] == pytest.approx(row["reference_s"] / row["median_s"], abs=0.02)
    assert "torch" in row["reference"]
    features = 4 * 16 * 9 * 320 * 180 / 1e6  # x_0 .. x_8 of SD, 16 channels each, alive until the last block
    assert features < row["peak_memory_mb"] < 20 * features
    text = run.invoke(cli, [*measured, "--engine", "torch", "--dtype", "bfloat16", "--reference", "onnxruntime"]).output
    assert "in turns with onnxruntime" in text
    assert "torch" in text
    assert "bfloat16" in text


@pytest.mark.integration
def test_peak_memory_grows_with_the_image() -> None:
    config = config_of("sd", scale=2)
    weights = to_weights(A2F(config))
    how = {"engine": "torch", "device": "cpu", "dtype": "float32", "threads": 1}
    small, large = (measure_peak_memory(weights, width=side, height=side, **how) for side in (150, 450))
    assert 4 < large / small < 16  # 9 times the pixels
    how |= {"engine": "onnxruntime"}
    with pytest.raises(UsageError, match="with --engine torch only"):
        measure_peak_memory(weights, width=8, height=8, **{**how, "device": "cuda"})
