"""The pages of a TIFF file: each as a file of its own, and such files joined to one."""

import struct
from collections.abc import Iterator, Sequence

from a2f.errors import ImageWriteError
from a2f.imageio.exif import EXIF_IFD, GPS_IFD, INTEROP_IFD
from a2f.imageio.tiff import BITS, HEIGHT, SAMPLES, STRIPS, SUBFILE, TILES, WIDTH
from a2f.imageio.tiff_directory import (
    IFD8,
    LONG,
    LONG8,
    SHORT,
    Field,
    Layout,
    directories_of,
    directory_bytes,
    field_of,
    fields_of,
    in_order,
    layout_of,
    link_of,
    number_of,
    numbers_of,
)

PAGE_NUMBER = 297
MAX_CLASSIC = 2**32 - 1  # largest offset of a TIFF that is no BigTIFF


def page_places(data: bytes) -> tuple[int, ...]:
    """The offsets of the directories of a TIFF file, one per page; a damaged chain ends early."""
    layout = layout_of(data)
    return tuple(directories_of(data, layout)[0]) if layout else ()


def page_of(data: bytes, place: int) -> bytes:
    """A file with only one page of a TIFF file; all data keep their positions.

    Args:
        data: the file.
        place: one of `page_places`.
    """
    layout = layout_of(data)
    assert layout is not None
    view, end = memoryview(data), link_of(data, layout, place)
    head = b"".join((view[:8], struct.pack(f"{layout.order}Q", place))) if layout.big else b""
    head = head or b"".join((view[:4], struct.pack(f"{layout.order}I", place)))
    inline = _inline(layout)
    return b"".join((head, view[len(head) : end], bytes(inline), view[end + inline :]))


def page_values(data: bytes, place: int) -> tuple[int, int, int]:
    """Width, height and bytes per pixel of a page, from its directory; 0 for what is unknown."""
    layout = layout_of(data)
    fields = (fields_of(data, layout, place) or []) if layout else []
    order = layout.order if layout else "<"
    bits = max(numbers_of(fields, BITS, order), default=8)
    each = 1 if bits <= 8 else 2 if bits <= 16 else 4
    samples = max(3 if field_of(fields, 320) else 1, number_of(fields, SAMPLES, order) or 1)  # 320: palette
    return number_of(fields, WIDTH, order) or 0, number_of(fields, HEIGHT, order) or 0, samples * each


def page_marks(data: bytes, place: int) -> tuple[Field, ...]:
    """The tags that tell what a page is among others, little-endian: a smaller version, a mask, its number."""
    layout = layout_of(data)
    fields = (fields_of(data, layout, place) or []) if layout else []
    kept = [field for field in fields if field.tag in (SUBFILE, PAGE_NUMBER) and field.kind in (SHORT, LONG)]
    return tuple(in_order(kept, layout.order, "<")) if layout else ()


def joined_pages(files: Iterator[bytes], marks: Sequence[Sequence[Field]], *, big: bool) -> Iterator[bytes]:
    """One TIFF file from several with one page each; only one of them is in memory at a time.

    Args:
        files: the files, written by libvips.
        marks: tags to add to each page, little-endian; one sequence per file.
        big: make a BigTIFF, for more than 4 GiB.

    Returns:
        The parts of the file.

    Raises:
        ImageWriteError: if it gets longer than 4 GiB and `big` is False.
    """
    target: Layout | None = None
    at = 0
    for number, file in enumerate(files, start=1):
        given = layout_of(file)
        assert given is not None
        if target is None:
            target = Layout(order=given.order, big=big, first=16 if big else 8)
            yield _head(target)
            at = target.first
        part = _part(file, given, target, at, marks[number - 1], is_last=number == len(marks))
        at += len(part)
        if not big and at > MAX_CLASSIC:
            raise ImageWriteError("the pages do not fit into a TIFF of 4 GiB: write them to several files")
        yield part


def _head(layout: Layout) -> bytes:
    mark = b"II" if layout.order == "<" else b"MM"
    if layout.big:
        return mark + struct.pack(f"{layout.order}HHHQ", 43, 8, 0, layout.first)
    return mark + struct.pack(f"{layout.order}HI", 42, layout.first)


def _part(file: bytes, given: Layout, target: Layout, at: int, marks: Sequence[Field], *, is_last: bool) -> bytes:
    """A directory for an offset, its subdirectories, and the file that has the pixels."""
    entries = {field.tag: field for field in fields_of(file, given, given.first) or []}
    entries |= {field.tag: field for field in in_order(marks, "<", target.order)}
    length = len(_directory(entries, {}, 0, at, target))
    below, pointers = bytearray(), dict[int, int]()
    for tag in (EXIF_IFD, GPS_IFD):
        if tag in entries:
            pointers[tag] = _append(below, file, given, target, _place(entries[tag], target), at + length)
    start = at + length + len(below)
    made = bytearray(_directory(entries, pointers, start, at, target))
    whole = b"".join((made, below, file, bytes(len(file) % 2)))
    if is_last:
        return whole
    end = link_of(made, target, 0)
    following = struct.pack(f"{target.order}{_offset(target)}", at + len(whole))
    return b"".join((whole[:end], following, memoryview(whole)[end + len(following) :]))


def _directory(entries: dict[int, Field], pointers: dict[int, int], start: int, at: int, target: Layout) -> bytes:
    """The directory of a page whose pixels begin `start` bytes later than in its own file."""
    fields = []
    for field in entries.values():
        if field.tag in (STRIPS, TILES):
            old = numbers_of([field], field.tag, target.order)
            fields.append(_offsets(field.tag, [place + start for place in old], target))
        elif field.tag in (EXIF_IFD, GPS_IFD):
            fields.append(_offsets(field.tag, [pointers.get(field.tag, 0)], target))
        else:
            fields.append(field)
    made = directory_bytes(fields, at, target)
    return made + bytes(len(made) % 2)


def _append(below: bytearray, file: bytes, given: Layout, target: Layout, place: int, begin: int) -> int:
    """Append a subdirectory, and return its offset."""
    fields = fields_of(file, given, place) or []
    inner = field_of(fields, INTEROP_IFD)
    if inner is not None:
        moved = _append(below, file, given, target, _place(inner, target), begin)
        fields = [_offsets(INTEROP_IFD, [moved], target) if field is inner else field for field in fields]
    at = begin + len(below)
    below += directory_bytes(fields, at, target)
    below += bytes(len(below) % 2)
    return at


def _place(pointer: Field, layout: Layout) -> int:
    return number_of([pointer], pointer.tag, layout.order) or 0


def _offsets(tag: int, places: Sequence[int], layout: Layout) -> Field:
    pointer = tag in (EXIF_IFD, GPS_IFD, INTEROP_IFD)
    kind = (IFD8 if pointer else LONG8) if layout.big else LONG
    value = struct.pack(f"{layout.order}{len(places)}{_offset(layout)}", *places)
    return Field(tag=tag, kind=kind, count=len(places), value=value)


def _offset(layout: Layout) -> str:
    return "Q" if layout.big else "I"


def _inline(layout: Layout) -> int:
    return 8 if layout.big else 4
