"""Google Cloud Storage, simulated by gcp-storage-emulator: `pip install gcsfs gcp-storage-emulator`."""

import os
import socket
from collections.abc import Iterator

import pytest
from tests.batch.test_remote import Run

from a2f.batch.remote import Remote


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An empty bucket."""
    emulator = pytest.importorskip("gcp_storage_emulator.server", reason="needs gcp-storage-emulator")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
    gcsfs = pytest.importorskip("gcsfs", reason="needs gcsfs")
    server = emulator.create_server("127.0.0.1", port, in_memory=True, default_bucket="pictures")
    server.start()
    gcsfs.GCSFileSystem.clear_instance_cache()
    yield "gs://pictures"
    server.stop()


def test_bucket_to_bucket_and_only_missing_results_again(batch, bucket: str) -> None:
    places = Remote(pause=lambda seconds: None)
    large = os.urandom(400_000)
    for name, data in (("a.png", large), ("deep/b.png", b"b")):
        with places.writing(f"{bucket}/in/{name}") as path:
            path.write_bytes(data)
    assert places.state(f"{bucket}/in/none.png") is None
    assert Run(batch, f"{bucket}/in", f"{bucket}/out").counts == {"done": 2}
    with places.reading(f"{bucket}/out/a_x4.png") as path:
        assert path.read_bytes() == large + b"{}"
    Run(batch, f"{bucket}/in", f"{bucket}/out")
    assert batch.worked == []
    with places.writing(f"{bucket}/in/deep/b.png") as path:
        path.write_bytes(b"changed")
    Run(batch, f"{bucket}/in", f"{bucket}/out")
    assert batch.worked == ["b.png"]
