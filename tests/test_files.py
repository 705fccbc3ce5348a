"""Files are written completely or not at all."""

import errno
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from a2f.errors import InputError, OutputExistsError, WriteError
from a2f.files import write_bytes_atomic


def without_unnamed_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Simulate a system or a file system without unnamed files."""
    monkeypatch.delattr(os, "O_TMPFILE", raising=False)


def without_links(monkeypatch: pytest.MonkeyPatch) -> None:
    """Simulate a file system with unnamed files but without hard links."""

    def refused(*args: Any, **options: Any) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refused)


@pytest.fixture(params=[None, without_unnamed_files, without_links], ids=["unnamed", "named", "no links"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """All functions that write a file."""
    if request.param is not None:
        request.param(monkeypatch)


@pytest.mark.usefixtures("way")
def test_atomic_write_keeps_mode_and_follows_links(tmp_path) -> None:
    real, link = tmp_path / "real.bin", tmp_path / "link.bin"
    real.write_bytes(b"old")
    real.chmod(0o640)
    link.symlink_to(real)
    write_bytes_atomic(link, b"new")
    assert link.is_symlink()
    assert real.read_bytes() == b"new"
    assert real.stat().st_mode & 0o777 == 0o640
    assert sorted(p.name for p in tmp_path.iterdir()) == ["link.bin", "real.bin"]


@pytest.mark.usefixtures("way")
def test_file_written_in_parts(tmp_path: Path) -> None:
    write_bytes_atomic(tmp_path / "a", (bytes([n]) * 700_000 for n in range(3)))
    assert (tmp_path / "a").read_bytes() == b"\0" * 700_000 + b"\1" * 700_000 + b"\2" * 700_000
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("error", [InputError("no more"), KeyboardInterrupt("no more")])
def test_failing_part_leaves_the_old_file(error: BaseException, tmp_path: Path) -> None:
    def parts() -> Iterator[bytes]:
        yield b"new"
        raise error

    path = tmp_path / "a"
    path.write_bytes(b"old")
    with pytest.raises(type(error), match="no more"):
        write_bytes_atomic(path, parts())
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == {"a": b"old"}


@pytest.mark.usefixtures("way")
def test_new_files_follow_the_umask(tmp_path) -> None:
    before = os.umask(0o027)
    try:
        write_bytes_atomic(tmp_path / "a", b"x")
    finally:
        os.umask(before)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o640


@pytest.mark.usefixtures("way")
def test_failing_write_leaves_the_old_file(tmp_path, monkeypatch) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"old")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(WriteError, match="No space left on device") as caught:
        write_bytes_atomic(path, b"new")
    assert type(caught.value) is WriteError  # whatever the file holds
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.usefixtures("way")
def test_interrupted_write_leaves_the_old_file(tmp_path, monkeypatch) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"old")

    def interrupted(descriptor: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_bytes_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_missing_folder() -> None:
    with pytest.raises(WriteError, match="No such file or directory"):
        write_bytes_atomic("/nowhere/at/all.png", b"x")


@pytest.mark.integration
def test_disk_full(tmp_path) -> None:
    mount = tmp_path / "small"
    mount.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", mount], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"cannot mount a small tmpfs here: {done.stderr.strip()}")
    try:
        (mount / "a.bin").write_bytes(b"old")
        with pytest.raises(WriteError, match="No space left on device"):
            write_bytes_atomic(mount / "a.bin", bytes(200_000))
        assert (mount / "a.bin").read_bytes() == b"old"
        assert [p.name for p in mount.iterdir()] == ["a.bin"]
    finally:
        subprocess.run(["umount", mount], check=True)


KILLED = """
import os, pathlib, signal, sys
from a2f.files import write_bytes_atomic
def kill(*words, **options):
    os.kill(os.getpid(), signal.SIGKILL)
write_bytes_atomic(sys.argv[1], b"a" * 3_000_000)
rename = pathlib.Path.replace
exec(sys.argv[2])
write_bytes_atomic(sys.argv[1], b"b" * 3_000_000)
"""
MOMENTS = {
    "in the middle": ("write_bytes_atomic(sys.argv[1], (kill() if n else b'b' for n in range(2)))", b"a"),
    "before it is flushed": ("os.fsync = kill", b"a"),
    "before it is renamed": ("pathlib.Path.replace = kill", b"a"),
    "after it is renamed": ("pathlib.Path.replace = lambda *paths: kill(rename(*paths))", b"b"),
}


@pytest.mark.integration
@pytest.mark.parametrize("moment", MOMENTS)
def test_kill_during_writing_leaves_a_complete_file(moment: str, tmp_path: Path) -> None:
    """After a kill at any step, the file has the old or the new content."""
    path, (patch, content) = tmp_path / "a.bin", MOMENTS[moment]
    done = subprocess.run([sys.executable, "-c", KILLED, str(path), patch], check=False)
    assert done.returncode == -signal.SIGKILL
    assert path.read_bytes() == content * 3_000_000


def test_pipe_is_written_to_and_not_replaced(tmp_path: Path) -> None:
    """The pipe also represents devices. If it were replaced, only this folder would change."""
    pipe, link = tmp_path / "pipe", tmp_path / "link.png"
    os.mkfifo(pipe)
    link.symlink_to(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        write_bytes_atomic(link, b"x")
        assert os.read(reader, 9) == b"x"
    finally:
        os.close(reader)
    assert pipe.is_fifo()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["link.png", "pipe"]


@pytest.mark.usefixtures("way")
def test_longest_allowed_file_names(tmp_path: Path) -> None:
    path = tmp_path / ("写" * 83 + ".png")  # 253 bytes
    write_bytes_atomic(path, b"x")
    assert path.read_bytes() == b"x"


@pytest.mark.usefixtures("way")
def test_output_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(WriteError, match="Not a directory"):
        write_bytes_atomic(tmp_path / "file" / "a.png", b"x")


def test_folder_is_not_replaced_by_a_file(tmp_path: Path) -> None:
    with pytest.raises(WriteError, match="Is a directory"):
        write_bytes_atomic(tmp_path, b"x")


@pytest.mark.integration
@pytest.mark.skipif(not hasattr(os, "O_TMPFILE"), reason="needs files without a name")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("old", [None, b"old"])
def test_kill_before_completion_leaves_no_file(tmp_path: Path, number: int, old: bytes | None) -> None:
    path = tmp_path / "a.bin"
    try:
        os.close(os.open(tmp_path, os.O_TMPFILE | os.O_WRONLY))
    except OSError as error:
        pytest.skip(f"this file system has no files without a name: {error}")
    if old is not None:
        path.write_bytes(old)
    program = (
        "import os, sys; from a2f.files import write_bytes_atomic as w\n"
        "os.fsync = lambda handle: os.kill(os.getpid(), int(sys.argv[2]))\n"
        "w(sys.argv[1], b'new' * 100_000)"
    )
    done = subprocess.run([sys.executable, "-c", program, str(path), str(int(number))])
    assert done.returncode == -number
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == ({} if old is None else {"a.bin": old})


@pytest.mark.usefixtures("way")
def test_file_that_appears_during_writing_is_kept(tmp_path: Path) -> None:
    target = tmp_path / "out.bin"

    def parts() -> Iterator[bytes]:
        yield b"ours"
        target.write_bytes(b"theirs")

    with pytest.raises(OutputExistsError, match=r"out\.bin exists.*overwrite=True"):
        write_bytes_atomic(target, parts(), replace=False)
    assert target.read_bytes() == b"theirs"
    assert [p.name for p in tmp_path.iterdir()] == ["out.bin"]
    write_bytes_atomic(target, b"ours", replace=True)
    assert target.read_bytes() == b"ours"
    with pytest.raises(OutputExistsError):
        write_bytes_atomic(target, b"again", replace=False)


@pytest.mark.usefixtures("way")
def test_only_one_of_many_writers_succeeds(tmp_path: Path) -> None:
    for turn in range(5):
        target, begin, outcomes = tmp_path / f"{turn}.bin", threading.Barrier(8), []

        def write(number: int, target: Path = target, begin: threading.Barrier = begin, out: list = outcomes) -> None:
            def parts() -> Iterator[bytes]:
                begin.wait()
                yield bytes([number]) * 1000

            try:
                write_bytes_atomic(target, parts(), replace=False)
                out.append(number)
            except OutputExistsError:
                pass

        threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        (winner,) = outcomes
        assert target.read_bytes() == bytes([winner]) * 1000
    assert len(list(tmp_path.iterdir())) == 5


def test_systems_with_exclusive_rename(tmp_path: Path, monkeypatch) -> None:
    """On Windows, rename never replaces a file."""
    from a2f import files

    temporary, target = tmp_path / "temporary", tmp_path / "target"
    temporary.write_bytes(b"x")
    monkeypatch.setattr(files, "os", SimpleNamespace(name="nt"))
    files._place_exclusively(temporary, target)
    assert target.read_bytes() == b"x"
    assert not temporary.exists()


@pytest.mark.usefixtures("way")
def test_a_new_file_has_the_usual_permissions_either_way(tmp_path: Path) -> None:
    mask = os.umask(0o027)
    try:
        for name, replace in (("a", True), ("b", False)):
            write_bytes_atomic(tmp_path / name, b"x", replace=replace)
            assert (tmp_path / name).stat().st_mode & 0o777 == 0o640
    finally:
        os.umask(mask)
