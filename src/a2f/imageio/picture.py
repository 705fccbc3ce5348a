"""What a file becomes: pixels, and what is known about them."""

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from a2f.errors import InputError
from a2f.imageio.tiff_directory import Field

Pixels = NDArray[np.uint8] | NDArray[np.uint16]
ONLY_ONE = ("only the first is read", "only its still picture is read")  # how notes about other frames end
MAX_DPI = 1e6  # what damaged files say goes far beyond


def is_transparent(pixels: NDArray[Any]) -> bool:
    """Whether an image [H, W, C] of uint8, uint16 or floats in [0, 1] has alpha, and not all of it opaque."""
    white = 1 if pixels.dtype.kind == "f" else np.iinfo(pixels.dtype.newbyteorder("=")).max
    return pixels.shape[2] in (2, 4) and bool((pixels[..., -1] < white).any())


def has_degrees(pixels: NDArray[Any]) -> bool:
    """Whether an image of uint8, uint16 or floats has pixels that are neither opaque nor fully transparent."""
    alpha = pixels[..., -1]
    white = 1 if pixels.dtype.kind == "f" else np.iinfo(pixels.dtype.newbyteorder("=")).max
    return pixels.shape[2] in (2, 4) and bool(((alpha > 0) & (alpha < white)).any())


def without_degrees(pixels: NDArray[Any]) -> NDArray[Any]:
    """The same with every pixel opaque or fully transparent, whichever is nearer."""
    white = np.iinfo(pixels.dtype.newbyteorder("=")).max
    out = pixels.copy()
    out[..., -1] = np.where(pixels[..., -1] > white // 2, white, 0)
    return out


@dataclass(frozen=True, kw_only=True)
class ColourSignal:
    """What a file tells about its colours outside an ICC profile.

    Attributes:
        cicp: code points of the primaries and of the transfer function (ITU-T H.273), as AVIF and PNG hold them.
        chunks: of a PNG file: gAMA, cHRM and sRGB, whole.
        profile: an ICC profile that says the same; None for sRGB, and for what no plain profile says: PQ and HLG.
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
    """What a file says beside its pixels.

    Attributes:
        icc: colour profile.
        signal: what tells about colours outside it; a profile says more than chunks, and code points more than both.
        exif: EXIF block, a TIFF structure with or without its leading "Exif" mark.
        xmp: XMP packet.
        iptc: IPTC records, bare or in a Photoshop block.
        texts: text chunks of a PNG file, whole.
        comments: of a JPEG file.
        tags: of a TIFF file, little-endian: names, GeoTIFF and the like.
        dpi: horizontal and vertical resolution, pixels per inch.
        aspect: horizontal and vertical resolution without a unit, which tells the shape of the pixels alone.
        size: width and height, upright, of the pixels that all this tells about.
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
        """The ICC profile of the colours, however the file tells them."""
        return self.icc or (self.signal.profile if self.signal else None)


@dataclass(frozen=True, kw_only=True)
class GainMap:
    """What makes an HDR picture of an SDR one (ISO 21496-1).

    Attributes:
        pixels: [h, w, 1 or 3] uint8, upright; of the picture's proportions, in any size.
        segments: of its JPEG, whole, which tell how it is to be applied.
        told: segments of the picture's JPEG that tell of it.
    """

    pixels: NDArray[np.uint8]
    segments: tuple[bytes, ...] = ()
    told: tuple[bytes, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Light:
    """What the values of a floating-point file lie between, and what they mean (`light.to_network`).

    Attributes:
        low: smallest value of the colours, at most 0.
        high: largest value of the colours, at least 1, which is white.
        linear: whether 0.5 is half the light of 1; otherwise the ICC profile of the file tells.
        half: whether the file holds 16 bits a value, not 32.
        primaries: x and y of white, red, green and blue, where the file tells them.
        shown_icc: profile of the picture when it is taken to 16 bits; None if that of the file stays.
        attributes: of an EXR file, by name: what tells about the picture.
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
    """The frames of a file that moves, and when they are shown.

    Attributes:
        data: the file.
        durations: how long each frame is shown, seconds.
        plays: how often all of them are shown; 0 is on and on.
    """

    data: bytes = field(repr=False, compare=False)
    durations: tuple[Fraction, ...]
    plays: int = 0

    @property
    def count(self) -> int:
        """How many frames there are."""
        return len(self.durations)


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A decoded still image, upright and in grey or RGB.

    Attributes:
        pixels: [H, W, C] uint8 or uint16, or float32 in [0, 1] with `light`; C is 1 grey, 2 grey and alpha, 3 RGB,
            4 RGB and alpha (not premultiplied).
        data_band: the last of 2 or 4 channels is not alpha but data of its own, such as a mask or infrared, as TIFF
            files hold it.
        metadata: kept from the file.
        gain_map: of an Ultra HDR file.
        animation: of a file with several frames in time; `pixels` is the first one.
        light: of a floating-point file: what its pixels stand for.
        format: name of the file's format, a key of `FORMATS`.
        lossless: it comes from a file without loss in a format that can also lose, WebP.
        notes: what a person should know, e.g. that only the first of many frames was read.
        jpeg_quality: at which the file was saved, by `estimate_jpeg_quality`; None if it is no JPEG, or not known.
    """

    pixels: NDArray[Any]
    metadata: Metadata = field(default_factory=Metadata)
    data_band: bool = False
    gain_map: GainMap | None = None
    animation: Animation | None = None
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
        """Whether there is alpha, and not all of it opaque."""
        return self.has_alpha and is_transparent(self.pixels)

    @property
    def has_degrees(self) -> bool:
        """Whether there are pixels that are neither opaque nor fully transparent."""
        return self.has_alpha and has_degrees(self.pixels)

    @property
    def is_deep(self) -> bool:
        """Whether there are more than 8 bits a channel."""
        return self.pixels.dtype != np.uint8

    @property
    def size(self) -> tuple[int, int]:
        """Width and height, pixels."""
        return self.pixels.shape[1], self.pixels.shape[0]
