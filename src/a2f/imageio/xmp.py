"""Change XMP packets in place: properties about the pixels are updated or removed, all others are kept."""

import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass

TIFF, EXIF = "http://ns.adobe.com/tiff/1.0/", "http://ns.adobe.com/exif/1.0/"
PANORAMA, DIMENSIONS = "http://ns.google.com/photos/1.0/panorama/", "http://ns.adobe.com/xap/1.0/sType/Dimensions#"
XMP, NOTE = "http://ns.adobe.com/xap/1.0/", "http://ns.adobe.com/xmp/note/"
REGIONS = (
    ("http://www.metadataworkinggroup.com/schemas/regions/", "Regions"),
    ("http://ns.microsoft.com/photo/1.2/", "RegionInfo"),
    ("http://iptc.org/std/Iptc4xmpExt/2008-02-29/", "ImageRegion"),
)
# Namespaces and properties about other parts of the file, which are left out.
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
# One pass over the text: every part is scanned only a few times, for any content. At most two of the tags at which a
# search may begin can have all later tags inside quotes, so the search is linear too.
TAG = re.compile(r"""<(/?)([\w.-]++(?::[\w.-]++)?+)([^<>"']*+(?:(?:"[^"]*+"|'[^']*+')[^<>"']*+)*+)>""")
ATTRIBUTE = re.compile(r"""(\s)([\w.-]++(?::[\w.-]++)?+)(\s*+=\s*+)("[^"]*+"|'[^']*+')""")
DECLARED = re.compile(r"""xmlns:([\w.-]++)\s*+=\s*+["']([^"'<>]*+)["']""")
FIRST_NUMBER = re.compile(r"\A[\d.]+")


@dataclass(frozen=True, kw_only=True)
class _Rule:
    """The rule for properties of a namespace whose names match.

    Attributes:
        name: regular expression for the whole name.
        value: function from the old to the new value; None to remove the property.
        lost: text to report; empty by default.
        inside: whether the rule applies only inside AppliedToDimensions.
    """

    name: str
    value: Callable[[str], str] | None = None
    lost: str = ""
    inside: bool = False


REGION_SIZE, NO_END = "AppliedToDimensions", "no end"
_Rules = dict[str, list[_Rule]]  # by namespace


def cleaned_xmp(packet: bytes, *, upright: bool, turned: bool) -> tuple[bytes, list[str]]:
    """Remove properties that are invalid after reading only the first picture of the file.

    Args:
        packet: the original packet.
        upright: whether the pixels were turned upright by the EXIF orientation of the file.
        turned: whether the pixels were rotated or mirrored.

    Returns:
        The packet in UTF-8, and texts about removed properties. The packet is empty if it has no other content, or if a
        removed element has no end.
    """
    rules: _Rules = {namespace: [_Rule(name=".+")] for namespace in PARTS}
    rules |= {XMP: [_Rule(name="Thumbnails")], CAMERA: [_Rule(name=CAMERA_PARTS)]}
    rules[NOTE] = [_Rule(name="HasExtendedXMP", lost="extended XMP")]
    if upright:
        rules[TIFF] = [_Rule(name="Orientation", value=lambda _: "1")]
    if turned:
        lost = "the regions that XMP names (the picture was turned)"
        rules |= {namespace: [_Rule(name=name, lost=lost)] for namespace, name in REGIONS}
    given = _text(packet)
    text, told = _rewritten(given, rules)
    if text is None:
        return b"", [*told, "XMP that is damaged"]
    if text == given:
        return packet, told
    text = EMPTY_DESCRIPTION.sub("", text)
    return (b"" if EMPTY.search(text) else text.encode("utf-8", "surrogateescape")), told


def updated_xmp(packet: bytes, *, size: tuple[int, int], given: tuple[int, int] | None) -> bytes:
    """Update the size in a packet.

    Args:
        packet: the XMP.
        size: width and height of the new picture.
        given: width and height of the original picture, if known.
    """
    rules: _Rules = defaultdict(list)
    for namespace, name, side in SIZES:
        rules[namespace].append(_Rule(name=name, value=lambda _, side=side: str(size[side])))  # type: ignore[misc]
    for name, side in (("w", 0), ("h", 1)):  # Metadata Working Group, 5.9: the size for named regions
        first = lambda old, side=side: FIRST_NUMBER.sub(str(size[side]), old)  # noqa: E731
        rules[DIMENSIONS].append(_Rule(name=name, value=first, inside=True))
    for name, side in (("Width", 0), ("Left", 0), ("Height", 1), ("Top", 1)):
        if given is not None:
            factor = size[side] / given[side]
            scaled = lambda old, factor=factor: str(round(int(old) * factor)) if old.strip().isdecimal() else old  # noqa: E731
            rules[PANORAMA].append(_Rule(name=rf"\w*{name}Pixels", value=scaled))
    before = _text(packet)
    text, _ = _rewritten(before, rules)
    return packet if text in (None, before) else (text or "").encode("utf-8", "surrogateescape")


def _text(packet: bytes) -> str:
    """The text of the packet; bytes that are neither UTF-8 nor UTF-16 are kept."""
    head = packet[:64]
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return packet.decode("utf-16", "replace")
    if b"\0" in head:
        return packet.decode("utf-16-be" if head[:1] == b"\0" else "utf-16-le", "replace")
    return packet.decode("utf-8", "surrogateescape")


def _rewritten(text: str, rules: _Rules) -> tuple[str | None, list[str]]:
    """Apply the rules to attributes and elements; return the text and the removed properties.

    Returns:
        None instead of the text if a removed element has no end.
    """
    by_prefix: dict[str, set[str]] = defaultdict(set)
    for prefix, namespace in DECLARED.findall(text):
        if namespace in rules:
            by_prefix[prefix].add(namespace)
    lost = dict[str, None]()
    parts = _parts(text, lambda name, inside: _rule_of(name, by_prefix, rules, inside=inside), lost)
    whole = "".join(parts) if by_prefix else text
    told = [what for what in lost if what not in ("", NO_END)]
    return (None if NO_END in lost else whole), told


def _rule_of(name: str, by_prefix: dict[str, set[str]], rules: _Rules, *, inside: bool) -> _Rule | None:
    prefix, _, local = name.partition(":")
    chosen = (rule for namespace in by_prefix.get(prefix, ()) for rule in rules[namespace])
    return next((rule for rule in chosen if (inside or not rule.inside) and re.fullmatch(rule.name, local)), None)


def _parts(text: str, rule_of: Callable[[str, bool], _Rule | None], lost: dict[str, None]) -> Iterator[str]:
    """Apply the rules and return the text in parts; removed properties and `NO_END` are added to `lost`."""
    at, inside, leaving, depth = 0, 0, "", 0  # leaving: the removed element; depth: number of its open tags
    for tag in TAG.finditer(text):
        closes, name, rest = tag.groups()
        step = 0 if rest.endswith("/") else -1 if closes else 1
        if leaving:
            depth += step if name == leaving else 0
            if depth == 0:
                at, leaving = tag.end(), ""
            continue
        yield text[at : tag.start()]
        at = tag.end()
        if closes:
            inside = max(0, inside - name.endswith(":" + REGION_SIZE))
            yield tag[0]
            continue
        opens = name.endswith(":" + REGION_SIZE)
        rule = rule_of(name, inside > 0)
        if rule is not None and rule.value is None:
            lost[rule.lost] = None
            leaving, depth = (name, 1) if step else ("", 0)
            continue
        yield f"<{name}{_attributes(rest, rule_of, lost, inside=opens or inside > 0)}>"
        inside += opens and step
        end = text.find("<", at) if step and rule is not None else -1
        if rule is not None and rule.value is not None and text.startswith("</", end if end >= 0 else len(text)):
            yield rule.value(text[at:end])
            at = end
    if leaving:
        lost[NO_END] = None
    yield text[at:]


def _attributes(rest: str, rule_of: Callable[[str, bool], _Rule | None], lost: dict[str, None], *, inside: bool) -> str:
    """Apply the rules to the attributes of a tag."""

    def changed(match: re.Match[str]) -> str:
        space, name, equals, quoted = match.groups()
        rule = rule_of(name, inside)
        if rule is None:
            return match[0]
        if rule.value is None:
            lost[rule.lost] = None
            return ""
        return space + name + equals + quoted[0] + rule.value(quoted[1:-1]) + quoted[0]

    return ATTRIBUTE.sub(changed, rest)
