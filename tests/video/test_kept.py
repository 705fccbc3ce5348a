"""The properties that an enlarged video keeps, checked with ffprobe."""

import os
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from tests.video.clips import (
    PICTURE,
    Nearest,
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

from a2f.errors import LossyFormatError
from a2f.video.colour import LEFT, TOP_LEFT, Siting
from a2f.video.encoder import Encoding
from a2f.video.source import Source

pytestmark = [pytest.mark.integration, needs_ffmpeg]
SRT = "1\n00:00:00,100 --> 00:00:00,500\nOne\n\n2\n00:00:00,600 --> 00:00:00,900\nTwo\n"
CHAPTERS = (
    ";FFMETADATA1\ntitle=A film\n[CHAPTER]\nTIMEBASE=1/1000\nSTART=0\nEND=400\ntitle=First\n"
    "[CHAPTER]\nTIMEBASE=1/1000\nSTART=400\nEND=1000\ntitle=Second\n"
)
COLOURS = ("color_range", "color_space", "color_transfer", "color_primaries")
SHAPE = ("pix_fmt", "sample_aspect_ratio", "field_order", "avg_frame_rate", "r_frame_rate", "start_time")
HDR10 = (
    "hdr10=1:repeat-headers=1:colorprim=bt2020:transfer=smpte2084:colormatrix=bt2020nc:max-cll=1000,400:"
    "master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,50)"
)
X264 = ("-map", "0:v", "-c:v", "libx264")
TAGGED = ("-colorspace", "bt709", "-color_trc", "bt709", "-color_primaries", "bt709", "-color_range", "tv")
SD = ("-colorspace", "bt470bg", "-color_trc", "gamma28", "-color_primaries", "bt470bg", "-color_range", "tv")
FULL = ("-pix_fmt", "yuvj420p", "-color_range", "pc", "-colorspace", "bt709")

# Variants of the test picture, made by FFmpeg.
CASES = {
    "h264 bt709": ("a.mp4", (*X264, "-pix_fmt", "yuv420p", *TAGGED)),
    "h264 bt470bg": ("a.mkv", (*X264, "-pix_fmt", "yuv420p", *SD)),
    "h264 full range": ("a.mp4", (*X264, *FULL)),
    "h264 10 bits": ("a.mkv", (*X264, "-pix_fmt", "yuv420p10le", *TAGGED)),
    "h264 4:2:2 10 bits": ("a.mov", (*X264, "-pix_fmt", "yuv422p10le")),
    "h264 4:4:4": ("a.mp4", (*X264, "-pix_fmt", "yuv444p", *TAGGED)),
    "h264 grey": ("a.mkv", (*X264, "-pix_fmt", "gray")),
    "h264 pixels 4:3": ("a.mp4", (*X264, "-pix_fmt", "yuv420p", "-vf", "setsar=4/3")),
    "hevc HDR10": (
        "a.mp4",
        ("-map", "0:v", "-c:v", "libx265", "-pix_fmt", "yuv420p10le", "-x265-params", f"log-level=error:{HDR10}"),
    ),
    "vp9": ("a.webm", ("-map", "0:v", "-c:v", "libvpx-vp9", "-pix_fmt", "yuv420p", *TAGGED)),
    "ffv1 RGB": ("a.mkv", ("-map", "0:v", "-c:v", "ffv1", "-pix_fmt", "gbrp")),
    "ffv1 alpha": ("a.mkv", ("-map", "0:v", "-c:v", "ffv1", "-pix_fmt", "yuva444p")),
}


@pytest.mark.parametrize("name", CASES)
def test_colours_depth_aspect_ratio_and_times_match_the_input(name: str, tmp_path: Path) -> None:
    file, arguments = CASES[name]
    given = made(tmp_path / file, *arguments)
    output = tmp_path / f"large{given.suffix}"
    enlarged(given, output)
    before, after = video_of(given), video_of(output)
    for key in ("codec_name", *SHAPE, *COLOURS):
        assert after.get(key) == before.get(key) or (key, before[key]) == ("sample_aspect_ratio", "1:1"), key
    assert (after["width"], after["height"]) == (2 * before["width"], 2 * before["height"])
    assert sorted(times(output)) == sorted(times(given))
    assert times(given)[0] == 0


def side_data(path: Path) -> list[dict[str, Any]]:
    entries = ("-select_streams", "v:0", "-read_intervals", "%+#1", "-show_frames")
    found: list[dict[str, Any]] = probed(path, *entries)["frames"][0]["side_data_list"]
    return [entry for entry in found if "Unregistered" not in entry["side_data_type"]]


@pytest.mark.parametrize("codec", ["hevc", "av1"])
def test_hdr10_metadata_are_kept_by_every_codec_that_supports_them(codec: str, tmp_path: Path) -> None:
    file, arguments = CASES["hevc HDR10"]
    given = made(tmp_path / file, *arguments)
    output = tmp_path / "large.mp4"
    enlarged(given, output, codec=codec)
    before, after = side_data(given), side_data(output)
    assert {entry["side_data_type"] for entry in before} == {
        "Mastering display metadata",
        "Content light level metadata",
    }
    for told, kept in zip(before, after, strict=True):
        for key, value in told.items():
            number = as_number(value)
            assert as_number(kept[key]) == (number if isinstance(number, str) else pytest.approx(number, rel=2e-3)), key


@pytest.mark.parametrize(
    ("name", "codec"), [("a.mp4", "hevc"), ("a.mov", "h264"), ("a.mp4", "av1"), ("a.mkv", "ffv1"), ("a.webm", "vp9")]
)
def test_hdr10_metadata_are_in_the_container_too(name: str, codec: str, tmp_path: Path) -> None:
    file, arguments = CASES["hevc HDR10"]
    given = made(tmp_path / f"given-{file}", *arguments)
    enlarged(given, tmp_path / name, codec=codec, force=codec == "vp9")  # which holds 8 bits only
    told = {entry["side_data_type"]: entry for entry in video_of(tmp_path / name)["side_data_list"]}
    light, display = told["Content light level metadata"], told["Mastering display metadata"]
    assert (light["max_content"], light["max_average"]) == (1000, 400)
    numbers = [as_number(display[key]) for key in ("red_x", "green_y", "white_point_x", "max_luminance")]
    assert numbers == pytest.approx([0.68, 0.69, 0.3127, 1000])
    # Again: what only the file tells is read.
    enlarged(tmp_path / name, tmp_path / "again.mkv", codec="ffv1")
    assert {entry["side_data_type"] for entry in video_of(tmp_path / "again.mkv")["side_data_list"]} == set(told)


SITED = {"left": LEFT, "center": Siting(across=0.5, down=0.5), "topleft": TOP_LEFT}


@pytest.mark.parametrize("place", SITED)
@pytest.mark.parametrize(("codec", "name"), [("h264", "a.mp4"), ("hevc", "a.mov"), ("vp9", "a.webm"), ("av1", "a.mkv")])
def test_chroma_location_is_read_and_written(place: str, codec: str, name: str, tmp_path: Path) -> None:
    given = made(tmp_path / "given.mp4", *X264, "-pix_fmt", "yuv420p", "-chroma_sample_location", place)
    with Source(given) as source:
        assert source.clip.siting == SITED[place]
    enlarged(given, tmp_path / name, codec=codec)
    with Source(tmp_path / name) as source:
        assert source.clip.siting == SITED[place]
    assert video_of(tmp_path / name)["chroma_location"] == video_of(given)["chroma_location"] == place


def test_chroma_is_moved_to_the_default_location_if_it_cannot_be_stored(tmp_path: Path) -> None:
    given = made(tmp_path / "given.mp4", *X264, "-pix_fmt", "yuv420p", "-chroma_sample_location", "center")
    with Source(given) as source:
        plan = planned(source, tmp_path / "a.mp4", Nearest(), codec="av1")
    assert (plan.given_siting, plan.siting) == (SITED["center"], LEFT)


@pytest.mark.skipif(not hasattr(os, "sched_getscheduler"), reason="the system has no such scheduling")
@pytest.mark.parametrize("codec", ["av1", "hevc", "h264"])
def test_encoders_use_a_limited_number_of_threads(codec: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SVT-AV1 requests real-time threads if it runs as root."""
    opened, seen = Encoding.open, set[int]()

    def watched(encoding: Encoding) -> Any:
        context = opened(encoding)
        with suppress(ProcessLookupError):
            seen.update(os.sched_getscheduler(int(thread)) for thread in os.listdir("/proc/self/task"))
        return context

    monkeypatch.setattr(Encoding, "open", watched)
    file, arguments = CASES["hevc HDR10"]
    enlarged(made(tmp_path / file, *arguments), tmp_path / "large.mp4", codec=codec)
    assert seen == {os.SCHED_OTHER}
    assert os.sched_getscheduler(0) == os.SCHED_OTHER


def test_hdr10_metadata_in_h264_are_what_newer_ffmpeg_reads(tmp_path: Path) -> None:
    file, arguments = CASES["hevc HDR10"]
    given = made(tmp_path / file, *arguments)
    enlarged(given, tmp_path / "large.mp4", codec="h264")
    with Source(given) as before, Source(tmp_path / "large.mp4") as after:  # FFmpeg 5.1 does not read them in H.264
        assert before.clip.hdr.mastering is not None
        assert after.clip.hdr == before.clip.hdr


def as_number(value: Any) -> Any:
    """Convert a fraction of ffprobe to a number, because codecs use different units."""
    if isinstance(value, str) and "/" in value:
        above, below = value.split("/")
        return int(above) / int(below)
    return value


def test_non_square_pixels_are_refused_if_they_cannot_be_stored(tmp_path: Path) -> None:
    given = made(tmp_path / "a.mkv", "-map", "0:v", "-c:v", "ffv1", "-pix_fmt", "yuv420p", "-vf", "setsar=4/3")
    with pytest.raises(LossyFormatError, match="4/3"):
        enlarged(given, tmp_path / "large.mkv")
    enlarged(given, tmp_path / "large.mkv", codec="h264")
    assert video_of(tmp_path / "large.mkv")["sample_aspect_ratio"] == "4:3"


@pytest.fixture
def film(tmp_path: Path) -> Path:
    """Two sounds, two kinds of subtitles, a font, chapters, languages, and frames at a variable rate."""
    (tmp_path / "a.srt").write_text(SRT)
    (tmp_path / "chapters.txt").write_text(CHAPTERS)
    (tmp_path / "font.ttf").write_bytes(bytes(range(256)) * 8)
    given = tmp_path / "film.mkv"
    ffmpeg(
        *("-f", "lavfi", "-i", PICTURE, "-f", "lavfi", "-i", "sine=frequency=440:duration=1:sample_rate=48000"),
        *("-i", tmp_path / "a.srt", "-i", tmp_path / "chapters.txt"),
        *("-map", "1:a", "-map", "0:v", "-map", "1:a", "-map", "2:s", "-map", "2:s", "-map_metadata", "3"),
        *("-c:v", "libx264", "-pix_fmt", "yuv420p", "-vf", "select='not(mod(n,3))+eq(mod(n,7),2)'", "-fps_mode", "vfr"),
        *("-c:a:0", "flac", "-c:a:1", "ac3", "-c:s:0", "srt", "-c:s:1", "ass", "-metadata:s:a:0", "language=deu"),
        *("-metadata:s:s:1", "title=Signs", "-disposition:s:1", "forced", "-disposition:a:1", "default"),
        *("-attach", tmp_path / "font.ttf", "-metadata:s:t", "mimetype=application/x-truetype-font"),
        given,
    )
    return given


def test_other_streams_are_copied_exactly(film: Path, tmp_path: Path) -> None:
    output = tmp_path / "large.mkv"
    enlarged(film, output)
    for kind in ("a", "s"):
        assert packets(film, kind) == packets(output, kind), kind
        assert packets(film, kind)
    assert sorted(times(film)) == sorted(times(output))
    assert len({b - a for a, b in zip(sorted(times(film)), sorted(times(film))[1:], strict=False)}) > 1  # variable
    before, after = streams(film), streams(output)
    assert [s["codec_type"] for s in after] == [s["codec_type"] for s in before]
    for given, copied in zip(before, after, strict=True):
        assert copied["disposition"] == given["disposition"]
        for key in ("language", "title", "filename", "mimetype"):
            assert copied.get("tags", {}).get(key) == given.get("tags", {}).get(key)
    dump = [
        ffmpeg("-dump_attachment:t:0", tmp_path / f"{n}.ttf", "-i", f, "-t", "0", "-f", "null", "-")
        for n, f in enumerate((film, output))
    ]
    assert len(dump) == 2
    assert (tmp_path / "1.ttf").read_bytes() == (tmp_path / "font.ttf").read_bytes()
    assert probed(output, "-show_chapters") == probed(film, "-show_chapters")
    title = ("-show_entries", "format_tags=title")
    assert probed(output, *title)["format"] == probed(film, *title)["format"] == {"tags": {"title": "A film"}}


def test_mp4_keeps_sound_subtitles_chapters_cover_and_rotation(tmp_path: Path) -> None:
    (tmp_path / "a.srt").write_text(SRT)
    (tmp_path / "chapters.txt").write_text(CHAPTERS)
    ffmpeg("-f", "lavfi", "-i", PICTURE, "-frames:v", "1", tmp_path / "cover.png")
    made(tmp_path / "plain.mp4", *X264, "-map", "1:a", "-pix_fmt", "yuv420p", "-c:a", "aac")
    given = tmp_path / "given.mp4"
    ffmpeg(
        *("-i", tmp_path / "plain.mp4", "-i", tmp_path / "a.srt", "-i", tmp_path / "cover.png"),
        *("-i", tmp_path / "chapters.txt", "-map", "0", "-map", "1", "-map", "2", "-map_metadata", "3"),
        *("-c", "copy", "-c:s", "mov_text", "-disposition:v:1", "attached_pic", "-metadata:s:v:0", "rotate=90", given),
    )
    output = tmp_path / "large.mp4"
    enlarged(given, output)
    for kind in ("a", "s", "v:1"):
        assert packets(output, kind) == packets(given, kind), kind
        assert packets(given, kind)
    assert video_of(output)["side_data_list"] == video_of(given)["side_data_list"]
    assert [s["codec_name"] for s in streams(output)] == [s["codec_name"] for s in streams(given)]
    assert probed(output, "-show_chapters") == probed(given, "-show_chapters")
    assert streams(output)[2]["disposition"] == streams(given)[2]["disposition"]


def captioned(stream: bytes) -> bytes:
    """A raw H.264 stream with a closed caption (CEA-708 in an SEI message) before each picture."""
    caption = bytes.fromhex("b5003147413934" + "03" + "42ff" + "fc9420" + "fc9421" + "ff")
    message = b"\x00\x00\x01\x06\x04" + bytes([len(caption)]) + caption + b"\x80"
    pieces = re.split(rb"(?=\x00\x00\x01[\x41\x65\x01\x61\x21\x25])", stream)
    return pieces[0] + b"".join(message + piece for piece in pieces[1:])


def test_closed_captions_are_kept_or_reported(tmp_path: Path) -> None:
    plain = made(tmp_path / "plain.h264", *X264, "-pix_fmt", "yuv420p", "-bf", "0", "-x264-params", "slices=1")
    (tmp_path / "told.h264").write_bytes(captioned(plain.read_bytes()))
    given = tmp_path / "given.mkv"
    ffmpeg("-r", "25", "-i", tmp_path / "told.h264", "-c", "copy", given)
    enlarged(given, tmp_path / "large.mkv")
    for file in (given, tmp_path / "large.mkv"):
        frames = probed(file, "-select_streams", "v:0", "-show_frames")["frames"]
        with_captions = [f for f in frames if "Closed Captions" in str(f.get("side_data_list"))]
        assert len(with_captions) == len(frames) == 25
    notes = list[str]()
    enlarged(given, tmp_path / "other.mkv", codec="vp9", note=notes.append)
    assert notes == ["closed captions inside the picture are left out; h264 keeps them"]


def alpha_of_frames(path: Path, decoder: str) -> bytes:
    return ffmpeg("-c:v", decoder, "-i", path, "-vf", "alphaextract", "-f", "rawvideo", "-pix_fmt", "gray", "-")


def test_transparency_of_vp9_is_kept_or_refused(tmp_path: Path) -> None:
    """The alpha is in a separate layer that FFmpeg's VP9 decoder ignores."""
    given, picture = tmp_path / "a.webm", "color=red@0.4:size=64x48:rate=25:duration=0.4,format=yuva420p"
    ffmpeg("-f", "lavfi", "-i", picture, "-c:v", "libvpx-vp9", "-auto-alt-ref", "0", given)
    enlarged(given, tmp_path / "b.webm")
    enlarged(given, tmp_path / "c.mkv", codec="ffv1")
    enlarged(tmp_path / "c.mkv", tmp_path / "d.webm", codec="vp9")
    assert video_of(tmp_path / "b.webm")["tags"]["ALPHA_MODE"] == "1"
    for name, decoder, side in (("b.webm", "libvpx-vp9", 2), ("c.mkv", "ffv1", 2), ("d.webm", "libvpx-vp9", 4)):
        seen = alpha_of_frames(tmp_path / name, decoder)
        assert len(seen) == 10 * 64 * 48 * side**2, name
        assert {abs(level - 102) <= 2 for level in seen} == {True}, name
    with pytest.raises(LossyFormatError, match=r"vp9 cannot store transparency .*choose \.webm"):
        enlarged(given, tmp_path / "e.mp4")
    for codec in ("h264", "hevc", "av1"):
        with pytest.raises(LossyFormatError, match="transparency"):
            enlarged(given, tmp_path / "e.mkv", codec=codec)
    ffmpeg("-i", tmp_path / "c.mkv", "-c:v", "ffv1", "-pix_fmt", "gbrap", tmp_path / "rgb.mkv")
    with pytest.raises(LossyFormatError, match=r"vp9 cannot store RGB \(pixel format gbrap\): choose codec='ffv1'"):
        enlarged(tmp_path / "rgb.mkv", tmp_path / "e.webm", codec="vp9")
    enlarged(tmp_path / "rgb.mkv", tmp_path / "e.webm", codec="vp9", force=True)
    enlarged(given, tmp_path / "e.mkv", codec="h264", force=True)
    assert "alpha_mode" not in {key.lower() for key in video_of(tmp_path / "e.mkv").get("tags", {})}


@pytest.mark.parametrize(
    ("name", "codec", "matrix"),
    [
        ("a.mp4", "h264", "smpte170m"),
        ("a.mp4", "av1", "smpte170m"),
        ("a.mkv", "hevc", "gbr"),
        ("a.webm", "vp9", "gbr"),
    ],
)
def test_rgb_has_its_colours_in_each_codec(name: str, codec: str, matrix: str, tmp_path: Path) -> None:
    picture = "color=0xE02040:size=64x48:rate=25:duration=0.2"
    given = made(tmp_path / "rgb.mkv", "-map", "0:v", "-c:v", "ffv1", "-pix_fmt", "gbrp", picture=picture)
    enlarged(given, tmp_path / name, codec=codec, force=True)
    assert video_of(tmp_path / name)["color_space"] == matrix
    seen = ffmpeg("-i", tmp_path / name, "-frames:v", "1", "-f", "rawvideo", "-pix_fmt", "rgb24", "-")
    assert [abs(a - b) <= 4 for a, b in zip(seen[:3], bytes.fromhex("E02040"), strict=True)] == [True] * 3
