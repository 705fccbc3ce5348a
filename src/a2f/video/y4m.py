"""Consecutive raw frames (YUV4MPEG2, "y4m"), for pipes to other programs."""

import sys
from fractions import Fraction

import numpy as np
from av.video.frame import VideoFrame

from a2f.sizes import Size
from a2f.video.colour import Layout, layout_of, planes_of

_NAMES = {
    "gray": "mono",
    "yuv420p": "420mpeg2",  # chroma on the left luma sample
    "yuv411p": "411",
    "yuv422p": "422",
    "yuv444p": "444",
    **{f"yuv{kind}p{bits}le": f"{kind}p{bits}" for kind in (420, 422, 444) for bits in (9, 10, 12, 14, 16)},
    **{f"gray{bits}le": f"mono{bits}" for bits in (9, 10, 12)},
}
Y4M_LAYOUTS = tuple(layout_of(name) for name in _NAMES)


def y4m_head(size: Size, layout: Layout, *, full: bool, rate: Fraction, aspect: Fraction | None) -> bytes:
    """The line before the first frame.

    Args:
        size: width and height, pixels.
        layout: one of `Y4M_LAYOUTS`.
        full: whether samples use the full range.
        rate: frames per second.
        aspect: width of a pixel divided by its height; None if undeclared.
    """
    shape = f"{aspect.numerator}:{aspect.denominator}" if aspect else "0:0"
    line = f"YUV4MPEG2 W{size[0]} H{size[1]} F{rate.numerator}:{rate.denominator} Ip A{shape} C{_NAMES[layout.format]}"
    return f"{line} XCOLORRANGE={'FULL' if full else 'LIMITED'}\n".encode()


def y4m_frame(frame: VideoFrame, layout: Layout) -> bytes:
    """One frame."""
    planes = planes_of(frame, layout)
    return b"FRAME\n" + b"".join(np.ascontiguousarray(plane).tobytes() for plane in planes)


class Pipe:
    """Standard input, counted.

    Attributes:
        bytes: number of bytes that were read.
    """

    def __init__(self) -> None:
        self.bytes = 0

    def read(self, count: int) -> bytes:
        """At most so many bytes; none at the end."""
        data = sys.stdin.buffer.read(count)
        self.bytes += len(data)
        return data
