"""Insert metadata blocks and the resolution into finished JPEG, PNG and WebP files, byte for byte.

libvips cannot be used for this: it parses and rewrites EXIF and so loses maker notes and rare tags, it invents a
resolution and an EXIF block if a picture has none, and it drops XMP over 60,000 bytes from JPEG.
"""

import struct
import zlib
from fractions import Fraction

from a2f.imageio.colour import without_padding
from a2f.imageio.exif import MARK
from a2f.imageio.picture import Metadata
from a2f.imageio.png_chunks import aspect_chunk, chunk_bytes, chunks_of

XMP_MARK = b"http://ns.adobe.com/xap/1.0/\0"
PNG_XMP_MARK = b"XML:com.adobe.xmp\0\0\0\0\0"  # keyword, not compressed, no language, no translated keyword


def with_blocks(data: bytes, format: str, metadata: Metadata, *, exif: bytes | None) -> bytes:
    """Set the EXIF block and the resolution of a file, and add the metadata that libvips does not write.

    Args:
        data: a JPEG, PNG or WebP file that libvips wrote; JPEG and PNG without EXIF and XMP; WebP with an EXIF block,
            if one is given.
        format: "jpeg", "png" or "webp".
        metadata: XMP for JPEG and PNG (libvips writes it into WebP), the resolution (in WebP only in the EXIF block),
            and the colour chunks of PNG.
        exif: the block without its mark.
    """
    if format == "jpeg":
        return _jpeg(data, metadata, exif)
    return _png(data, metadata, exif) if format == "png" else _webp(data, exif)


def _jpeg(data: bytes, metadata: Metadata, exif: bytes | None) -> bytes:
    xmp, dpi = metadata.xmp, metadata.dpi
    kept, at = [], 2
    while data[at + 1] & 0xF0 == 0xE0:  # APP0 to APP15 come first
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if not data.startswith(b"JFIF\0", at + 4):
            kept.append(data[at:end])
        at = end
    density = (1, *(min(round(d), 65535) for d in dpi)) if dpi else (0, *_ratio(metadata.aspect))
    blocks = [_segment(0xE0, b"JFIF\0\1\1" + struct.pack(">BHH", *density) + b"\0\0")]
    if exif:
        blocks.append(_segment(0xE1, MARK + exif))
    if xmp:
        blocks.append(_segment(0xE1, XMP_MARK + xmp))
    comments = [_segment(0xFE, comment) for comment in metadata.comments]
    return data[:2] + b"".join(blocks + kept + comments) + data[at:]


def _ratio(aspect: tuple[float, float] | None) -> tuple[int, int]:
    """The pixel aspect ratio in whole numbers for JFIF."""
    if aspect is None:
        return 1, 1
    ratio = Fraction(aspect[0] / aspect[1]).limit_denominator(1000)
    return (ratio.numerator, ratio.denominator) if 0 < ratio.numerator < 65536 else (1, 1)


def _segment(marker: int, body: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


def _png(data: bytes, metadata: Metadata, exif: bytes | None) -> bytes:
    dpi, signal = metadata.dpi, metadata.signal
    first = list(signal.chunks) if signal else []
    if metadata.aspect and not dpi:
        first.append(aspect_chunk(metadata.aspect))
    if metadata.icc:  # the library behind libvips rejects profiles that others read
        first.append(chunk_bytes(b"iCCP", b"ICC profile\0\0" + zlib.compress(without_padding(metadata.icc))))
    if signal and signal.cicp:
        first.append(chunk_bytes(b"cICP", bytes((*signal.cicp, 0, 1))))
    blocks = [chunk_bytes(b"eXIf", exif)] if exif is not None else []
    if metadata.xmp:  # not compressed, as XMP requires; libvips writes a zTXt chunk, which few programs read
        blocks.append(chunk_bytes(b"iTXt", PNG_XMP_MARK + metadata.xmp))
    background = 8 + 4 + (2 if data[25] in (0, 4) else 6)  # the length of a bKGD chunk for grey, for RGB
    blocks += [text for text in metadata.texts if text[4:8] != b"bKGD" or len(text) == background]
    out = [data[:8]]
    for chunk in chunks_of(data):
        if chunk.kind == b"eXIf" or (chunk.kind == b"pHYs" and dpi is None):
            continue
        if chunk.kind == b"IDAT":
            out += blocks
            blocks = []
        out.append(data[chunk.at : chunk.end])
        if chunk.kind == b"IHDR":
            out += first
    return b"".join(out)


def is_lossless(data: bytes) -> bool:
    """Whether the first picture of a WebP file is lossless (WebP Container Specification, VP8L)."""
    at = 12
    while at + 8 <= len(data):
        kind, length = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        if kind in (b"VP8 ", b"VP8L"):
            return kind == b"VP8L"
        at += 8 + 16 if kind == b"ANMF" else 8 + length + length % 2  # a frame has chunks after its 16 bytes
    return False


ANNOUNCED = {b"ICCP": (0x20, "a colour profile"), b"EXIF": (0x08, "EXIF"), b"XMP ": (0x04, "XMP")}  # flags of VP8X
WEBP_CHUNKS = (b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ANIM", b"ANMF", b"ICCP", b"EXIF", b"XMP ")


def webp_left_out(data: bytes) -> list[str]:
    """Other content of a WebP file that is not read, besides its picture and known metadata."""
    unknown, hidden = dict[str, None](), dict[str, None]()
    flags = data[20] if data[12:16] == b"VP8X" and len(data) > 20 else 0
    at, end = 12, min(len(data), int.from_bytes(data[4:8], "little") + 8)
    while at + 8 <= end:
        kind, length = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        if kind not in WEBP_CHUNKS:
            unknown[kind.decode("ascii", "replace")] = None
        if kind in ANNOUNCED and not flags & ANNOUNCED[kind][0]:
            hidden[ANNOUNCED[kind][1]] = None
        at += 8 + length + length % 2
    tail = len(data[end:].strip(b"\0"))
    found = [f"chunks of kinds that are not known here ({', '.join(unknown)})"] if unknown else []
    found += [f"{' and '.join(hidden)} that its header does not announce"] if hidden else []
    return found + ([f"{tail:,} bytes behind its picture"] if tail else [])


def _webp(data: bytes, exif: bytes | None) -> bytes:
    if exif is None:
        return data
    out, at = [b"WEBP"], 12
    while at + 8 <= len(data):
        kind, length = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        end = at + 8 + length + length % 2
        out.append(
            kind + struct.pack("<I", len(exif)) + exif + bytes(len(exif) % 2) if kind == b"EXIF" else data[at:end]
        )
        at = end
    body = b"".join(out)
    return b"RIFF" + struct.pack("<I", len(body)) + body
