"""Refused options, and the share of a machine that a worker uses."""

import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from a2f.cli.main import cli
from a2f.distributed.cluster import Share, _reason, connect
from a2f.errors import A2FError, MissingExtraError, UsageError


def test_missing_ray_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"^--ray needs the package ray: pip install 'a2f\[ray\]'$"):
        connect("auto")


def test_a_proxy_is_refused() -> None:
    with pytest.raises(UsageError, match="start a2f on a machine of the cluster"):
        connect("ray://head:10001")


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (["-o", "out", "--watch"], "--watch works on this machine alone"),
        (["-o", "zip://::out.zip", "--journal", "j.sqlite"], "others cannot write"),
    ],
)
def test_options_that_a_cluster_does_not_support(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: list[str], told: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    result = CliRunner().invoke(cli, ["upscale", "in", *more, "--resume", "--ray"])
    assert isinstance(result.exception, A2FError)
    assert told in str(result.exception)


@pytest.mark.parametrize(
    ("share", "resources", "room"),
    [
        (Share(), {"CPU": 4.0, "memory": 8e9}, 4),
        (Share(cpus=0.5), {"CPU": 4.0}, 8),
        (Share(cpus=3), {"CPU": 4.0}, 1),
        (Share(gpus=0.25), {"CPU": 16.0, "GPU": 1.0}, 4),
        (Share(gpus=0.1), {"CPU": 16.0, "GPU": 1.0}, 10),
        (Share(gpus=1), {"CPU": 16.0}, 0),
        (Share(memory=3 * 10**9), {"CPU": 4.0, "memory": 8e9}, 2),
    ],
)
def test_number_of_workers_per_machine(share: Share, resources: dict[str, float], room: int) -> None:
    assert share.room(resources) == room


def test_worker_needs_a_cpu_or_gpu_share() -> None:
    with pytest.raises(UsageError, match="--ray-cpus or --ray-gpus"):
        Share(cpus=0)


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        ("died.\n\tpid: 5\nWorker exit type: SYSTEM_ERROR Worker exit detail: x", "its process ended: SYSTEM_ERROR"),
        ("Worker exit type: NODE_OUT_OF_MEMORY Worker exit detail: x", "its machine had no memory left"),
        ("first\n  last line \n", "last line"),
    ],
)
def test_reasons_for_the_end_of_a_worker(told: str, reason: str) -> None:
    assert _reason(told) == reason
