import re
from contextlib import suppress

import numpy as np
import pytest

from a2f.errors import EngineError, MemoryLimitError, UsageError
from a2f.export.fold import fold
from a2f.runtime import Limits, load_engine, memory, onnx_engine, plan
from a2f.runtime.plan import make_plan, needed_bytes
from a2f.variants import config_of
from a2f.weights import find_shipped, read_weights


@pytest.fixture(scope="module")
def weights():
    return read_weights(find_shipped("sd", scale=2).path)


def test_estimate_of_a_whole_run_grows_with_pixels_and_network() -> None:
    small, large = config_of("sd", scale=2), config_of("l", scale=4)
    assert memory.whole_bytes(small, height=100, width=200) == pytest.approx(
        2 * memory.whole_bytes(small, height=100, width=100), rel=1e-6
    )
    assert memory.whole_bytes(large, height=100, width=100) > memory.whole_bytes(small, height=100, width=100)


def test_features_go_to_a_file_when_they_do_not_fit(weights) -> None:
    net, how = fold(weights), {"height": 3000, "width": 4000, "threads": 2}
    roomy = make_plan(net, **how, limits=Limits(max_memory_bytes=16 * 10**9))
    tight = make_plan(net, **how, limits=Limits(max_memory_bytes=memory.resident_bytes() + 600 * 10**6))
    assert not roomy.in_file
    assert tight.in_file
    assert needed_bytes(net, tight, **how) <= 601 * 10**6
    assert needed_bytes(net, roomy, **how) > 3 * 10**9


def test_jobs_share_the_memory(weights) -> None:
    net, how = fold(weights), {"height": 1000, "width": 1000, "threads": 2}
    allowed = memory.resident_bytes() + 700 * 10**6
    assert not make_plan(net, **how, limits=Limits(max_memory_bytes=allowed)).in_file
    assert make_plan(net, **how, limits=Limits(max_memory_bytes=allowed, jobs=3)).in_file


@pytest.mark.integration
def test_too_little_memory_is_refused_with_the_least_that_works(weights, monkeypatch) -> None:
    monkeypatch.setattr(plan, "resident_bytes", lambda: 40 * 10**6)  # what it has must not change between the tries
    image = np.random.default_rng(0).random((300, 400, 3), dtype=np.float32)
    with pytest.raises(MemoryLimitError, match=r"400 x 300 pixels at x2 .* at least \d+ MB") as caught:
        load_engine(weights, threads=2, limits=Limits(max_memory_bytes=50 * 10**6))(image)
    least = int(re.search(r"(\d+) MB", str(caught.value))[1]) * 10**6
    sr = load_engine(weights, threads=2, limits=Limits(max_memory_bytes=least))(image)
    assert (sr == load_engine(weights, threads=2, limits=Limits(tile_px=50))(image)).all()
    with pytest.raises(MemoryLimitError, match="at least"):
        load_engine(weights, threads=2, limits=Limits(max_memory_bytes=least - 40 * 10**6))(image)


def test_a_tile_that_was_asked_for_is_never_changed(weights) -> None:
    plan = make_plan(fold(weights), height=999, width=999, threads=2, limits=Limits(tile_px=333))
    assert (plan.tile_height, plan.tile_width) == (333, 333)
    limits = Limits(tile_px=900, max_memory_bytes=memory.resident_bytes() + 100 * 10**6)
    with pytest.raises(MemoryLimitError, match="a smaller --tile"):
        make_plan(fold(weights), height=999, width=999, threads=2, limits=limits)


@pytest.mark.parametrize("bad", [{"tile_px": -1}, {"tile_px": 3}, {"max_memory_bytes": 0}])
def test_senseless_limits(bad: dict) -> None:
    with pytest.raises(UsageError, match=r"at least [14]"):
        Limits(**bad)


def test_limits_are_not_for_engines_that_run_images_whole(weights) -> None:
    with pytest.raises(EngineError, match="runs images whole"):
        load_engine(weights, device="cuda", limits=Limits(tile_px=64))
    with pytest.raises(EngineError, match="exact gates only"):
        load_engine(weights, engine="torch", limits=Limits(gates="sampled"))


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        (Limits(), False),
        (Limits(max_memory_bytes=10**10), False),
        (Limits(alone=False), False),
        (Limits(max_memory_bytes=10**10, alone=False), True),
    ],
)
def test_engines_that_share_a_bound_keep_nothing_between_small_images(weights, monkeypatch, limits, expected) -> None:
    given_back: list[bool] = []

    class Session:
        def run(self, names, inputs, options):
            with suppress(RuntimeError):  # without such an entry
                given_back.append(options.get_run_config_entry("memory.enable_memory_arena_shrinkage") == "cpu:0")
            return [np.zeros((1, 3, 16, 20), np.float32)]

    monkeypatch.setattr(onnx_engine, "make_session", lambda *rest, **how: Session())
    load_engine(weights, threads=1, limits=limits)(np.zeros((8, 10, 3), np.float32))
    assert given_back == ([True] if expected else [])


def test_this_machine_has_memory() -> None:
    available = memory.available_bytes()
    assert available is None or available > 100e6
    assert 10e6 < memory.resident_bytes() < 1e12
