"""The file formats, and what each can hold."""

from dataclasses import dataclass
from pathlib import Path

from a2f.errors import LossyFormatError, UsageError
from a2f.imageio.picture import Metadata, Picture
from a2f.imageio.tiff_tags import names_of


@dataclass(frozen=True, kw_only=True)
class Format:
    """One file format.

    Attributes:
        name: canonical name.
        suffixes: of its files, the usual one first.
        alpha: whether it holds transparency.
        soft: whether transparency has degrees, where there is any.
        data_band: whether it holds a channel of data behind the colours that is not alpha.
        deep: whether it holds more than 8 bits a channel (AVIF: 12).
        icc: whether it holds a colour profile.
        cicp: whether it tells colours by code points (ITU-T H.273), which is what says that a picture is HDR.
        grey: whether it holds grey as grey, not as RGB.
        metadata: what else it holds of "exif", "xmp" and "iptc".
        encoding: memory that encoding takes, the file included, in bytes for each byte of pixels; measured.
        quality: default quality from 1 to 100 of a lossy format; None for a lossless one.
        vips: suffix by which libvips knows it; None if Pillow or a few lines here do it.
        max_side: largest width or height, pixels.
    """

    name: str
    suffixes: tuple[str, ...]
    alpha: bool
    deep: bool
    soft: bool = True
    data_band: bool = False
    icc: bool = True
    cicp: bool = False
    grey: bool = True
    metadata: tuple[str, ...] = ("exif", "xmp")
    encoding: float = 2.5
    quality: int | None = None
    vips: str | None = None
    max_side: int = 2**31 - 1


_ALL = (
    Format(name="jpeg", suffixes=(".jpg", ".jpeg", ".jpe", ".jfif"), alpha=False, deep=False, quality=92, vips=".jpg",
           max_side=65535, metadata=("exif", "xmp", "iptc"), encoding=5),
    Format(name="png", suffixes=(".png",), alpha=True, deep=True, cicp=True, vips=".png"),
    Format(name="webp", suffixes=(".webp",), alpha=True, deep=False, grey=False, quality=90, vips=".webp",
           max_side=16383, encoding=4.5),
    Format(name="tiff", suffixes=(".tif", ".tiff"), alpha=True, deep=True, data_band=True, vips=".tif",
           metadata=("exif", "xmp", "iptc")),
    Format(name="bmp", suffixes=(".bmp",), alpha=True, deep=False, icc=False, max_side=32767, metadata=(),
           encoding=3.7),
    Format(name="gif", suffixes=(".gif",), alpha=True, soft=False, deep=False, icc=False, grey=False, vips=".gif",
           max_side=65535, metadata=(), encoding=5.2),
    Format(name="ppm", suffixes=(".ppm", ".pgm", ".pnm"), alpha=False, deep=True, icc=False, metadata=(), encoding=3.2),
    Format(name="avif", suffixes=(".avif",), alpha=True, deep=True, grey=False, cicp=True, quality=80, vips=".avif",
           max_side=16384, encoding=14),
)  # fmt: skip
FORMATS = {entry.name: entry for entry in _ALL}
_BY_SUFFIX = {suffix: entry.name for entry in _ALL for suffix in entry.suffixes}


def format_of_suffix(suffix: str) -> str:
    """The format of a file name's suffix, or of a format's name, e.g. ".JPG", "jpg" and "jpeg".

    Raises:
        UsageError: for an unknown one.
    """
    key = suffix.lower()
    if key in FORMATS:
        return key
    name = _BY_SUFFIX.get(key if key.startswith(".") else f".{key}")
    if name is None:
        known = ", ".join("jpg" if name == "jpeg" else name for name in FORMATS)
        raise UsageError(f"unknown image format {suffix!r}: choose one of {known}")
    return name


def image_suffixes() -> tuple[str, ...]:
    """The suffixes of the known formats, as ".png"."""
    return tuple(_BY_SUFFIX)


def is_image_name(path: Path) -> bool:
    """Whether a file's suffix is that of a known format."""
    return path.suffix.lower() in _BY_SUFFIX


def check_format(picture: Picture, format: str, *, force: bool = False, strip: bool = False, factor: float = 1) -> None:
    """Make sure that a format can hold a picture.

    Args:
        picture: what is to be written.
        format: name of the format.
        force: accept the loss of transparency, bit depth and metadata.
        strip: metadata is left out anyway.
        factor: by how much the picture will still grow.

    Raises:
        LossyFormatError: if it would lose transparency (that is not opaque throughout), its degrees, a channel of data
            or bit depth, or if EXIF, XMP or IPTC is too long for JPEG.
        UsageError: if the format cannot hold so many pixels a side.
    """
    holds = FORMATS[format]
    if max(picture.size) * factor > holds.max_side:
        raise UsageError(f"{format} holds at most {holds.max_side} pixels a side: choose another format with -f")
    if force:
        return
    if not holds.alpha and picture.is_transparent:
        raise LossyFormatError(
            f"{format} cannot hold transparency: choose png, webp or tiff, or accept the loss (--force, force=True)"
        )
    if holds.alpha and not holds.soft and picture.has_degrees:
        raise LossyFormatError(
            f"{format} holds no degrees of transparency: choose png, webp or tiff, or accept the loss "
            "(--force, force=True)"
        )
    if picture.data_band and not holds.data_band:
        raise LossyFormatError(
            f"{format} has no place for the channel of data behind the colours (an extra sample that is not alpha): "
            "choose tiff, or leave it out (--force, force=True)"
        )
    if picture.metadata.signal and picture.metadata.signal.is_hdr and (strip or not holds.cicp):
        without = "a file without metadata" if strip and holds.cicp else format
        raise LossyFormatError(
            f"{without} cannot say that the colours are HDR (PQ or HLG): choose png or avif with their metadata, or "
            "accept sRGB with the highlights clipped (--force, force=True)"
        )
    if not holds.deep and picture.is_deep:
        raise LossyFormatError(
            f"{format} cannot hold 16 bits a channel: choose png or tiff, or accept the loss (--force, force=True)"
        )
    metadata = picture.metadata
    for what, block in (("EXIF", metadata.exif), ("XMP", metadata.xmp), ("IPTC", metadata.iptc)):
        if format == "jpeg" and not strip and not fits_jpeg(block):
            raise LossyFormatError(
                f"jpeg cannot hold {len(block or b''):,} bytes of {what}: choose another format, leave them out "
                "(--force, force=True), or leave out all metadata (--strip)"
            )


def left_out_note(picture: Picture, format: str, *, strip: bool = False) -> list[str]:
    """What to tell of all beside the pixels: what a format has no place for, and what becomes of a gain map.

    Args:
        picture: what is to be written.
        format: name of the format.
        strip: metadata is left out anyway.
    """
    if picture.gain_map and format == "jpeg" and not strip:
        return ["the HDR gain map is kept, and enlarged like the picture"]
    gain_map = ["the HDR gain map (the result is the SDR picture)"] if picture.gain_map else []
    if strip:
        return [f"{what} goes with the metadata: left out" for what in gain_map]
    lost = [*_metadata_left_out(picture.metadata, format), *gain_map]
    return [f"{format} has no place for {' and '.join(lost)}: left out"] if lost else []


def _metadata_left_out(metadata: Metadata, format: str) -> list[str]:
    holds = FORMATS[format].metadata
    lost = [k.upper() for k in ("exif", "xmp", "iptc") if getattr(metadata, k) and k not in holds]
    if metadata.texts and format != "png":
        texts = [whole for whole in metadata.texts if whole[4:8] != b"bKGD"]
        keywords = dict.fromkeys(whole[8:].partition(b"\0")[0].decode("latin-1") for whole in texts)
        lost += [f"PNG texts ({', '.join(keywords)})"] if texts else []
    if metadata.comments and format != "jpeg":
        lost.append("JPEG comments")
    if metadata.tags and format != "tiff":
        lost += names_of(metadata.tags)
    if metadata.aspect and format not in ("jpeg", "png", "tiff"):
        lost.append(f"the shape of the pixels (resolutions {metadata.aspect[0]:g} : {metadata.aspect[1]:g})")
    return lost


def fits_jpeg(block: bytes | None) -> bool:
    """Whether a metadata block goes into one JPEG segment: 65535 bytes with the length and the longest mark, XMP's."""
    return len(block or b"") <= 65535 - 2 - 29
