"""Small files that could need much memory or time: unpacked data are limited and read in one pass."""

import io
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from a2f.errors import ImageReadError, MemoryLimitError, PixelLimitError
from a2f.imageio import encode_image, png_text, read_image
from a2f.imageio.extras import NEEDED
from a2f.imageio.header import header_of
from a2f.imageio.png_chunks import Chunk, chunk_bytes, chunks_of
from a2f.imageio.png_text import with_metadata_first
from a2f.imageio.xmp import CAMERA, DIMENSIONS, PARTS, TIFF, cleaned_xmp, updated_xmp

ZEROS = 32 * 2**20  # bytes that deflate packs into 32 KB
READ = """
import resource, sys
from a2f.imageio import encode_image, read_image
small = open(sys.argv[2], "rb").read()
encode_image(read_image(small), format="png")  # so that all is loaded
used = int(next(line for line in open("/proc/self/status") if line.startswith("VmSize")).split()[1]) * 1024
resource.setrlimit(resource.RLIMIT_AS, (used + 600 * 2**20,) * 2)
picture = read_image(open(sys.argv[1], "rb").read())
print(len(encode_image(picture, format="png")), *picture.notes)
"""


def png(*chunks: bytes, behind: bytes = b"") -> bytes:
    """A PNG with additional chunks before and after its pixels."""
    out = io.BytesIO()
    Image.fromarray(np.arange(64 * 64 * 3, dtype=np.uint32).astype(np.uint8).reshape(64, 64, 3)).save(out, "PNG")
    blob = out.getvalue()
    return blob[:33] + b"".join(chunks) + blob[33:-12] + behind + blob[-12:]


def deflated(*parts: bytes) -> bytes:
    packer = zlib.compressobj()
    return b"".join(packer.compress(part) for part in parts) + packer.flush()


def packed(keyword: bytes, *parts: bytes, kind: bytes = b"zTXt") -> bytes:
    middle = b"\0\0" if kind == b"zTXt" else b"\0\1\0\0\0"
    return chunk_bytes(kind, keyword + middle + deflated(*parts))


def profile(length: int) -> bytes:
    rest = bytes(ZEROS)
    return chunk_bytes(
        b"iCCP", b"p\0\0" + deflated(length.to_bytes(4, "big"), rest[4:], *[rest] * (length // ZEROS - 1))
    )


BOMBS: dict[str, Callable[[], bytes]] = {
    "zTXt": lambda: packed(b"Comment", bytes(ZEROS)) * 60,
    "raw profiles": lambda: packed(b"Raw profile type exif", b"\nexif\n 100\n", b"0" * ZEROS) * 60,
    "iTXt": lambda: packed(b"Comment", bytes(ZEROS), kind=b"iTXt") * 60,
    "XMP": lambda: packed(b"XML:com.adobe.xmp", bytes(ZEROS), kind=b"iTXt") * 60,
    "one XMP": lambda: packed(b"XML:com.adobe.xmp", *[bytes(ZEROS)] * 20, kind=b"iTXt"),
    "profile": lambda: profile(20 * ZEROS),
}


@pytest.mark.integration
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the limit counts from what /proc tells")
@pytest.mark.parametrize("bomb", BOMBS)
def test_unpacked_size_of_png_chunks_is_limited(bomb: str, tmp_path: Path) -> None:
    (tmp_path / "bomb.png").write_bytes(png(BOMBS[bomb]()))
    (tmp_path / "small.png").write_bytes(png())
    command = [sys.executable, "-c", READ, str(tmp_path / "bomb.png"), str(tmp_path / "small.png")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-500:]
    length, note = done.stdout.split(" ", 1)
    assert int(length) < 500_000
    assert "left out" in note


def test_a_png_of_very_many_small_chunks_is_refused() -> None:
    blob = png(chunk_bytes(b"tEXt", b"") * 50_001)
    for read in (lambda: header_of(blob, name="a.png"), lambda: read_image(blob, name="a.png")):
        with pytest.raises(ImageReadError, match="has more than 50,000 small chunks"):
            read()
    assert read_image(png(chunk_bytes(b"tEXt", b"a\0b") * 1000)).size == (64, 64)


def test_the_memory_to_decode_a_picture_follows_its_depth_and_channels() -> None:
    import pyvips

    flat = pyvips.Image.black(3000, 3000, bands=4)
    deep = flat.cast("float").copy(interpretation="scrgb").tiffsave_buffer(compression="deflate")
    with pytest.raises(MemoryLimitError, match="4 channels of 32 bits, takes 662 MB; 400 MB are allowed"):
        read_image(deep, max_memory=400 * 10**6)
    plain = flat.copy(interpretation="srgb").tiffsave_buffer(compression="deflate")
    assert read_image(plain, max_memory=400 * 10**6).size == (3000, 3000)
    with pytest.raises(PixelLimitError):
        read_image(deep, max_memory=400 * 10**6, max_pixels=1000)


@pytest.mark.parametrize("format", ["png", "bmp", "ppm", "heic", "jxl", "exr", "tga", "dds", "avif", "gif"])
def test_pictures_of_all_formats_are_read_within_the_limit(format: str) -> None:
    for module in NEEDED.get(format, ()):
        pytest.importorskip(module)
    blob = encode_image(read_image(png()), format=format)
    assert read_image(blob, max_memory=1).size == (64, 64)  # a small one always is


def jxl(*boxes: bytes) -> bytes:
    """A JPEG XL file with additional boxes after its picture."""
    codecs = pytest.importorskip("imagecodecs")
    pytest.importorskip("pylibjxl")
    return bytes(codecs.jpegxl_encode(np.zeros((16, 16, 3), np.uint8), usecontainer=True)) + b"".join(boxes)


def box(kind: bytes, body: bytes) -> bytes:
    return (len(body) + 8).to_bytes(4, "big") + kind + body


def brotli(kind: bytes, body: bytes) -> bytes:
    return box(b"brob", kind + bytes(pytest.importorskip("imagecodecs").brotli_encode(body)))


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the limit counts from what /proc tells")
@pytest.mark.parametrize("parts", [1, 60])
def test_unpacked_size_of_jpeg_xl_boxes_is_limited(parts: int, tmp_path: Path) -> None:
    bomb = jxl(*[brotli(b"xml ", bytes(600 * 2**20 // parts))] * parts)
    assert len(bomb) < 100_000
    (tmp_path / "bomb.jxl").write_bytes(bomb)
    (tmp_path / "small.jxl").write_bytes(jxl())
    command = [sys.executable, "-c", READ, str(tmp_path / "bomb.jxl"), str(tmp_path / "small.jxl")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-500:]
    assert "hold more than 16 MiB once unpacked" in done.stdout


def test_compressed_boxes_within_the_limit_are_kept() -> None:
    packet, exif = b"<x:xmpmeta/>", b"MM\0*\0\0\0\x08\0\0\0\0\0\0"
    picture = read_image(jxl(brotli(b"xml ", packet), brotli(b"Exif", bytes(4) + exif)))
    assert picture.metadata.xmp == packet
    assert picture.metadata.exif is not None
    assert picture.metadata.exif.endswith(exif)
    assert picture.notes == ()
    several = read_image(jxl(*[brotli(b"jumb", b"x")] * 64, box(b"brob", b"xml no brotli"), brotli(b"xml ", packet)))
    assert several.metadata.xmp is None
    assert [note for note in several.notes if "2 box(es)" in note]


@pytest.mark.integration
def test_texts_within_the_limit_are_kept() -> None:
    few = [
        packed(b"Comment", b"of few words"),
        packed(b"Comment", b"und dies", kind=b"iTXt"),
        packed(b"Other", bytes(10**6)),
    ]
    plain, bomb = chunk_bytes(b"tEXt", b"Author\0me"), packed(b"Comment", bytes(3 * ZEROS))
    picture = read_image(png(*few, bomb, plain, packed(b"Comment", b"late")))
    assert picture.metadata.texts == (*few, plain)
    assert "the image holds texts of more than 64 MiB once unpacked: 2 left out" in picture.notes
    assert read_image(png(*few, plain)).metadata.texts == (*few, plain)


def test_damaged_text_is_cheap() -> None:
    broken = chunk_bytes(b"zTXt", b"Comment\0\0" + b"no deflate")
    picture = read_image(png(broken, packed(b"Comment", b"text")))
    assert picture.metadata.texts == (broken, packed(b"Comment", b"text"))
    assert picture.notes == ()


def test_libvips_gets_the_last_xmp_packet_and_all_other_data() -> None:
    packets = [packed(b"XML:com.adobe.xmp", text, kind=b"iTXt") for text in (b"<first/>", b"<last/>")]
    author, exif = chunk_bytes(b"tEXt", b"Author\0me"), chunk_bytes(b"eXIf", b"II*\0\x08\0\0\0\0\0\0\0\0\0")
    blob = png(packets[0], author, behind=packets[1] + exif + chunk_bytes(b"prIv", b"x"))
    moved = with_metadata_first(blob)
    assert [chunk.kind for chunk in chunks_of(moved)] == [b"IHDR", b"iTXt", b"eXIf", b"IDAT", b"prIv", b"IEND"]
    assert moved == png(packets[1], exif, behind=chunk_bytes(b"prIv", b"x"))
    assert read_image(blob).metadata.xmp == b"<last/>"
    assert with_metadata_first(png()) == png()
    cut = blob[:-30]
    assert with_metadata_first(cut).endswith(cut[-10:])


class Counted(bytes):
    """Bytes that count how many bytes are copied out of them."""

    copied = 0

    def __getitem__(self, key: Any) -> Any:
        part = super().__getitem__(key)
        if isinstance(part, bytes):
            Counted.copied += len(part)
        return part


def test_many_late_chunks_are_moved_in_one_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    passes = 0

    def counted(data: bytes) -> Iterator[Chunk]:
        nonlocal passes
        passes += 1
        return chunks_of(data)

    monkeypatch.setattr(png_text, "chunks_of", counted)
    exif = chunk_bytes(b"eXIf", b"")
    rest = chunk_bytes(b"prIv", bytes(10**6))
    blob = Counted(png(behind=exif * 2000 + rest))
    Counted.copied = 0
    assert with_metadata_first(blob) == png(exif * 2000, behind=rest)
    assert passes <= 4
    assert Counted.copied < 4 * len(blob)
    assert encode_image(read_image(bytes(blob)), format="png")


CLEAN = """
import resource, sys
from a2f.imageio.xmp import cleaned_xmp, updated_xmp
resource.setrlimit(resource.RLIMIT_CPU, (30, 30))
packet = open(sys.argv[1], "rb").read()
updated_xmp(packet, size=(64, 64), given=(32, 32))
cleaned_xmp(packet, upright=True, turned=True)
"""
HEAD = f'<x:xmpmeta xmlns:g="{PARTS[2]}" xmlns:d="{DIMENSIONS}" xmlns:tiff="{TIFF}" '
MANY = 20_000  # a pass for each one would take minutes of the processor, one pass for all takes a second
LONG_PACKETS = {
    "open": HEAD + ">" + "<g:a >" * MANY,
    "open, of many names": HEAD + ">" + "".join(f"<g:a{n}>" for n in range(MANY)),
    "regions": HEAD + ">" + "<a:AppliedToDimensions " * MANY,
    "open regions": HEAD + ">" + "<a:AppliedToDimensions>" * MANY,
    "values": HEAD + ">" + "<tiff:ImageWidth>" * MANY + "<d:w>" * MANY,
    "prefixes": HEAD + " ".join(f'xmlns:p{n}="{PARTS[0]}"' for n in range(MANY)) + ">",
    "quotes": HEAD + ">" + "<g:a b=\"'" * MANY + "<g:a '\"" * MANY,
    "spaces": HEAD + " " * 10 * MANY + "<rdf:Description" + " " * 10 * MANY + "<rdf:RDF>" * MANY,
    "descriptions": HEAD + "><g:a/>" + "<rdf:Description rdf:about='' " * MANY,
}


@pytest.mark.integration
@pytest.mark.skipif(sys.platform == "win32", reason="there is no limit of a process's work")
@pytest.mark.parametrize("packet", LONG_PACKETS)
def test_xmp_packet_is_read_in_one_pass(packet: str, tmp_path: Path) -> None:
    (tmp_path / "packet").write_text(LONG_PACKETS[packet])
    done = subprocess.run([sys.executable, "-c", CLEAN, str(tmp_path / "packet")], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr[-500:]


def test_xmp_elements_are_removed_with_their_content() -> None:
    inner = "<g:Item><g:Item g:a='1'/>x > y</g:Item><p:other/>"
    rest = f'xmlns:c="{CAMERA}"><p:keep c:MotionPhoto="1" c:other=\'>\' p:g=" g:x=1">text</p:keep>'
    packet = f"{HEAD}{rest}<g:Item>{inner}</g:Item><g:b/></x:xmpmeta>"
    cleaned, lost = cleaned_xmp(packet.encode(), upright=False, turned=False)
    assert cleaned.decode() == f"{HEAD}{rest}</x:xmpmeta>".replace(' c:MotionPhoto="1"', "")
    assert lost == []


def test_unclosed_xmp_element_drops_the_packet() -> None:
    packet = f"{HEAD}><g:Item><p:other/></x:xmpmeta>".encode()
    assert cleaned_xmp(packet, upright=False, turned=False) == (b"", ["XMP that is damaged"])
    assert updated_xmp(packet, size=(1, 2), given=None) == packet


def test_region_sizes_are_updated_in_both_forms() -> None:
    one = "<m:AppliedToDimensions d:w='64' d:h=\"48\" d:unit='pixel'/>"
    two = "<m:AppliedToDimensions rdf:parseType='Resource'><d:w>64</d:w><d:h>48.0</d:h></m:AppliedToDimensions>"
    other = "<m:Area d:w='0.1' d:h='0.2'/><d:w>3</d:w><tiff:ImageWidth>64</tiff:ImageWidth></x:xmpmeta>"
    updated = updated_xmp(f"{HEAD}>{one}{two}{other}".encode(), size=(128, 96), given=(64, 48)).decode()
    assert updated == HEAD + ">" + (one + two).replace("64", "128").replace("48.0", "96").replace("48", "96") + (
        other.replace("64", "128")
    )
