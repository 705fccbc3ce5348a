"""Batches with sources and results in object stores, archives and on web servers."""

import functools
import io
import logging
import sys
import threading
import tracemalloc
import zipfile
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from PIL import Image

from a2f.batch.archive import ArchiveTarget
from a2f.batch.journal import Journal
from a2f.batch.places import Places, ThisMachine, is_address
from a2f.batch.plan import Layout, ResumeOptions, plan
from a2f.batch.sources import Scan
from a2f.batch.work import Keeper, Recipe
from a2f.errors import A2FError, ImageReadError, MissingExtraError, OutputExistsError, UsageError, WriteError

pytest.importorskip("fsspec", reason="needs the extra remote")

from a2f.batch import remote
from a2f.batch.remote import TRIES, Remote, check_target


@pytest.fixture(scope="module")
def store() -> Iterator[str]:
    """An object store on this machine: moto simulates S3."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server_of = pytest.importorskip("moto.server", reason="needs moto[s3], flask and flask-cors (requirements-dev.txt)")
    pytest.importorskip("s3fs", reason="needs the extra remote")
    server = server_of.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(store: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    """A new bucket of the simulated S3."""
    import s3fs

    for name, value in {
        "AWS_ENDPOINT_URL": store,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }.items():
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    name = f"b{abs(hash(request.node.name))}"
    s3fs.S3FileSystem(use_listings_cache=False).mkdir(name)
    return f"s3://{name}"


def system():
    import s3fs

    return s3fs.S3FileSystem(use_listings_cache=False)


class Run:
    """Run a batch that copies from addresses to addresses."""

    def __init__(
        self, batch, source: str, output: str, options: ResumeOptions | None = None, *, places: Places | None = None
    ) -> None:
        batch.worked.clear()
        self.batch = batch
        self.errors: list[A2FError] = []
        places = places or Remote(pause=lambda seconds: None)
        with Journal(batch.journal_path) as journal:
            files = places.files([source], Scan(recursive=True))
            layout = Layout(mark="_x4", output=output)
            self.notes = plan(journal, files, layout, options or ResumeOptions(resume=True), recipe="{}", places=places)
            keeper = Keeper(journal, Recipe(text="{}", sha256={}), overwrite=False, places=places)
            for item in journal.todo():
                keeper.do(item, batch.enlarge, self.failed)
            self.counts = {state: count for state, count in journal.counts().items() if count}

    def failed(self, error: A2FError):
        self.errors.append(error)
        return self.batch.failed(error)


def test_bucket_to_bucket_and_only_missing_results_again(batch, bucket: str) -> None:
    for name in ("in/a.png", "in/deep/b.png"):
        system().pipe(f"{bucket}/{name}", name.encode())
    system().pipe(f"{bucket}/in/notes.txt", b"no image")
    assert Run(batch, f"{bucket}/in", f"{bucket}/out").counts == {"done": 2}
    assert system().cat(f"{bucket}/out/deep/b_x4.png") == b"in/deep/b.png{}"
    Run(batch, f"{bucket}/in", f"{bucket}/out")
    assert batch.worked == []
    system().rm(f"{bucket}/out/a_x4.png")
    system().pipe(f"{bucket}/in/deep/b.png", b"changed")
    Run(batch, f"{bucket}/in", f"{bucket}/out")
    assert sorted(batch.worked) == ["a.png", "b.png"]
    assert system().cat(f"{bucket}/out/deep/b_x4.png") == b"changed{}"


def test_existing_object_is_never_replaced(batch, bucket: str) -> None:
    system().pipe(f"{bucket}/in/a.png", b"a")
    system().pipe(f"{bucket}/in/b.png", b"b")
    Run(batch, f"{bucket}/in/a.png", f"{bucket}/out")
    system().pipe(f"{bucket}/out/b_x4.png", b"mine")
    run = Run(batch, f"{bucket}/in", f"{bucket}/out")
    assert [type(error) for error in run.errors] == [OutputExistsError]
    assert system().cat(f"{bucket}/out/b_x4.png") == b"mine"


def test_bucket_to_local_folder(batch, bucket: str) -> None:
    system().pipe(f"{bucket}/in/a.png", b"a" * 100_000)
    assert Run(batch, f"{bucket}/in", str(batch.out)).counts == {"done": 1}
    assert (batch.out / "a_x4.png").read_bytes() == b"a" * 100_000 + b"{}"


def test_command_line_bucket_to_bucket(bucket: str, tmp_path: Path, monkeypatch, capfd) -> None:
    from a2f.cli.main import main

    picture = io.BytesIO()
    Image.new("RGB", (9, 7), (200, 30, 30)).save(picture, "PNG")
    system().pipe(f"{bucket}/in/a.png", picture.getvalue())
    system().pipe(f"{bucket}/in/bad.png", b"no image")
    monkeypatch.chdir(tmp_path)
    words = ["a2f", "upscale", f"{bucket}/in", "-o", f"{bucket}/out", "-s", "2", "--journal", "j.sqlite", "--resume"]
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit) as stop:
        main()
    said = capfd.readouterr().err
    assert stop.value.code == 1
    assert f"{bucket}/in/a.png -> {bucket}/out/a_x2.png (18 x 14" in said
    assert f"error: {bucket}/in/bad.png is not an image" in said
    assert Image.open(io.BytesIO(system().cat(f"{bucket}/out/a_x2.png"))).size == (18, 14)
    with pytest.raises(SystemExit):
        main()
    assert "1 done, 1 quarantined, 0 to do" in capfd.readouterr().err


def test_temporary_store_errors_are_retried(batch, bucket: str, monkeypatch) -> None:
    system().pipe(f"{bucket}/in/a.png", b"a")
    failures = [OSError("connection reset"), OSError("connection reset")]
    put = system().put_file

    def flaky(*args, **kwargs):
        if failures:
            raise failures.pop()
        return put(*args, **kwargs)

    monkeypatch.setattr(system(), "put_file", flaky)
    assert Run(batch, f"{bucket}/in", f"{bucket}/out").counts == {"done": 1}
    assert failures == []
    assert system().cat(f"{bucket}/out/a_x4.png") == b"a{}"


def test_permanent_store_error_leaves_items_for_the_next_run(batch, bucket: str, monkeypatch) -> None:
    system().pipe(f"{bucket}/in/a.png", b"a")

    def broken(*args, **kwargs):
        raise OSError("connection reset")

    with monkeypatch.context() as patched:
        patched.setattr(system(), "put_file", broken)
        run = Run(batch, f"{bucket}/in", f"{bucket}/out")
    (error,) = run.errors
    assert isinstance(error, WriteError)
    assert str(error) == f"cannot write {bucket}/out/a_x4.png: connection reset ({TRIES} tries)"
    assert not system().exists(f"{bucket}/out/a_x4.png")
    assert Run(batch, f"{bucket}/in", f"{bucket}/out").counts == {"done": 1}


def test_incomplete_transfer_makes_no_object(batch, bucket: str, monkeypatch) -> None:
    system().pipe(f"{bucket}/in/a.png", b"all of it")

    def half(path, local, **kwargs):
        Path(local).write_bytes(b"all")

    monkeypatch.setattr(system(), "get_file", half)
    run = Run(batch, f"{bucket}/in", f"{bucket}/out")
    assert [str(error) for error in run.errors] == [f"cannot read {bucket}/in/a.png: 3 of 9 bytes came ({TRIES} tries)"]
    assert batch.worked == []


def test_missing_bucket(batch, bucket: str) -> None:
    with pytest.raises(ImageReadError, match=f"cannot read {bucket}-not"):
        Run(batch, f"{bucket}-not/in", f"{bucket}/out")


def test_a_folder_of_many_objects_is_listed_page_by_page(batch, bucket: str) -> None:
    names = [f"in/deep/{n:04}.png" for n in range(1001)]  # a page has 1,000
    system().pipe({f"{bucket}/{name}": b"" for name in ["in/a.png", "in/deep/", *names]})
    places = Remote()
    found = [one.below for one in places.files([f"{bucket}/in/"], Scan(recursive=True))]
    assert found == ["a.png", *(name.removeprefix("in/") for name in names)]
    assert [one.below for one in places.files([f"{bucket}/in"], Scan())] == ["a.png"]
    there = places.states(f"{bucket}/in")
    assert all(there(f"{bucket}/{name}") == places.state(f"{bucket}/{name}") for name in ("in/a.png", names[-1]))
    assert there(f"{bucket}/in/b.png") is None


class Endless:
    """A store with many objects in one folder, made when they are listed."""

    def __init__(self, count: int) -> None:
        self.count, self.pages = count, 0

    def info(self, path: str) -> dict[str, str]:
        return {"type": "directory"}

    def exists(self, path: str) -> bool:
        return True

    def split_path(self, path: str) -> tuple[str, str, None]:
        return "bucket", path.removeprefix("bucket/"), None

    def call_s3(self, method: str, *, ContinuationToken: str = "0", **asked: str) -> dict[str, object]:  # noqa: N803
        assert (method, asked) == ("list_objects_v2", {"Bucket": "bucket", "Prefix": "in/"})
        self.pages += 1
        begin = int(ContinuationToken)
        end = min(begin + 1000, self.count)
        listed = [{"Key": f"in/{n:08}.png", "Size": n, "ETag": f'"{n:032x}"'} for n in range(begin, end)]
        return {"Contents": listed} | ({"NextContinuationToken": str(end)} if end < self.count else {})


def test_the_list_of_a_store_is_never_in_memory(monkeypatch) -> None:
    count = 100_000
    store = Endless(count)
    monkeypatch.setattr(remote, "_system", lambda address: (store, address.removeprefix("s3://")))
    files = Remote().files(["s3://bucket/in"], Scan(recursive=True))
    assert next(files).source == "s3://bucket/in/00000000.png"
    assert store.pages == 1
    tracemalloc.start()
    try:
        assert sum(1 for _ in files) == count - 1
        there = Remote().states("s3://bucket/in")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 5_000_000  # a page; all objects take 50 MB
    assert there("s3://bucket/in/00099999.png") == (99_999, f"{99_999:032x}")


def test_pictures_in_an_archive(batch, tmp_path: Path) -> None:
    archive = tmp_path / "photos.zip"
    with zipfile.ZipFile(archive, "w") as made:
        made.writestr("a.png", b"a")
        made.writestr("deep/b.png", b"b")
        made.writestr("deep/notes.txt", b"no image")
    source = f"zip://::{archive}"
    assert Run(batch, source, str(batch.out)).counts == {"done": 2}
    assert (batch.out / "deep/b_x4.png").read_bytes() == b"b{}"
    Run(batch, source, str(batch.out))
    assert batch.worked == []


def test_results_in_an_archive(batch, tmp_path: Path) -> None:
    archive = tmp_path / "results.zip"
    places = ArchiveTarget(f"zip://large::{archive}", ThisMachine())
    batch.put("a.png", b"a")
    batch.put("deep/b.png", b"b")
    assert Run(batch, str(batch.given), places.address, places=places).counts == {"done": 2}
    assert not archive.exists(), "nothing is packed before the end"
    Run(batch, str(batch.given), places.address, places=places)
    assert batch.worked == []
    places.pack()
    batch.put("a.png", b"changed")
    batch.put("c.png", b"c")
    Run(batch, str(batch.given), places.address, places=places)
    assert sorted(batch.worked) == ["a.png", "c.png"]
    places.pack()
    with zipfile.ZipFile(archive) as made:
        assert made.testzip() is None
        assert {name: made.read(name) for name in made.namelist()} == {
            "large/a_x4.png": b"changed{}",
            "large/c_x4.png": b"c{}",
            "large/deep/b_x4.png": b"b{}",
        }
    assert sorted(path.name for path in tmp_path.iterdir() if "results" in path.name) == ["results.zip"]


def test_existing_archive_entry_is_never_replaced(batch, tmp_path: Path) -> None:
    archive = tmp_path / "results.zip"
    with zipfile.ZipFile(archive, "w") as made:
        made.writestr("a_x4.png", b"mine")
    batch.put("b.png", b"b")
    places = ArchiveTarget(f"zip://::{archive}", ThisMachine())
    Run(batch, str(batch.given), places.address, places=places)
    batch.put("a.png", b"a")
    run = Run(batch, str(batch.given), places.address, places=places)
    assert [type(error) for error in run.errors] == [OutputExistsError]
    places.pack()
    with zipfile.ZipFile(archive) as made:
        assert made.read("a_x4.png") == b"mine"


@pytest.mark.parametrize("address", ["zip://results.zip", "zip://::s3://bucket/results.zip", "zip://::"])
def test_remote_archive_as_target_is_refused(address: str) -> None:
    with pytest.raises(UsageError, match=r"zip://::results\.zip"):
        ArchiveTarget(address, ThisMachine())


def test_a_picture_on_a_web_server(batch, tmp_path: Path) -> None:
    (tmp_path / "web").mkdir()
    (tmp_path / "web/a.png").write_bytes(b"a" * 5000)
    handler = functools.partial(Quiet, directory=str(tmp_path / "web"))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        address = f"http://127.0.0.1:{server.server_address[1]}/a.png"
        assert Run(batch, address, str(batch.out)).counts == {"done": 1}
        assert (batch.out / "a_x4.png").read_bytes() == b"a" * 5000 + b"{}"
        with pytest.raises(ImageReadError, match=r"missing\.png"):
            Run(batch, address.replace("a.png", "missing.png"), str(batch.out))
    finally:
        server.shutdown()
        server.server_close()


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.mark.parametrize("address", ["https://example.org/out", "http://example.org/out"])
def test_read_only_address_is_refused_as_target(address: str) -> None:
    with pytest.raises(UsageError, match="can only be read"):
        check_target(address)


def test_missing_extra_error_has_the_pip_command(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'a2f\[remote\]'"):
        Remote().state("s3://bucket/a.png")


def test_unknown_kind_of_address() -> None:
    with pytest.raises(UsageError, match="nonsense://a"):
        Remote().state("nonsense://a")


def test_addresses_and_paths_are_distinguished() -> None:
    assert is_address("s3://bucket/a.png")
    assert not is_address("folder/s3:/a.png")
