import re
from dataclasses import replace

import pytest

from a2f.errors import UnknownModelError, UsageError, did_you_mean
from a2f.profiling.cost import multi_adds
from a2f.variants import ABLATIONS, SCALES, VARIANTS, A2FConfig, ablation_of, config_of, count_parameters

# Table 6 and the paper's released networks, weight-norm gains included
PARAMETERS = {
    "s": (319_648, 324_433, 331_132),
    "sd": (313_372, 315_997, 319_672),
    "m": (998_584, 1_003_369, 1_010_068),
    "l": (1_362_628, 1_367_413, 1_374_112),
}


@pytest.mark.parametrize("variant", list(VARIANTS))
def test_parameters_of_table_6(variant: str) -> None:
    assert tuple(count_parameters(config_of(variant, scale=s)) for s in SCALES) == PARAMETERS[variant]


def test_parameters_of_table_2() -> None:
    assert count_parameters(ablation_of("baseline", scale=2)) == 1_189_572
    assert count_parameters(ablation_of("baseline-mp", scale=2)) == 1_337_656
    assert count_parameters(ablation_of("l-noca", scale=2)) == 1_328_836


@pytest.mark.parametrize(("kernel", "printed"), [(1, "319.2"), (3, "319.6"), (5, "320.4"), (7, "321.6")])
def test_parameters_of_table_3(kernel: int, printed: str) -> None:
    count = count_parameters(ablation_of(f"sd-head{kernel}", scale=4)) / 1000
    # printed with one digit, now rounded, now cut
    assert float(printed) in (round(count, 1), int(count * 10) / 10)


@pytest.mark.parametrize("name", ["s-baseline-mp", "s-noca-mp"])
def test_ablations_of_s_with_more_parameters_are_as_large_as_s(name: str) -> None:
    count = count_parameters(ablation_of(name, scale=4))
    assert count == pytest.approx(count_parameters(config_of("s", scale=4)), rel=0.003)
    fewer = count_parameters(ablation_of(name.removesuffix("-mp"), scale=4))
    assert fewer < count


def test_parameter_count_without_weight_norm() -> None:
    assert count_parameters(config_of("sd", scale=4), weight_norm=False) == 318_408


@pytest.mark.parametrize(("variant", "radius"), [("s", 10), ("sd", 18), ("m", 26), ("l", 34)])
def test_receptive_radius(variant: str, radius: int) -> None:
    assert config_of(variant, scale=2).receptive_radius_px == radius


def test_unknown_names_and_scales_are_refused() -> None:
    with pytest.raises(UnknownModelError, match="choose one of s, sd, m, l"):
        config_of("xl", scale=2)
    with pytest.raises(UnknownModelError, match="l-noca"):
        ablation_of("nothing", scale=2)
    with pytest.raises(UsageError, match="one of 2, 3, 4"):
        config_of("sd", scale=5)
    with pytest.raises(UsageError, match="attention without projection"):
        A2FConfig(variant="x", scale=2, channels=8, blocks=2, projection=False)
    with pytest.raises(UsageError, match="odd"):
        A2FConfig(variant="x", scale=2, channels=8, blocks=2, head_kernel=4)
    with pytest.raises(UsageError, match="factors"):
        A2FConfig(variant="x", scale=2, channels=8, blocks=2, factors=("res",))


def test_impossible_configurations_raise_errors() -> None:
    with pytest.raises(UnknownModelError, match="l-noca-mp cannot be built: the paper prints its size") as caught:
        ablation_of("l-noca-mp", scale=2)
    noca = ablation_of("l-noca", scale=2)
    for config in (noca, *(replace(noca, hidden=h) for h in (132, 133)), replace(noca, blocks=17)):
        size = round(count_parameters(config) / 1000)
        cost = multi_adds(config, width=640, height=360, convention="table6") / 1e9
        assert re.search(rf"{size}K(,| and) {cost:.1f}G", str(caught.value)), (size, cost)
        assert (size, round(cost, 1)) != (1368, 315.1)


@pytest.mark.parametrize(
    ("given", "hint"),
    [("CARN_M", "carn-m"), ("A2F-SD", "sd"), ("l-nocaa", "l-noca"), ("A²F-SD", "sd"), ("something else", "")],
)
def test_unknown_name_suggests_similar_names(given: str, hint: str) -> None:
    expected = f" (did you mean {hint!r}?)" if hint else ""
    assert did_you_mean(given, ["s", "sd", "l-noca", "carn-m"]) == expected


def test_ablation_names() -> None:
    assert all(config.variant == name for name, config in ABLATIONS.items())
