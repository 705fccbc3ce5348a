"""Video data outside the frames: HDR10 metadata, the position of chroma, and the transparency of VP9.

PyAV does not set them, but it copies them from one file to another. Matroska (RFC 9559) has a place for all. So a
stream is described by a Matroska file in memory: one that FFmpeg writes is read, and one that is written here is what
FFmpeg copies.
"""

import io
import struct
from collections.abc import Iterator
from typing import Any, Final

import av
from av.packet import Packet
from av.stream import Stream
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream

from a2f.sizes import Size
from a2f.video.colour import Siting
from a2f.video.hdr import Hdr

ALPHA: Final = "matroska_block_additional"
CODEC_IDS = {
    "h264": "V_MPEG4/ISO/AVC",
    "hevc": "V_MPEGH/ISO/HEVC",
    "av1": "V_AV1",
    "vp9": "V_VP9",
    "ffv1": "V_FFV1",
}
_SEGMENT, _TRACKS, _TRACK, _VIDEO, _COLOUR = 0x18538067, 0x1654AE6B, 0xAE, 0xE0, 0x55B0
_SITING_ACROSS, _SITING_DOWN, _MAX_CLL, _MAX_FALL, _MASTERING = 0x55B7, 0x55B8, 0x55BC, 0x55BD, 0x55D0
_PLACES = {1: 0.0, 2: 0.5}  # on the first sample, in the middle


def head_of(
    codec: str, size: Size, setup: bytes, *, hdr: Hdr, siting: Siting | None = None, block: bytes = b""
) -> bytes:
    """A Matroska file with one frame or none.

    Args:
        codec: a key of `CODEC_IDS`.
        size: width and height, pixels.
        setup: header of the encoder.
        hdr: HDR10 metadata.
        siting: position of chroma; None if undeclared.
        block: the frame of `with_alpha`.
    """
    colour = list[bytes]()
    if siting is not None and {siting.across, siting.down} <= {*_PLACES.values()}:
        number = {place: code for code, place in _PLACES.items()}
        colour += [_number(_SITING_ACROSS, number[siting.across]), _number(_SITING_DOWN, number[siting.down])]
    if hdr.light is not None:
        colour += [_number(_MAX_CLL, hdr.light[0]), _number(_MAX_FALL, hdr.light[1])]
    if hdr.mastering is not None:
        colour.append(_element(_MASTERING, *_mastering(hdr)))
    video = _element(_VIDEO, _number(0xB0, size[0]), _number(0xBA, size[1]), _element(_COLOUR, *colour))
    kind = _element(0x86, CODEC_IDS[codec].encode())
    numbers = [_number(key, 1) for key in (0xD7, 0x73C5, 0x83, 0x55EE)]  # the last one allows block additions
    track = _element(_TRACK, *numbers, kind, _element(0x63A2, setup), video)
    versions = [_number(key, value) for key, value in ((0x4286, 1), (0x42F7, 1), (0x42F2, 4), (0x42F3, 8))]
    document = [_element(0x4282, b"matroska"), _number(0x4287, 4), _number(0x4285, 2)]
    information = _element(0x1549A966, _number(0x2AD7B1, 1_000_000), _element(0x4D80, b"a2f"), _element(0x5741, b"a2f"))
    cluster = _element(0x1F43B675, _number(0xE7, 0), block)  # readers require one
    segment = _element(_SEGMENT, information, _element(_TRACKS, track), cluster)
    return _element(0x1A45DFA3, *versions, *document) + segment


def with_alpha(data: bytes, alpha: bytes, *, size: Size) -> "Packet[Stream]":
    """A packet of VP9 with its alpha layer, which is a second packet in the side data."""
    layer = _element(0x75A1, _element(0xA6, _number(0xEE, 1), _element(0xA5, alpha)))
    block = _element(0xA0, _element(0xA1, b"\x81\0\0\0", data), layer)
    with av.open(io.BytesIO(head_of("vp9", size, b"", hdr=Hdr(), block=block)), "r") as container:
        packet: Packet[Any] = next(container.demux(video=0))
        return packet


def alpha_of(packet: "Packet[Any]") -> bytes:
    """The alpha layer in the side data of a packet; empty if there is none."""
    if not packet.has_sidedata(ALPHA):
        return b""
    return bytes(packet.get_sidedata(ALPHA))[8:]  # after the number of its kind


def alpha_decoder(stream: VideoStream) -> VideoCodecContext | None:
    """A decoder for VP8 or VP9 with an alpha layer, which FFmpeg's own decoder ignores; None without such a layer."""
    name = {"vp8": "libvpx", "vp9": "libvpx-vp9"}.get(stream.codec_context.codec.canonical_name)
    if name is None or stream.metadata.get("alpha_mode") != "1":
        return None
    decoder = av.CodecContext.create(name, "r")
    assert isinstance(decoder, VideoCodecContext)
    return decoder


def siting_of(stream: Stream) -> Siting | None:
    """The position of chroma that the file or the stream declares; None if undeclared."""
    copy = io.BytesIO()
    try:
        with av.open(copy, "w", format="matroska") as target:
            target.add_stream_from_template(stream, opaque=True)
            target.start_encoding()
            head = copy.getvalue()
    except (ValueError, av.FFmpegError):  # a codec that Matroska cannot store
        return None
    found = dict(_inside(head, (_SEGMENT, _TRACKS, _TRACK, _VIDEO, _COLOUR)))
    places = [_PLACES.get(int.from_bytes(found.get(key, b""), "big")) for key in (_SITING_ACROSS, _SITING_DOWN)]
    across, down = places
    return None if across is None or down is None else Siting(across=across, down=down)


def _mastering(hdr: Hdr) -> Iterator[bytes]:
    told = hdr.mastering
    assert told is not None
    numbers = (*told.red, *told.green, *told.blue, *told.white, told.brightest, told.darkest)
    for code, number in enumerate(numbers, start=0x55D1):
        yield _element(code, struct.pack(">d", number))


def _element(code: int, *content: bytes) -> bytes:
    body = b"".join(content)
    return code.to_bytes((code.bit_length() + 7) // 8, "big") + (len(body) | 1 << 56).to_bytes(8, "big") + body


def _number(code: int, value: int) -> bytes:
    return _element(code, value.to_bytes(4, "big"))


def _inside(data: bytes, path: tuple[int, ...]) -> Iterator[tuple[int, bytes]]:
    """The elements in the first element of each code of a path."""
    for code, body in _elements(data):
        if not path:
            yield code, body
        elif code == path[0]:
            yield from _inside(body, path[1:])
            return


def _elements(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at < len(data):
        code_end = at + 9 - data[at].bit_length()
        size_end = code_end + 9 - data[code_end].bit_length()
        bits = 7 * (size_end - code_end)
        size = int.from_bytes(data[code_end:size_end], "big") & ((1 << bits) - 1)
        if size == (1 << bits) - 1:  # unknown size: to the end
            size = len(data) - size_end
        yield int.from_bytes(data[at:code_end], "big"), data[size_end : size_end + size]
        at = size_end + size
