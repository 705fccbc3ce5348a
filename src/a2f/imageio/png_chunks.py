"""Read the chunks of PNG files, with their colours and resolution."""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace

from a2f.errors import ImageReadError
from a2f.imageio.colour import PRIMARIES, SRGB_CURVE, profile_of, signal_of_cicp
from a2f.imageio.picture import ColourSignal

SIGNATURE = b"\x89PNG\r\n\x1a\n"
APPLE = b"CgBI"
MAX_PROFILE_BYTES = 16 * 2**20
MAX_SMALL_CHUNKS, SMALL_CHUNK_BYTES = 50_000, 512
TELLS_COLOUR = (b"sRGB", b"gAMA", b"cHRM", b"mDCV", b"cLLI", b"mDCv", b"cLLi")


@dataclass(frozen=True, kw_only=True)
class Chunk:
    """One chunk: its kind, the position of its length field, and its end."""

    kind: bytes
    at: int
    end: int

    def body(self, data: bytes) -> bytes:
        """The body of the chunk."""
        return data[self.at + 8 : self.end - 4]


def chunks_of(data: bytes) -> Iterator[Chunk]:
    """The complete chunks of a file."""
    at = len(SIGNATURE)
    while at + 12 <= len(data):
        end = at + 12 + int.from_bytes(data[at : at + 4], "big")
        if end > len(data):
            return
        yield Chunk(kind=data[at + 4 : at + 8], at=at, end=end)
        if data[at + 4 : at + 8] == b"IEND":
            return
        at = end


def check_chunks(data: bytes, name: str) -> None:
    """Raise an error for a file that does not begin with its header, or has very many small chunks.

    A small chunk takes as long as a large one.

    Raises:
        ImageReadError: if the first chunk is not IHDR, or if there are more than `MAX_SMALL_CHUNKS` of less than
            `SMALL_CHUNK_BYTES`.
    """
    if (first := data[12:16]) == APPLE:
        raise ImageReadError(
            f"{name} is a PNG of an iOS app (CgBI), which is not read: save it as a standard PNG first"
        )
    if len(first) == 4 and first != b"IHDR":
        raise ImageReadError(f"cannot decode {name}: a PNG begins with IHDR, not with {ascii(first)[2:-1]}")
    at, count = len(SIGNATURE), 0
    while at + 12 <= len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        count += size < SMALL_CHUNK_BYTES
        if count > MAX_SMALL_CHUNKS:
            raise ImageReadError(f"{name} has more than {MAX_SMALL_CHUNKS:,} small chunks: save it as a new PNG first")
        at += size + 12


def chunk_bytes(kind: bytes, body: bytes) -> bytes:
    """Make a complete chunk."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_profile(data: bytes) -> bytes | None:
    """The profile of a file for any colour space; libvips returns only profiles that match the pixels.

    Returns:
        None if there is none; empty if it is damaged or longer than `MAX_PROFILE_BYTES`.
    """
    chunk = next((chunk for chunk in chunks_of(data) if chunk.kind == b"iCCP"), None)
    if chunk is None:
        return None
    packed = chunk.body(data).partition(b"\0")[2][1:]
    try:
        profile = zlib.decompressobj().decompress(packed, MAX_PROFILE_BYTES + 1)
    except zlib.error:
        return b""
    return profile if len(profile) <= MAX_PROFILE_BYTES else b""


def png_resolution(data: bytes) -> tuple[tuple[float, float] | None, tuple[float, float] | None]:
    """The resolution of a file in pixels per inch, or the pixel aspect if it has no unit."""
    body = next((chunk.body(data) for chunk in chunks_of(data) if chunk.kind == b"pHYs"), b"")
    x, y, unit = struct.unpack(">IIB", body) if len(body) == 9 else (0, 0, 0)
    if not x or not y:
        return None, None
    return ((x * 0.0254, y * 0.0254), None) if unit == 1 else (None, (x, y) if x != y else None)


def aspect_chunk(aspect: tuple[float, float]) -> bytes:
    """Make a pHYs chunk with only the pixel aspect."""
    factor = 1 if all(value == int(value) for value in aspect) else 1000
    x, y = (max(1, min(2**31 - 1, round(value * factor))) for value in aspect)
    return chunk_bytes(b"pHYs", struct.pack(">IIB", x, y, 0))


def png_signal(data: bytes, *, grey: bool, has_profile: bool) -> tuple[ColourSignal | None, str | None]:
    """The colour information of a file outside an ICC profile, and a note about unknown values.

    cICP has priority over iCCP, iCCP over sRGB, and sRGB over gAMA and cHRM (PNG, third edition, 4.3).
    """
    bodies = {chunk.kind: chunk for chunk in chunks_of(data)}
    kept = tuple(data[chunk.at : chunk.end] for kind, chunk in bodies.items() if kind in TELLS_COLOUR)
    told, note = None, None
    if b"cICP" in bodies and len(cicp := bodies[b"cICP"].body(data)) == 4:
        told, note = signal_of_cicp(cicp[0], cicp[1], grey=grey)
    if told is not None:
        return replace(told, chunks=kept), note
    if has_profile or b"sRGB" in bodies or not kept:
        return (ColourSignal(chunks=kept) if kept else None), note
    gamma = bodies[b"gAMA"].body(data) if b"gAMA" in bodies else b""
    corners = bodies[b"cHRM"].body(data) if b"cHRM" in bodies else b""
    return ColourSignal(chunks=kept, profile=_profile_of_chunks(gamma, corners, grey=grey)), note


def is_narrow(data: bytes) -> bool:
    """Whether a file has the limited range of video, black 16 and white 235 (cICP with a full-range flag of 0)."""
    bodies = [chunk.body(data) for chunk in chunks_of(data) if chunk.kind == b"cICP"]
    return bool(bodies) and len(bodies[0]) == 4 and bodies[0][3] == 0


def _profile_of_chunks(gamma: bytes, corners: bytes, *, grey: bool) -> bytes | None:
    encoded = int.from_bytes(gamma, "big") if len(gamma) == 4 else 0
    curve = (0, (100_000 / encoded,)) if 1000 <= encoded <= 10_000_000 else SRGB_CURVE
    numbers = struct.unpack(">8I", corners) if len(corners) == 32 else ()
    w_x, w_y, r_x, r_y, g_x, g_y, b_x, b_y = (
        (n / 100_000 for n in numbers) if all(numbers) and numbers else PRIMARIES[1]
    )
    if (curve, numbers) == (SRGB_CURVE, ()):
        return None
    try:
        return profile_of((w_x, w_y, r_x, r_y, g_x, g_y, b_x, b_y), curve, grey=grey)
    except (ValueError, ArithmeticError, struct.error):  # collinear primaries, or values outside the range of a profile
        return None
