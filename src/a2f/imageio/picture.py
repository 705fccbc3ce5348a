"""A decoded picture: pixels and metadata."""

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from a2f.errors import InputError
from a2f.imageio.tiff_directory import Field

Pixels = NDArray[np.uint8] | NDArray[np.uint16]
ONLY_ONE = ("only the first is read", "only its still picture is read")  # ends of notes about other frames
MAX_DPI = 1e6  # damaged files may have much larger values


def is_transparent(pixels: NDArray[Any]) -> bool:
    """Whether an image [H, W, C] of uint8, uint16 or floats in [0, 1] has alpha that is not completely opaque."""
    white = 1 if pixels.dtype.kind == "f" else np.iinfo(pixels.dtype.newbyteorder("=")).max
    return pixels.shape[2] in (2, 4) and bool((pixels[..., -1] < white).any())


def has_degrees(pixels: NDArray[Any]) -> bool:
    """Whether an image of uint8, uint16 or floats has partially transparent pixels."""
    alpha = pixels[..., -1]
    white = 1 if pixels.dtype.kind == "f" else np.iinfo(pixels.dtype.newbyteorder("=")).max
    return pixels.shape[2] in (2, 4) and bool(((alpha > 0) & (alpha < white)).any())


def without_degrees(pixels: NDArray[Any]) -> NDArray[Any]:
    """Round alpha: every pixel becomes opaque or fully transparent."""
    white = np.iinfo(pixels.dtype.newbyteorder("=")).max
    out = pixels.copy()
    out[..., -1] = np.where(pixels[..., -1] > white // 2, white, 0)
    return out


@dataclass(frozen=True, kw_only=True)
class ColourSignal:
    """The colour information of a file outside an ICC profile.

    Attributes:
        cicp: code points of the primaries and of the transfer function (ITU-T H.273), as in AVIF and PNG.
        chunks: the complete chunks gAMA, cHRM and sRGB of a PNG file.
        profile: an equivalent ICC profile; None for sRGB, and for PQ and HLG, which plain profiles cannot express.
    """

    cicp: tuple[int, int] | None = None
    chunks: tuple[bytes, ...] = ()
    profile: bytes | None = None

    @property
    def is_hdr(self) -> bool:
        """Whether the transfer function is PQ or HLG."""
        return self.cicp is not None and self.cicp[1] in (16, 18)


@dataclass(frozen=True, kw_only=True)
class Metadata:
    """The metadata of a file.

    Attributes:
        icc: ICC colour profile.
        signal: other colour information; a profile has priority over chunks, and code points over both.
        exif: EXIF block, a TIFF structure with or without the prefix "Exif".
        xmp: XMP packet.
        iptc: IPTC records, plain or in a Photoshop block.
        texts: complete text chunks of a PNG file.
        comments: comments of a JPEG file.
        tags: kept tags of a TIFF file, little-endian, for example names and GeoTIFF.
        dpi: horizontal and vertical resolution, pixels per inch.
        aspect: horizontal and vertical resolution without a unit: only the pixel aspect.
        size: width and height, upright, of the pixels that the metadata describe.
    """

    icc: bytes | None = None
    signal: ColourSignal | None = None
    exif: bytes | None = None
    xmp: bytes | None = None
    iptc: bytes | None = None
    texts: tuple[bytes, ...] = ()
    comments: tuple[bytes, ...] = ()
    tags: tuple[Field, ...] = ()
    dpi: tuple[float, float] | None = None
    aspect: tuple[float, float] | None = None
    size: tuple[int, int] | None = field(default=None, compare=False)

    @property
    def profile(self) -> bytes | None:
        """The ICC profile of the colours, from the profile or the signal."""
        return self.icc or (self.signal.profile if self.signal else None)


@dataclass(frozen=True, kw_only=True)
class GainMap:
    """The gain map of an HDR picture (ISO 21496-1).

    Attributes:
        pixels: [h, w, 1 or 3] uint8, upright; any size with the proportions of the picture.
        segments: complete segments of its JPEG that describe how to apply it.
        told: segments of the picture's JPEG that announce it.
    """

    pixels: NDArray[np.uint8]
    segments: tuple[bytes, ...] = ()
    told: tuple[bytes, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Light:
    """The range and the meaning of the values of a floating-point file (`light.to_network`).

    Attributes:
        low: smallest value of the colours, at most 0.
        high: largest value of the colours, at least 1, which is white.
        linear: whether 0.5 is half the light of 1; otherwise the ICC profile of the file applies.
        half: whether the file has 16 bits per value instead of 32.
        primaries: x and y of white, red, green and blue, if the file has them.
        shown_icc: profile of the picture after conversion to 16 bits; None to keep that of the file.
        attributes: attributes of an EXR file that describe the picture, by name.
    """

    low: float
    high: float
    linear: bool = True
    half: bool = False
    primaries: tuple[float, ...] | None = None
    shown_icc: bytes | None = None
    attributes: tuple[tuple[str, Any], ...] = field(default=(), compare=False)


@dataclass(frozen=True, kw_only=True)
class Animation:
    """The frames of an animation and their durations.

    Attributes:
        data: the file.
        durations: duration of each frame, seconds.
        plays: number of repetitions; 0 is endless.
        orientation: EXIF orientation of the frames in the file, 1 to 8.
    """

    data: bytes = field(repr=False, compare=False)
    durations: tuple[Fraction, ...]
    plays: int = 0
    orientation: int = 1

    @property
    def count(self) -> int:
        """Number of frames."""
        return len(self.durations)


@dataclass(frozen=True, kw_only=True)
class Pages:
    """The pages of a file with several pictures.

    Attributes:
        data: the file.
        places: where each page is, for `tiff_pages.page_of`.
    """

    data: bytes = field(repr=False, compare=False)
    places: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A decoded still image, upright and in grey or RGB.

    Attributes:
        pixels: [H, W, C] uint8 or uint16, or float32 in [0, 1] with `light`; C is 1 grey, 2 grey and alpha, 3 RGB,
            4 RGB and alpha (not premultiplied).
        data_band: whether the last of 2 or 4 channels is data, such as a mask or infrared in a TIFF file, not alpha.
        metadata: metadata of the file.
        gain_map: gain map of an Ultra HDR file.
        animation: animation of a file with several frames; `pixels` is the first frame.
        pages: pages of a TIFF file with several pages; `pixels` is the first page.
        light: range and meaning of the pixels of a floating-point file.
        format: name of the file's format, a key of `FORMATS`.
        lossless: whether the file is lossless, in a format that can also be lossy (WebP).
        notes: messages for the user, e.g. that only the first of many frames was read.
        jpeg_quality: JPEG quality of the file by `estimate_jpeg_quality`; None if it is no JPEG or unknown.
    """

    pixels: NDArray[Any]
    metadata: Metadata = field(default_factory=Metadata)
    data_band: bool = False
    gain_map: GainMap | None = None
    animation: Animation | None = None
    pages: Pages | None = None
    light: Light | None = None
    format: str = "png"
    lossless: bool = False
    notes: tuple[str, ...] = ()
    jpeg_quality: int | None = None

    def __post_init__(self) -> None:
        p = self.pixels
        kinds = (np.uint8, np.uint16) if self.light is None else (np.float32,)
        if p.ndim != 3 or p.shape[2] not in (1, 2, 3, 4) or p.dtype not in kinds or p.size == 0:
            wanted = "uint8 or uint16" if self.light is None else "float32"
            raise InputError(f"a picture is [H, W, 1 to 4] {wanted} and not empty, not {p.dtype} {p.shape}")

    @property
    def has_alpha(self) -> bool:
        """Whether the last channel is alpha."""
        return self.pixels.shape[2] in (2, 4) and not self.data_band

    @property
    def is_transparent(self) -> bool:
        """Whether there is alpha that is not completely opaque."""
        return self.has_alpha and is_transparent(self.pixels)

    @property
    def has_degrees(self) -> bool:
        """Whether there are partially transparent pixels."""
        return self.has_alpha and has_degrees(self.pixels)

    @property
    def is_deep(self) -> bool:
        """Whether there are more than 8 bits per channel."""
        return self.pixels.dtype != np.uint8

    @property
    def size(self) -> tuple[int, int]:
        """Width and height, pixels."""
        return self.pixels.shape[1], self.pixels.shape[0]
