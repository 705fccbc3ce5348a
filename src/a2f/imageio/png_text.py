"""Text and other chunks of PNG files that tell about the picture: what is carried over, and what is told."""

import binascii
import zlib
from dataclasses import dataclass

from a2f.imageio.exif import ORIENTATION, first_directory, number_of, plain_exif, updated_exif
from a2f.imageio.iptc import PHOTOSHOP_MARK, cleaned_iptc
from a2f.imageio.png_chunks import MOST_PROFILE_BYTES, Chunk, chunk_bytes, chunks_of

PALETTE = 3  # the colour type of a header
TEXTS = (b"tEXt", b"zTXt", b"iTXt")
XMP_KEYWORD, RAW = b"XML:com.adobe.xmp", b"Raw profile type "
XMP_MARK = b"http://ns.adobe.com/xap/1.0/\0"
# Chunks that tell how the old pixels are stored or shown, and those that are read on their own.
STORED = (
    *(b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"sBIT", b"hIST", b"sPLT", b"tIME", b"bKGD", b"iDOT", b"vpAg"),
    *(b"sRGB", b"gAMA", b"cHRM", b"mDCV", b"cLLI", b"mDCv", b"cLLi", b"cICP", b"iCCP", b"eXIf", b"pHYs"),
    *(b"acTL", b"fcTL", b"fdAT"),
)


@dataclass(frozen=True, kw_only=True)
class PngTexts:
    """The texts of a file.

    Attributes:
        chunks: whole, without XMP; the background colour too.
        exif: a block that stands in a text, as ImageMagick writes it, if it is upright.
        xmp: a packet that stands there.
        notes: what a person should know of other chunks, without the file's name.
    """

    chunks: tuple[bytes, ...] = ()
    exif: bytes | None = None
    xmp: bytes | None = None
    notes: tuple[str, ...] = ()


def texts_of(data: bytes) -> PngTexts:
    """The texts of a PNG file, before and behind its pixels."""
    kept: list[bytes] = []
    exif = xmp = None
    frames, unknown = 0, dict[str, None]()
    for chunk in chunks_of(data):
        if chunk.kind == b"acTL":
            frames = int.from_bytes(chunk.body(data)[:4], "big")
        elif chunk.kind in TEXTS:
            keyword = chunk.body(data).partition(b"\0")[0]
            block = _raw_profile(chunk, data) if keyword.startswith(RAW) else None
            if block is not None and _is_upright_exif(block):
                exif = plain_exif(block)
            elif block is not None and _packet(keyword, block) is not None:
                xmp = _packet(keyword, block)
            elif keyword != XMP_KEYWORD:
                kept.append(data[chunk.at : chunk.end])
        elif chunk.kind == b"bKGD" and data[25] != PALETTE and data[24] >= 8:  # else it counts in other numbers
            kept.append(data[chunk.at : chunk.end])
        elif chunk.kind not in STORED:
            unknown[chunk.kind.decode("ascii", "replace")] = None
    notes = [f"has {frames} frames (APNG); only its still picture is read"] if frames > 1 else []
    notes += [f"holds chunks of kinds that are not known here ({', '.join(unknown)}): left out"] if unknown else []
    last = _last(data)
    tail = len(data[last.end :].strip(b"\0")) if last else 0
    notes += [f"holds {tail:,} bytes behind its picture: left out"] if tail else []
    return PngTexts(chunks=tuple(kept), exif=exif, xmp=xmp, notes=tuple(notes))


def with_metadata_first(data: bytes) -> bytes:
    """A PNG file whose EXIF and XMP stand before its pixels, where libvips looks for them; they may stand behind."""
    chunks = list(chunks_of(data))
    first = next((number for number, chunk in enumerate(chunks) if chunk.kind == b"IDAT"), len(chunks))
    late = [chunk for chunk in chunks[first:] if _is_metadata(chunk, data)]
    if not late:
        return data
    start = chunks[first].at
    moved, behind = b"".join(data[chunk.at : chunk.end] for chunk in late), bytearray(data[start:])
    for chunk in reversed(late):
        del behind[chunk.at - start : chunk.end - start]
    return data[:start] + moved + bytes(behind)


def _is_metadata(chunk: Chunk, data: bytes) -> bool:
    return chunk.kind == b"eXIf" or (chunk.kind in TEXTS and chunk.body(data).startswith(XMP_KEYWORD + b"\0"))


def updated_texts(chunks: tuple[bytes, ...], *, size: tuple[int, int], given: tuple[int, int] | None) -> list[bytes]:
    """The text chunks of a picture of a new size: blocks of metadata in them tell that size.

    Args:
        chunks: of `texts_of`.
        size: new width and height.
        given: those before, if known.
    """
    out = []
    for whole in chunks:
        chunk = Chunk(kind=whole[4:8], at=0, end=len(whole))
        keyword = chunk.body(whole).partition(b"\0")[0]
        block = _raw_profile(chunk, whole) if keyword.startswith(RAW) else None
        updated = block and _updated(keyword, block, size, given)
        out.append(whole if updated in (None, block) else _as_raw_profile(keyword, updated or b""))
    return out


def _updated(keyword: bytes, block: bytes, size: tuple[int, int], given: tuple[int, int] | None) -> bytes | None:
    kind = keyword.removeprefix(RAW).lower()
    if first_directory(plain_exif(block)) is not None:  # not upright: its pixels were not turned, and it says so still
        return updated_exif(block, width=size[0], height=size[1], given=given, upright=False)
    if kind in (b"iptc", b"8bim"):
        bare = not block.startswith(PHOTOSHOP_MARK) and block.startswith(b"8BIM")
        cleaned = cleaned_iptc(PHOTOSHOP_MARK + block if bare else block, size=size, turned=False)
        return cleaned.removeprefix(PHOTOSHOP_MARK) if bare else cleaned
    return None


def _is_upright_exif(block: bytes) -> bool:
    main = first_directory(plain_exif(block))
    return main is not None and (number_of(plain_exif(block), main, ORIENTATION) or 1) == 1


def _packet(keyword: bytes, block: bytes) -> bytes | None:
    if block.startswith(XMP_MARK):
        return block.removeprefix(XMP_MARK)
    return block if keyword.removeprefix(RAW).lower() == b"xmp" else None


def _last(data: bytes) -> Chunk | None:
    return next((chunk for chunk in chunks_of(data) if chunk.kind == b"IEND"), None)


def _raw_profile(chunk: Chunk, data: bytes) -> bytes | None:
    """The bytes of a profile that ImageMagick has written as text: a name, a length, and hexadecimal digits."""
    _, _, rest = chunk.body(data).partition(b"\0")
    try:
        if chunk.kind == b"zTXt":
            rest = zlib.decompressobj().decompress(rest[1:], 2 * MOST_PROFILE_BYTES)
        elif chunk.kind == b"iTXt":
            packed, (_, _, text) = rest[:1] == b"\1", rest[2:].partition(b"\0")
            text = text.partition(b"\0")[2]
            rest = zlib.decompressobj().decompress(text, 2 * MOST_PROFILE_BYTES) if packed else text
        _, length, digits = rest.lstrip(b"\n").split(b"\n", 2)
        return binascii.unhexlify(b"".join(digits.split()))[: int(length)]
    except (zlib.error, ValueError):
        return None


def _as_raw_profile(keyword: bytes, block: bytes) -> bytes:
    digits = binascii.hexlify(block)
    lines = b"\n".join(digits[at : at + 72] for at in range(0, len(digits), 72))
    text = b"\n" + keyword.removeprefix(RAW) + b"\n%8d\n" % len(block) + lines + b"\n"
    return chunk_bytes(b"zTXt", keyword + b"\0\0" + zlib.compress(text))
