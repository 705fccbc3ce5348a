"""A killed and resumed run gives the frames of an uninterrupted run."""

import errno
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import av
import pytest
from tests.video.clips import Nearest, decoded, enlarged, made, needs_ffmpeg, packets, times

from a2f.errors import ImageWriteError, OutputExistsError, WriteError
from a2f.video import mux
from a2f.video import run as run_module
from a2f.video.temporal import TemporalUpscaler
from a2f.weights import find_weights

pytestmark = [pytest.mark.integration, needs_ffmpeg]

SLOW = """
import sys, time
from pathlib import Path
import a2f.video.run as run
from tests.video.clips import Nearest, enlarged
run.FRAMES = 10

class Slow(Nearest):
    def __call__(self, image):
        time.sleep(0.02)
        return super().__call__(image)

enlarged(Path(sys.argv[1]), Path(sys.argv[2]), Slow())
"""


@pytest.fixture
def given(tmp_path: Path) -> Path:
    picture = "testsrc2=size=64x48:rate=25:duration=2"
    arguments = ("-map", "0:v", "-map", "1:a", "-c:v", "libx264", "-pix_fmt", "yuv420p", "-c:a", "flac")
    return made(tmp_path / "given.mkv", *arguments, picture=picture)


def folder_of(output: Path) -> Path:
    return output.with_name(f"{output.name}.a2f-parts")


def test_run_killed_many_times_equals_an_uninterrupted_run(
    given: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_module, "FRAMES", 10)
    whole, output = tmp_path / "whole.mkv", tmp_path / "killed.mkv"
    enlarged(given, whole)
    kills, had = 0, 0
    for _ in range(40):
        process = subprocess.Popen([sys.executable, "-c", SLOW, str(given), str(output)])
        while process.poll() is None and len(list(folder_of(output).glob("*.part"))) <= had:
            time.sleep(0.005)  # until there is another part
        if process.poll() is not None:
            break
        had = len(list(folder_of(output).glob("*.part")))
        process.send_signal(signal.SIGKILL)
        process.wait()
        kills += 1
        assert not output.exists()
    assert process.returncode == 0
    assert kills >= 2
    assert decoded(output) == decoded(whole)
    assert times(output) == times(whole)
    assert packets(output, "a") == packets(whole, "a") == packets(given, "a")
    assert packets(output, "v") == packets(whole, "v")
    assert not folder_of(output).exists()


def test_kill_while_the_file_is_written_repeats_no_computation(
    given: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "large.mkv"

    def fails(*_: object, **__: object) -> None:
        raise WriteError("no room")

    with monkeypatch.context() as patch:
        patch.setattr(run_module, "write_file", fails)
        with pytest.raises(WriteError, match="no room"):
            enlarged(given, output)
    again = Nearest()
    ended = enlarged(given, output, again)
    assert (again.calls, ended.done, ended.resumed) == (0, 50, 50)


def test_parts_with_other_options_are_kept_and_not_used(
    given: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "large.mkv"

    def fails(*_: object, **__: object) -> None:
        raise WriteError("no room")

    with monkeypatch.context() as patch:
        patch.setattr(run_module, "write_file", fails)
        with pytest.raises(WriteError, match="no room"):
            enlarged(given, output, crf=40)
    parts = {path: path.read_bytes() for path in folder_of(output).glob("*.part")}
    assert parts
    with pytest.raises(WriteError, match="contains finished frames of another input, other options"):
        enlarged(given, output, crf=20)
    assert {path: path.read_bytes() for path in folder_of(output).glob("*.part")} == parts
    assert enlarged(given, output, crf=20, overwrite=True).resumed == 0


HOLDS = """
import sys
from pathlib import Path
from a2f.video.parts import Parts
Parts(Path(sys.argv[1]), {})
print("holds", flush=True)
sys.stdin.read()
"""


def test_second_run_for_one_result_is_refused(given: Path, tmp_path: Path) -> None:
    output = tmp_path / "large.mkv"
    command = [sys.executable, "-c", HOLDS, str(folder_of(output))]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"holds\n"
        with pytest.raises(WriteError, match="another run is making this result"):
            enlarged(given, output, overwrite=True)
        other.kill()
    assert enlarged(given, output).done == 50
    assert sorted(path.name for path in tmp_path.iterdir()) == ["given.mkv", "large.mkv"]


def test_folder_with_other_files_is_not_changed(given: Path, tmp_path: Path) -> None:
    output = tmp_path / "large.mkv"
    folder_of(output).mkdir()
    (folder_of(output) / "diary.txt").write_text("mine")
    with pytest.raises(WriteError, match="contains other files"):
        enlarged(given, output)
    assert (folder_of(output) / "diary.txt").read_text() == "mine"


def test_damaged_part_is_reported(tmp_path: Path, given: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output = tmp_path / "large.mkv"
    with monkeypatch.context() as patch:
        patch.setattr(run_module, "write_file", lambda *_, **__: (_ for _ in ()).throw(WriteError("no room")))
        with pytest.raises(WriteError):
            enlarged(given, output)
    part = sorted(folder_of(output).glob("*.part"))[0]
    part.write_bytes(part.read_bytes()[:-1] + b"?")
    with pytest.raises(WriteError, match="damaged"):
        enlarged(given, output)


def test_a_full_disk_at_the_end_leaves_the_parts_and_no_incomplete_file(
    tmp_path: Path, given: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "large.mkv"

    def full(*_: Any) -> Any:
        raise av.FFmpegError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(mux, "_packets", full)
        with pytest.raises(
            ImageWriteError, match=r"cannot write .*large\.mkv: No space left on device: free some space"
        ):
            enlarged(given, output)
    assert not output.exists()
    assert not list(folder_of(output).glob("whole*"))
    upscaler = Nearest()
    assert enlarged(given, output, upscaler).done == 50
    assert upscaler.calls == 0


def test_file_that_appears_during_the_run_and_the_parts_are_kept(
    given: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output, write = tmp_path / "large.mkv", mux.write_file

    def and_another(*arguments: Any, **options: Any) -> None:
        write(*arguments, **options)
        output.write_text("mine")

    monkeypatch.setattr(run_module, "write_file", and_another)
    with pytest.raises(OutputExistsError):
        enlarged(given, output)
    assert output.read_text() == "mine"
    assert any(folder_of(output).glob("*.part"))


def test_temporal_gates_continue_after_a_resume(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_module, "FRAMES", 4)
    picture = "testsrc2=size=24x16:rate=5:duration=2,fps=2.5,fps=5"  # each frame twice
    given = made(tmp_path / "a.mkv", "-map", "0:v", "-c:v", "ffv1", "-pix_fmt", "yuv420p", picture=picture)
    weights = find_weights("sd", scale=2)
    enlarged(given, tmp_path / "whole.mkv", TemporalUpscaler(weights, threads=1))
    encoded, stopped = run_module._encoded, list[int]()

    def stops(*arguments: Any) -> Any:
        if len(stopped) == 1:
            raise WriteError("stopped")
        stopped.append(1)
        return encoded(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(run_module, "_encoded", stops)
        with pytest.raises(WriteError, match="stopped"):
            enlarged(given, tmp_path / "large.mkv", TemporalUpscaler(weights, threads=1))
    ended = enlarged(given, tmp_path / "large.mkv", TemporalUpscaler(weights, threads=1))
    assert ended.resumed == 4
    assert decoded(tmp_path / "large.mkv") == decoded(tmp_path / "whole.mkv")
