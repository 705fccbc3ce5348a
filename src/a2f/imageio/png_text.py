"""Text and other metadata chunks of PNG files: those that are kept, and those that are reported."""

import binascii
import zlib
from dataclasses import dataclass

from a2f.imageio.exif import MARK, ORIENTATION, first_directory, number_of, plain_exif, updated_exif
from a2f.imageio.iptc import PHOTOSHOP_MARK, cleaned_iptc
from a2f.imageio.png_chunks import MAX_PROFILE_BYTES, Chunk, chunk_bytes, chunks_of, png_profile

PALETTE = 3  # the colour type of a header
TEXTS = (b"tEXt", b"zTXt", b"iTXt")
XMP_KEYWORD, RAW = b"XML:com.adobe.xmp", b"Raw profile type "
# Limit of all compressed texts of a file together, unpacked; Deflate can compress by a factor of 1,000.
MAX_TEXT_BYTES = 64 * 2**20
UNPACKED_AT_ONCE = 2**20
XMP_MARK = b"http://ns.adobe.com/xap/1.0/\0"
# Chunks about the storage or display of the old pixels, and those that are read separately.
STORED = (
    *(b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"sBIT", b"hIST", b"sPLT", b"tIME", b"bKGD", b"iDOT", b"vpAg"),
    *(b"sRGB", b"gAMA", b"cHRM", b"mDCV", b"cLLI", b"mDCv", b"cLLi", b"cICP", b"iCCP", b"eXIf", b"pHYs"),
    *(b"acTL", b"fcTL", b"fdAT"),
)


@dataclass(frozen=True, kw_only=True)
class PngTexts:
    """The texts of a file.

    Attributes:
        chunks: complete chunks without XMP, with the background colour.
        exif: an upright EXIF block in a text chunk, as ImageMagick writes it.
        xmp: an XMP packet in a text chunk.
        notes: messages about other chunks, without the name of the file.
    """

    chunks: tuple[bytes, ...] = ()
    exif: bytes | None = None
    xmp: bytes | None = None
    notes: tuple[str, ...] = ()


def texts_of(data: bytes) -> PngTexts:
    """The texts of a PNG file, before and after its pixels."""
    kept: list[bytes] = []
    exif = xmp = None
    frames, unknown, too_long = 0, dict[str, None](), _too_long(data)
    for chunk in chunks_of(data):
        if chunk.at in too_long:
            continue
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
        elif chunk.kind == b"bKGD" and data[25] != PALETTE and data[24] >= 8:  # otherwise it has other units
            kept.append(data[chunk.at : chunk.end])
        elif chunk.kind not in STORED:
            unknown[chunk.kind.decode("ascii", "replace")] = None
    notes = [f"has {frames} frames (APNG); only its still picture is read"] if frames > 1 else []
    notes += [f"holds chunks of kinds that are not known here ({', '.join(unknown)}): left out"] if unknown else []
    if too_long:
        notes.append(f"holds texts of more than {MAX_TEXT_BYTES // 2**20} MiB once unpacked: {len(too_long)} left out")
    last = _last(data)
    tail = len(data[last.end :].strip(b"\0")) if last else 0
    notes += [f"holds {tail:,} bytes behind its picture: left out"] if tail else []
    return PngTexts(chunks=tuple(kept), exif=exif, xmp=xmp, notes=tuple(notes))


def with_metadata_first(data: bytes) -> bytes:
    """Prepare a PNG file for libvips.

    EXIF and XMP move before the pixels, where libvips looks for them. EXIF loses the mark of JPEG, which some programs
    write. All other texts and a profile that is too long are removed, because libvips unpacks texts of any length;
    `texts_of` and `png_profile` read them from the original file.
    """
    too_long, packets = _too_long(data), [chunk.at for chunk in chunks_of(data) if _is_xmp(chunk, data)]
    packet = next((at for at in reversed(packets) if at not in too_long), None)  # libvips uses the last one
    profile = png_profile(data) != b""
    view = memoryview(data)
    head, moved, rest = [view[:8]], list[memoryview](), list[memoryview]()
    end, changed = 8, False
    for chunk in chunks_of(data):
        end = chunk.end
        late = bool(rest) or chunk.kind == b"IDAT"
        left_out = (chunk.kind in TEXTS and chunk.at != packet) or (chunk.kind == b"iCCP" and not profile)
        first = late and not left_out and (chunk.kind == b"eXIf" or chunk.at == packet)
        if not left_out:
            part = moved if first else rest if late else head
            marked = chunk.kind == b"eXIf" and view[chunk.at + 8 : chunk.at + 14] == MARK
            body = plain_exif(chunk.body(data)) if marked else b""
            part.append(memoryview(chunk_bytes(b"eXIf", body)) if marked else view[chunk.at : chunk.end])
            changed = changed or marked
        changed = changed or left_out or first
    return b"".join((*head, *moved, *rest, view[end:])) if changed else data


def _is_xmp(chunk: Chunk, data: bytes) -> bool:
    return chunk.kind in TEXTS and chunk.body(data).startswith(XMP_KEYWORD + b"\0")


def _too_long(data: bytes) -> set[int]:
    """The positions of the texts to leave out: all from the first that exceeds `MAX_TEXT_BYTES`.

    A damaged text counts with its unpacked part. Uncompressed texts do not count.
    """
    left, found = MAX_TEXT_BYTES, set[int]()
    for chunk in chunks_of(data):
        packed, text = _packed_text(chunk, data) if chunk.kind in TEXTS else (False, b"")
        if packed:
            left = left if left < 0 else left - _unpacked_bytes(text, left)
            if left < 0:
                found.add(chunk.at)
    return found


def _packed_text(chunk: Chunk, data: bytes) -> tuple[bool, bytes]:
    """Whether the text of a chunk is compressed, and the stored text."""
    _, _, rest = chunk.body(data).partition(b"\0")
    if chunk.kind == b"zTXt":
        return True, rest[1:]
    if chunk.kind == b"iTXt":
        return rest[:1] == b"\1", rest[2:].partition(b"\0")[2].partition(b"\0")[2]
    return False, rest


def _unpacked_bytes(packed: bytes, most: int) -> int:
    """The unpacked length of a text; unpacking stops at `most`."""
    unpack, count = zlib.decompressobj(), 0
    while packed and not unpack.eof and count <= most:
        try:
            count += len(unpack.decompress(packed, UNPACKED_AT_ONCE))
        except zlib.error:
            return count + UNPACKED_AT_ONCE
        packed = unpack.unconsumed_tail
    return count


def updated_texts(chunks: tuple[bytes, ...], *, size: tuple[int, int], given: tuple[int, int] | None) -> list[bytes]:
    """Update the text chunks for a new size, which metadata blocks in them contain.

    Args:
        chunks: chunks of `texts_of`.
        size: new width and height.
        given: original width and height, if known.
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
    if first_directory(plain_exif(block)) is not None:  # not upright: the pixels were not turned, and the block says so
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
    """The bytes of a profile that ImageMagick wrote as text: a name, a length, and hexadecimal digits."""
    packed, text = _packed_text(chunk, data)
    try:
        rest = zlib.decompressobj().decompress(text, 2 * MAX_PROFILE_BYTES) if packed else text
        _, length, digits = rest.lstrip(b"\n").split(b"\n", 2)
        return binascii.unhexlify(b"".join(digits.split()))[: int(length)]
    except (zlib.error, ValueError):
        return None


def _as_raw_profile(keyword: bytes, block: bytes) -> bytes:
    digits = binascii.hexlify(block)
    lines = b"\n".join(digits[at : at + 72] for at in range(0, len(digits), 72))
    text = b"\n" + keyword.removeprefix(RAW) + b"\n%8d\n" % len(block) + lines + b"\n"
    return chunk_bytes(b"zTXt", keyword + b"\0\0" + zlib.compress(text))
