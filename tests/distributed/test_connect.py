"""Joining a cluster: an address that does not answer is one error after a bounded time."""

import os
import socket
import sys
import types
from collections.abc import Iterator
from pathlib import Path

import pytest

from a2f.distributed import cluster
from a2f.errors import UsageError


@pytest.fixture(autouse=True)
def no_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    """A package that can be imported but must not be called."""
    monkeypatch.setitem(sys.modules, "ray", types.ModuleType("ray"))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    """A port that accepts connections and sends nothing."""
    server = socket.create_server(("127.0.0.1", 0))
    yield server
    server.close()


def scripts(folder: Path, monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    """A substitute for Ray's command line."""
    (folder / "ray/scripts").mkdir(parents=True)
    for name in ("ray/__init__.py", "ray/scripts/__init__.py"):
        (folder / name).touch()
    (folder / "ray/scripts/scripts.py").write_text(code)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")]))


@pytest.mark.parametrize("by_environment", [False, True])
def test_refused_connection(monkeypatch: pytest.MonkeyPatch, by_environment: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    address = f"127.0.0.1:{port}"
    if by_environment:
        monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(UsageError, match=f"no Ray cluster answers at {address} .*: start one with `ray start --head`"):
        cluster.connect("auto" if by_environment else address)


def test_silent_port(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, listening: socket.socket) -> None:
    scripts(tmp_path, monkeypatch, "import time\ntime.sleep(600)\n")
    monkeypatch.setattr(cluster, "MAX_ANSWER_S", 0.5)
    address = f"127.0.0.1:{listening.getsockname()[1]}"
    with pytest.raises(UsageError, match=rf"no Ray cluster answers at {address} \(no answer in 0.5 s\)"):
        cluster.connect(address)


def test_last_line_of_ray_is_the_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scripts(
        tmp_path,
        monkeypatch,
        "import sys\nprint('a log line', file=sys.stderr)\nsys.exit('ConnectionError: no instance. Set it.')\n",
    )
    with pytest.raises(UsageError, match=r"no Ray cluster answers on this machine \(no instance\)"):
        cluster.connect("auto")


def test_ray_is_asked_for_the_given_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, listening: socket.socket
) -> None:
    scripts(
        tmp_path, monkeypatch, f"import sys\nopen({str(tmp_path / 'asked')!r}, 'w').write(' '.join(sys.argv[1:]))\n"
    )
    joined: list[str] = []
    monkeypatch.setattr(sys.modules["ray"], "init", lambda address, **how: joined.append(address), raising=False)
    address = f"127.0.0.1:{listening.getsockname()[1]}"
    cluster.connect(address)
    assert ((tmp_path / "asked").read_text(), joined) == (f"status --address {address}", [address])
