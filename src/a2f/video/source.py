"""A video file: its properties and its frames."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import av
import numpy as np
from av.container import InputContainer
from av.filter import Graph
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from a2f.errors import ALLOW_TRUNCATED_HINT, Hint, ImageReadError, UsageError
from a2f.imageio.header import format_of_file
from a2f.sizes import Size
from a2f.video.colour import Colours, Siting, layout_of
from a2f.video.damage import survey
from a2f.video.hdr import Hdr, hdr_of
from a2f.video.head import alpha_decoder, siting_of
from a2f.video.times import Timed, timed_frames
from a2f.video.y4m import Pipe

if TYPE_CHECKING:
    from av.packet import Packet

STREAM = "-"  # standard input or output, as y4m
SEEK_FROM_S, MARGIN_S = 30, 10  # decoding of a part after 30 s begins 10 s before it
PROGRESSIVE = (0, 1)  # field orders: undeclared, progressive
WITHOUT_TIMES = ("avi",)  # formats with decoding times only
NOT_KEPT = {"DOVI_METADATA": "Dolby Vision", "DYNAMIC_HDR_PLUS": "HDR10+", "DYNAMIC_HDR_VIVID": "HDR Vivid"}


@dataclass(frozen=True, kw_only=True)
class Clip:
    """The properties of a video.

    Attributes:
        name: name of the file for messages.
        size: width and height of the coded frames, pixels, before rotation.
        format: FFmpeg's name of the pixel format.
        codec: FFmpeg's name of the codec.
        colours: the declared colours.
        siting: position of chroma; None if undeclared.
        hdr: HDR10 metadata.
        aspect: width of a pixel divided by its height; None if undeclared.
        turn: the display matrix, nine numbers; None if there is none.
        rate: average frames per second.
        time_base: seconds per tick of the timestamps.
        frames: estimated number of frames; 0 if unknown.
        interlaced: whether the video is interlaced.
        lost: names of frame metadata that are not kept.
    """

    name: str
    size: Size
    format: str
    codec: str
    colours: Colours
    siting: Siting | None
    hdr: Hdr
    aspect: Fraction | None
    turn: tuple[int, ...] | None
    rate: Fraction
    time_base: Fraction
    frames: int
    interlaced: bool
    lost: tuple[str, ...] = ()

    @property
    def is_turned(self) -> bool:
        """Whether the display exchanges width and height."""
        return self.turn is not None and self.turn[0] == 0 and self.turn[4] == 0


@dataclass(frozen=True, kw_only=True)
class Range:
    """The requested part of a video.

    Attributes:
        start: seconds; earlier frames are skipped.
        end: seconds; frames from this time on are skipped. None: to the end.
        count: largest number of frames; None: all.
    """

    start: Fraction = Fraction(0)
    end: Fraction | None = None
    count: int | None = None

    def __post_init__(self) -> None:
        if self.end is not None and self.end <= self.start:
            raise UsageError(f"the end, {float(self.end):g} s, is not after the start, {float(self.start):g} s")

    @property
    def is_all(self) -> bool:
        """Whether no frames are skipped by time."""
        return self.start == 0 and self.end is None


class Source:
    """An open video: its properties and its frames.

    Args:
        path: path of the file; "-" reads y4m from standard input.
        allow_truncated: skip what cannot be decoded; without it, that is an error.

    Attributes:
        losses: times of what was skipped, seconds from the beginning.

    Raises:
        ImageReadError: if it cannot be read or has no video.
    """

    def __init__(self, path: Path | str, *, allow_truncated: bool = False) -> None:
        self.allow_truncated, self.losses = allow_truncated, list[Fraction]()
        self.name = "the standard input" if str(path) == STREAM else str(path)
        self.path, self.is_file = path, str(path) != STREAM
        self._pipe = Pipe()
        self.container = open_container(path, self._pipe)
        if self.is_file:
            _refuse_picture(Path(path), self.container)
        self.stream = _video_of(self.container, self.name)
        self._frames = self._decoded(self.container, self.stream)
        first = next(self._frames, None)
        if first is None:
            raise ImageReadError(f"{self.name} has no frame that can be decoded")
        self.clip = _described(self.container, self.stream, first, self.name)
        self._late = first.dts if self.container.format.name in WITHOUT_TIMES else None
        self._frames = chain([first], self._frames)

    def __enter__(self) -> "Source":
        return self

    def __exit__(self, *_: object) -> None:
        self.container.close()

    def in_its_time(self, wanted: Range) -> Range:
        """Convert a part from seconds after the beginning to timestamps of the file, which may begin later than 0."""
        begin = self.begin
        if wanted.is_all or not begin:
            return wanted
        return replace(wanted, start=begin + wanted.start, end=None if wanted.end is None else begin + wanted.end)

    @property
    def begin(self) -> Fraction:
        """The first timestamp of the file, seconds."""
        return Fraction(max(0, self.container.start_time or 0), av.time_base)

    def check(self, wanted: Range) -> list[str]:
        """Look for damage in the requested part; FFmpeg passes over most of it.

        Args:
            wanted: the requested part, counted from the beginning.

        Returns:
            Notes for the user.

        Raises:
            ImageReadError: if the file is damaged or cut off there, without `allow_truncated`.
        """
        if not self.is_file:
            return []
        ends = [] if wanted.end is None else [wanted.end]
        ends += [] if wanted.count is None else [wanted.start + wanted.count / self.clip.rate]
        end, begin = min(ends, default=None), self.begin
        found = survey(
            Path(self.path),
            self.stream.index,
            start=max(Fraction(0), begin + wanted.start - MARGIN_S),
            end=None if end is None else begin + end,
            seeks=wanted.start > SEEK_FROM_S,
        )
        at = found.intact_until
        if at is None or (end is not None and end <= at):
            return [f"{self.name}: {note}" for note in found.notes]
        text = f"{self.name} {found.text()}"
        if self.allow_truncated:
            return [text]
        raise ImageReadError(text, *_before(at - wanted.start, f"{float(at):.2f}"), ALLOW_TRUNCATED_HINT)

    def frames(self, wanted: Range, *, deinterlace: bool = False) -> Iterator[Timed]:
        """The frames of the requested part, in the order of display; call it once.

        Args:
            wanted: the requested part, in timestamps of the file.
            deinterlace: deinterlace with bwdif.

        Raises:
            ImageReadError: if the file is damaged, a frame is interlaced without `deinterlace`, the size changes, or
                two frames have one timestamp.
        """
        clip, decoded = self.clip, self._frames
        offset, begin = round(wanted.start / clip.time_base), Fraction(self.container.start_time or 0, av.time_base)
        if self.is_file and wanted.start - begin > SEEK_FROM_S:
            decoded = self._decoded_from(offset)
        count, last = 0, None
        for timed in timed_frames(
            _deinterlaced(decoded, self.stream) if deinterlace else decoded,
            rate=clip.rate,
            time_base=clip.time_base,
            late=self._late,
        ):
            _check_frame(timed.frame, clip)
            if last is not None and timed.pts <= last:
                at = timed.pts * clip.time_base
                self._lose(at, f"the frame at {float(at - self.begin):.3f} s is not later than the frame before it")
                continue
            last = timed.pts
            if timed.pts < offset and not wanted.is_all:
                continue
            if (wanted.end is not None and timed.pts * clip.time_base >= wanted.end) or count == wanted.count:
                return
            count += 1
            yield replace(timed, pts=timed.pts - offset)

    def _decoded_from(self, offset: int) -> Iterator[VideoFrame]:
        """Frames from a time before a timestamp; all frames if the file cannot seek to it."""
        for before in (round(MARGIN_S / self.clip.time_base), None):
            with open_container(self.path) as container:
                stream = _video_of(container, self.name)
                if before is not None:
                    container.seek(offset - before, stream=stream)
                frames = self._decoded(container, stream)
                first = next(frames, None)
                if first is not None and (before is None or (first.pts is not None and first.pts <= offset)):
                    yield from chain([first], frames)
                    return

    def _decoded(self, container: InputContainer, stream: VideoStream) -> Iterator[VideoFrame]:
        at, decoded, decoder = self.begin, False, alpha_decoder(stream) or stream.codec_context
        for packet in self._packets(container, stream):
            if not packet.size and packet.pts is not None:  # repeats the frame before (Theora)
                continue
            try:
                frames = decoder.decode(packet)
            except av.FFmpegError as error:
                if not decoded and not self.allow_truncated:
                    told = f"{self.name} has no frame that can be decoded ({error.strerror or error})"
                    raise ImageReadError(told) from error
                self._lose(at, str(error.strerror or error))
                continue
            for frame in frames:
                at, decoded = Fraction(frame.time or at), True
                yield frame

    def _packets(self, container: InputContainer, stream: VideoStream) -> "Iterator[Packet[VideoStream]]":
        """The packets of the video; in damaged files, they may end early."""
        at, last_byte = self.begin, 0
        try:
            for packet in container.demux(stream):
                at = packet.pts * packet.time_base if packet.pts is not None else at
                last_byte = last_byte if packet.pos is None else packet.pos + packet.size
                yield packet
        except (av.FFmpegError, IndexError) as error:  # IndexError: a packet names a stream that is not there
            self._lose(at, str(getattr(error, "strerror", "") or error))
            return
        if self._pipe.bytes > last_byte:  # 0 for a file
            self._lose(at, "the input ends in the middle of a frame")

    def _lose(self, at: Fraction, why: str) -> None:
        """Count a loss at a timestamp, or raise an error without `allow_truncated`."""
        at = max(Fraction(0), at - self.begin)
        if not self.allow_truncated:
            hints = _before(at, f"{float(at):.3f}")
            raise ImageReadError(
                f"{self.name} is damaged after {float(at):.3f} s ({why})", *hints, ALLOW_TRUNCATED_HINT
            )
        self.losses.append(at)


def open_container(path: Path | str, pipe: Pipe | None = None) -> InputContainer:
    """Open a video file, or y4m from standard input for "-".

    Raises:
        ImageReadError: if it cannot be opened.
    """
    try:
        if str(path) == STREAM:
            return av.open(pipe or Pipe(), "r", format="yuv4mpegpipe")
        if not Path(path).is_file():
            kind = "is a folder" if Path(path).is_dir() else "does not exist"
            raise ImageReadError(f"{path} {kind}: give the name of a video")
        return av.open(str(Path(path).absolute()), "r")  # FFmpeg would read "http:a.mp4" as an address
    except av.FFmpegError as error:
        raise ImageReadError(f"{path} is not a video that can be read: {error.strerror or error}") from error


def _refuse_picture(path: Path, container: InputContainer) -> None:
    """Raise an error for a picture, which FFmpeg reads as a video of one frame; animations may be videos."""
    format = format_of_file(path)
    by_name = container.format.name == "image2" or container.format.name.endswith("_pipe")
    if format is not None and (by_name or format in ("avif", "heic")):
        raise ImageReadError(f"{path} is a picture ({format}), not a video: enlarge it with a2f upscale")


def _video_of(container: InputContainer, name: str) -> VideoStream:
    """The stream to enlarge: the first video stream that is not a cover picture."""
    for stream in container.streams.video:
        if not stream.disposition & Disposition.attached_pic:
            if stream.codec_context is None:
                raise ImageReadError(f"{name}: there is no decoder for its video")
            stream.thread_type = "AUTO"
            return stream
    raise ImageReadError(f"{name} has no video stream")


def _described(container: InputContainer, stream: VideoStream, first: VideoFrame, name: str) -> Clip:
    context = stream.codec_context
    layout_of(first.format.name)  # raises an error for unsupported formats
    rate = stream.average_rate or stream.guessed_rate or Fraction(25)
    sides = {data.type.name: bytes(data) for data in cast("Iterable[Any]", first.side_data)}
    turn, aspect = sides.get("DISPLAYMATRIX"), stream.sample_aspect_ratio
    return Clip(
        name=name,
        size=(first.width, first.height),
        format=first.format.name,
        codec=context.codec.canonical_name,
        colours=Colours(
            range=int(context.color_range),
            matrix=int(context.colorspace),
            primaries=int(context.color_primaries),
            transfer=int(context.color_trc),
        ),
        siting=siting_of(stream),
        hdr=hdr_of(sides),
        aspect=aspect if aspect and aspect > 0 else None,
        turn=None if turn is None else tuple(int(n) for n in np.frombuffer(turn, np.int32)),
        rate=rate,
        time_base=stream.time_base or 1 / rate,
        frames=_about(container, stream, rate),
        interlaced=first.interlaced_frame or int(context.field_order) not in PROGRESSIVE,
        lost=tuple(told for key, told in NOT_KEPT.items() if key in sides),
    )


def _before(at: Fraction, told: str) -> list[Hint]:
    """The advice to end before a damaged place, unless nothing is before it."""
    return [Hint(text="{option} takes what is before", option="end", value=told)] if at > 0 else []


def seconds_of(text: str) -> Fraction:
    """Convert a time such as 90, 90.5, 1:30 or 0:01:30.5 to seconds.

    Raises:
        UsageError: for other text.
    """
    if not re.fullmatch(r"(\d+:){0,2}\d+(\.\d+)?", text):
        raise UsageError(f"{text!r} is not a time: write seconds (90.5) or h:mm:ss (0:01:30.5)")
    total = Fraction(0)
    for part in text.split(":"):
        total = total * 60 + Fraction(part)
    return total


def interlaced(name: str) -> ImageReadError:
    """The error for an interlaced video."""
    return ImageReadError(f"{name} is interlaced", Hint(text="add {option}", option="deinterlace", value=True))


def _check_frame(frame: VideoFrame, clip: Clip) -> None:
    if frame.interlaced_frame:
        raise interlaced(clip.name)
    if (frame.width, frame.height) != clip.size or frame.format.name != clip.format:
        raise ImageReadError(
            f"{clip.name} changes from {clip.size[0]} x {clip.size[1]} {clip.format} to {frame.width} x {frame.height} "
            f"{frame.format.name} in the middle: enlarge the parts separately with --start and --end"
        )


def _deinterlaced(frames: Iterator[VideoFrame], stream: VideoStream) -> Iterator[VideoFrame]:
    """Make one frame of each two fields; progressive frames are not changed."""
    graph = Graph()
    source, filter, sink = graph.add_buffer(template=stream), graph.add("bwdif", "0:-1:1"), graph.add("buffersink")
    source.link_to(filter)
    filter.link_to(sink)
    graph.configure()
    for frame in _and_end(frames):
        graph.push(frame)
        while True:
            try:
                made = graph.pull()
            except (av.BlockingIOError, av.EOFError):
                break
            assert isinstance(made, VideoFrame)
            yield made


def _and_end(frames: Iterator[VideoFrame]) -> Iterator[VideoFrame | None]:
    yield from frames
    yield None


def _about(container: InputContainer, stream: VideoStream, rate: Fraction) -> int:
    if stream.frames:
        return stream.frames
    if stream.duration and stream.time_base:
        return round(stream.duration * stream.time_base * rate)
    return round(Fraction(container.duration, av.time_base) * rate) if container.duration else 0
