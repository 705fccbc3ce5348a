"""Gain maps of Ultra HDR JPEGs: read with the SDR picture, and written after it.

A gain map is a second JPEG in the file, often smaller than the first. It gives the brightness gain of each position on
an HDR screen. Its own segments (XMP of Adobe and Apple, ISO 21496-1) describe how to apply it and are kept byte for
byte. The first picture has its position (CIPA DC-007, and in XMP), which is rewritten.
"""

import struct
from typing import TYPE_CHECKING

import numpy as np

from a2f.imageio.jpeg_parts import JpegParts, further_pictures, is_gain_map, jpeg_parts
from a2f.imageio.loaders import open_vips
from a2f.imageio.picture import GainMap

if TYPE_CHECKING:
    from pyvips import Image as VipsImage

ISO_MARK, ADOBE_MARK, XMP_MARK = b"urn:iso:std:iso:ts:21496:-1", b"hdr-gain-map", b"http://ns.adobe.com/xap/1.0/\0"
NOT_KEPT = (b"JFIF\0", b"JFXX\0", b"Exif\0", b"MPF\0", b"Adobe")  # rewritten, or about the old pixels
MPF_BYTES = 90  # length of the segment with its marker and length field
DIRECTORY = (
    '<rdf:Description rdf:about="" xmlns:Container="http://ns.google.com/photos/1.0/container/" '
    'xmlns:Item="http://ns.google.com/photos/1.0/container/item/" '
    'xmlns:hdrgm="http://ns.adobe.com/hdr-gain-map/1.0/" hdrgm:Version="1.0"><Container:Directory><rdf:Seq>'
    '<rdf:li rdf:parseType="Resource"><Container:Item Item:Semantic="Primary" Item:Mime="image/jpeg"/></rdf:li>'
    '<rdf:li rdf:parseType="Resource"><Container:Item Item:Semantic="GainMap" Item:Mime="image/jpeg" '
    'Item:Length="{length}"/></rdf:li></rdf:Seq></Container:Directory></rdf:Description>'
)
PACKET = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    "</rdf:RDF></x:xmpmeta>"
)


def read_gain_map(data: bytes, parts: JpegParts, *, orientation: int, max_pixels: int | None) -> GainMap | None:
    """Read the gain map of a file, upright like its picture; None if there is none or it cannot be decoded.

    Args:
        data: a JPEG file.
        parts: parts of its first picture.
        orientation: orientation of that picture, 1 to 8.
        max_pixels: a map with more is not decoded.
    """
    import pyvips

    found = next(((at, more) for at, more in further_pictures(data, parts.end) if is_gain_map(more)), None)
    if found is None:
        return None
    at, own = found
    try:
        image = open_vips(data[at : own.end], "jpeg", fail_on="truncated")
        if max_pixels is not None and image.width * image.height > max_pixels:
            return None
        pixels = _upright(image, orientation)
    except pyvips.Error:
        return None
    if pixels.shape[2] not in (1, 3) or pixels.dtype != np.uint8:
        return None
    kept = [data[s.at : s.at + 4 + len(s.body)] for s in own.segments if 0xE1 <= s.marker <= 0xEF]
    told = [data[s.at : s.at + 4 + len(s.body)] for s in parts.segments if s.body.startswith(ISO_MARK)]
    segments = tuple(whole for whole in kept if not whole[4:].startswith(NOT_KEPT))
    return GainMap(pixels=pixels, segments=segments, told=tuple(told))


def _upright(image: "VipsImage", orientation: int) -> np.ndarray:
    import pyvips

    turned = image.copy()
    turned.set_type(pyvips.GValue.gint_type, "orientation", orientation)  # its own orientation is ignored
    pixels = turned.autorot().numpy()
    return np.ascontiguousarray(pixels if pixels.ndim == 3 else pixels[:, :, None])


def xmp_with_directory(xmp: bytes | None, length: int) -> bytes:
    """Make an XMP packet that announces a gain map after the picture.

    Args:
        xmp: the packet of the picture without a gain map; None to make one.
        length: length of the JPEG of the gain map, bytes.
    """
    packet = xmp if xmp and b"</rdf:RDF>" in xmp else PACKET.encode()
    head, end, tail = packet.rpartition(b"</rdf:RDF>")
    return head + DIRECTORY.format(length=length).encode() + end + tail


def is_adobe(gain_map: GainMap) -> bool:
    """Whether the map is described in XMP; then the XMP of the first picture must announce it too."""
    return any(ADOBE_MARK in segment for segment in gain_map.segments)


def with_gain_map(data: bytes, map_data: bytes, gain_map: GainMap) -> bytes:
    """Append a gain map to a JPEG file.

    Args:
        data: the file, whose XMP already announces the map if needed.
        map_data: the map as a JPEG file.
        gain_map: the gain map, for its segments.
    """
    first = jpeg_parts(map_data).segments[0].at
    behind = map_data[:first] + b"".join(gain_map.segments) + map_data[first:]
    at = _behind_header(data)
    head = data[:at] + b"".join(gain_map.told)
    size = len(head) + MPF_BYTES + len(data) - at
    return head + _mpf(size, len(behind), at=len(head)) + data[at:] + behind


def behind_bytes(map_data: bytes, gain_map: GainMap) -> int:
    """The length of a map after its picture."""
    return len(map_data) + sum(map(len, gain_map.segments))


def _behind_header(data: bytes) -> int:
    """The end of the segments that describe the picture."""
    applications = [s for s in jpeg_parts(data).segments if 0xE0 <= s.marker <= 0xE1]
    return applications[-1].at + 4 + len(applications[-1].body) if applications else 2


def _mpf(size: int, behind: int, *, at: int) -> bytes:
    """The index of two pictures; offsets are relative to the end of the prefix (CIPA DC-007, 5.2)."""
    entries = struct.pack(">IIIHH", 0x030000, size, 0, 0, 0)
    entries += struct.pack(">IIIHH", 0, behind, size - (at + 8), 0, 0)
    index = struct.pack(">H", 3) + struct.pack(">HHI4s", 0xB000, 7, 4, b"0100")
    index += struct.pack(">HHII", 0xB001, 4, 1, 2) + struct.pack(">HHII", 0xB002, 7, 32, 50) + bytes(4)
    body = b"MPF\0" + b"MM\0*" + struct.pack(">I", 8) + index + entries
    return struct.pack(">BBH", 0xFF, 0xE2, len(body) + 2) + body
