"""The header of a JPEG XL codestream: colours without a profile, premultiplied alpha, further channels.

ISO/IEC 18181-1, Annex D. No binding of libjxl tells these.
"""

from dataclasses import dataclass, field, replace

from a2f.errors import ImageReadError, TruncatedImageError
from a2f.imageio.colour import D65_XY, DCI_XY, HLG, PQ, PRIMARIES, TRANSFERS, Curve, profile_of
from a2f.imageio.heif_boxes import boxes_of

CONTAINER = b"\0\0\0\x0cJXL \r\n\x87\n"
# Numbers of variable length: for each of four prefixes the number of bits, and the number to add.
Choices = tuple[tuple[int, int], tuple[int, int], tuple[int, int], tuple[int, int]]
ENUM: Choices = ((0, 0), (0, 1), (4, 2), (6, 18))
SIDE: Choices = ((9, 1), (13, 1), (18, 1), (30, 1))
PREVIEW_EIGHTHS: Choices = ((0, 16), (0, 32), (5, 1), (9, 33))
PREVIEW_SIDE: Choices = ((6, 1), (8, 65), (10, 321), (12, 1345))
TICKS: tuple[Choices, ...] = (
    ((0, 100), (0, 1000), (10, 1), (30, 1)), ((0, 1), (0, 1001), (8, 1), (10, 1)), ((0, 0), (3, 0), (16, 0), (32, 0))
)  # fmt: skip
DEPTH: Choices = ((0, 8), (0, 10), (0, 12), (6, 1))
CHANNELS: Choices = ((0, 0), (0, 1), (4, 2), (12, 1))
SHIFT: Choices = ((0, 0), (0, 3), (0, 4), (3, 1))
NAME: Choices = ((0, 0), (4, 0), (5, 16), (10, 48))
MOSAIC: Choices = ((0, 1), (2, 0), (4, 3), (8, 19))
COORDINATE: Choices = ((19, 0), (19, 524288), (20, 1048576), (21, 2097152))
ALPHA, SPOT, BLACK, CFA = 0, 2, 4, 5
GREY, XYB, CUSTOM = 1, 2, 2
WHITES = {1: D65_XY, 10: (1 / 3, 1 / 3), 11: DCI_XY}
CODE_POINTS = {(1, 1): 1, (1, 9): 9, (1, 11): 12, (11, 11): 11}  # white and primaries -> primaries of ITU-T H.273


@dataclass(frozen=True, kw_only=True)
class Codestream:
    """What the header of a codestream tells.

    Attributes:
        converted: whether the pixels are stored in XYB, so that the decoder converts them.
        has_profile: whether it has an ICC profile.
        cicp: code points of primaries and transfer (ITU-T H.273), if the colours have them.
        profile: a profile of the colours without code points.
        premultiplied: whether the colours are multiplied by alpha.
        channels: the types of the channels after the colours.
        curve_at: position of the code point of the transfer in the codestream, in bits; None if it has none.
    """

    converted: bool = True
    has_profile: bool = False
    cicp: tuple[int, int] | None = None
    profile: bytes | None = None
    premultiplied: bool = False
    channels: tuple[int, ...] = ()
    curve_at: int | None = None


def codestream_header(data: bytes, name: str) -> Codestream:
    """Read the header of a codestream. Raises the errors of `read_image`."""
    bits = _Bits(data=_codestream_start(data)[2:])
    try:
        _skip_size(bits, SIDE, eighths=None)
        return Codestream(cicp=(1, 13)) if bits.take(1) else _header(bits, name)
    except IndexError as error:
        raise TruncatedImageError(f"{name} is truncated or damaged; too much of it is missing") from error


def _codestream_start(data: bytes) -> bytes:
    """The codestream, which may be in several boxes of a container."""
    if not data.startswith(CONTAINER):
        return data
    parts = ((kind, data[start:end]) for kind, start, end in boxes_of(data) if kind in (b"jxlc", b"jxlp"))
    return b"".join(body if kind == b"jxlc" else body[4:] for kind, body in parts)


@dataclass(kw_only=True)
class _Bits:
    """Reads bits, the lowest of a byte first; IndexError at the end."""

    data: bytes = field(repr=False)
    at: int = 0

    def take(self, count: int) -> int:
        """Read the next bits as a number."""
        value = 0
        for place in range(count):
            value |= (self.data[self.at >> 3] >> (self.at & 7) & 1) << place
            self.at += 1
        return value

    def choose(self, choices: Choices) -> int:
        """Read a number of variable length."""
        count, start = choices[self.take(2)]
        return self.take(count) + start


def _header(bits: _Bits, name: str) -> Codestream:
    if bits.take(1):  # extra_fields
        bits.take(3)
        if bits.take(1):
            _skip_size(bits, SIDE, eighths=None)
        if bits.take(1):
            _skip_size(bits, PREVIEW_SIDE, eighths=PREVIEW_EIGHTHS)
        if bits.take(1):
            for choices in TICKS:
                bits.choose(choices)
            bits.take(1)
    _skip_depth(bits)
    bits.take(1)  # modular_16bit_buffers
    extra = [_extra_channel(bits) for _ in range(bits.choose(CHANNELS))]
    colours = Codestream(
        converted=bool(bits.take(1)),
        channels=tuple(kind for kind, _ in extra),
        premultiplied=any(associated for _, associated in extra),
    )
    if bits.take(1):  # all_default
        return replace(colours, cicp=(1, 13))
    if bits.take(1):  # want_icc
        return replace(colours, has_profile=True)
    return _with_told_colours(colours, bits, name)


def _skip_size(bits: _Bits, side: Choices, *, eighths: Choices | None) -> None:
    """Skip a size: the height, then the ratio or the width, in pixels or in units of 8 pixels."""
    small = bits.take(1)
    for is_width in (False, True):
        if is_width and bits.take(3):  # a ratio
            return
        if small and eighths is None:
            bits.take(5)
        else:
            bits.choose(eighths if small and eighths else side)


def _skip_depth(bits: _Bits) -> None:
    if bits.take(1):  # floating point
        bits.choose(((0, 32), (0, 16), (0, 24), (6, 1)))
        bits.take(4)
    else:
        bits.choose(DEPTH)


def _extra_channel(bits: _Bits) -> tuple[int, bool]:
    """The type of a channel after the colours, and whether it is an alpha that is multiplied into them."""
    if bits.take(1):
        return ALPHA, False
    kind, associated = bits.choose(ENUM), False
    _skip_depth(bits)
    bits.choose(SHIFT)
    bits.take(8 * bits.choose(NAME))
    if kind == ALPHA:
        associated = bool(bits.take(1))
    if kind == SPOT:
        bits.take(64)
    if kind == CFA:
        bits.choose(MOSAIC)
    return kind, associated


def _with_told_colours(header: Codestream, bits: _Bits, name: str) -> Codestream:
    """Add the colours of a file without a profile: their code points, or a profile that is made of them."""
    space = bits.choose(ENUM)
    if space == XYB:
        return header
    white_code = bits.choose(ENUM)
    white = _point(bits) if white_code == CUSTOM else WHITES.get(white_code, D65_XY)
    primaries, corners = 1, PRIMARIES[1][2:]
    if space != GREY:
        primaries = bits.choose(ENUM)
        named = PRIMARIES[CODE_POINTS.get((1, primaries), 1)][2:]
        corners = (*_point(bits), *_point(bits), *_point(bits)) if primaries == CUSTOM else named
    gamma = bits.take(24) if bits.take(1) else 0
    header = header if gamma else replace(header, curve_at=bits.at + 16)  # after the signature
    transfer = 0 if gamma else bits.choose(ENUM)
    code = CODE_POINTS.get((white_code, primaries)) if space != GREY else 1
    if code is not None and not gamma:
        return replace(header, cicp=(code, transfer))
    if transfer in (PQ, HLG):
        raise ImageReadError(f"{name} has HDR colours (PQ or HLG) with primaries of its own, which are not read")
    curve: Curve = (0, (10_000_000 / gamma,)) if gamma else TRANSFERS.get(transfer, TRANSFERS[13])
    return replace(header, profile=profile_of((*white, *corners), curve, grey=space == GREY))


def _point(bits: _Bits) -> tuple[float, float]:
    """The coordinates x and y of a colour, which are stored as millionths with the sign in the lowest bit."""
    x, y = (bits.choose(COORDINATE) for _ in range(2))
    return tuple((-(n + 1) // 2 if n & 1 else n // 2) / 1e6 for n in (x, y))  # type: ignore[return-value]
