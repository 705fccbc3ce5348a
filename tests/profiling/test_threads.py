"""Engines in one comparison use equal numbers of threads."""

import json

import pytest
import torch
from click.testing import CliRunner

from a2f.cli.main import cli
from a2f.errors import UsageError
from a2f.profiling.latency import threads_of_run
from a2f.runtime import default_threads


@pytest.fixture
def threads_of_torch():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.integration
@pytest.mark.parametrize("variable", [None, "1", "2"])
def test_both_engines_get_equal_thread_counts(variable, threads_of_torch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if variable:
        monkeypatch.setenv("OMP_NUM_THREADS", variable)
    monkeypatch.setattr("a2f.profiling.cost.OUTPUT", (256, 144))
    torch.set_num_threads(1)  # torch reads the variable when it is loaded
    expected = int(variable) if variable else default_threads()
    words = ["profile", "sd", "-s", "4", "--latency", "--rounds", "1", "--reference", "torch", "--json"]
    (row,) = json.loads(CliRunner().invoke(cli, words).stdout)
    assert row["threads"] == expected
    for engine in (row["engine"], row["reference"]):
        assert f"{expected} thread{'s' if expected > 1 else ''}" in engine


def test_the_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert threads_of_run(None) == 3
    assert threads_of_run(5) == 5
    monkeypatch.setenv("OMP_NUM_THREADS", "")
    assert threads_of_run(None) == default_threads()
    for wrong in ("0", "two", "1,2"):
        monkeypatch.setenv("OMP_NUM_THREADS", wrong)
        with pytest.raises(UsageError, match="a whole number greater than 0"):
            threads_of_run(None)
