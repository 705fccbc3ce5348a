"""Makes videos with FFmpeg, and reads them with ffprobe."""

import json
import shutil
import subprocess
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from a2f.sizes import Target
from a2f.upscaler import Upscaler
from a2f.upscalers import Models
from a2f.video.plan import Plan, Request, plan_video
from a2f.video.run import Progress, enlarge_video
from a2f.video.source import Range, Source

needs_ffmpeg = pytest.mark.skipif(
    shutil.which("ffmpeg") is None or shutil.which("ffprobe") is None,
    reason="needs ffmpeg and ffprobe, which make and judge the videos: apt-get install ffmpeg",
)
PICTURE = "testsrc2=size=64x48:rate=25:duration=1"


class Nearest:
    """Repeats each pixel: it is fast and does not change colours.

    Args:
        scale: number of repetitions in both directions.
    """

    def __init__(self, scale: int = 2) -> None:
        self.scale, self.description, self.calls = scale, f"nearest x{scale}", 0

    def __call__(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        """Enlarge an image: [H, W, 3] -> [sH, sW, 3]."""
        self.calls += 1
        return image.repeat(self.scale, axis=0).repeat(self.scale, axis=1)


def ffmpeg(*arguments: str | Path) -> bytes:
    """Run FFmpeg; return its standard output."""
    command = ["ffmpeg", "-v", "error", "-nostdin", "-y", "-threads", "1", *map(str, arguments)]
    return subprocess.run(command, check=True, capture_output=True).stdout


def made(path: Path, *arguments: str, picture: str = PICTURE) -> Path:
    """Make a video of FFmpeg's test picture; the second input is a tone."""
    tone = "sine=frequency=440:duration=1:sample_rate=48000"
    ffmpeg("-f", "lavfi", "-i", picture, "-f", "lavfi", "-i", tone, *arguments, path)
    return path


def probed(path: Path, *entries: str) -> dict[str, Any]:
    """The output of ffprobe."""
    command = ["ffprobe", "-v", "error", "-of", "json", *entries, str(path)]
    told: dict[str, Any] = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    return told


def streams(path: Path) -> list[dict[str, Any]]:
    """All streams, in order."""
    found: list[dict[str, Any]] = probed(path, "-show_streams")["streams"]
    return found


def video_of(path: Path) -> dict[str, Any]:
    """The first video stream."""
    return next(stream for stream in streams(path) if stream["codec_type"] == "video")


def times(path: Path) -> list[Fraction]:
    """The presentation time of each frame in seconds, in decoding order."""
    told = probed(path, "-select_streams", "v:0", "-show_entries", "packet=pts:stream=time_base")
    unit = Fraction(told["streams"][0]["time_base"])
    return [int(packet["pts"]) * unit for packet in told["packets"]]


def packets(path: Path, kind: str) -> list[tuple[str, str, int]]:
    """Time, length and checksum of the packets of all streams of a kind: a, s, d or t."""
    told = probed(path, "-select_streams", kind, "-show_packets", "-show_data_hash", "md5")
    return [(packet.get("pts_time", ""), packet["data_hash"], packet["stream_index"]) for packet in told["packets"]]


def decoded(path: Path) -> list[str]:
    """Times and checksums of all decoded frames."""
    lines = ffmpeg("-i", path, "-map", "0:v:0", "-fps_mode", "passthrough", "-f", "framemd5", "-").decode().splitlines()
    return [line for line in lines if not line.startswith("#")]


def planned(source: Source, output: Path, upscaler: Upscaler, **options: Any) -> Plan:
    """The plan for a video with a quick upscaler."""
    models = Models(model="nearest", scales=(upscaler.scale,), open=lambda model, scale: upscaler)
    target = options.pop("target", Target(scale=upscaler.scale))
    wanted = options.pop("wanted", Range())
    return plan_video(
        source, models, Request(source=source.path, output=output, target=target, wanted=wanted, **options)
    )


def enlarged(given: Path, output: Path, upscaler: Upscaler | None = None, **options: Any) -> Progress:
    """Enlarge a video."""
    note = options.pop("note", lambda text: None)
    with Source(given, allow_truncated=options.pop("allow_truncated", False)) as source:
        plan = planned(source, output, upscaler or Nearest(), **options)
        for text in plan.notes:
            note(text)
        return enlarge_video(source, plan, note=note)
