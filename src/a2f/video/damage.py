"""Damage that FFmpeg passes over: it skips to the next readable place, or stops as if the file ended there."""

import os
from array import array
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import av
import av.logging
import numpy as np
from av.container import InputContainer

if TYPE_CHECKING:
    from av.packet import Packet
    from av.stream import Stream

CUT_OFF_S = 1  # allowed difference between the declared and the found length
# formats that store their length; others only estimate it
WITH_LENGTH = ("mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "avi", "flv", "asf")
BROADCAST = ("mpegts", "mpeg")  # recordings begin and end in the middle of a packet
USUAL_SHARE = 0.9  # from this share of equal intervals on, the rate counts as constant
LONG_GAP_S = 0.25  # a gap that is told even if nothing else is wrong
UNREAD_SHARE = 50  # a fragmented MP4 is damaged if more than one part in 50 is never reached
TOLD_GAPS = 3
MAX_REASON = 100  # characters
AVI_FRAMES = 0.5  # the tolerance for the declared end of an AVI
LATE_S = 60  # a packet that is this much later than the declared end has a damaged time


@dataclass(frozen=True, kw_only=True)
class Survey:
    """What the packets of a video tell about damage.

    Attributes:
        damaged: seconds from which packets are missing or damaged; None if none are.
        cut_off: seconds after which the file ends too early; None if it does not.
        length: the declared length, seconds; 0 if unknown.
        reason: FFmpeg's message; may be empty.
        gaps: beginnings and ends of times without frames, seconds.
        notes: facts that are not certain to be damage.
    """

    damaged: Fraction | None
    cut_off: Fraction | None
    length: Fraction
    reason: str
    gaps: tuple[tuple[float, float], ...]
    notes: tuple[str, ...]

    @property
    def intact_until(self) -> Fraction | None:
        """Seconds before which nothing is missing; None if the file is intact."""
        return min((at for at in (self.damaged, self.cut_off) if at is not None), default=None)

    def text(self) -> str:
        """What is wrong: "is damaged after 3.02 s; no frames from 3.02 to 4.04 s"."""
        words = []
        if self.damaged is not None:
            words.append(f"is damaged after {float(self.damaged):.2f} s{self.reason}")
        if self.cut_off is not None:
            of = f" of {float(self.length):.2f}" if self.length > self.cut_off + CUT_OFF_S else ""
            words.append(f"is cut off after {float(self.cut_off):.2f}{of} s")
        return " and ".join(words) + gap_text(self.gaps)


def gap_text(gaps: tuple[tuple[float, float], ...]) -> str:
    """Times without frames as text; empty if there are none."""
    told = ", ".join(f"from {begin:.2f} to {end:.2f} s" for begin, end in gaps[:TOLD_GAPS])
    more = f" and {len(gaps) - TOLD_GAPS} more" if len(gaps) > TOLD_GAPS else ""
    return f"; no frames {told}{more}" if gaps else ""


@dataclass(kw_only=True)
class _Read:
    """What reading the packets has shown so far.

    Attributes:
        times: times of the packets of the video, ticks.
        now: time of the latest packet of the video, seconds.
        reached: end of the last packet of all streams, seconds.
        last_byte: end of the last packet in the file.
        wrong: times of damage, seconds.
        reason: the first message.
        latest: later times are damaged, seconds; None if the length is unknown.
        last_corrupt: time of the last damaged packet of each stream.
        last: time of the last packet of each stream.
        is_whole: whether reading went to the end without an error.
        ended_early: whether reading stopped at the end of the requested part.
    """

    times: "array[int]" = field(default_factory=lambda: array("q"))
    now: Fraction = Fraction(0)
    reached: Fraction = Fraction(0)
    last_byte: int = 0
    wrong: list[Fraction] = field(default_factory=list)
    reason: str = ""
    latest: Fraction | None = None
    last_corrupt: dict[int, Fraction] = field(default_factory=dict)
    last: dict[int, Fraction] = field(default_factory=dict)
    is_whole: bool = True
    ended_early: bool = False


def survey(path: Path, index: int, *, start: Fraction, end: Fraction | None, seeks: bool) -> Survey:
    """Read all packets of a part of a video, without decoding them.

    Args:
        path: the file.
        index: index of the video stream.
        start: timestamp of the beginning of the part; earlier damage is ignored.
        end: timestamp of its end; None: the end of the file.
        seeks: do not read what is before the part, if the file has an index.
    """
    level, repeated = av.logging.get_level(), av.logging.get_skip_repeated()
    av.logging.set_level(av.logging.ERROR)
    av.logging.set_skip_repeated(False)
    try:
        # only messages of this thread; no decoder runs in it
        with av.logging.Capture(local=True) as messages, av.open(str(path.absolute())) as container:
            read = _Read(latest=_latest(container))
            if seeks:
                _seek(container, start)
            _read(container, index, messages, read, end)
            return _found(path, container, index, read, start=start)
    finally:
        av.logging.set_level(level)
        av.logging.set_skip_repeated(repeated)


def _latest(container: InputContainer) -> Fraction | None:
    if container.format.name not in WITH_LENGTH or not container.duration:
        return None
    return Fraction(max(0, container.start_time or 0) + container.duration, av.time_base) + LATE_S


def _seek(container: InputContainer, start: Fraction) -> None:
    try:
        container.seek(int(start * av.time_base))
    except av.FFmpegError:  # a file without an index is read from its beginning
        container.seek(0)


def _read(
    container: InputContainer,
    index: int,
    messages: list[tuple[int, str, str]],
    read: _Read,
    end: Fraction | None,
) -> None:
    seen = 0
    try:
        for packet in container.demux():
            for _, name, text in messages[seen:]:
                if name == container.format.name:  # other names are those of codecs
                    read.wrong.append(read.now)
                    read.reason = read.reason or text.strip()
            seen = len(messages)
            _take(packet, index, read)
            if end is not None and read.now > end + CUT_OFF_S:
                read.ended_early = True
                return
    except (av.FFmpegError, IndexError) as error:  # IndexError: a damaged packet names a stream that is not there
        read.is_whole = False
        read.reason = read.reason or str(getattr(error, "strerror", "") or error)


def _take(packet: "Packet[Stream]", index: int, read: _Read) -> None:
    at = packet.pts if packet.pts is not None else packet.dts
    number = packet.stream_index
    if at is not None and packet.time_base:
        seconds = at * packet.time_base
        read.last[number] = seconds
        if packet.is_corrupt or (read.latest is not None and seconds > read.latest):
            read.last_corrupt[number] = seconds
            read.wrong.append(min(read.now, seconds) if read.now else seconds)
            return
        read.reached = max(read.reached, seconds + (packet.duration or 0) * packet.time_base)
        if number == index:
            read.times.append(at)
            decoded = packet.dts * packet.time_base if packet.dts is not None else seconds
            read.now = max(read.now, decoded)
    if packet.size and packet.pos is not None:
        read.last_byte = max(read.last_byte, packet.pos + packet.size)


def _found(path: Path, container: InputContainer, index: int, read: _Read, *, start: Fraction) -> Survey:
    begin, stream = Fraction(max(0, container.start_time or 0), av.time_base), container.streams[index]
    length, format = Fraction(container.duration or 0, av.time_base), container.format.name
    wrong, notes = _relevant(format, read, begin, start)
    usual, gaps = _gaps(read.times, stream.time_base or Fraction(1), begin)
    if wrong and wrong[0] <= begin and gaps:  # a message from the opening, when FFmpeg reads far ahead
        wrong[0] = begin + Fraction(gaps[0][0])
    ends_early = not read.ended_early and (
        (format in WITH_LENGTH and length > 0 and read.reached - begin < length - CUT_OFF_S)
        or _is_partial(path, format, read, is_fragmented=not stream.frames)
    )
    last = max(read.now, read.reached if ends_early else Fraction(0)) - begin
    at_end = any(at >= read.now for at in wrong)
    middle = [at - begin for at in wrong if at < read.now or not read.is_whole]
    is_bad = bool(middle or at_end or ends_early)
    if not (start or read.ended_early):
        notes += _doubts(format, stream, read, length, usual)
    wide = tuple(gap for gap in gaps if gap[1] - gap[0] >= LONG_GAP_S)
    if wide and not is_bad:
        notes.append(f"its frames come every {usual:.3f} s{gap_text(wide)}")
    return Survey(
        damaged=_rounded(middle[0]) if middle else None,
        cut_off=_rounded(last) if (ends_early or at_end) and read.is_whole else None,
        length=length,
        reason=f" (FFmpeg: {read.reason[:MAX_REASON]})" if read.reason else "",
        gaps=tuple(gaps) if is_bad else (),
        notes=tuple(notes),
    )


def _relevant(format: str, read: _Read, begin: Fraction, start: Fraction) -> tuple[list[Fraction], list[str]]:
    """The times of damage that matter, and notes about the others."""
    notes, wrong = list[str](), sorted(at for at in read.wrong if at >= start)
    if not read.times:  # a bare stream has no times, and its parser is named after its format
        wrong = []
    if format in BROADCAST:  # damage of the first or last packet is the usual end of a recording
        edges = {at for number, at in read.last_corrupt.items() if at == read.last[number]}
        kept = [at for at in wrong if at > begin and not any(at >= edge - CUT_OFF_S for edge in edges)]
        if edges and len(kept) < len(wrong):
            notes.append("the recording ends in the middle of a packet")
        wrong = kept
    return wrong + ([] if read.is_whole else [read.now]), notes


def _rounded(seconds: Fraction) -> Fraction:
    """Round down to hundredths, so that the text names a time at which nothing is missing."""
    return Fraction(max(0, seconds * 100 // 1), 100)


def _gaps(times: "array[int]", unit: Fraction, begin: Fraction) -> tuple[float, list[tuple[float, float]]]:
    """The usual interval of frames, and times without frames; none if the rate is not constant."""
    shown = np.unique(np.asarray(times, np.int64))
    steps = np.diff(shown)
    if len(steps) < 2:
        return 0.0, []
    usual = int(np.median(steps))
    if usual <= 0 or np.mean(np.abs(steps - usual) <= max(1, usual // 10)) < USUAL_SHARE:
        return 0.0, []
    wide = np.flatnonzero(steps > 1.5 * usual + 1)
    told = [(shown[n] + usual, shown[n + 1]) for n in wide]
    return float(usual * unit), [(float(int(a) * unit - begin), float(int(b) * unit - begin)) for a, b in told]


def _doubts(format: str, stream: "Stream", read: _Read, length: Fraction, usual: float) -> list[str]:
    if format == "avi" and stream.duration and stream.time_base:
        # AVI stores no times, so frames after missing ones come too early
        early = float(stream.duration * stream.time_base - read.now) - usual
        if usual and early > AVI_FRAMES * usual:
            told = f"the video ends {early:.2f} s before its declared end"
            return [f"{told}: if frames are missing in the middle, the sound after them is out of step"]
    if format == "asf" and not length:
        return ["the file does not have the size that it declares, or is the recording of a live stream"]
    return []


def _is_partial(path: Path, format: str, read: _Read, *, is_fragmented: bool) -> bool:
    """Whether the bytes of the file end too early, in formats where its end shows that."""
    size = os.path.getsize(path)
    unread = size - read.last_byte
    if format == "yuv4mpegpipe":  # frames of one size, and nothing after them
        return unread > 0
    if format.startswith("mov,") and is_fragmented:
        return unread * UNREAD_SHARE > size
    with path.open("rb") as file:
        head = file.read(200)
        file.seek(max(0, size - (1 << 17)))
        tail = file.read()
    if format == "avi" and head[:4] == b"RIFF":
        return 8 + int.from_bytes(head[4:8], "little") > size
    if format == "ogg":  # the last page is marked
        page = tail.rfind(b"OggS\0")
        return page < 0 or not tail[page + 5] & 4
    if format == "mpegts":
        unit = 192 if head[4:5] + head[196:197] == b"GG" else 188  # .m2ts has four bytes more
        return head[unit - 188 : unit - 187] == b"G" and size % unit != 0
    return False
