"""Temporal gates: gates smoothed over earlier frames."""

import numpy as np
import pytest

from a2f.errors import UsageError
from a2f.runtime import load_engine
from a2f.video.temporal import CUT, TemporalUpscaler
from a2f.weights import find_weights

WEIGHTS = find_weights("sd", scale=2)


def frames(count: int) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    base = np.linspace(0.2, 0.8, 20 * 24 * 3, dtype=np.float32).reshape(20, 24, 3)
    return [(base + rng.normal(0, 0.02, base.shape)).clip(0, 1).astype(np.float32) for _ in range(count)]


def test_share_of_one_equals_the_engine() -> None:
    engine, temporal = load_engine(WEIGHTS, threads=1), TemporalUpscaler(WEIGHTS, threads=1, share=1)
    for frame in frames(3):
        assert np.abs(temporal(frame) - engine(frame)).max() < 1e-5


def test_first_frame_of_a_scene_uses_only_its_own_gates() -> None:
    engine, temporal = load_engine(WEIGHTS, threads=1), TemporalUpscaler(WEIGHTS, threads=1, share=0.25)
    first, second = frames(2)
    assert np.abs(temporal(first) - engine(first)).max() < 1e-5
    assert np.abs(temporal(second) - engine(second)).max() > 1e-5
    other = 1 - first
    assert np.abs(other - second).mean() > CUT
    assert np.abs(temporal(other) - engine(other)).max() < 1e-5
    temporal.reset()
    assert np.abs(temporal(second) - engine(second)).max() < 1e-5


def test_earlier_frames_have_decreasing_weights() -> None:
    temporal, engine = TemporalUpscaler(WEIGHTS, threads=1, share=0.5), load_engine(WEIGHTS, threads=1)
    first, second = frames(2)
    temporal(first)
    off = [float(np.abs(temporal(second) - engine(second)).max()) for _ in range(5)]
    assert off == sorted(off, reverse=True)
    assert off[-1] < off[0] / 4


def test_invalid_shares_are_refused() -> None:
    for share in (0, 1.5):
        with pytest.raises(UsageError, match="share"):
            TemporalUpscaler(WEIGHTS, threads=1, share=share)
