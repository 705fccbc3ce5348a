"""Enlarge a video by its plan; decoding, the network and encoding overlap."""

import queue
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
from av.packet import Packet
from av.stream import Stream
from av.video.frame import VideoFrame

from a2f.errors import ImageReadError, count_of
from a2f.files import make_folder, place, write_all, write_bytes_atomic
from a2f.pixels import upscale_pixels
from a2f.video.colour import Array, Planes, planes_of, to_frame, to_image
from a2f.video.head import alpha_of
from a2f.video.mux import write_file
from a2f.video.parts import FRAMES, Encoded, Part, Parts, parts_folder, plan_of_pipe
from a2f.video.plan import Plan
from a2f.video.source import STREAM, Source
from a2f.video.temporal import TemporalUpscaler
from a2f.video.times import Timed
from a2f.video.y4m import y4m_frame, y4m_head

T = TypeVar("T")
Note = Callable[[str], None]
DECODED, LARGE = 2, 1  # queued frames for the network and for the encoder
CANCEL_POLL_S = 0.2  # interval at which Ctrl-C and the end of a consumer are noticed


@dataclass(frozen=True, kw_only=True)
class Progress:
    """The progress of a video.

    Attributes:
        done: encoded frames, including those of earlier runs.
        frames: estimated number of all frames; 0 if unknown.
        repeats: frames that equal the frame before and were not computed.
        resumed: frames of earlier runs.
        seconds: duration of this run.
    """

    done: int
    frames: int
    repeats: int
    resumed: int
    seconds: float

    @property
    def fps(self) -> float:
        """Frames per second of this run."""
        return (self.done - self.resumed) / self.seconds if self.seconds > 0 else 0.0

    @property
    def seconds_left(self) -> float | None:
        """Estimated seconds left; None if unknown."""
        if not self.fps or not self.frames:
            return None
        return max(0, self.frames - self.done) / self.fps


@dataclass(frozen=True, kw_only=True)
class _Step:
    """A frame between decoder and encoder.

    Attributes:
        timed: the decoded frame.
        image: its image, later that of the result, [H, W, C]; None if it equals the frame before.
    """

    timed: Timed
    image: Array | None


class _Count:
    """Counts frames and reports the progress."""

    def __init__(
        self, plan: Plan, tell: Callable[[Progress], None], note: Note, *, done: int = 0, repeats: int = 0
    ) -> None:
        self._plan, self._tell, self._note, self._began = plan, tell, note, time.perf_counter()
        self._captions_told = plan.encoding is not None and plan.encoding.codec.name == "h264"  # H.264 keeps them
        self.done = self._resumed = done
        self.repeats = repeats
        self._damaged = list[float]()

    def add(self, step: _Step) -> None:
        self.done += 1
        self.repeats += step.image is None
        if step.timed.frame.is_corrupt:
            self._damaged.append(float(step.timed.pts * self._plan.time_base))
        if not self._captions_told and _has_captions(step.timed.frame):
            self._captions_told = True
            self._note("closed captions inside the picture are left out; h264 keeps them")
        self._tell(self.progress)

    def note_damage(self, source: Source) -> None:
        """Add notes about damaged frames and about what could not be decoded."""
        if source.losses:
            lost = f"{count_of(len(source.losses), 'packet(s) of the input')} could not be decoded"
            self._note(f"{lost}, first after {float(source.losses[0]):.2f} s")
        if self._damaged:
            damaged = f"{count_of(len(self._damaged), 'damaged frame')} in the input, first at {self._damaged[0]:.2f} s"
            self._note(f"{damaged}; the result contains what the decoder made of them")

    @property
    def progress(self) -> Progress:
        return Progress(
            done=self.done,
            frames=max(self._plan.frames, self.done),
            repeats=self.repeats,
            resumed=self._resumed,
            seconds=time.perf_counter() - self._began,
        )


def enlarge_video(
    source: Source,
    plan: Plan,
    *,
    tell: Callable[[Progress], None] = lambda progress: None,
    note: Note = lambda text: None,
) -> Progress:
    """Enlarge a video and write the complete result or none.

    Encoded frames are kept in parts beside the result until it is complete. A run continues after the last part of a
    killed run; the result equals that of a run without a stop.

    Args:
        source: the video, newly opened.
        plan: a result of `plan_video`.
        tell: called with the progress after each frame.
        note: called with messages for the user.

    Returns:
        The progress at the end.

    Raises:
        ImageReadError: if the video is damaged.
        ImageWriteError, WriteError: if the result cannot be written.
    """
    if plan.encoding is None:
        return _write_y4m(source, plan, tell, note)
    output, request = Path(plan.request.output), plan.request
    folder, told = parts_folder(output), plan.fingerprint() if source.is_file else plan_of_pipe()
    with Parts(folder, told, restart=request.overwrite) as parts:
        done = parts.frames
        if done:
            note(f"{done} frames were finished by an earlier run")
        count = _Count(plan, tell, note, done=done, repeats=parts.repeats)
        if done % FRAMES == 0:  # a shorter part is the last one
            _make_parts(source, plan, parts, count)
        count.note_damage(source)
        if not count.done:
            raise ImageReadError(f"{source.name} has no frame in the requested part: change the start or the end")
        if source.is_file and plan.fingerprint() != told:
            raise ImageReadError(f"{source.name} changed while it was read: nothing is written")
        made = folder / f"whole{output.suffix}"
        write_file(
            made, source, parts, name=str(output), encoding=plan.encoding, wanted=plan.wanted, copied=plan.copied
        )
        place(made, output, replace=request.overwrite)
        parts.remove()
        return count.progress


def _make_parts(source: Source, plan: Plan, parts: Parts, count: _Count) -> None:
    with closing(_enlarged(source, plan, skip=count.done)) as steps:
        frames = _frames(steps, plan)
        while (part := _encoded(islice(frames, FRAMES), plan, count)) is not None:
            parts.add(part)


def _encoded(frames: Iterator[tuple[_Step, VideoFrame]], plan: Plan, count: _Count) -> Part | None:
    """The next part; None if there are no more frames."""
    assert plan.encoding is not None
    encoder = plan.encoding.open()
    made: list[Packet[Stream]] = []
    durations, repeats = dict[int, int](), count.repeats
    for step, frame in frames:
        made += encoder.encode(frame)
        durations[step.timed.pts] = step.timed.duration
        count.add(step)
    if not durations:
        return None
    made += encoder.encode(None)
    packets = tuple(
        Encoded(pts=int(p.pts or 0), key=p.is_keyframe, data=bytes(p), alpha=alpha_of(p)) for p in made if p.size
    )
    setup = encoder.extradata or b""
    return Part(packets=packets, durations=durations, repeats=count.repeats - repeats, setup=setup)


def _write_y4m(source: Source, plan: Plan, tell: Callable[[Progress], None], note: Note) -> Progress:
    count, clip = _Count(plan, tell, note), source.clip
    with closing(_enlarged(source, plan, skip=0)) as steps:

        def blocks() -> Iterator[bytes]:
            yield y4m_head(plan.size, plan.layout, full=plan.full, rate=clip.rate, aspect=clip.aspect)
            for step, frame in _frames(steps, plan):
                yield y4m_frame(frame, plan.layout)
                count.add(step)

        if str(plan.request.output) == STREAM:
            for block in blocks():
                write_all(sys.stdout.buffer, block)
        else:
            make_folder(Path(plan.request.output).parent)
            write_bytes_atomic(Path(plan.request.output), blocks(), replace=plan.request.overwrite)
    count.note_damage(source)
    return count.progress


def _frames(steps: Iterator[_Step], plan: Plan) -> Iterator[tuple[_Step, VideoFrame]]:
    """The frames of the result with their times."""
    frame: VideoFrame | None = None
    image: Array | None = None
    for step in steps:
        image = image if step.image is None else _padded(step.image, plan)
        assert image is not None
        like = step.timed.frame if _has_captions(step.timed.frame) else None
        if step.image is not None or like is not None:
            frame = to_frame(image, plan.layout, matrix=plan.matrix, full=plan.full, siting=plan.siting, like=like)
        assert frame is not None
        frame.pts, frame.time_base = step.timed.pts, plan.time_base
        yield step, frame


def _has_captions(frame: VideoFrame) -> bool:
    """Whether a frame has closed captions (CEA-608 and CEA-708), which x264 keeps."""
    return any(data.type.name == "A53_CC" for data in cast("Iterable[Any]", frame.side_data))


def _padded(image: Array, plan: Plan) -> Array:
    """An image whose last row and column are repeated if chroma needs even sides."""
    height, width = image.shape[:2]
    missing = plan.size[1] - height, plan.size[0] - width
    return np.pad(image, ((0, missing[0]), (0, missing[1]), (0, 0)), mode="edge") if any(missing) else image


def _enlarged(source: Source, plan: Plan, *, skip: int) -> Generator[_Step, None, None]:
    """Images of the result, computed in a thread while other threads decode and encode."""

    def made() -> Generator[_Step, None, None]:
        with closing(ahead(_given(source, plan, skip=skip), depth=DECODED)) as steps:
            for number, step in enumerate(steps, start=skip):
                if plan.is_temporal and number % FRAMES == 0:
                    _reset_gates(plan)
                yield step if step.image is None else replace(step, image=_large(step.image, plan))

    return ahead(made(), depth=LARGE)


def _given(source: Source, plan: Plan, *, skip: int) -> Generator[_Step, None, None]:
    """Images of the input after the finished frames."""
    before: Planes | None = None
    frames = islice(source.frames(plan.wanted, deinterlace=plan.request.deinterlace), skip, None)
    for number, timed in enumerate(frames, start=skip):
        planes = planes_of(timed.frame, plan.given)
        if plan.is_temporal and number % FRAMES == 0:
            before = None
        if before is not None and all(map(np.array_equal, planes, before)):
            yield _Step(timed=timed, image=None)
            continue
        before = planes
        image = to_image(planes, plan.given, matrix=plan.matrix, full=plan.given_full, siting=plan.given_siting)
        yield _Step(timed=timed, image=image)


def _reset_gates(plan: Plan) -> None:
    """Reset temporal gates at the start of a part, as a continued run does."""
    for upscaler in plan.passes:
        if isinstance(upscaler, TemporalUpscaler):
            upscaler.reset()


def _large(image: Array, plan: Plan) -> Array:
    if len(plan.passes) == 1 and plan.exact is None and image.shape[2] == 3:
        return plan.passes[0](image)
    return upscale_pixels(image, plan.passes, size=plan.exact)


@dataclass(frozen=True)
class _End:
    """The end of the items.

    Attributes:
        error: the error that ended the items; None if there is none.
    """

    error: BaseException | None


def ahead(items: Generator[T, None, None], *, depth: int) -> Generator[T, None, None]:
    """Make items in another thread, ahead of their use.

    Args:
        items: used only in that thread, and closed there.
        depth: number of items that may wait.

    Raises:
        The errors of `items`.
    """
    waiting: queue.Queue[T | _End] = queue.Queue(depth)
    stopping = threading.Event()
    maker = threading.Thread(target=_make, args=(items, waiting, stopping), daemon=True, name="a2f video")
    maker.start()
    try:
        while True:
            try:
                item = waiting.get(timeout=CANCEL_POLL_S)
            except queue.Empty:
                continue
            if isinstance(item, _End):
                if item.error is not None:
                    raise item.error
                return
            yield item
    finally:
        stopping.set()
        maker.join()


def _make(items: Generator[T, None, None], waiting: "queue.Queue[T | _End]", stopping: threading.Event) -> None:
    """Make items until they end or `stopping` is set."""
    error: BaseException | None = None
    try:
        with closing(items):
            for item in items:
                _put(item, waiting, stopping)
                if stopping.is_set():
                    return
    except BaseException as caught:  # raised in the other thread
        error = caught
    _put(_End(error), waiting, stopping)


def _put(item: T | _End, waiting: "queue.Queue[T | _End]", stopping: threading.Event) -> None:
    while not stopping.is_set():
        try:
            waiting.put(item, timeout=CANCEL_POLL_S)
            return
        except queue.Full:
            continue
