"""Find the parts of a JPEG file: the header segments, the end of the picture, and the data after it."""

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from a2f.errors import count_of

START, END, SCAN, COMMENT = b"\xff\xd8", 0xD9, 0xDA, 0xFE
GAIN_MAP_MARKS = (b"hdr-gain-map", b"urn:iso:std:iso:ts:21496", b"HDRGainMap", b"hdrgainmap")
ICC_MARK = b"ICC_PROFILE\0"
EXTENDED_XMP = b"http://ns.adobe.com/xmp/extension/\0"
KNOWN = (
    *(b"JFIF\0", b"JFXX\0", b"Exif\0", b"http://ns.adobe.com/xap/1.0/\0", EXTENDED_XMP),
    *(ICC_MARK, b"MPF\0", b"urn:iso:std:iso:ts:21496:-1", b"Photoshop 3.0\0", b"Adobe", b"Ducky"),
)
_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")  # a marker outside the entropy-coded data (ITU T.81, B.1.1)


@dataclass(frozen=True, kw_only=True)
class Segment:
    """One segment of a JPEG file: the byte after 0xFF, the position of that 0xFF, and the body."""

    marker: int
    at: int
    body: bytes


@dataclass(frozen=True, kw_only=True)
class JpegParts:
    """One picture in a file.

    Attributes:
        segments: all segments with a body, in order.
        end: the position after the picture; the end of the data if it is truncated.
    """

    segments: tuple[Segment, ...]
    end: int


def jpeg_parts(data: bytes, at: int = 0) -> JpegParts:
    """The readable parts of the picture that begins at `at`."""
    segments: list[Segment] = []
    at += len(START)
    while match := _MARKER.search(data, at):
        at, marker = match.start(), data[match.start() + 1]
        if marker == END:
            return JpegParts(segments=tuple(segments), end=at + 2)
        if marker == 0x01:  # TEM has no body
            at += 2
            continue
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        if length < 2 or at + 2 + length > len(data):
            break
        segments.append(Segment(marker=marker, at=at, body=data[at + 4 : at + 2 + length]))
        at += 2 + length
    return JpegParts(segments=tuple(segments), end=len(data))


def jfif_resolution(parts: JpegParts) -> tuple[tuple[float, float] | None, tuple[float, float] | None]:
    """The resolution of a JFIF header in pixels per inch, or the pixel aspect if it has no unit."""
    body = next((s.body for s in parts.segments if s.marker == 0xE0 and s.body.startswith(b"JFIF\0")), b"")
    if len(body) < 12:
        return None, None
    unit, x, y = struct.unpack_from(">BHH", body, 7)
    inch = {1: 1.0, 2: 2.54}.get(unit)
    if not x or not y:
        return None, None
    return ((x * inch, y * inch), None) if inch else (None, (x, y) if x != y else None)


def further_pictures(data: bytes, end: int) -> Iterator[tuple[int, JpegParts]]:
    """The pictures after the first one (CIPA DC-007, Multi-Picture Format), each with its position.

    Args:
        data: the whole file.
        end: end of the first picture.
    """
    while (at := data.find(START + b"\xff", end)) >= 0:
        parts = jpeg_parts(data, at)
        yield at, parts
        end = parts.end


def is_gain_map(parts: JpegParts) -> bool:
    """Whether another picture is the HDR gain map of the first one."""
    return any(mark in segment.body for segment in parts.segments for mark in GAIN_MAP_MARKS)


def comments_of(parts: JpegParts) -> tuple[bytes, ...]:
    """The comments of a picture."""
    return tuple(segment.body for segment in parts.segments if segment.marker == COMMENT and segment.body)


def icc_of(parts: JpegParts) -> bytes | None:
    """The colour profile in the segments of a picture (ICC.1:2022, B.4), also if they are counted from 0."""
    numbered: dict[int, bytes] = {}
    for segment in parts.segments:
        if segment.marker == 0xE2 and segment.body.startswith(ICC_MARK) and len(segment.body) > len(ICC_MARK) + 2:
            numbered.setdefault(segment.body[len(ICC_MARK)], segment.body[len(ICC_MARK) + 2 :])
    return b"".join(body for _, body in sorted(numbered.items())) or None


def has_extended_xmp(parts: JpegParts) -> bool:
    """Whether a picture has XMP in several segments."""
    return any(segment.body.startswith(EXTENDED_XMP) for segment in parts.segments)


def notes_of_segments(parts: JpegParts, name: str) -> list[str]:
    """Notes about application segments that are not read and not part of the pixel coding."""
    unknown = {
        f"APP{segment.marker & 15}"
        for segment in parts.segments
        if 0xE0 <= segment.marker <= 0xEF and segment.body and not segment.body.startswith(KNOWN)
    }
    if not unknown:
        return []
    return [f"{name} holds segments that are not known here ({', '.join(sorted(unknown))}): left out"]


def gain_map_note(name: str) -> str:
    """The note about a gain map that is not kept."""
    return f"{name} holds an HDR gain map: left out, the result is the SDR picture"


def notes_of_tail(data: bytes, end: int, name: str) -> list[str]:
    """Notes about the data after the first picture, which is not kept.

    Args:
        data: the whole file.
        end: end of the first picture.
        name: name of the file in notes.
    """
    notes = []
    film = data.find(b"ftyp", end)
    pictures = list(further_pictures(data[: film if film >= 0 else len(data)], end))
    maps = sum(is_gain_map(parts) for _, parts in pictures)
    if maps:
        notes.append(gain_map_note(name))
    if len(pictures) > maps:
        notes.append(f"{name} holds {count_of(len(pictures) - maps, 'further picture(s) or preview(s)')}: left out")
    if film >= 0:
        notes.append(f"{name} holds a short film (motion photo): left out")
    rest = data[pictures[-1][1].end if pictures else end :].strip(b"\0\xff")
    if film < 0 and rest:
        notes.append(f"{name} holds {len(rest):,} bytes behind its picture: left out")
    return notes
