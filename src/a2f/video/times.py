"""The times of frames."""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

from av.video.frame import VideoFrame

MAX_WAITING = 32  # frames without a time; a file with more has no times


@dataclass(frozen=True, kw_only=True)
class Timed:
    """A frame and its time.

    Attributes:
        frame: the decoded or deinterlaced frame.
        pts: time of display, ticks from the start of the requested part.
        duration: duration of display, ticks; 0 if unknown.
    """

    frame: VideoFrame
    pts: int
    duration: int


def timed_frames(
    frames: Iterator[VideoFrame], *, rate: Fraction, time_base: Fraction, late: int | None
) -> Iterator[Timed]:
    """Frames with times in ticks; a frame without a time follows the frame before it.

    Args:
        frames: frames in the order of display.
        rate: average frames per second.
        time_base: seconds per tick.
        late: decoding time of the first frame, ticks, if the file has only decoding times; otherwise None.
    """
    waiting, last, step = list[VideoFrame](), None, 0  # frames without a time before the first one that has one
    for frame in frames:
        unit = (frame.time_base or time_base) / time_base
        at = frame.pts if late is None else None if frame.dts is None else frame.dts - late
        if last is None and at is None and len(waiting) < MAX_WAITING:
            waiting.append(frame)
            continue
        usual = step or _step(frame, rate, time_base)
        follows = len(waiting) * usual if last is None else last + usual
        pts = follows if at is None else round(at * unit)
        step = 0 if last is None else pts - last
        for number, early in enumerate(waiting):
            yield _at(early, time_base, pts - (len(waiting) - number) * usual)
        waiting, last = [], pts
        yield _at(frame, time_base, pts)
    for number, frame in enumerate(waiting):
        yield _at(frame, time_base, number * _step(frame, rate, time_base))


def _at(frame: VideoFrame, time_base: Fraction, pts: int) -> Timed:
    return Timed(frame=frame, pts=pts, duration=_duration(frame, time_base))


def _duration(frame: VideoFrame, time_base: Fraction) -> int:
    """Duration in ticks; 0 if unknown."""
    return round(frame.duration * (frame.time_base or time_base) / time_base)


def _step(frame: VideoFrame, rate: Fraction, time_base: Fraction) -> int:
    return max(1, _duration(frame, time_base) or round(1 / rate / time_base))
