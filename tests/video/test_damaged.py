"""Truncated videos, and videos with wrong frame times."""

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
    """A truncated copy."""
    data = path.read_bytes()
    copy = path.with_name(f"cut{path.suffix}")
    copy.write_bytes(data[: len(data) * 6 // 10])
    return copy


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.avi", "a.flv"])
def test_truncated_video_is_reported_before_the_work_and_read_on_request(name: str, film: Path, tmp_path: Path) -> None:
    ffmpeg("-i", film, "-c", "copy", "-movflags", "+faststart", tmp_path / name)
    given, output = cut(tmp_path / name), tmp_path / "large.mkv"
    with pytest.raises(ImageReadError, match=r"is cut off after \d\.\d\d .*end='\d\.\d\d' takes") as stop:
        enlarged(given, output)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([name, given.name])
    end = Fraction(str(stop.value.hints[0].value))
    assert 0.2 < end < 5
    assert 25 * end - 4 < enlarged(given, output, wanted=Range(end=end)).done < 25 * end + 1
    assert enlarged(given, output, wanted=Range(count=5), overwrite=True).done == 5


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.avi", "a.flv", "a.ts", "a.mov", "b.mp4"])
def test_complete_video_is_not_reported_as_truncated(name: str, film: Path, tmp_path: Path) -> None:
    fragments = ("-movflags", "frag_keyframe+empty_moov") if name == "b.mp4" else ()
    ffmpeg("-i", film, "-c", "copy", *fragments, tmp_path / name)
    with Source(tmp_path / name) as source:
        assert source.check(Range()) == []
        shown = [timed.pts * source.clip.time_base for timed in source.frames(Range())]
    assert len(shown) == 150
    assert {round((b - a) * 1000) for a, b in pairwise(shown)} == {40}


OTHER_WHOLE = {
    "a.mpg": ("-c:v", "mpeg2video", "-c:a", "mp2"),
    "a.wmv": ("-c:v", "wmv2", "-c:a", "wmav2"),
    "a.ogv": ("-c:v", "libtheora", "-c:a", "libvorbis"),
    "a.webm": ("-c:v", "libvpx", "-c:a", "libopus"),
    "a.y4m": ("-an",),
    "a.m2ts": ("-c:v", "libx264", "-c:a", "ac3"),
    "a.h264": ("-an", "-c:v", "libx264"),
}


@pytest.mark.parametrize("name", OTHER_WHOLE)
def test_whole_videos_of_other_kinds_are_taken_for_whole(name: str, film: Path, tmp_path: Path) -> None:
    ffmpeg("-i", film, *OTHER_WHOLE[name], tmp_path / name)
    with Source(tmp_path / name) as source:
        assert source.check(Range()) == []
        assert sum(1 for _ in source.frames(Range())) > 90  # Theora leaves out frames that do not change
        assert source.losses == []


@pytest.mark.parametrize("name", ["a.ts", "a.m2ts", "a.y4m", "a.ogv", "b.mp4"])
def test_a_cut_off_end_is_told_in_files_that_do_not_store_their_length(name: str, film: Path, tmp_path: Path) -> None:
    fragments = ("-movflags", "frag_keyframe+empty_moov") if name == "b.mp4" else ()
    ffmpeg("-i", film, *OTHER_WHOLE.get(name, ("-c", "copy", *fragments)), tmp_path / name)
    data = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(data[: len(data) * 6 // 10 // 188 * 188 + 50])
    with pytest.raises(ImageReadError, match=r"is (cut off|damaged) after \d\.\d\d.*allow_truncated=True takes"):
        enlarged(tmp_path / name, tmp_path / "large.mkv")
    notes = list[str]()
    done = enlarged(tmp_path / name, tmp_path / "large.mkv", allow_truncated=True, note=notes.append).done
    assert 20 < done < 105
    assert any("cut off after" in note for note in notes)


def damaged(path: Path, *, kind: str, place: float = 0.5, share: float = 0.05) -> Path:
    """A copy with a damaged place."""
    data = path.read_bytes()
    middle, length = round(len(data) * place), round(len(data) * share)
    put = {"zeros": bytes(length), "noise": np.random.default_rng(1).bytes(length), "hole": b""}[kind]
    copy = path.with_name(f"damaged{path.suffix}")
    copy.write_bytes(data[:middle] + put + data[middle + length :])
    return copy


@pytest.mark.parametrize("kind", ["zeros", "noise", "hole"])
@pytest.mark.parametrize("name", ["a.mkv", "a.webm", "a.ts", "a.flv", "a.ogv"])
def test_frames_that_are_lost_in_the_middle_are_told_before_the_work(
    name: str, kind: str, film: Path, tmp_path: Path
) -> None:
    """FFmpeg passes over the place and goes on behind it."""
    ffmpeg("-i", film, *OTHER_WHOLE.get(name, ("-c", "copy")), tmp_path / name)
    given, output = damaged(tmp_path / name, kind=kind), tmp_path / "large.mkv"
    with pytest.raises(ImageReadError, match=r"is damaged after \d\.\d\d s.*no frames from") as stop:
        enlarged(given, output)
    end, allowed = stop.value.hints
    assert allowed.option == "allow_truncated"
    assert not output.exists()
    assert not output.with_name("large.mkv.a2f-parts").exists()
    before = Fraction(str(end.value))
    assert 0.5 < before < 4
    notes = list[str]()
    assert enlarged(given, output, wanted=Range(end=before), note=notes.append).done > 25 * before * Fraction(2, 3) - 2
    assert notes == []
    done = enlarged(given, output, allow_truncated=True, overwrite=True, note=notes.append).done
    assert any("no frames from" in note for note in notes)
    shown = sorted(times(output))
    assert done == len(shown)
    assert max(b - a for a, b in pairwise(shown)) > Fraction(3, 50)  # the sound stays in time
    assert shown[-1] > 5


def test_damage_before_or_after_the_requested_part_does_not_matter(tmp_path: Path) -> None:
    picture = "testsrc2=size=64x48:rate=10:duration=80"
    given = made(
        tmp_path / "a.mkv", "-map", "0:v", "-c:v", "libx264", "-pix_fmt", "yuv420p", "-g", "10", picture=picture
    )
    given = damaged(given, kind="zeros")
    for start, end in ((0, 30), (65, 75)):
        with Source(given) as source:
            assert source.check(Range(start=Fraction(start), end=Fraction(end))) == []
    with Source(given) as source, pytest.raises(ImageReadError, match="damaged after"):
        source.check(Range(start=Fraction(20), end=Fraction(70)))


def test_frames_that_cannot_be_decoded_are_an_error_or_left_out_and_told(film: Path, tmp_path: Path) -> None:
    given, notes = damaged(film, kind="zeros", place=0.9), list[str]()
    given = given.rename(tmp_path / "a.mp4")
    with pytest.raises(ImageReadError, match=r"is damaged after [345]\.\d+ s .*allow_truncated=True takes"):
        enlarged(given, tmp_path / "b.mkv")
    done = enlarged(given, tmp_path / "b.mkv", allow_truncated=True, note=notes.append).done
    assert 100 < done < 150
    assert any("could not be decoded, first after " in note for note in notes)
    assert any("frames were finished by an earlier run" in note for note in notes)  # those before the place


def test_missing_frames_of_avi_are_told_because_sound_is_late_after_them(film: Path, tmp_path: Path) -> None:
    ffmpeg("-i", film, "-c:v", "mpeg4", "-g", "25", "-c:a", "mp3", tmp_path / "a.avi")
    notes = list[str]()
    enlarged(damaged(tmp_path / "a.avi", kind="zeros", share=0.1), tmp_path / "b.mkv", note=notes.append)
    assert any("before its declared end" in note for note in notes)


def test_pauses_of_a_constant_rate_are_told_and_those_of_a_variable_rate_are_not(tmp_path: Path) -> None:
    frames = "select='not(between(n,10,19))'"
    ffmpeg("-f", "lavfi", "-i", PICTURE, "-vf", frames, "-fps_mode", "passthrough", "-c:v", "ffv1", tmp_path / "a.mkv")
    with Source(tmp_path / "a.mkv") as source:
        notes = source.check(Range())
    assert len(notes) == 1
    assert notes[0].endswith("its frames come every 0.040 s; no frames from 0.40 to 0.80 s")
    frames = "select='lt(mod(n*n,7),3)'"
    ffmpeg("-f", "lavfi", "-i", PICTURE, "-vf", frames, "-fps_mode", "passthrough", "-c:v", "ffv1", tmp_path / "b.mkv")
    with Source(tmp_path / "b.mkv") as source:
        assert source.check(Range()) == []


def test_avi_frames_are_in_order_with_synchronous_sound(film: Path, tmp_path: Path) -> None:
    """AVI stores decoding times. With B-frames, FFmpeg computes wrong presentation times from them."""
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


def test_frames_before_time_zero_are_kept(tmp_path: Path) -> None:
    early = made(tmp_path / "a.mkv", "-map", "0:v", "-c:v", "libx264", "-pix_fmt", "yuv420p")
    ffmpeg("-itsoffset", "-0.2", "-i", early, "-c", "copy", "-avoid_negative_ts", "disabled", tmp_path / "b.mkv")
    assert enlarged(tmp_path / "b.mkv", tmp_path / "c.mkv").done == 25
    shown = sorted(times(tmp_path / "c.mkv"))
    assert {round((b - a) * 1000) for a, b in pairwise(shown)} == {40}


@pytest.mark.parametrize("name", ["b.mp4", "b.mkv"])
def test_a_frame_may_be_shown_for_hours(name: str, tmp_path: Path) -> None:
    slow = "testsrc2=size=64x48:rate=1/20000:duration=60000"
    given = made(tmp_path / "a.mp4", "-map", "0:v", "-c:v", "libx264", "-bf", "0", "-pix_fmt", "yuv420p", picture=slow)
    enlarged(given, tmp_path / name)
    assert sorted(times(tmp_path / name)) == [0, 20_000, 40_000]


def test_empty_packet_repeats_the_previous_frame(tmp_path: Path) -> None:
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
def test_file_names_are_not_parsed_as_addresses(
    name: str, film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FFmpeg would read some of these file names as network addresses."""
    monkeypatch.chdir(tmp_path)
    os.link(film, name)
    Path("out").mkdir()
    assert enlarged(Path(name), Path("out") / name, wanted=Range(count=3)).done == 3
    assert os.listdir("out") == [name]


def test_too_long_file_name_is_an_error(film: Path, tmp_path: Path) -> None:
    with pytest.raises(WriteError, match="longer than 255 bytes"):
        enlarged(film, tmp_path / ("y" * 260 + ".mp4"))


def test_video_that_changes_during_the_run_makes_no_result(film: Path, tmp_path: Path) -> None:
    given = tmp_path / "a.mp4"
    given.write_bytes(film.read_bytes())

    class Touches(Nearest):
        def __call__(self, image: Any) -> Any:
            os.utime(given, (1, self.calls))
            return super().__call__(image)

    with pytest.raises(ImageReadError, match="changed while it was read"):
        enlarged(given, tmp_path / "b.mp4", Touches())
    assert not (tmp_path / "b.mp4").exists()


def test_damage_in_the_middle_is_reported(film: Path, tmp_path: Path) -> None:
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


def test_raw_stream_gets_times_from_its_frame_rate(film: Path, tmp_path: Path) -> None:
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
