"""Read and change the boxes of AVIF and HEIC files (ISO/IEC 14496-12 and 23008-12)."""

import struct
from collections.abc import Iterator

from a2f.imageio.av1 import colours_of_av1

UNSPECIFIED = 2  # code point of ITU-T H.273
OF_THE_SCREEN = (b"clli", b"mdcv", b"cclv", b"amve", b"ndwt")
START_BYTES = 256  # start of a picture, which has its header


def boxes_of(data: bytes | bytearray, start: int = 0, end: int | None = None) -> Iterator[tuple[bytes, int, int]]:
    """The boxes between two positions: kind, and start and end of the body; stops at the first unreadable box."""
    at, stop = start, len(data) if end is None else end
    while at + 8 <= stop:
        size, head = int.from_bytes(data[at : at + 4], "big"), 8
        if size == 1:
            size, head = int.from_bytes(data[at + 8 : at + 16], "big"), 16
        size = size or stop - at
        if size < head or at + size > stop:
            return
        yield bytes(data[at + 4 : at + 8]), at + head, at + size
        at += size


def brands_of(data: bytes) -> set[bytes]:
    """The brands in the first box of a file, as far as they are in `data`; empty for another kind of file."""
    if data[4:8] != b"ftyp":
        return set()
    end = min(int.from_bytes(data[:4], "big"), len(data))
    return {data[at : at + 4] for at in (8, *range(16, end - 3, 4))}


def is_sequence(data: bytes) -> bool:
    """Whether a file has a sequence of pictures."""
    return any(kind == b"moov" for kind, _, _ in boxes_of(data))


def ends_early(data: bytes) -> bool:
    """Whether a box ends after the end of the file."""
    at = 0
    while at + 8 <= len(data) and (size := int.from_bytes(data[at : at + 4], "big")) >= 8:
        at += size
    return at > len(data)


def parts_left_out(data: bytes) -> list[str]:
    """The kinds of auxiliary pictures of the main picture."""
    found = _found(data, (b"meta",))
    meta = data[found[0] : found[1]] if found else b""
    gain_map = b"hdrgainmap" in meta or b"tmap" in meta
    depth = b"auxid:2" in meta or b":aux:depth" in meta
    light = sorted(kind.decode() for kind, _ in _own_properties(data) if kind in OF_THE_SCREEN)
    told = [f"what tells about the HDR screen that it was made on ({', '.join(light)})"] if light else []
    return ["an HDR gain map"] * gain_map + ["a depth map"] * depth + told


def aspect_of(data: bytes) -> tuple[float, float] | None:
    """Horizontal and vertical resolution without a unit, if the pixels are not square (pasp)."""
    properties = dict(_own_properties(data))
    body = properties.get(b"pasp", b"")
    if len(body) != 8:
        return None
    wide, high = struct.unpack(">II", body)
    if properties.get(b"irot", b"\0")[:1] in (b"\1", b"\3"):  # a quarter turn
        wide, high = high, wide
    return (float(high), float(wide)) if wide and high and wide != high else None


def _found(data: bytes | bytearray, path: tuple[bytes, ...], start: int = 0, end: int | None = None) -> list[int]:
    """The start of the body of each box along a path, and the end of the last; empty if one is missing."""
    places: list[int] = []
    for kind in path:
        match = next(((a, b) for k, a, b in boxes_of(data, start, end) if k == kind), None)
        if match is None:
            return []
        places.append(match[0])
        start, end = match[0] + (4 if kind == b"meta" else 0), match[1]
    return [*places, end or 0]


def is_premultiplied(data: bytes) -> bool:
    """Whether the main picture has premultiplied alpha (ISO/IEC 23008-12, 7.3.5.2: `prem`)."""
    found = _found(data, (b"meta", b"iref"))
    if not found:
        return False
    id_bytes, main = (4 if data[found[1]] else 2), _primary(data)
    references = boxes_of(data, found[1] + 4, found[2])
    return any(kind == b"prem" and int.from_bytes(data[a : a + id_bytes], "big") == main for kind, a, _ in references)


def nclx_of(data: bytes) -> tuple[int, int] | None:
    """The code points of primaries and transfer (ITU-T H.273) of the main picture.

    Without a box for them, they are read from the AV1 bitstream.
    """
    mine = _own_properties(data)
    for kind, body in mine:
        if kind == b"colr" and body[:4] == b"nclx" and len(body) >= 10:
            return int.from_bytes(body[4:6], "big"), int.from_bytes(body[6:8], "big")
    configured = next((body[4:] for kind, body in mine if kind == b"av1C"), None)
    if configured is None:
        return None
    told = colours_of_av1(configured) or colours_of_av1(_item_start(data, _primary(data)))
    return None if told == (UNSPECIFIED, UNSPECIFIED) else told


def _own_properties(data: bytes) -> list[tuple[bytes, bytes]]:
    """Kinds and bodies of the properties of the main picture, or of all pictures if the file does not assign them."""
    found = _found(data, (b"meta", b"iprp", b"ipco"))
    if not found:
        return []
    properties = [(kind, data[a:b]) for kind, a, b in boxes_of(data, found[2], found[3])]
    own = _properties_of(data, _primary(data))
    return [properties[i - 1] for i in own if 0 < i <= len(properties)] or properties


def _item_start(data: bytes, item: int) -> bytes:
    """The first bytes of the data of an item, as far as they are in the file (ISO/IEC 14496-12, 8.11.3)."""
    found = _found(data, (b"meta", b"iloc"))
    if not found:
        return b""
    body = data[found[1] : found[2]]
    version, sizes = body[0], body[4:6]
    offset_bytes, length_bytes, base_bytes, index_bytes = sizes[0] >> 4, sizes[0] & 15, sizes[1] >> 4, sizes[1] & 15
    wide = 4 if version == 2 else 2
    at = 6 + wide
    for _ in range(int.from_bytes(body[6 : 6 + wide], "big")):
        number, in_file = int.from_bytes(body[at : at + wide], "big"), True
        at += wide
        if version:
            in_file = int.from_bytes(body[at : at + 2], "big") & 15 == 0
            at += 2
        at += 2
        base, at = int.from_bytes(body[at : at + base_bytes], "big"), at + base_bytes
        extents, at = int.from_bytes(body[at : at + 2], "big"), at + 2
        offset = int.from_bytes(body[at + index_bytes : at + index_bytes + offset_bytes], "big")
        if number == item and in_file and extents:
            return data[base + offset : base + offset + START_BYTES]
        at += extents * (index_bytes + offset_bytes + length_bytes)
        if at >= len(body):
            break
    return b""


def _primary(data: bytes) -> int:
    found = _found(data, (b"meta", b"pitm"))
    return int.from_bytes(data[found[1] + 4 : found[2]], "big") if found else 0


def _properties_of(data: bytes, item: int) -> list[int]:
    """The numbers, from 1, of an item's properties (ISO/IEC 23008-12, 9.3, ItemPropertyAssociation)."""
    found = _found(data, (b"meta", b"iprp", b"ipma"))
    if not found:
        return []
    body = data[found[2] : found[3]]
    id_bytes, wide = (4 if body[0] else 2), body[3] & 1
    at = 8
    for _ in range(int.from_bytes(body[4:8], "big")):
        if at + id_bytes >= len(body):
            break
        number, count = int.from_bytes(body[at : at + id_bytes], "big"), body[at + id_bytes]
        at += id_bytes + 1
        step = 2 if wide else 1
        if number == item:
            entries = [int.from_bytes(body[i : i + step], "big") for i in range(at, at + count * step, step)]
            return [entry & (0x7FFF if wide else 0x7F) for entry in entries]
        at += count * step
    return []


def with_nclx(data: bytes, primaries: int, transfer: int) -> bytes:
    """Replace the ICC profile of an AVIF file by code points.

    Args:
        data: a file written by libvips, full range, with the matrix of BT.601, and a profile.
        primaries: code point of ITU-T H.273, Table 2.
        transfer: code point of Table 3.
    """
    path = (b"meta", b"iprp", b"ipco")
    places = _found(data, path)
    start, end = next((a, b) for kind, a, b in boxes_of(data, places[2], places[3]) if kind == b"colr")
    body = b"nclx" + struct.pack(">HHHB", primaries, transfer, 6, 0x80)
    change = len(body) - (end - start)
    out = bytearray(data)
    for place in (*places[:3], start):
        struct.pack_into(">I", out, place - 8, int.from_bytes(data[place - 8 : place - 4], "big") + change)
    out[start:end] = body
    _move_items(out, change)
    return bytes(out)


def _move_items(out: bytearray, change: int) -> None:
    """Update the item locations after boxes before the items changed their size."""
    at = _found(out, (b"meta", b"iloc"))[1]
    version, sizes = out[at], out[at + 4 : at + 6]
    offset_bytes, length_bytes, base_bytes, index_bytes = sizes[0] >> 4, sizes[0] & 15, sizes[1] >> 4, sizes[1] & 15
    number = 4 if version == 2 else 2
    count = int.from_bytes(out[at + 6 : at + 6 + number], "big")
    at += 6 + number
    for _ in range(count):
        at += number
        in_file = version == 0 or out[at + 1] & 15 == 0
        at += 2 if version == 0 else 4
        base = int.from_bytes(out[at : at + base_bytes], "big")
        if base and in_file:
            out[at : at + base_bytes] = (base + change).to_bytes(base_bytes, "big")
        at += base_bytes
        extents = int.from_bytes(out[at : at + 2], "big")
        at += 2
        for _ in range(extents):
            at += index_bytes
            if in_file and not base:
                offset = int.from_bytes(out[at : at + offset_bytes], "big")
                out[at : at + offset_bytes] = (offset + change).to_bytes(offset_bytes, "big")
            at += offset_bytes + length_bytes


def plays_of(data: bytes) -> int:
    """How often a sequence of pictures is shown; 0 is on and on, also where the file does not tell.

    The edit list of a track says that it repeats and how long it takes once; its header, how long it takes in all
    (ISO/IEC 14496-12, 8.3.2 and 8.6.6).
    """
    found = _found(data, (b"moov", b"trak"))
    track = found[1:] if found else [0, 0]
    listed = _found(data, (b"edts", b"elst"), *track)
    header = _found(data, (b"tkhd",), *track)
    if not listed or not header:
        return 0
    if not data[listed[1] + 3] & 1:  # it does not repeat
        return 1
    begin, size = _duration_in(b"tkhd", data, header[0])
    whole = int.from_bytes(data[begin : begin + size], "big")
    once_bytes = 8 if data[listed[1]] else 4
    once = int.from_bytes(data[listed[1] + 8 : listed[1] + 8 + once_bytes], "big")
    endless = whole == (1 << 8 * size) - 1
    return 0 if endless or not once else max(1, -(-whole // once))


def with_plays(data: bytes, plays: int) -> bytes:
    """A sequence of pictures that is shown so often; 0 is on and on."""
    made = bytearray(data)
    (movie, end) = _found(data, (b"moov",))
    longest = 0
    for _, start, stop in (box for box in boxes_of(data, movie, end) if box[0] == b"trak"):
        listed, header = _found(data, (b"edts", b"elst"), start, stop), _found(data, (b"tkhd",), start, stop)
        once_bytes = 8 if data[listed[1]] else 4
        once = int.from_bytes(data[listed[1] + 8 : listed[1] + 8 + once_bytes], "big")
        made[listed[1] + 3] = made[listed[1] + 3] & ~1 | (plays != 1)
        longest = max(longest, once * plays)
        _set_duration(made, b"tkhd", header[0], once * plays)
    _set_duration(made, b"mvhd", _found(data, (b"mvhd",), movie, end)[0], longest)
    return bytes(made)


def _duration_in(kind: bytes, data: bytes | bytearray, body: int) -> tuple[int, int]:
    """Where the duration in the header of a track or of the whole lies, and how many bytes it takes."""
    gap = 4 if kind == b"tkhd" else 0  # a reserved number
    return (body + 24 + gap, 8) if data[body] else (body + 16 + gap, 4)


def _set_duration(made: bytearray, kind: bytes, body: int, duration: int) -> None:
    """Set a duration; 0 is one without an end."""
    begin, size = _duration_in(kind, made, body)
    made[begin : begin + size] = (duration or (1 << 8 * size) - 1).to_bytes(size, "big")
