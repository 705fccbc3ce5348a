import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from a2f.errors import UnknownModelError, WeightsError
from a2f.variants import SCALES, VARIANTS, A2FConfig, ablation_of, config_of, count_parameters
from a2f.weights import (
    Weights,
    expected_shapes,
    find_shipped,
    read_weights,
    rounded_to_half,
    shipped_models,
    weights_from_bytes,
    write_weights,
)


def random_weights(config: A2FConfig, seed: int = 0) -> Weights:
    rng = np.random.default_rng(seed)
    shapes = expected_shapes(config)
    return Weights(
        config=config, tensors={n: rng.normal(0, 0.1, s).astype(np.float32) for n, s in shapes.items()}, metadata={}
    )


def test_tensor_shapes_match_the_folded_parameters() -> None:
    for variant in VARIANTS:
        for scale in SCALES:
            config = config_of(variant, scale=scale)
            total = sum(int(np.prod(shape)) for shape in expected_shapes(config).values())
            assert total == count_parameters(config, weight_norm=False)


@pytest.mark.parametrize("name", ["baseline", "baseline-mp", "l-noca", "sd-head1", "sd-head7"])
def test_round_trip_of_ablations(name: str) -> None:
    given = random_weights(ablation_of(name, scale=2))
    back = weights_from_bytes(write_weights(given), name="x")
    assert back.config == given.config
    for key, value in given.tensors.items():
        np.testing.assert_array_equal(back.tensors[key], value)


@pytest.mark.parametrize("model", shipped_models(), ids=lambda m: m.file)
def test_shipped_files_match_the_index(model) -> None:
    weights = read_weights(model.path)
    assert weights.sha256 == model.sha256
    assert (weights.config.variant, weights.config.scale) == (model.variant, model.scale)
    assert count_parameters(weights.config) == model.parameters
    assert weights.metadata["licence"] == model.licence
    assert set(model.psnr_y) == {"Set5", "Set14", "B100"}
    card = model.path.with_suffix(".md").read_text(encoding="utf-8")
    assert model.sha256 in card
    assert f"{model.psnr_y['Set5']:.3f}" in card
    assert weights.name == model.name
    if model.kind == "robust":  # `-m auto` goes by it
        assert model.jpeg_below > 0
        assert {"75", "50"} <= model.jpeg_psnr_y.keys()


def test_unknown_model_error_lists_all_models() -> None:
    with pytest.raises(UnknownModelError, match=r"^sd-robust has no weights for x3\. Choose one of: s x2, s x3"):
        find_shipped("sd-robust", scale=3)


def test_all_networks_of_the_paper_are_shipped() -> None:
    clean = {(model.variant, model.scale) for model in shipped_models() if model.kind == "clean"}
    assert clean == {(variant, scale) for variant in VARIANTS for scale in SCALES}


def test_half_precision_files_return_the_rounded_values() -> None:
    given = random_weights(config_of("s", scale=2))
    rounded = rounded_to_half(given)
    blob = write_weights(rounded, half=True)
    back = weights_from_bytes(blob, name="w")
    assert len(blob) < 0.52 * len(write_weights(given))
    for key, value in given.tensors.items():
        assert back.tensors[key].dtype == np.float32
        np.testing.assert_array_equal(back.tensors[key], rounded.tensors[key])
        np.testing.assert_allclose(back.tensors[key], value, rtol=2**-11, atol=2**-25)


@pytest.fixture
def blob() -> bytes:
    return write_weights(random_weights(config_of("s", scale=2)))


def test_damaged_files(blob: bytes, tmp_path) -> None:
    for cut in (0, 4, 100, len(blob) // 2, len(blob) - 1):
        with pytest.raises(WeightsError, match="not a complete safetensors file"):
            weights_from_bytes(blob[:cut], name="w")
    with pytest.raises(WeightsError, match="No such file"):
        read_weights(tmp_path / "none")
    with pytest.raises(WeightsError, match="cannot read"):
        read_weights(tmp_path)


def test_foreign_files(blob: bytes) -> None:
    with pytest.raises(WeightsError, match="names no known network"):
        weights_from_bytes(save({"a": np.zeros(3, np.float32)}), name="w")
    with pytest.raises(WeightsError, match="misses blocks"):
        weights_from_bytes(save({"a": np.zeros(3, np.float32)}, metadata={"variant": "s", "scale": "2"}), name="w")
    for config in (
        "[]",
        "7",
        '{"variant": "s"}',
        "{",
        json.dumps({"variant": "s", "scale": 9, "channels": 32, "blocks": 4}),
    ):
        with pytest.raises(WeightsError, match="names no known network"):
            weights_from_bytes(save({"a": np.zeros(3, np.float32)}, metadata={"config": config}), name="w")


def test_wrong_tensors(blob: bytes) -> None:
    good = random_weights(config_of("s", scale=2))

    def spoiled(name: str, value: np.ndarray) -> bytes:
        return save({**good.tensors, name: value}, metadata={"variant": "s", "scale": "2"})

    with pytest.raises(WeightsError, match=r"tail\.bias has shape \(27,\), a2f s needs \(12,\)"):
        weights_from_bytes(spoiled("tail.bias", np.zeros(27, np.float32)), name="w")
    with pytest.raises(WeightsError, match=r"tail\.bias is int64"):
        weights_from_bytes(spoiled("tail.bias", np.zeros(12, np.int64)), name="w")
    with pytest.raises(WeightsError, match="NaN or infinity"):
        weights_from_bytes(spoiled("tail.bias", np.full(12, np.nan, np.float32)), name="w")
    with pytest.raises(WeightsError, match="unexpected extra"):
        weights_from_bytes(spoiled("extra", np.zeros(1, np.float32)), name="w")


@pytest.mark.parametrize(
    ("key", "value"),
    [("blocks", 10**9), ("blocks", 8.0), ("scale", 2.0), ("attention", "no"), ("variant", 5), ("variant", "a\x1b[2J")],
)
def test_invalid_configurations(key: str, value: object, tmp_path: Path) -> None:
    weights = read_weights(find_shipped("sd", scale=2).path)
    config = {**asdict(weights.config), key: value}
    path = tmp_path / "bent.safetensors"
    path.write_bytes(save(dict(weights.tensors), metadata={"format": "a2f", "config": json.dumps(config)}))
    with pytest.raises(WeightsError):
        read_weights(path)


def test_error_names_the_network_of_another_file() -> None:
    values = {"a": np.zeros(1, np.float32)}
    for network, whose in (("imdn", "a network of another paper"), ("my.py:Net", "a network of your own")):
        blob = save(values, metadata={"format": "a2f-network-1", "network": network, "scale": "4"})
        with pytest.raises(WeightsError) as told:
            weights_from_bytes(blob, name="x.safetensors")
        assert str(told.value) == (
            f"x.safetensors holds {network}, {whose}. "
            "Only A²F networks can be used here: use a2f eval, a2f export or a2f figure crops."
        )
