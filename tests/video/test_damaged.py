"""Videos that are cut off, or that tell the times of their frames badly."""

import os
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from av.video.frame import VideoFrame
from tests.video.clips import Nearest, enlarged, ffmpeg, made, needs_ffmpeg, probed, times, video_of

from a2f.errors import ImageReadError, WriteError
from a2f.video.source import Range, Source
from a2f.video.times import timed_frames

pytestmark = [pytest.mark.integration, needs_ffmpeg]
PICTURE = "testsrc2=size=64x48:rate=25:duration=6"
STREAMS = ("-map", "0:v", "-map", "1:a", "-pix_fmt", "yuv420p", "-g", "25")


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six seconds with sound."""
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    return made(path, *STREAMS, "-c:v", "libx264", "-c:a", "aac", "-movflags", "+faststart", picture=PICTURE)


def cut(path: Path) -> Path:
    """A copy that lacks its end."""
    data = path.read_bytes()
    copy = path.with_name(f"cut{path.suffix}")
    copy.write_bytes(data[: len(data) * 6 // 10])
    return copy


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.avi", "a.flv"])
def test_a_video_that_is_cut_off_is_told_before_the_work_and_the_rest_can_be_had(
    name: str, film: Path, tmp_path: Path
) -> None:
    ffmpeg("-i", film, "-c", "copy", "-movflags", "+faststart", tmp_path / name)
    given, output = cut(tmp_path / name), tmp_path / "large.mkv"
    with pytest.raises(ImageReadError, match=r"is cut off after \d\.\d\d .*end='\d\.\d\d' takes") as stop:
        enlarged(given, output)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([name, given.name])
    end = Fraction(str(stop.value.hints[0].value))
    assert 0.2 < end < 5
    assert 25 * end - 4 < enlarged(given, output, wanted=Range(end=end)).done < 25 * end + 1
    assert enlarged(given, output, wanted=Range(count=5), overwrite=True).done == 5


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.avi", "a.flv", "a.ts", "a.mov"])
def test_a_whole_video_is_taken_for_whole(name: str, film: Path, tmp_path: Path) -> None:
    ffmpeg("-i", film, "-c", "copy", tmp_path / name)
    with Source(tmp_path / name) as source:
        source.check_end(Range())
        shown = [timed.pts * source.clip.time_base for timed in source.frames(Range())]
    assert len(shown) == 150
    assert {round((b - a) * 1000) for a, b in pairwise(shown)} == {40}


def test_frames_of_avi_come_in_their_order_with_sound_in_time(film: Path, tmp_path: Path) -> None:
    """AVI tells when a frame is decoded; with B-frames, FFmpeg guesses wrong times from that."""
    ffmpeg("-i", film, "-c", "copy", tmp_path / "a.avi")
    enlarged(tmp_path / "a.avi", tmp_path / "b.mkv")
    shown = sorted(times(tmp_path / "b.mkv"))
    assert [round(at * 25) for at in shown] == list(range(round(shown[0] * 25), round(shown[0] * 25) + 150))
    assert shown[0] < 0.06  # the sound begins 0.02 s before the picture
    before, after = (pictures(path) for path in (film, tmp_path / "b.mkv"))
    assert np.abs(after[:, ::2, ::2].astype(int) - before).mean() < 4


def pictures(path: Path) -> np.ndarray:
    side = 48 * (2 if path.name == "b.mkv" else 1)
    raw = ffmpeg("-i", path, "-map", "0:v:0", "-fps_mode", "passthrough", "-pix_fmt", "gray", "-f", "rawvideo", "-")
    return np.frombuffer(raw, np.uint8).reshape(150, side, -1)


def test_frames_that_begin_before_zero_are_all_there(tmp_path: Path) -> None:
    early = made(tmp_path / "a.mkv", "-map", "0:v", "-c:v", "libx264", "-pix_fmt", "yuv420p")
    ffmpeg("-itsoffset", "-0.2", "-i", early, "-c", "copy", "-avoid_negative_ts", "disabled", tmp_path / "b.mkv")
    assert enlarged(tmp_path / "b.mkv", tmp_path / "c.mkv").done == 25
    shown = sorted(times(tmp_path / "c.mkv"))
    assert {round((b - a) * 1000) for a, b in pairwise(shown)} == {40}


def test_a_packet_of_nothing_shows_the_frame_before_on(tmp_path: Path) -> None:
    still = "color=red:size=64x48:rate=10:duration=1"
    given = made(tmp_path / "a.ogv", "-map", "0:v", "-c:v", "libtheora", "-pix_fmt", "yuv420p", picture=still)
    enlarged(given, tmp_path / "b.mkv")
    assert 0 < len(times(tmp_path / "b.mkv")) < 10


def test_big_endian_samples_are_read(tmp_path: Path) -> None:
    given = made(tmp_path / "a.mov", "-map", "0:v", "-c:v", "png", "-pix_fmt", "rgb48be")
    enlarged(given, tmp_path / "b.mkv", codec="ffv1")
    assert video_of(tmp_path / "b.mkv")["pix_fmt"] == "gbrp16le"
    levels = [
        np.frombuffer(ffmpeg("-i", tmp_path / name, "-pix_fmt", "rgb48le", "-f", "rawvideo", "-"), "<u2")
        for name in ("a.mov", "b.mkv")
    ]
    before, after = levels[0].reshape(25, 48, 64, 3), levels[1].reshape(25, 96, 128, 3)
    assert np.abs(after[:, ::2, ::2].astype(int) - before).max() <= 1


@pytest.mark.skipif(os.name == "nt", reason="names hold no colon there")
@pytest.mark.parametrize("name", ["http:a.mp4", "concat:a|b.mp4", "-.mp4", "a%03d.mp4", "y" * 240 + ".mp4"])
def test_names_are_only_names(name: str, film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """FFmpeg takes some for addresses, and goes to the network for them."""
    monkeypatch.chdir(tmp_path)
    os.link(film, name)
    Path("out").mkdir()
    assert enlarged(Path(name), Path("out") / name, wanted=Range(count=3)).done == 3
    assert os.listdir("out") == [name]


def test_a_name_that_is_too_long_is_told(film: Path, tmp_path: Path) -> None:
    with pytest.raises(WriteError, match="longer than 255 bytes"):
        enlarged(film, tmp_path / ("y" * 260 + ".mp4"))


def test_a_video_that_changes_meanwhile_makes_no_result(film: Path, tmp_path: Path) -> None:
    given = tmp_path / "a.mp4"
    given.write_bytes(film.read_bytes())

    class Touches(Nearest):
        def __call__(self, image: Any) -> Any:
            os.utime(given, (1, self.calls))
            return super().__call__(image)

    with pytest.raises(ImageReadError, match="changed while it was read"):
        enlarged(given, tmp_path / "b.mp4", Touches())
    assert not (tmp_path / "b.mp4").exists()


def test_damage_in_the_middle_is_told(film: Path, tmp_path: Path) -> None:
    told = probed(film, "-select_streams", "v", "-show_packets")["packets"]
    place, size = max((int(p["pos"]), int(p["size"])) for p in told if "K" in p["flags"] and float(p["pts_time"]) > 2)
    data = bytearray(film.read_bytes())
    for at in range(place + size // 2, place + size * 3 // 4, 50):
        data[at] ^= 0x55
    (tmp_path / "a.mp4").write_bytes(data)
    notes = list[str]()
    assert enlarged(tmp_path / "a.mp4", tmp_path / "b.mp4", note=notes.append).done > 140
    assert len(notes) == 1
    assert "in the input, first at" in notes[0]
    assert enlarged(film, tmp_path / "c.mp4", note=notes.append).done == 150
    assert len(notes) == 1


def test_a_bare_stream_has_the_times_of_its_rate(film: Path, tmp_path: Path) -> None:
    ffmpeg("-i", film, "-map", "0:v", "-c", "copy", "-bsf:v", "h264_mp4toannexb", tmp_path / "a.h264")
    with Source(tmp_path / "a.h264") as source:
        shown = [timed.pts * source.clip.time_base for timed in source.frames(Range())]
    assert [round(at * 25) for at in shown] == list(range(150))


@pytest.mark.parametrize("count", [3, 200])
def test_frames_without_times_follow_each_other(count: int) -> None:
    frames = [VideoFrame(16, 16, "gray") for _ in range(count)]
    late = VideoFrame(16, 16, "gray")
    late.pts = count * 10
    timed = timed_frames(iter([*frames, late]), rate=Fraction(10), time_base=Fraction(1, 100), late=None)
    assert [one.pts for one in timed] == [10 * n for n in range(count + 1)]
