"""`a2f video`: sizes, parts of a video, repeats, fields, pipes, refusals."""

import json
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from tests.video.clips import (
    Nearest,
    decoded,
    enlarged,
    ffmpeg,
    made,
    needs_ffmpeg,
    packets,
    planned,
    probed,
    streams,
    times,
    video_of,
)

from a2f.errors import ImageReadError, LossyFormatError, OutputExistsError, UsageError
from a2f.sizes import Target
from a2f.video import source as source_module
from a2f.video.colour import layout_of, planes_of
from a2f.video.source import Range, Source, seconds_of

pytestmark = [pytest.mark.integration, needs_ffmpeg]
H264 = ("-map", "0:v", "-c:v", "libx264", "-pix_fmt", "yuv420p")
LOSSLESS = ("-map", "0:v", "-c:v", "ffv1")


def test_every_frame_is_enlarged_from_its_own_input(tmp_path: Path) -> None:
    arguments = (*LOSSLESS, "-pix_fmt", "yuv444p", "-color_range", "tv", "-colorspace", "bt709")
    given = made(tmp_path / "a.mkv", *arguments, picture="testsrc=size=64x48:rate=25:duration=1,hue=s=0.3")
    enlarged(given, tmp_path / "large.mkv")
    before, after = (
        np.frombuffer(ffmpeg("-i", file, "-f", "rawvideo", "-"), np.uint8).reshape(25, 3, side, -1)
        for file, side in ((given, 48), (tmp_path / "large.mkv", 96))
    )
    large = before.repeat(2, axis=2).repeat(2, axis=3).astype(int)
    assert np.abs(after - large).max() <= 1


@pytest.mark.parametrize(("shown", "size"), [(90, (200, 150)), (92, (202, 152))])
def test_exact_height_applies_to_the_displayed_picture(shown: int, size: tuple[int, int], tmp_path: Path) -> None:
    made(tmp_path / "plain.mp4", *H264)
    given = tmp_path / "turned.mp4"
    ffmpeg("-i", tmp_path / "plain.mp4", "-c", "copy", "-metadata:s:v:0", "rotate=90", given)
    enlarged(given, tmp_path / "large.mp4", target=Target(height=shown + 110))
    after = video_of(tmp_path / "large.mp4")
    assert (after["width"], after["height"]) == size
    assert after["side_data_list"][0]["rotation"] == video_of(given)["side_data_list"][0]["rotation"]


def test_odd_side_gets_one_more_pixel_for_chroma(tmp_path: Path) -> None:
    given = made(tmp_path / "a.mkv", *LOSSLESS, "-pix_fmt", "yuv420p", picture="testsrc=size=63x47:rate=5:duration=1")
    enlarged(given, tmp_path / "large.mkv", Nearest(3))
    after = video_of(tmp_path / "large.mkv")
    assert (after["width"], after["height"]) == (190, 142)


def test_part_of_a_video_starts_at_0_with_its_sound(tmp_path: Path) -> None:
    given = made(tmp_path / "a.mkv", *H264, "-map", "1:a", "-c:a", "flac")
    enlarged(given, tmp_path / "part.mkv", wanted=Range(start=Fraction("0.4"), end=Fraction("0.8")))
    assert sorted(times(tmp_path / "part.mkv")) == [Fraction(n, 25) for n in range(10)]
    hashes = [data for _, data, _ in packets(tmp_path / "part.mkv", "a")]
    assert hashes == [data for at, data, _ in packets(given, "a") if 0.4 <= float(at) < 0.8]


def test_preview_has_the_requested_number_of_frames(tmp_path: Path) -> None:
    given = made(tmp_path / "a.mkv", *H264, "-map", "1:a", "-c:a", "flac")
    assert enlarged(given, tmp_path / "look.mkv", wanted=Range(count=7)).done == 7
    assert len(decoded(tmp_path / "look.mkv")) == 7
    sound = [float(at) for at, _, _ in packets(given, "a")]
    assert [float(at) for at, _, _ in packets(tmp_path / "look.mkv", "a")] == [at for at in sound if at < 7 / 25]


def test_part_is_relative_to_the_first_timestamp(tmp_path: Path) -> None:
    given = made(tmp_path / "a.ts", *H264, "-muxdelay", "0", "-output_ts_offset", "100")
    assert min(times(given)) >= 100
    enlarged(given, tmp_path / "whole.mkv")
    assert sorted(times(tmp_path / "whole.mkv"))[0] == pytest.approx(100, abs=0.1)
    wanted = Range(start=Fraction("0.2"), end=Fraction("0.4"))
    assert enlarged(given, tmp_path / "part.mkv", wanted=wanted).done == 5
    assert min(times(tmp_path / "part.mkv")) == 0


def test_frames_that_do_not_change_are_not_computed_again(tmp_path: Path) -> None:
    still = "testsrc2=size=64x48:rate=25:duration=1,fps=5,fps=25"  # each frame five times
    given = made(tmp_path / "a.mkv", *LOSSLESS, "-pix_fmt", "yuv420p", picture=still)
    upscaler = Nearest()
    ended = enlarged(given, tmp_path / "large.mkv", upscaler)
    assert (ended.done, ended.repeats, upscaler.calls) == (25, 20, 5)
    sums = [line.split(",")[-1] for line in decoded(tmp_path / "large.mkv")]
    assert len(set(sums)) == 5
    assert all(sums[n] == sums[n - n % 5] for n in range(25))


def test_interlaced_video_is_refused_or_deinterlaced_on_request(tmp_path: Path) -> None:
    fields = "testsrc2=size=64x48:rate=50:duration=1,interlace"
    mpeg2 = ("-map", "0:v", "-c:v", "mpeg2video", "-q:v", "2", "-flags", "+ildct+ilme", "-top", "1")
    given = made(tmp_path / "a.mkv", *mpeg2, picture=fields)
    assert video_of(given)["field_order"] in ("tt", "tb", "bt", "bb")
    with pytest.raises(ImageReadError, match="deinterlace=True"):
        enlarged(given, tmp_path / "large.mkv")
    enlarged(given, tmp_path / "large.mkv", deinterlace=True)
    assert video_of(tmp_path / "large.mkv")["field_order"] == "progressive"
    assert sorted(times(tmp_path / "large.mkv")) == sorted(times(given))


def test_unknown_matrix_is_reported_if_players_would_use_another(tmp_path: Path) -> None:
    given = made(tmp_path / "a.mkv", *H264, picture="testsrc2=size=640x36:rate=5:duration=1")
    assert "color_space" not in video_of(given)
    enlarged(given, tmp_path / "large.mkv")
    assert video_of(tmp_path / "large.mkv")["color_space"] == "smpte170m"


def test_losses_are_refused_unless_forced(tmp_path: Path) -> None:
    given = made(tmp_path / "a.mkv", *H264, "-map", "1:a", "-map", "1:a", "-c:a", "pcm_s32be")
    with pytest.raises(LossyFormatError, match=r"stream 1 .audio, pcm_s32be. and stream 2"):
        enlarged(given, tmp_path / "large.webm")
    enlarged(given, tmp_path / "large.webm", force=True)
    assert [stream["codec_name"] for stream in streams(tmp_path / "large.webm")] == ["vp9"]
    deep = made(tmp_path / "deep.mkv", *LOSSLESS, "-pix_fmt", "yuv444p12le")
    with pytest.raises(LossyFormatError, match=r"12 bits.*choose codec=.hevc., or choose codec=.ffv1."):
        enlarged(deep, tmp_path / "deep.mp4", codec="h264")


def test_impossible_requests(tmp_path: Path) -> None:
    given = made(tmp_path / "a.mkv", *H264)
    (tmp_path / "there.mkv").write_bytes(b"")
    for output, options, error, told in (
        ("large.avi", {}, UsageError, ".mkv"),
        ("large.mp4", {"codec": "h265"}, UsageError, "did you mean 'h264'"),
        ("large.webm", {"codec": "h264"}, UsageError, ".webm cannot store h264"),
        ("large.mp4", {"crf": 90}, UsageError, "0 (the best) to 51"),
        ("large.mkv", {"codec": "ffv1", "crf": 9}, UsageError, "leave out crf"),
        ("there.mkv", {}, OutputExistsError, "overwrite=True"),
        ("a.mkv", {"overwrite": True}, UsageError, "never replaced"),
    ):
        with pytest.raises(error) as caught, Source(given) as source:
            planned(source, tmp_path / output, Nearest(), **options)
        assert told in str(caught.value)
    (tmp_path / "text.mkv").write_text("no video")
    for name, told in (("text.mkv", "not a video"), ("absent.mkv", "does not exist")):
        with pytest.raises(ImageReadError, match=told):
            Source(tmp_path / name)
    made(tmp_path / "sound.mkv", "-map", "1:a")
    with pytest.raises(ImageReadError, match="no video stream"):
        Source(tmp_path / "sound.mkv")


@pytest.mark.parametrize("suffix", [".mkv", ".ts"])
def test_late_part_equals_the_frames_of_the_whole(suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture = "testsrc2=size=32x24:rate=25:duration=4"
    given = made(tmp_path / f"a{suffix}", *H264, "-g", "25", picture=picture)
    wanted = Range(start=Fraction("2.5"), end=Fraction("2.8"))
    with Source(given) as source:
        part = source.in_its_time(wanted)
        plain = [planes_of(timed.frame, layout_of("yuv420p")) for timed in source.frames(part)]
    monkeypatch.setattr(source_module, "SEEK_FROM_S", 1)
    monkeypatch.setattr(source_module, "MARGIN_S", 1)
    with Source(given) as source:
        sought = [planes_of(timed.frame, layout_of("yuv420p")) for timed in source.frames(part)]
    assert len(plain) == len(sought) > 5
    assert all((a == b).all() for one, two in zip(plain, sought, strict=True) for a, b in zip(one, two, strict=True))


def test_time_formats() -> None:
    assert [seconds_of(text) for text in ("90", "90.5", "1:30", "1:00:00.25")] == [90, 90.5, 90, Fraction("3600.25")]
    for text in ("", "1:", "-3", "1h", "1:2:3:4"):
        with pytest.raises(UsageError):
            seconds_of(text)
    with pytest.raises(UsageError, match="not after"):
        Range(start=Fraction(2), end=Fraction(1))


def test_y4m_in_and_out_by_pipe_with_the_shipped_network(tmp_path: Path) -> None:
    given = made(
        tmp_path / "a.mkv", *LOSSLESS, "-pix_fmt", "yuv420p", picture="testsrc2=size=32x24:rate=5:duration=0.6"
    )
    raw = ffmpeg("-i", given, "-f", "yuv4mpegpipe", "-")
    command = [sys.executable, "-m", "a2f", "video", "-", "-o", "-", "-s", "2", "-q"]
    piped = subprocess.run(command, input=raw, capture_output=True, check=True)
    (tmp_path / "piped.y4m").write_bytes(piped.stdout)
    told = video_of(tmp_path / "piped.y4m")
    assert (told["width"], told["height"], told["pix_fmt"], told["r_frame_rate"]) == (64, 48, "yuv420p", "5/1")
    command = [sys.executable, "-m", "a2f", "video", str(given), "-o", str(tmp_path / "file.mkv"), "-s", "2", "--json"]
    lines = subprocess.run(command, capture_output=True, check=True, text=True).stdout.splitlines()
    last = json.loads(lines[-1])
    assert (last["event"], last["done"], last["frames"], last["seconds_left"]) == ("done", 3, 3, 0)
    frames = [[line.split(",")[-1] for line in decoded(tmp_path / name)] for name in ("piped.y4m", "file.mkv")]
    assert frames[0] == frames[1]
    assert probed(tmp_path / "file.mkv", "-show_format")["format"]["nb_streams"] == 1


@pytest.mark.parametrize(("cut", "code"), [(0, 0), (-100, 3), (-(6 + 32 * 24 * 3 // 2), 0)])
def test_pipe_that_ends_inside_a_frame_is_an_error(cut: int, code: int, tmp_path: Path) -> None:
    small = "testsrc2=size=32x24:rate=5:duration=0.6"
    given = made(tmp_path / "a.mkv", *LOSSLESS, "-pix_fmt", "yuv420p", picture=small)
    raw = ffmpeg("-i", given, "-f", "yuv4mpegpipe", "-")
    command = [sys.executable, "-m", "a2f", "video", "-", "-o", str(tmp_path / "b.mkv"), "-s", "2"]
    done = subprocess.run(command, input=raw[: len(raw) + cut], capture_output=True, check=False)
    assert done.returncode == code
    assert (tmp_path / "b.mkv").exists() == (code == 0)
    assert (b"the input ends in the middle of a frame" in done.stderr) == (code != 0)


def test_y4m_of_10_bits_is_complete(tmp_path: Path) -> None:
    given = made(tmp_path / "a.mkv", *LOSSLESS, "-pix_fmt", "yuv422p10le")
    enlarged(given, tmp_path / "large.y4m")
    enlarged(given, tmp_path / "large.mkv")
    assert video_of(tmp_path / "large.y4m")["pix_fmt"] == "yuv422p10le"
    sums = [[line.split(",")[-1] for line in decoded(tmp_path / f"large{end}")] for end in (".y4m", ".mkv")]
    assert sums[0] == sums[1]


@pytest.mark.parametrize(("codec", "quick", "slow"), [("h264", "ultrafast", "slower"), ("av1", "12", "4")])
def test_a_slower_preset_makes_a_smaller_file(codec: str, quick: str, slow: str, tmp_path: Path) -> None:
    given = made(tmp_path / "a.mkv", "-map", "0:v", "-c:v", "ffv1", "-pix_fmt", "yuv420p")
    for preset in (quick, slow):
        enlarged(given, tmp_path / f"{preset}.mkv", codec=codec, preset=preset)
    assert (tmp_path / f"{slow}.mkv").stat().st_size < (tmp_path / f"{quick}.mkv").stat().st_size


def test_presets_depend_on_the_codec(tmp_path: Path) -> None:
    given = made(tmp_path / "a.mkv", "-map", "0:v", "-c:v", "ffv1", "-pix_fmt", "yuv420p")
    with pytest.raises(UsageError, match=r"preset medium: av1 accepts 13, 12, .* 0 \(the first is the fastest\)"):
        enlarged(given, tmp_path / "b.mkv", codec="av1", preset="medium")
    with pytest.raises(UsageError, match="ffv1 has no presets"):
        enlarged(given, tmp_path / "b.mkv", preset="medium")
    with pytest.raises(UsageError, match="y4m has no codec, crf or preset"):
        enlarged(given, tmp_path / "b.y4m", preset="medium")
