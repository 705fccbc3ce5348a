"""Read the colour description in an AV1 bitstream (AV1 Bitstream Specification, 5.3 to 5.5)."""

from dataclasses import dataclass

SEQUENCE_HEADER = 1  # the type of its OBU
AUTOMATIC = 2  # SELECT_SCREEN_CONTENT_TOOLS


@dataclass
class _Bits:
    """Reads bits one by one; IndexError at the end."""

    data: bytes
    at: int = 0

    def take(self, count: int) -> int:
        """Read the next bits as a number."""
        value = 0
        for _ in range(count):
            value = value << 1 | self.data[self.at >> 3] >> (7 - (self.at & 7)) & 1
            self.at += 1
        return value

    def variable(self) -> int:
        """Read a variable-length number (uvlc)."""
        zeros = 0
        while not self.take(1):
            zeros += 1
            if zeros >= 32:
                return 2**32 - 1
        return self.take(zeros) + (1 << zeros) - 1


def colours_of_av1(data: bytes) -> tuple[int, int] | None:
    """Read the code points of primaries and transfer (ITU-T H.273) of the first sequence header; None if it has none.

    Args:
        data: OBUs of the configuration or of the picture data of an AVIF file.
    """
    at = 0
    while at < len(data):
        kind, extended, sized = data[at] >> 3 & 15, data[at] >> 2 & 1, data[at] >> 1 & 1
        at += 1 + extended
        length, at = _length(data, at) if sized else (len(data) - at, at)
        if kind == SEQUENCE_HEADER:
            try:
                return _colours(_Bits(data[at : at + length]))
            except IndexError:  # truncated
                return None
        at += length
    return None


def _length(data: bytes, at: int) -> tuple[int, int]:
    """Read a leb128 number; return it and the following position."""
    value = 0
    for i in range(8):
        if at >= len(data):
            break
        byte = data[at]
        value, at = value | (byte & 127) << 7 * i, at + 1
        if byte < 128:
            break
    return value, at


def _colours(bits: _Bits) -> tuple[int, int] | None:
    profile, _, reduced = bits.take(3), bits.take(1), bits.take(1)
    if reduced:
        bits.take(5)
    else:
        _skip_operating_points(bits)
    widths = bits.take(4) + 1, bits.take(4) + 1
    bits.take(sum(widths))
    if not reduced and bits.take(1):  # frame_id_numbers_present_flag
        bits.take(7)
    bits.take(3)
    if not reduced:
        _skip_tools(bits)
    bits.take(3)
    if bits.take(1) and profile == 2:  # high_bitdepth
        bits.take(1)
    if profile != 1:
        bits.take(1)  # mono_chrome
    if not bits.take(1):  # color_description_present_flag
        return None
    return bits.take(8), bits.take(8)


def _skip_operating_points(bits: _Bits) -> None:
    delays = 0
    if bits.take(1):  # timing_info_present_flag
        bits.take(64)
        if bits.take(1):
            bits.variable()
        if bits.take(1):  # decoder_model_info_present_flag
            delays = bits.take(5) + 1
            bits.take(42)
    has_display_delay = bits.take(1)
    for _ in range(bits.take(5) + 1):
        bits.take(12)
        if bits.take(5) > 7:
            bits.take(1)
        if delays and bits.take(1):
            bits.take(2 * delays + 1)
        if has_display_delay and bits.take(1):
            bits.take(4)


def _skip_tools(bits: _Bits) -> None:
    bits.take(4)
    has_order = bits.take(1)
    if has_order:
        bits.take(2)
    screen = AUTOMATIC if bits.take(1) else bits.take(1)
    if screen and not bits.take(1):
        bits.take(1)
    if has_order:
        bits.take(3)
