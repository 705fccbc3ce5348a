"""Write the file of the result: the enlarged frames, and copies of all other streams."""

import errno
import io
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import av
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.stream import Discard, Disposition, Stream
from av.video.stream import VideoStream

from a2f.errors import Hint, ImageWriteError, LossyFormatError
from a2f.video.encoder import CONTAINERS, Encoding, usual_scheduling
from a2f.video.head import head_of, with_alpha
from a2f.video.parts import Parts
from a2f.video.source import Range, Source, open_container

if TYPE_CHECKING:
    from av.container.core import Chapter

STATISTICS = ("BPS", "NUMBER_OF_BYTES", "NUMBER_OF_FRAMES", "DURATION", "encoder", "ENCODER")  # of the input's packets


@dataclass(frozen=True, kw_only=True)
class Stamped:
    """Times of a frame of the result, in ticks.

    Attributes:
        pts: time of display.
        dts: time of decoding.
        duration: duration of display.
    """

    pts: int
    dts: int
    duration: int


def stamps(order: list[int], durations: dict[int, int], *, last: int, most: int) -> list[Stamped]:
    """Decoding times for the packets of several consecutive encoders.

    Args:
        order: pts of all packets in the order of decoding.
        durations: durations of frames by their pts, from the input.
        last: duration of the last frame if the input has none.
        most: largest interval of decoding times before the first frame; FFmpeg misreads MP4 files with very long ones.

    Returns:
        One a packet: the n-th packet is decoded when the frame is shown that lies as many places before it as packets
        are ever late.
    """
    shown = sorted(order)
    place = {pts: n for n, pts in enumerate(shown)}
    late = max((n - place[pts] for n, pts in enumerate(order)), default=0)
    step = min(most, shown[1] - shown[0] if len(shown) > 1 else last)
    until = dict(pairwise(shown))
    made = []
    for n, pts in enumerate(order):
        dts = shown[n - late] if n >= late else shown[0] - (late - n) * step
        told = until[pts] - pts if pts in until else durations.get(pts) or last
        made.append(Stamped(pts=pts, dts=dts, duration=told))
    return made


def check_streams(
    source: Source, encoding: Encoding, output: Path, *, force: bool
) -> tuple[tuple[int, ...], list[str]]:
    """Try, before anything is computed, which streams the file can store.

    Args:
        source: the input.
        encoding: encoding of the frames.
        output: name of the result.
        force: leave out streams that it cannot store.

    Returns:
        Indices of the input's streams that are copied; and notes about what is left out.

    Raises:
        LossyFormatError: if it cannot hold one, without `force`.
        ImageWriteError: if the file cannot be begun at all.
    """
    suffix, copied, refused = output.suffix.lower(), list[int](), list[str]()
    for stream in source.container.streams:
        if stream.index == source.stream.index or _is_made_anew(stream, CONTAINERS[suffix]):
            continue
        if _holds(CONTAINERS[suffix], stream):
            copied.append(stream.index)
        else:
            refused.append(_told(stream))
    if refused and not force:
        raise LossyFormatError(
            f"{suffix} cannot store {' and '.join(refused)}",
            Hint(text="choose .mkv"),
            Hint(text="leave them out with {option}", option="force", value=True),
        )
    trial = av.open(io.BytesIO(), "w", format=CONTAINERS[suffix])
    try:
        _set_up(trial, source, encoding, copied)
        with usual_scheduling():
            trial.start_encoding()
    except (av.FFmpegError, ValueError) as error:
        raise ImageWriteError(f"cannot create {output}: {error}") from error
    return tuple(copied), [f"{suffix} cannot store {what}: left out" for what in refused]


def write_file(
    path: Path, source: Source, parts: Parts, *, name: str, encoding: Encoding, wanted: Range, copied: Iterable[int]
) -> None:
    """Write the result from its parts and the other streams of the input.

    Args:
        path: path of the new file; its suffix is the kind of file.
        source: the input, newly opened.
        parts: all parts.
        name: name of the result, for messages.
        encoding: encoding of the frames.
        wanted: the requested part of the input.
        copied: indices of the streams that are copied.

    Raises:
        ImageWriteError: if it cannot be written; then nothing remains at the path.
    """
    format = CONTAINERS[path.suffix.lower()]
    options = {"movflags": "+faststart"} if format in ("mp4", "mov") else {}
    try:
        with av.open(str(path.absolute()), "w", format=format, container_options=options) as target:
            order = _times(parts, encoding)
            wanted = _as_long_as(order, wanted, encoding)
            pairs = _set_up(target, source, encoding, copied)
            target.set_chapters(_chapters(source.container, wanted))
            with usual_scheduling():
                target.start_encoding()
            frames = _packets(parts, order, encoding, pairs.pop(source.stream.index))
            waiting = next(frames, None)
            for packet in _others(source, pairs, wanted):
                while waiting is not None and _seconds(waiting) <= _seconds(packet):
                    target.mux_one(waiting)
                    waiting = next(frames, None)
                target.mux_one(packet)
            while waiting is not None:
                target.mux_one(waiting)
                waiting = next(frames, None)
    except (av.FFmpegError, ValueError) as error:
        path.unlink(missing_ok=True)
        is_full = getattr(error, "errno", None) == errno.ENOSPC
        more = [Hint(text="free some space and run the same command to continue")] if is_full else []
        raise ImageWriteError(f"cannot write {name}: {getattr(error, 'strerror', None) or error}", *more) from error


def _set_up(target: OutputContainer, source: Source, encoding: Encoding, copied: Iterable[int]) -> dict[int, Stream]:
    """The streams of the result in the order of the input, by the index in the input."""
    pairs, wanted = dict[int, Stream](), {*copied, source.stream.index}
    target.metadata.update(source.container.metadata)
    for stream in source.container.streams:
        if stream.index not in wanted:
            continue
        told = {key: text for key, text in stream.metadata.items() if key not in STATISTICS}
        if stream.index == source.stream.index:
            made: Stream = _video(target, source, encoding)
            told.pop("alpha_mode", None)
            told |= {"alpha_mode": "1"} if encoding.layout.alpha and encoding.codec.name == "vp9" else {}
        else:
            made = target.add_stream_from_template(stream, opaque=True)
        made.metadata.update(told)
        made.disposition = stream.disposition
        pairs[stream.index] = made
    return pairs


def _video(target: OutputContainer, source: Source, encoding: Encoding) -> VideoStream:
    """The enlarged stream, for packets."""
    setup = encoding.open().extradata or b""
    head = head_of(encoding.codec.name, encoding.size, setup, hdr=encoding.hdr, siting=encoding.siting)
    with av.open(io.BytesIO(head)) as template:
        stream = target.add_stream_from_template(template.streams.video[0], opaque=True)
    encoding.describe(stream.codec_context)
    stream.time_base = encoding.time_base
    if encoding.codec.name == "hevc" and target.format.name in ("mp4", "mov"):
        stream.codec_context.codec_tag = "hvc1"  # Apple's players require it
    if source.clip.turn is not None:
        stream.set_display_matrix(source.clip.turn)
    return stream


def _holds(format: str, stream: Stream) -> bool:
    """Whether a kind of file can store a stream, tried with an empty file."""
    if stream.type == "attachment":
        return format == "matroska"
    trial = av.open(io.BytesIO(), "w", format=format)
    try:
        trial.add_stream_from_template(stream, opaque=True)
        trial.start_encoding()
    except (ValueError, av.FFmpegError):
        return False
    return True


def _is_made_anew(stream: Stream, format: str) -> bool:
    """Whether a stream contains only chapters or the time code of MP4."""
    if stream.type != "data":
        return False
    is_chapters = stream.discard == Discard.all  # FFmpeg has read them as chapters
    return is_chapters or ("timecode" in stream.metadata and format in ("mp4", "mov"))


def _told(stream: Stream) -> str:
    context = stream.codec_context
    told = stream.metadata.get("filename") or (context.name if context else None) or stream.name or "unknown"
    return f"stream {stream.index} ({stream.type}, {told})"


def _chapters(container: InputContainer, wanted: Range) -> "list[Chapter]":
    """The chapters of the requested part, with times in that part."""
    if wanted.is_all:
        return container.chapters()
    made: list[Chapter] = []
    for chapter in container.chapters():
        unit = chapter["time_base"] or Fraction(1, 1000)
        start, end = chapter["start"] * unit, chapter["end"] * unit
        if end <= wanted.start or (wanted.end is not None and start >= wanted.end):
            continue
        end = end if wanted.end is None else min(end, wanted.end)
        begin, stop = (round((max(at, wanted.start) - wanted.start) / unit) for at in (start, end))
        made.append({**chapter, "start": begin, "end": stop})
    return made


def _times(parts: Parts, encoding: Encoding) -> list[Stamped]:
    """The times of all frames of the result, in the order of decoding."""
    order, durations = list[int](), dict[int, int]()
    for part in parts:
        order += [packet.pts for packet in part.packets]
        durations |= part.durations
    last = max(1, round(1 / encoding.rate / encoding.time_base))
    return stamps(order, durations, last=last, most=max(1, round(1 / encoding.time_base)))


def _as_long_as(order: list[Stamped], wanted: Range, encoding: Encoding) -> Range:
    """The requested part; if the number of frames is limited, it ends with the last frame."""
    if wanted.count is None or not order:
        return wanted
    last = max(order, key=lambda stamp: stamp.pts)
    end = wanted.start + (last.pts + last.duration) * encoding.time_base
    return replace(wanted, end=end if wanted.end is None else min(end, wanted.end))


def _packets(parts: Parts, order: list[Stamped], encoding: Encoding, stream: Stream) -> "Iterator[Packet[Stream]]":
    """The enlarged frames as packets of the result."""
    times = iter(order)
    for part in parts:
        for encoded in part.packets:
            stamp = next(times)
            layer = encoded.alpha
            packet = with_alpha(encoded.data, layer, size=encoding.size) if layer else Packet(encoded.data)
            packet.stream, packet.time_base = stream, encoding.time_base
            packet.pts, packet.dts, packet.duration = stamp.pts, stamp.dts, stamp.duration
            packet.is_keyframe = encoded.key
            yield packet


def _others(source: Source, pairs: Mapping[int, Stream], wanted: Range) -> "Iterator[Packet[Stream]]":
    """The packets of the copied streams, with times in the requested part."""
    if not pairs:
        return
    with open_container(source.path) as container:  # a new one: decoding has skipped other packets
        streams = [container.streams[index] for index in pairs]
        for packet in container.demux([stream for stream in streams if stream.type != "attachment"]):
            if packet.size == 0 and packet.pts is None:  # the end of a stream, for decoders
                continue
            if _is_wanted(packet, wanted):
                packet.stream = pairs[packet.stream.index]
                yield packet


def _is_wanted(packet: "Packet[Stream]", wanted: Range) -> bool:
    """Whether a packet is in the requested part; if so, its times are shifted to that part."""
    at, unit = packet.pts if packet.pts is not None else packet.dts, packet.time_base
    if wanted.is_all or at is None or packet.stream.disposition & Disposition.attached_pic:
        return True
    early = bool(wanted.start) and at * unit < wanted.start  # audio may begin slightly before 0
    if early or (wanted.end is not None and at * unit >= wanted.end):
        return False
    offset = round(wanted.start / unit)
    packet.pts = None if packet.pts is None else packet.pts - offset
    packet.dts = None if packet.dts is None else packet.dts - offset
    return True


def _seconds(packet: "Packet[Stream]") -> Fraction:
    at = packet.dts if packet.dts is not None else packet.pts
    return Fraction(0) if at is None else at * packet.time_base
