"""Read and write directories of TIFF files and EXIF blocks, classic and BigTIFF."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

BYTE, ASCII, SHORT, LONG, RATIONAL, UNDEFINED, FLOAT, DOUBLE, LONG8, IFD8 = 1, 2, 3, 4, 5, 7, 11, 12, 16, 18
_UNIT = {1: 1, 2: 1, 3: 2, 4: 4, 5: 4, 6: 1, 7: 1, 8: 2, 9: 4, 10: 4, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_NUMBERS = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}
_PAIRS = (5, 10)


@dataclass(frozen=True, kw_only=True)
class Layout:
    """The layout of a file.

    Attributes:
        order: byte order for `struct`, "<" or ">".
        big: whether it is a BigTIFF, with offsets of 64 bits.
        first: offset of the first directory.
    """

    order: str
    big: bool = False
    first: int = 8


@dataclass(frozen=True, kw_only=True)
class Field:
    """One field of a directory.

    Attributes:
        tag: number of the tag.
        kind: type of its values (TIFF 6.0, Section 2).
        count: number of values.
        value: bytes of the values, in the byte order of the file.
        place: offset of its entry in the file; -1 for a new field.
    """

    tag: int
    kind: int
    count: int
    value: bytes
    place: int = -1


CLASSIC = Layout(order="<")


def layout_of(data: bytes | bytearray) -> Layout | None:
    """The layout of a file or block; None if it is no TIFF structure."""
    order = {b"II": "<", b"MM": ">"}.get(bytes(data[:2]))
    if order is None or len(data) < 8:
        return None
    (version,) = struct.unpack_from(f"{order}H", data, 2)
    if version == 42:
        return Layout(order=order, first=struct.unpack_from(f"{order}I", data, 4)[0])
    if version == 43 and len(data) >= 16:
        return Layout(order=order, big=True, first=struct.unpack_from(f"{order}Q", data, 8)[0])
    return None


def fields_of(data: bytes | bytearray, layout: Layout, at: int) -> list[Field] | None:
    """The fields of the directory at an offset; None if there is no directory.

    A field whose values are beyond the end of the data is left out.
    """
    head, size = (8, 20) if layout.big else (2, 12)
    if not 8 <= at <= len(data) - head:
        return None
    (number,) = struct.unpack_from(f"{layout.order}{'Q' if layout.big else 'H'}", data, at)
    if at + head + number * size > len(data):
        return None
    fields, held = [], 0
    for place in range(at + head, at + head + number * size, size):
        field = _field(data, layout, place, most=len(data) - held)  # overlapping values would grow without limit
        if field is not None:
            fields.append(field)
            held += len(field.value)
    return fields


def directories_of(data: bytes, layout: Layout) -> tuple[list[int], bool]:
    """The offsets of the chain of directories that begins with the first, and whether the chain is whole."""
    at, found = layout.first, dict[int, None]()
    while at and at not in found:
        link = _next_directory(data, layout, at)
        if link is None:
            return list(found), False
        found[at] = None
        at = link
    return list(found), True


def _next_directory(data: bytes, layout: Layout, at: int) -> int | None:
    """The offset of the directory after the one at `at`, 0 for the last; None if the one at `at` cannot be read."""
    if not 8 <= at <= len(data) - (8 if layout.big else 2):
        return None
    link, code = link_of(data, layout, at), "Q" if layout.big else "I"
    if link > len(data):
        return None
    if link + struct.calcsize(code) > len(data):
        return 0  # some programs write no link
    return int(struct.unpack_from(f"{layout.order}{code}", data, link)[0])


def link_of(data: bytes | bytearray, layout: Layout, at: int) -> int:
    """The position of the offset of the next directory, which is behind the entries of the one at `at`."""
    head, size, code = (8, 20, "Q") if layout.big else (2, 12, "H")
    return at + head + size * int(struct.unpack_from(f"{layout.order}{code}", data, at)[0])


def with_first(data: bytes | bytearray, at: int, layout: Layout) -> bytes:
    """The file with the directory at this offset as its first."""
    out = bytearray(data)
    struct.pack_into(f"{layout.order}{'Q' if layout.big else 'I'}", out, 8 if layout.big else 4, at)
    return bytes(out)


def first_fields(data: bytes | bytearray) -> list[Field]:
    """The fields of the first directory; empty if it cannot be read."""
    layout = layout_of(data)
    return (fields_of(data, layout, layout.first) if layout else None) or []


def _field(data: bytes | bytearray, layout: Layout, place: int, *, most: int) -> Field | None:
    order, inline = layout.order, 8 if layout.big else 4
    tag, kind, count = struct.unpack_from(f"{order}HH{'Q' if layout.big else 'I'}", data, place)
    size = count * _UNIT.get(kind, 0) * (2 if kind in _PAIRS else 1)
    at = place + 4 + inline
    if size > inline:
        (at,) = struct.unpack_from(f"{order}{'Q' if layout.big else 'I'}", data, at)
    if kind not in _UNIT or at + size > len(data) or size > most:
        return None
    return Field(tag=tag, kind=kind, count=count, value=bytes(data[at : at + size]), place=place)


def field_of(fields: Sequence[Field], tag: int) -> Field | None:
    """The first field with this tag."""
    return next((field for field in fields if field.tag == tag), None)


def numbers_of(fields: Sequence[Field], tag: int, order: str) -> tuple[int, ...]:
    """The values of a tag with integers; empty if there is no such tag."""
    field = field_of(fields, tag)
    if field is None or field.kind not in _NUMBERS:
        return ()
    return struct.unpack(f"{order}{field.count}{_NUMBERS[field.kind]}", field.value)


def number_of(fields: Sequence[Field], tag: int, order: str) -> int | None:
    """The value of a tag with one integer."""
    values = numbers_of(fields, tag, order)
    return values[0] if len(values) == 1 else None


def rational_of(fields: Sequence[Field], tag: int, order: str) -> float | None:
    """The value of a tag with one positive number, rational or floating point."""
    field = field_of(fields, tag)
    if field is None or field.count != 1 or field.kind not in (RATIONAL, FLOAT, DOUBLE):
        return None
    if field.kind == RATIONAL:
        above, below = struct.unpack(f"{order}II", field.value)
        return above / below if above and below else None
    (value,) = struct.unpack(f"{order}{'f' if field.kind == FLOAT else 'd'}", field.value)
    return value if 0 < value < 1e9 else None


def doubles_of(field: Field, order: str) -> tuple[float, ...]:
    """The values of a 64-bit floating-point field; empty for another type."""
    return struct.unpack(f"{order}{field.count}d", field.value) if field.kind == DOUBLE else ()


def doubles_field(tag: int, values: Sequence[float], order: str) -> Field:
    """Make a 64-bit floating-point field."""
    return Field(tag=tag, kind=DOUBLE, count=len(values), value=struct.pack(f"{order}{len(values)}d", *values))


def number_field(tag: int, value: int, order: str) -> Field:
    """Make a field with one integer, in the smallest possible type."""
    kind, code = (SHORT, "H") if value < 65536 else (LONG, "I") if value < 2**32 else (LONG8, "Q")
    return Field(tag=tag, kind=kind, count=1, value=struct.pack(f"{order}{code}", value))


def in_order(fields: Sequence[Field], given: str, wanted: str) -> list[Field]:
    """The fields with values in another byte order."""
    return list(fields) if given == wanted else [replace(f, value=_turned(f.value, _UNIT[f.kind])) for f in fields]


def for_classic(fields: Sequence[Field], order: str) -> list[Field]:
    """Convert fields with 64-bit types of BigTIFF to 32 bits; values that do not fit are left out."""
    out = []
    for field in fields:
        if field.kind not in (LONG8, IFD8):
            out += [field] if field.kind in _UNIT and field.kind != 17 else []
            continue
        values = struct.unpack(f"{order}{field.count}Q", field.value)
        if all(value < 2**32 for value in values):
            out.append(replace(field, kind=LONG, value=struct.pack(f"{order}{field.count}I", *values)))
    return out


def _turned(value: bytes, unit: int) -> bytes:
    return np.frombuffer(value, f"u{unit}").byteswap().tobytes()


def directory_bytes(fields: Sequence[Field], at: int, layout: Layout) -> bytes:
    """Make a directory followed by its values, for an offset in a file; it has no next directory."""
    order, inline, count = layout.order, 8 if layout.big else 4, "Q" if layout.big else "I"
    body, values = b"", b""
    start = at + (8 if layout.big else 2) + len(fields) * (20 if layout.big else 12) + inline
    for field in sorted(fields, key=lambda f: f.tag):
        body += struct.pack(f"{order}HH{count}", field.tag, field.kind, field.count)
        if len(field.value) > inline:
            body += struct.pack(f"{order}{count}", start + len(values))
            values += field.value + bytes(len(field.value) % 2)
        else:
            body += field.value.ljust(inline, b"\0")
    return struct.pack(f"{order}{'Q' if layout.big else 'H'}", len(fields)) + body + bytes(inline) + values


def with_number(data: bytes, tag: int, value: int) -> bytes:
    """Replace the value of an existing field with one number in the first directory of a file."""
    layout = layout_of(data)
    field = field_of(first_fields(data), tag)
    if layout is None or field is None:
        return data
    changed, made = bytearray(data), number_field(tag, value, layout.order)
    inline = 8 if layout.big else 4
    head = struct.pack(f"{layout.order}HH{'Q' if layout.big else 'I'}", tag, made.kind, 1)
    changed[field.place : field.place + 4 + 2 * inline] = head + made.value.ljust(inline, b"\0")
    return bytes(changed)
