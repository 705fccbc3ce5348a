"""IPTC: the bare records that TIFF holds, and the Photoshop block in which JPEG holds them."""

import struct
from collections.abc import Iterator

PHOTOSHOP_MARK = b"Photoshop 3.0\0"
RESOURCE, RECORDS = b"8BIM", 0x0404


def records_of(block: bytes) -> bytes | None:
    """The bare records (IPTC-NAA) of either form; None if a Photoshop block holds none."""
    if not block.startswith(PHOTOSHOP_MARK):
        return block
    return next((body for number, body in _resources(block) if number == RECORDS), None)


def photoshop_of(block: bytes) -> bytes:
    """The Photoshop block of either form; one that is there already keeps all it holds."""
    if block.startswith(PHOTOSHOP_MARK):
        return block
    head = RESOURCE + struct.pack(">HHI", RECORDS, 0, len(block))  # no name
    return PHOTOSHOP_MARK + head + block + bytes(len(block) % 2)


def _resources(block: bytes) -> Iterator[tuple[int, bytes]]:
    """Number and body; ends where the block cannot be read on."""
    at = len(PHOTOSHOP_MARK)
    while block.startswith(RESOURCE, at) and at + 12 <= len(block):
        (number,) = struct.unpack_from(">H", block, at + 4)
        start = at + 6 + (block[at + 6] + 2) // 2 * 2  # a name, its length before it, filled up to an even number
        if start + 4 > len(block):
            return
        (length,) = struct.unpack_from(">I", block, start)
        yield number, block[start + 4 : start + 4 + length]
        at = start + 4 + length + length % 2
