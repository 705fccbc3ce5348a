"""IPTC: the plain records of TIFF, and the Photoshop block with the records of JPEG."""

import struct
from collections.abc import Iterator

PHOTOSHOP_MARK = b"Photoshop 3.0\0"
RESOURCE, RECORDS = b"8BIM", 0x0404
ORIENTATION, PREVIEWS, PIXEL_RECORD = (2, 131), ((2, 200), (2, 201), (2, 202)), 3
# Image resources of Photoshop: thumbnails, guides, slices, EXIF, XMP, measurement scale; the digest of the records;
# the resolution; paths.
OLD_PIXELS = (0x0409, 0x040C, 0x0408, 0x041A, 0x0422, 0x0423, 0x0424, 0x0432)
DIGEST, TURNED, PATHS = 0x0425, (0x03ED,), range(0x07D0, 0x0BB7)


def records_of(block: bytes) -> bytes | None:
    """The plain records (IPTC-NAA) of either form; None if a Photoshop block has none."""
    if not block.startswith(PHOTOSHOP_MARK):
        return block
    return next((body for number, _, body, _ in _resources(block) if number == RECORDS), None)


def photoshop_of(block: bytes) -> bytes:
    """The Photoshop block of either form; an existing block is unchanged."""
    if block.startswith(PHOTOSHOP_MARK):
        return block
    head = RESOURCE + struct.pack(">HHI", RECORDS, 0, len(block))  # no name
    return PHOTOSHOP_MARK + head + block + bytes(len(block) % 2)


def cleaned_iptc(block: bytes, *, size: tuple[int, int], turned: bool) -> bytes:
    """Remove data about the old pixels from a block of either form.

    Removed are previews and the record of pixel counts (IIM 4.2, 2:200 to 2:202 and record 3), and from a Photoshop
    block thumbnails, guides, slices and the copies of EXIF and XMP. If the picture was rotated, resolution and paths
    are removed too. 2:131, portrait or landscape, is set. If the records change, their digest is removed.

    Args:
        block: the original block.
        size: new width and height.
        turned: whether the picture was turned upright.
    """
    if not block.startswith(PHOTOSHOP_MARK):
        return _cleaned_records(block, size)
    records = records_of(block)
    changed = records is not None and _cleaned_records(records, size) != records
    out, end = bytearray(PHOTOSHOP_MARK), len(PHOTOSHOP_MARK)
    for number, start, body, stop in _resources(block):
        end = stop
        if number in OLD_PIXELS or (turned and (number in TURNED or number in PATHS)) or (changed and number == DIGEST):
            continue
        if number == RECORDS and changed:
            body = _cleaned_records(body, size)
            out += RESOURCE + struct.pack(">HHI", RECORDS, 0, len(body))
            out += body + bytes(len(body) % 2)
        else:
            out += block[start:stop]
    return bytes(out + block[end:])


def _cleaned_records(records: bytes, size: tuple[int, int]) -> bytes:
    out, at = bytearray(), 0
    while records[at : at + 1] == b"\x1c" and at + 5 <= len(records):
        kind, number, length = struct.unpack_from(">BBH", records, at + 1)
        end = at + 5 + length
        if length & 0x8000 or end > len(records):  # an extended length, or a truncated record
            break
        part = records[at:end]
        if (kind, number) == ORIENTATION and length == 1:
            part = part[:5] + (b"S" if size[0] == size[1] else b"L" if size[0] > size[1] else b"P")
        if kind != PIXEL_RECORD and (kind, number) not in PREVIEWS:
            out += part
        at = end
    return bytes(out) + records[at:]


def _resources(block: bytes) -> Iterator[tuple[int, int, bytes, int]]:
    """Number, start, body and end of each resource; stops at the first unreadable one."""
    at = len(PHOTOSHOP_MARK)
    while block.startswith(RESOURCE, at) and at + 12 <= len(block):
        (number,) = struct.unpack_from(">H", block, at + 4)
        start = at + 6 + (block[at + 6] + 2) // 2 * 2  # a name with its length, padded to an even number of bytes
        if start + 4 > len(block):
            return
        (length,) = struct.unpack_from(">I", block, start)
        end = start + 4 + length + length % 2
        yield number, at, block[start + 4 : start + 4 + length], end
        at = end
