"""The boxes of AVIF files (ISO/IEC 14496-12 and 23008-12)."""

from collections.abc import Iterator


def boxes_of(data: bytes, start: int = 0, end: int | None = None) -> Iterator[tuple[bytes, int, int]]:
    """The boxes between two places: kind, and where their bodies begin and end; stops where they cannot be read."""
    at, stop = start, len(data) if end is None else end
    while at + 8 <= stop:
        size, head = int.from_bytes(data[at : at + 4], "big"), 8
        if size == 1:
            size, head = int.from_bytes(data[at + 8 : at + 16], "big"), 16
        size = size or stop - at
        if size < head or at + size > stop:
            return
        yield data[at + 4 : at + 8], at + head, at + size
        at += size


def brands_of(data: bytes) -> set[bytes]:
    """The brands that a file names in its first box, as far as they lie in `data`; none for another kind of file."""
    if data[4:8] != b"ftyp":
        return set()
    end = min(int.from_bytes(data[:4], "big"), len(data))
    return {data[at : at + 4] for at in (8, *range(16, end - 3, 4))}


def is_sequence(data: bytes) -> bool:
    """Whether a file holds pictures that follow each other in time."""
    return any(kind == b"moov" for kind, _, _ in boxes_of(data))
