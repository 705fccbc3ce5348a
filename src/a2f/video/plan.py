"""Make all decisions about a video before a frame is enlarged."""

import os
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

import a2f
from a2f.errors import Hint, LossyFormatError, UsageError, WriteError
from a2f.files import output_exists
from a2f.sizes import Size, Target
from a2f.upscaler import Upscaler
from a2f.upscalers import Models
from a2f.video.colour import LEFT, Layout, Siting, is_full, layout_of, matrix_of
from a2f.video.encoder import Codec, Encoding, codec_for, declared_colours, declared_siting, output_layout
from a2f.video.mux import check_streams
from a2f.video.parts import MAX_NAME_BYTES
from a2f.video.source import STREAM, Clip, Range, Source, interlaced
from a2f.video.temporal import TemporalUpscaler
from a2f.video.y4m import Y4M_LAYOUTS

Y4M = ".y4m"
CHROMA = {(2, 2): "4:2:0", (2, 1): "4:2:2", (1, 2): "4:4:0", (4, 1): "4:1:1"}  # by luma samples per chroma sample
ASPECT_IN_STREAM = ("h264", "hevc")  # codecs that store the pixel aspect in the stream


@dataclass(frozen=True, kw_only=True)
class Request:
    """The requested enlargement of a video.

    Attributes:
        source: the video; "-" reads y4m from standard input.
        output: the file to write; "-" writes y4m to standard output.
        target: displayed size of the result.
        codec: name of a codec; None: the codec of the input.
        crf: constant rate factor; None: the default of the codec.
        preset: speed of the encoder; None: the default of the codec.
        wanted: the requested part of the video.
        deinterlace: deinterlace first.
        force: leave out streams, depth or chroma that the result cannot store.
        overwrite: replace an existing output.
        threads: threads of the encoder.
    """

    source: Path | str
    output: Path | str
    target: Target = field(default_factory=Target)
    codec: str | None = None
    crf: int | None = None
    preset: str | None = None
    wanted: Range = field(default_factory=Range)
    deinterlace: bool = False
    force: bool = False
    overwrite: bool = False
    threads: int = 1

    @property
    def is_y4m(self) -> bool:
        """Whether the result is y4m."""
        return str(self.output) == STREAM or Path(self.output).suffix.lower() == Y4M


@dataclass(frozen=True, kw_only=True)
class Plan:
    """All decisions about a video.

    Attributes:
        request: the request.
        size: width and height of the coded frames of the result.
        exact: size to which frames are resized; None if the factor of the single pass gives it.
        passes: upscalers to run, in order.
        given: layout of the frames of the input.
        given_full: whether the input has full range.
        given_siting: position of chroma in the input.
        layout: layout of the frames of the result.
        full: whether the result has full range.
        siting: position of chroma in the result.
        matrix: matrix of input and result.
        time_base: seconds per tick.
        encoding: encoding of the frames of the result; None for y4m.
        copied: indices of the copied streams.
        wanted: the requested part, in timestamps of the file.
        frames: estimated number of frames of the result; 0 if unknown.
        notes: messages for the user.
    """

    request: Request
    size: Size
    exact: Size | None
    passes: tuple[Upscaler, ...]
    given: Layout
    given_full: bool
    given_siting: Siting
    layout: Layout
    full: bool
    siting: Siting
    matrix: int
    time_base: Fraction
    encoding: Encoding | None
    copied: tuple[int, ...]
    wanted: Range
    frames: int
    notes: tuple[str, ...]

    @property
    def is_temporal(self) -> bool:
        """Whether the result of a frame depends on earlier frames."""
        return any(isinstance(upscaler, TemporalUpscaler) for upscaler in self.passes)

    def fingerprint(self) -> dict[str, Any]:
        """Everything that the bytes of the frames depend on, as JSON."""
        source = Path(self.request.source)
        status = source.stat()
        return {
            "a2f": a2f.__version__,
            "av": {name: list(version) for name, version in av.library_versions.items()},
            "input": [str(source.absolute()), status.st_size, status.st_mtime_ns],
            "wanted": repr(self.request.wanted),
            "deinterlace": self.request.deinterlace,
            "networks": [upscaler.description for upscaler in self.passes],
            "exact": self.exact,
            "encoding": repr(self.encoding),
        }


def plan_video(source: Source, models: Models, request: Request) -> Plan:
    """Decide how a video is enlarged.

    Args:
        source: the open video.
        models: the available networks.
        request: the request.

    Raises:
        WriteError, OutputExistsError: if the output cannot be written.
        ImageReadError: if the video is damaged, is interlaced without `deinterlace`, or has unsupported colours.
        LossyFormatError: if the result cannot store everything, without `force`.
        UsageError: for an unknown codec or kind of file, or a size that cannot be reached.
        UnknownModelError, WeightsError, EngineError, MissingExtraError: if a network cannot be opened.
    """
    clip = source.clip
    _check_output(request)
    _check_fields(clip, request)
    damage = source.check(request.wanted)
    given = layout_of(clip.format)
    full = is_full(clip.colours, clip.format)
    matrix = matrix_of(clip.colours, width=clip.size[0], height=clip.size[1])
    output = Path(request.output)
    codec = None if request.is_y4m else codec_for(clip, output, request.codec)
    suffix = output.suffix.lower()
    layout = output_layout(given, codec, suffix=suffix, force=request.force) if codec else _y4m_layout(given, request)
    exact, size, padding = _sizes(clip, request.target, layout)
    passes = models.passes(clip.size, Target(scale=request.target.scale, size=exact), jpeg_quality=None)
    # RGB has full range; YUV made from it gets limited range, as players expect
    out_full = full if layout.kind == given.kind or given.kind == "grey" else layout.kind == "rgb"
    notes = [f"{clip.name}: {what} is not carried over" for what in clip.lost] + padding + damage
    encoding, copied = None, tuple[int, ...]()
    if codec is not None:
        encoding = Encoding(
            codec=codec,
            layout=layout,
            size=size,
            crf=_crf(codec.name, codec.crf, codec.worst, request.crf),
            preset=_preset(codec, request.preset),
            colours=declared_colours(clip, size, matrix),
            full=out_full,
            matrix=matrix,
            aspect=clip.aspect,
            siting=declared_siting(clip, codec, suffix),
            hdr=clip.hdr,
            rate=clip.rate,
            time_base=clip.time_base,
            threads=request.threads,
        )
        _check_aspect(encoding, output, force=request.force)
        copied, left_out = check_streams(source, encoding, output, force=request.force)
        notes += left_out
    return Plan(
        request=request,
        size=size,
        exact=exact,
        passes=tuple(one.upscaler for one in passes),
        given=given,
        given_full=full,
        given_siting=clip.siting or LEFT,
        layout=layout,
        full=out_full,
        siting=(encoding and encoding.siting) or LEFT,
        matrix=matrix,
        time_base=clip.time_base,
        encoding=encoding,
        copied=copied,
        wanted=source.in_its_time(request.wanted),
        frames=_frames(clip, request.wanted),
        notes=tuple(notes),
    )


def _check_output(request: Request) -> None:
    if str(request.output) == STREAM:
        return
    output = Path(request.output)
    if len(os.fsencode(output.name)) > MAX_NAME_BYTES:
        raise WriteError(f"cannot write {output}: its name is longer than {MAX_NAME_BYTES} bytes")
    if output.is_dir():
        raise WriteError(f"{output} is a folder: give the name of a file")
    if os.path.lexists(output):
        source = Path(request.source)
        if source.exists() and output.exists() and output.samefile(source):
            raise UsageError(f"{output} is the input itself, which is never replaced: choose another output")
        if not request.overwrite:
            raise output_exists(output)


def _check_fields(clip: Clip, request: Request) -> None:
    if clip.interlaced and not request.deinterlace:
        raise interlaced(clip.name)


def _check_aspect(encoding: Encoding, output: Path, *, force: bool) -> None:
    """Raise an error for pixels that are not square, unless the codec or the kind of file can declare them."""
    in_file, in_stream = output.suffix.lower() in (".mp4", ".m4v", ".mov"), encoding.codec.name in ASPECT_IN_STREAM
    if encoding.aspect not in (None, 1) and not in_file and not in_stream and not force:
        raise LossyFormatError(
            f"{output.suffix} with {encoding.codec.name} cannot store the pixel aspect {encoding.aspect}",
            Hint(text="choose .mp4"),
            *(Hint(text="choose {option}", option="codec", value=name) for name in ASPECT_IN_STREAM),
            Hint(text="accept square pixels with {option}", option="force", value=True),
        )


def _crf(name: str, default: int | None, worst: int, asked: int | None) -> int | None:
    if asked is None:
        return default
    if default is None:
        raise UsageError(f"{name} is lossless", Hint(text="leave out {option}", option="crf"))
    if not 0 <= asked <= worst:
        raise UsageError(f"crf {asked}: {name} accepts 0 (the best) to {worst}")
    return asked


def _preset(codec: Codec, asked: str | None) -> str | None:
    if asked is None:
        return codec.preset
    if not codec.presets:
        raise UsageError(f"{codec.name} has no presets", Hint(text="leave out {option}", option="preset"))
    if asked not in codec.presets:
        allowed = ", ".join(codec.presets)
        raise UsageError(f"preset {asked}: {codec.name} accepts {allowed} (the first is the fastest)")
    return asked


def _y4m_layout(given: Layout, request: Request) -> Layout:
    if (request.codec, request.crf, request.preset) != (None, None, None):
        raise UsageError("y4m has no codec, crf or preset: leave them out")
    return output_layout(given, Y4M_LAYOUTS, suffix=Y4M, force=request.force)


def _sizes(clip: Clip, target: Target, layout: Layout) -> tuple[Size | None, Size, list[str]]:
    """The size that frames are resized to, if any, the size of the coded frames, and notes.

    Subsampled chroma needs sides that are multiples of its step. Other sides are rounded up, with a note.

    Raises:
        UsageError: if a requested side is no such multiple.
    """
    shown, steps = clip.size, (layout.across, layout.down)
    if clip.is_turned:
        shown, steps = (shown[1], shown[0]), (steps[1], steps[0])
    final = target.final(shown)
    padded = (final[0] + -final[0] % steps[0], final[1] + -final[1] % steps[1])
    notes = []
    if padded != final:
        chroma = f"{CHROMA.get((layout.across, layout.down), layout.format)} video needs"
        for name, side, step in zip(("width", "height"), final, steps, strict=True):
            if side % step and name in _requested(target, shown):
                near = " or ".join(str(near) for near in (side - side % step, side - side % step + step) if near)
                multiple = "an even" if step == 2 else f"a multiple of {step} as"
                raise UsageError(f"{name} {side}: {chroma} {multiple} {name}: choose {near}")
        notes = [f"the result is {padded[0]} x {padded[1]}, not {final[0]} x {final[1]}: {chroma} even sides"]
    size = (padded[1], padded[0]) if clip.is_turned else padded
    return (size if target.is_exact else None), size, notes


def _requested(target: Target, shown: Size) -> set[str]:
    """The sides whose length was requested."""
    if target.size is not None:
        return {"width", "height"}
    if target.max_side is not None:
        return {"width" if shown[0] >= shown[1] else "height"}
    return {name for name in ("width", "height") if getattr(target, name) is not None}


def _frames(clip: Clip, wanted: Range) -> int:
    """The estimated number of frames of the result; 0 if unknown."""
    frames = clip.frames
    if wanted.end is not None:
        frames = min(frames or round(wanted.end * clip.rate), round(wanted.end * clip.rate))
    frames = max(0, frames - round(wanted.start * clip.rate))
    return frames if wanted.count is None else min(frames or wanted.count, wanted.count)
