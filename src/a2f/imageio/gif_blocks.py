"""Blocks of GIF files that describe the picture and cannot be written to other files."""

PICTURE, EXTENSION, COMMENT, APPLICATION, PLAIN_TEXT = 0x2C, 0x21, 0xFE, 0xFF, 0x01
PROFILE = b"ICCRGBG1012"
OF_THE_ANIMATION = (b"NETSCAPE2.0", b"ANIMEXTS1.0")


def gif_left_out(data: bytes) -> list[str]:
    """Content of a GIF file besides its pictures (GIF89a, 23 to 26)."""
    found: dict[str, None] = {}
    at = 13 + _table_bytes(data[10:11])
    while at + 2 < len(data) and data[at] in (PICTURE, EXTENSION):
        if data[at] == PICTURE:
            at += 10 + _table_bytes(data[at + 9 : at + 10]) + 1
        else:
            kind, at = data[at + 1], at + 2
            name = data[at + 1 : at + 1 + data[at]]
            if kind == COMMENT:
                found["a comment"] = None
            elif kind == PLAIN_TEXT:
                found["a text"] = None
            elif kind == APPLICATION and name not in (*OF_THE_ANIMATION, PROFILE):
                found[f"a block of {name.decode('ascii', 'replace').strip()}"] = None
        while at < len(data) and data[at]:  # sub-blocks, until one with length 0
            at += 1 + data[at]
        at += 1
    return list(found)


def gif_profile(data: bytes) -> bytes | None:
    """The ICC profile in a block of a GIF file (ICC.1:2022, B.5)."""
    at = data.find(bytes((EXTENSION, APPLICATION, len(PROFILE))) + PROFILE)
    if at < 0:
        return None
    at, icc = at + 3 + len(PROFILE), bytearray()
    while at < len(data) and data[at]:
        icc += data[at + 1 : at + 1 + data[at]]
        at += 1 + data[at]
    return bytes(icc) or None


def _table_bytes(flags: bytes) -> int:
    """The length of a colour table, from its flag byte."""
    return 3 << ((flags[0] & 7) + 1) if flags and flags[0] & 0x80 else 0
