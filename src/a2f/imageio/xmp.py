"""XMP packets, changed in place: what tells about the pixels is brought up to date or taken out, all else stays."""

import re
from collections.abc import Callable, Iterator

TIFF, EXIF = "http://ns.adobe.com/tiff/1.0/", "http://ns.adobe.com/exif/1.0/"
PANORAMA, DIMENSIONS = "http://ns.google.com/photos/1.0/panorama/", "http://ns.adobe.com/xap/1.0/sType/Dimensions#"
XMP, NOTE = "http://ns.adobe.com/xap/1.0/", "http://ns.adobe.com/xmp/note/"
REGIONS = (
    ("http://www.metadataworkinggroup.com/schemas/regions/", "Regions"),
    ("http://ns.microsoft.com/photo/1.2/", "RegionInfo"),
    ("http://iptc.org/std/Iptc4xmpExt/2008-02-29/", "ImageRegion"),
)
# What tells about other parts of the file, which are left out: whole namespaces, or single properties.
PARTS = (
    "http://ns.adobe.com/hdr-gain-map/1.0/",
    "http://ns.apple.com/HDRGainMap/1.0/",
    "http://ns.google.com/photos/1.0/container/",
    "http://ns.google.com/photos/dd/1.0/device/",
    "http://ns.google.com/photos/1.0/depthmap/",
    "http://ns.google.com/photos/1.0/image/",
    "http://ns.google.com/photos/1.0/audio/",
)
CAMERA, CAMERA_PARTS = "http://ns.google.com/photos/1.0/camera/", r"(?:MotionPhoto|MicroVideo)\w*"
SIZES = ((TIFF, "ImageWidth", 0), (TIFF, "ImageLength", 1), (EXIF, "PixelXDimension", 0), (EXIF, "PixelYDimension", 1))


EMPTY_DESCRIPTION = re.compile(
    r"""<rdf:Description(?:\s+(?:xmlns:[\w.-]+|rdf:about)\s*=\s*(?:"[^"]*"|'[^']*'))*\s*(?:/>|>\s*</rdf:Description>)"""
)
EMPTY = re.compile(r"<rdf:RDF[^<>]*>\s*</rdf:RDF>")


def cleaned_xmp(packet: bytes, *, upright: bool, turned: bool) -> tuple[bytes, list[str]]:
    """A packet without what no longer holds once the first picture of its file has been read.

    Args:
        packet: as it was read.
        upright: the pixels were brought upright as the file's EXIF orientation says.
        turned: they are not as they were.

    Returns:
        The packet, in UTF-8, and what was taken out of it; nothing of a packet that then tells nothing.
    """
    text, lost = _text(packet), []
    if upright:
        text = _with_value(text, TIFF, "Orientation", lambda _: "1")
    text = _without(text, XMP, "Thumbnails")
    for namespace in PARTS:
        text = _without(text, namespace, r"\w+")
    text = _without(text, CAMERA, CAMERA_PARTS)
    if (less := _without(text, NOTE, "HasExtendedXMP")) != text:
        text = less
        lost.append("extended XMP")
    if turned:
        for namespace, name in REGIONS:
            if (less := _without(text, namespace, name)) != text:
                text = less
                lost.append("the regions that XMP names (the picture was turned)")
    if text == _text(packet):
        return packet, lost
    text = EMPTY_DESCRIPTION.sub("", text)
    return (b"" if EMPTY.search(text) else text.encode("utf-8", "surrogateescape")), lost


def updated_xmp(packet: bytes, *, size: tuple[int, int], given: tuple[int, int] | None) -> bytes:
    """A packet that tells the new size.

    Args:
        packet: the XMP.
        size: width and height of the new picture.
        given: of the one that it tells about, if that is known.
    """
    text = _text(packet)
    for namespace, name, side in SIZES:
        text = _with_value(text, namespace, name, lambda _, side=side: str(size[side]))  # type: ignore[misc]
    for prefix in _prefixes(text, DIMENSIONS):
        text = _sized_regions(text, prefix, size)
    for name, side in (("Width", 0), ("Left", 0), ("Height", 1), ("Top", 1)):
        if given is not None:
            factor = size[side] / given[side]
            scaled = lambda old, factor=factor: str(round(int(old) * factor)) if old.strip().isdecimal() else old  # noqa: E731
            text = _with_value(text, PANORAMA, rf"\w*{name}(?:Pixels)", scaled)
    return text.encode("utf-8", "surrogateescape") if text != _text(packet) else packet


def _text(packet: bytes) -> str:
    """The packet's text; what is neither UTF-8 nor UTF-16 comes through unchanged."""
    head = packet[:64]
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return packet.decode("utf-16", "replace")
    if b"\0" in head:
        return packet.decode("utf-16-be" if head[:1] == b"\0" else "utf-16-le", "replace")
    return packet.decode("utf-8", "surrogateescape")


def _prefixes(text: str, namespace: str) -> Iterator[str]:
    yield from dict.fromkeys(re.findall(rf"xmlns:([\w.-]+)\s*=\s*[\"']{re.escape(namespace)}[\"']", text))


def _with_value(text: str, namespace: str, name: str, value: Callable[[str], str]) -> str:
    """The text with another value of a property, where it is there: as an attribute or as an element."""
    for prefix in map(re.escape, _prefixes(text, namespace)):
        for pattern in (
            rf"(?<=\s)({prefix}:{name}\s*=\s*\")([^\"]*)(\")",
            rf"(?<=\s)({prefix}:{name}\s*=\s*')([^']*)(')",
            rf"(<{prefix}:{name}(?:\s[^<>]*)?(?<!/)>)([^<]*)(</)",
        ):
            text = re.sub(pattern, lambda match: match[1] + value(match[2]) + match[3], text)
    return text


def _without(text: str, namespace: str, name: str) -> str:
    """The text without a property, as an attribute or an element with all it holds."""
    for prefix in map(re.escape, _prefixes(text, namespace)):
        text = re.sub(rf"\s{prefix}:{name}\s*=\s*(?:\"[^\"]*\"|'[^']*')", "", text)
        text = re.sub(rf"<({prefix}:{name})(?:\s[^<>]*)?/>", "", text)
        text = re.sub(rf"<({prefix}:{name})(?:\s[^<>]*)?>.*?</\1\s*>", "", text, flags=re.DOTALL)
    return text


def _sized_regions(text: str, prefix: str, size: tuple[int, int]) -> str:
    """The size that named regions are said to belong to (Metadata Working Group, 5.9, AppliedToDimensions)."""
    p = re.escape(prefix)

    def resized(match: re.Match[str]) -> str:
        part = match[0]
        for name, side in (("w", 0), ("h", 1)):
            part = re.sub(rf"({p}:{name}\s*=\s*[\"'])[\d.]+", rf"\g<1>{size[side]}", part)
            part = re.sub(rf"(<{p}:{name}>)[\d.]+", rf"\g<1>{size[side]}", part)
        return part

    return re.sub(r"<([\w.-]+:AppliedToDimensions)\b(?:[^<>]*/>|.*?</\1\s*>)", resized, text, flags=re.DOTALL)
