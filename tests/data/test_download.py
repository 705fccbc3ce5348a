"""Downloads from a server with all kinds of faults."""

import hashlib
import io
import json
import re
import shutil
import tarfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

import a2f.data.fetch as fetch_module
from a2f.data.download import Listener, download, obtain
from a2f.data.fetch import TRIES, Partial, fetch
from a2f.data.sources import Archive, Part
from a2f.errors import ArchiveError, DownloadError

DATA = bytes(range(256)) * 3000  # 768,000 bytes


class Server(ThreadingHTTPServer):
    """Serves `files`, and each `fault` once in turn.

    A fault is a status code, or the number of bytes to send before closing (negative: before falling silent).
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {"/f.bin": DATA}
        self.faults: list[int] = []
        self.ranges = True
        self.version = "etag"
        self.lengths = True
        self.shift = 0
        self.over = threading.Event()
        self.asked: list[str | None] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        server, wanted = self.server, self.headers.get("Range")
        server.asked.append(wanted)
        body = server.files.get(self.path)
        fault = server.faults.pop(0) if server.faults else None
        if body is None or (fault is not None and 400 <= fault < 600):
            self.send_response(fault or 404)
            self.send_header("Retry-After", "7")
            self.end_headers()
            return
        etag = f'"{hashlib.md5(body).hexdigest()}"'
        start = 0
        date = "Tue, 24 Nov 2020 10:00:00 GMT"
        if wanted and server.ranges and self.headers.get("If-Range") in (etag, date):
            start = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1])
        if start and start >= len(body):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(body)}")
            self.end_headers()
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start + server.shift}-{len(body) - 1}/{len(body)}")
        if server.version in ("etag", "weak"):
            self.send_header("ETag", etag if server.version == "etag" else f"W/{etag}")
        if server.version == "date":
            self.send_header("Last-Modified", date)
        if server.lengths:
            self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        self.wfile.write(body[start:] if fault is None else body[start : start + abs(fault)])
        if fault is not None and fault < 0:
            server.over.wait(5)


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.over.set()
        running.shutdown()
        thread.join()


class Ear:
    """Records messages and waits, without real waiting."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.pauses: list[float] = []
        self.progress: list[tuple[int, int | None]] = []

    @property
    def listener(self) -> Listener:
        return Listener(tell=self.told.append, report=lambda name, done, total: self.progress.append((done, total)))

    def fetch(self, server: Server, part: Path, size_bytes: int | None = None) -> bytes:
        fetch(
            f"{server.url}/f.bin",
            Partial(part),
            size_bytes=size_bytes,
            report=lambda done, total: self.progress.append((done, total)),
            tell=self.told.append,
            pause=self.pauses.append,
        )
        return part.read_bytes()


@pytest.fixture
def ear() -> Ear:
    return Ear()


# fetching


def test_complete_file(server: Server, tmp_path: Path, ear: Ear) -> None:
    assert ear.fetch(server, tmp_path / "f.part", len(DATA)) == DATA
    assert server.asked == [None]
    assert ear.progress[0] == (0, len(DATA))
    assert ear.progress[-1] == (len(DATA), len(DATA))
    assert [done for done, _ in ear.progress] == sorted({done for done, _ in ear.progress})


def test_a_cut_connection_is_resumed(server: Server, tmp_path: Path, ear: Ear) -> None:
    server.faults = [300_000, 100_000]
    assert ear.fetch(server, tmp_path / "f.part") == DATA
    assert server.asked == [None, "bytes=300000-", "bytes=400000-"]
    assert ear.pauses == [1, 1]  # each try got further
    assert ear.told[0] == "the connection ended after 300,000 of 768,000 bytes; again in 1 s"


def test_silent_server_is_asked_again(server: Server, tmp_path: Path, ear: Ear, monkeypatch) -> None:
    monkeypatch.setattr(fetch_module, "TIMEOUT_S", 0.1)
    monkeypatch.setattr(fetch_module, "BLOCK_BYTES", 1000)
    server.faults = [-300_000]
    assert ear.fetch(server, tmp_path / "f.part") == DATA
    assert server.asked == [None, "bytes=300000-"]
    assert ear.told == ["the connection broke after 300,000 bytes: timed out; again in 1 s"]


def test_truncation_is_detected_by_the_known_size(server: Server, tmp_path: Path, ear: Ear) -> None:
    server.lengths = False
    server.faults = [300_000]
    assert ear.fetch(server, tmp_path / "f.part", len(DATA)) == DATA
    assert server.asked == [None, "bytes=300000-"]


def test_wrong_content_range_is_refused(server: Server, tmp_path: Path, ear: Ear) -> None:
    server.faults, server.shift = [300_000], 1
    assert ear.fetch(server, tmp_path / "f.part") == DATA
    assert server.asked == [None, "bytes=300000-", None]
    assert ear.told[1] == "the server sent another part than requested; again in 2 s"


def test_server_without_ranges_restarts_the_download(server: Server, tmp_path: Path, ear: Ear) -> None:
    server.ranges = False
    server.faults = [300_000]
    assert ear.fetch(server, tmp_path / "f.part") == DATA
    assert server.asked == [None, "bytes=300000-"]


@pytest.mark.parametrize(("version", "again"), [("date", "bytes=300000-"), ("weak", None), ("none", None)])
def test_download_resumes_only_with_a_strong_validator(
    server: Server, tmp_path: Path, ear: Ear, version: str, again: str | None
) -> None:
    server.version = version
    server.faults = [300_000]
    assert ear.fetch(server, tmp_path / "f.part") == DATA
    assert server.asked == [None, again]


def test_a_file_that_changed_between_tries_is_not_mixed(server: Server, tmp_path: Path, ear: Ear) -> None:
    server.faults = [300_000]
    part, new = tmp_path / "f.part", DATA[::-1][:500_000]

    def change(seconds: float) -> None:
        server.files["/f.bin"] = new

    fetch(f"{server.url}/f.bin", Partial(part), report=lambda *a: None, tell=ear.told.append, pause=change)
    assert part.read_bytes() == new


def test_partial_file_of_another_address_is_not_used(server: Server, tmp_path: Path, ear: Ear) -> None:
    part = Partial(tmp_path / "f.part")
    part.path.write_bytes(b"other" * 100)
    part.note.write_text(json.dumps({"url": "http://elsewhere/f.bin", "validator": '"x"'}))
    assert ear.fetch(server, part.path) == DATA
    assert server.asked == [None]


def test_partial_file_that_is_already_complete(server: Server, tmp_path: Path, ear: Ear) -> None:
    ear.fetch(server, tmp_path / "f.part")
    assert ear.fetch(server, tmp_path / "f.part") == DATA
    assert server.asked == [None, f"bytes={len(DATA)}-"]
    with (tmp_path / "f.part").open("ab") as file:
        file.write(b"too much")
    assert ear.fetch(server, tmp_path / "f.part") == DATA


@pytest.mark.parametrize(("status", "text"), [(404, "has no such file"), (403, "refuses it"), (418, "refuses it")])
def test_permanent_errors_are_reported_at_once(
    server: Server, tmp_path: Path, ear: Ear, status: int, text: str
) -> None:
    server.faults = [status]
    with pytest.raises(DownloadError, match=rf"f.bin: the server {text}.*\({status} .*--base-url"):
        ear.fetch(server, tmp_path / "f.part")
    assert len(server.asked) == 1
    assert ear.pauses == []


def test_retry_after_of_the_server_is_respected(server: Server, tmp_path: Path, ear: Ear) -> None:
    server.faults = [503, 429]
    assert ear.fetch(server, tmp_path / "f.part") == DATA
    assert ear.pauses == [7, 7]


def test_download_without_progress_stops_and_can_be_resumed(server: Server, tmp_path: Path, ear: Ear) -> None:
    server.faults = [300_000] + [0] * (TRIES - 1)
    with pytest.raises(DownloadError, match=r"gave up after 6 tries; .*f.part keeps 300,000 bytes"):
        ear.fetch(server, tmp_path / "f.part")
    assert ear.pauses == [1, 2, 4, 8, 16]
    assert ear.fetch(server, tmp_path / "f.part") == DATA
    assert server.asked[-1] == "bytes=300000-"


def test_repeated_failure_at_one_position_ends_the_download(server: Server, tmp_path: Path, ear: Ear) -> None:
    server.ranges = False
    server.faults = [300_000] * 50
    with pytest.raises(DownloadError, match="gave up"):
        ear.fetch(server, tmp_path / "f.part")
    assert len(server.asked) == TRIES


def test_no_server(tmp_path: Path, ear: Ear) -> None:
    with Server() as gone:
        pass
    with pytest.raises(DownloadError, match=r"no connection to 127\.0\.0\.1"):
        ear.fetch(gone, tmp_path / "f.part")


def test_unexpected_length(server: Server, tmp_path: Path, ear: Ear) -> None:
    with pytest.raises(DownloadError, match="has 768,000 bytes instead of 768,001"):
        ear.fetch(server, tmp_path / "f.part", len(DATA) + 1)
    assert list(tmp_path.iterdir()) == []


def test_too_little_disk_space(server: Server, tmp_path: Path, ear: Ear, monkeypatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: type("Usage", (), {"free": 700_000}))
    with pytest.raises(DownloadError, match=r"needs 768,000 bytes more, but .* has only 700,000 free"):
        ear.fetch(server, tmp_path / "f.part")


def test_disk_full_during_the_download(server: Server, tmp_path: Path, ear: Ear) -> None:
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, hard))
    try:
        with pytest.raises(DownloadError, match=r"cannot write .*f.part: File too large; the downloaded part is kept"):
            ear.fetch(server, tmp_path / "f.part")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert ear.pauses == []
    assert 0 < (tmp_path / "f.part").stat().st_size <= 400_000
    assert ear.fetch(server, tmp_path / "f.part") == DATA
    assert server.asked[1] is not None


def test_ctrl_c_keeps_the_partial_file(server: Server, tmp_path: Path, ear: Ear) -> None:
    def stop(done: int, total: int | None) -> None:
        if done > 200_000:
            raise KeyboardInterrupt

    part = Partial(tmp_path / "f.part")
    with pytest.raises(KeyboardInterrupt):
        fetch(f"{server.url}/f.bin", part, report=stop, tell=ear.told.append)
    kept = part.size_bytes
    assert 200_000 < kept < len(DATA)
    assert ear.fetch(server, part.path) == DATA
    assert server.asked == [None, f"bytes={kept}-"]


# checking


def archive_of(server: Server, data: bytes = DATA, **known: Any) -> Archive:
    server.files["/f.bin"] = data
    return Archive(url=f"{server.url}/f.bin", **known)


def test_published_checksums(server: Server, tmp_path: Path, ear: Ear) -> None:
    sha256, md5 = hashlib.sha256(DATA).hexdigest(), hashlib.md5(DATA).hexdigest()
    for number, known in enumerate(({"sha256": sha256}, {"md5": md5}, {"sha256": sha256, "size_bytes": len(DATA)})):
        folder = tmp_path / str(number)
        path = obtain(archive_of(server, **known), folder, listener=ear.listener)
        assert path.read_bytes() == DATA
        assert ear.told[-1] == "f.bin: the checksum is the published one"
        assert {p.name for p in folder.iterdir()} == {"f.bin", "f.bin.sha256"}
        assert (folder / "f.bin.sha256").read_text() == f"{sha256}  f.bin\n"
    asked = len(server.asked)
    obtain(archive_of(server, sha256=sha256), tmp_path / "0", listener=ear.listener)
    assert len(server.asked) == asked  # it is there


@pytest.mark.parametrize("kind", ["sha256", "md5"])
def test_wrong_checksum_leaves_no_file(server: Server, tmp_path: Path, ear: Ear, kind: str) -> None:
    wrong = getattr(hashlib, kind)(b"other").hexdigest()
    with pytest.raises(DownloadError, match=rf"f.bin has the wrong checksum: .*published is {wrong}; it was removed"):
        obtain(archive_of(server, **{kind: wrong}), tmp_path, listener=ear.listener)
    assert list(tmp_path.iterdir()) == []


def test_checksum_of_the_first_download_is_checked_later(server: Server, tmp_path: Path, ear: Ear) -> None:
    archive, sha256 = archive_of(server), hashlib.sha256(DATA).hexdigest()
    path = obtain(archive, tmp_path, listener=ear.listener)
    assert ear.told[-1] == f"f.bin: not verified, no checksum is published; SHA-256 {sha256}"
    path.unlink()
    obtain(archive, tmp_path, listener=ear.listener)
    assert ear.told[-1] == "f.bin: the SHA-256 is that of the earlier download"
    path.unlink()
    archive_of(server, DATA[:-1])
    with pytest.raises(DownloadError, match=r"wrong checksum: .* earlier download \(.*f.bin.sha256; remove it"):
        obtain(archive, tmp_path, listener=ear.listener)
    assert [p.name for p in tmp_path.iterdir()] == ["f.bin.sha256"]
    (tmp_path / "f.bin.sha256").unlink()
    obtain(archive, tmp_path, listener=ear.listener)


def test_a_damaged_file_on_the_disk_is_set_aside(server: Server, tmp_path: Path, ear: Ear) -> None:
    (tmp_path / "f.bin").write_bytes(DATA[:-9])
    path = obtain(archive_of(server, sha256=hashlib.sha256(DATA).hexdigest()), tmp_path, listener=ear.listener)
    assert path.read_bytes() == DATA
    assert (tmp_path / "f.bin.damaged").read_bytes() == DATA[:-9]


# whole sets


def tar_of_a_set() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for name, content in (("set/HR/a.png", b"A" * 5000), ("set/LR/X4/ax4.png", b"B" * 50)):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


def parts_of(server: Server, blob: bytes) -> tuple[Part, ...]:
    archive = archive_of(server, blob)
    return (
        Part(archive=archive, inside="set/HR", target="Set/HR"),
        Part(archive=archive, inside="set/LR/X4", target="Set/LR_bicubic/X4"),
    )


def test_archive_of_several_parts_is_downloaded_once(server: Server, tmp_path: Path, ear: Ear) -> None:
    hr, lr = parts_of(server, tar_of_a_set())
    download((hr,), tmp_path, listener=ear.listener)
    assert ear.told[-1] == f"{tmp_path / 'Set/HR'}: 1 file"
    download((hr, lr), tmp_path, listener=ear.listener)
    assert (tmp_path / "Set/LR_bicubic/X4/ax4.png").exists()
    assert f"{tmp_path / 'Set/HR'} exists already: not changed" in ear.told
    download((hr, lr), tmp_path, listener=ear.listener)
    assert server.asked == [None]


def test_file_that_is_not_an_archive_is_moved_to_its_target(server: Server, tmp_path: Path, ear: Ear) -> None:
    part = Part(archive=archive_of(server), inside="", target="Set/HR/a.png")
    for _ in range(2):
        download((part,), tmp_path, listener=ear.listener)
    assert (tmp_path / "Set/HR/a.png").read_bytes() == DATA
    assert [p.name for p in (tmp_path / "archives").iterdir()] == ["f.bin.sha256"]
    assert server.asked == [None]


def test_archives_can_be_removed(server: Server, tmp_path: Path, ear: Ear) -> None:
    download(parts_of(server, tar_of_a_set()), tmp_path, listener=ear.listener, keep=False)
    assert [p.name for p in (tmp_path / "archives").iterdir()] == ["f.bin.sha256"]


def test_a_damaged_archive_is_set_aside_and_the_next_run_gets_a_good_one(
    server: Server, tmp_path: Path, ear: Ear
) -> None:
    parts = parts_of(server, tar_of_a_set()[:60])
    with pytest.raises(ArchiveError, match=r"it was set aside as f.bin.damaged"):
        download(parts, tmp_path, listener=ear.listener)
    assert [p.name for p in (tmp_path / "archives").iterdir()] == ["f.bin.damaged"]
    assert not (tmp_path / "Set/HR").exists()
    download(parts_of(server, tar_of_a_set()), tmp_path, listener=ear.listener)
    assert (tmp_path / "Set/HR/a.png").read_bytes() == b"A" * 5000
