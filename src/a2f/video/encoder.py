"""The encoder of the result and its settings."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path

import av
from av.codec.context import Flags
from av.video.codeccontext import VideoCodecContext

from a2f.errors import Hint, ImageReadError, LossyFormatError, UsageError, did_you_mean
from a2f.imageio.formats import ACCEPT_LOSS_HINT
from a2f.sizes import Size
from a2f.video.colour import (
    BT601,
    LEFT,
    RGB,
    SD_HEIGHT,
    SD_WIDTH,
    TOP_LEFT,
    UNSPECIFIED,
    Colours,
    Layout,
    Siting,
    layout_of,
)
from a2f.video.hdr import Hdr
from a2f.video.source import Clip

PROGRESSIVE = 1  # FFmpeg's number for this field order
KEYFRAMES = 250  # largest distance, frames


@dataclass(frozen=True, kw_only=True)
class Codec:
    """A codec and its encoder.

    Attributes:
        name: name for users.
        encoder: FFmpeg's name of the encoder.
        crf: default constant rate factor, lower is better; None for a lossless codec.
        worst: largest constant rate factor.
        speed: name of the encoder's option for speed against size; None if it has none.
        presets: values of that option, the fastest first.
        preset: default of that option.
        options: options of the encoder.
        suffixes: suffixes of files that can store it.
    """

    name: str
    encoder: str
    crf: int | None
    worst: int = 51
    speed: str | None = None
    presets: tuple[str, ...] = ()
    preset: str | None = None
    options: tuple[tuple[str, str], ...] = ()
    suffixes: tuple[str, ...] = (".mp4", ".m4v", ".mov", ".mkv")


# what x264's fastest preset leaves out: with it, files are smaller than those of the next preset, in half the time
X264_ULTRAFAST = ("cabac=1", "8x8dct=1", "deblock=0,0", "bframes=3", "b-adapt=0", "scenecut=40")
X26_PRESETS = ("ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow")
CODECS = {
    codec.name: codec
    for codec in (
        Codec(name="h264", encoder="libx264", crf=17, speed="preset", presets=X26_PRESETS, preset="ultrafast"),
        Codec(name="hevc", encoder="libx265", crf=18, speed="preset", presets=X26_PRESETS, preset="superfast"),
        Codec(
            name="av1",
            encoder="libsvtav1",
            crf=24,
            worst=63,
            speed="preset",
            presets=tuple(map(str, range(13, -1, -1))),
            preset="8",
            suffixes=(".mp4", ".m4v", ".mkv", ".webm"),
        ),
        Codec(
            name="vp9",
            encoder="libvpx-vp9",
            crf=22,
            worst=63,
            speed="cpu-used",
            presets=tuple(map(str, range(8, -1, -1))),
            preset="4",
            options=(("b", "0"), ("deadline", "good"), ("row-mt", "1")),
            suffixes=(".mp4", ".mkv", ".webm"),
        ),
        Codec(name="ffv1", encoder="ffv1", crf=None, options=(("level", "3"), ("slicecrc", "1")), suffixes=(".mkv",)),
    )
}
# Positions of chroma, as encoders number them.
SITINGS: dict[str, list[Siting | None]] = {
    "h264": [LEFT, Siting(across=0.5, down=0.5), TOP_LEFT, Siting(across=0.5, down=0)],
    "hevc": [LEFT, Siting(across=0.5, down=0.5), TOP_LEFT, Siting(across=0.5, down=0)],
    "av1": [None, LEFT, TOP_LEFT],
}
ALPHA_FORMATS = {"vp9": ("yuva420p",)}  # encoders also list formats with alpha that they refuse
MATROSKA = (".mkv", ".webm")
CONTAINERS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska", ".webm": "webm"}


@contextmanager
def usual_scheduling() -> Iterator[None]:
    """Keep the scheduling of this thread and of the threads that are started in this context.

    SVT-AV1 makes its threads and the calling one real-time threads where it may, which is where root runs it: then
    nothing else on the machine gets a turn.
    """
    if not hasattr(os, "sched_setscheduler"):
        yield
        return
    policy, parameters = os.sched_getscheduler(0), os.sched_getparam(0)
    yield
    for thread in map(int, os.listdir("/proc/self/task")) if os.path.isdir("/proc/self/task") else (0,):
        with suppress(ProcessLookupError):
            if os.sched_getscheduler(thread) != policy:
                os.sched_setscheduler(thread, policy, parameters)


@dataclass(frozen=True, kw_only=True)
class Encoding:
    """How the frames of the result are encoded. Two encoders with equal settings make equal bytes.

    Attributes:
        codec: the codec.
        layout: layout of the frames.
        size: width and height, pixels.
        crf: constant rate factor; None for a lossless codec.
        preset: speed of the encoder; None if it has no presets.
        colours: colours that the stream declares.
        full: whether samples use the full range.
        matrix: matrix from RGB to the samples.
        aspect: width of a pixel divided by its height; None if undeclared.
        siting: position of chroma; None if undeclared.
        hdr: HDR10 metadata.
        rate: average frames per second.
        time_base: seconds per tick.
        threads: threads of the encoder; its bytes depend on them.
    """

    codec: Codec
    layout: Layout
    size: Size
    crf: int | None
    preset: str | None = None
    colours: Colours
    full: bool
    matrix: int
    aspect: Fraction | None
    siting: Siting | None = None
    hdr: Hdr = field(default_factory=Hdr)
    rate: Fraction
    time_base: Fraction
    threads: int

    def options(self) -> dict[str, str]:
        """The options of the encoder for FFmpeg."""
        made = dict(self.codec.options)
        if self.crf is not None:
            made["crf"] = str(self.crf)
        if self.codec.speed is not None and self.preset is not None:
            made[self.codec.speed] = self.preset
        if self.codec.name == "vp9" and self.layout.alpha:
            made["auto-alt-ref"] = "0"  # hidden frames have no alpha layer
        own = self._parameters()
        if own:
            made[f"{'svtav1' if self.codec.name == 'av1' else self.codec.encoder.removeprefix('lib')}-params"] = own
        return made

    def describe(self, context: VideoCodecContext) -> None:
        """Set the properties that the stream declares."""
        context.width, context.height = self.size
        context.pix_fmt = self.layout.coded
        context.framerate = self.rate
        context.color_range = 2 if self.full else 1
        context.colorspace = RGB if self.layout.kind == "rgb" else self.colours.matrix
        context.color_primaries, context.color_trc = self.colours.primaries, self.colours.transfer
        context.field_order = PROGRESSIVE
        if self.aspect is not None:
            context.sample_aspect_ratio = self.aspect

    def open(self) -> VideoCodecContext:
        """Open an encoder."""
        context = av.CodecContext.create(self.codec.encoder, "w")
        assert isinstance(context, VideoCodecContext)
        self.describe(context)
        context.time_base = self.time_base
        context.gop_size = 1 if self.codec.crf is None else KEYFRAMES
        context.thread_count = self.threads
        context.flags |= Flags.global_header
        context.options = self.options()
        with usual_scheduling():
            context.open()
        return context

    def _parameters(self) -> str:
        """Options for the library of the encoder: tools, HDR10 metadata, position of chroma, no messages."""
        parts = ["log-level=error"] if self.codec.name == "hevc" else []
        parts += X264_ULTRAFAST if (self.codec.name, self.preset) == ("h264", "ultrafast") else ()
        known = SITINGS.get(self.codec.name, [])
        if self.siting is not None and self.siting in known and (self.layout.across, self.layout.down) == (2, 2):
            name = "chroma-sample-position" if self.codec.name == "av1" else "chromaloc"
            parts += [f"{name}={known.index(self.siting)}"]
        mastering, light = self.hdr.mastering, self.hdr.light
        if self.codec.name == "hevc":
            parts += [f"master-display={mastering.text(colour_unit=50_000, light_unit=10_000)}"] if mastering else []
            parts += [f"max-cll={light[0]},{light[1]}"] if light else []
        elif self.codec.name == "h264":
            parts += [f"mastering-display={mastering.text(colour_unit=50_000, light_unit=10_000)}"] if mastering else []
            parts += [f"cll={light[0]},{light[1]}"] if light else []
        elif self.codec.name == "av1":
            parts += [f"mastering-display={mastering.text(colour_unit=1, light_unit=1)}"] if mastering else []
            parts += [f"content-light={light[0]},{light[1]}"] if light else []
        return ":".join(parts)


def codec_for(clip: Clip, output: Path, asked: str | None) -> Codec:
    """The requested codec; otherwise the codec of the input if it is one of `CODECS` and the file can store it.

    Raises:
        UsageError: for an unknown codec or kind of file, or if the file cannot store the codec.
    """
    suffix = output.suffix.lower()
    if suffix not in CONTAINERS:
        raise UsageError(f"{output}: the output must end with {', '.join(CONTAINERS)} or .y4m")
    if asked is not None:
        if asked not in CODECS:
            raise UsageError(f"unknown codec {asked!r}{did_you_mean(asked, CODECS)}: choose one of {', '.join(CODECS)}")
        if suffix not in CODECS[asked].suffixes:
            able = ", ".join(CODECS[asked].suffixes)
            raise UsageError(f"{suffix} cannot store {asked}: the output must end with {able}")
        return CODECS[asked]
    own = CODECS.get(clip.codec)
    if own is not None and suffix in own.suffixes:
        return own
    return CODECS["vp9" if suffix == ".webm" else "h264"]


def output_layout(given: Layout, holder: Codec | tuple[Layout, ...], *, suffix: str, force: bool) -> Layout:
    """The pixel format of the result: that of the input, or the nearest format without loss.

    Args:
        given: layout of the input.
        holder: the codec, or the layouts of y4m.
        suffix: suffix of the file.
        force: accept a loss of depth, chroma or transparency.

    Raises:
        LossyFormatError: if there is none, without `force`.
    """
    layouts = _layouts(holder) if isinstance(holder, Codec) else holder
    if holder == CODECS["vp9"] and suffix not in MATROSKA:  # other files cannot store its alpha layer
        layouts = [layout for layout in layouts if not layout.alpha]
    best = min(layouts, key=lambda layout: (_loss(given, layout), _samples(given, layout)))
    if any(_loss(given, best)) and not force:
        what = ("transparency", "RGB", "colours", f"{given.bits} bits per sample", "all of its chroma")
        losses = _loss(given, best)
        losses = (*losses[:4], losses[4] and not losses[1])  # RGB has no chroma
        lost = " or ".join(told for told, is_lost in zip(what, losses, strict=True) if is_lost)
        in_webm = given.alpha and isinstance(holder, Codec) and not best.alpha and holder.name == "vp9"
        able = [other.name for other in CODECS.values() if any(not any(_loss(given, kept)) for kept in _layouts(other))]
        raise LossyFormatError(
            f"{holder.name if isinstance(holder, Codec) else 'y4m'} cannot store {lost} (pixel format {given.format})",
            *([Hint(text="choose .webm")] if in_webm and suffix not in MATROSKA else []),
            *(Hint(text="choose {option}", option="codec", value=name) for name in able),
            ACCEPT_LOSS_HINT,
        )
    return best


def declared_colours(clip: Clip, size: Size, matrix: int) -> Colours:
    """The colours that the result declares: those of the input.

    If a video declares no matrix, players choose one by its size. If they would choose another one for the result, the
    result declares the matrix of the input.
    """
    colours = clip.colours
    if colours.matrix == RGB:  # declared in any case if the result is RGB
        return replace(colours, matrix=matrix)
    grown = (size[0] >= SD_WIDTH or size[1] > SD_HEIGHT) and matrix == BT601
    return replace(colours, matrix=BT601) if colours.matrix == UNSPECIFIED and grown else colours


def declared_siting(clip: Clip, codec: Codec, suffix: str) -> Siting | None:
    """The position of chroma that the result declares: that of the input, if the file or codec can declare it."""
    able = suffix in MATROSKA or clip.siting in SITINGS.get(codec.name, [])
    return clip.siting if able else None


def _layouts(codec: Codec) -> list[Layout]:
    """The pixel formats that an encoder takes."""
    names = [known.name for known in av.Codec(codec.encoder, "w").video_formats or []]
    found = []
    for name in names:
        with suppress(ImageReadError):  # an unsupported format
            found.append(layout_of(name))
    if codec.name == "ffv1":
        return found
    return [layout for layout in found if not layout.alpha or layout.format in ALPHA_FORMATS.get(codec.name, ())]


def _loss(given: Layout, layout: Layout) -> tuple[bool, ...]:
    return (
        given.alpha and not layout.alpha,
        given.kind != "grey" and (given.kind == "rgb") != (layout.kind == "rgb"),
        given.kind != "grey" and layout.kind == "grey",
        given.bits > layout.bits,
        layout.across > given.across or layout.down > given.down if given.kind != "grey" else False,
    )


def _samples(given: Layout, layout: Layout) -> tuple[int, ...]:
    """How much more a format can store than is needed."""
    packed = layout.format != layout.coded
    return layout.kind != given.kind, layout.alpha, layout.bits, -layout.across * layout.down, packed
